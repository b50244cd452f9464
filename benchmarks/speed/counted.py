"""A command in a process of its own, with its wall time and the CPU time of its whole tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Runs the module argv[2] with the arguments behind it, and leaves its CPU seconds in the file argv[1].
_WRAPPED = """
import atexit, resource, runpy, sys
def leave(path=sys.argv[1]):
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    open(path, "w").write(" ".join(str(each.ru_utime + each.ru_stime) for each in used))
atexit.register(leave)
del sys.argv[0:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Counted:
    """What a command took, in seconds.

    Attributes
    ----------
    wall : from its start to its end.
    own : CPU time of its process, all threads.
    children : CPU time of all processes that it started and waited for.
    output : what it printed, errors included.
    """

    wall: float
    own: float
    children: float
    output: str

    @property
    def cpu(self) -> float:
        """CPU time of the whole tree."""
        return self.own + self.children


def counted(module: str, arguments: Sequence[object], folder: Path) -> Counted:
    """Run ``python -m module arguments`` in `folder` with this checkout's packages.

    Raises
    ------
    RuntimeError : it failed; the message ends with what it printed last.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as own:
        file = Path(own) / "seconds"
        command = [sys.executable, "-c", _WRAPPED, file, module, *arguments]
        start = time.perf_counter()
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall = time.perf_counter() - start
        if done.returncode:
            last = "\n".join(done.stdout.splitlines()[-30:])
            raise RuntimeError(f"{module} ended with {done.returncode}:\n{last}")
        used, below = map(float, file.read_text().split())
        return Counted(wall, used, below, done.stdout)
