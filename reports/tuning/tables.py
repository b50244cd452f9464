"""The tables of a tuned study: its budget, what tuning changed, the optima, the luck of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reports import metrics
from reports.collect import Study
from reports.selection import Selection
from reports.summary import (
    Number,
    Probability,
    cell_intervals,
    column_digits,
    headline_metrics,
    loss_title,
    number,
    summarise,
    tuned_text,
)
from reports.tables.table import Column, Entry, Table
from reports.tuning.budget import budget
from reports.tuning.effect import Change, changes
from reports.tuning.plan import NOTES, objectives, optima, searches

_NAN = float("nan")


def tuning_tables(study: Study, selection: Selection) -> list[Table]:
    """The tables of tuning in the order of the page; none without tuning."""
    if study.tuning is None:
        return []
    tables = [_effect(study, selection), budget(study), _optima(study), _luck(study)]
    return [table for table in tables if table.rows]


def by_metric(table: Table) -> list[Table]:
    """A table whose first column is the metric as one table for each, without that column."""
    names = list(dict.fromkeys(str(row[0]) for row in table.rows))
    found = []
    for place, name in enumerate(names):
        rows = [row[1:] for row in table.rows if row[0] == name]
        key = f"{table.name}-{place + 1}"
        found.append(Table(key, name, "", table.columns[1:], rows, formats=()))
    return found


def _effect(study: Study, selection: Selection) -> Table:
    arms = sorted({arm for _, arm in study.arms if arm != "default"}, key=lambda arm: int(arm[6:]))
    several = len(arms) > 1
    rows: list[list[Entry]] = []
    for name in headline_metrics(study):
        found = changes(study, selection, name)
        defaults = summarise(study, name, [each.default for each in found])
        compared = summarise(study, name, [each.compared for each in found])
        single = [_of_searches(study, found, arm, name) for arm in arms if several]
        for place, (each, before, after) in enumerate(zip(found, defaults, compared, strict=True)):
            rows.append(
                [
                    metrics.metric(name).short,
                    loss_title(each.loss),
                    before,
                    after,
                    *([_arm(study, each)] if several else []),
                    _difference(each, metrics.metric(name).percent),
                    Probability(each.difference.p if each.difference is not None else _NAN),
                    Probability(each.p),
                    each.verdict,
                    _rank(each.default_rank),
                    _rank(each.compared_rank),
                    *(column[place] for column in single),
                ]
            )
    columns = [
        Column("metric", "Metric"),
        Column("loss", "Loss"),
        Column("default", "Default", "the setting of the paper", True),
        Column("tuned", "Tuned", "the setting of the comparison", True),
        *([Column("search", "Search", "whose setting is compared")] if several else []),
        Column("difference", "Difference", "tuned minus default, percentage points", True),
        Column("p", "p", "the largest of the tests, two-sided", True),
        Column("p_holm", "p (Holm)", "corrected over the losses of the metric", True),
        Column("verdict", "Verdict", "tuned against default"),
        Column("default_rank", "Rank, default", "of the losses by default", True),
        Column("tuned_rank", "Rank, tuned", "of the losses tuned", True),
    ]
    columns += [
        Column(arm.replace(" ", "_"), arm.capitalize(), "the winner of this search", True)
        for arm in arms
        if several
    ]
    caption = (
        "Each loss with the setting of its paper and tuned, on test images, in per cent: mean over "
        "the fresh seeds ± half the width of the 95 % interval; bold and † as in the comparison, "
        "among the losses of one column. Difference: tuned minus default in percentage points, paired "
        "by seed and tested as in the differences to the best, Holm-corrected over the losses; † not "
        "distinguishable. Ranks: by the means alone, 1 is best."
        + (" Which search is compared was chosen on validation images." if several else "")
    )
    return Table("default_vs_tuned", "Default against tuned", caption, columns, rows)


def _arm(study: Study, change: Change) -> str:
    if change.verdict == "not tuned":
        return "–"
    arms = [
        arm
        for (loss, arm), cell in study.arms.items()
        if (loss, cell) == (change.loss, change.compared)
    ]
    return " = ".join(arm.removeprefix("tuned ") for arm in arms if arm != "default")


def _difference(change: Change, percent: bool) -> Number:
    if change.difference is None:
        return Number(_NAN, _NAN, _NAN, 0)
    marked = (
        change.verdict if change.verdict in ("indistinguishable", "too few seeds") else "no value"
    )
    return number(change.difference.interval, percent=percent, mark=marked)


def _rank(rank: float) -> str:
    return "–" if math.isnan(rank) else f"{rank:g}"


def _of_searches(study: Study, found: Sequence[Change], arm: str, name: str) -> list[Number]:
    """A column: what the searches of one number found, a dash where one found nothing."""
    row = metrics.metric(name)
    cells = [study.arms.get((each.loss, arm)) for each in found]
    known = [cell for cell in cells if cell is not None]
    intervals = dict(zip(known, cell_intervals(study, name, known), strict=True))
    digits = column_digits(list(intervals.values()), row.percent)
    return [
        _bare(name, _NAN)
        if cell is None
        else number(intervals[cell], percent=row.percent, digits=digits)
        for cell in cells
    ]


def _optima(study: Study) -> Table:
    frame = optima(study.tuning or {})
    places = {loss: place for place, loss in enumerate(study.losses)}
    frame = frame.sort_values(
        ["loss", "study"], key=lambda c: c.map(places) if c.name == "loss" else c, kind="stable"
    )
    rows: list[list[Entry]] = [
        [
            loss_title(str(row["loss"])),
            int(row["study"]),
            str(row["parameter"]).replace("_", " "),
            *(tuned_text(row[key]) for key in ("low", "high")),
            "log" if row["log"] else "linear",
            "–" if row["default"] is None else tuned_text(row["default"]),
            tuned_text(row["tuned"]),
            f"{100 * row['position']:.0f}",
            ", ".join(_flags(row)),
        ]
        for row in frame.to_dict("records")
    ]
    columns = [
        Column("loss", "Loss"),
        Column("search", "Search", numeric=True),
        Column("parameter", "Parameter"),
        Column("low", "From", "least value searched", True),
        Column("high", "To", "largest value searched", True),
        Column("scale", "Scale"),
        Column("default", "Default", "of the paper", True),
        Column("tuned", "Tuned", "of the winner", True),
        Column("position", "Position (%)", "in the range: 0 its low end, 100 its high end", True),
        Column("note", "Note"),
    ]
    caption = (
        "Where the winner of each search lies in the range that was searched (position in log units "
        "where the scale is log). An optimum on a bound says that a wider range might do better; a "
        "default out of range was tried all the same, as the first trial."
    )
    return Table("optima", "Optima", caption, columns, rows)


def _flags(row: dict[str, object]) -> list[str]:
    flags = (
        [f"{NOTES[str(row['bound'])]}{NOTES['legal'] if row['legal'] else ''}"]
        if row["bound"]
        else []
    )
    flags += [NOTES["extended"]] if row["extended"] else []
    return flags + ([NOTES["default"]] if row["default_outside"] else [])


def _luck(study: Study) -> Table:
    """Of each loss with several winners: what each search found, and how much searches differ."""
    goal, found = objectives(study.tuning or {})[0].metric, searches(study.tuning or {})
    names = [name for name in (goal, *headline_metrics(study)) if study.measured(name)]
    found = found[found["winner"].notna()]
    rows: list[list[Entry]] = []
    for loss in study.losses:
        own = found[found["loss"] == loss]
        if len(own) < 2:
            continue
        cells = [study.arms[loss, arm] for arm in own["arm"]]
        columns = [
            [_bare(goal, value) for value in (*own["value"], _sd(own["value"]), _NAN)],
            *(_spreads(study, name, cells) for name in names),
        ]
        heads = [*own["arm"], "SD between searches", "SD between seeds"]
        rows += [
            [loss_title(loss), head, *(column[place] for column in columns)]
            for place, head in enumerate(heads)
        ]
    header = [
        Column("loss", "Loss"),
        Column("search", "Search"),
        Column("found", f"{_short(goal)} in the search", "the winner as its search saw it", True),
    ]
    header += [Column(name, _short(name), metrics.metric(name).title, True) for name in names]
    caption = (
        "How much of a result is the luck of a search, in per cent: the winner of each independent "
        "search as the search saw it (the best of many trials, so it flatters) and trained again "
        "with the fresh seeds (mean ± half the width of the 95 % interval). SD between searches: of "
        "these means. SD between seeds: of single runs within a search, pooled over the searches; "
        "divided by the root of the number of seeds it is what seeds alone add to these means."
    )
    return Table("tuning_luck", "Luck of a search", caption, header, rows)


def _spreads(study: Study, name: str, cells: Sequence[str]) -> list[Number]:
    """A column of one loss: the cells' numbers, the SD of their means, the SD of their seeds."""
    row = metrics.metric(name)
    found = cell_intervals(study, name, cells)
    digits = column_digits(found, row.percent)
    values = study.by_seed(name, cells)
    variances = [np.var(v[~np.isnan(v)], ddof=1) for v in values if (~np.isnan(v)).sum() > 1]
    within = math.sqrt(float(np.mean(variances))) if variances else _NAN
    between = _sd([each.mean for each in found])
    return [
        *(number(each, percent=row.percent, digits=digits) for each in found),
        *(_bare(name, value) for value in (between, within)),
    ]


def _sd(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else _NAN


def _bare(name: str, value: float, digits: int = 2) -> Number:
    """A value of a metric without an interval."""
    return Number(value, _NAN, _NAN, 0, percent=metrics.metric(name).percent, digits=digits)


def _short(name: str) -> str:
    return metrics.metric(name).short
