"""Closed set against open set: does the ranking in one world hold in the other?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.collect import Study
from reports.figures.comparison.compared import better, dots, handle, open_metrics
from reports.figures.style import COLUMN, PAGE, Drawing, color, with_slots
from reports.metrics import metric
from reports.selection import Selection
from reports.statistics.correlation import Correlation, ellipse, joint_coverage, spearman
from reports.summary import closed_metric, loss_title

_IN_PANEL = 14  # losses whose legend fits into the place of a panel
_REACH = 0.35  # how far the rest may widen a panel, of the spread of the compared runs


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per run of the study: first the closed-set metric, then the open-set ones. ``compared``
    tells the settings of the comparison from the others.
    """
    closed = closed_metric(study)
    opened = open_metrics(study, selection.cells)
    if closed is None or not opened:
        return
    frame = study.frame[["id", "cell", "loss", "seed", "status"]].assign(
        compared=study.frame["cell"].isin(selection.cells),
        **{name: study.frame[name].round(6) for name in (closed, *opened)},
    )
    if len(frame.dropna(subset=[closed, opened[0]])) >= 2:
        yield "closed_vs_open", with_slots(study, frame)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave; better is up and to the right in every panel."""
    closed, *opened = [name for name in frame if "/" in name]
    losses = list(dict.fromkeys(frame["loss"]))
    columns = min(len(opened), 3 if len(opened) != 4 else 2)
    rows = -(-len(opened) // columns)
    spare = rows * columns - len(opened) > 0 and len(losses) <= _IN_PANEL
    legend_rows = 0 if spare else -(-len(losses) // (5 if columns > 1 else 3))
    figure = Figure(
        figsize=(
            PAGE if columns > 1 else COLUMN * 1.2,
            0.3 + (2.3 if columns > 1 else 2.8) * rows + 0.15 * legend_rows,
        ),
        layout="constrained",
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    found = {}
    for place, (ax, name) in enumerate(zip(panels, opened, strict=False)):
        found[name] = _panel(ax, frame, closed, name)
        if place + columns >= len(opened):
            ax.set_xlabel(better(closed, brief=True))
    for ax in panels[len(opened) :]:
        ax.set_axis_off()
    slots = frame.drop_duplicates("loss").set_index("loss")["slot"]
    handles = [handle(int(slots[loss]), loss_title(str(loss))) for loss in losses]
    if spare:
        panels[-1].legend(handles=handles, loc="center", ncols=1 if len(losses) < 9 else 2)
    else:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=5 if columns > 1 else 3,
            handletextpad=0.2,
            columnspacing=1.0,
        )
    over = "; ".join(f"{metric(n).short} {correlation_text(each)}" for n, each in found.items())
    alt = (
        f"Scatter of {metric(closed).title} against {len(opened)} open-set metrics for "
        f"{', '.join(map(loss_title, losses))}. Spearman's ρ over settings: {over}."
    )
    return Drawing(figure, "Closed set against open set", _caption(frame, closed, found), alt)


def _panel(ax: Axes, frame: pd.DataFrame, closed: str, opened: str) -> Correlation:
    """One open-set metric; Spearman's ρ over the means of all settings."""
    both = frame.dropna(subset=[closed, opened])
    units = [100 if metric(name).percent else 1 for name in (closed, opened)]
    points = both[[closed, opened]].to_numpy() * units  # (runs, 2)
    compared = both["compared"].to_numpy(dtype=bool)
    slots = both["slot"].astype(int).tolist()
    dots(
        ax,
        points,
        slots,
        np.where(compared, 7, 5),
        np.where(compared, 0.4, 0.16),
        linewidth=0,
        rasterized=len(points) > 1000,
    )
    cells = list(dict.fromkeys(both.loc[compared, "cell"]))
    owned = [(both["cell"] == cell).to_numpy() for cell in cells]
    outlines = [ellipse(*points[own].T) for own in owned]
    inks = [slots[int(np.argmax(own))] for own in owned]
    ax.add_collection(
        LineCollection(
            outlines,
            colors=[color(slot) for slot in inks],
            linewidth=0.6,
            alpha=0.8 if len(cells) <= 12 else 0.35,
            zorder=2,
        )
    )
    if cells:
        means_ = np.array([points[own].mean(axis=0) for own in owned])
        dots(ax, means_, inks, 27, edgecolor="white", linewidth=0.5, zorder=3)
    _limits(ax, points[compared], [*outlines, points])
    ax.set_ylabel(better(opened, brief=True))
    if not metric(opened).higher_is_better:
        ax.invert_yaxis()
    ax.locator_params(nbins=5)
    means = both.groupby("cell", sort=False)[[closed, opened]].mean()
    rho = _agreement(means, closed, opened)
    interval = "" if rho.low != rho.low else f" [{rho.low:.2f}, {rho.high:.2f}]"
    text = "not defined" if rho.rho != rho.rho else f"= {rho.rho:.2f}{interval}"
    ax.set_title(
        f"ρ {text}, {rho.n} setting{'s' * (rho.n != 1)}".replace("-", "−"), loc="left", fontsize=7
    )
    return rho


def _limits(ax: Axes, compared: NDArray[np.float64], around: Sequence[NDArray[np.float64]]) -> None:
    """All compared runs, and of ellipses and other runs what lies near them."""
    if len(compared) == 0:
        return
    others = np.vstack([*around, compared])
    ends = []
    for place in (0, 1):
        low, high = compared[:, place].min(), compared[:, place].max()
        reach = _REACH * (high - low) or 1.0
        low = max(others[:, place].min(), low - reach)
        high = min(others[:, place].max(), high + reach)
        margin = 0.05 * (high - low) or 1.0
        ends.append((low - margin, high + margin))
    ax.set_xlim(ends[0])
    ax.set_ylim(ends[1])


def _agreement(means: pd.DataFrame, closed: str, opened: str) -> Correlation:
    """ρ between the two, each with its sign turned so that larger is better."""
    signs = [1 if metric(name).higher_is_better else -1 for name in (closed, opened)]
    return spearman(signs[0] * means[closed], signs[1] * means[opened])


def _caption(frame: pd.DataFrame, closed: str, found: dict[str, Correlation]) -> str:
    compared = frame[frame["compared"]]
    seeds = frame.dropna(subset=[closed]).groupby("cell").size()
    n = [int(seeds.min()), int(seeds.max())] if len(seeds) else [0, 0]
    others = frame["cell"].nunique() - compared["cell"].nunique()
    lost = int(frame[closed].isna().sum())
    cells = compared.dropna(subset=[closed]).groupby("cell", sort=False)[[closed, *found]].mean()
    words = [
        f"{metric(closed).title} against open-set quality of the same models: small, one run "
        f"(n = {n[0]}{f' to {n[1]}' if n[1] > n[0] else ''} seeds a setting); large, mean of a "
        "compared setting."
    ]
    if others:
        words.append(
            f"Faint: runs of the {others} other settings of the study, as far as they lie near the "
            "compared ones; the CSV has all."
        )
    if n[1] >= 3:
        words.append(
            "Ellipse: of the mean over seeds; its shadow on either axis is that metric's 95 % "
            f"Student-t interval, and it covers both at once in {100 * joint_coverage(n[1]):.0f} % "
            "of studies. It is cut where it leaves the panel, and not drawn for fewer than three seeds."
        )
    words.append(
        "Spearman's ρ is over the means of all settings, signs turned so that ρ > 0 says: better on "
        "known classes goes with better on unknown ones. Its 95 % interval takes settings as "
        "independent, which those of one loss are not."
    )
    if others and len(cells) >= 3:
        own = "; ".join(
            f"{metric(name).short} {correlation_text(_agreement(cells, closed, name))}"
            for name in found
        )
        words.append(f"Over the {len(cells)} compared settings alone: {own}.")
    if lost:
        words.append(f"Missing, as without {metric(closed).short}: {lost} of {len(frame)} runs.")
    return " ".join(words)


def correlation_text(value: Correlation) -> str:
    """``"0.72, 95 % interval [0.31, 0.90]"``, or why there is none."""
    if value.rho != value.rho:
        return "not defined (fewer than three settings, or no variation)"
    if value.low != value.low:
        return f"{value.rho:.2f} (too few settings or a perfect ranking: no interval)"
    ends = f"[{value.low:.2f}, {value.high:.2f}]".replace("-", "−")
    return f"{value.rho:.2f}".replace("-", "−") + f", 95 % interval {ends}"
