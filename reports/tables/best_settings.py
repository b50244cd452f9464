"""Of each loss that was swept its best setting, and which of its settings cannot be told from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import metrics
from reports.collect import Study
from reports.summary import (
    Number,
    closed_metric,
    compare,
    loss_title,
    open_metric,
    setting_text,
    summarise,
)
from reports.tables.table import Column, Entry, Table


@dataclass(frozen=True)
class BestSetting:
    """The sweep of one loss, judged by one metric.

    Attributes
    ----------
    cells : all settings of the sweep that have a value.
    best : the one with the best mean, and its value.
    same : not distinguishable from it (paired tests, Holm-corrected within the sweep).
    few : with too few common seeds for a claim.
    claim : whether the best one itself has enough seeds.
    """

    loss: str
    metric: str
    cells: list[str]
    best: str
    value: Number
    same: list[str]
    few: list[str]
    claim: bool

    @property
    def worse(self) -> int:
        """How many settings are distinguishably worse."""
        return len(self.cells) - 1 - len(self.same) - len(self.few)


def best_settings(study: Study, metric: str) -> list[BestSetting]:
    """Of each loss with at least two measured settings on its axes, in the order of the study."""
    found = []
    for loss in study.losses:
        cells = list(study.swept(loss)["cell"].unique())
        numbers = summarise(study, metric, cells) if study.axes[loss] and len(cells) > 1 else []
        known = [cell for cell, each in zip(cells, numbers, strict=False) if each.n > 0]
        if len(known) < 2:
            continue
        marks = compare(study, metric, cells)
        if marks.best is None:
            continue
        same, few = (
            [cell for cell, mark in zip(cells, marks.marks, strict=True) if mark == wanted]
            for wanted in ("indistinguishable", "too few seeds")
        )
        best = cells[marks.best]
        found.append(
            BestSetting(
                loss,
                metric,
                known,
                best,
                numbers[marks.best],
                same,
                [cell for cell in few if cell != best],
                marks.marks[marks.best] == "best",
            )
        )
    return found


def best_settings_table(study: Study) -> Table:
    """A row for each swept loss and world; no rows in a study without a sweep."""
    rows: list[list[Entry]] = []
    for name in (closed_metric(study), open_metric(study)):
        for found in best_settings(study, name) if name is not None else []:
            rows.append(
                [
                    metrics.metric(found.metric).short,
                    loss_title(found.loss),
                    setting_text(study, found.best),
                    found.value,
                    len(found.cells),
                    _settings(study, found.same),
                    found.worse,
                ]
            )
    columns = [
        Column("metric", "Metric"),
        Column("loss", "Loss"),
        Column("setting", "Best setting"),
        Column("value", "Value", "mean over seeds, per cent", True),
        Column("settings", "Settings", "of the sweep, with a value", True),
        Column("same", "Not distinguishable from it"),
        Column("worse", "Worse", "distinguishably worse settings", True),
    ]
    caption = (
        "Of each swept loss the setting with the best mean on test images, and which settings of "
        "the same loss cannot be told from it (paired tests over common seeds and identities, "
        "Holm-corrected within the sweep, 5 %). The best of many by test images is flattered by "
        "the choice."
    )
    return Table("best_settings", "Best setting of each loss", caption, columns, rows)


def _settings(study: Study, cells: Sequence[str]) -> str:
    return "; ".join(setting_text(study, cell) for cell in cells) or "–"
