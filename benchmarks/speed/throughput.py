"""Images a second in training: the usual way and stacks of several sizes, in turn, several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.processes import Job, together
from benchmarks.speed.task import Task

USUAL, SUITE = "usual", "suite"


@dataclass(frozen=True)
class Way:
    """How experiments are trained: `processes` at a time, each with one experiment (usual) or a stack.

    ``threads`` of a process: 0 is torch's default. ``workers``: of a loader.
    """

    kind: str
    processes: int
    threads: int = 1
    stack: int = 1
    workers: int = 0

    @property
    def name(self) -> str:
        """For readers."""
        who = "process" if self.processes == 1 else "processes"
        if self.kind == SUITE:
            return f"suite, {self.processes} {who}, stacks of {self.stack}"
        threads = "default threads" if self.threads == 0 else "1 thread each"
        loader = f", {self.workers} loader workers each" if self.workers else ""
        return f"usual, {self.processes} {who}, {threads}{loader}"

    @property
    def experiments(self) -> int:
        """Trained at a time."""
        return self.processes * self.stack

    def jobs(self, task: Task, seconds: float) -> list[Job]:
        """One for each process; no two train the same experiment."""
        members = task.grid(self.experiments)
        return [
            {
                "do": f"{self.kind} window", "task": task.to_json(), "threads": self.threads, "workers": self.workers,
                "seconds": seconds,
                "members": [item.to_json() for item in members[place * self.stack : (place + 1) * self.stack]],
            }
            for place in range(self.processes)
        ]  # fmt: skip


def ways(device: str, cores: int, sizes: Sequence[int]) -> list[Way]:
    """The usual way at default threads, its other forms, and stacks of these sizes.

    On a CPU its best form has a process a core with one thread each. On a GPU one process, one whose loader has
    workers, and several processes that share the GPU and the cores.
    """
    default = Way(USUAL, 1, threads=0)
    if device == "cpu":
        usual = [default, Way(USUAL, cores)]
        return [*usual, *(Way(SUITE, cores, stack=size) for size in sizes)]
    usual = [default, Way(USUAL, 1, workers=min(8, cores))]
    usual += [Way(USUAL, count, workers=cores // count) for count in (4, 8)]
    return [*usual, *(Way(SUITE, 1, stack=size) for size in sizes)]


def window(way: Way, task: Task, seconds: float) -> dict[str, Any]:
    """One round of a way: its rate in images a second over all experiments (None where they do not fit), and more."""
    found = together(way.jobs(task, seconds))
    peaks = [item["peak_mebibytes"] for item in found]
    if any("out_of_memory" in item for item in found):
        return {"rate": None}
    device = [item["device_mebibytes"] for item in found if item["device_mebibytes"] is not None]
    return {
        "rate": sum(item["images"] / item["seconds"] for item in found),
        "startup": statistics.median(item["startup_seconds"] for item in found),
        "steps": min(item["steps"] for item in found),
        "streams": found[0].get("streams", 1),
        "peak": max(peaks),
        "peak_sum": sum(peaks),
        "device_peak": sum(device) if device else None,
    }


Measured = dict[Way, list[dict[str, Any]]]


def rows(measured: Measured, task: Task) -> list[dict[str, Any]]:
    """Rows of the CSV: medians over the rounds with the least and the most, and ratios taken within a round."""
    usual = [way for way in measured if way.kind == USUAL]
    best = max(usual, key=lambda way: statistics.median(item["rate"] for item in measured[way]))
    default = next(way for way in usual if way.threads == 0)
    return [_row(way, measured, {"best": best, "default": default}, task) for way in measured]


def _row(way: Way, measured: Measured, others: dict[str, Way], task: Task) -> dict[str, Any]:
    found = measured[way]
    row: dict[str, Any] = {
        "way": way.name, "kind": way.kind, "processes": way.processes, "threads_each": way.threads or "default",
        "stack": way.stack if way.kind == SUITE else None, "experiments": way.experiments, "dataset": task.dataset,
        "backbone": task.backbone, "batch": task.batch_size, "rounds": len(found),
    }  # fmt: skip
    if any(item["rate"] is None for item in found):
        return {**row, "note": "out of memory"}

    def middle(key: str) -> float:
        return statistics.median(item[key] for item in found)

    def ratio(other: Way) -> float:
        pairs = zip(found, measured[other], strict=True)
        return statistics.median(mine["rate"] / theirs["rate"] for mine, theirs in pairs)

    device = found[0]["device_peak"]
    return {
        **row, "streams": found[0]["streams"], "steps": min(item["steps"] for item in found),
        "images_per_second": round(middle("rate")), "lowest": round(min(item["rate"] for item in found)),
        "highest": round(max(item["rate"] for item in found)),
        "images_per_second_of_one": round(middle("rate") / way.experiments, 1),
        **{f"ratio_to_{name}_usual": round(ratio(other), 2) for name, other in others.items()},
        "startup_seconds": round(middle("startup"), 2), "peak_mebibytes": round(middle("peak")),
        "peak_mebibytes_in_sum": round(middle("peak_sum")),
        "device_mebibytes": None if device is None else round(device),
    }  # fmt: skip
