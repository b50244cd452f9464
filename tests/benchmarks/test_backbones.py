"""Every backbone is what its name says, can be stacked, and is drawn from its generator alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.backbones import TRUNKS, build_backbone
from benchmarks.stacked import StackedModule

SIZES = {**dict.fromkeys(TRUNKS, 28), "resnet18": 16}


def build(
    name: str, seed: int = 0, dim: int = 64, norm: str = "batch", activation: str = "relu"
) -> nn.Module:
    return build_backbone(
        name, channels=1, image_size=SIZES[name], embedding_dim=dim, embedding_norm=norm, activation=activation,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


# The trunk of L-Softmax's released net, without what its readers and we leave out (biases before batch norm).
RELEASED = (
    9 * (64 + 3 * 64 * 64 + 64 * 128 + 2 * 128 * 128 + 128 * 256 + 2 * 256 * 256)
    + 2 * 64 * 4
    + 2 * 3 * (128 + 256)
)

# Weights, worked out from the papers' tables: 3x3 kernels without bias, batch norm 2 a channel, linear embedding.
PARAMETERS = {
    "conv3": 9 * (16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + 64 * 16 * 64 + 2 * 64,
    "conv4": 9 * (64 + 3 * 64 * 64) + 4 * 2 * 64 + 64 * 64 + 2 * 64,
    "lenet_plus_plus": 25 * (32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
    + 2 * (32 + 64 + 128)
    + 128 * 9 * 64
    + 128,
    "lsoftmax_paper": 9 * (64 + 10 * 64 * 64) + 2 * 11 * 64 + 64 * 9 * 64 + 2 * 64,
    # Caffe's pooling rounds up: 28, 14, 7, 4.
    "lsoftmax_repo": RELEASED + 256 * 16 * 64 + 2 * 64,
}


@pytest.mark.parametrize("name", [name for name in TRUNKS if name != "resnet18"])
def test_number_of_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name).parameters()) == PARAMETERS[name]


def test_the_released_net_of_lsoftmax_has_4_million_weights() -> None:
    """3.14 million, as is said of it, where pooling leaves out the last row of the 7 x 7 maps."""
    net = build("lsoftmax_repo", dim=512)
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_055_360
    assert net.embedding.in_features == 256 * 4 * 4  # type: ignore[union-attr]
    assert round((RELEASED + 256 * 9 * 512 + 2 * 512) / 1e6, 2) == 3.14


@pytest.mark.parametrize("name", list(TRUNKS))
def test_only_the_released_net_of_lsoftmax_ends_in_its_activation(name: str) -> None:
    images = torch.rand(8, 1, SIZES[name], SIZES[name])
    embeddings = build(name, dim=16)(images)
    assert (embeddings > 0).any()
    assert (embeddings < 0).any() == (name != "lsoftmax_repo")


@pytest.mark.parametrize("name", list(TRUNKS))
def test_a_stack_of_backbones_is_each_of_them(name: str) -> None:
    images = torch.rand(4, 1, SIZES[name], SIZES[name])
    nets = [build(name, seed=seed, dim=3, activation="prelu") for seed in (1, 2)]
    expected = torch.stack([net(images) for net in nets])
    found = StackedModule(nets, torch.device("cpu"), torch.float32).call(images, shared=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_resnet18_is_torchvisions_but_for_the_stem() -> None:
    from torchvision.models import resnet18

    net = build("resnet18")
    ours = sum(
        parameter.numel()
        for part in (net.stem, net.trunk)
        for parameter in part.parameters()  # type: ignore[union-attr]
    )
    theirs = resnet18()
    stem, head = (
        theirs.conv1.weight.numel(),
        sum(parameter.numel() for parameter in theirs.fc.parameters()),
    )
    assert (
        ours == sum(parameter.numel() for parameter in theirs.parameters()) - stem - head + 9 * 64
    )


@pytest.mark.parametrize("name", list(TRUNKS))
@pytest.mark.parametrize("activation", ["relu", "prelu"])
def test_a_generator_decides_all_weights(name: str, activation: str) -> None:
    torch.manual_seed(1)
    first = build(name, seed=3, dim=2, norm="none", activation=activation)
    torch.manual_seed(2)
    second = build(name, seed=3, dim=2, norm="none", activation=activation)
    third = build(name, seed=4, dim=2, norm="none", activation=activation)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key
    assert not torch.equal(first.embedding.weight, third.embedding.weight)  # type: ignore[union-attr]
    images = torch.rand(3, 1, SIZES[name], SIZES[name])
    assert first(images).shape == (3, 2)
    assert torch.isfinite(first(images)).all()
