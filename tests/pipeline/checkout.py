"""A copy of the checkout in which the pipeline runs for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

NOTHING = "Nothing to be done"


class Checkout:
    """A copy of the checkout's files with a study `small`, and commands in it."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root, self.config = root, config
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        for name in names.split("\0"):
            if name and (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        self.write_config()

    def write_config(self, **changes: Any) -> None:
        (self.root / "small.yaml").write_text(
            yaml.safe_dump(self.config | changes, sort_keys=False)
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """`python -m snakemake --configfile small.yaml`, in a process group of its own."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--configfile", "small.yaml", *arguments],
            cwd=self.root,
            env={**os.environ, "PATH": path, "CUDA_VISIBLE_DEVICES": "", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_interruptible,
        )

    def snakemake(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What it prints."""
        process = self.start(*arguments, **environment)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == code, output
        return output

    def plan(self, results: str = "results") -> dict[str, Any]:
        return dict(json.loads((self.root / results / "small" / "plan.json").read_text()))

    def ids(self, results: str = "results") -> set[str]:
        return {item["id"] for item in self.plan(results)["experiments"]}

    def runs(self, results: str = "results") -> dict[str, list[tuple[str, int, bytes]]]:
        """Name, time of change and content of each run's files, its verdicts apart."""
        return {
            folder.name: [
                (path.name, path.stat().st_mtime_ns, path.read_bytes())
                for path in sorted(folder.iterdir())
                if path.is_file()
            ]
            for folder in (self.root / results / "runs").iterdir()
        }

    @contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """A source file with some text replaced."""
        path = self.root / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        try:
            yield
        finally:
            path.write_text(text)

    @contextmanager
    def configured(self, **changes: Any) -> Iterator[None]:
        """The study file with some keys replaced."""
        self.write_config(**changes)
        try:
            yield
        finally:
            self.write_config()


def _interruptible() -> None:
    """Where the tests run in the background of a shell, Ctrl-C is ignored, and what they start would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def jobs(output: str) -> dict[str, int]:
    """Jobs of each rule, from the table that Snakemake prints."""
    table = output.partition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
