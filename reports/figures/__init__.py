"""The figures of a report: a family is one module with ``gather`` (results to frames) and ``draw``
(frame to figure).

What is drawn is exactly what stands in the CSV beside the figure, so a figure can be drawn again
from it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reports.collect import Study
from reports.errors import ReportError
from reports.figures import (
    heatmap,
    planar,
    roc,
    seeds,
    sweep,
    targets,
    training,
    tuning_budget,
    tuning_contour,
    tuning_history,
    tuning_importance,
    tuning_parallel,
    tuning_pareto,
    worlds,
)
from reports.figures.style import Drawing, styled
from reports.selection import Selection


@dataclass(frozen=True)
class Family:
    """One row of the registry: file names begin with `prefix`."""

    prefix: str
    gather: Callable[[Study, Selection], Iterator[tuple[str, pd.DataFrame]]]
    draw: Callable[[pd.DataFrame], Drawing]


# In the order of the page.
FIGURES = (
    Family("seeds", seeds.gather, seeds.draw),
    Family("closed_vs_open", worlds.gather, worlds.draw),
    Family("roc", roc.gather, roc.draw),
    Family("heatmap", heatmap.gather, heatmap.draw),
    Family("sweep", sweep.gather, sweep.draw),
    Family("target_logit", targets.gather, targets.draw),
    Family("embedding", planar.gather, planar.draw),
    Family("training", training.gather, training.draw),
    Family("tuning_budget", tuning_budget.gather, tuning_budget.draw),
    Family("tuning_history", tuning_history.gather, tuning_history.draw),
    Family("tuning_importance", tuning_importance.gather, tuning_importance.draw),
    Family("tuning_contour", tuning_contour.gather, tuning_contour.draw),
    Family("tuning_parallel", tuning_parallel.gather, tuning_parallel.draw),
    Family("tuning_pareto", tuning_pareto.gather, tuning_pareto.draw),
)


@dataclass(frozen=True)
class Saved:
    """A figure on disk: ``<folder>/<name>.{png,pdf,csv}``."""

    name: str
    folder: Path
    title: str
    caption: str
    alt: str
    width: float  # inches, in print

    def path(self, suffix: str) -> Path:
        """The file of one kind: png, pdf or csv."""
        return self.folder / f"{self.name}.{suffix}"


def draw_all(study: Study, selection: Selection, folder: Path) -> list[Saved]:
    """Gather, draw and save every figure that the study has data for."""
    return [
        save(name, frame, family, folder)
        for family in FIGURES
        for name, frame in family.gather(study, selection)
    ]


def redraw(folder: Path) -> list[Saved]:
    """Draw every figure of a folder again from the CSV beside it.

    Raises
    ------
    ReportError : the folder has no CSV, or one that no figure family owns.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise ReportError(f"{folder}: has no CSV of a figure; give the figures folder of a report")
    return [save(path.stem, _read(path), _family(path), folder) for path in paths]


def save(name: str, frame: pd.DataFrame, family: Family, folder: Path) -> Saved:
    """Write the CSV, and the figure drawn from it as PNG (200 dpi) and PDF."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    with styled():
        drawing = family.draw(frame)
        FigureCanvasAgg(drawing.figure)
        drawing.figure.savefig(folder / f"{name}.png", dpi=200, metadata={"Software": None})
        # No date in the file: equal inputs, equal bytes.
        drawing.figure.savefig(
            folder / f"{name}.pdf", metadata={"CreationDate": None, "Title": drawing.title}
        )
    return Saved(
        name, folder, drawing.title, drawing.caption, drawing.alt, drawing.figure.get_figwidth()
    )


def _read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, float_precision="round_trip")
    texts = [
        "series",
        "fixed",
        "label",
        "lost",
    ]  # may be empty, which CSV cannot tell from "no value"
    return frame.fillna({name: "" for name in texts if name in frame}).astype(
        {name: str for name in texts if name in frame}
    )


def _family(path: Path) -> Family:
    for family in FIGURES:
        if path.stem == family.prefix or path.stem.startswith(f"{family.prefix}-"):
            return family
    raise ReportError(
        f"{path}: belongs to no figure (known: {', '.join(family.prefix for family in FIGURES)})"
    )
