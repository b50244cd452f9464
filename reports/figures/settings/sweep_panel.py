"""One panel of a sweep: lines with intervals, references, the bound of the scale."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from losses.feasibility import scale_bound
from reports.figures.settings.axes import factor
from reports.figures.settings.sweep_axis import number_axis
from reports.figures.small_multiples import background
from reports.figures.style import GREY, color, dashes, marker
from reports.metrics import metric


def panel(
    ax: Axes, frame: pd.DataFrame, own: list[str], single: bool, first: bool
) -> dict[str, Any]:
    """Draw one metric into an Axes.

    Parameters
    ----------
    frame : rows of the metric, with the column ``line``.
    own : the lines of this panel; the others are its background.
    single : one loss varies the axis, so that each line has a colour.
    first : whether the bound is named here.

    Returns
    -------
    Artists for the legend, by line.
    """
    swept = frame[frame["x"].notna()]
    values = sorted(float(x) for x in swept["x"].unique())
    row_metric = metric(str(frame["metric"].iloc[0]))
    per = factor(row_metric.name)
    log = number_axis(ax, values, most=7 if len(own) == swept["line"].nunique() else 4)
    handles: dict[str, Any] = {}
    gap = min((b - a for a, b in itertools.pairwise(values)), default=1.0)
    for line, rows in swept.groupby("line", sort=False):
        rows = rows.sort_values("x")
        if line not in own:
            background(ax, [(rows["x"], per * rows["mean"])])
            continue
        index = own.index(str(line))
        slot = index if single and len(own) > 1 else int(rows["slot"].iloc[0])
        # Side by side where lines would hide each other's bars.
        offset = (index - (len(own) - 1) / 2) * min(0.06, 0.3 / len(own))
        x = rows["x"] * 2 ** (offset * 0.5) if log else rows["x"] + offset * gap
        handles[str(line)] = _errorbar(ax, x, rows, per, slot)
        for place in x[rows["n"] == 0]:  # at the edge that is worst
            edge = 0.03 if row_metric.higher_is_better else 0.97
            cross: Any = {
                "marker": "x",
                "markersize": 4.5,
                "markeredgewidth": 1.1,
                "color": color(slot),
            }
            ax.plot(place, edge, transform=ax.get_xaxis_transform(), **cross)
    for index, row in enumerate(frame[frame["x"].isna() & frame["mean"].notna()].itertuples()):
        style: Any = {"color": GREY, "linestyle": dashes(1, index), "linewidth": 1}
        handles[str(row.line)] = ax.axhline(per * float(row.mean), **style, zorder=1.5)
    _bound(ax, swept["classes"], first)
    return handles


def _errorbar(
    ax: Axes, x: pd.Series[float], rows: pd.DataFrame, per: int, slot: int
) -> ErrorbarContainer:
    below, above = rows["mean"] - rows["low"], rows["high"] - rows["mean"]
    whole = (rows["n"] == rows["planned"]).to_numpy()
    drawn = ax.errorbar(
        x,
        per * rows["mean"],
        yerr=None if below.isna().all() else per * np.array([below.fillna(0), above.fillna(0)]),
        color=color(slot),
        marker=marker(slot),
        linestyle=dashes(slot),
        markeredgecolor="white",
        markeredgewidth=0.4,
        elinewidth=0.9,
        capsize=2,
    )
    part = rows[~whole & (rows["n"] > 0)]
    ax.plot(  # hollow: some seeds are missing
        x[part.index],
        per * part["mean"],
        linestyle="none",
        marker=marker(slot),
        markerfacecolor="white",
        markeredgecolor=color(slot),
        zorder=3,
    )
    return drawn


def _bound(ax: Axes, classes: pd.Series[float], named: bool) -> None:
    """CosFace's least scale for the numbers of classes trained on, as a labelled line."""
    for number in sorted(classes.dropna().unique())[:2]:
        bound = scale_bound(int(number))
        ax.axvline(bound, color="black", linewidth=0.9, linestyle=(0, (1, 1.5)), zorder=1.6)
        text = f"s ≥ {bound:.3g}, C = {number:.0f}" if named else ""
        ax.annotate(
            text,
            (bound, 0.98),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-2, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=6,
            bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.8},
        )
