"""Which figures there are, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from reports.collect import Study
from reports.errors import ReportError
from reports.figures.comparison import (
    correlation,
    geometry,
    pareto,
    published,
    ranks,
    seeds,
    two_studies,
    worlds,
)
from reports.figures.curves import det, oscr, pair_angles, roc
from reports.figures.curves import identification as identification_curves
from reports.figures.embeddings import epochs as embedding_epochs
from reports.figures.embeddings import planar, sphere
from reports.figures.embeddings import row as embedding_row
from reports.figures.losses import psi, regions, targets
from reports.figures.settings import heatmap, sweep
from reports.figures.style import Drawing
from reports.figures.training import angles, annealing, norms, training
from reports.figures.tuning import budget as tuning_budget
from reports.figures.tuning import contour as tuning_contour
from reports.figures.tuning import history as tuning_history
from reports.figures.tuning import importance as tuning_importance
from reports.figures.tuning import parallel as tuning_parallel
from reports.figures.tuning import pareto as tuning_pareto
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
    Family("ranks", "Comparison", ranks.gather, ranks.draw),
    Family("two_studies", "Comparison", two_studies.gather, two_studies.draw),
    Family("closed_vs_open", "Closed set and open set", worlds.gather, worlds.draw),
    Family("pareto", "Closed set and open set", pareto.gather, pareto.draw),
    Family("correlation", "Closed set and open set", correlation.gather, correlation.draw),
    Family("geometry", "Closed set and open set", geometry.gather, geometry.draw),
    Family("roc", "Curves", roc.gather, roc.draw),
    Family("det", "Curves", det.gather, det.draw),
    Family("cmc", "Curves", identification_curves.gather_cmc, identification_curves.draw_cmc),
    Family(
        "tpir_fpir", "Curves", identification_curves.gather_tpir, identification_curves.draw_tpir
    ),
    Family("oscr", "Curves", oscr.gather, oscr.draw),
    Family("pair_angles", "Curves", pair_angles.gather, pair_angles.draw),
    Family("heatmap", "Settings", heatmap.gather, heatmap.draw),
    Family("sweep", "Settings", sweep.gather, sweep.draw),
    Family("target_logit", "Losses", targets.gather, targets.draw),
    Family("psi", "Losses", psi.gather, psi.draw),
    Family("regions", "Losses", regions.gather, regions.draw),
    Family("embedding", "Embeddings", planar.gather, planar.draw),
    Family("embedding_row", "Embeddings", embedding_row.gather, embedding_row.draw),
    Family(
        "embedding_epochs",
        "Embeddings",
        embedding_epochs.gather,
        embedding_epochs.draw,
        embedding_epochs.animate,
    ),
    Family("sphere", "Embeddings", sphere.gather, sphere.draw),
    Family("training", "Training", training.gather, training.draw),
    Family("angles", "Training", angles.gather, angles.draw),
    Family("norms", "Training", norms.gather, norms.draw),
    Family("annealing", "Training", annealing.gather, annealing.draw),
    Family("published", "Published numbers", published.gather, published.draw),
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
    raise ReportError(
        f"{name}.csv: belongs to no figure; give the figures folder of a report (known: {known})"
    )
