"""Memory for tables of gigabytes."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor

LARGE = 2**28
"""Bytes from which a table on a CPU gets memory of its own."""


def new_table(like: Tensor) -> Tensor:
    """A tensor of this shape, type and device with any numbers in it.

    Large ones are mapped by themselves and go back to the system when dropped. On the heap of a
    process that keeps what is freed, as in training, smaller tensors would settle in the gap
    between two steps, and the next table would need another.
    """
    size = like.numel() * like.element_size()
    if like.device.type != "cpu" or size < LARGE:
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    private = (
        {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    )
    return torch.frombuffer(mmap.mmap(-1, size, **private), dtype=like.dtype).view(like.shape)
