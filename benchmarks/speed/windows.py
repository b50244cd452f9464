"""Training throughput: a worker starts up, warms up, waits for the others, and trains through a window of time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch

from benchmarks.data import TrainingData
from benchmarks.experiment import Experiment
from benchmarks.graphs import fastest_step
from benchmarks.memory import forget_peak, keep_freed_memory, peak_memory
from benchmarks.speed.processes import Job, ready
from benchmarks.speed.task import Task, streams
from benchmarks.speed.usual import Usual
from benchmarks.stack import Stack
from datasets.image_set import ImageSet

WARM_UP = {"cpu": 1, "cuda": 3}  # steps before the window but the first; on a GPU one is recorded
SHORTEST = 2  # steps in the window
FOREVER = 10**6  # epochs: no window lasts so long


def usual(job: Job) -> dict[str, Any]:
    """One experiment the usual way."""
    task = Task.from_json(job["task"])
    _threads(job)
    way = Usual(
        Experiment.from_json(job["members"][0]), task.images(), torch.device(task.device), job.get("workers", 0)
    )  # fmt: skip
    return _window(way.steps(FOREVER), torch.device(task.device), job)


def suite(job: Job) -> dict[str, Any]:
    """A stack; `out_of_memory` where it does not fit."""
    task, device = Task.from_json(job["task"]), torch.device(job["task"]["device"])
    _threads(job)
    keep_freed_memory()
    members = [Experiment.from_json(item) for item in job["members"]]
    found = {"streams": streams(members)}
    try:
        return {**found, **_window(stack_steps(members, task.images(), device), device, job)}
    except (torch.OutOfMemoryError, MemoryError):
        return {**found, "out_of_memory": True}


def stack_steps(members: list[Experiment], images: ImageSet, device: torch.device) -> Iterator[int]:
    """Make a stack ready; then train it as the trainer does, and after each step give the number of its images."""
    data = TrainingData(images, members, device)
    stack = Stack.for_data(members, data)
    step = fastest_step(stack, data)

    def steps() -> Iterator[int]:
        for epoch in count(1):
            for batch, labels in data.batches(stack.streams, epoch):
                step(batch, labels, 1.0)
                yield labels.shape[1] * len(members)

    return steps()


def _threads(job: Job) -> None:
    if job["threads"]:
        torch.set_num_threads(job["threads"])


def _window(steps: Iterator[int], device: torch.device, job: Job) -> dict[str, Any]:
    wait(device)
    startup = time.time() - job["launched"]
    forget_peak(device)
    for _ in range(1 + WARM_UP[device.type]):
        next(steps)
    wait(device)
    ready()
    start, images, done = time.perf_counter(), 0, 0
    while done < SHORTEST or time.perf_counter() - start < job["seconds"]:
        images += next(steps)
        done += 1
        # Steps are only queued on a GPU: without this the window would end far too late.
        if done % 8 == 0:
            wait(device)
    wait(device)
    seconds = time.perf_counter() - start
    return {
        "startup_seconds": startup,
        "images": images,
        "steps": done,
        "seconds": seconds,
        "device_mebibytes": peak_memory(device) / 2**20 if device.type == "cuda" else None,
    }


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
