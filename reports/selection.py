"""Which cells stand in the comparison: chosen on validation images, never on test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.collect import Study
from reports.metrics import metric
from reports.statistics.intervals import mean_interval
from reports.summary import loss_title
from reports.tuning.plan import DEFAULT, objectives

CRITERIA = (
    "validation/verification/eer",
    "validation/closed_set/top1",
    "validation/closed_set/ncm_top1",
)
_NO_CRITERION = "The study has no validation metric that all its losses share, so"
_FLATTERY = "is shown: choosing one by its test result would flatter it."


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
    comparison. Of a tuned study only what the searches found are candidates, and their objective is
    the criterion where it is one.
    """
    if study.tuning is not None:
        return _of_tuned(study)
    cells = study.cells
    if all(len(group) == 1 for _, group in cells.groupby("loss")):
        return Selection(
            list(cells["cell"]), None, "Each loss has one setting; nothing had to be chosen."
        )
    name = _shared(study, CRITERIA)
    if name is None:
        return Selection(list(cells["cell"]), None, f"{_NO_CRITERION} every setting {_FLATTERY}")
    own = [list(group["cell"]) for _, group in cells.groupby("loss", sort=False)]
    picked = _best(study, name, own, bool(metric(name).higher_is_better))
    return Selection(
        picked,
        name,
        f"Of each loss the setting with the best mean {_title(name)} on validation images over "
        "seeds; test images played no part in the choice.",
        {cell: axes for cell in picked if (axes := _edges(study, cell))},
    )


def _of_tuned(study: Study) -> Selection:
    """One cell per loss of a tuned study: a winner of its searches, chosen on validation images.

    Settings of the grid and around an optimum had no equal budget and are no candidates. A loss
    whose searches all failed stands with its default, one that nothing tuned with its best setting.
    """
    own = [_candidates(study, loss) for loss in study.losses]
    goals = objectives(study.tuning or {})
    better = {each.metric: each.higher_is_better for each in goals} if len(goals) == 1 else {}
    name = _shared(study, (*better, *CRITERIA))
    settled = all(len(cells) == 1 for cells in own)
    notes = "".join(f" {note}" for note in _stand_ins(study))
    if name is None or settled:
        rule = (
            "Each tuned loss stands with the setting that its search found; settings of the grid "
            "are no candidates."
            if settled
            else f"{_NO_CRITERION} every setting that a search found {_FLATTERY}"
        )
        return Selection([cell for cells in own for cell in cells], None, rule + notes)
    picked = _best(study, name, own, better.get(name, bool(metric(name).higher_is_better)))
    rule = (
        "Each tuned loss stands with what its searches found, of several searches with the one of "
        f"the best mean {_title(name)} on validation images over the fresh seeds; test images "
        "played no part in the choice, and settings of the grid are no candidates."
    )
    return Selection(picked, name, rule + notes)


def _candidates(study: Study, loss: str) -> list[str]:
    tuned = study.tuned_cells(loss)
    if tuned or (loss, DEFAULT) in study.arms:
        return tuned or [study.arms[loss, DEFAULT]]
    cells = study.cells
    return list(cells.loc[cells["loss"] == loss, "cell"])


def _stand_ins(study: Study) -> list[str]:
    """A sentence for the losses whose searches all failed, and one for those that were not tuned."""
    sought = {search["loss"] for search in (study.tuning or {})["searches"]}
    left = [loss for loss in study.losses if not study.tuned_cells(loss)]
    gone = ", ".join(loss_title(loss) for loss in left if loss in sought)
    rest = ", ".join(loss_title(loss) for loss in left if loss not in sought)
    notes = [f"{gone}: no search has a result, so the default stands for it."] if gone else []
    return notes + (
        [f"{rest}: not tuned; the best of the study's settings stands for it."] if rest else []
    )


def _shared(study: Study, names: Sequence[str]) -> str | None:
    """The first of these metrics that every loss with an evaluated run has."""
    evaluated = study.frame[study.frame[list(study.metrics)].notna().any(axis=1)]
    losses = set(evaluated["loss"])
    for name in names:
        if (
            losses
            and study.measured(name)
            and set(study.frame.dropna(subset=[name])["loss"]) == losses
        ):
            return name
    return None


def _best(
    study: Study, name: str, candidates: Sequence[Sequence[str]], higher_is_better: bool
) -> list[str]:
    """Of each group of cells the one with the best mean; a group without any value keeps all."""
    sign = 1 if higher_is_better else -1
    picked: list[str] = []
    for labels in candidates:
        values = study.by_seed(name, labels)
        counts = (~np.isnan(values)).sum(axis=1)
        if counts.max() == 0:
            picked += labels
            continue
        means = np.array([mean_interval(row).mean for row in values])
        picked.append(
            labels[int(np.argmax(np.where(counts == counts.max(), sign * means, -np.inf)))]
        )
    return picked


def _title(name: str) -> str:
    return metric(name).title.removeprefix("Validation: ")


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
