"""Who is best, by how much, and who cannot be told apart: sentences of the summary."""

from __future__ import annotations

from collections.abc import Sequence

from reports import metrics
from reports.collect import Study
from reports.statistics.comparison import MIN_SEEDS, Comparison
from reports.summary import (
    Number,
    closed_metric,
    compare,
    loss_title,
    number,
    open_metric,
    setting_text,
    summarise,
)
from reports.tables.baseline import Gain, baseline_cell, gains
from reports.tables.best_settings import BestSetting, best_settings
from reports.tables.table import cell_name
from reports.words.grammar import NAMED, counted, in_sentence, joined, p_text


def best_sentence(study: Study, name: str, cells: Sequence[str]) -> str:
    """The best setting by one metric, and which others cannot be told from it."""
    title = metrics.metric(name).title
    comparison, numbers = compare(study, name, cells), summarise(study, name, cells)
    if comparison.best is None:
        return f"{title}: none of the compared settings has a value."
    best = comparison.best
    first, value = cell_name(study, cells[best]), _value(name, numbers[best])
    others = [i for i, each in enumerate(numbers) if i != best and each.n > 0]
    if not others:
        return f"{title}: {first}, {value}; nothing to compare it with."
    if all(numbers[i].mean == numbers[best].mean for i in others):
        return f"{title}: all {len(others) + 1} settings have the same mean, {value}."
    text = f"{title}: {first} has the best mean, {value}"
    few, same, worse = (
        [i for i in others if comparison.marks[i] == mark]
        for mark in ("too few seeds", "indistinguishable", "worse")
    )
    if len(few) == len(others):
        return f"{text}, but with fewer than {MIN_SEEDS} common seeds no difference can be claimed."
    parts = [f"{text} (n = {numbers[best].n})."]
    if len(same) == len(others) > 2:
        parts.append(f"None of the {len(others)} others can be told from it.")
    elif same:
        names = joined([cell_name(study, cells[i]) for i in same])
        parts.append(f"{names} cannot be told from it.")
    if worse:
        parts.append(_worse(study, name, cells, worse, comparison, bool(same or few)))
    if few:
        names = joined([cell_name(study, cells[i]) for i in few])
        parts.append(f"Too few common seeds for a claim about {names}.")
    return " ".join(parts)


def _worse(
    study: Study,
    name: str,
    cells: Sequence[str],
    worse: Sequence[int],
    comparison: Comparison,
    rest: bool,
) -> str:
    """How far behind the ones are that the tests tell from the best."""
    gaps = [each for i in worse if (each := comparison.differences[i]) is not None]
    if len(worse) == 1:
        by = _points(name, number(gaps[0].interval, percent=metrics.metric(name).percent))
        p = p_text(float(comparison.corrected[worse[0]]))
        return f"{cell_name(study, cells[worse[0]])} is distinguishably worse, by {by} ({p})."
    unit = 100 if metrics.metric(name).percent else 1
    sizes = [abs(each.interval.mean) * unit for each in gaps]
    low, high = f"{min(sizes):.1f}", f"{max(sizes):.1f}"
    span = low if low == high else f"{low} to {high}"
    every = "Both" if len(worse) == 2 else f"All {len(worse)}"
    who = f"The {len(worse)} others" if rest else f"{every} others"
    return f"{who} are distinguishably worse, by {span}{_unit(name)}."


def softmax_sentences(study: Study, name: str, cells: Sequence[str]) -> list[str]:
    """Which compared settings beat plain softmax, by how much; nothing new where it is the best."""
    best = compare(study, name, cells).best
    if best is not None and cells[best] == baseline_cell(study, cells):
        return []
    found = [each for each in gains(study, name, cells) if each.verdict != "too few seeds"]
    if not found:
        return []
    better, same, worse = (
        [each for each in found if each.verdict == verdict]
        for verdict in ("better", "indistinguishable", "worse")
    )
    where, parts = in_sentence(name), []
    if better:
        verb = "beats" if len(better) == 1 else "beat"
        parts.append(f"{_gained(study, name, better)} {verb} plain softmax in {where}")
        if same:
            parts.append(f"{_named(study, same)} cannot be told from it")
    elif len(found) == 1:
        parts.append(
            f"{_named(study, found)} does not distinguishably beat plain softmax in {where}"
        )
    else:
        parts.append(
            f"None of {len(found)} settings distinguishably beats plain softmax in {where}"
        )
    if worse:
        parts.append(f"{_named(study, worse)} {'is' if len(worse) == 1 else 'are'} worse")
    return ["; ".join(parts) + "."]


def _named(study: Study, found: Sequence[Gain]) -> str:
    return joined([cell_name(study, each.cell) for each in found])


def _gained(study: Study, name: str, found: Sequence[Gain]) -> str:
    percent = metrics.metric(name).percent
    return joined(
        [
            f"{cell_name(study, each.cell)} (by "
            f"{_points(name, number(each.difference.interval, percent=percent))}, {p_text(each.p)})"
            for each in found
        ]
    )


def sweep_sentences(study: Study) -> list[str]:
    """The best setting of each swept loss, by the open-set metric where there is one."""
    name = open_metric(study) or closed_metric(study)
    found = best_settings(study, name) if name is not None else []
    lines = [_sweep(study, each) for each in found[:NAMED]]
    if len(found) > NAMED:
        lines.append(f"The table of best settings has {len(found) - NAMED} more losses.")
    return lines


def _sweep(study: Study, found: BestSetting) -> str:
    text = (
        f"{loss_title(found.loss)}: the best {in_sentence(found.metric)} of "
        f"{counted(len(found.cells), 'setting')} is {_value(found.metric, found.value)} "
        f"({setting_text(study, found.best)})"
    )
    if not found.claim or len(found.few) == len(found.cells) - 1:
        return f"{text}; too few common seeds for a claim."
    if len(found.same) == len(found.cells) - 1:
        return f"{text}; none of the others can be told from it."
    if found.same:
        names = joined([setting_text(study, cell) for cell in found.same], named=4)
        return f"{text}; {names} cannot be told from it."
    return f"{text}; " + (
        "all others that could be tested are worse." if found.few else "all others are worse."
    )


def _value(name: str, value: Number) -> str:
    return f"{value.text} %" if metrics.metric(name).percent else value.text


def _points(name: str, difference: Number) -> str:
    """The size of a difference, whichever way is better: "1.20 ± 0.41 points"."""
    return difference.text.removeprefix("−") + _unit(name)


def _unit(name: str) -> str:
    return " points" if metrics.metric(name).percent else ""
