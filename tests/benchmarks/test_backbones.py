"""Every backbone is what its name says, can be stacked, and is drawn from its generator alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.backbones import TRUNKS, build_backbone

SIZES = {"conv3": 28, "conv4": 28, "lenet_plus_plus": 28, "resnet18": 16}


def build(
    name: str, seed: int = 0, dim: int = 64, norm: str = "batch", activation: str = "relu"
) -> nn.Module:
    return build_backbone(
        name, channels=1, image_size=SIZES[name], embedding_dim=dim, embedding_norm=norm, activation=activation,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


# Weights, worked out from the papers' tables: 3x3 kernels without bias, batch norm 2 a channel, linear embedding.
PARAMETERS = {
    "conv3": 9 * (16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + 64 * 16 * 64 + 2 * 64,
    "conv4": 9 * (64 + 3 * 64 * 64) + 4 * 2 * 64 + 64 * 64 + 2 * 64,
    "lenet_plus_plus": 25 * (32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
    + 2 * (32 + 64 + 128)
    + 128 * 9 * 64
    + 128,
}


@pytest.mark.parametrize("name", [name for name in TRUNKS if name != "resnet18"])
def test_number_of_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name).parameters()) == PARAMETERS[name]


def test_resnet18_is_torchvisions_but_for_the_stem() -> None:
    from torchvision.models import resnet18

    ours = sum(parameter.numel() for parameter in build("resnet18").trunk.parameters())  # type: ignore[union-attr]
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
