"""What figures of settings share: intervals of cells, names of axes, what an interval covers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from reports.collect import SHORT, WORDS, Study, value_text
from reports.metrics import metric
from reports.statistics.intervals import Interval
from reports.summary import cell_intervals, closed_metric, open_metric, unit

# Settings whose column is no word for readers.
_NAMES = {
    "embedding_dim": "Embedding dimension D",
    "split.known_classes": "Classes in training",
    "center_weight": "Weight of the center term λ",
    "center.weight": "Weight of the center term λ",
    "center_rate": "Learning rate of the centers α",
    "center.rate": "Learning rate of the centers α",
    "lambda_min": "Least λ",
}
RECALL = "retrieval/recall_at_1"


def panels_of(study: Study, *, recall: bool) -> list[str]:
    """The metrics of a figure of settings: closed set, open set, if asked for recall@1; as far as
    measured.
    """
    names = [closed_metric(study), open_metric(study)]
    if recall and None not in names and study.measured(RECALL):
        names.append(RECALL)
    return [name for name in names if name is not None]


def intervals(study: Study, name: str, cells: Sequence[str]) -> list[Interval]:
    """`reports.summary.cell_intervals`, each computed once: a cell stands in several figures."""
    missing = [cell for cell in cells if ("interval", name, cell) not in study.cache]
    for cell, found in zip(missing, cell_intervals(study, name, missing), strict=True):
        study.cache["interval", name, cell] = found
    return [study.cache["interval", name, cell] for cell in cells]


def measures(found: Interval) -> dict[str, float | int | str]:
    """An interval as columns of a frame, to six digits: nobody can see more."""
    ends = {"mean": found.mean, "low": found.low, "high": found.high}
    return {
        **{key: float(f"{value:.6g}") for key, value in ends.items()},
        "n": found.n,
        "covers": found.covers,
    }


def axis_label(loss: str, axis: str) -> str:
    """``"Margin m (radian)"``."""
    if axis in _NAMES:
        return _NAMES[axis]
    words = axis.rpartition(".")[2].replace("_", " ")
    symbol = f" {SHORT[axis]}" if axis in SHORT else ""
    own = unit(loss, axis)
    return f"{words[:1].upper()}{words[1:]}{symbol}{f' ({own})' if own and own != words else ''}"


def setting_label(names: Iterable[str], values: Iterable[object]) -> str:
    """``"m=0.5 s=32"``; without what has no value."""
    pairs = zip(names, values, strict=True)
    # A value that is none is NaN, which differs from itself.
    return " ".join(
        f"{SHORT.get(key) or WORDS.get(key, key)}={value_text(value, 4)}"
        for key, value in pairs
        if value == value
    )


def factor(name: str) -> int:
    """Of a metric from raw to what is shown."""
    return 100 if metric(name).percent else 1


def covers_text(covers: Collection[str], what: str) -> str:
    """A sentence about the intervals; empty where no cell has one.

    >>> covers_text({"seeds and identities", "nothing"}, "Bars")
    ' Bars: 95 % interval over seeds and identities.'
    """
    found = sorted(set(covers) - {"nothing"}, key=lambda text: (len(text), text))
    return f" {what}: 95 % interval over {', or '.join(reversed(found))}." if found else ""


def lost_text(frame: pd.DataFrame) -> str:
    """How many of the planned runs have no result, and of which kind; one row a cell."""
    lost = int((frame["planned"] - frame["n"]).sum())
    if not lost:
        return ""
    planned = int(frame["planned"].sum())
    return f" {lost} of {planned} runs have no result (diverged, failed or missing) and are not in the means."
