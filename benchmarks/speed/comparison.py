"""The parts of the comparison, in their order, and the CSV file of each."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.experiment import Experiment
from benchmarks.speed import jobs, quality, rows, throughput
from benchmarks.speed.jobs import Whole
from benchmarks.speed.processes import Job, cores, in_turn, together
from benchmarks.speed.progress import Progress, say
from benchmarks.speed.task import SYNTHETIC, Task
from benchmarks.speed.throughput import SUITE, Way

PARTS = ("throughput", "jobs", "phases", "floor", "variants")
FOR_JOBS = ("yaml", "jsonschema", "safetensors", "tqdm")  # what the pipeline's commands import


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    sizes : of the stacks.
    repeats : rounds of the throughput and of the variants.
    seconds : of a window.
    seeds : of the whole jobs.
    serial : experiments of the whole job at default threads, which are trained one after the other.
    profiled : size of the stack whose step is divided into phases.
    models : of the variants that have several.
    side : of the matrices whose product is the ceiling; floats : of the copy.
    compiled : whether torch.compile is tried.
    suite_learning_rate : of the suite's whole job, where it shall differ.
    """

    sizes: Sequence[int] = (1, 4, 16, 64, 256)
    repeats: int = 3
    seconds: float = 6.0
    seeds: int = 3
    serial: int = 2
    profiled: int = 16
    models: int = 4
    side: int = 2048
    floats: int = 2**26
    compiled: bool = True
    suite_learning_rate: float | None = None

    @classmethod
    def quick(cls) -> Sizes:
        """For a run in a minute or two."""
        return cls(
            sizes=(1, 2), repeats=1, seconds=0.5, serial=1, profiled=2, models=2, side=256, floats=2**18, compiled=False
        )  # fmt: skip


class Comparison:
    """One run of the comparison; CSV files go to `out` as ``speed_<part>_<device>.csv``."""

    def __init__(self, task: Task, sizes: Sizes, out: Path) -> None:
        self.task, self.sizes, self.out = task, sizes, out
        self.cores = cores()
        self.processes = self.cores if task.device == "cpu" else 1
        self.ways = throughput.ways(task.device, self.cores, sizes.sizes)
        self.fair = True

    def run(self, parts: Sequence[str]) -> bool:
        """Measure these parts; False where the quality of the ways differs or cannot be told."""
        chosen = [part for part in PARTS if part in parts]
        self.progress = Progress([("facts", 5), *itertools.chain.from_iterable(map(self._planned, chosen))])  # fmt: skip
        with self.progress.step("facts"):
            self.task.images()  # decoded once, and on nobody's time
            assert self.facts
        for part in chosen:
            getattr(self, f"_{part}")()
        return self.fair

    def _planned(self, part: str) -> list[tuple[str, float]]:
        """The steps of a part with guesses of their seconds."""
        window = 12 + self.sizes.seconds
        if part == "throughput":
            one = [(way.name, window + way.stack / 5) for way in self.ways]
            return one * self.sizes.repeats
        if part == "jobs":
            own = 30 if self.task.small else 20 * self.task.epochs
            return [(f"whole job: {name}", own) for name, _ in self._whole_jobs]
        if part == "variants":
            return [("variants of the backbone's step", 60 + 60 * self.sizes.compiled)]
        return [(f"phases: {name}", window) for name in self._profiled] if part == "phases" else [("floor", 20)]  # fmt: skip

    @cached_property
    def facts(self) -> Job:
        """Machine, device, versions and date of every row, as found when the run began."""
        asked = {"do": "facts", "device": self.task.device, "threads": 1}
        found = in_turn([[asked]], 1)[0][0]
        return {key: found[key] for key in ("date", "machine", "cores", "device", "torch", "python")}  # fmt: skip

    def _throughput(self) -> None:
        measured: dict[Way, list[dict[str, Any]]] = {way: [] for way in self.ways}
        for _ in range(self.sizes.repeats):
            for way in self.ways:
                with self.progress.step(way.name):
                    # What did not fit will not fit.
                    full = any(item["rate"] is None for item in measured[way])
                    found = {"rate": None} if full else throughput.window(way, self.task, self.sizes.seconds)  # fmt: skip
                    measured[way].append(found)
        self._write("throughput", throughput.rows(measured, self.task))

    @cached_property
    def _usual_ways(self) -> dict[str, Way]:
        """The usual ways that do whole jobs, the best form first."""
        if self.task.device == "cpu":
            ways = [Way("usual", self.cores), Way("usual", 1, threads=0)]
        else:
            ways = [Way("usual", 4, workers=self.cores // 4), Way("usual", 1, threads=0)]
        return {way.name: way for way in ways}

    @cached_property
    def _whole_jobs(self) -> list[tuple[str, list[Experiment]]]:
        """The whole jobs in their order, each a way's name and, of a usual one, its experiments.

        About half of a usual way's come before the suite, in whole rounds of its processes, and the rest after it: a
        machine whose speed changes with the hour shall not favour one of the ways.
        """
        before, after = [], []
        members = jobs.grid(self.task, self.sizes.seeds)
        for number, (name, way) in enumerate(self._usual_ways.items()):
            own = members if number == 0 else members[: self.sizes.serial]
            half = way.processes * -(-len(own) // (2 * way.processes))  # whole rounds of processes
            before.append((name, own[:half]))
            after.append((name, own[half:]))
        return [*before, (SUITE, []), *((name, own) for name, own in after if own)]

    def _jobs(self) -> None:
        missing = [name for name in FOR_JOBS if not _has(name)]
        if missing or self.task.dataset == SYNTHETIC:
            reason = f"no {', '.join(missing)}" if missing else "the pipeline has no such data"
            for name, _ in self._whole_jobs:
                with self.progress.step(f"whole job: {name}"):
                    say(f"  not measured: {reason}; nor is the quality")
            return
        found: dict[str, Whole] = {}
        with tempfile.TemporaryDirectory(prefix="speed-") as folder:
            for number, (name, members) in enumerate(self._whole_jobs):
                with self.progress.step(f"whole job: {name}"):
                    part = self._whole(name, members, Path(folder, str(number)))
                    found[name] = found[name].and_later(part) if name in found else part
        suite = found.pop(SUITE)
        usual = next(iter(found.values()))
        self._write("jobs", [jobs.row(item, self.task) for item in (*found.values(), suite)])
        rules = quality.RULES if not self.task.small else quality.LENIENT
        verdicts = quality.judge(usual.metrics, suite.metrics, rules)
        self._write("quality", rows.quality(verdicts, list(jobs.LOSSES), self.sizes.seeds, self.task))  # fmt: skip
        for verdict in verdicts:
            say(verdict.text())
        self.fair = all(verdict.status == "equal" for verdict in verdicts)
        if not self.fair:
            say(
                "error: the two ways are not shown to reach the same quality, so their speeds must not be compared"
            )

    def _whole(self, name: str, members: list[Experiment], out: Path) -> Whole:
        if name == SUITE:
            rate = self.sizes.suite_learning_rate or self.task.learning_rate
            own = replace(self.task, learning_rate=rate)
            return jobs.suite(own, self.sizes.seeds, out, name, self.processes)
        way = self._usual_ways[name]
        return jobs.usual(self.task, members, out, name, way.processes, way.threads, way.workers)

    @property
    def _profiled(self) -> dict[str, Job]:
        """What is divided into phases, as one process of the best form has it."""
        stack = self.sizes.profiled
        common = {"do": "phases", "threads": 1, "task": self.task.to_json(), "seconds": self.sizes.seconds}  # fmt: skip

        def members(count: int) -> list[Job]:
            return [item.to_json() for item in self.task.grid(count)]

        return {
            "usual": {**common, "way": "usual", "members": members(1)},
            f"stack of {stack}": {**common, "way": SUITE, "members": members(stack)},
        }

    def _phases(self) -> None:
        found = []
        for name, job in self._profiled.items():
            with self.progress.step(f"phases: {name}"):
                found += rows.phases(name, together([job] * self.processes), self.task)
        self._write("phases", found)

    def _floor(self) -> None:
        job = {
            "do": "rates", "threads": 1, "task": self.task.to_json(), "seconds": min(3.0, self.sizes.seconds),
            "side": self.sizes.side, "floats": self.sizes.floats,
        }  # fmt: skip
        with self.progress.step("floor"):
            found = together([job] * self.processes)
        self._write("floor", rows.floor(found, self.task))

    def _variants(self) -> None:
        job = {
            "do": "variants", "threads": 1, "task": self.task.to_json(), "models": self.sizes.models,
            "rounds": 10 * self.sizes.repeats, "compiled": self.sizes.compiled,
        }  # fmt: skip
        with self.progress.step("variants of the backbone's step"):
            (found,) = together([job])
        self._write("variants", rows.variants(found, self.sizes.models, self.task))

    def _write(self, part: str, found: Sequence[rows.Row]) -> None:
        kind = self.task.device
        path = self.out / f"speed_{part}_{kind}.csv"
        self.out.mkdir(parents=True, exist_ok=True)
        columns = list(dict.fromkeys(itertools.chain.from_iterable(found)))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*columns, *self.facts], lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, **self.facts} for row in found)
        say(f"  {path}")


def _has(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
