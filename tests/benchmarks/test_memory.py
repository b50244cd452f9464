"""The peak of memory is what the system says of this process, and on a GPU what torch says of the device."""

from __future__ import annotations

import json
import mmap
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import memory
from benchmarks import train as training
from benchmarks.memory import forget_peak, peak_memory
from benchmarks.train import train_stack
from losses.cosface import CosFace
from tests.benchmarks import tiny

CPU = torch.device("cpu")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux shows it there")
def test_the_peak_holds_what_was_freed_since() -> None:
    forget_peak(CPU)  # of no effect
    status = Path("/proc/self/status").read_text()
    (now,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    size = 512 * 2**20
    # Mapped by itself: an allocation could be served from memory that earlier tests freed and the allocator kept.
    with mmap.mmap(-1, size) as mapped:
        for page in range(0, size, mmap.PAGESIZE):
            mapped[page] = 1
    assert peak_memory(CPU) >= (now * 1024 + size) * 0.95


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_units_of_the_system(platform: str, unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(memory.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=7_000))
    assert peak_memory(CPU) == 7_000 * unit


def test_on_a_gpu_the_allocator_is_asked_from_the_start_of_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    device = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda item: asked.append(item))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda item: 123 + item.index)
    forget_peak(device)
    assert asked == [device]
    assert peak_memory(device) == 124


def test_every_result_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(training, "load_images", lambda *_: tiny.images())
    monkeypatch.setattr(CosFace, "shift", broken)
    items = [
        tiny.experiment("softmax"),
        tiny.experiment("softmax", learning_rate=1e30),
        tiny.experiment("cosface"),
    ]
    statuses = train_stack(items, results=tmp_path, device=CPU)
    assert [statuses[item.id] for item in items] == ["finished", "diverged", "out_of_memory"]
    for item in items:
        result = json.loads((tmp_path / "runs" / item.id / "result.json").read_text())
        assert isinstance(result["peak_memory"], int)
        # Torch alone is larger than the lower bound; the upper one is no machine's.
        assert 50 * 2**20 < result["peak_memory"] <= peak_memory(CPU)
