"""How this process keeps its memory, and how much it has needed."""

from __future__ import annotations

import ctypes
import resource
import sys

import torch


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory instead of handing it back to the system after every batch.

    A stack's tensors are tens of megabytes; by default each is mapped, faulted in page by page and unmapped in every
    step, which was measured to cost up to half of the training time on a CPU. Returns whether it took effect (Linux
    with glibc only; elsewhere nothing changes).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    m_trim_threshold, m_mmap_max = -1, -4
    return bool(mallopt(m_mmap_max, 0)) and bool(mallopt(m_trim_threshold, 2**31 - 1))


def forget_peak(device: torch.device) -> None:
    """Let `peak_memory` speak of what follows only; on a CPU it cannot be made to."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """The most memory used at a time, in bytes: of this process since its start, or on a GPU of torch's tensors.

    On a CPU it is the resident set, with Python, torch and the data set in it; on a GPU what torch's allocator has
    given out since `forget_peak`.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # elsewhere in KiB
