"""Which cells show what one setting does to embeddings of few dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from reports.collect import SHORT, Study, value_text
from reports.figures.embeddings.points import dimensions, thinned
from reports.selection import Selection

FIGURES = 6  # of a family: sweeps that are drawn


@dataclass(frozen=True)
class Sweep:
    """One loss along one numeric setting, all others as in the compared cell.

    Attributes
    ----------
    values : of the setting, rising; few of them, evenly spaced, where there are many.
    cells : as many.
    of : how many values there are.
    number, sweeps : this one's place, from 1, and how many sweeps the study has.
    """

    loss: str
    axis: str
    values: list[float]
    cells: list[str]
    of: int
    number: int
    sweeps: int

    @property
    def titles(self) -> dict[str, str]:
        """Cell to the setting's value, as ``"m = 0.5"``."""
        short = SHORT.get(self.axis, self.axis.replace("_", " "))
        pairs = zip(self.cells, self.values, strict=True)
        return {cell: f"{short} = {value_text(value)}" for cell, value in pairs}

    @property
    def note(self) -> str:
        """For the caption: what is left out; empty where nothing is."""
        parts = []
        if self.of > len(self.values):
            parts.append(f"{len(self.values)} of {self.of} values, evenly spaced.")
        if self.sweeps > FIGURES:
            parts.append(f"The first {FIGURES} of {self.sweeps} such sweeps are drawn.")
        return " ".join(parts)


def sweeps(study: Study, selection: Selection, dimension: int, most: int) -> Iterator[Sweep]:
    """The sweeps of a study over cells of a dimension, of each at most so many values."""
    found = []
    for loss in study.losses:
        for axis in study.axes[loss]:
            if axis != "embedding_dim" and study.frame[axis].dtype == float:
                line = _line(study, selection, loss, axis, dimension)
                if len(line) > 1:
                    found.append((loss, axis, line))
    for number, (loss, axis, line) in enumerate(found[:FIGURES], start=1):
        shown = thinned(list(line.items()), most)
        values, cells = [value for value, _ in shown], [cell for _, cell in shown]
        yield Sweep(loss, axis, values, cells, len(line), number, len(found))


def _line(
    study: Study, selection: Selection, loss: str, axis: str, dimension: int
) -> dict[float, str]:
    """Value to cell, rising: the other settings as in the loss's first compared cell, if that is
    part of the sweep, else as in the sweep's first.
    """
    of = dimensions(study)
    mine = study.swept(loss).drop_duplicates("cell")
    mine = mine[[of[cell] == dimension for cell in mine["cell"]]].dropna(subset=[axis])
    if mine.empty:
        return {}
    rest = [key for key in study.axes[loss] if key not in (axis, "embedding_dim")]
    compared = mine[mine["cell"].isin(selection.cells)]
    anchor = (compared if len(compared) else mine).iloc[0]
    same = pd.Series(True, index=mine.index)
    for key in rest:
        same &= (mine[key] == anchor[key]) | (mine[key].isna() & pd.isna(anchor[key]))
    line = mine[same].sort_values(axis)
    return dict(zip(line[axis].astype(float), line["cell"].astype(str), strict=True))
