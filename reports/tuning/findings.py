"""What tuning says in words: sentences for the top of the page, from the tables of tuning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports import metrics
from reports.collect import Study
from reports.selection import Selection
from reports.summary import headline_metrics, loss_title, tuned_text
from reports.tuning.budget import budget_sentence
from reports.tuning.effect import Change, agreement, changes
from reports.tuning.plan import optima, searches, trials
from reports.words.grammar import counted

NAMED = 6  # optima named in one sentence; beyond that they are counted


def tuning_findings(study: Study, selection: Selection) -> list[str]:
    """Sentences, the most important first; none without tuning."""
    if study.tuning is None:
        return []
    names = headline_metrics(study)
    found = {name: changes(study, selection, name) for name in names}
    lines = [_changed(name, own) for name, own in found.items() if _tuned(own)]
    lines += _ranks({name: own for name, own in found.items() if len(own) > 1})
    return [*lines, budget_sentence(study), *_bounds(study), *_failed(study)]


def _tuned(found: Sequence[Change]) -> list[Change]:
    return [each for each in found if each.verdict != "not tuned"]


def _changed(name: str, found: Sequence[Change]) -> str:
    tuned = _tuned(found)
    judged = [each for each in tuned if each.verdict != "no value"]
    if not judged:
        return f"What tuning changed in {_lower(name)}: no loss has a result by default and tuned."
    of: dict[str, list[str]] = {}
    for each in tuned:
        of.setdefault(each.verdict, []).append(loss_title(each.loss))
    better = of.get("better", [])
    parts = [
        f"{len(better)} of {counted(len(judged), 'loss', 'es')} "
        f"{'is' if len(better) == 1 else 'are'} distinguishably better than by default"
        f"{_named(better)}"
    ]
    parts += [
        f"{len(own)} distinguishably worse{_named(own)}" for own in [of.get("worse", [])] if own
    ]
    parts += [
        f"{len(own)} {words}{_named(own)}"
        for verdict, words in (
            ("indistinguishable", "not distinguishable"),
            ("same setting", "with the default as the winner"),
            ("too few seeds", "with too few seeds for a claim"),
            ("no value", "without a value to compare"),
        )
        for own in [of.get(verdict, [])]
        if own
    ]
    return f"What tuning changed in {_lower(name)}: {', '.join(parts)}."


def _lower(name: str) -> str:
    title = metrics.metric(name).title
    return title[0].lower() + title[1:]


def _named(losses: Sequence[str]) -> str:
    return f" ({', '.join(losses)})" if losses else ""


def _ranks(found: dict[str, list[Change]]) -> list[str]:
    """Whether losses rank by default as they do tuned."""
    texts, first = [], []
    for name, own in found.items():
        rho, known = agreement(own), [x for x in own if not np.isnan(x.default_rank)]
        if np.isnan(rho.rho):
            continue
        interval = "" if np.isnan(rho.low) else f" [{rho.low:.2f}, {rho.high:.2f}]"
        texts.append(f"{rho.rho:.2f}{interval}".replace("-", "−") + f" for {_lower(name)}")
        before, after = (
            loss_title(min(known, key=lambda change: getattr(change, key)).loss)
            for key in ("default_rank", "compared_rank")
        )
        if before != after:
            first.append(f"by {_lower(name)} {before} has the best mean by default, {after} tuned")
    if not texts:
        return []
    text = (
        "Do losses rank by default as they do tuned? Spearman's ρ = "
        f"{'; '.join(texts)} ({len(next(iter(found.values())))} losses"
        f"{', 95 % intervals in brackets' if any('[' in each for each in texts) else ''})."
    )
    if first:
        joined = "; ".join(first)
        return [f"{text} {joined[0].upper()}{joined[1:]}."]
    return [f"{text} The same loss has the best mean by default and tuned."]


def _bounds(study: Study) -> list[str]:
    frame = optima(study.tuning or {})
    found = frame[frame["bound"] != ""]
    if len(found) == 0:
        return ["No optimum lies on a bound of its range."] if len(frame) else []
    alone = (study.tuning or {})["studies"] == 1
    texts = [
        f"{loss_title(str(row['loss']))} tuned {'' if alone else row['study']} ".replace("  ", " ")
        + f"{str(row['parameter']).replace('_', ' ')} {tuned_text(row['tuned'])}"
        f"{' (the end of what is legal)' if row['legal'] else ''}"
        for row in found.to_dict("records")
    ]
    more = f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    wider = "" if found["legal"].all() else "; a wider range might do better"
    return [f"On a bound of the range that was searched: {'; '.join(texts[:NAMED])}{more}{wider}."]


def _failed(study: Study) -> list[str]:
    frame, found = trials(study.tuning or {}), searches(study.tuning or {})
    lines = []
    for loss, own in found.groupby("loss", sort=False):
        lost = own[own["winner"].isna()]
        if len(lost) == 0:
            continue
        reasons = "; ".join(dict.fromkeys(str(reason) for reason in lost["reason"].dropna()))
        text = (
            f"{loss_title(str(loss))}: {len(lost)} of {len(own)} "
            f"search{'es' if len(own) > 1 else ''} failed"
            f"{f' ({reasons})' if reasons else ''}"
        )
        alone = "; its default stands in the comparison" if len(lost) == len(own) else ""
        lines.append(f"{text}{alone}.")
    diverged = int(frame["diverged"].sum())
    if diverged:
        by_loss = frame.groupby("loss", sort=False)["diverged"].sum()
        each = ", ".join(f"{loss_title(str(k))} {int(n)}" for k, n in by_loss.items() if n)
        lines.append(f"{diverged} of {len(frame):,} trials diverged: {each}.")
    return lines
