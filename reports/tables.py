"""The tables of a report, as data; `reports.render` writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from reports import metrics
from reports.collect import STATUSES, Study
from reports.selection import Selection
from reports.statistics import MIN_SEEDS
from reports.summary import (
    Number,
    Probability,
    compare,
    headline_metrics,
    loss_title,
    setting_text,
    summarise,
)

Entry = str | int | float | Number

MARKS = (
    "Entries: mean ± half width of the 95 % Student-t interval over seeds, in per cent; n: seeds "
    "with a result of those planned. Bold: best mean. †: not distinguishable from the best (paired t-test over common "
    "seeds, Holm-corrected within the column, 5 %); no sign: distinguishably worse. "
    f"‡: fewer than {MIN_SEEDS} common seeds, no claim possible."
)


@dataclass(frozen=True)
class Column:
    """A column: key in CSV, header elsewhere, what the header is short for."""

    key: str
    header: str
    title: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption; `rows`: one entry per column; `notes` explain refusals."""

    name: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Entry]]
    notes: list[str] = field(default_factory=list)


def all_tables(study: Study, selection: Selection) -> list[Table]:
    """Every table of the report, in the order of the page."""
    cells = list(study.cells["cell"])
    tables = [
        _results(study, selection.cells, "comparison", "Losses compared", selection.rule),
        _paired(study, selection.cells),
        _failures(study),
        _cost(study),
    ]
    if selection.cells != cells:
        caption = (
            f"Every setting of the study; marks compare all {len(cells)} settings with the "
            "best of them."
        )
        tables.insert(2, _results(study, cells, "ablation", "All settings", caption))
    return tables


def _results(study: Study, cells: Sequence[str], name: str, title: str, caption: str) -> Table:
    shown = [
        m
        for m in metrics.scores(study.metrics)
        if study.measured(m) or m in set(study.notes["metric"])
    ]
    numbers = [summarise(study, metric, cells) for metric in shown]
    losses = study.cells.set_index("cell")["loss"]
    columns = [
        Column("loss", "Loss"),
        Column("setting", "Setting"),
        Column("n", "n", "seeds with a result of those planned", True),
    ]
    columns += [Column(m, _header(m), metrics.metric(m).title, True) for m in shown]
    evaluated = study.frame.assign(ok=study.frame[list(study.metrics)].notna().any(axis=1)).groupby(
        "cell"
    )["ok"]
    done, planned = evaluated.sum(), evaluated.size()
    rows: list[list[Entry]] = [
        [
            loss_title(losses[cell]),
            setting_text(study, cell),
            f"{done[cell]}/{planned[cell]}",
            *(c[i] for c in numbers),
        ]
        for i, cell in enumerate(cells)
    ]
    text = caption + (f" {MARKS}" if shown else "") + _support(study)
    return Table(name, title, text, columns, rows, _notes(study, cells, shown))


def _header(name: str) -> str:
    return f"{metrics.metric(name).short} {'↑' if metrics.metric(name).higher_is_better else '↓'}"


def _support(study: Study) -> str:
    """Size of the verification test, which bounds what its rates can show."""
    texts = []
    for kind in ("genuine", "impostor"):
        if study.measured(f"verification/{kind}_pairs"):
            pairs = study.frame[f"verification/{kind}_pairs"].dropna()
            low, high = int(pairs.min()), int(pairs.max())
            texts.append(f"{low:,}{f' to {high:,}' if high > low else ''} {kind}")
    return f" Verification pairs per run: {' and '.join(texts)}." if texts else ""


def _notes(study: Study, cells: Sequence[str], shown: Sequence[str]) -> list[str]:
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


def _paired(study: Study, cells: Sequence[str]) -> Table:
    """Difference of every compared cell to the best, seed by seed."""
    losses = study.cells.set_index("cell")["loss"]
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
            number = Number(
                interval.mean, interval.half, interval.n, percent=metrics.metric(name).percent
            )
            rows.append(
                [
                    metrics.metric(name).short,
                    _name(study, cell, losses[cell]),
                    _name(study, best, losses[best]),
                    number,
                    interval.n,
                    Probability(difference.p),
                    Probability(comparison.corrected[index]),
                    comparison.marks[index],
                ]
            )
    columns = [
        Column("metric", "Metric"),
        Column("cell", "Setting"),
        Column("best", "Best"),
        Column("difference", "Difference", "setting minus best, percentage points", True),
        Column("common_seeds", "n", "common seeds", True),
        Column("p", "p", "paired t-test, two-sided", True),
        Column("p_holm", "p (Holm)", "corrected within the metric", True),
        Column("verdict", "Verdict"),
    ]
    caption = (
        "Each compared setting minus the best one, paired by seed (all losses share split, initial "
        "backbone and batches of a "
        "seed): mean difference ± 95 % Student-t interval in percentage points, paired t-test, "
        "Holm correction within the metric."
    )
    return Table("paired", "Differences to the best", caption, columns, rows)


def _name(study: Study, cell: str, loss: str) -> str:
    return f"{loss_title(loss)} {setting_text(study, cell)}".strip()


def _failures(study: Study) -> Table:
    troubled = study.frame[(study.frame["status"] != "finished") | study.frame["reason"].notna()]
    order = {status: place for place, status in enumerate(STATUSES)}
    troubled = troubled.sort_values("status", key=lambda s: s.map(order), kind="stable")
    rows: list[list[Entry]] = [
        [
            row["cell"],
            int(row["seed"]),
            str(row["status"]).replace("_", " "),
            str(row["reason"] or ""),
            row["id"],
        ]
        for row in troubled.fillna({"reason": ""}).to_dict("records")
    ]
    columns = [
        Column("cell", "Setting"),
        Column("seed", "Seed", numeric=True),
        Column("status", "Status"),
        Column("reason", "Reason"),
        Column("id", "Experiment"),
    ]
    caption = (
        "These runs count in n of every table and appear as gaps in the figures; none was "
        "left out silently."
    )
    return Table("failures", "Runs without a result", caption, columns, rows)


def _cost(study: Study) -> Table:
    """What the runs of each loss cost; ``seconds`` of a run is its share of the stack it was
    trained in.
    """
    rows: list[list[Entry]] = []
    for loss in [*study.losses, None]:
        mine = (study.frame if loss is None else study.frame[study.frame["loss"] == loss]).dropna(
            subset=["seconds"]
        )
        if len(mine) == 0:
            continue
        images, seconds = float(mine["images"].sum()), float(mine["seconds"].sum())
        rows.append(
            [
                "All" if loss is None else loss_title(loss),
                len(mine),
                int(images),
                round(seconds, 1),
                round(images / seconds, 1) if seconds > 0 else "–",
                round(float(mine["stack_size"].median()), 1),
            ]
        )
    columns = [
        Column("loss", "Loss"),
        Column("runs", "Runs", "carried out, finished or not", True),
        Column("images", "Training images", numeric=True),
        Column("seconds", "Time (s)", "training time; of a stack each member has its share", True),
        Column("images_per_second", "Images/s", numeric=True),
        Column("stack_size", "Models per stack", "median", True),
    ]
    caption = (
        "Training cost. Models trained together as one stack share its wall-clock time evenly; "
        "images are counted once per "
        "model that saw them."
    )
    return Table("cost", "Cost", caption, columns, rows)
