"""Open-set identification of the compared cells: CMC, and TPIR against FPIR."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

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

CMC = Curve("test/identification/", "rank", "cmc", scalar="identification/rank_1")
TPIR = Curve(
    "test/identification/",
    "fpir",
    "tpir",
    scalar="identification/rank_1",
    count="identification/non_mated_probes",
)

gather_cmc = partial(band_frames, "cmc", CMC)
"""One row per cell and rank."""

gather_tpir = partial(band_frames, "tpir_fpir", TPIR)
"""One row per cell and FPIR of the grid."""


def draw_cmc(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather_cmc` gave."""
    caption = (
        "Cumulative match characteristic: share of the mated probes whose own identity is at that "
        f"rank or before; mean over galleries of test classes. Line: mean over {runs_text(frame)}; "
        f"band: {band_text(frame)}.{panels_text(frame)}{lost_text(frame)}"
    )
    alt = f"CMC curves. Rank 1: {'; '.join(best_first(frame, CMC_LOOK, 1))}."
    return Drawing(draw_curves(frame, CMC_LOOK), "Open-set CMC", caption, alt)


def draw_tpir(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather_tpir` gave."""
    lowest = float(frame["lowest"].iloc[0])
    caption = (
        "Open-set identification: share of all mated probes found first above the threshold, "
        "against the share of non-mated probes above it; mean over galleries of test classes. Line: "
        f"mean TPIR over {runs_text(frame)} at equal FPIR; band: {band_text(frame)}. Not drawn below "
        f"FPIR = {lowest:.1e}, where FPIR × non-mated probes < {LEAST_COUNT}."
        f"{panels_text(frame)}{lost_text(frame)}"
    )
    at = max(0.01, lowest)
    best = "; ".join(best_first(frame, TPIR_LOOK, at))
    alt = f"TPIR against FPIR. TPIR near FPIR = {at:.2g}: {best}."
    return Drawing(draw_curves(frame, TPIR_LOOK), "Open-set identification", caption, alt)


def _ranks(ax: Axes, frame: pd.DataFrame) -> None:
    last = float(frame["rank"].max())
    ax.set_xscale("log")
    ax.set_xlim(1, max(last, 2))
    ax.xaxis.set_major_locator(FixedLocator([t for t in (1, 2, 5, 10, 20, 50, 100) if t <= last]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    percent_from_data(ax, frame, "cmc")


def _rates(ax: Axes, frame: pd.DataFrame) -> None:
    log_rates(ax, frame)
    percent_from_data(ax, frame, "tpir")


CMC_LOOK = Look("rank", "cmc", "Rank (log scale)", "Identified at the rank (%)", _ranks)
TPIR_LOOK = Look(
    "fpir", "tpir", "False positive identification rate (log scale)", "TPIR at rank 1 (%)", _rates
)
