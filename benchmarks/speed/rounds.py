"""Wall time of a round of trials trained as one stack, beside the same trials trained in a process each.

python -m benchmarks.speed.rounds --plan results/omniglot_cpu/plan.json --lane 3f… --out rounds.csv

Both train the first round of a lane into a folder of their own and judge it on validation images; processes run one
after the other, with their start-up, as a loop in a shell would have it.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.evaluate import validation_metrics
from benchmarks.experiment import Experiment
from benchmarks.splitting import load_images
from benchmarks.store import RunStore
from benchmarks.study import Study
from benchmarks.trials import train_trials
from benchmarks.tuning.optuna_studies import propose


def first_round(study: Study, lane: str) -> list[Experiment]:
    """The experiments of a lane's round 0.

    Raises
    ------
    ValueError : the study is not tuned.
    """
    tuning = study.tuning
    if tuning is None:
        raise ValueError("this study is not tuned")
    return [
        search.experiment(point, seed)
        for search in tuning.members(lane)
        for _, point in propose(search, tuning, [], 0)
        for seed in search.seeds
    ]


def train(study: Study, experiments: list[Experiment], results: Path) -> None:
    """Train and judge them as one stack."""
    train_trials(experiments, results=results, device=torch.device(study.device))
    for item in experiments:
        validation_metrics(RunStore(results / "trials"), item.id, study.config["evaluate"])


def timed(plan: Path, lane: str, results: Path, numbers: list[int]) -> float:
    """Seconds of a new process that trains these of the lane's experiments as one stack."""
    arguments = ["--plan", str(plan), "--lane", lane, "--worker", str(results), *map(str, numbers)]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "benchmarks.speed.rounds", *arguments], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print or write one row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=Path, required=True, help="plan.json of a tuned study")
    parser.add_argument("--lane", help="one of its lanes (default: the first)")
    parser.add_argument("--out", type=Path, help="CSV to write (default: only shown)")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    study = Study.from_json(json.loads(given.plan.read_text()))
    if study.tuning is None:
        parser.error(f"{given.plan}: this study is not tuned")
    lane = given.lane or next(iter(study.tuning.lanes))
    experiments = first_round(study, lane)
    if given.worker:
        folder, *numbers = given.worker
        train(study, [experiments[int(number)] for number in numbers], Path(folder))
        return
    count = len(experiments)
    load_images(experiments[0], study.results)  # decoded once, and not on anybody's time
    with tempfile.TemporaryDirectory() as folder:
        together, alone = Path(folder, "together"), Path(folder, "alone")
        for results in (together, alone):
            results.mkdir()
            (results / "cache").symlink_to((study.results / "cache").resolve())
        stack = timed(given.plan, lane, together, list(range(count)))
        each = [timed(given.plan, lane, alone, [number]) for number in range(count)]
    row = {
        "study": study.name,
        "losses": " ".join(search.loss for search in study.tuning.members(lane)),
        "trials": count,
        "epochs": study.tuning.epochs,
        "stack_seconds": round(stack, 1),
        "one_process_each_seconds": round(sum(each), 1),
        "ratio": round(sum(each) / stack, 2),
    }
    print(json.dumps(row))
    if given.out:
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
