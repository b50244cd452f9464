"""What tuning changed: each loss by default against the same loss tuned, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from reports import metrics
from reports.collect import Study
from reports.draws import cell_draws
from reports.selection import Selection
from reports.statistics.comparison import MIN_SEEDS, Difference, paired_difference
from reports.statistics.correlation import Correlation, holm, spearman
from reports.statistics.intervals import LEVEL
from reports.tuning.plan import DEFAULT

Verdict = Literal[
    "better", "worse", "indistinguishable", "too few seeds", "same setting", "not tuned", "no value"
]


@dataclass(frozen=True)
class Change:
    """One loss and metric.

    Attributes
    ----------
    default, compared : the loss's cell by default, and that of the comparison.
    difference : compared minus default over common seeds; None where they are one cell.
    p : of the difference, Holm-corrected over the losses of the metric; NaN where nothing was
        tested.
    default_rank, compared_rank : among the losses that have both values; 1 is best, ties share the
        mean of their ranks.
    """

    loss: str
    default: str
    compared: str
    difference: Difference | None
    p: float
    verdict: Verdict
    default_rank: float
    compared_rank: float


def changes(study: Study, selection: Selection, metric: str) -> list[Change]:
    """Of each loss with a default, in the order of the study; see `Change`.

    A loss of which the comparison shows several cells is left out: none of them was chosen.
    """
    key = ("changes", metric, tuple(selection.cells))
    if key not in study.cache:
        study.cache[key] = _changes(study, selection, metric)
    found: list[Change] = study.cache[key]
    return found


def agreement(found: Sequence[Change]) -> Correlation:
    """Spearman's ρ between the ranks of the losses by default and tuned."""
    return spearman([each.default_rank for each in found], [each.compared_rank for each in found])


def _changes(study: Study, selection: Selection, metric: str) -> list[Change]:
    row = metrics.metric(metric)
    owners = study.cells.set_index("cell")["loss"]
    pairs = []
    for loss in study.losses:
        own = [cell for cell in selection.cells if owners[cell] == loss]
        if (loss, DEFAULT) in study.arms and len(own) == 1:
            pairs.append((loss, study.arms[loss, DEFAULT], own[0]))
    sides = [[pair[side] for pair in pairs] for side in (1, 2)]
    values = [study.by_seed(metric, cells) for cells in sides]
    draws = [cell_draws(study, metric, cells) for cells in sides]
    differences = [
        None
        if default == compared
        else paired_difference(
            values[1][place],
            values[0][place],
            draws[1][place],
            draws[0][place],
            higher_is_better=bool(row.higher_is_better),
            few_accepts=row.few_accepts,
        )
        for place, (_, default, compared) in enumerate(pairs)
    ]
    raw = [
        each.p if each is not None and each.interval.n >= MIN_SEEDS else float("nan")
        for each in differences
    ]
    corrected = holm(raw)
    ranks = _ranks(values, bool(row.higher_is_better))
    return [
        Change(
            *pair,
            difference,
            float(p),
            _verdict(study, pair[0], difference, float(p), bool(row.higher_is_better)),
            *map(float, own),
        )
        for pair, difference, p, own in zip(pairs, differences, corrected, ranks.T, strict=True)
    ]


def _verdict(
    study: Study, loss: str, difference: Difference | None, p: float, higher_is_better: bool
) -> Verdict:
    if difference is None:
        return "same setting" if study.tuned_cells(loss) else "not tuned"
    if difference.interval.n == 0:
        return "no value"
    if np.isnan(p):
        return "too few seeds"
    if p >= 1 - LEVEL:
        return "indistinguishable"
    return "better" if (difference.interval.mean > 0) == higher_is_better else "worse"


def _ranks(values: Sequence[NDArray[np.float64]], higher_is_better: bool) -> NDArray[np.float64]:
    """(2, losses) ranks of the means of both sides, over the losses that have both."""
    means = np.array(
        [
            [float(np.nanmean(row)) if (~np.isnan(row)).any() else np.nan for row in side]
            for side in values
        ]
    ).reshape(2, -1)
    found = np.full(means.shape, np.nan)
    known = ~np.isnan(means).any(axis=0)
    # The last bits of a mean are no reason for a rank.
    cost = np.round(-means if higher_is_better else means, 12)
    if known.any():
        found[:, known] = rankdata(cost[:, known], axis=1)
    return found
