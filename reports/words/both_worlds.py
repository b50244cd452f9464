"""Which setting to take when known and new classes both matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from reports import metrics
from reports.collect import Study
from reports.summary import compare, summarise
from reports.tables.table import cell_name
from reports.words.advice import Advice, Verdict, behind, pick, without_value
from reports.words.grammar import counted, in_sentence, joined

GOAL = "Both worlds"


def both_worlds(study: Study, closed: str, opened: str, cells: Sequence[str]) -> Advice | None:
    """Advice on a closed-set and an open-set metric at once; None for fewer than two settings that
    have both.
    """
    names = (closed, opened)
    means = np.array([[each.mean for each in summarise(study, n, cells)] for n in names])
    for place, name in enumerate(names):
        means[place] *= 1 if metrics.metric(name).higher_is_better else -1
    known = [i for i in range(len(cells)) if np.isfinite(means[:, i]).all()]
    if len(known) < 2:
        return None
    # Of a setting with one of the two values nothing is known in both: it is no rival here.
    judged = [cells[i] for i in known]
    comparisons = [compare(study, name, judged) for name in names]
    metric = " and ".join(metrics.metric(name).title for name in names)
    marks = [[each.marks[k] for each in comparisons] for k in range(len(known))]
    gone = without_value(study, [cell for i, cell in enumerate(cells) if i not in known])
    # Without any tested pair, "not distinguishable" would only mean "not tested".
    if not any("worse" in own or "indistinguishable" in own for own in marks):
        front = _front(means, known)
        text = "Too few common seeds for any claim: no other setting beats these in both means."
        return _several(study, metric, "cannot tell", front, names, cells, text + gone)
    good = [
        i for i, own in zip(known, marks, strict=True) if {*own} <= {"best", "indistinguishable"}
    ]
    if not good:
        worlds = f"{in_sentence(closed)} and {in_sentence(opened)}"
        text = (
            f"No setting is among the best in both {worlds}: a trade-off. No other setting beats "
            "these in both means."
        )
        return _several(study, metric, "trade-off", _front(means, known), names, cells, text + gone)
    ranks = rankdata(-means[:, known], axis=1).mean(axis=0)
    first = min(good, key=lambda i: (ranks[known.index(i)], i))
    same = [cell_name(study, cells[i]) for i in good if i != first]
    picks = [pick(study, cells[first], names, cells)]
    more = behind(study, cells[first], opened, cells) + gone
    if len(good) == len(known):
        text = f"None of the {counted(len(known), 'setting')} can be told apart in both worlds."
        return Advice(GOAL, metric, "cannot tell", picks, text + more, same)
    if not same:
        text = "The only one that is best, or not distinguishable from the best, in both worlds."
        return Advice(GOAL, metric, "best", picks, text + more, same)
    text = f"As good in both worlds as far as the data tell: {joined(same)}."
    return Advice(GOAL, metric, "tied", picks, text + more, same)


def _front(means: NDArray[np.float64], known: Sequence[int]) -> list[int]:
    """The cells that no other one equals or beats in both and beats in one."""
    return [
        i
        for i in known
        if not any(
            (means[:, j] >= means[:, i]).all() and (means[:, j] > means[:, i]).any() for j in known
        )
    ]


def _several(
    study: Study,
    metric: str,
    verdict: Verdict,
    front: Sequence[int],
    names: Sequence[str],
    cells: Sequence[str],
    text: str,
) -> Advice:
    picks = [pick(study, cells[i], names, cells) for i in front]
    return Advice(GOAL, metric, verdict, picks, text, [])
