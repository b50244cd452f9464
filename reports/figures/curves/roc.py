"""Open-set ROC of the compared cells: FAR on a log axis, mean over seeds at equal FAR."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from reports.figures.curves.bands import LEAST_COUNT, Curve, band_frames
from reports.figures.curves.panels import (
    Look,
    band_text,
    best_first,
    draw_curves,
    log_rates,
    lost_text,
    panels_text,
    percent_from_data,
    runs_text,
)
from reports.figures.style import Drawing

ROC = Curve(
    "test/verification/",
    "far",
    "tar",
    scalar="verification/auc",
    count="verification/impostor_pairs",
    few_accepts=True,
)

gather = partial(band_frames, "roc", ROC)
"""One row per cell and FAR of the grid, which begins where the data begin to carry a rate."""


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    caption = (
        "Open-set verification ROC, test classes never seen in training. Line: mean TAR over "
        f"{runs_text(frame)} at equal FAR (vertical averaging); band: {band_text(frame)}. "
        f"Not drawn below FAR = {frame['lowest'].iloc[0]:.1e}, where FAR × impostor pairs < "
        f"{LEAST_COUNT}.{panels_text(frame)}{lost_text(frame)}"
    )
    at = max(0.01, float(frame["lowest"].iloc[0]))
    alt = f"ROC curves. TAR near FAR = {at:.2g}: {'; '.join(best_first(frame, LOOK, at))}."
    return Drawing(draw_curves(frame, LOOK), "Open-set ROC", caption, alt)


def _prepare(ax: Axes, frame: pd.DataFrame) -> None:
    log_rates(ax, frame)
    percent_from_data(ax, frame, "tar")


LOOK = Look("far", "tar", "False accept rate (log scale)", "True accept rate (%)", _prepare)
