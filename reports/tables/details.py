"""The tables behind the comparison: differences, sources of uncertainty, every metric."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from reports import metrics
from reports.collect import Study
from reports.draws import cell_draws, joined
from reports.statistics.comparison import MIN_FLIPS
from reports.statistics.intervals import mean_interval, over_identities
from reports.summary import (
    Probability,
    cell_intervals,
    compare,
    headline_metrics,
    number,
    summarise,
)
from reports.tables.table import COVERS, Column, Entry, Table, cell_name


def paired(study: Study, cells: Sequence[str]) -> Table:
    """Difference of every compared cell to the best, seed by seed."""
    rows: list[list[Entry]] = []
    for name in headline_metrics(study):
        comparison = compare(study, name, cells)
        if comparison.best is None:
            continue
        best = cells[comparison.best]
        for index, cell in enumerate(cells):
            difference = comparison.differences[index]
            if difference is None or difference.interval.n == 0:
                continue
            interval = difference.interval
            percent = metrics.metric(name).percent
            rows.append(
                [
                    metrics.metric(name).short,
                    cell_name(study, cell),
                    cell_name(study, best),
                    number(interval, percent=percent),
                    interval.n,
                    COVERS[interval.covers],
                    Probability(difference.p),
                    difference.test,
                    Probability(comparison.corrected[index]),
                    number(difference.wins, digits=0),
                    comparison.marks[index],
                ]
            )
    columns = [
        Column("metric", "Metric"),
        Column("cell", "Setting"),
        Column("best", "Best"),
        Column("difference", "Difference", "setting minus best, percentage points", True),
        Column("common_seeds", "n", "common seeds", True),
        Column("covers", "Interval over"),
        Column("p", "p", "the largest of the tests, two-sided", True),
        Column("test", "Test", "which test gave p"),
        Column("p_holm", "p (Holm)", "corrected within the metric", True),
        Column("wins", "P(better)", "probability of being better than the best, per cent", True),
        Column("verdict", "Verdict"),
    ]
    caption = (
        "Each compared setting minus the best one, paired by seed (all losses share split, initial "
        "backbone, batches and test identities of a seed): mean difference ± half the width of its "
        "95 % interval in percentage points. p: the largest that the data allow of the paired "
        f"t-test, of sign flips over seeds (from {MIN_FLIPS} common seeds on) and of sign flips over "
        "identities (where all seeds judged the same); Holm correction within the metric. "
        "P(better): share of (seed, resample of the identities) draws in which the setting beats "
        "the best one, ties ½ (of seeds, where runs have no resamples), with its bootstrap interval "
        "over seeds (none where all seeds agree), in per cent."
    )
    return Table("paired", "Differences to the best", caption, columns, rows)


def uncertainty(study: Study, cells: Sequence[str]) -> Table:
    """How much of the headline metrics' uncertainty comes from seeds, how much from identities."""
    rows: list[list[Entry]] = []
    for name in headline_metrics(study):
        row = metrics.metric(name)
        values = study.by_seed(name, cells)
        both = cell_intervals(study, name, cells)
        stored = cell_draws(study, name, cells)
        for cell, own, whole, runs in zip(cells, values, both, stored, strict=True):
            known = [seed for seed in range(len(own)) if not math.isnan(own[seed])]
            if not known:
                continue
            found = [runs[seed] for seed in known]
            shared, _ = joined(found)
            draws = [shared] if shared is not None else [joined([run])[0] for run in found]
            usable = [each for each in draws if each is not None]
            alone = over_identities(
                own[known], usable if len(usable) == len(draws) else [], rate=row.percent
            )
            rows.append(
                [
                    row.short,
                    cell_name(study, cell),
                    number(mean_interval(own[known]), percent=row.percent),
                    number(alone, percent=row.percent),
                    number(whole, percent=row.percent),
                    COVERS[whole.covers],
                ]
            )
    columns = [
        Column("metric", "Metric"),
        Column("cell", "Setting"),
        Column("seeds", "Over seeds", "Student t, identities as they are", True),
        Column("identities", "Over identities", "bootstrap, models as they are", True),
        Column("both", "Reported", "the interval of the other tables", True),
        Column("covers", "Reported over"),
    ]
    caption = (
        "Where the uncertainty comes from, in per cent: the 95 % interval of the mean if only the "
        "seeds had been others, if only the test identities had been others, and as reported. "
        "Where every seed drew its own identities, what differs between seeds contains both."
    )
    return Table("uncertainty", "Seeds and identities", caption, columns, rows)


def all_metrics(study: Study, cells: Sequence[str]) -> Table:
    """Every metric of the test, a row for each metric and setting."""
    refused = set(study.notes["metric"])
    rows: list[list[Entry]] = []
    for name in metrics.of_test(study.metrics):
        if study.measured(name) or name in refused:
            row = metrics.metric(name)
            for cell, found in zip(cells, summarise(study, name, cells), strict=True):
                setting = cell_name(study, cell)
                unit = "%" if row.percent else ""
                rows.append([row.protocol, name, setting, found, unit, COVERS[found.covers]])
    columns = [
        Column("protocol", "Protocol"),
        Column("metric", "Metric"),
        Column("cell", "Setting"),
        Column("value", "Value", numeric=True),
        Column("unit", "Unit"),
        Column("covers", "Interval over"),
    ]
    caption = (
        "Every metric of the test images: mean over seeds ± half the width of the 95 % interval; "
        "marks as in the comparison."
    )
    shown = list(dict.fromkeys(str(row[1]) for row in rows))
    notes = refusals(study, cells, shown)
    return Table("metrics", "All metrics", caption, columns, rows, notes, ("csv", "md"))


def by_protocol(table: Table) -> list[Table]:
    """The table of all metrics as one for each protocol: a row for each metric, a column for each
    setting.
    """
    found = []
    for protocol in dict.fromkeys(str(row[0]) for row in table.rows):
        own = [row for row in table.rows if row[0] == protocol]
        settings = list(dict.fromkeys(str(row[2]) for row in own))
        rows: list[list[Entry]] = []
        for name in dict.fromkeys(str(row[1]) for row in own):
            row = metrics.metric(name)
            unit = " (%)" if row.percent else ""
            arrow = {True: " ↑", False: " ↓", None: ""}[row.higher_is_better]
            values = [each[3] for each in own if each[1] == name]
            rows.append([f"{row.short}{unit}{arrow}", *values])
        columns = [Column("metric", "Metric")]
        columns += [Column(setting, setting, numeric=True) for setting in settings]
        title = protocol.replace("_", " ").capitalize()
        found.append(Table(f"metrics-{protocol}", title, "", columns, rows, formats=()))
    return found


def refusals(study: Study, cells: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Why values of these cells and metrics were refused, a line for each kind of reason."""
    ids = set(study.frame.loc[study.frame["cell"].isin(cells), "id"])
    mine = study.notes[study.notes["metric"].isin(shown) & study.notes["id"].isin(ids)]
    lines = []
    for name in shown:
        reasons = mine.loc[mine["metric"] == name, "note"].drop_duplicates()
        # Seeds split the classes differently, so that one reason comes with many pair counts: one
        # example stands for all.
        kinds: dict[str, list[str]] = {}
        for reason in reasons:
            kinds.setdefault(re.sub(r"\d[\d,]*", "#", reason), []).append(reason)
        for same in kinds.values():
            more = f" (and {len(same) - 1} like it)" if len(same) > 1 else ""
            lines.append(f"{metrics.metric(name).short} n/a: {same[0]}{more}")
    return lines
