"""Open-set classification rate of the compared cells: CCR against FPR, by the nearest class mean."""

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

OSCR = Curve(
    "test/open_set_recognition/nearest_mean_",
    "fpr",
    "ccr",
    scalar="open_set_recognition/auroc_nearest_mean",
    count="open_set_recognition/unknown_images",
)

gather = partial(band_frames, "oscr", OSCR)
"""One row per cell and FPR of the grid."""


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    lowest = float(frame["lowest"].iloc[0])
    caption = (
        "Open-set recognition: share of the known images above the threshold and answered right "
        "(CCR), against the share of unknown images above it (FPR; Dhamija et al. 2018), by the "
        f"cosine to the nearest class mean. Line: mean CCR over {runs_text(frame)} at equal FPR; "
        f"band: {band_text(frame)}. Not drawn below FPR = {lowest:.1e}, where FPR × unknown images "
        f"< {LEAST_COUNT}.{panels_text(frame)}{lost_text(frame)}"
    )
    at = max(0.1, lowest)
    alt = f"OSCR curves. CCR near FPR = {at:.2g}: {'; '.join(best_first(frame, LOOK, at))}."
    return Drawing(draw_curves(frame, LOOK), "Open-set recognition (OSCR)", caption, alt)


def _prepare(ax: Axes, frame: pd.DataFrame) -> None:
    log_rates(ax, frame)
    percent_from_data(ax, frame, "ccr")


LOOK = Look(
    "fpr",
    "ccr",
    "False positive rate of unknown images (log scale)",
    "Correct classification rate (%)",
    _prepare,
)
