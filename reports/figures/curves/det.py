"""Detection error trade-off of the compared cells: FRR against FAR on normal-deviate axes.

On these axes normal scores give straight lines, and small error rates are seen as well as large ones
(Martin, Doddington, Kamm, Ordowski and Przybocki 1997).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy.special import ndtr, ndtri

from reports.collect import Study
from reports.figures.curves.bands import LEAST_COUNT, bands
from reports.figures.curves.panels import (
    TOGETHER,
    Look,
    band_text,
    best_first,
    draw_curves,
    lost_text,
    panels_text,
    runs_text,
)
from reports.figures.curves.roc import ROC
from reports.figures.style import GREY, Drawing
from reports.selection import Selection

TICKS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
FEW_TICKS = (1e-6, 1e-4, 0.01, 0.2)  # of the FAR in a small panel
HIGHEST_FAR, HIGHEST_FRR = 0.5, 0.995  # of the axes: beyond, all is rejected or accepted


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per cell and FAR up to one half; FRRs of fewer than ten genuine pairs are left out."""
    frame = bands(study, selection, ROC)
    pairs = "verification/genuine_pairs"
    if frame is None or not study.measured(pairs):
        return
    mine = study.frame["cell"].isin(selection.cells)
    least = LEAST_COUNT / float(study.frame.loc[mine, pairs].dropna().min())
    ends = {"low": 1 - frame["high"], "high": 1 - frame["low"]}
    frame = frame.assign(frr=(1 - frame["tar"]).round(9), **ends, least_frr=float(f"{least:.6g}"))
    carried = (frame["far"] <= HIGHEST_FAR) & (frame["frr"] >= least)
    frame = frame[carried | frame["far"].isna()].drop(columns="tar").round({"low": 9, "high": 9})
    if frame["frr"].notna().any():
        yield "det", frame.reset_index(drop=True)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    lowest, least = (float(frame[name].iloc[0]) for name in ("lowest", "least_frr"))
    dotted = "; dotted: FAR = FRR" if frame["cell"].nunique() <= TOGETHER else ""
    caption = (
        "Detection error trade-off of open-set verification, both axes on the normal-deviate scale "
        f"(Martin et al. 1997). Line: mean FRR over {runs_text(frame)} at equal FAR; band: "
        f"{band_text(frame)}{dotted}. Not drawn below FAR = {lowest:.1e} and FRR = {least:.1e}, "
        f"fewer than {LEAST_COUNT} errors.{panels_text(frame)}{lost_text(frame)}"
    )
    best = best_first(frame, LOOK, max(0.01, lowest), higher=False)
    alt = f"DET curves. FRR near FAR = {max(0.01, lowest):.2g}: {'; '.join(best)}."
    return Drawing(draw_curves(frame, LOOK), "Open-set DET", caption, alt)


def _prepare(ax: Axes, frame: pd.DataFrame) -> None:
    lowest, least = (float(frame[name].iloc[0]) for name in ("lowest", "least_frr"))
    ax.set_xscale("function", functions=(_deviate, ndtr))
    ax.set_yscale("function", functions=(_deviate, ndtr))
    bottom = max(least, float(frame["low"].fillna(frame["frr"]).min()))
    top = min(float(frame["high"].fillna(frame["frr"]).max()), HIGHEST_FRR)
    ax.set_xlim(lowest / 1.6, HIGHEST_FAR)
    ax.set_ylim(bottom / 1.1, float(ndtr(_deviate(top) + 0.1)))
    together = frame["cell"].nunique() <= TOGETHER
    for side, ticks in ((ax.xaxis, TICKS if together else FEW_TICKS), (ax.yaxis, TICKS)):
        side.set_major_locator(FixedLocator(ticks))
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(FuncFormatter(_per_cent))
    ax.axvspan(lowest / 1e3, lowest, color="#ededed", linewidth=0, zorder=0)
    if together:
        equal = np.geomspace(lowest, HIGHEST_FAR, 50)
        ax.plot(equal, equal, ":", color=GREY, linewidth=0.8, zorder=1)


def _deviate(rate: np.ndarray | float) -> np.ndarray:
    """The normal deviate of a rate; rates of 0 and 1 stay finite."""
    found: np.ndarray = ndtri(np.clip(rate, 1e-12, 1 - 1e-12))
    return found


def _per_cent(rate: float, _: int) -> str:
    if rate >= 1e-4:
        return f"{100 * rate:g}"
    return f"$10^{{{round(np.log10(100 * rate))}}}$"


LOOK = Look("far", "frr", "False accept rate (%)", "False reject rate (%)", _prepare, percent=False)
