"""The headline in words, every sentence made from the statistics that the tables show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports import metrics
from reports.collect import STATUSES, Study
from reports.selection import Selection
from reports.summary import closed_metric, headline_metrics, open_metric, rank_agreement
from reports.tables.table import cell_name
from reports.tuning.findings import tuning_findings
from reports.words.best import best_sentence, softmax_sentences, sweep_sentences
from reports.words.grammar import NAMED, capital, counted, in_sentence, joined, rho_text
from reports.words.recommend import strict_tar


def findings(study: Study, selection: Selection) -> list[str]:
    """Sentences for the top of the page, the most important first."""
    plan = [*_lost(study), *_out_of_reach(study)]
    if not any(study.measured(name) for name in metrics.scores(study.metrics)):
        return ["No run has an evaluated result.", *tuning_findings(study, selection), *plan]
    lines = []
    for name in headline_metrics(study):
        lines.append(best_sentence(study, name, selection.cells))
        lines += softmax_sentences(study, name, selection.cells)
    return [
        *lines,
        *_worlds(study, selection),
        *sweep_sentences(study),
        *tuning_findings(study, selection),
        *plan,
        *_edges(study, selection),
    ]


def _worlds(study: Study, selection: Selection) -> list[str]:
    """Whether settings that are better on known classes are better on unknown ones."""
    closed, opened = closed_metric(study), open_metric(study)
    if opened is None:
        return [
            "The study has no open-set result: nothing here says how the losses do on classes not "
            "seen in training."
        ]
    strict = strict_tar(study, selection.cells)
    names = [opened, *([strict] if strict is not None else [])]
    if closed is None:
        return []
    return [_agreement(study, closed, name, selection.cells) for name in names]


def _agreement(study: Study, closed: str, opened: str, cells: Sequence[str]) -> str:
    """Over all settings, and over the compared ones alone where these are fewer (three or more): many
    settings of one loss are not independent of each other. Words follow the latter.
    """
    found, _ = rank_agreement(study, closed, opened)
    pair = f"{metrics.metric(closed).title} and {in_sentence(opened)}"
    if np.isnan(found.rho):
        return f"{pair}: too few settings, or too alike, to say whether they rank losses alike."
    text = (
        f"{pair} correlate with {rho_text(found)} over the means of "
        f"{counted(found.n, 'setting')} (Spearman, better = higher on both)"
    )
    own = study.frame[study.frame["cell"].isin(cells)]
    alone, _ = rank_agreement(replace(study, frame=own), closed, opened)
    if 3 <= alone.n < found.n:
        rho = "not defined" if np.isnan(alone.rho) else rho_text(alone)
        text += f", {rho} over the {alone.n} compared ones alone"
        found = alone
    if np.isnan(found.low):
        return f"{text}: without an interval no answer can be given."
    if found.low > 0:
        return f"{text}: what is better on known classes tends to be better on unknown ones."
    if found.high < 0:
        return f"{text}: what is better on known classes tends to be worse on unknown ones."
    return f"{text}: the interval includes zero, this study cannot tell."


def _lost(study: Study) -> list[str]:
    counts = study.frame["status"].value_counts()
    lost = [
        f"{counts[s]} {s.replace('_', ' ')}"
        for s in STATUSES
        if s != "finished" and counts.get(s, 0)
    ]
    if not lost:
        return []
    finished = study.frame["status"] == "finished"
    whole = finished.groupby(study.frame["cell"], sort=False).any()
    gone = [cell_name(study, cell) for cell in whole.index[~whole]]
    text = (
        f"{int((~finished).sum())} of {len(study.frame)} runs "
        f"{'has' if (~finished).sum() == 1 else 'have'} no result: {', '.join(lost)}."
    )
    return [text + (f" No run finished of {joined(gone)}." if gone else "")]


def _out_of_reach(study: Study) -> list[str]:
    """What the plan warned of: settings that ask for more than the classes and dimensions allow."""
    lines = list(dict.fromkeys(item["warning"] for item in study.plan.get("warnings", [])))
    more = len(lines) - NAMED
    shown = [f"Warning of the plan: {line}." for line in lines[:NAMED]]
    if more > 0:
        stand = "warning stands" if more == 1 else "warnings stand"
        shown.append(f"{more} more such {stand} in plan.json.")
    return shown


def _edges(study: Study, selection: Selection) -> list[str]:
    """Chosen settings at the edge of what was tried."""
    lines = []
    for cell, axes in selection.edges.items():
        values = joined([f"{a.replace('_', ' ')} {study.cell(cell)[a]:g}" for a in axes])
        lines.append(
            f"{capital(cell_name(study, cell))} was chosen at the edge of its grid ({values}); a "
            "wider grid might do better."
        )
    return lines
