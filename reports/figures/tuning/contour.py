"""Where the good settings lie: the trials of a loss in the plane of two of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation

from reports.collect import Study
from reports.figures.style import Drawing
from reports.figures.tuning.axes import (
    WINNER,
    colormap,
    ends,
    legend,
    listed,
    number,
    panels,
    phrase,
    place,
    setting,
    ticks,
    unit_of,
)
from reports.figures.tuning.frames import files, searches, trials
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import loss_title

_MOST = 12  # panels in a file
_ENOUGH = 8  # different places with a value, from which on the plane is filled
_EDGE = 0.12  # free space around the range searched, in its width
_TEXT = 16  # signs of all ticks of a horizontal axis


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per trial of every loss with two tuned parameters: where it lies in both, their
    ranges, and what it was worth by the first objective.
    """
    found = trials(study)
    frames = []
    for loss in dict.fromkeys(found["loss"]):
        mine = [own for own in searches(study) if own["loss"] == loss]
        pair = _pair(mine)
        if pair is not None:
            frames.append(_frame(found[found["loss"] == loss], mine, pair))
    frames = [frame for frame in frames if frame["value"].notna().any()]
    for name, part in files("tuning_contour", frames, _MOST):
        yield name, pd.concat(part, ignore_index=True)


def _pair(mine: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The two parameters of a loss's plane, upright and across: its margin and its scale, else the
    two most important ones.
    """
    names = [axis["name"] for axis in mine[0]["space"]]
    own = [axis["name"] for axis in mine[0]["space"] if axis["of"] == "loss"]
    margins = sorted((name for name in own if "margin" in name), key=lambda name: name != "margin")
    scales = sorted((name for name in own if "scale" in name), key=lambda name: name != "scale")
    if margins and scales:
        return margins[0], scales[0]
    shares = [each["importance"] or {} for each in mine]
    names.sort(key=lambda name: -sum(share.get(name, 0.0) for share in shares))
    return (names[0], names[1]) if len(names) > 1 else None


def _frame(
    found: pd.DataFrame, mine: Sequence[Mapping[str, Any]], pair: tuple[str, str]
) -> pd.DataFrame:
    settings = {
        (own["study"], trial["number"]): trial["parameters"]
        for own in mine
        for trial in own["trials"]
    }
    keys = list(zip(found["search"], found["number"], strict=True))
    columns: dict[str, Any] = {}
    for side, name in zip("yx", pair, strict=True):
        axes = [axis for own in mine for axis in own["space"] if axis["name"] == name]
        columns |= {
            f"{side}_name": name,
            side: [float(settings[key].get(name, np.nan)) for key in keys],
            f"{side}_low": min(axis["low"] for axis in axes),
            f"{side}_high": max(axis["high"] for axis in axes),
            f"{side}_log": axes[0]["log"],
        }
    kept = ["metric", "lower", "loss", "slot", "search", "number", "status", "value"]
    return found[[*kept, "default", "winner"]].assign(**columns)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    losses = list(dict.fromkeys(frame["loss"]))
    name, lower = str(frame["metric"].iloc[0]), bool(frame["lower"].iloc[0])
    figure, axes = panels(len(losses), 3, 2.0, 0.4)
    for ax, loss in zip(axes, losses, strict=True):
        _panel(figure, ax, frame[frame["loss"] == loss], lower, unit_of(name))
    handles = [
        _point("trial", "o", "#8a8a8a", 4),
        _point("default", "s", "white", 5),
        _point("winner", "*", WINNER, 8),
    ]
    if frame["value"].isna().any():
        handles.append(
            Line2D([], [], linestyle="none", marker="x", color="black", label="no value")
        )
    handles.append(
        Line2D([], [], linestyle=(0, (3, 2)), color="black", linewidth=0.7, label="range searched")
    )
    legend(figure, handles)
    searched = frame["search"].nunique()
    caption = (
        "Every trial of each loss"
        f"{f', of its {searched} searches together,' if searched > 1 else ''} in the plane of two "
        "of its parameters: margin and scale, or the two most important ones where it does not "
        f"have both. Colour: {phrase(name)}{' (%)' if metric(name).percent else ''}, darker is better, on each panel's own scale; "
        "values beyond its worse end have the colour of that end. Filled by straight interpolation "
        f"between the trials inside the range where at least {_ENOUGH} differ; the trials also differ in their other"
        " parameters, so the surface is a rough guide and no slice. A winner on the dashed line"
        " lies at the end of the range: a wider one might do better."
        f"{' ×: stopped early, or failed.' if frame['value'].isna().any() else ''}"
    )
    said = []
    for loss, own in frame[frame["winner"]].groupby("loss", sort=False):
        points = [
            f"{_plain(row.y_name)} {row.y:.3g}, {_plain(row.x_name)} {row.x:.3g}"
            for row in own.itertuples()
        ]
        said.append(f"{loss_title(str(loss))} at {' and '.join(points)}")
    alt = f"Trials by two parameters for {listed(losses)}. Winners: {'; '.join(said) or 'none'}."
    return Drawing(figure, "Where the good settings lie", caption, alt)


def _panel(figure: Figure, ax: Axes, own: pd.DataFrame, lower: bool, factor: float) -> None:
    first = own.iloc[0]
    loss = str(first["loss"])
    points = {
        side: place(own[side], first[f"{side}_low"], first[f"{side}_high"], first[f"{side}_log"])
        for side in "xy"
    }
    x, y, value = points["x"], points["y"], factor * own["value"].to_numpy()
    known = np.isfinite(value) & np.isfinite(x) & np.isfinite(y)
    low, high = ends(value, lower, value[own["winner"].to_numpy(dtype=bool)])
    norm = Normalize(low, high)
    inside = known & (abs(x - 0.5) <= 0.5 + 1e-9) & (abs(y - 0.5) <= 0.5 + 1e-9)
    surface = _surface(x[inside], y[inside], value[inside])
    if surface is not None:
        ax.tricontourf(
            *surface,
            levels=np.linspace(low, high, 10),
            cmap=colormap(lower),
            norm=norm,
            extend="both",
        )
    image = ax.scatter(
        x[known],
        y[known],
        c=value[known],
        s=13,
        cmap=colormap(lower),
        norm=norm,
        edgecolor="white",
        linewidth=0.5,
        zorder=3,
        clip_on=False,
    )
    ax.scatter(x[~known], y[~known], s=11, marker="x", color="black", linewidth=0.7, zorder=3)
    for key, shape, size, face in (("default", "s", 60, "none"), ("winner", "*", 75, WINNER)):
        mine = own[key].to_numpy(dtype=bool)
        for width, edge in ((2.2, "white"), (0.9, "black")):
            ax.scatter(
                x[mine],
                y[mine],
                s=size,
                marker=shape,
                facecolor=face,
                edgecolor=edge,
                linewidth=width,
                zorder=5,
                clip_on=False,
            )
    ax.add_patch(
        Rectangle((0, 0), 1, 1, fill=False, linestyle=(0, (3, 2)), linewidth=0.7, zorder=2.5)
    )
    _axes(ax, first, points, loss)
    bar = figure.colorbar(image, ax=ax, pad=0.02, fraction=0.06, aspect=22)
    bar.ax.tick_params(labelsize=5.8, length=1.5)
    bar.locator = MaxNLocator(5)
    bar.outline.set_linewidth(0.4)
    bar.update_ticks()


def _axes(ax: Axes, first: pd.Series, points: Mapping[str, np.ndarray], loss: str) -> None:
    ax.set_title(loss_title(loss), fontsize=7.5)
    ax.grid(False)
    for side, limit, axis, label in (
        ("x", ax.set_xlim, ax.xaxis, ax.set_xlabel),
        ("y", ax.set_ylim, ax.yaxis, ax.set_ylabel),
    ):
        there = points[side][np.isfinite(points[side])]
        limit(min([-_EDGE, *(there - 0.05)]), max([1 + _EDGE, *(there + 0.05)]))
        span = (first[f"{side}_low"], first[f"{side}_high"], first[f"{side}_log"])
        at = ticks(*span)
        if side == "x" and sum(len(number(value)) for value in at) > _TEXT:
            at = at[::2]  # long numbers side by side would run into each other
        axis.set_ticks(place(at, *span), [number(value) for value in at], fontsize=6.2)
        label(setting(loss, str(first[f"{side}_name"])), fontsize=6.8, labelpad=1.5)


def _surface(
    x: np.ndarray, y: np.ndarray, value: np.ndarray
) -> tuple[Triangulation, np.ndarray] | None:
    """Triangles between the trials with their values, a mean where several share a place; None
    where they are too few, on one line or all worth the same.
    """
    at, index = np.unique(np.round(np.stack([x, y], axis=1), 9), axis=0, return_inverse=True)
    if len(at) < _ENOUGH or np.linalg.matrix_rank(at - at.mean(axis=0), tol=1e-6) < 2:
        return None
    mean = np.bincount(index.ravel(), value) / np.bincount(index.ravel())
    if np.ptp(mean) == 0:
        return None
    return Triangulation(at[:, 0], at[:, 1]), mean


def _point(label: str, shape: str, face: str, size: float) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=shape,
        markersize=size,
        markerfacecolor=face,
        markeredgecolor="black" if shape != "o" else "white",
        markeredgewidth=0.8,
        label=label,
    )


def _plain(name: object) -> str:
    return str(name).replace("_", " ")
