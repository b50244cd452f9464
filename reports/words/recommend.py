"""Which loss for which purpose: what the comparison carries, and no more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reports import metrics
from reports.collect import Study
from reports.selection import Selection
from reports.summary import closed_metric, compare, open_metric, summarise
from reports.tables.table import cell_name
from reports.words.advice import Advice, Verdict, behind, pick, without_value
from reports.words.both_worlds import both_worlds
from reports.words.grammar import joined

RULE = (
    "Of the compared settings the one with the best mean on test images. Not distinguishable: "
    "paired tests over common seeds and identities, Holm-corrected, 5 %; choose among these by "
    "cost or simplicity. Both worlds: best or not distinguishable from the best in either metric, "
    "of several the one with the best mean rank. The value of a best one is flattered a little by "
    "the choice. Speed: training images per second, relative to the fastest compared setting."
)


def recommend(study: Study, selection: Selection) -> list[Advice]:
    """Advice for each purpose that the study measured; see `RULE`."""
    cells = selection.cells
    found = [_for_one(study, goal, name, cells) for goal, name in _goals(study, cells)]
    closed, opened = closed_metric(study), strict_tar(study, cells) or open_metric(study)
    if closed is not None and opened is not None:
        found.append(both_worlds(study, closed, opened, cells))
    return [each for each in found if each is not None]


def strict_tar(study: Study, cells: Sequence[str]) -> str | None:
    """TAR at the smallest FAR that the test of every measured run of these cells supports."""
    frame = study.frame[study.frame["cell"].isin(cells)]
    names = [n for n in metrics.of_test(study.metrics) if n.startswith("verification/tar_at_far_")]
    names = [name for name in names if study.measured(name)]
    most = max((int(frame[name].notna().sum()) for name in names), default=0)
    full = [name for name in names if most and int(frame[name].notna().sum()) == most]
    return min(full, key=_rate, default=None)


def _rate(name: str) -> float:
    found = re.search(r"_([0-9.e+-]+)$", name)
    return float(found[1]) if found else 1.0


def _goals(study: Study, cells: Sequence[str]) -> list[tuple[str, str]]:
    """(heading, metric) of what was measured, a goal with several metrics by its first."""
    wanted: list[tuple[str, Sequence[str | None]]] = [
        ("Known classes", [closed_metric(study)]),
        (
            "Verification of new classes",
            [strict_tar(study, cells), open_metric(study)],
        ),
        (
            "Identification among new classes",
            ["identification/tpir_at_fpir_1e-02", "identification/rank_1"],
        ),
        (
            "Known classes, unknown ones rejected",
            [f"open_set_recognition/{kind}_nearest_mean" for kind in ("oscr", "auroc")],
        ),
        ("Retrieval among new classes", ["retrieval/map_at_r", "retrieval/recall_at_1"]),
    ]
    found = []
    for goal, names in wanted:
        known = [name for name in names if name is not None and study.measured(name)]
        found += [(goal, name) for name in known[:1]]
    return found


def _for_one(study: Study, goal: str, name: str, cells: Sequence[str]) -> Advice | None:
    comparison, numbers = compare(study, name, cells), summarise(study, name, cells)
    if comparison.best is None:
        return None
    best = comparison.best
    others = [i for i, each in enumerate(numbers) if i != best and each.n > 0]
    marked = {
        mark: [cell_name(study, cells[i]) for i in others if comparison.marks[i] == mark]
        for mark in ("indistinguishable", "too few seeds", "worse")
    }
    same, few, worse = marked.values()
    verdict, text = _verdict(len(others), same, few, worse)
    text += behind(study, cells[best], name, cells)
    text += without_value(study, [cell for cell, n in zip(cells, numbers, strict=True) if n.n == 0])
    title = metrics.metric(name).title
    return Advice(goal, title, verdict, [pick(study, cells[best], [name], cells)], text, same)


def _verdict(
    others: int, same: Sequence[str], few: Sequence[str], worse: Sequence[str]
) -> tuple[Verdict, str]:
    if others == 0:
        return "alone", "Nothing to compare it with."
    if len(few) == others:
        return "cannot tell", "Too few common seeds for any claim: the means alone put it first."
    untested = f" Too few common seeds to judge {joined(few)}." if few else ""
    if len(same) == others:
        one = "the other one" if others == 1 else f"any of the {others} others"
        return "cannot tell", f"It cannot be told from {one}; the means alone put it first."
    if not same:
        are = "is" if len(worse) == 1 else "are all" if len(worse) > 2 else "are both"
        return "best", f"{_rest(worse)} {are} distinguishably worse.{untested}"
    return "tied", f"Not distinguishable from it: {joined(same)}.{untested}"


def _rest(worse: Sequence[str]) -> str:
    return joined(worse) if len(worse) < 3 else f"The {len(worse)} others"
