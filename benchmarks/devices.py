"""What accelerators this machine shows, asked without importing torch."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import IO

from benchmarks.errors import ConfigError

_held: list[IO[str]] = []  # locks of this process, until it ends


def visible_gpus() -> int:
    """Number of NVIDIA GPUs that a process started here would see (``CUDA_VISIBLE_DEVICES`` respected)."""
    narrowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if narrowed is not None:
        return len([device for device in narrowed.split(",") if device.strip() not in ("", "-1")])
    if shutil.which("nvidia-smi") is None:
        return 0
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def gpu_memory_gib() -> int:
    """Memory of the smallest visible GPU in GiB; 16 where it cannot be asked."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        return max(1, min(int(mebibytes) for mebibytes in listing) // 1024)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 16


def resolve_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` for a study's `device` (``auto``: a GPU where there is one).

    Raises
    ------
    ConfigError : the study asks for a GPU and none is visible.
    """
    gpus = visible_gpus() if wanted != "cpu" else 0
    if wanted == "cuda" and gpus == 0:
        raise ConfigError(
            "device: 'cuda' is asked for and no GPU is visible here (nvidia-smi shows none, or CUDA_VISIBLE_DEVICES is "
            "empty); use device: cpu, or device: auto to take a GPU only where there is one"
        )
    return "cuda" if gpus else "cpu"


@cache
def claim_gpu(locks: Path) -> int:
    """Number of the first visible GPU that no other process with the same folder `locks` has claimed.

    The claim ends with the process. Where all are taken, or none can be counted, it is the first, which is shared.
    """
    narrowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = visible_gpus()
    names = range(count) if narrowed is None else [name.strip() for name in narrowed.split(",")]
    locks.mkdir(parents=True, exist_ok=True)
    for number, name in zip(range(count), names, strict=False):
        file = (locks / f"gpu-{platform.node()}-{name}").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        return number
    return 0
