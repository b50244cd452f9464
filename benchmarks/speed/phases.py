"""Where the time of a training step goes: the ranges that the engine marks with `record_function`, and a clock."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.data import TrainingData
from benchmarks.experiment import Experiment
from benchmarks.memory import keep_freed_memory
from benchmarks.speed.processes import Job, ready
from benchmarks.speed.task import Task
from benchmarks.speed.usual import PARTS, Usual
from benchmarks.speed.windows import FOREVER, WARM_UP, wait
from benchmarks.stack import Stack

AUGMENTATION = "augmentation"
STEP = ("backbone forward", "heads", "backbone backward", "optimizer")
"""The engine's names of the phases of `Stack.step`; what is left of a step is overhead."""
PHASES = ("data", AUGMENTATION, *STEP, "overhead")


def job(content: Job) -> dict[str, Any]:
    """Microseconds an image and model, by phase, of a stack or of the usual way."""
    if content["threads"]:
        torch.set_num_threads(content["threads"])
    task, device = Task.from_json(content["task"]), torch.device(content["task"]["device"])
    members = [Experiment.from_json(item) for item in content["members"]]
    images = task.images()
    if content["way"] == "usual":
        return {"microseconds": _usual(Usual(members[0], images, device, timed=True), content)}
    keep_freed_memory()
    data = TrainingData(images, members, device)
    stack = Stack.for_data(members, data)
    return {"microseconds": _suite(stack, data, len(members), content)}


def _usual(way: Usual, content: Job) -> dict[str, float]:
    steps = way.steps(FOREVER)
    for _ in range(WARM_UP[way.device.type]):
        next(steps)
    way.seconds = dict.fromkeys(PARTS, 0.0)
    ready()
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < content["seconds"]:
        images += next(steps)
    total = time.perf_counter() - start
    rest = {"overhead": total - sum(way.seconds.values())}
    return {name: 1e6 * seconds / images for name, seconds in {**way.seconds, **rest}.items()}


def _suite(stack: Stack, data: TrainingData, models: int, content: Job) -> dict[str, float]:
    """Plain steps: on a GPU every phase is waited for, so that no CUDA graph hides it, and the sum is larger."""
    device = stack.device

    def batches() -> Iterator[Any]:
        epoch = 0
        while True:
            epoch += 1
            yield from data.batches(stack.streams, epoch)

    source = batches()
    for _ in range(WARM_UP[device.type]):
        batch, labels = next(source)
        stack.step(batch, labels, 1.0)
    wait(device)
    ready()
    with clocked(device) as seconds:
        start, images = time.perf_counter(), 0
        while not images or time.perf_counter() - start < content["seconds"]:
            mark = time.perf_counter()
            batch, labels = next(source)
            wait(device)
            seconds["data"] += time.perf_counter() - mark
            stack.step(batch, labels, 1.0)
            images += labels.shape[1] * models
        wait(device)
        total = time.perf_counter() - start
    seconds["data"] -= seconds[AUGMENTATION]
    seconds["overhead"] = total - sum(seconds.values())
    return {name: 1e6 * seconds[name] / images for name in PHASES}


@contextmanager
def clocked(device: torch.device) -> Iterator[dict[str, float]]:
    """Within this, ranges of `record_function` add their seconds to what is given, by name; others than PHASES do not."""
    seconds: dict[str, float] = defaultdict(float)

    class Range:
        """In the place of `torch.autograd.profiler.record_function`."""

        def __init__(self, name: str, args: str | None = None) -> None:
            self.name = name

        def __enter__(self) -> Range:
            wait(device)
            self.start = time.perf_counter()
            return self

        def __exit__(self, *_: object) -> None:
            wait(device)
            if self.name in PHASES:
                seconds[self.name] += time.perf_counter() - self.start

    plain = torch.autograd.profiler.record_function
    users = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("benchmarks.", "torch.autograd.profiler", "torch.profiler"))
        and getattr(module, "record_function", None) is plain
    ]
    for module in users:
        module.record_function = Range  # type: ignore[attr-defined]
    try:
        yield seconds
    finally:
        for module in users:
            module.record_function = plain  # type: ignore[attr-defined]
