"""The least that the training must take: its arithmetic and its bytes over what this machine can do, measured here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.memory import keep_freed_memory
from benchmarks.speed.plain_net import plain_net
from benchmarks.speed.processes import Job, ready
from benchmarks.speed.task import Task
from benchmarks.speed.windows import wait
from benchmarks.splitting import split_of

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Work:
    """What an image costs one model: floating-point operations, and bytes to and from memory."""

    flop: float
    bytes: float


def work(task: Task, channels: int, side: int, classes: int) -> Work:
    """Forward and backward pass through the net and a head of `classes` weight rows, and the optimizer's step.

    Arithmetic: two operations a multiply-add; of each convolution and matrix forward, for the gradient of its weights
    and, but for the first, for that of its input. Batch norm, activations and the softmax are left out.

    Bytes: the input is read; the output of each convolution and matrix, with batch norm and activation applied on the
    way, is written and read once forward, and its gradient written and read once backward; weights are read in both
    passes, their gradient is written and read, the momentum and the weights are read and written. The weights' part is
    shared by the images of a batch.
    """
    dim = task.net["embedding_dim"]
    net = plain_net(task.backbone, channels, side, dim)
    layers = [*_layers(net, channels, side), (classes * dim, classes)]
    flop = sum(2.0 * adds * (2 if place == 0 else 3) for place, (adds, _) in enumerate(layers))
    outputs = sum(size for _, size in layers)
    weights = sum(p.numel() for p in net.parameters()) + classes * dim
    moved = channels * side**2 + 4 * outputs + 8 * weights / task.batch_size
    return Work(flop, FLOAT * moved)


def _layers(net: nn.Sequential, channels: int, side: int) -> list[tuple[int, int]]:
    """Multiply-adds and size of the output of each convolution and matrix, for one image."""
    found: list[tuple[int, int]] = []

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        weight: Tensor = module.weight  # type: ignore[assignment]
        places = output.numel() // len(output) // weight.shape[0]
        found.append((weight.numel() * places, output.numel() // len(output)))

    hooks = [m.register_forward_hook(note) for m in net if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        net(torch.zeros(2, channels, side, side))
    for hook in hooks:
        hook.remove()
    return found


def job(content: Job) -> dict[str, Any]:
    """In a worker: the machine's rates, the best of several tries each; processes of one machine measure at once.

    ``flops`` by precision (a square matrix product), ``bytes_per_second`` (a copy: read and written), and the work of
    an image of the task.
    """
    task, device = Task.from_json(content["task"]), torch.device(content["task"]["device"])
    images = task.images()
    classes = len(split_of(task.experiment("softmax", {}, 0), images).known_classes)
    _, channels, side, _ = images.images.shape
    cost = {**asdict(work(task, channels, side, classes)), "classes": classes}
    if content["threads"]:
        torch.set_num_threads(content["threads"])
    keep_freed_memory()
    ready()
    size = content["side"]
    flops = {
        name: 2 * size**3 / _best(product, device, content["seconds"])
        for name, product in _products(size, device).items()
    }
    source = torch.ones(content["floats"], device=device)
    target = torch.empty_like(source)
    seconds = _best(lambda: target.copy_(source), device, content["seconds"])
    return {"flops": flops, "bytes_per_second": 2 * FLOAT * content["floats"] / seconds, "work": cost}  # fmt: skip


def _products(side: int, device: torch.device) -> dict[str, Callable[[], Any]]:
    a, b = torch.randn(2, side, side, device=device).unbind(0)
    out = torch.empty_like(a)

    def product(precision: str) -> Callable[[], Any]:
        def compute() -> None:
            torch.set_float32_matmul_precision(precision)
            torch.mm(a, b, out=out)

        return compute

    if device.type == "cpu":
        return {"float32": product("highest")}
    low = a.bfloat16(), b.bfloat16()
    return {
        "float32": product("highest"),
        "tf32": product("high"),
        "bfloat16": lambda: torch.mm(*low),
    }


def _best(action: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Least seconds of one call."""
    for _ in range(2):
        action()
    wait(device)
    begun, best = time.perf_counter(), float("inf")
    calls = 1 if device.type == "cpu" else 10  # a GPU is waited for, which must not count
    while time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        for _ in range(calls):
            action()
        wait(device)
        best = min(best, (time.perf_counter() - start) / calls)
    return best
