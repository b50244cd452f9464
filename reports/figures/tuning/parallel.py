"""All parameters of a loss at once: each trial is a line over an axis for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.collect import Study
from reports.figures.style import PAGE, Drawing
from reports.figures.tuning.axes import (
    WINNER,
    colormap,
    ends,
    listed,
    number,
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

_MOST = 6  # losses in a file
_OUTSIDE = 0.08  # how far beyond its range a value is drawn, in the range's width


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per trial and parameter of every tuned loss, with the parameter's range and the
    trial's value by the first objective.
    """
    rows = [
        {
            "loss": own["loss"],
            "search": own["study"],
            "number": trial["number"],
            "parameter": axis["name"],
            "setting": float(trial["parameters"].get(axis["name"], np.nan)),
            "low": axis["low"],
            "high": axis["high"],
            "log": axis["log"],
        }
        for own in searches(study)
        for trial in sorted(own["trials"], key=lambda trial: trial["number"])
        for axis in own["space"]
    ]
    if not rows:
        return
    keys = ["loss", "search", "number"]
    worth = trials(study)[
        [*keys, "metric", "lower", "slot", "status", "value", "default", "winner"]
    ]
    frame = pd.DataFrame(rows).merge(worth, on=keys, how="left")
    valued = frame.groupby("loss", sort=False)["value"].count()
    for name, losses in files("tuning_parallel", list(valued.index[valued > 0]), _MOST):
        yield name, frame[frame["loss"].isin(losses)]


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    losses = list(dict.fromkeys(frame["loss"]))
    name, lower = str(frame["metric"].iloc[0]), bool(frame["lower"].iloc[0])
    figure = Figure(figsize=(PAGE, 1.5 * len(losses) + 0.4), layout="constrained")
    panels = figure.subplots(len(losses), 1, squeeze=False)[:, 0]
    for ax, loss in zip(panels, losses, strict=True):
        _panel(ax, frame[frame["loss"] == loss], name, lower)
    gone = frame["value"].isna().any()
    handles = [
        Line2D([], [], color=WINNER, linewidth=2.2, marker="o", markersize=3.5, label="winner"),
        Line2D([], [], color="black", linewidth=1.1, linestyle=(0, (4, 2)), label="default"),
        Line2D([], [], color=_shade(1.0, lower), linewidth=1.2, label="better trial"),
        Line2D([], [], color=_shade(0.0, lower), linewidth=1.2, label="worse trial"),
    ]
    if gone:
        handles.append(
            Line2D([], [], color="#9a9a9a", linewidth=0.7, linestyle=":", label="no value")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    searched = frame["search"].nunique()
    caption = (
        f"Each line is a trial{f' of one of {searched} searches' if searched > 1 else ''}, over one"
        " axis for each tuned parameter of the loss (ends: the range searched; log where its numbers"
        f" are) to {phrase(name)}, better up. Darker lines are better; thick: the winner"
        f"{'s' if searched > 1 else ''}; dashed: the default. Values beyond an axis are drawn just "
        "outside it."
        f"{' Dotted: stopped early or failed, without a value.' if gone else ''}"
    )
    alt = f"Parallel coordinates of the trials of {listed(losses)}, ending at {phrase(name)}."
    return Drawing(figure, "All parameters of a loss at once", caption, alt)


def _panel(ax: Axes, own: pd.DataFrame, name: str, lower: bool) -> None:
    loss, factor = str(own["loss"].iloc[0]), unit_of(name)
    spans = {
        str(key): (part["low"].min(), part["high"].max(), bool(part["log"].iloc[0]))
        for key, part in own.groupby("parameter", sort=False)
    }
    worth = own.drop_duplicates(["search", "number"])
    won = worth.loc[worth["winner"], "value"]
    low, high = ends(factor * worth["value"], lower, factor * won)
    for x, (key, span) in enumerate(spans.items()):
        _axis(ax, x, [(place([v], *span)[0], number(v)) for v in ticks(*span)], setting(loss, key))
    at = [(float(_height(v, low, high, lower)), number(v)) for v in ticks(low, high, False)]
    _axis(
        ax,
        len(spans),
        at,
        f"{metric(name).short}{' (%)' if metric(name).percent else ''}",
        right=True,
    )
    table = own.pivot(index=["search", "number"], columns="parameter", values="setting")
    there = np.stack([place(table[key], *span) for key, span in spans.items()], axis=1)
    rows = dict(zip(table.index, np.clip(there, -_OUTSIDE, 1 + _OUTSIDE), strict=True))
    # The best last: it lies on top.
    order = worth.sort_values("value", ascending=not lower, na_position="first", kind="stable")
    for trial in order.itertuples():
        line = list(rows[trial.search, trial.number])
        if trial.value == trial.value:
            line.append(_height(factor * float(trial.value), low, high, lower))
        _line(ax, trial, line, lower, 0.9 if len(order) <= 40 else 0.5)
    axes = len(spans) + 1
    ax.set_xlim(-0.085 * axes, axes - 1 + 0.06 * axes)
    ax.set_ylim(-0.12, 1.12)
    ax.text(0, 0.5, loss_title(loss), rotation=90, va="center", transform=ax.transAxes)
    ax.axis("off")


def _height(value: float, low: float, high: float, lower: bool) -> float:
    share = (value - low) / (high - low)
    return float(np.clip(1 - share if lower else share, -_OUTSIDE, 1 + _OUTSIDE))


def _axis(
    ax: Axes, x: int, marks: list[tuple[float, str]], title: str, right: bool = False
) -> None:
    """An upright axis with its marks at the left, or right of the last one."""
    side = 1 if right else -1
    ax.plot([x, x], [0, 1], color="#404040", linewidth=0.8, zorder=4)
    ax.text(
        x, 1.12, title.replace(" (", "\n("), ha="center", va="bottom", fontsize=6.4, linespacing=1
    )
    for y, text in marks:
        ax.plot([x + side * 0.015, x], [y, y], color="#404040", linewidth=0.8, zorder=4)
        ax.text(
            x + side * 0.025,
            y,
            text,
            ha="left" if right else "right",
            va="center",
            fontsize=5.8,
            zorder=7,
            bbox={"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.4},
        )


def _line(ax: Axes, trial: Any, line: list[float], lower: bool, width: float) -> None:
    """One trial: to the objective's axis if it has a value."""
    x = range(len(line))
    if trial.value != trial.value:
        ax.plot(x, line, color="#9a9a9a", linewidth=0.6, linestyle=":", zorder=1)
        return
    if trial.winner:
        ax.plot(x, line, color="white", linewidth=3.2, zorder=5)
        ax.plot(x, line, color=WINNER, linewidth=1.9, marker="o", markersize=3, zorder=6)
    else:
        ax.plot(x, line, color=_shade(line[-1], lower), linewidth=width, alpha=0.85, zorder=2)
    if trial.default:
        ax.plot(x, line, color="black", linewidth=1.0, linestyle=(0, (4, 2)), zorder=6.5)


def _shade(goodness: float, lower: bool) -> Any:
    """Colour of a value by its height on the objective's axis; not the map's palest end, which
    white paper swallows.
    """
    share = float(Normalize(0, 1, clip=True)(goodness))
    return matplotlib.colormaps[colormap(lower)](
        0.85 * (1 - share) if lower else 0.15 + 0.85 * share
    )
