"""The usual way computes what the suite computes: net, losses, images; so that only the time differs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.backbones import build_backbone
from benchmarks.seeds import stream_seed
from benchmarks.speed import usual
from benchmarks.speed.floor import work
from benchmarks.speed.plain_net import plain_net, plain_twin
from benchmarks.speed.synthetic import characters
from benchmarks.speed.task import SYNTHETIC, Task, settings, streams
from benchmarks.speed.usual import Usual, head_of, transform
from losses.build import build

TASK = Task(SYNTHETIC, batch_size=32, epochs=2)
CLASSES = 7


@pytest.mark.parametrize("name", ["conv3", "conv4"])
@pytest.mark.parametrize("training", [True, False])
def test_the_plain_net_is_the_same_function(name: str, training: bool) -> None:
    (item,) = Task(SYNTHETIC, backbone=name).grid(1)
    generator = torch.Generator().manual_seed(stream_seed("init", item.seed))
    own = build_backbone(channels=1, image_size=28, generator=generator, **item.backbone)
    twin = plain_twin(item, 1, 28)
    own.train(training)
    twin.train(training)
    images = torch.rand(16, 1, 28, 28)
    torch.testing.assert_close(twin(images), own(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("place", range(4))
def test_the_losses_have_the_same_values_and_gradients(place: int) -> None:
    item = TASK.grid(4)[place]
    head = head_of(item, CLASSES)
    own = build(
        item.loss["name"], item.loss["hyperparameters"], num_classes=CLASSES, embedding_dim=64, weight_norm=1,
        generator=torch.Generator().manual_seed(stream_seed("head", item.seed, item.loss["name"])),
    )  # fmt: skip
    embeddings, labels = torch.randn(12, 64), torch.arange(12) % CLASSES
    values, gradients = [], []
    for loss in (head, own):
        leaf = embeddings.clone().requires_grad_()
        value = loss(leaf, labels)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, leaf)[0])
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_without_libraries_plain_pytorch_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    usually = transform({})(pixels)
    assert "torchvision on PIL" in usual.kind()
    monkeypatch.setattr(usual, "has", lambda *_: False)
    torch.testing.assert_close(transform({})(pixels), usually)
    varied = transform({"rotate_degrees": 10})
    assert not torch.equal(varied(pixels), varied(pixels))
    assert type(head_of(TASK.grid(1)[0], CLASSES)).__module__.startswith("losses.")
    assert usual.kind() == "transforms: plain PyTorch, image by image; losses: this suite's, alone"


def test_it_trains_and_says_how_long_its_parts_took() -> None:
    (item,) = TASK.grid(1)
    images = characters(known=20, unknown=4)
    way = Usual(item, images, torch.device("cpu"), timed=True)
    before = {name: value.clone() for name, value in way.head.named_parameters()}
    counts = list(way.steps(2))
    assert counts == [32] * 2 * (20 * 16 // 32)  # the last four images of a class are for testing
    assert all(not torch.equal(value, before[name]) for name, value in way.head.named_parameters())
    assert all(seconds > 0 for seconds in way.seconds.values())
    assert way.embed(way.split.unknown_test).shape == (80, 64)
    assert way.closed_top1() > 0.2  # chance is 0.05


def test_the_grid_is_one_of_losses_margins_scales_and_seeds() -> None:
    points = settings()
    assert len({str(point) for point in points}) == 64
    grid = TASK.grid(130, first_seed=5)
    assert len({item.id for item in grid}) == 130
    assert [item.seed for item in grid] == [5] * 64 + [6] * 64 + [7] * 2
    assert streams(grid) == 3
    assert len({item.loss["name"] for item in grid[:4]}) == 4
    assert len({item.layout for item in grid}) == 1


@pytest.mark.parametrize("name", ["conv3", "conv4"])
def test_the_floors_arithmetic_is_that_of_the_flop_counter(name: str) -> None:
    batch, classes = 8, 33
    net = plain_net(name, 1, 28, 64)
    weight = torch.randn(classes, 64, requires_grad=True)
    labels = torch.zeros(batch, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        logits = net(torch.rand(batch, 1, 28, 28)) @ weight.T
        torch.nn.functional.cross_entropy(logits, labels).backward()
    cost = work(Task(SYNTHETIC, backbone=name), 1, 28, classes)
    assert cost.flop == counter.get_total_flops() / batch


def test_the_floors_bytes_by_hand() -> None:
    outputs = 16 * 14**2 + 32 * 7**2 + 64 * 4**2 + 64 + 10
    norms = 2 * (16 + 32 + 64 + 64)
    weights = 9 * (16 + 16 * 32 + 32 * 64) + 64 * 4**2 * 64 + norms + 10 * 64
    cost = work(Task(SYNTHETIC, batch_size=4), 1, 28, 10)
    assert cost.bytes == pytest.approx(4 * (28**2 + 4 * outputs + 8 * weights / 4))
