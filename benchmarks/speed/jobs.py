"""The whole job, both ways: processes from their start until the metrics of every experiment are on disk."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.experiment import Experiment
from benchmarks.speed.processes import Job, in_turn
from benchmarks.speed.task import AUGMENT, Task

LOSSES: dict[str, dict[str, float]] = {
    "norm_softmax": {"scale": 16},
    "arcface": {"margin": 0.3, "scale": 16},
}
# What the suite trains, these among them: a grid, as small as they come. Its points share the fixed costs.
GRID: dict[str, dict[str, list[float]]] = {
    "softmax": {},
    "norm_softmax": {"scale": [16, 30]},
    "cosface": {"margin": [0.2, 0.35], "scale": [16, 30]},
    "arcface": {"margin": [0.3, 0.5], "scale": [16, 30]},
    "adaface": {},
}
PROTOCOLS = ["closed_set", "verification", "retrieval"]  # what the usual way computes, too
Metrics = dict[tuple[str, int], dict[str, float]]
"""Of each experiment, by its loss and seed."""


@dataclass
class Whole:
    """One way's whole job: seconds are sums over its processes, but for `wall` and `startups` (of each process)."""

    way: str
    processes: int
    threads: int
    stack: int | None
    experiments: int
    images: int  # of one experiment
    wall: float
    startups: list[float]
    training: float
    evaluation: float  # embedding, judging and writing
    peak: float  # MiB, of the largest process
    peak_sum: float  # MiB, of those that ran at the same time, at most
    metrics: Metrics = field(default_factory=dict)  # of `LOSSES`

    def and_later(self, other: Whole) -> Whole:
        """This part of a way's job and another one, which ran at another time, as one."""
        return replace(
            self, experiments=self.experiments + other.experiments, wall=self.wall + other.wall,
            startups=self.startups + other.startups, training=self.training + other.training,
            evaluation=self.evaluation + other.evaluation, peak=max(self.peak, other.peak),
            peak_sum=max(self.peak_sum, other.peak_sum), metrics=self.metrics | other.metrics,
        )  # fmt: skip


def grid(task: Task, seeds: int) -> list[Experiment]:
    """`LOSSES` with each seed."""
    return [
        task.experiment(loss, dict(hyper), seed)
        for seed in range(seeds)
        for loss, hyper in LOSSES.items()
    ]


def usual(task: Task, members: list[Experiment], out: Path, way: str, processes: int, threads: int, workers: int = 0) -> Whole:  # fmt: skip
    """A process an experiment, `processes` at a time."""
    out.mkdir()
    shared = {"do": "usual job", "task": task.to_json(), "threads": threads, "workers": workers, "out": str(out)}  # fmt: skip
    chains = [[{**shared, "members": [item.to_json()]}] for item in members]
    start = time.perf_counter()
    found = [results[0] for results in in_turn(chains, processes)]
    wall = time.perf_counter() - start
    names = {item.id: (item.loss["name"], item.seed) for item in members}
    parts = ("embedding_seconds", "judging_seconds", "writing_seconds")
    peaks = sorted((item["peak_mebibytes"] for item in found), reverse=True)
    return Whole(
        way=way, processes=processes, threads=threads, stack=None, experiments=len(members),
        images=found[0]["images"], wall=wall, startups=[item["startup_seconds"] for item in found],
        training=sum(item["training_seconds"] for item in found),
        evaluation=sum(item[part] for item in found for part in parts),
        peak=peaks[0], peak_sum=sum(peaks[:processes]),
        metrics={names[name]: values for item in found for name, values in item["metrics"].items()},
    )  # fmt: skip


def suite(task: Task, seeds: int, out: Path, way: str, processes: int) -> Whole:
    """The pipeline's commands as the Snakefile calls them, `processes` stacks at a time.

    The stacks are as large as still gives each process one.
    """
    losses = LOSSES if task.small else GRID
    points = [math.prod(len(values) for values in hyper.values()) for hyper in GRID.values()]
    count = seeds * (len(LOSSES) if task.small else sum(points))
    size = -(-count // processes)
    out.mkdir()
    _share_cache(task, out)
    file, plan = out / "study.yaml", out / "speed" / "plan.json"
    file.write_text(json.dumps(_study(task, losses, seeds, size, out)))  # JSON is YAML, too
    start = time.perf_counter()
    first = [_command("plan", "--config", file), _command("data", "--plan", plan)]
    found = in_turn([first], 1)[0]
    stacks: dict[str, list[str]] = json.loads(plan.read_text())["stacks"]
    chains = [[_command(name, "--plan", plan, "--stack", stack) for name in ("train", "evaluate")] for stack in stacks]  # fmt: skip
    done = in_turn(chains, processes)
    wall = time.perf_counter() - start
    trained, judged = [item[0] for item in done], [item[1] for item in done]
    peaks = sorted((item["peak_mebibytes"] for item in trained), reverse=True)
    results = {path.parent.name: json.loads(path.read_text()) for path in (out / "runs").glob("*/result.json")}  # fmt: skip
    return Whole(
        way=way, processes=processes, threads=1, stack=size, experiments=count,
        images=next(iter(results.values()))["images"], wall=wall,
        startups=[item["startup_seconds"] for item in trained],
        training=sum(item["training_seconds"] for item in trained),
        evaluation=sum(item["after_seconds"] for item in trained) + sum(item["seconds"] for item in judged),
        peak=max(item["peak_mebibytes"] for item in [*found, *trained, *judged]), peak_sum=sum(peaks[:processes]),
        metrics=_metrics(out / "runs"),
    )  # fmt: skip


def _command(*arguments: object) -> Job:
    # One thread, as Snakemake gives each of its jobs.
    return {"do": "suite command", "threads": 1, "arguments": [str(item) for item in arguments]}


def _study(
    task: Task, losses: Mapping[str, Mapping[str, Any]], seeds: int, size: int, out: Path
) -> dict[str, Any]:
    return {
        "study": "speed", "results": str(out), "device": task.device, "seeds": seeds, "stack_size": size,
        "dataset": {"name": task.dataset}, "split": task.split, "backbone": task.net, "recipe": task.recipe,
        "augment": AUGMENT, "losses": losses, "evaluate": {"protocols": PROTOCOLS, "resamples": 0},
    }  # fmt: skip


def _share_cache(task: Task, out: Path) -> None:
    """The decoded data, which was there before either way began."""
    (out / "cache").symlink_to((task.results / "cache").resolve())


def _metrics(runs: Path) -> Metrics:
    found: Metrics = {}
    for path in runs.glob("*/evaluations/*/metrics.json"):
        content = json.loads((path.parents[2] / "experiment.json").read_text())
        loss, hyper = content["loss"]["name"], content["loss"]["hyperparameters"]
        if loss not in LOSSES or not LOSSES[loss].items() <= hyper.items():
            continue
        values = json.loads(path.read_text())["metrics"]
        found[loss, content["seed"]] = values
    return found


def row(job: Whole, task: Task) -> dict[str, Any]:
    """A row of the CSV."""
    total = job.experiments * job.images
    busy = job.training / min(job.processes, job.experiments)
    return {
        "way": job.way, "processes": job.processes, "threads_each": job.threads or "default", "stack": job.stack,
        "experiments": job.experiments, "dataset": task.dataset, "backbone": task.backbone, "batch": task.batch_size,
        "epochs": task.epochs, "images_of_one": job.images, "wall_seconds": round(job.wall, 1),
        "seconds_an_experiment": round(job.wall / job.experiments, 2),
        "startup_seconds": round(statistics.median(job.startups), 2),
        "training_seconds": round(job.training, 1), "evaluation_seconds": round(job.evaluation, 1),
        "images_per_second": round(total / busy), "peak_mebibytes": round(job.peak),
        "peak_mebibytes_in_sum": round(job.peak_sum),
    }  # fmt: skip
