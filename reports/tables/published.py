"""The tables of published numbers: beside ours where comparable, and why the others are not."""

from __future__ import annotations

import math
from dataclasses import replace

from reports.collect import Study
from reports.literature.numbers import Gap, Match, compare
from reports.selection import Selection
from reports.statistics.intervals import Interval
from reports.summary import Number, cell_intervals, full_setting, loss_title, number
from reports.tables.table import Column, Entry, Table

_MOST = 24  # rows of what is not comparable

RULE = (
    "A published number stands here only where data set, part judged, metric and loss (with the "
    "margin and scale that it states) agree; net and recipe may differ and are listed. Published "
    "numbers are mostly of one run, often the best on the test images."
)


def published_tables(study: Study, selection: Selection) -> list[Table]:
    """The table of comparable numbers and that of the others, each where it has a row."""
    matches, gaps = compare(study, selection)
    tables = [_beside(study, matches)] if matches else []
    return tables + ([_others(gaps)] if gaps else [])


def ours(study: Study, match: Match) -> Interval:
    """Our mean and interval in the published metric, as fractions."""
    found = cell_intervals(study, match.metric, [match.cell])[0]
    if not match.error:
        return found
    return replace(found, mean=1 - found.mean, low=1 - found.high, high=1 - found.low)


def source_text(match: Match) -> str:
    """Paper and table: ``"L-Softmax (Liu ICML16), Table 2 (MNIST)"``."""
    return ", ".join(filter(None, (match.row["paper"], match.row["table"])))


def _beside(study: Study, matches: list[Match]) -> Table:
    losses = study.cells.set_index("cell")["loss"]
    nan = math.nan
    rows: list[list[Entry]] = []
    for match in matches:
        mine = ours(study, match)
        apart = replace(
            mine,
            mean=mine.mean - match.value,
            low=mine.low - match.value,
            high=mine.high - match.value,
        )
        rows.append(
            [
                loss_title(losses[match.cell]),
                full_setting(study, match.cell),
                match.row["metric"],
                Number(match.value, nan, nan, 0),
                number(mine),
                number(apart),
                mine.n,
                match.net,
                "; ".join(match.differences) or "nothing that it states",
                source_text(match),
                match.row["loss"],
                "; ".join(filter(None, (match.row["source"], match.row["note"]))),
            ]
        )
    columns = [
        Column("loss", "Loss"),
        Column("setting", "Setting"),
        Column("metric", "Metric", "as published"),
        Column("published", "Published", "per cent", True),
        Column("ours", "Ours", "per cent, mean ± half of the 95 % interval", True),
        Column("difference", "Difference", "ours minus published, percentage points", True),
        Column("n", "n", "seeds of ours", True),
        Column("net", "Net"),
        Column("differs", "What else differs"),
        Column("paper", "Paper, table"),
        Column("their_loss", "Loss there"),
        Column("source", "Seen in"),
    ]
    caption = (
        f"{RULE} Per cent; ours: mean over seeds ± half the width of the 95 % interval, to which "
        "the published number adds an uncertainty that nobody stated."
    )
    return Table("published", "Published and reproduced", caption, columns, rows)


def _others(gaps: list[Gap]) -> Table:
    rows: list[list[Entry]] = [
        [
            gap.paper,
            gap.table,
            ", ".join(gap.losses),
            ", ".join(gap.metrics),
            gap.count,
            gap.why,
        ]
        for gap in gaps[:_MOST]
    ]
    columns = [
        Column("paper", "Paper"),
        Column("table", "Table"),
        Column("losses", "Loss there"),
        Column("metrics", "Metric"),
        Column("count", "Numbers", numeric=True),
        Column("why", "Not comparable: why"),
    ]
    more = f" The first {_MOST} of {len(gaps)} groups are shown." if len(gaps) > _MOST else ""
    caption = f"Published numbers of this data set that must not be compared with ours.{more}"
    return Table("not_comparable", "Published, not comparable", caption, columns, rows)
