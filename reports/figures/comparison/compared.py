"""What the figures of the comparison share: their metrics, names of settings, direct labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from numpy.typing import ArrayLike, NDArray

from reports.collect import Study
from reports.figures.style import GREY, color, marker
from reports.metrics import main_scores, metric
from reports.summary import loss_title

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]  # left, bottom, right, top

_OPEN = ("verification", "identification", "open_set_recognition", "retrieval")
_RADII = (5.0, 8.0, 12.0, 17.0, 23.0, 30.0, 40.0, 52.0)  # points
_TURNS = np.radians([20, 160, -20, -160, 90, -90, 55, -55, 125, -125])


def open_metrics(study: Study, cells: Sequence[str]) -> list[str]:
    """One open-set metric of each kind that is measured: EER, TAR at the smallest FAR that the
    comparison carries, TPIR, OSCR or AUROC, MAP@R (recall@1 where there is none).
    """
    mine = study.frame[study.frame["cell"].isin(cells)]
    measured = {name for name in study.metrics if mine[name].notna().any()}
    shown = [name for name in main_scores(study.metrics, measured) if name in measured]
    shown = [name for name in shown if metric(name).protocol in _OPEN]
    tars = [name for name in shown if metric(name).few_accepts]
    # A rate that some of the judged runs refused would compare the others only.
    judged = mine[mine[list(shown)].notna().any(axis=1)] if shown else mine
    whole = [name for name in tars if judged[name].notna().all()]
    recall = "retrieval/recall_at_1" if "retrieval/map_at_r" in shown else ""
    left_out = {*tars, recall} - {*(whole or tars)[-1:]}
    return [name for name in shown if name not in left_out]


def names_of(frame: pd.DataFrame, *, short: bool = False) -> dict[str, str]:
    """Cell to its name: loss and setting, or if `short` the loss alone where it has one cell."""
    first = frame.drop_duplicates("cell")
    shared = first["loss"].value_counts()
    return {
        str(row.cell): loss_title(str(row.loss))
        if short and shared[row.loss] == 1
        else f"{loss_title(str(row.loss))} {row.label}".strip()
        for row in first.itertuples()
    }


def shortlist(cells: Sequence[str], scores: Sequence[float], most: int, higher: bool) -> list[str]:
    """The `most` cells of the best scores, in their own order; NaN is worst."""
    values = np.asarray(scores, dtype=float) * (-1 if higher else 1)
    kept = set(np.argsort(values, kind="stable")[:most].tolist())  # NaN sorts last
    return [cell for place, cell in enumerate(cells) if place in kept]


def faint(slot: int) -> str:
    """The colour of a slot, half grey: for what stands in the background and is still named."""
    red, green, blue = (
        (own + grey) / 2 for own, grey in zip(to_rgb(color(slot)), to_rgb("#a8a8a8"), strict=True)
    )
    return to_hex((red, green, blue))


def rows_of(count: int) -> tuple[float, float]:
    """Height of so many named rows, in inches, and the size of their text, in points."""
    row = min(0.21, 7.4 / count)
    return row * max(count, 3), 7.0 if row > 0.16 else 5.8


def handle(slot: int, label: str, *, faded: bool = False) -> Line2D:
    """A legend's entry: the marker of a loss."""
    ink = faint(slot) if faded else color(slot)
    return Line2D(
        [], [], linestyle="none", marker=marker(slot), color=ink, markersize=4.5, label=label
    )


def dots(
    ax: Axes,
    points: Floats,
    slots: Sequence[int],
    sizes: ArrayLike,
    alphas: ArrayLike = 1.0,
    **given: Any,
) -> None:
    """Points (N, 2) with the colours and markers of their slots, as few artists: drawing time counts
    artists, not points. `sizes` and `alphas`: one for each or for all; `given`: as of `scatter`.
    """
    sizes, alphas = np.broadcast_to(sizes, len(points)), np.broadcast_to(alphas, len(points))
    shapes = np.array([marker(slot) for slot in slots])
    for shape in dict.fromkeys(shapes.tolist()):
        own = np.flatnonzero(shapes == shape)
        inks = [to_rgba(color(slots[i]), float(alphas[i])) for i in own.tolist()]
        x, y = points[own].T
        ax.scatter(x, y, s=sizes[own], color=inks, marker=shape, **given)


def better(name: str, *, brief: bool = False) -> str:
    """Axis label with the way to go: ``"EER (%), reversed → better"``; in two lines if not `brief`."""
    row = metric(name)
    unit = f"({row.unit})" if row.unit else ""
    way = f"{unit}{'' if row.higher_is_better else ', reversed'} → better"
    return f"{row.short} {way}" if brief else f"{row.title}\n{way}"


def label_points(
    figure: Figure,
    ax: Axes,
    points: Floats,
    texts: Sequence[str],
    *,
    avoid: Floats | None = None,
    lines: Sequence[Box] = (),
    inks: Sequence[str] = (),
    size: float = 6.5,
) -> None:
    """Write texts beside points so that none covers another, a point or the edge of the axes.

    Each in turn takes the free place nearest to its point; from afar a thin line leads to it.
    Call it last: places depend on the axes' limits.

    Parameters
    ----------
    points : (N, 2) in data coordinates, as many as texts.
    avoid : (M, 2) further points to keep clear of.
    lines : upright or level lines (x0, y0, x1, y1) that are crossed only where nothing else is free.
    inks : a colour for each text; black without.
    size : of the text, points.
    """
    figure.draw_without_rendering()  # the layout decides where data lie
    unit = figure.dpi / 72
    every = points if avoid is None or len(avoid) == 0 else np.vstack([points, avoid])
    dots = ax.transData.transform(every) / unit  # in points of print
    edge = ax.get_window_extent()
    frame = (edge.x0 / unit, edge.y0 / unit, edge.x1 / unit, edge.y1 / unit)
    weights = np.full(len(dots), 3.0)  # of what a text must not cover
    taken = np.hstack([dots - 3, dots + 3])  # (boxes, 4)
    for x0, y0, x1, y1 in lines:
        corners = ax.transData.transform([(x0, y0), (x1, y1)]) / unit
        bar = [*(corners.min(axis=0) - 0.4), *(corners.max(axis=0) + 0.4)]
        taken, weights = np.vstack([taken, bar]), np.append(weights, 0.5)
    for place, (dot, text) in enumerate(zip(dots, texts, strict=False)):
        width = float(TextPath((0, 0), text or " ", size=size).get_extents().width) + 2
        box = _free(dot, width, size * 1.15, taken, weights, frame)
        nearest = np.clip(dot, box[:2], box[2:])
        away = float(np.hypot(*(nearest - dot))) > _RADII[1]
        taken, weights = np.vstack([taken, box]), np.append(weights, 3.0)
        if away:  # the next ones keep clear of the thin line as well
            steps = dot + np.linspace(0.2, 0.8, 5)[:, None] * (nearest - dot)
            taken = np.vstack([taken, np.hstack([steps - 1, steps + 1])])
            weights = np.append(weights, np.full(len(steps), 3.0))
        note = ax.annotate(
            text,
            points[place],
            xytext=(float(box[0] - dot[0]) + 1, float(box[1] - dot[1]) + 1.5),
            textcoords="offset points",
            fontsize=size,
            color=inks[place] if inks else "black",
            path_effects=[withStroke(linewidth=1.6, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4, "shrinkB": 2}
            if away
            else None,
            zorder=6,
        )
        note.set_in_layout(False)


def _free(
    dot: Floats, width: float, height: float, taken: Floats, weights: Floats, frame: Box
) -> Floats:
    """Of the places around a point the nearest free one, else the one that costs least: (4,) box."""
    radii, turns = (each.ravel() for each in np.meshgrid(_RADII, _TURNS, indexing="ij"))
    x, y = dot[0] + radii * np.cos(turns), dot[1] + radii * np.sin(turns)
    # Beside the point the text begins or ends there, above and below its middle stands there.
    left = x - width * (0.5 - 0.5 * np.sign(np.cos(turns)) * (np.abs(np.cos(turns)) > 0.5))
    boxes = np.stack([left, y - height / 2, left + width, y + height / 2], axis=1)  # (places, 4)
    cost = _shared(boxes, taken) @ weights + 0.4 * radii
    nearest = np.clip(dot, boxes[:, :2], boxes[:, 2:])
    for share in (0.2, 0.35, 0.5, 0.65, 0.8, 0.95):  # a line to the point that crosses something
        at = dot + share * (nearest - dot)
        cost += 15 * _shared(np.hstack([at - 0.5, at + 0.5]), taken) @ (weights > 1)
    outside = np.maximum(frame[0] - boxes[:, 0], boxes[:, 2] - frame[2]).clip(0)
    outside += np.maximum(frame[1] - boxes[:, 1], boxes[:, 3] - frame[3]).clip(0)
    best: Floats = boxes[np.argmin(cost + 50 * outside)]
    return best


def _shared(some: Floats, others: Floats) -> Floats:
    """Areas that boxes (N, 4) and boxes (M, 4) share: (N, M)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    area: Floats = (high - low).clip(0).prod(axis=2)
    return area
