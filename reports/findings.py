"""The headline in words, every sentence made from the statistics that the tables show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports import metrics
from reports.collect import STATUSES, Study
from reports.comparison import MIN_SEEDS
from reports.figures.worlds import correlation_text
from reports.selection import Selection
from reports.summary import (
    closed_metric,
    compare,
    headline_metrics,
    loss_title,
    open_metric,
    rank_agreement,
    setting_text,
    summarise,
)
from reports.tuning_findings import tuning_findings

NAMED = 6  # cells named in one sentence; beyond that they are counted


def findings(study: Study, selection: Selection) -> list[str]:
    """Sentences for the top of the page, the most important first."""
    if not any(study.measured(name) for name in metrics.scores(study.metrics)):
        return [
            "No run has an evaluated result.",
            *tuning_findings(study, selection),
            *_lost(study),
            *_out_of_reach(study),
        ]
    lines = [_best(study, name, selection.cells) for name in headline_metrics(study)]
    closed, opened = closed_metric(study), open_metric(study)
    if closed is not None and opened is not None:
        lines.append(_ranks(study, closed, opened))
    elif opened is None:
        lines.append(
            "The study has no open-set result: nothing here says how the losses do on classes not "
            "seen in training."
        )
    lines += tuning_findings(study, selection)
    lines += _lost(study)
    lines += _out_of_reach(study)
    for cell, axes in selection.edges.items():
        values = ", ".join(
            f"{axis.replace('_', ' ')} {_value(study, cell, axis):g}" for axis in axes
        )
        lines.append(
            f"{_name(study, cell)} was chosen at the edge of its grid ({values}); a wider grid "
            "might do better."
        )
    return lines


def _out_of_reach(study: Study) -> list[str]:
    """What the plan warned of: settings that ask for more than the classes and dimensions allow."""
    lines = list(dict.fromkeys(item["warning"] for item in study.plan.get("warnings", [])))
    more = len(lines) - NAMED
    shown = [f"Warning of the plan: {line}." for line in lines[:NAMED]]
    if more > 0:
        shown.append(f"{more} more such warning{'s' if more > 1 else ''} stand in plan.json.")
    return shown


def _best(study: Study, name: str, cells: Sequence[str]) -> str:
    comparison = compare(study, name, cells)
    if comparison.best is None:
        return f"{metrics.metric(name).title}: none of the compared settings has a value."
    numbers = summarise(study, name, cells)
    best = comparison.best
    others = [i for i, number in enumerate(numbers) if i != best and number.n > 0]
    text = (
        f"{metrics.metric(name).title}: {_name(study, cells[best])} has the best mean, "
        f"{numbers[best].text} %"
    )
    if not others:
        return (
            f"{metrics.metric(name).title}: {_name(study, cells[best])}, {numbers[best].text} "
            "%; nothing to compare it with."
        )
    few = [i for i in others if comparison.marks[i] == "too few seeds"]
    same = [i for i in others if comparison.marks[i] == "indistinguishable"]
    if len(few) == len(others):
        return f"{text}, but with fewer than {MIN_SEEDS} common seeds no difference can be claimed."
    text += f" (n = {numbers[best].n}). "
    if not same:
        text += (
            f"All {len(others) - len(few)} others are distinguishably worse."
            if len(others) - len(few) > 1
            else (
                f"{_name(study, cells[(set(others) - set(few)).pop()])} is distinguishably worse."
            )
        )
    else:
        text += f"Not distinguishable from it: {_list(study, [cells[i] for i in same])}."
    return text + (
        f" Too few seeds for a claim: {_list(study, [cells[i] for i in few])}." if few else ""
    )


def _ranks(study: Study, closed: str, opened: str) -> str:
    over_cells, _ = rank_agreement(study, closed, opened)
    text = (
        "Does the closed-set rank predict the open-set rank? Spearman's ρ = "
        f"{correlation_text(over_cells)}"
    )
    if np.isnan(over_cells.rho):
        return (
            "Does the closed-set rank predict the open-set rank? Spearman's ρ is "
            f"{correlation_text(over_cells)}."
        )
    text += f", over the means of {over_cells.n} settings. "
    if np.isnan(over_cells.low):
        return text + "No answer can be given."
    if over_cells.low > 0:
        return text + "Settings that are better on known classes tend to be better on unknown ones."
    if over_cells.high < 0:
        return text + "Settings that are better on known classes tend to be worse on unknown ones."
    return text + "The interval includes zero: this study cannot tell."


def _lost(study: Study) -> list[str]:
    counts = study.frame["status"].value_counts()
    lost = [
        f"{counts[s]} {s.replace('_', ' ')}"
        for s in STATUSES
        if s != "finished" and counts.get(s, 0)
    ]
    if not lost:
        return []
    whole = (
        study.frame.assign(ok=study.frame["status"] == "finished")
        .groupby("cell", sort=False)["ok"]
        .any()
    )
    gone = list(whole[~whole].index)
    text = (
        f"{len(study.frame) - int(counts.get('finished', 0))} of {len(study.frame)} runs have "
        f"no result: {', '.join(lost)}."
    )
    return [text + (f" No run finished of {_list(study, gone)}." if gone else "")]


def _name(study: Study, cell: str) -> str:
    loss = str(study.cells.set_index("cell").loc[cell, "loss"])
    return f"{loss_title(loss)} {setting_text(study, cell)}".strip()


def _value(study: Study, cell: str, axis: str) -> float:
    return float(study.cells.set_index("cell").loc[cell, axis])


def _list(study: Study, cells: Sequence[str]) -> str:
    names = [_name(study, cell) for cell in cells]
    return "; ".join(names[:NAMED]) + (
        f"; and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
