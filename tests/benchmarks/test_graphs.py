"""A step that is recorded and replayed is the step: nothing that changes from step to step is kept by Python.

On a CPU a tape stands for the CUDA graph (`tests.benchmarks.tape`); with a GPU the graph itself is tested too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.data import TrainingData
from benchmarks.experiment import Experiment
from benchmarks.graphs import WARM_UP, GraphedStep, record
from benchmarks.history import EpochLog
from benchmarks.stack import Stack
from losses import catalog
from tests.benchmarks import tape, tiny
from tests.benchmarks.test_stack import make as make_stack
from tests.benchmarks.test_stack import states

STACKED = [name for name in catalog.CATALOG if catalog.row(name).stacked]
FACTORS = (1.0, 0.9, 0.5, 0.25, 0.7, 0.1)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


# All models of a stack as one, as on a GPU, also where it lies on a CPU.
make = partial(make_stack, looped=False)


def everything(optimizer: str) -> list[Experiment]:
    """Every loss that can be stacked, and a sum with one whose `after_step` waits for the device."""
    changes: dict[str, Any] = {"learning_rate": 0.003, "clip_norm": 1.0, "sampler": "balanced"}
    return [
        tiny.experiment(name, optimizer=optimizer, seed=number % 2, **changes)
        for number, name in enumerate([*STACKED, "oim+triplet"])
    ]


def train(step: Callable[..., dict[str, Tensor]], data: Any, stack: Stack) -> EpochLog:
    log = EpochLog()
    batches = [batch for epoch in (1, 2) for batch in data.batches(stack.streams, epoch)]
    for (images, labels), factor in zip(batches, FACTORS, strict=True):
        log.add(step(images, labels, factor))
    return log


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_replayed_steps_are_plain_steps(optimizer: str) -> None:
    plain, data = make(everything(optimizer), torch.float32)
    replayed, _ = make(everything(optimizer), torch.float32)
    step = GraphedStep(replayed, tape.record)
    expected, found = train(plain.step, data, plain), train(step, data, replayed)
    assert step.replay is not None
    assert expected.sums.keys() == found.sums.keys()
    for name, values in expected.sums.items():
        assert torch.equal(values.nan_to_num(), found.sums[name].nan_to_num()), name
    theirs = states(replayed)
    for item, state in states(plain).items():
        for name, tensor in state.items():
            assert torch.equal(tensor, theirs[item][name]), (item, name)
    assert plain.optimizer.state()["steps"] == replayed.optimizer.state()["steps"] == len(FACTORS)
    assert len(FACTORS) > WARM_UP + 1


def test_a_step_that_python_counts_is_not_repeated_rightly() -> None:
    """The tape is a test: with a count in Python, as bias correction easily has it, it finds a difference."""
    items = [tiny.experiment("cosface", optimizer="adamw", learning_rate=0.003)]
    plain, data = make(items, torch.float32)
    replayed, _ = make(items, torch.float32)
    replayed.optimizer.steps = 0  # type: ignore[assignment]
    train(plain.step, data, plain)
    train(GraphedStep(replayed, tape.record), data, replayed)
    ours, theirs = (next(iter(states(stack).values())) for stack in (plain, replayed))
    assert not torch.equal(ours["backbone.embedding.weight"], theirs["backbone.embedding.weight"])


def test_where_nothing_can_be_recorded_the_steps_are_plain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    items = [tiny.experiment("cosface"), tiny.experiment("center", seed=1)]

    def refuses(function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    plain, data = make(items, torch.float32)
    other, _ = make(items, torch.float32)
    train(plain.step, data, plain)
    with caplog.at_level(logging.WARNING):
        train(GraphedStep(other, refuses), data, other)
    assert caplog.text.count("without a CUDA graph") == 1
    assert "RuntimeError: operation not permitted when stream is capturing" in caplog.text
    theirs = states(other)
    for item, state in states(plain).items():
        assert all(torch.equal(tensor, theirs[item][name]) for name, tensor in state.items())


@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_cuda_graph_gives_the_numbers_of_plain_steps(precision: str) -> None:
    """Within what the order of sums on a GPU leaves open, over a few steps."""
    device = torch.device("cuda")
    items = [
        tiny.experiment(name, optimizer="adamw", learning_rate=1e-4, precision=precision)
        for name in ("softmax", "cosface", "curricularface", "center", "oim")
    ]
    image_set, found = tiny.images(), []
    for graphed in (False, True):
        data = TrainingData(image_set, items, device)
        stack = Stack.for_data(items, data)
        step = GraphedStep(stack, record)
        log = train(step if graphed else stack.step, data, stack)
        assert (step.replay is not None) == graphed
        found.append((log.sums["loss"].cpu(), states(stack)))
    tolerance = 1e-3 if precision == "float32" else 3e-2
    assert torch.allclose(found[0][0], found[1][0], rtol=tolerance)
    for item, state in found[0][1].items():
        for name, tensor in state.items():
            assert torch.allclose(tensor, found[1][1][item][name], rtol=0.05, atol=tolerance), name
