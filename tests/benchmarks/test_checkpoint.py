"""The newest checkpoint that can be read, never one that runs code, and never half of one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.checkpoint import Checkpoints
from tests.conftest import ROOT

CPU = torch.device("cpu")


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    """Two checkpoints, of epoch 1 and 2."""
    checkpoints = Checkpoints(tmp_path / "stack")
    for epoch in (1, 2):
        checkpoints.save({"epoch": epoch, "tensor": torch.full((100,), float(epoch)), "ids": ["a"]})
    return checkpoints


def epoch(checkpoints: Checkpoints) -> int | None:
    state = checkpoints.load(CPU)
    return None if state is None else int(state["epoch"])


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "noise": b"x" * 500}[how])


def test_nothing_saved(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").load(CPU) is None


def test_the_newest_and_the_one_before(saved: Checkpoints) -> None:
    state = saved.load(CPU)
    assert state is not None
    assert state["epoch"] == 2
    assert torch.equal(state["tensor"], torch.full((100,), 2.0))
    assert sorted(path.name for path in saved.folder.iterdir()) == ["current.pt", "previous.pt"]
    saved.current.unlink()
    assert epoch(saved) == 1
    saved.remove()
    assert not saved.folder.exists()
    assert epoch(saved) is None


@pytest.mark.parametrize("how", ["cut", "empty", "noise"])
def test_a_damaged_checkpoint_is_named_and_passed_over(
    how: str, saved: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    damage(saved.current, how)
    assert epoch(saved) == 1
    assert f"{saved.current}: damaged checkpoint" in caplog.text
    damage(saved.previous, how)
    assert epoch(saved) is None
    assert f"{saved.previous}: damaged checkpoint" in caplog.text


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_checkpoint_cannot_run_code(writer: str, saved: Checkpoints, tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "exploded")
    if writer == "torch":
        torch.save({"epoch": 3, "bomb": bomb}, saved.current)
    else:
        saved.current.write_bytes(pickle.dumps(bomb))
    assert epoch(saved) == 1
    assert not bomb.path.exists()


def test_interrupted_writing_leaves_the_old_ones(
    saved: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            saved.save({"epoch": 3})
    assert epoch(saved) == 2
    assert sorted(path.name for path in saved.folder.iterdir()) == ["current.pt", "previous.pt"]


def test_a_full_disk_is_an_error_of_the_disk(saved: Checkpoints) -> None:
    """Not a RuntimeError of torch, which would be taken for a computation that fails."""
    program = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from benchmarks.checkpoint import Checkpoints\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try:\n"
        "    Checkpoints(Path(sys.argv[1])).save({'epoch': 3, 'tensor': torch.zeros(100000)})\n"
        "except OSError as error:\n"
        "    print('OSError', error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(saved.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "OSError 27\n", done.stderr
    assert epoch(saved) == 2
    assert sorted(path.name for path in saved.folder.iterdir()) == ["current.pt", "previous.pt"]
