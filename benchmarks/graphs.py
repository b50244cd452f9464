"""The step of a stack as a CUDA graph: recorded once, then repeated without Python.

A stack of many losses takes thousands of small kernels a step, and Python cannot launch them as fast as a GPU runs
them. What changes from step to step is therefore a tensor that the graph reads: the batch, the factor of the
schedule, the optimizer's count of steps, the losses' buffers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.convolutions import choose
from benchmarks.data import TrainingData
from benchmarks.stack import Stack
from benchmarks.stacked import LoopedModule

log = logging.getLogger(__name__)
WARM_UP = 3  # plain steps before the recording, in which libraries choose kernels and take their workspaces

Replay = Callable[[], None]
Step = Callable[[Tensor, Tensor, float], dict[str, Tensor]]


def record(function: Callable[[], Any]) -> tuple[Any, Replay]:
    """Carry `function` out once in the current stream: its result, and what carries it out again on the same memory."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        result = function()
    graph.replay()  # while it is recorded nothing is computed
    return result, graph.replay


def fastest_step(stack: Stack, data: TrainingData) -> Step:
    """What takes the steps of a training: on a GPU a `GraphedStep` with the kernels that a trial on a batch finds."""
    if stack.device.type != "cuda":
        return stack.step
    images, _ = next(data.batches(stack.streams, 1))
    choose(stack, images)
    # Losses in a loop may count in Python, and the code of others may wait for the device.
    looped = any(isinstance(group.stacked, LoopedModule) for group in stack.groups)
    return stack.step if looped else GraphedStep(stack)


class GraphedStep:
    """Stands for `Stack.step` and gives the same numbers; every call is one step of the training.

    The first calls are plain steps, the next is recorded, and those after it repeat the recording with their own
    batch. Where a step cannot be recorded, the reason is logged and all steps are plain. The graph holds the memory
    of one step until this object is dropped.

    Parameters
    ----------
    stack : its parameters, moments and buffers are read where they lie, so whoever changes them does it in place.
    recorder : see `record`; another one may serve another device.
    """

    def __init__(
        self, stack: Stack, recorder: Callable[[Callable[[], Any]], tuple[Any, Replay]] = record
    ) -> None:
        self.stack, self.recorder = stack, recorder
        self.factor = torch.ones((), dtype=torch.float64, device=stack.device)
        self.stream = torch.cuda.Stream(stack.device) if stack.device.type == "cuda" else None
        self.plain_steps: float = WARM_UP  # still to come; infinite where nothing can be recorded
        self.replay: Replay | None = None

    def __call__(self, images: Tensor, labels: Tensor, factor: float) -> dict[str, Tensor]:
        """See `Stack.step`; the next call overwrites what is returned."""
        self.factor.fill_(factor)
        if self.replay is not None:
            self.images.copy_(images)
            self.labels.copy_(labels)
            self.replay()
        elif self.plain_steps > 0 or not self._record(images, labels):
            self.plain_steps -= 1
            with self._aside():
                return self.stack.step(images, labels, self.factor)
        inputs, own_labels, logged = self.result
        self.stack.settle(inputs, own_labels)
        return logged

    def _record(self, images: Tensor, labels: Tensor) -> bool:
        """Record a step and with it take it; False, and nothing has changed, where that fails."""
        self.images, self.labels = images.clone(), labels.clone()
        try:
            with self._aside():
                self.result, self.replay = self.recorder(
                    lambda: self.stack.update(self.images, self.labels, self.factor)
                )
        except Exception as error:  # of whatever kind the libraries below raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            log.warning("this stack is trained without a CUDA graph (%s)", reason)
            self.stack.optimizer.drop_gradients()  # they lie in memory of the graph that failed
            self.plain_steps = float("inf")
            return False
        return True

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """In a stream of its own on a GPU, since the default one cannot be recorded; the current one waits for it."""
        if self.stream is None:
            yield
            return
        current = torch.cuda.current_stream(self.stack.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)
