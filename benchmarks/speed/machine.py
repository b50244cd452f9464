"""Where and when a time was measured: the columns that every CSV file of times has."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.provenance import provenance
from benchmarks.speed.processes import cores


def facts(device: torch.device | str) -> dict[str, str]:
    """Date, machine, device, versions and threads, as text.

    Returns
    -------
    ``date`` (UTC, ISO 8601), ``machine`` (the CPU's model), ``cores`` (those this process may use), ``device`` (``cpu``
    or the GPU's name), ``torch`` and ``python`` (versions), ``threads`` (of one process, for kernels on the CPU).
    """
    known = provenance(torch.device(device))
    return {
        "date": known["date"],
        "machine": known["cpu"],
        "cores": str(cores()),
        "device": known["device"],
        "torch": known["torch"],
        "python": known["python"],
        "threads": str(known["threads"]),
    }


def job(content: dict[str, Any]) -> dict[str, str]:
    """`facts` from a process of its own, for one that imports no torch."""
    return facts(content["device"])
