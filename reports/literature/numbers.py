"""Published numbers and which of them a study can stand beside.

``published.csv`` holds numbers that were seen in a source (never recalled ones), each with its paper, table and source. A
row is comparable to a setting of a study only where four things agree: the data set, the part of it
that is judged (after training on all its classes), the metric, and the loss with every margin and
scale that the row states. What else differs (net, recipe, how the published run was chosen) is
listed beside the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from reports.collect import Study
from reports.literature.rules import (
    DATASETS,
    METRICS,
    differences,
    losses_of,
    net_of,
    protocol_gap,
    stated_gap,
)
from reports.metrics import metric
from reports.selection import Selection

PATH = Path(__file__).resolve().parents[1] / "published.csv"


@dataclass(frozen=True)
class Match:
    """A published number beside a setting of the study.

    `value`: the published fraction; `error`: it is 1 minus `metric`; `net`: "same", "other" or
    "not stated"; `differences`: what the row states that does not hold here.
    """

    row: Mapping[str, Any]
    cell: str
    metric: str
    error: bool
    value: float
    net: str
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Gap:
    """Published numbers of the same data set that are not comparable, and why."""

    paper: str
    table: str
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    count: int
    why: str


@cache
def rows() -> pd.DataFrame:
    """All published rows: text columns as printed, ``value`` as a number in the row's unit."""
    frame = pd.read_csv(PATH, dtype=str, keep_default_na=False)
    return frame.assign(value=frame["value"].astype(float))


def compare(study: Study, selection: Selection) -> tuple[list[Match], list[Gap]]:
    """The published numbers beside this study's settings, and those of its data set that are not
    comparable. Both empty where nothing was published for the data set.

    Where a row leaves a margin or scale open that the study varies, the compared setting stands
    beside it.
    """
    planned = {item["id"]: item for item in study.plan["experiments"]}
    first = study.frame.drop_duplicates("cell")
    cells = {row.cell: planned[row.id] for row in first.itertuples()}
    matches: list[Match] = []
    gaps: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows().to_dict("records"):
        same = {
            cell: item
            for cell, item in cells.items()
            if DATASETS.get(item["dataset"]["name"], ("",))[0] == row["dataset"]
        }
        if not same:
            continue
        found, why = _beside(study, selection, row, same)
        matches += found
        if why:
            gaps.setdefault((row["paper"], row["table"], why), []).append(row)
    return matches, [
        Gap(
            paper,
            table,
            tuple(dict.fromkeys(row["loss"] for row in own)),
            tuple(dict.fromkeys(row["metric"] for row in own)),
            len(own),
            why,
        )
        for (paper, table, why), own in gaps.items()
    ]


def _beside(
    study: Study, selection: Selection, row: Mapping[str, Any], cells: Mapping[str, Any]
) -> tuple[list[Match], str]:
    """The settings that one row is comparable to, or why it is to none."""
    wanted = dict(losses_of(row["loss"]))
    own = {cell: item for cell, item in cells.items() if item["loss"]["name"] in wanted}
    protocols = {cell: protocol_gap(row, item) for cell, item in (own or cells).items()}
    fitting = [cell for cell, why in protocols.items() if not why]
    if not fitting:
        return [], next(iter(protocols.values()))
    if not own:
        return [], "its loss is not in this study"
    apart = {cell: stated_gap(wanted[own[cell]["loss"]["name"]], own[cell]) for cell in fitting}
    agreeing = [cell for cell, why in apart.items() if not why]
    if not agreeing:
        return [], "; ".join(dict.fromkeys(apart.values()))
    name, error = METRICS[row["metric"]]
    measured = [cell for cell in agreeing if (study.by_seed(name, [cell]) >= 0).any()]
    if not measured:
        return [], f"no run here has a value of {metric(name).title}"
    stated = set().union(*wanted.values())
    open_axes = [key for loss in wanted for key in study.axes.get(loss, ()) if key not in stated]
    if {"margin", "scale"} & set(open_axes):
        measured = [cell for cell in measured if cell in selection.cells] or measured
    value = float(row["value"]) / 100
    return [
        Match(row, cell, name, error, value, net_of(row, own[cell]), differences(row, own[cell]))
        for cell in measured
    ], ""
