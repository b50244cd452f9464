"""A search without training: trials get their values from a formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.study import load
from benchmarks.tuning.optuna_studies import propose
from benchmarks.tuning.searches import Search, Tuning
from benchmarks.tuning.space import Point
from tests.benchmarks import study_file

Formula = Callable[[Point], Sequence[float] | None]


def tuning(folder: Path, study_losses: dict[str, Any] | None = None, **tune: Any) -> Tuning:
    """The tuning of a small study; `tune` goes over eight trials in four rounds."""
    split = {"unknown_validation": 2, "known_validation": 2, "seed": 0}
    tune = {"trials": 8, "rounds": 4, "objective": "verification/eer", **tune}
    path = study_file.write(
        folder, split=split, tune=tune, losses=study_losses or {"arcface": {}}, recipe={"epochs": 4}
    )
    planned = load(path).tuning
    assert planned is not None
    return planned


def trial(
    number: int, round_: int, origin: str, point: Point, values: Sequence[float] | None
) -> dict[str, Any]:
    """As a round's file has it; None: failed."""
    return {
        "number": number,
        "round": round_,
        "origin": origin,
        "parameters": point,
        "status": "failed" if values is None else "complete",
        "reason": "diverged" if values is None else None,
        "values": None if values is None else list(values),
        "rungs": [],
    }


def bowl(point: Point) -> list[float]:
    """Best at margin 0.3, scale 20, learning rate 0.05."""
    return [
        (point["margin"] - 0.3) ** 2
        + math.log(point["scale"] / 20) ** 2 / 20
        + math.log(point["learning_rate"] / 0.05) ** 2 / 50
    ]


def carried_out(
    search: Search, tuning: Tuning, formula: Formula, rounds: int | None = None
) -> list[dict[str, Any]]:
    """The trials of a search after so many rounds, all of them unless said otherwise."""
    trials: list[dict[str, Any]] = []
    for number in range(tuning.rounds if rounds is None else rounds):
        asked = propose(search, tuning, trials, number)
        trials += [
            trial(place, number, origin, point, formula(point))
            for place, (origin, point) in zip(tuning.numbers(number), asked, strict=True)
        ]
    return trials
