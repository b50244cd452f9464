"""The whole pipeline against the number of experiments: ``snakemake --cores all`` on studies of one kind.

    python -m benchmarks.speed.pipeline --out reports/published/speed_pipeline_cpu.csv
    python -m benchmarks.speed.pipeline --sizes 10,100 --stack 8
    python -m benchmarks.speed.pipeline --quick

The net (conv3) and its images (800 of 8x8) are tiny, so that what is left is what the pipeline costs. All files go into
a temporary folder: about 1.5 MB an experiment.
"""

from __future__ import annotations

import argparse
import csv
import math
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.speed.counted import ROOT, Counted, counted
from benchmarks.speed.machine import facts
from benchmarks.speed.pipeline_page import markdown

__all__ = ["main", "markdown", "measure", "study", "write_images"]

LOSSES, SEEDS = ("cosface", "arcface"), 5
CLASSES, IMAGES, SIDE = 80, 10, 8
STEPS = ("train", "evaluate", "track", "report")
NAME = "pipeline"
NOTHING = "Nothing to be done"
Row = dict[str, Any]


def study(experiments: int, images: Path, stack: int | str = "auto") -> dict[str, Any]:
    """A study file of exactly so many experiments: two losses x margins x scales x five seeds.

    Raises
    ------
    ValueError : the number is no multiple of 10, the two losses with five seeds each.
    """
    points, rest = divmod(experiments, len(LOSSES) * SEEDS)
    if rest or not points:
        raise ValueError(f"{experiments} experiments: must be a multiple of {len(LOSSES) * SEEDS}")
    scales = next(count for count in range(math.isqrt(points), 0, -1) if points % count == 0)
    grid = {
        "margin": np.linspace(0.05, 0.5, points // scales).round(6).tolist(),
        "scale": np.geomspace(8, 64, scales).round(6).tolist(),
    }
    return {
        "study": NAME,
        "dataset": {"name": "folder", "options": {"path": str(images), "image_size": SIDE, "channels": 1}},
        "split": {"unknown_validation": 0.2, "unknown_test": 0.4, "known_test": 2},
        "recipe": {"epochs": 1, "batch_size": 64, "class_learning_rate": 10},
        "losses": dict.fromkeys(LOSSES, grid),
        "seeds": SEEDS,
        "stack_size": stack,
        "evaluate": {"fars": [0.1, 0.01]},
    }  # fmt: skip


def write_images(folder: Path) -> None:
    """A data set of grey images: each class a pattern of its own, each image that with noise."""
    rng = np.random.default_rng(0)
    for number, pattern in enumerate(rng.integers(64, 192, (CLASSES, SIDE, SIDE))):
        home = folder / f"class{number:02d}"
        home.mkdir(parents=True)
        for image in range(IMAGES):
            pixels = (pattern + rng.integers(-64, 64, pattern.shape)).astype(np.uint8)
            header = f"P5 {SIDE} {SIDE} 255\n".encode()
            (home / f"{image}.pgm").write_bytes(header + pixels.tobytes())


def measure(folder: Path, experiments: int, stack: int | str = "auto") -> Iterator[Row]:
    """Run a study of so many experiments in an empty folder; a row for each thing timed.

    Rows: ``what``, ``jobs``, ``wall_seconds``, ``cpu_seconds``.
    "all" is the first call, "snakemake" its own process in it; a step has the sum of its jobs' wall times; "again" is a
    second call, with nothing to do. "mirror" and "report" are the commands by themselves: into a fresh database, into a
    new folder.

    Raises
    ------
    RuntimeError : a command failed, or the second call trained again, as when the code has changed meanwhile.
    """
    write_study(folder, experiments, stack)
    first = snakemake(folder)
    home = folder / "results" / NAME
    times = {step: _job_seconds(home / "benchmarks", step) for step in STEPS}
    jobs = sum(map(len, times.values()))
    yield _row("all", jobs, first.wall, first.cpu)
    yield _row("snakemake", 1, None, first.own)
    yield from (_row(step, len(found), sum(found)) for step, found in times.items())
    again = snakemake(folder)
    if NOTHING not in again.output:
        raise RuntimeError(f"the second call had something to do:\n{again.output[:2000]}")
    yield _row("again", 0, again.wall, again.cpu)
    plan, runs = home / "plan.json", folder / "results" / "runs"
    fresh = f"sqlite:///{folder / 'fresh' / 'mlflow.db'}"
    mirror = counted("benchmarks", ["track", "--plan", plan, "--uri", fresh], folder)
    yield _row("mirror", 1, mirror.wall, mirror.cpu)
    to = ("--runs", runs, "--out", folder / "fresh" / "report")
    report = counted("reports", ["make", "--plan", plan, *to], folder)
    yield _row("report alone", 1, report.wall, report.cpu)


def dry_run(folder: Path, experiments: int, stack: int | str = "auto") -> Row:
    """What ``snakemake --dry-run`` takes for a study of so many experiments."""
    write_study(folder, experiments, stack)
    took = snakemake(folder, "--dry-run")
    return _row("dry run", 0, took.wall, took.cpu)


def write_study(folder: Path, experiments: int, stack: int | str) -> None:
    """The study file and its images."""
    write_images(folder / "images")
    text = yaml.safe_dump(study(experiments, folder / "images", stack), sort_keys=False)
    (folder / "study.yaml").write_text(text)


def snakemake(folder: Path, *arguments: str) -> Counted:
    """``snakemake --cores all`` with the study of this folder and the default profile."""
    profile = ("--workflow-profile", ROOT / "profiles" / "default")
    given = ("--snakefile", ROOT / "Snakefile", "--directory", folder, *profile)
    return counted(
        "snakemake", ["--cores", "all", *given, *arguments, "--configfile", "study.yaml"], folder
    )


def _job_seconds(folder: Path, step: str) -> list[float]:
    """Wall seconds of each job of a rule, from the files of its ``benchmark:``."""
    rows = [
        row
        for path in sorted(folder.glob(f"{step}*.tsv"))
        for row in csv.DictReader(path.read_text().splitlines(), delimiter="\t")
    ]
    return [float(row["s"]) for row in rows]


def _row(what: str, jobs: int, wall: float | None, cpu: float | None = None) -> Row:
    seconds = {"wall_seconds": wall, "cpu_seconds": cpu}
    shown = {name: "" if value is None else f"{value:.2f}" for name, value in seconds.items()}
    return {"what": what, "jobs": jobs, **shown}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print as Markdown, and write CSV as far as it is measured; see the module."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the temporary folder goes
    sizes, planned = ((10, 20), 100) if options.quick else (options.sizes, options.planned)
    rows: list[Row] = []

    def add(experiments: int, row: Row) -> None:
        rows.append({"experiments": experiments, "stack": options.stack, **row, **facts("cpu"), "threads": 1})  # fmt: skip
        seconds = f"{row['wall_seconds'] or '–'} s, CPU {row['cpu_seconds'] or '–'} s"
        print(f"{experiments} experiments, {row['what']}: {seconds}", file=sys.stderr, flush=True)
        if options.out:
            _write(options.out, rows)

    try:
        for experiments in sizes:
            with tempfile.TemporaryDirectory(prefix="speed_pipeline_") as folder:
                for row in measure(Path(folder), experiments, options.stack):
                    add(experiments, row)
        with tempfile.TemporaryDirectory(prefix="speed_pipeline_") as folder:
            add(planned, dry_run(Path(folder), planned, options.stack))
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was measured stays", file=sys.stderr)
        return 130
    print(markdown([{name: str(value) for name, value in row.items()} for row in rows]))
    return 0


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sizes",
        type=lambda text: [int(each) for each in text.split(",")],
        default=[10, 100, 1000],
        metavar="N,N",
        help="experiments of the studies (default: 10,100,1000); multiples of 10",
    )
    parser.add_argument(
        "--planned", type=int, default=10_000, metavar="N", help="of the dry run (default: 10000)"
    )
    parser.add_argument(
        "--stack",
        type=lambda text: text if text == "auto" else int(text),
        default="auto",
        metavar="N",
        help="experiments a stack (default: auto)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="10 and 20 experiments, dry run of 100"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="CSV file to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
