"""The trials of a tuned study as tidy rows: what every figure of tuning gathers from.

A study without tuning has no searches, and so no figure of tuning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.collect import Study
from reports.figures.style import slots
from reports.tuning.plan import objectives as aims
from reports.tuning.plan import tuning_of

Item = TypeVar("Item")
_COLUMNS = [
    "loss",
    "slot",
    "search",
    "number",
    "origin",
    "status",
    "metric",
    "lower",
    "value",
    "seen",
    "best",
    "images",
    "default",
    "winner",
]


def searches(study: Study) -> list[Mapping[str, Any]]:
    """The searches of the plan in the order of the study's losses; none without tuning."""
    tuning = tuning_of(study.plan)
    found = [] if tuning is None else tuning["searches"]
    places = {loss: place for place, loss in enumerate(study.losses)}
    return sorted(found, key=lambda own: (places.get(own["loss"], len(places)), own["study"]))


def halved(study: Study) -> bool:
    """Whether successive halving stops trials early, so that trials cost differently much."""
    tuning = tuning_of(study.plan)
    return tuning is not None and bool(tuning["halving"])


def objectives(study: Study) -> list[tuple[str, bool]]:
    """Name of each objective, and whether lower is better."""
    tuning = tuning_of(study.plan)
    if tuning is None:
        return []
    return [(aim.metric, not aim.higher_is_better) for aim in aims(tuning)]


def trials(study: Study, objective: int = 0) -> pd.DataFrame:
    """One row per trial, in the order in which each search tried them.

    Returns
    -------
    DataFrame
        ``loss, slot, search`` (its number among the loss's, from 1), ``number, origin`` (default,
        preset or sampler), ``status, metric, lower`` (whether lower is better), ``value`` (raw; NaN
        unless complete), ``seen`` (the value, or that at the last rung of a stopped trial),
        ``best`` (so far, this trial included), ``images`` (trained so far), ``default, winner``.
    """
    rows: list[dict[str, Any]] = []
    for own in searches(study):
        metric, lower = objectives(study)[objective]
        tried = sorted(own["trials"], key=lambda trial: trial["number"])
        values = [_value(trial, objective) for trial in tried]
        images = np.cumsum([float(trial.get("images") or 0) for trial in tried])
        for trial, value, best, spent in zip(
            tried, values, best_so_far(values, lower), images, strict=True
        ):
            rows.append(
                {
                    "loss": own["loss"],
                    "slot": slots(study).get(own["loss"], 0),
                    "search": own["study"],
                    "number": trial["number"],
                    "origin": trial["origin"].split(" ")[0],
                    "status": trial["status"],
                    "metric": metric,
                    "lower": lower,
                    "value": value,
                    "seen": _seen(trial, value, objective),
                    "best": best,
                    "images": spent,
                    "default": trial["origin"] == "default",
                    "winner": trial["number"] == own["winner"],
                }
            )
    return pd.DataFrame(rows, columns=_COLUMNS)


def best_so_far(values: Sequence[float], lower: bool) -> NDArray[np.float64]:
    """The best of the values up to each one; NaN before the first.

    >>> best_so_far([float("nan"), 3.0, 5.0, 2.0], lower=True).tolist()
    [nan, 3.0, 3.0, 2.0]
    """
    running = np.fmin if lower else np.fmax
    return np.asarray(running.accumulate(np.asarray(values, dtype=float)), dtype=float)


def non_dominated(points: NDArray[np.float64], lower: Sequence[bool]) -> NDArray[np.bool_]:
    """Which points no other point beats: as good in every coordinate and better in one.

    Parameters
    ----------
    points : (N, D). A point with a NaN is not on the front and beats nothing.
    lower : of each coordinate whether lower is better.

    Returns
    -------
    (N,) bool. Equal points are on the front together.
    """
    cost = np.where(np.asarray(lower), points, -points)  # (N, D)
    as_good = (cost[:, None] <= cost[None]).all(axis=2)  # (N, N): [i, j] i at least as good as j
    better = (cost[:, None] < cost[None]).any(axis=2)
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(cost).all(axis=1))
    return whole & ~(as_good & better & whole[:, None]).any(axis=0)


def files(prefix: str, items: Sequence[Item], most: int) -> Iterator[tuple[str, list[Item]]]:
    """Items dealt to as few files as hold `most` each, evenly; ``prefix`` alone names a single one.

    >>> [(name, len(part)) for name, part in files("a", range(32), 20)]
    [('a-1', 16), ('a-2', 16)]
    """
    count = -(-len(items) // most)
    size = -(-len(items) // max(count, 1))
    for place in range(count):
        name = prefix if count == 1 else f"{prefix}-{place + 1}"
        yield name, list(items[place * size : (place + 1) * size])


def _value(trial: Mapping[str, Any], objective: int) -> float:
    values = trial["values"]
    found = values[objective] if values and trial["status"] == "complete" else None
    return float("nan") if found is None else float(found)


def _seen(trial: Mapping[str, Any], value: float, objective: int) -> float:
    if trial["status"] != "stopped" or not trial["rungs"]:
        return value
    found = trial["rungs"][-1]["values"][objective]
    return float("nan") if found is None else float(found)
