"""Heads in blocks of classes give what the whole table gives, and hold no table."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from losses import class_table, class_walk, heads, large_tables
from losses.base import Loss
from losses.build import build
from losses.class_blocks import Found, cross_entropy_in_blocks, own_rows
from losses.class_table import cross_entropy_in_table
from losses.heads import CosineHead
from losses.schema import Value
from tests.losses.stacks import Stack, batch, make, structure_id, structures

Structure = tuple[str, dict[str, Value]]
CLASSES = 40
WHOLE, BLOCKS = 10**9, 0


def in_blocks(name: str, hyper: dict[str, Value]) -> bool:
    loss = make(name, hyper)
    return isinstance(loss, CosineHead) and loss.in_blocks


COVERED = [each for each in structures() if in_blocks(*each)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """7 classes a block for 12 samples, the last one shorter."""
    monkeypatch.setattr(class_walk, "BLOCK", 7 * 12)


def drawn(dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labels with duplicates, and a zero embedding."""
    embeddings, labels = batch(12, 6, CLASSES, seed, dtype)
    labels[1] = labels[0]
    embeddings[2] = 0
    return embeddings, labels


def head(structure: Structure, dtype: torch.dtype, seed: int = 0) -> Any:
    name, hyper = structure
    sizes = {"num_classes": CLASSES, "embedding_dim": 6}
    return make(name, hyper, seed=seed, dtype=dtype, label_smoothing=0.1, **sizes)


def results(loss: Loss, embeddings: Tensor, labels: Tensor) -> dict[str, Tensor]:
    x = embeddings.clone().requires_grad_()
    value, log = loss.compute(x, labels)
    found = torch.autograd.grad(value, [x, *loss.parameters()])
    names = ("embeddings", *dict(loss.named_parameters()))
    return {"loss": value.detach(), **log, **dict(zip(names, found, strict=True))}


def test_which_losses_are_covered() -> None:
    assert {name for name, _ in COVERED} == {
        "norm_softmax", "cosface", "arcface", "combined", "cosine_over_ten", "subcenter_arcface",
        "curricularface", "mv_softmax", "magface", "adaface", "elasticface", "sphereface_r",
    }  # fmt: skip


@pytest.mark.parametrize("structure", COVERED, ids=structure_id)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_blocks_are_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, structure: Structure, dtype: torch.dtype
) -> None:
    both = []
    for bound in (WHOLE, BLOCKS):
        monkeypatch.setattr(heads, "LARGEST_TABLE", bound)
        both.append(results(head(structure, dtype), *drawn(dtype)))
    assert both[0].keys() == both[1].keys()
    tolerance = 1e-13 if dtype == torch.float64 else 2e-6
    for key, expected in both[0].items():
        difference = (both[1][key] - expected).norm()
        assert difference <= tolerance * (expected.norm() + (expected.norm() == 0)), key


@pytest.mark.parametrize("structure", COVERED, ids=structure_id)
def test_a_stack_is_its_models(monkeypatch: pytest.MonkeyPatch, structure: Structure) -> None:
    monkeypatch.setattr(heads, "LARGEST_TABLE", BLOCKS)
    losses = [head(structure, torch.float64, seed) for seed in (0, 1)]
    batches = [drawn(torch.float64, seed) for seed in (0, 1)]
    stack = Stack(copy.deepcopy(losses))
    x = torch.stack([each[0] for each in batches]).requires_grad_()
    y = torch.stack([each[1] for each in batches])
    values, log = stack.call("compute", x, y)
    found = torch.autograd.grad(values.sum(), [x, *stack.parameters.values()])
    for k, (loss, (embeddings, labels)) in enumerate(zip(losses, batches, strict=True)):
        alone = results(loss, embeddings, labels)
        together = [values[k], *(each[k] for each in log.values()), *(each[k] for each in found)]
        for got, expected in zip(together, alone.values(), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)


def plain_arcface(x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Margin 0.5, scale 64, in torch's own words."""
    cosine = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(weight).T
    own = torch.nn.functional.one_hot(labels, len(weight)).bool()
    moved = torch.where(own, (cosine.clamp(-1 + 1e-7, 1 - 1e-7).acos() + 0.5).cos(), cosine)
    return torch.nn.functional.cross_entropy(64 * moved, labels)


@pytest.mark.parametrize("bound", [WHOLE, BLOCKS])
def test_a_hundred_thousand_classes_to_six_digits(
    monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    """At scale 64, against float64: value and both gradients."""
    monkeypatch.setattr(heads, "LARGEST_TABLE", bound)
    monkeypatch.setattr(class_walk, "BLOCK", 2**20)
    x, labels = batch(32, 32, 100_000, dtype=torch.float32)
    loss = make("arcface", num_classes=100_000, embedding_dim=32, dtype=torch.float32)
    x += 8 * loss.weight.detach()[labels]
    found = results(loss, x, labels)
    exact, weight = x.double().requires_grad_(), loss.weight.detach().double().requires_grad_()
    value = plain_arcface(exact, weight, labels)
    of_x, of_weight = torch.autograd.grad(value, [exact, weight])
    for got, expected in (
        (found["loss"], value.detach()), (found["embeddings"], of_x), (found["weight"], of_weight),
    ):  # fmt: skip
        assert (got - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("function", [cross_entropy_in_table, cross_entropy_in_blocks])
def test_a_sample_that_is_right_keeps_its_digits(function: Callable[..., Found]) -> None:
    """1 - p is 1e-13, which a difference of float32 numbers cannot hold."""
    vectors, weight = torch.tensor([[30.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    target, nothing = torch.tensor([30.0], requires_grad=True), torch.tensor(0.0)
    found = function(vectors, weight, torch.tensor([0]), target, nothing)
    (slope,) = torch.autograd.grad(found.losses.sum(), target)
    odds = torch.tensor([-30.0], dtype=torch.float64).exp()
    torch.testing.assert_close(found.losses.detach().double(), odds.log1p(), rtol=1e-6, atol=0)
    torch.testing.assert_close(slope.double(), -odds / (1 + odds), rtol=1e-6, atol=0)


class Sizes(TorchDispatchMode):
    """The storages of all tensors of some size or more that operations give."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least, self.found = least, set[int]()

    def __torch_dispatch__(
        self, function: Any, types: Any, inputs: Any = (), options: Any = None
    ) -> Any:
        result = function(*inputs, **(options or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, Tensor) and each.numel() >= self.least:
                self.found.add(each.untyped_storage().data_ptr())
        return result


def test_no_table_but_the_weights_and_their_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither (B, C) nor a third (C, D), forward and backward."""
    monkeypatch.setattr(heads, "LARGEST_TABLE", BLOCKS)
    sizes = {"num_classes": 1000, "embedding_dim": 16}
    loss = build("arcface", {}, label_smoothing=0.1, **sizes)
    x, labels = batch(16, 16, 1000, dtype=torch.float32)
    x.requires_grad_()
    with Sizes(1000 * 16) as sizes_seen:
        loss(x, labels).backward()
    own = {loss.weight.data_ptr(), loss.weight.grad.data_ptr()}
    assert sizes_seen.found <= own


def test_one_table_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward; the weights and what is made of them are smaller here."""
    monkeypatch.setattr(heads, "LARGEST_TABLE", WHOLE)
    loss = build("arcface", {}, label_smoothing=0.1, num_classes=1000, embedding_dim=16)
    x, labels = batch(64, 16, 1000, dtype=torch.float32)
    x.requires_grad_()
    with Sizes(1000 * 64) as sizes_seen:
        loss(x, labels).backward()
    assert len(sizes_seen.found) == 1


def test_rows_have_the_same_bits_wherever_they_stand() -> None:
    """In float32; neither rows nor classes fill the vectors of a processor."""
    generator = torch.Generator().manual_seed(0)
    logits, target = (9 * torch.randn(39, count, generator=generator) for count in (11, 1))
    index = torch.randint(11, (39, 1), generator=generator)
    ease = torch.tensor([0.0, 0.1, 0.0]).repeat_interleave(13).unsqueeze(-1)

    def found(rows: slice) -> list[Tensor]:
        table = logits[rows].clone()
        inputs = (each[rows].clone() for each in (index, target, ease))
        return [*class_table._entropies(table, *inputs, None), table]

    together = found(slice(None))
    for some in (slice(0, 13), slice(13, 26), slice(26, 39)):
        for got, expected in zip(found(some), together, strict=True):
            assert torch.equal(got, expected[some])


def test_tables_take_over_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    blocks = heads.cross_entropy_in_blocks

    def spy(*inputs: Any, **options: Any) -> Any:
        calls.append(1)
        return blocks(*inputs, **options)

    monkeypatch.setattr(heads, "cross_entropy_in_blocks", spy)
    loss = head(("cosface", {}), torch.float64)
    for bound, expected in ((12 * CLASSES, 0), (12 * CLASSES - 1, 1)):
        monkeypatch.setattr(heads, "LARGEST_TABLE", bound)
        loss(*drawn(torch.float64))
        assert len(calls) == expected


@pytest.mark.parametrize("bound", [WHOLE, BLOCKS])
def test_there_is_no_second_derivative_to_be_wrong(
    monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(heads, "LARGEST_TABLE", bound)
    x, labels = drawn(torch.float64)
    x.requires_grad_()
    value = head(("cosface", {}), torch.float64)(x, labels).square()
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_rows_of_a_frozen_table_need_no_gradient() -> None:
    rows, table = own_rows(torch.eye(3), torch.tensor([2, 0]))
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert not rows.requires_grad
    assert not table.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_table_is_an_ordinary_tensor(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(large_tables, "LARGE", 1)
    like = torch.ones(3, 5, 7, dtype=dtype)
    table = large_tables.new_table(like)
    assert table.shape == like.shape
    assert table.dtype == dtype
    assert table.is_contiguous()
    assert torch.equal(table.fill_(2.0) * like, 2 * like)
    monkeypatch.setattr(heads, "LARGEST_TABLE", BLOCKS)
    found = results(head(("arcface", {}), dtype), *drawn(dtype))
    monkeypatch.setattr(large_tables, "LARGE", 10**9)
    for key, expected in results(head(("arcface", {}), dtype), *drawn(dtype)).items():
        assert torch.equal(found[key], expected), key


def test_weights_are_drawn_as_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place and in blocks of rows: the numbers of one draw."""
    monkeypatch.setattr(heads, "ROWS", 3)
    generator = torch.Generator().manual_seed(4)
    loss = build("arcface", num_classes=10, embedding_dim=5, weight_norm=2.0, generator=generator)
    rows = torch.randn(10, 5, generator=torch.Generator().manual_seed(4))
    expected = 2 * rows / rows.norm(dim=1, keepdim=True)
    torch.testing.assert_close(loss.weight.detach(), expected)
