"""Forward and backward pass of the backbone in all the ways that were tried, in turn in one process.

A row is the time of an image and model: of one plain net in several formats, of several nets one after the other or
as one `vmap`, and of the engine's own path.

    python -m benchmarks.speed --only variants
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.memory import keep_freed_memory
from benchmarks.speed.phases import clocked
from benchmarks.speed.plain_net import plain_net
from benchmarks.speed.processes import Job, ready
from benchmarks.speed.task import Task
from benchmarks.speed.windows import wait
from benchmarks.stack import Stack

Way = Callable[[], float | None]
"""One pass; its seconds, where they are not those of the call."""


def job(content: Job) -> dict[str, Any]:
    """In a worker: microseconds an image and model by variant, medians over rounds; reasons where one did not run."""
    if content["threads"]:
        torch.set_num_threads(content["threads"])
    keep_freed_memory()
    task, device = Task.from_json(content["task"]), torch.device(content["task"]["device"])
    torch.manual_seed(0)
    images = torch.rand(task.batch_size, 1, 28, 28, device=device)
    ready()
    times: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    ways = variants(task, images, content["models"], compiled=content["compiled"])
    for name in list(ways):
        way, _ = ways[name]
        try:
            for _ in range(2):
                way()
            wait(device)
        except Exception as error:  # no compiler, no such kernels: part of what is measured
            notes[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            del ways[name]
    for _ in range(content["rounds"]):
        for name, (way, models) in ways.items():
            start = time.perf_counter()
            own = way()
            wait(device)
            took = time.perf_counter() - start if own is None else own
            times.setdefault(name, []).append(1e6 * took / (models * task.batch_size))
    return {"microseconds": {name: statistics.median(own) for name, own in times.items()}, "notes": notes}  # fmt: skip


def variants(task: Task, images: Tensor, models: int, *, compiled: bool) -> dict[str, tuple[Way, int]]:  # fmt: skip
    """Each way of a pass through the net with all gradients of its weights, and how many models it passes through."""
    dim = task.net["embedding_dim"]
    nets = [
        plain_net(task.backbone, 1, images.shape[-1], dim).to(images.device) for _ in range(models)
    ]
    last = [deepcopy(net).to(memory_format=torch.channels_last) for net in nets]
    images_last = images.contiguous(memory_format=torch.channels_last)

    def one(net: Callable[[Tensor], Tensor], own: nn.Module, batch: Tensor = images) -> None:
        _backward(net(batch).float(), list(own.parameters()))

    def low() -> None:
        with torch.autocast(images.device.type, torch.bfloat16):
            found = last[0](images_last)
        _backward(found.float(), list(last[0].parameters()))

    def loop() -> None:
        for net in last:
            one(net, net, images_last)

    ways: dict[str, tuple[Way, int]] = {
        "one net, contiguous": (lambda: one(nets[0], nets[0]), 1),
        "one net, channels last": (lambda: one(last[0], last[0], images_last), 1),
        "one net, channels last, bfloat16 autocast": (low, 1),
        "nets in a loop, channels last": (loop, models),
        "nets as one vmap": (_stacked(nets, images), models),
        "the engine's path": (_engine(task, images, models), models),
    }
    if compiled:
        fast = torch.compile(last[0])
        ways["one net, channels last, torch.compile"] = (lambda: one(fast, last[0], images_last), 1)
    return ways


def _backward(found: Tensor, parameters: list[Tensor]) -> None:
    torch.autograd.grad(found.square().sum(), parameters)


def _stacked(nets: list[nn.Sequential], images: Tensor) -> Way:
    template = deepcopy(nets[0])
    parameters, buffers = stack_module_state(nets)

    def one(own: dict[str, Tensor], state: dict[str, Tensor]) -> Tensor:
        return functional_call(template, {**own, **state}, (images,))

    def way() -> None:
        _backward(vmap(one)(parameters, buffers), list(parameters.values()))

    return way


def _engine(task: Task, images: Tensor, models: int) -> Way:
    """Whole steps of a stack whose models see one batch, of which the backbones' ranges count."""
    members = [task.experiment("softmax", {}, 0) for _ in range(models)]
    stack = Stack(
        members, num_classes=10, channels=images.shape[1], image_size=images.shape[-1], device=images.device
    )  # fmt: skip
    batch, labels = images[None], torch.zeros(1, len(images), dtype=torch.int64, device=images.device)  # fmt: skip

    def way() -> float:
        with clocked(images.device) as seconds:
            stack.step(batch, labels, 1.0)
        return seconds["backbone forward"] + seconds["backbone backward"]

    return way
