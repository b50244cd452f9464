"""Which figures there are, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

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
from reports.figures.style import Drawing
from reports.selection import Selection

# Headings of the page, in its order; a family stands under one of them.
SECTIONS = (
    "Comparison",
    "Closed set and open set",
    "Curves",
    "Settings",
    "Losses",
    "Embeddings",
    "Training",
    "Published numbers",
    "Tuning",
)


@dataclass(frozen=True)
class Family:
    """One row of the registry.

    Attributes
    ----------
    prefix : file names are ``<prefix>`` or ``<prefix>-<what>``.
    section : one of `SECTIONS`.
    gather : study and selection to (file name, frame) of each figure that the study has data for.
    draw : such a frame, or the same read from its CSV, to the figure.
    animate : such a frame to the frames of an animation, in order; None: no animation.
    """

    prefix: str
    section: str
    gather: Callable[[Study, Selection], Iterator[tuple[str, pd.DataFrame]]]
    draw: Callable[[pd.DataFrame], Drawing]
    animate: Callable[[pd.DataFrame], Iterator[Figure]] | None = None


FIGURES = (
    Family("seeds", "Comparison", seeds.gather, seeds.draw),
    Family("closed_vs_open", "Closed set and open set", worlds.gather, worlds.draw),
    Family("roc", "Curves", roc.gather, roc.draw),
    Family("heatmap", "Settings", heatmap.gather, heatmap.draw),
    Family("sweep", "Settings", sweep.gather, sweep.draw),
    Family("target_logit", "Losses", targets.gather, targets.draw),
    Family("embedding", "Embeddings", planar.gather, planar.draw),
    Family("training", "Training", training.gather, training.draw),
    Family("tuning_budget", "Tuning", tuning_budget.gather, tuning_budget.draw),
    Family("tuning_history", "Tuning", tuning_history.gather, tuning_history.draw),
    Family("tuning_importance", "Tuning", tuning_importance.gather, tuning_importance.draw),
    Family("tuning_contour", "Tuning", tuning_contour.gather, tuning_contour.draw),
    Family("tuning_parallel", "Tuning", tuning_parallel.gather, tuning_parallel.draw),
    Family("tuning_pareto", "Tuning", tuning_pareto.gather, tuning_pareto.draw),
)


def family_of(name: str) -> Family:
    """The family of a figure's file name (without suffix).

    Raises
    ------
    ReportError : none owns it.
    """
    for family in FIGURES:
        if name == family.prefix or name.startswith(f"{family.prefix}-"):
            return family
    known = ", ".join(family.prefix for family in FIGURES)
    raise ReportError(f"{name}.csv: belongs to no figure (known: {known})")
