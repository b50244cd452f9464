"""Which cells stand in the comparison: chosen on validation images, never on test."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reports.collect import Study
from reports.intervals import mean_interval
from reports.metrics import metric

CRITERIA = (
    "validation/verification/eer",
    "validation/closed_set/top1",
    "validation/closed_set/ncm_top1",
)


@dataclass(frozen=True)
class Selection:
    """The cells of the comparison.

    Attributes
    ----------
    cells : list of str
        In the order of the plan.
    criterion : str or None
        The validation metric that chose them; None: every cell stands in the comparison.
    rule : str
        One sentence for readers.
    edges : dict of str to list of str
        Chosen cell to the axes on whose smallest or largest value it lies: a wider grid might do
        better.
    """

    cells: list[str]
    criterion: str | None
    rule: str
    edges: dict[str, list[str]] = field(default_factory=dict)


def select(study: Study) -> Selection:
    """One cell per loss by the best mean validation metric, or every cell where there is no such
    metric.

    The criterion is the first of `CRITERIA` that every loss with an evaluated run has. Only the
    cells of a loss with
    the largest number of evaluated runs are candidates, so that a cell that lost its bad seeds
    cannot win by that;
    ties go to the first in the plan. A loss without any evaluated run keeps its cells in the
    comparison.
    """
    cells = study.cells
    if all(len(group) == 1 for _, group in cells.groupby("loss")):
        return Selection(
            list(cells["cell"]), None, "Each loss has one setting; nothing had to be chosen."
        )
    evaluated = study.frame[study.frame[list(study.metrics)].notna().any(axis=1)]
    losses = set(evaluated["loss"])
    for name in CRITERIA:
        if (
            losses
            and study.measured(name)
            and set(study.frame.dropna(subset=[name])["loss"]) == losses
        ):
            return _chosen(study, name)
    return Selection(
        list(cells["cell"]),
        None,
        "The study has no validation metric that all its losses share, so every setting is shown: "
        "choosing one by its test result would flatter it.",
    )


def _chosen(study: Study, name: str) -> Selection:
    sign = 1 if metric(name).higher_is_better else -1
    picked: list[str] = []
    for _, group in study.cells.groupby("loss", sort=False):
        labels = list(group["cell"])
        values = study.by_seed(name, labels)
        counts = (~np.isnan(values)).sum(axis=1)
        if counts.max() == 0:
            picked += labels
            continue
        means = np.array([mean_interval(row).mean for row in values])
        picked.append(
            labels[int(np.argmax(np.where(counts == counts.max(), sign * means, -np.inf)))]
        )
    title = metric(name).title.removeprefix("Validation: ")
    return Selection(
        picked,
        name,
        f"Of each loss the setting with the best mean {title} on validation images over seeds; "
        "test images played no part in the choice.",
        {cell: axes for cell in picked if (axes := _edges(study, cell))},
    )


def _edges(study: Study, cell: str) -> list[str]:
    row = study.cells.set_index("cell").loc[cell]
    edges = []
    for axis in study.axes[str(row["loss"])]:
        values = study.cells.loc[study.cells["loss"] == row["loss"], axis].dropna()
        # Between two values there is no inside; only a grid of three or more has an edge worth a
        # warning.
        if (
            values.dtype == float
            and values.nunique() >= 3
            and row[axis] in (values.min(), values.max())
        ):
            edges.append(axis)
    return edges
