"""Every compared loss against plain softmax, paired by seed: what a margin or a metric buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports import metrics
from reports.collect import Study
from reports.draws import cell_draws
from reports.statistics.comparison import MIN_SEEDS, Difference, paired_difference
from reports.statistics.correlation import holm
from reports.statistics.intervals import LEVEL
from reports.summary import Probability, headline_metrics, number
from reports.tables.table import COVERS, Column, Entry, Table, cell_name

BASELINE = "softmax"

Verdict = Literal["better", "worse", "indistinguishable", "too few seeds"]


@dataclass(frozen=True)
class Gain:
    """One cell against the baseline.

    Attributes
    ----------
    difference : cell minus baseline over common seeds.
    p : Holm-corrected over the cells of the metric; NaN where nothing was tested.
    """

    cell: str
    difference: Difference
    p: float
    verdict: Verdict


def baseline_cell(study: Study, cells: Sequence[str]) -> str | None:
    """The one compared setting of plain softmax; None where there is none, or several."""
    own = [cell for cell in cells if study.cell(cell)["loss"] == BASELINE]
    return own[0] if len(own) == 1 and len(cells) > 1 else None


def gains(study: Study, metric: str, cells: Sequence[str]) -> list[Gain]:
    """Every other cell that shares a seed with the baseline, in the order of `cells`.

    `metric` has a direction. The tests are those of `reports.statistics.comparison.paired_difference`.
    """
    key = ("gains", metric, tuple(cells))
    if key not in study.cache:
        study.cache[key] = _gains(study, metric, cells)
    found: list[Gain] = study.cache[key]
    return found


def _gains(study: Study, metric: str, cells: Sequence[str]) -> list[Gain]:
    base = baseline_cell(study, cells)
    if base is None:
        return []
    row, place = metrics.metric(metric), list(cells).index(base)
    values, draws = study.by_seed(metric, cells), cell_draws(study, metric, cells)
    pairs = [
        (
            cell,
            paired_difference(
                values[index],
                values[place],
                draws[index],
                draws[place],
                higher_is_better=bool(row.higher_is_better),
                few_accepts=row.few_accepts,
            ),
        )
        for index, cell in enumerate(cells)
        if cell != base
    ]
    pairs = [(cell, difference) for cell, difference in pairs if difference.interval.n > 0]
    tested = [each.p if each.interval.n >= MIN_SEEDS else np.nan for _, each in pairs]
    return [
        Gain(cell, difference, float(p), _verdict(difference, p, bool(row.higher_is_better)))
        for (cell, difference), p in zip(pairs, holm(tested), strict=True)
    ]


def _verdict(difference: Difference, p: float, higher_is_better: bool) -> Verdict:
    if np.isnan(p):
        return "too few seeds"
    if p >= 1 - LEVEL:
        return "indistinguishable"
    return "better" if (difference.interval.mean > 0) == higher_is_better else "worse"


def baseline(study: Study, cells: Sequence[str]) -> Table:
    """Difference of every compared cell to plain softmax; no rows where softmax is not compared."""
    rows: list[list[Entry]] = []
    for name in headline_metrics(study):
        row = metrics.metric(name)
        for gain in gains(study, name, cells):
            interval = gain.difference.interval
            rows.append(
                [
                    row.short,
                    cell_name(study, gain.cell),
                    number(interval, percent=row.percent),
                    interval.n,
                    COVERS[interval.covers],
                    Probability(gain.p),
                    number(gain.difference.wins, digits=0),
                    gain.verdict,
                ]
            )
    columns = [
        Column("metric", "Metric"),
        Column("cell", "Setting"),
        Column("difference", "Difference", "setting minus softmax, percentage points", True),
        Column("common_seeds", "n", "common seeds", True),
        Column("covers", "Interval over"),
        Column("p_holm", "p (Holm)", "corrected within the metric", True),
        Column("wins", "P(better)", "probability of being better than softmax, per cent", True),
        Column("verdict", "Verdict"),
    ]
    caption = (
        "Each compared setting minus plain softmax, paired by seed, in percentage points; tests, "
        "intervals and P(better) as in the differences to the best."
    )
    return Table("baseline", "Differences to softmax", caption, columns, rows)
