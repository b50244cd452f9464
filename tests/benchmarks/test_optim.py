"""Each model's update is the one torch.optim would make for it alone; schedules are what their formulas say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import optim
from benchmarks.optim import Slot, StackedOptimizer, schedule

RATES = [0.1, 0.03, 0.002]
DECAYS = [0.0, 0.01, 0.1]
MULTIPLIERS = [1.0, 10.0, 0.0]
CLIPS = [0.0, 0.5, 3.0]
STEPS = 6


def tensors(seed: int) -> list[Tensor]:
    """A decayed weight (3, 4, 5), a bias (3, 5), class weights (2, 6, 5) of the last two models."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 4, 5), (3, 5), (2, 6, 5)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def make(kind: str, clip: list[float], momentum: float) -> tuple[StackedOptimizer, list[Slot]]:
    weight, bias, classes = (tensor.clone().requires_grad_() for tensor in tensors(0))
    slots = [
        Slot(weight, slice(0, 3), True, False),
        Slot(bias, slice(0, 3), False, False),
        Slot(classes, slice(1, 3), True, True),
    ]
    optimizer = StackedOptimizer(
        kind,
        slots,
        learning_rate=torch.tensor(RATES, dtype=torch.float64),
        weight_decay=torch.tensor(DECAYS, dtype=torch.float64),
        class_learning_rate=torch.tensor(MULTIPLIERS, dtype=torch.float64),
        clip_norm=torch.tensor(clip, dtype=torch.float64),
        momentum=momentum,
    )
    return optimizer, slots


def one_of(values: list[Tensor], model: int) -> list[Tensor]:
    """The tensors of one model."""
    weight, bias, classes = values
    return [weight[model], bias[model], *([classes[model - 1]] if model > 0 else [])]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("clip", [[0.0] * 3, CLIPS])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_equals_torch_for_each_model_alone(kind: str, clip: list[float], momentum: float) -> None:
    optimizer, slots = make(kind, clip, momentum)
    for step in range(STEPS):
        for slot, gradient in zip(slots, tensors(step + 1), strict=True):
            slot.parameter.grad = gradient.clone()
        optimizer.step(1 - step / 10)
        assert all(slot.parameter.grad is None for slot in slots)

    for model in range(3):
        own = [tensor.clone().requires_grad_() for tensor in one_of(tensors(0), model)]
        multipliers = [1.0, 1.0, MULTIPLIERS[model]]
        decays = [DECAYS[model], 0.0, DECAYS[model]]
        groups: list[dict[str, Any]] = [
            {"params": [tensor], "lr": RATES[model] * multiplier, "weight_decay": decay}
            for tensor, multiplier, decay in zip(own, multipliers, decays, strict=False)
        ]
        reference: torch.optim.Optimizer = (
            torch.optim.SGD(groups, momentum=momentum)
            if kind == "sgd"
            else torch.optim.AdamW(groups, betas=(momentum, 0.999), eps=1e-8)
        )
        base = [group["lr"] for group in reference.param_groups]
        for step in range(STEPS):
            for tensor, gradient in zip(own, one_of(tensors(step + 1), model), strict=True):
                tensor.grad = gradient.clone()
            if clip[model] > 0:
                torch.nn.utils.clip_grad_norm_(own, clip[model])
            for group, rate in zip(reference.param_groups, base, strict=True):
                group["lr"] = rate * (1 - step / 10)
            reference.step()
        found = one_of([slot.parameter.detach() for slot in slots], model)
        for tensor, expected in zip(found, own, strict=True):
            torch.testing.assert_close(tensor, expected.detach(), rtol=1e-12, atol=1e-14)
    frozen = slots[2].parameter.detach()[1]
    if kind == "sgd" or clip[2] == 0:
        torch.testing.assert_close(frozen, tensors(0)[2][1], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """An update in blocks of one row each; clipping sums the squares in another order."""
    found = []
    for block in (10**6, 7):
        monkeypatch.setattr(optim, "BLOCK", block)
        optimizer, slots = make(kind, [0.0] * 3, 0.9)
        clipped, others = make(kind, CLIPS, 0.9)
        for step in range(3):
            for each in (slots, others):
                for slot, gradient in zip(each, tensors(step + 1), strict=True):
                    slot.parameter.grad = gradient.clone()
            optimizer.step(0.5)
            clipped.step(0.5)
        found.append([[slot.parameter.detach() for slot in each] for each in (slots, others)])
    for whole, blocks in zip(*(each[0] for each in found), strict=True):
        assert torch.equal(whole, blocks)
    for whole, blocks in zip(*(each[1] for each in found), strict=True):
        torch.testing.assert_close(whole, blocks, rtol=1e-13, atol=1e-14)


def test_parameters_of_any_layout_are_updated_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels-last weights, whose blocks are no rows of memory."""
    monkeypatch.setattr(optim, "BLOCK", 5)
    start = torch.randn(2, 4, 3, 3, 3)
    weight = start.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3).requires_grad_()
    half, one = torch.full((2,), 0.5), torch.ones(2)
    slot = Slot(weight, slice(0, 2), False, False)
    optimizer = StackedOptimizer(
        "sgd", [slot], learning_rate=half, weight_decay=one, class_learning_rate=one,
        clip_norm=torch.zeros(2), momentum=0.0,
    )  # fmt: skip
    weight.grad = torch.ones_like(start)
    optimizer.step(1.0)
    torch.testing.assert_close(weight.detach(), start - 0.5)


def test_clipping_one_model_leaves_the_gradients_of_the_others() -> None:
    """With rate 1, no momentum and no decay the update is the clipped gradient."""
    optimizer, slots = make("sgd", CLIPS, 0.0)
    optimizer.learning_rate.fill_(1.0)
    optimizer.weight_decay.fill_(0.0)
    optimizer.class_learning_rate.fill_(1.0)
    for slot, gradient in zip(slots, tensors(1), strict=True):
        slot.parameter.grad = gradient.clone()
    optimizer.step(1.0)
    updates = [
        start - slot.parameter.detach() for start, slot in zip(tensors(0), slots, strict=True)
    ]
    norms = [
        math.sqrt(sum(float(part.square().sum()) for part in one_of(updates, model)))
        for model in range(3)
    ]
    whole = math.sqrt(sum(float(part.square().sum()) for part in one_of(tensors(1), 0)))
    assert norms == pytest.approx([whole, 0.5, 3.0], rel=1e-6)


def test_a_parameter_without_gradient_stays() -> None:
    optimizer, slots = make("adamw", CLIPS, 0.9)
    slots[0].parameter.grad = torch.ones_like(slots[0].parameter)
    optimizer.step(1.0)
    assert torch.equal(slots[1].parameter.detach(), tensors(0)[1])
    assert not torch.equal(slots[0].parameter.detach(), tensors(0)[0])


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_state_goes_on_exactly(kind: str) -> None:
    whole, slots = make(kind, CLIPS, 0.9)
    halved, others = make(kind, CLIPS, 0.9)
    for step in range(4):
        for slot, gradient in zip(slots, tensors(step + 1), strict=True):
            slot.parameter.grad = gradient.clone()
        whole.step(1.0)
        if step == 1:
            halved.restore(whole.state())
            for slot, other in zip(slots, others, strict=True):
                other.parameter.detach().copy_(slot.parameter.detach())
        if step > 1:
            for other, gradient in zip(others, tensors(step + 1), strict=True):
                other.parameter.grad = gradient.clone()
            halved.step(1.0)
    for slot, other in zip(slots, others, strict=True):
        assert torch.equal(slot.parameter.detach(), other.parameter.detach())


def recipe(**changes: Any) -> dict[str, Any]:
    base = {
        "epochs": 4,
        "schedule": "cosine",
        "warmup_epochs": 0,
        "milestones": [0.5, 0.75],
        "decay": 0.1,
    }
    return base | changes  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1, 1, 1, 1, 1]),
        ({"schedule": "step"}, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        ({"schedule": "step", "decay": 0.5, "milestones": [0.25]}, [1, 1, *[0.5] * 6]),
        ({}, [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),
        ({"warmup_epochs": 1}, [1 / 3, 2 / 3, *[(1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]]),
        ({"warmup_epochs": 1.5, "schedule": "constant"}, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        ({"warmup_epochs": 4}, [step / 9 for step in range(1, 9)]),
    ],
)  # fmt: skip
def test_schedules(changes: dict[str, Any], expected: list[float]) -> None:
    """Four epochs of two steps."""
    found = [schedule(recipe(**changes), step, 2) for step in range(8)]
    assert found == pytest.approx(expected, rel=1e-12)
