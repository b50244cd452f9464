"""Trainings side by side take a GPU each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CLAIM = """
import sys
from pathlib import Path
from benchmarks import devices
devices.visible_gpus = lambda: 2
print(devices.claim_gpu(Path(sys.argv[1])), devices.claim_gpu(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def claimant(locks: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(locks)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def claimed(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


@pytest.mark.parametrize("narrowed", [None, "3, 5"])
def test_each_process_claims_a_gpu_and_gives_it_back_when_it_ends(
    narrowed: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two GPUs: the third process shares the first, and a later one finds what an earlier one left."""
    if narrowed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", narrowed)
    processes = []
    for expected in ("0", "1", "0"):
        processes.append(claimant(tmp_path / "locks"))
        assert claimed(processes[-1]) == [expected, expected]
    processes[1].communicate()
    processes.append(claimant(tmp_path / "locks"))
    assert claimed(processes[-1]) == ["1", "1"]
    for process in (processes[0], *processes[2:]):
        process.communicate()
