"""How a stack is cut into parts that fit, by arithmetic; and by a real measurement where there is a GPU."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path

import pytest
import torch

from benchmarks import capacity
from benchmarks import train as training
from benchmarks.capacity import SAMPLES, USABLE, limit, parts, parts_that_fit, spread
from benchmarks.stack import Stack
from benchmarks.train import train_stack
from tests.benchmarks import tiny

GIB = 2**30
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(10, 10, [10]), (10, 4, [4, 3, 3]), (100, 40, [34, 33, 33]), (5, 1, [1] * 5), (0, 3, []), (3, 8, [3])],
)  # fmt: skip
def test_parts(count: int, most: int, sizes: list[int]) -> None:
    items = list(range(count))
    cut = parts(items, most)
    assert [len(part) for part in cut] == sizes
    assert [item for part in cut for item in part] == items


@pytest.mark.parametrize(("count", "most"), [(100, 40), (97, 9), (64, 3)])
def test_what_is_left_of_finished_parts_is_cut_as_before(count: int, most: int) -> None:
    """A stack that was stopped finds the checkpoint of the part it was at, which is named by its members."""
    items = list(range(count))
    first, *others = parts(items, most)
    assert parts(items[len(first) :], most) == others


def test_samples_stand_for_the_whole() -> None:
    assert spread(range(100), 4) == [0, 25, 50, 75]
    assert spread(range(3), 16) == [0, 1, 2]


def test_limit_by_hand() -> None:
    """1 GiB for the data and half a GiB for each model: (0.9 * 80 - 1) / 0.5 = 142 models."""
    needs = [(4, 3 * GIB), (16, 9 * GIB)]
    assert USABLE == 0.9
    assert limit(80 * GIB, needs) == 142
    assert (
        limit(GIB // 2, needs) == 1
    )  # not even one: it is tried, and may be recorded as too large
    assert limit(80 * GIB, [(4, GIB), (16, GIB)]) is None


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with 10 GiB free, on which each model takes 0.5 GiB and the data 1."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(
        capacity, "_bytes", lambda members, images, device: GIB + len(members) * GIB // 2
    )


@pytest.mark.usefixtures("_gpu")
def test_a_large_stack_is_cut_and_a_small_one_not_even_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [tiny.experiment("cosface", {"margin": number / 100}) for number in range(40)]
    cut = parts_that_fit(items, tiny.images(), CUDA)
    assert [len(part) for part in cut] == [14, 13, 13]  # (9 - 1) / 0.5 = 16 at most
    assert [item for part in cut for item in part] == items
    assert parts_that_fit(items, tiny.images(), torch.device("cpu")) == [items]

    def fails(*_: object) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(capacity, "_bytes", fails)
    assert parts_that_fit(items[: max(SAMPLES)], tiny.images(), CUDA) == [items[: max(SAMPLES)]]
    assert parts_that_fit(items, tiny.images(), CUDA) == [items]


def test_a_stack_that_ran_out_of_memory_is_gone_when_its_halves_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the error nor its traceback keeps a tensor of it alive."""
    stacks, alive = weakref.WeakSet[Stack](), list[int]()
    step = Stack.step

    def step_of_two(stack: Stack, *batch: object) -> object:
        stacks.add(stack)
        alive.append(len(stacks))
        if stack.size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(stack, *batch)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "load_images", lambda *_: tiny.images())
    monkeypatch.setattr(Stack, "step", step_of_two)
    items = [tiny.experiment("cosface", {"margin": number / 10}) for number in range(4)]
    with caplog.at_level(logging.WARNING):
        statuses = train_stack(items, results=tmp_path, device=torch.device("cpu"))
    assert set(statuses.values()) == {"finished"}
    assert "a stack of 4 could not be trained" in caplog.text
    assert set(alive) == {1}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_measurement_foretells_a_stacks_memory() -> None:
    items = [tiny.experiment("cosface", {"margin": number / 100}) for number in range(64)]
    measured = [
        (count, capacity._bytes(spread(items, count), tiny.images(), CUDA)) for count in (4, 16)
    ]
    (few, little), (many, much) = measured
    each = (much - little) / (many - few)
    whole = capacity._bytes(items, tiny.images(), CUDA)
    assert whole == pytest.approx(little + (len(items) - few) * each, rel=0.2)
