"""The ``tuning`` block of a final plan (``tuned.json``) as tidy frames: searches, trials, optima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Plan = Mapping[str, Any]

DEFAULT = "default"
AROUND = "around"
GRID = "grid"
NOTES = {
    "low": "on the lower bound",
    "high": "on the upper bound",
    "legal": " (no wider range is legal)",
    "extended": "range extended",
    "default": "default out of range",
}


@dataclass(frozen=True)
class Objective:
    """What the searches improve: a metric of the validation images, and its better direction."""

    metric: str
    higher_is_better: bool


def tuning_of(plan: Plan) -> Mapping[str, Any] | None:
    """The tuning block of a final plan; None of a study without tuning."""
    found: Mapping[str, Any] | None = plan.get("tuning")
    return found


def objectives(tuning: Mapping[str, Any]) -> list[Objective]:
    """The objectives in their order."""
    return [
        Objective(each["metric"], each["direction"] == "maximize") for each in tuning["objectives"]
    ]


def arms_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Why each experiment is in the plan: "grid", "default", "tuned 1", …, "around"; several where
    they coincide. Empty without tuning. An experiment that no arm names is the grid's.
    """
    tuning = tuning_of(plan)
    if tuning is None:
        return {}
    arms: dict[str, set[str]] = {item["id"]: set() for item in plan["experiments"]}
    for own in tuning["arms"]:
        for experiment in own["experiments"]:
            arms[experiment].add(own["arm"])
    return {key: tuple(sorted(own or {GRID}, key=arm_order)) for key, own in arms.items()}


def arm_order(arm: str) -> tuple[int, int]:
    """Sort key: default, tuned 1, tuned 2, …, grid, around.

    >>> sorted(["around", "grid", "tuned 10", "tuned 9", "default"], key=arm_order)
    ['default', 'tuned 9', 'tuned 10', 'grid', 'around']
    """
    if arm.startswith("tuned "):
        return 1, int(arm.removeprefix("tuned "))
    return (DEFAULT, "", GRID, AROUND).index(arm), 0


def on_axes(arms: Sequence[str]) -> bool:
    """Whether an experiment with these arms belongs to the grid of a loss or around an optimum."""
    return not {GRID, AROUND}.isdisjoint(arms)


def searches(tuning: Mapping[str, Any]) -> pd.DataFrame:
    """One row per search.

    Returns
    -------
    DataFrame
        ``search, loss, study`` (its number among the loss's, from 1), ``arm`` ("tuned 1"),
        ``parameters`` (a tuple of the tuned ones' names), ``winner`` (trial number, None where no
        trial has a value), ``value`` (the winner's first objective; NaN for none), ``reason`` (why
        there is no winner).
    """
    rows = []
    for search in tuning["searches"]:
        winner = winning_trial(search)
        rows.append(
            {
                "search": search["id"],
                "loss": search["loss"],
                "study": int(search["study"]),
                "arm": f"tuned {search['study']}",
                "parameters": tuple(axis["name"] for axis in search["space"]),
                "winner": search["winner"],
                "value": float(winner["values"][0]) if winner is not None else float("nan"),
                "reason": search["reason"],
            }
        )
    columns = ["search", "loss", "study", "arm", "parameters", "winner", "value", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"winner": object, "reason": object})


def winning_trial(search: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The trial that the search chose; None where no trial has a value."""
    found: dict[int, Mapping[str, Any]] = {trial["number"]: trial for trial in search["trials"]}
    return None if search["winner"] is None else found[search["winner"]]


def trials(tuning: Mapping[str, Any]) -> pd.DataFrame:
    """One row per trial, of all searches in the order of the plan.

    Returns
    -------
    DataFrame
        ``search, loss, study, number, round, origin, status`` (complete, stopped, failed),
        ``reason, value`` (first objective; NaN unless complete), ``epochs, images, seconds``
        (summed over seeds but for epochs), ``diverged``, ``winner`` (whether it won its search).
    """
    columns = ["number", "round", "origin", "status", "reason", "epochs", "images", "seconds"]
    rows = [
        {
            "search": search["id"],
            "loss": search["loss"],
            "study": int(search["study"]),
            **{key: trial[key] for key in columns},
            "value": float(trial["values"][0]) if trial["values"] else float("nan"),
            "diverged": bool(trial["diverged"]),
            "winner": trial["number"] == search["winner"],
        }
        for search in tuning["searches"]
        for trial in search["trials"]
    ]
    names = ["search", "loss", "study", *columns, "value", "diverged", "winner"]
    return pd.DataFrame(rows, columns=names).astype({"reason": object})


def optima(tuning: Mapping[str, Any]) -> pd.DataFrame:
    """One row per search with a winner and tuned parameter.

    Returns
    -------
    DataFrame
        ``search, loss, study, parameter, low, high`` (the range at the end), ``log, default`` (of
        the paper; None where the search has no such trial), ``tuned, position`` (in the range, 0 to
        1, in log units where log), ``bound`` ("low", "high" or ""), ``legal`` (the bound is that of
        the loss), ``extended``, ``default_outside`` (of the range at the start).
    """
    rows = []
    for search in tuning["searches"]:
        winner = winning_trial(search)
        if winner is None:
            continue
        default: Mapping[str, Any] = next(
            (trial["parameters"] for trial in search["trials"] if trial["origin"] == DEFAULT), {}
        )
        for axis in search["space"]:
            name, bound = axis["name"], search["at_bound"].get(axis["name"], "")
            value, usual = winner["parameters"][name], default.get(name)
            rows.append(
                {
                    "search": search["id"],
                    "loss": search["loss"],
                    "study": int(search["study"]),
                    "parameter": name,
                    **{key: axis[key] for key in ("low", "high", "log")},
                    "default": usual,
                    "tuned": value,
                    "position": position(value, axis["low"], axis["high"], axis["log"]),
                    "bound": bound,
                    "legal": bool(bound) and axis[bound] == axis[f"legal_{bound}"],
                    "extended": (axis["start_low"], axis["start_high"])
                    != (axis["low"], axis["high"]),
                    "default_outside": usual is not None
                    and not axis["start_low"] <= usual <= axis["start_high"],
                }
            )
    columns = ["search", "loss", "study", "parameter", "low", "high", "log", "default", "tuned"]
    columns += ["position", "bound", "legal", "extended", "default_outside"]
    return pd.DataFrame(rows, columns=columns).astype({"default": object})


def position(value: float, low: float, high: float, log: bool) -> float:
    """Where a value lies in a range: 0 at its low end, 1 at its high end; in log units where log.

    >>> position(0.01, 0.0001, 1.0, log=True)
    0.5
    """
    if log:
        value, low, high = (float(np.log(end)) for end in (value, low, high))
    return (value - low) / (high - low)
