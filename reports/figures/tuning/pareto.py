"""Two aims at once: the trials of each loss in their plane, and those that no other trial beats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reports.collect import Study
from reports.figures.style import PAGE, Drawing, color, dashes, marker
from reports.figures.tuning.axes import (
    axis_label,
    ends,
    legend,
    listed,
    panels,
    phrase,
    unit_of,
    wrapped,
)
from reports.figures.tuning.frames import files, non_dominated, objectives, searches, trials
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import loss_title

_MOST = 20  # panels in a file
_COLORED = 7  # losses in colour where all are overlaid
_CLOSED = ("validation/closed_set/top1", "validation/closed_set/ncm_top1")
_OPEN = "validation/verification/eer"


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per trial with a value of both aims: the first two objectives, or with a single one a
    closed-set and an open-set metric of the same validation. ``front``: no trial of the loss beats
    it in both; ``joint``: no trial of any loss.

    Two kinds of files: all losses in one plane, and a panel for each loss.
    """
    frame = _frame(study)
    if frame is None or len(frame) == 0:
        return
    lower = list(frame[["x_lower", "y_lower"]].iloc[0])
    points = frame[["x", "y"]].to_numpy(dtype=float)
    front = np.zeros(len(frame), dtype=bool)
    for loss in dict.fromkeys(frame["loss"]):
        mine = (frame["loss"] == loss).to_numpy()
        front[mine] = non_dominated(points[mine], lower)
    frame = frame.assign(front=front, joint=non_dominated(points, lower))
    losses = list(dict.fromkeys(frame["loss"]))
    if len(losses) > 1:
        yield "tuning_pareto", frame.assign(view="together")
    for name, part in files("tuning_pareto-losses", losses, _MOST):
        yield name, frame[frame["loss"].isin(part)].assign(view="apart")


def _frame(study: Study) -> pd.DataFrame | None:
    aims = objectives(study)[:2] if searches(study) else []
    if len(aims) == 2:
        (x_name, x_lower), (y_name, y_lower) = aims
        found = trials(study, 0)
        found = found.assign(x=found["value"], y=trials(study, 1)["value"])
        found = found.dropna(subset=["x", "y"]).drop(columns=["metric", "lower", "value"])
    else:
        measured = [
            {"loss": own["loss"], "search": own["study"], "number": trial["number"]}
            | trial["metrics"]
            for own in searches(study)
            for trial in own["trials"]
            if trial["status"] == "complete"
        ]
        table = pd.DataFrame(measured)
        # A loss without a classifier has no top-1 of it: the first that every trial has.
        whole = [name for name in _CLOSED if name in table and table[name].notna().all()]
        whole += [name for name in _CLOSED[::-1] if name in table]
        if not whole or _OPEN not in table:
            return None
        x_name, x_lower, y_name, y_lower = whole[0], False, _OPEN, True
        kept = table[["loss", "search", "number"]].assign(x=table[x_name], y=table[y_name])
        found = trials(study).merge(kept, on=["loss", "search", "number"]).dropna(subset=["x", "y"])
    keys = ["loss", "slot", "search", "number", "default", "winner", "x", "y"]
    return (
        found[keys]
        .reset_index(drop=True)
        .assign(
            x_metric=x_name,
            x_lower=x_lower,
            y_metric=y_name,
            y_lower=y_lower,
            objectives=len(objectives(study)),
            aim=objectives(study)[0][0],
        )
    )


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave; better is up and to the right."""
    return _together(frame) if frame["view"].iloc[0] == "together" else _apart(frame)


def _together(frame: pd.DataFrame) -> Drawing:
    losses = list(dict.fromkeys(frame["loss"]))
    rank = frame.groupby("loss", sort=False)["joint"].sum()
    bright = losses if len(losses) <= _COLORED else _nearest(frame[frame["front"]])[:_COLORED]
    figure = Figure(figsize=(PAGE * 0.72, 3.1), layout="constrained")
    ax = figure.subplots()
    lit = frame["loss"].isin(bright)
    _frame_axes(ax, frame.assign(front=lit)[frame["front"]], apart=False)
    for loss in [*(loss for loss in losses if loss not in bright), *bright]:
        own = frame[(frame["loss"] == loss) & frame["front"]]
        slot, shown = int(own["slot"].iloc[0]), loss in bright
        ink = color(slot) if shown else "#c4c4c4"
        if shown:
            ax.plot(*_steps(ax, own), color=ink, linewidth=1.2, linestyle=dashes(slot), zorder=2)
        _points(
            ax,
            own,
            color=ink,
            marker=marker(slot),
            s=18 if shown else 6,
            edgecolor="white",
            linewidth=0.4,
            zorder=3 if shown else 2,
        )
    joint = frame[frame["joint"]]
    _points(
        ax, joint, s=52, marker="o", facecolor="none", edgecolor="black", linewidth=0.8, zorder=4
    )
    handles = [
        Line2D(
            [],
            [],
            color=color(slot),
            marker=marker(slot),
            linestyle=dashes(slot),
            label=loss_title(str(loss)),
        )
        for loss in bright
        for slot in [int(frame.loc[frame["loss"] == loss, "slot"].iloc[0])]
    ]
    if len(bright) < len(losses):
        handles.append(
            Line2D(
                [],
                [],
                color="#c4c4c4",
                marker="o",
                markersize=2.5,
                linestyle="none",
                label=f"{len(losses) - len(bright)} other losses",
            )
        )
    handles.append(
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=6.5,
            markerfacecolor="none",
            markeredgecolor="black",
            label="front of all",
        )
    )
    figure.legend(handles=handles, loc="outside right upper")
    hidden = ""
    if len(bright) < len(losses):
        hidden = (
            f" In colour: the {len(bright)} losses nearest to the front of all; grey: the others' own "
            "fronts, without the line (named in the next figure). Points on the edge lie beyond it."
        )
    caption = (
        f"The fronts of all losses: trials than which no other of the loss is better {_aims(frame)}. "
        f"Ringed: nor is any trial of another loss.{hidden}{_source(frame)}"
    )
    alt = (
        f"Fronts of {len(losses)} losses by {phrase(str(frame['x_metric'].iloc[0]))} and "
        f"{phrase(str(frame['y_metric'].iloc[0]))}; on the front of all: "
        f"{listed(list(rank.index[rank > 0]))}."
    )
    return Drawing(figure, "Two aims at once, all losses", caption, alt)


def _nearest(front: pd.DataFrame) -> list[str]:
    """Losses by how near their trials come to the front of all: on it, on the front of what is left
    without it, and so on; of equals the one with most trials there.
    """
    lower = list(front[["x_lower", "y_lower"]].iloc[0])
    found: list[str] = []
    while len(front):
        layer = non_dominated(front[["x", "y"]].to_numpy(dtype=float), lower)
        count = front[layer].groupby("loss", sort=False).size()
        found += list(count.sort_values(ascending=False, kind="stable").index)
        front = front[~layer]
    return list(dict.fromkeys(found))


def _apart(frame: pd.DataFrame) -> Drawing:
    losses = list(dict.fromkeys(frame["loss"]))
    first = frame.iloc[0]
    figure, axes = panels(len(losses), 4, 1.55, 0.5)
    for ax, loss in zip(axes, losses, strict=True):
        own = frame[frame["loss"] == loss]
        slot = int(own["slot"].iloc[0])
        _frame_axes(ax, own, apart=True)
        ax.set_title(loss_title(str(loss)), fontsize=7.5)
        look: dict[str, Any] = {"color": color(slot), "marker": marker(slot), "linewidth": 0}
        _points(ax, own[~own["front"]], s=9, alpha=0.45, **look)
        x, y = _steps(ax, own[own["front"]])
        ax.plot(x, y, color=color(slot), linewidth=1.0)
        _points(ax, own[own["front"]], s=16, zorder=3, **look)
        for key, shape, size in (("default", "s", 40), ("winner", "o", 64)):
            _points(
                ax,
                own[own[key]],
                s=size,
                marker=shape,
                facecolor="none",
                edgecolor="black",
                linewidth=0.9,
                zorder=4,
            )
    figure.supxlabel("".join(_title(first, "x")), fontsize=7.5)
    axis_label(figure, *_title(first, "y"))
    ring: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none", "markersize": 6}
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=3, color="#a0a0a0", label="trial"),
        Line2D([], [], marker="o", markersize=4, color="#404040", label="front"),
        Line2D([], [], marker="s", color="black", label="default", **ring),
        Line2D([], [], marker="o", color="black", label="winner", **ring),
    ]
    legend(figure, handles)
    searched = frame["search"].nunique()
    caption = (
        f"Trials of each loss{f', of its {searched} searches together' if searched > 1 else ''}; "
        f"the line joins those than which no other of the loss is better {_aims(frame)}. Each panel has"
        f" its own axes; points on the edge lie beyond it.{_source(frame)}"
    )
    alt = f"Trials and fronts by two metrics for {listed(losses)}."
    return Drawing(figure, "Two aims at once, loss by loss", caption, alt)


def _aims(frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    names = [phrase(str(first[key])) for key in ("x_metric", "y_metric")]
    return f"in one of {names[0]} and {names[1]} without being worse in the other"


def _source(frame: pd.DataFrame) -> str:
    """What the reader must know of where the plane came from."""
    count, aim = int(frame["objectives"].iloc[0]), str(frame["aim"].iloc[0])
    if count == 1:
        return (
            f" The searches had one aim, {phrase(aim)}, which alone chose the winners; these "
            "fronts were found afterwards, from the metrics of the same validation images."
        )
    if count > 2:
        return f" The first two of {count} aims; a trial may stand out by another one."
    return ""


def _title(row: pd.Series, side: str) -> tuple[str, str]:
    """An axis's quantity, and which way it runs."""
    way = ", reversed  →  better" if row[f"{side}_lower"] else "  →  better"
    return metric(str(row[f"{side}_metric"])).axis, way


def _scaled(frame: pd.DataFrame, side: str) -> NDArray[np.float64]:
    values = frame[side].to_numpy(dtype=float)
    return np.asarray(unit_of(str(frame[f"{side}_metric"].iloc[0])) * values)


def _frame_axes(ax: Axes, frame: pd.DataFrame, apart: bool) -> None:
    """Ends of both axes, turned so that better is up and to the right."""
    keep = (frame["front"] | (frame["winner"] & apart)).to_numpy()
    for side, limit, axis in (("x", ax.set_xlim, ax.xaxis), ("y", ax.set_ylim, ax.yaxis)):
        lower = bool(frame[f"{side}_lower"].iloc[0])
        values = _scaled(frame, side)
        low, high = ends(values, lower, values[keep])
        limit((high, low) if lower else (low, high))
        axis.set_major_locator(MaxNLocator(3 if apart else 6))
    if not apart:
        ax.set_xlabel("".join(_title(frame.iloc[0], "x")))
        name, way = _title(frame.iloc[0], "y")
        ax.set_ylabel(f"{wrapped(name, 2.6)}\n{way.lstrip(', ')}")


def _points(ax: Axes, frame: pd.DataFrame, **look: Any) -> None:
    """Points; those beyond the axes stand on their edge."""
    if len(frame):
        low, high = sorted(ax.get_xlim())
        x = np.clip(_scaled(frame, "x"), low, high)
        low, high = sorted(ax.get_ylim())
        y = np.clip(_scaled(frame, "y"), low, high)
        ax.scatter(x, y, clip_on=False, **look)


def _steps(ax: Axes, front: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Corners of the line that bounds what a front reaches, out to the worse edges of the axes."""
    lower = bool(front["x_lower"].iloc[0])
    order = front.assign(x=_scaled(front, "x"), y=_scaled(front, "y"))
    order = order.sort_values("x", ascending=lower, kind="stable")
    x, y = [float(order["x"].iloc[0])], [float(ax.get_ylim()[0])]
    for row in order.itertuples():
        x += [float(row.x), float(row.x)]
        y += [y[-1], float(row.y)]
    return [*x, float(ax.get_xlim()[0])], [*y, y[-1]]
