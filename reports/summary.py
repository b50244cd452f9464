"""Cells and metrics to numbers with intervals and marks: what tables, figures and words all draw
on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from losses import catalog
from reports import metrics
from reports.collect import SHORT, WORDS, Study, value_text
from reports.draws import cell_draws, joined
from reports.statistics.comparison import Comparison, Mark, compare_with_best
from reports.statistics.correlation import Correlation, spearman
from reports.statistics.intervals import Covers, Interval, interval
from reports.tuning.plan import AROUND

_TUNED_SHORT = {**SHORT, "weight_decay": "wd"}
_RECIPE = ("learning_rate", "weight_decay")

SYMBOLS: dict[Mark, str] = {"indistinguishable": "†", "too few seeds": "‡"}


@dataclass(frozen=True)
class Number:
    """One entry of a table: mean over seeds, its 95 % interval, and what may be said about it.

    `mean`, `low` and `high` are raw (fractions); `text` shows the mean and half of the interval's
    width in the unit and with the digits of the column.
    """

    mean: float
    low: float
    high: float
    n: int
    covers: Covers = "nothing"
    best: bool = False
    mark: Mark = "no value"
    percent: bool = True
    digits: int = 2
    refused: bool = False  # measured, but the value was refused (the note says why)

    @property
    def half(self) -> float:
        """Half of the interval's width; the whole of one that lies on one side of the mean."""
        width = self.high - self.low
        return width if self.mean in (self.low, self.high) else width / 2

    @property
    def symbol(self) -> str:
        """The footnote sign of the mark, or nothing."""
        return SYMBOLS.get(self.mark, "")

    @property
    def parts(self) -> tuple[str, str]:
        """Mean and half width as shown; ("n/a", "") for a refused value, ("–", "") for none."""
        if math.isnan(self.mean):
            return ("n/a" if self.refused else "–"), ""
        unit = 100 if self.percent else 1
        half = "" if math.isnan(self.half) else f"{self.half * unit:.{self.digits}f}"
        return f"{self.mean * unit:.{self.digits}f}".replace("-", "−"), half

    @property
    def text(self) -> str:
        """``"4.10 ± 0.31"``, without sign and weight."""
        mean, half = self.parts
        return f"{mean} ± {half}" if half else mean


class Probability(float):
    """A p-value: shown to three digits, raw in CSV."""

    @property
    def text(self) -> str:
        """``"0.043"``, ``"< 0.001"``, or a dash where nothing was tested."""
        if math.isnan(self):
            return "–"
        return "< 0.001" if self < 0.001 else f"{self:.3f}"


def compare(study: Study, metric: str, cells: Sequence[str]) -> Comparison:
    """Every one of these cells against the best of them; see
    `reports.statistics.comparison.compare_with_best`.
    """
    key = ("compare", metric, tuple(cells))
    if key not in study.cache:
        row = metrics.metric(metric)
        study.cache[key] = compare_with_best(
            study.by_seed(metric, cells),
            bool(row.higher_is_better),
            cell_draws(study, metric, cells),
            few_accepts=row.few_accepts,
        )
    comparison: Comparison = study.cache[key]
    return comparison


def cell_intervals(study: Study, metric: str, cells: Sequence[str]) -> list[Interval]:
    """The mean of each cell with its interval over all the draws that its runs know of."""
    missing = [cell for cell in cells if ("interval", metric, cell) not in study.cache]
    row = metrics.metric(metric)
    values = study.by_seed(metric, missing)
    stored = cell_draws(study, metric, missing)
    for cell, own, runs in zip(missing, values, stored, strict=True):
        known = np.flatnonzero(~np.isnan(own))
        draws, drew_own = joined([runs[seed] for seed in known])
        study.cache["interval", metric, cell] = interval(
            own[known],
            draws,
            own_identities=drew_own,
            rate=row.percent,
            few_accepts=row.few_accepts,
        )
    return [study.cache["interval", metric, cell] for cell in cells]


def summarise(study: Study, metric: str, cells: Sequence[str]) -> list[Number]:
    """The column of a table: one number per cell. A lone cell with a value is neither best nor
    marked.
    """
    row = metrics.metric(metric)
    values = study.by_seed(metric, cells)
    comparison = compare(study, metric, cells) if row.higher_is_better is not None else None
    contested = int((~np.isnan(values)).any(axis=1).sum()) > 1
    intervals = cell_intervals(study, metric, cells)
    digits = column_digits(intervals, row.percent)
    refused = set(study.notes.loc[study.notes["metric"] == metric, "id"])
    return [
        number(
            each,
            best=comparison is not None and contested and index == comparison.best,
            mark=comparison.marks[index] if comparison is not None and contested else "no value",
            percent=row.percent,
            digits=digits,
            refused=not refused.isdisjoint(study.runs_of(cell).values()),
        )
        for index, (cell, each) in enumerate(zip(cells, intervals, strict=True))
    ]


def number(found: Interval, **shown: Any) -> Number:
    """An interval as the entry of a table; `shown`: the other attributes of `Number`."""
    return Number(found.mean, found.low, found.high, found.n, found.covers, **shown)


def closed_metric(study: Study) -> str | None:
    """The closed-set metric that all evaluated runs share: the classifier's top-1, else the nearest
    class mean's.
    """
    evaluated = (
        study.frame[study.frame[list(study.metrics)].notna().any(axis=1)]
        if study.metrics
        else study.frame[:0]
    )
    if study.measured("closed_set/top1") and evaluated["closed_set/top1"].notna().all():
        return "closed_set/top1"
    return next(
        (name for name in ("closed_set/ncm_top1", "closed_set/top1") if study.measured(name)), None
    )


def open_metric(study: Study) -> str | None:
    """The open-set metric of figures and findings: the EER, or None in a study without unknown
    classes.
    """
    return "verification/eer" if study.measured("verification/eer") else None


def headline_metrics(study: Study) -> list[str]:
    """The metrics whose paired comparison is reported: closed set, open-set EER, recall@1, as far
    as measured.
    """
    names = (closed_metric(study), open_metric(study), "retrieval/recall_at_1")
    return [name for name in names if name is not None and study.measured(name)]


def rank_agreement(study: Study, closed: str, opened: str) -> tuple[Correlation, Correlation]:
    """Spearman's ρ between closed-set and open-set quality (better = larger on both), over cell
    means and over runs.
    """
    signs = [1 if metrics.metric(name).higher_is_better else -1 for name in (closed, opened)]
    both = study.frame.dropna(subset=[closed, opened])
    means = both.groupby("cell", sort=False)[[closed, opened]].mean()
    over_cells = spearman(signs[0] * means[closed], signs[1] * means[opened])
    return over_cells, spearman(signs[0] * both[closed], signs[1] * both[opened])


def loss_title(loss: str) -> str:
    """The loss's name for readers; a loss that the catalog no longer has keeps its key."""
    row = _row(loss)
    return loss if row is None else row.title


def _row(loss: str) -> catalog.LossRow | None:
    try:
        return catalog.row(loss)
    except catalog.CatalogError:
        return None


def unit(loss: str, setting: str) -> str:
    """Unit of a hyper-parameter as the catalog states it; empty for other settings."""
    row = _row(loss)
    found = [h.unit for h in row.hyperparameters if h.name == setting] if row is not None else []
    return found[0] if found and found[0] not in ("scale", "option") else ""


def setting_text(study: Study, cell: str) -> str:
    """What tells the cells of a loss apart: ``"m=0.5 s=32"``, of what tuning chose ``"tuned 1"``.

    Margin, scale and all that varies in the cell's loss; empty for a loss without settings.
    """
    row = study.cell(cell)
    if cell in study.arms.values():
        chosen = cell.removeprefix(f"{row['loss']} ")
        return chosen if (study.tuning or {})["studies"] > 1 else chosen.replace("tuned 1", "tuned")
    wanted: list[str] = [key for key in ("margin", "scale") if key in study.settings]
    wanted += [key for key in study.axes[str(row["loss"])] if key not in wanted]
    if study.tuning is None:
        return _shown(row, wanted, SHORT, value_text)
    around = f"{AROUND} " if cell.startswith(f"{row['loss']} {AROUND}") else ""
    return around + _shown(row, wanted, _TUNED_SHORT, tuned_text)


def full_setting(study: Study, cell: str) -> str:
    """The setting with its numbers also where tuning chose it: ``"tuned 1: m=0.41 s=31.2 lr=0.05"``."""
    row = study.cell(cell)
    short = setting_text(study, cell)
    around = short.startswith(f"{AROUND} ")
    if study.tuning is None or not (around or cell in study.arms.values()):
        return short
    spaces = [s["space"] for s in study.tuning["searches"] if s["loss"] == row["loss"]]
    wanted = ["margin", "scale", *(axis["name"] for space in spaces for axis in space)]
    wanted += study.axes[str(row["loss"])]
    ordered = [key for key in dict.fromkeys(wanted) if key not in _RECIPE] + list(_RECIPE)
    text = _shown(row, [k for k in ordered if k in study.settings], _TUNED_SHORT, tuned_text)
    head = AROUND if around else short
    return f"{head}: {text}" if text else head


def tuned_text(value: Any) -> str:
    """A setting that a sampler drew, which has more digits than matter: four significant ones.

    >>> tuned_text(8.61234e-06)
    '8.612e-6'
    """
    return value_text(value, 4).replace("e-0", "e-")


def _shown(
    row: Mapping[str, Any],
    wanted: Sequence[str],
    short: Mapping[str, str],
    text: Callable[[Any], str],
) -> str:
    known = [(key, row[key]) for key in wanted if row[key] == row[key] and row[key] is not None]
    return " ".join(
        f"{short.get(key) or WORDS.get(key, key)}={text(value)}" for key, value in known
    )


def column_digits(found: Sequence[Interval], percent: bool) -> int:
    """Digits of a column: one fewer where the intervals are wider than a unit, so that no digit
    pretends; none for counts.
    """
    if not percent:
        known = [each.mean for each in found if not math.isnan(each.mean)]
        return 0 if all(mean >= 1 and mean == round(mean) for mean in known) else 3
    halves = [100 * each.half for each in found if not math.isnan(each.half)]
    return 1 if halves and float(np.median(halves)) >= 1 else 2
