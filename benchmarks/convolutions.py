"""Which kernels compute the convolutions of a stack on a GPU: chosen by a measurement on the stack itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.layers import Convolution
from benchmarks.stack import Stack

log = logging.getLogger(__name__)

Clock = Callable[[Callable[[], object], torch.device], float]


def gpu_seconds(function: Callable[[], object], device: torch.device) -> float:
    """The least time that `function` takes on the GPU, of three after two for warm-up; infinite without memory."""
    times = []
    try:
        for _ in range(5):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(torch.cuda.current_stream(device))
            function()
            end.record(torch.cuda.current_stream(device))
            end.synchronize()
            times.append(start.elapsed_time(end) / 1000)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return math.inf
    return min(times[2:])


def choose(stack: Stack, images: Tensor, seconds: Clock = gpu_seconds) -> dict[str, bool]:
    """Set each convolution of the stack's backbones to the faster of its two ways, one layer after the other.

    Forward and backward of all layers are timed, so that copies between the ways' orders in memory count, too.

    Parameters
    ----------
    stack : its parameters and buffers stay as they are.
    images : a batch (S, B, C, H, W) as for `Stack.step`.
    seconds : measures a function on a device.

    Returns
    -------
    By the layer's name whether it is computed as a product over patches.
    """
    buffers = {name: tensor.clone() for name, tensor in stack.backbone.buffers.items()}
    chosen = {}
    for name, layer in stack.backbone.template.named_modules():
        if isinstance(layer, Convolution):
            times = {}
            for layer.by_patches in (False, True):
                times[layer.by_patches] = seconds(lambda: stack.rehearse(images), stack.device)
            layer.by_patches = chosen[name] = times[True] < times[False]
            log.info("%s: grouped %.2g s, patches %.2g s", name, times[False], times[True])
    for name, tensor in stack.backbone.buffers.items():
        tensor.copy_(buffers[name])  # running statistics
    return chosen
