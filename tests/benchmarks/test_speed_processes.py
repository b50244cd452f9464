"""Workers: what they return, whose errors are shown, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.speed.processes import Worker, WorkerError, in_turn, together
from benchmarks.speed.progress import Progress
from tests.conftest import ROOT

FACTS = {"do": "facts", "device": "cpu", "threads": 1}
WRONG = {**FACTS, "device": "no such device"}


def alive(group: int) -> bool:
    """Whether any process of a group still runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_in_order_whatever_ends_first() -> None:
    two = {**FACTS, "threads": 2}
    found = in_turn([[FACTS, two], [two]], 2)
    assert [[item["threads"] for item in chain] for chain in found] == [["1", "2"], ["2"]]
    assert all(item["device"] == "cpu" and item["peak_mebibytes"] > 50 for item in found[0])


def test_the_error_of_a_worker_is_shown_and_the_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []

    class Noted(Worker):
        def __init__(self, job: dict[str, object]) -> None:
            super().__init__(job)
            groups.append(self.process.pid)

    monkeypatch.setattr("benchmarks.speed.processes.Worker", Noted)
    for run in (lambda: in_turn([[WRONG], [FACTS], [FACTS]], 2), lambda: together([WRONG, FACTS])):
        groups.clear()
        with pytest.raises(WorkerError, match=r"(?s)facts: .*no such device"):
            run()
        assert len(groups) >= 1
        assert not any(alive(group) for group in groups)


def test_a_default_number_of_threads_is_not_the_one_of_the_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ((found,),) = in_turn([[{**FACTS, "threads": 0}]], 1)
    assert int(found["threads"]) == int(found["cores"]) or int(found["cores"]) == 1


def test_progress_learns_from_the_last_time(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress([("a", 1000), ("b", 500), ("a", 1000)])
    assert progress.left == 2500
    with progress.step("a"):
        pass
    assert 500 <= progress.left < 501
    with pytest.raises(ValueError, match="planned"), progress.step("a"):
        pass
    assert "[1/3] a (about 42 min left)" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_it_and_its_workers(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "benchmarks.speed", "--quick", "--only", "throughput", "--dataset", "synthetic",
        "--seconds", "600", "--out", str(tmp_path),
    ]  # fmt: skip
    # In a group of its own it takes SIGINT, whatever the one who runs the tests does with it.
    started = (
        "import signal, runpy, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "del sys.argv[0]; runpy.run_module('benchmarks.speed', run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", started, *command[2:]], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        workers = _wait_for_workers(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not any(alive(worker) for worker in workers)


def _wait_for_workers(parent: int) -> list[int]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        )
        lines = [line.split(None, 2) for line in listed.stdout.splitlines()[1:]]
        found = [
            int(pid)
            for pid, above, *words in lines
            if above == str(parent) and "usual window" in " ".join(words)
        ]
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("no worker began")
