"""Margin × scale: closed set, open set and which of the two a setting suits, for each loss that
varies both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.settings.axes import (
    axis_label,
    covers_text,
    factor,
    intervals,
    measures,
    panels_of,
    setting_label,
)
from reports.figures.settings.heatmap_panel import DIFFERENCE, NARROWEST, fits, panel, scale_of
from reports.figures.style import PAGE, Drawing
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import loss_title

SLICES = 3  # settings of further axes: a row of panels each
LEFT, RIGHT = 0.75, 0.1  # inches: what stands beside a panel
COLUMNS = ["fixed", "metric", "x_name", "y_name", "x", "y", "mean", "low", "high", "n", "covers"]


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """A frame for each loss with two numeric axes: one row per pair of values and metric, for each
    setting of its other axes (`fixed`); of these the compared one and the first others.
    """
    for loss in study.losses:
        numeric = [axis for axis in study.axes[loss] if study.frame[axis].dtype == float]
        if len(numeric) < 2:
            continue
        named = [axis for axis in ("margin", "scale") if axis in numeric]
        first, second = named if len(named) == 2 else numeric[:2]
        rest = [axis for axis in study.axes[loss] if axis not in (first, second)]
        slices = _slices(study, selection, loss, rest)
        frames = [_frame(study, runs, first, second, text) for text, runs in slices[:SLICES]]
        frame = pd.concat(frames, ignore_index=True)
        if frame["mean"].notna().any():
            yield f"heatmap-{loss}", frame.assign(loss=loss, slices=len(slices))


def _slices(
    study: Study, selection: Selection, loss: str, rest: list[str]
) -> list[tuple[str, pd.DataFrame]]:
    """The runs of a loss by its other settings, those of a compared cell first."""
    swept = study.swept(loss)
    if not rest:
        return [("", swept)]
    groups = swept.groupby(rest, dropna=False, sort=False)
    found = [(setting_label(rest, values), runs) for values, runs in groups]
    return sorted(found, key=lambda each: not each[1]["cell"].isin(selection.cells).any())


def _frame(study: Study, runs: pd.DataFrame, first: str, second: str, fixed: str) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    cells = runs.drop_duplicates("cell")
    for name in panels_of(study, recall=False):
        found = intervals(study, name, list(cells["cell"]))
        for cell, each in zip(cells.to_dict("records"), found, strict=True):
            own = runs.loc[runs["cell"] == cell["cell"], "status"]
            lost = own[own != "finished"].value_counts()
            place = {"x_name": second, "y_name": first, "x": cell[second], "y": cell[first]}
            rows.append({"fixed": fixed, "metric": name, **place, **measures(each)})
            rows[-1]["planned"] = len(own)
            rows[-1]["lost"] = "; ".join(f"{count} {status}" for status, count in lost.items())
    return pd.DataFrame(rows, columns=[*COLUMNS, "planned", "lost"])


def difference(frame: pd.DataFrame) -> pd.DataFrame:
    """How much more a setting costs the open set than the closed set.

    Each metric's gap to its own best mean in the frame, in points of a hundred; the gap of the open
    set less that of the closed set. Above 0 the setting suits the closed set, below 0 the open set.

    Parameters
    ----------
    frame : of two metrics, the closed-set one first; see `gather`.

    Returns
    -------
    The rows of the first metric with mean, low and high of the difference (fractions). The interval
    takes the errors of the two as independent (their identities are) and the best means as given.
    """
    closed, opened = dict.fromkeys(frame["metric"])
    keys = ["fixed", "x", "y"]
    gaps = []
    for name in (closed, opened):
        own = frame[frame["metric"] == name].set_index(keys)
        sign = 1 if metric(name).higher_is_better else -1
        best = sign * (sign * own["mean"]).max()
        gaps.append((sign * (best - own["mean"]), (own["high"] - own["low"]) / 2, own))
    (of_closed, half_closed, rows), (of_open, half_open, _) = gaps
    mean, half = of_open - of_closed, np.hypot(half_closed, half_open)
    both = {"mean": mean, "low": mean - half, "high": mean + half}
    return rows.assign(metric=DIFFERENCE, **both).reset_index()


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    loss, names = str(frame["loss"].iloc[0]), list(dict.fromkeys(frame["metric"]))
    shown = frame
    if len(names) == 2:
        shown = pd.concat([frame, difference(frame)], ignore_index=True)
        names.append(DIFFERENCE)
    xs, ys = sorted(frame["x"].unique()), sorted(frame["y"].unique())
    fixed = list(dict.fromkeys(frame["fixed"]))
    # Panels side by side while numbers fit into their cells, else below each other.
    wide = (PAGE - LEFT) / len(names) - RIGHT < NARROWEST * len(xs) and len(fixed) == 1
    across, down = (1, len(names)) if wide else (len(names), len(fixed))
    cell = (
        min(0.8, ((PAGE - LEFT) / across - RIGHT) / len(xs)),
        min(0.36, (7.2 / down - 0.28) / len(ys)),
    )
    width = min(PAGE, max(LEFT + across * (cell[0] * len(xs) + RIGHT), PAGE / 2))
    height = down * (cell[1] * len(ys) + 0.28) + 0.95
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    images = {}
    for place, (row, name) in enumerate((row, name) for row in fixed for name in names):
        ax = panels.ravel()[place]
        mine = shown[(shown["metric"] == name) & (shown["fixed"] == row)]
        images[name] = panel(ax, mine, scale_of(shown[shown["metric"] == name]), xs, ys, cell)
        if place < len(names):
            ax.set_title(_title(name), fontsize=7.5)
        if place // across == down - 1:
            ax.set_xlabel(axis_label(loss, str(frame["x_name"].iloc[0])))
        if place % across == 0:
            label = axis_label(loss, str(frame["y_name"].iloc[0]))
            ax.set_ylabel(f"{row}\n{label}" if row else label)
        else:
            ax.tick_params(labelleft=False)
    if DIFFERENCE in images:
        bar = figure.colorbar(
            images[DIFFERENCE], ax=panels, location="bottom", aspect=60, fraction=0.05, pad=0.02
        )
        bar.ax.grid(False)
        bar.set_label("← suits the open set · difference (points) · suits the closed set →")
    axes = f"{frame['y_name'].iloc[0]} × {frame['x_name'].iloc[0]}"
    return Drawing(
        figure,
        f"{loss_title(loss)}: {axes}",
        _caption(frame, names, numbers=fits(cell)),
        _alt(shown, names, axes),
    )


def _title(name: str) -> str:
    return "Gap: open set less closed set" if name == DIFFERENCE else f"{metric(name).title} (%)"


def _phrase(name: str) -> str:
    title = metric(name).title
    return title[0].lower() + title[1:]


def _caption(frame: pd.DataFrame, names: list[str], *, numbers: bool) -> str:
    loss, seeds = str(frame["loss"].iloc[0]), int(frame["planned"].max())
    measured = [name for name in names if name != DIFFERENCE]
    fixed = [text for text in dict.fromkeys(frame["fixed"]) if text]
    left = int(frame["slices"].iloc[0]) - len(fixed)
    lost = frame[(frame["metric"] == measured[0])]
    parts = [
        f"{loss_title(loss)}: mean over {seeds} seed{'s' if seeds > 1 else ''} of "
        f"{' and '.join(_phrase(name) for name in measured)}, in per cent; darker is better, the "
        "best mean is framed.",
        covers_text(set(frame["covers"]), "Beneath: half the width of the") if numbers else "",
    ]
    if DIFFERENCE in names:
        parts.append(
            " Difference: points that a setting loses against the best mean of the open set, less "
            "those that it loses against the best of the closed set; its interval takes the two "
            "errors as independent and the best means as given."
        )
    if fixed:
        more = f", {left} more settings are not shown" if left > 0 else ""
        parts.append(f" Rows: {'; '.join(fixed)}{more}.")
    if (lost["n"] == 0).any():
        parts.append(" Hatched: no run finished.")
    if ((lost["n"] > 0) & (lost["n"] < lost["planned"])).any():
        parts.append(" k/n: only k of n seeds finished.")
    return "".join(parts).replace("of the: 95", "of the 95")


def _alt(frame: pd.DataFrame, names: list[str], axes: str) -> str:
    texts = []
    for name in names:
        mine = frame[(frame["metric"] == name) & frame["mean"].notna()]
        if len(mine) == 0:
            continue
        if name == DIFFERENCE:
            low, high = (
                round(100 * end, 1) + 0.0 for end in (mine["mean"].min(), mine["mean"].max())
            )
            texts.append(f"their difference runs from {low:.1f} to {high:.1f} points")
            continue
        best = mine["mean"].idxmax() if metric(name).higher_is_better else mine["mean"].idxmin()
        row = mine.loc[best]
        texts.append(
            f"best {_phrase(name)} {row['mean'] * factor(name):.1f} % at {row['y_name']} "
            f"{row['y']:g}, {row['x_name']} {row['x']:g}"
        )
    return f"Heatmaps of {axes}: {'; '.join(texts)}."
