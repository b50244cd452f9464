"""Decision regions of two classes: where the margin holds for one, for the other, and for neither."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from reports.collect import Study
from reports.figures.losses.targets import margin_curves
from reports.figures.small_multiples import TALLEST, capped, first_of_each
from reports.figures.style import PAGE, PALETTE, Drawing
from reports.selection import Selection

MOST = 24  # curves: a panel in each of two views
ACROSS = 6
GAP, TITLE = 0.14, 0.3  # inches: right of a tile, above it
TITLE_STYLE: Any = {"fontsize": 6, "ha": "center", "va": "bottom", "linespacing": 1.0}
FIRST, SECOND = PALETTE[0], PALETTE[1]


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per margin curve and angle: see `reports.figures.losses.targets.margin_curves`."""
    frame = margin_curves(study, selection)
    if len(frame) == 0:
        return
    labels = frame.drop_duplicates("label")
    kept = labels["label"].iloc[first_of_each(list(labels["loss"]), MOST)]
    yield "regions", frame[frame["label"].isin(kept)].drop(columns="gradient")


def boundary(target: ArrayLike) -> np.ndarray:
    """The least angle to the other class, in degrees, with which the margin of the own class holds.

    target(θ1) >= cos θ2 is θ2 >= arccos target(θ1), whatever the shape of the target logit.

    Parameters
    ----------
    target : (A,) target logit over scale; the other class's logit is cos θ2 on the same scale.

    Returns
    -------
    (A,) in [0, 180]; NaN where no angle satisfies it (a target below −1).
    """
    values = np.asarray(target, dtype=float)
    return np.degrees(np.arccos(np.where(values >= -1, np.minimum(values, 1), np.nan)))


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    lines = {str(label): line for label, line in frame.groupby("label", sort=False)}
    across = min(len(lines), ACROSS if len(lines) > 4 else 4)
    down = -(-len(lines) // across)
    width = PAGE if across > 2 else PAGE / 2
    # A tile and what stands beside it, in inches.
    tile = min(1.75, (width - 0.55) / across - GAP, (TALLEST / 2 - 0.35) / down - TITLE)
    height = 2 * (down * (tile + TITLE) + 0.35)
    figure = Figure(figsize=(width, height))
    for view, angles in enumerate((True, False)):
        # One Axes for all tiles of a view: dozens of them would take seconds to draw.
        ax = figure.add_axes((0, (1 - view) / 2, 1, 0.5))
        ax.set(xlim=(0, width), ylim=(0, height / 2))
        ax.axis("off")
        left = (width - across * (tile + GAP) + GAP + 0.35) / 2
        for place, (label, line) in enumerate(lines.items()):
            row, column = divmod(place, across)
            corner = (left + column * (tile + GAP), height / 2 - (row + 1) * (tile + TITLE))
            title = textwrap.fill(label, max(8, int(17 * tile)))
            ax.text(corner[0] + tile / 2, corner[1] + tile + 0.04, title, **TITLE_STYLE)
            _tile(ax, line, corner, tile, angles)
            _ticks(ax, corner, tile, angles, left=column == 0, below=place + across >= len(lines))
        names = ("θ1 (°)", "θ2 (°)") if angles else ("cos θ1", "cos θ2")
        ax.text(width / 2, 0.05, f"{names[0]}: class 1", ha="center", va="bottom")
        middle = (height / 2 + 0.35) / 2
        ax.text(left - 0.42, middle, f"{names[1]}: class 2", rotation=90, ha="center", va="center")
    overlap = any(_both(line) for line in lines.values())
    return Drawing(figure, "Decision regions", _caption(frame, overlap), _alt(frame))


def _tile(
    ax: Axes, line: pd.DataFrame, corner: tuple[float, float], tile: float, angles: bool
) -> None:
    """The two regions; the second is the first one mirrored at the diagonal."""
    degrees = np.linspace(0, 180, 241)
    least = boundary(np.interp(degrees, line["degrees"], line["target"]))
    if angles:
        own, other, end = degrees / 180, least / 180, 1.0
    else:
        own, other = ((1 + np.cos(np.radians(each))) / 2 for each in (degrees, least))
        end = 0.0
    x, y = (np.array([corner]).T + tile * np.array([own, other])).round(4)
    across, up = (np.array([corner]).T + tile * np.array([other, own])).round(4)
    holds = ~np.isnan(other)
    fill: Any = {"alpha": 0.3, "linewidth": 0, "where": holds}
    ax.fill_between(x, y, corner[1] + tile * end, facecolor=FIRST, **fill)
    ax.fill_betweenx(up, across, corner[0] + tile * end, facecolor=SECOND, **fill)
    ax.plot(x, y, color=FIRST, linewidth=1)
    ax.plot(across, up, color=SECOND, linewidth=1)
    ends = np.array([corner]).T + np.array([0, tile])
    ax.plot(*ends, color="#7a7a7a", linewidth=0.7, linestyle=(0, (3, 2)))
    ax.add_patch(Rectangle(corner, tile, tile, fill=False, linewidth=0.6))
    near, far = 0.06 * tile, 0.94 * tile
    spots = ((near, far), (far, near)) if angles else ((far, near), (near, far))
    for text, (right, above) in zip("12", spots, strict=True):
        ax.text(
            corner[0] + right,
            corner[1] + above,
            text,
            fontsize=7,
            weight="bold",
            ha="left" if right == near else "right",
            va="bottom" if above == near else "top",
        )


def _ticks(
    ax: Axes, corner: tuple[float, float], tile: float, angles: bool, *, left: bool, below: bool
) -> None:
    for place, text in enumerate(("0", "90", "180") if angles else ("−1", "0", "1")):
        along = (0.02 + 0.48 * place) * tile  # a little inside, so that neighbours do not touch
        if below:
            ax.text(corner[0] + along, corner[1] - 0.03, text, fontsize=6, ha="center", va="top")
        if left:
            ax.text(corner[0] - 0.03, corner[1] + along, text, fontsize=6, ha="right", va="center")


def _both(line: pd.DataFrame) -> bool:
    """Whether there are angles at which both margins hold, other than on the boundary."""
    target, cosine = line["target"].to_numpy(), np.cos(np.radians(line["degrees"].to_numpy()))
    first = target[:, None] > cosine[None, :] + 1e-3
    return bool((first & first.T).any())


def _caption(frame: pd.DataFrame, overlap: bool) -> str:
    shown, total = frame["label"].nunique(), int(frame["total"].iloc[0])
    return (
        "Two classes, one embedding with the angles θ1 and θ2 to them. 1: the margin of class 1 "
        "holds, its target logit at θ1 is at least cos θ2 on the same scale; 2: that of class 2. "
        "White: the margin between them, neither holds. Dashed: the boundary without margin. Above: "
        "by angle; below: by cosine. From the losses' own target logits, of an average sample, at "
        "the end of what a loss anneals; the logit of the other class is taken without any change. "
        f"No data enters this figure.{' Darker: both hold.' if overlap else ''}"
        f"{capped(shown, total, 'curves')}"
    )


def _alt(frame: pd.DataFrame) -> str:
    """How far the boundary of class 1 stands from the diagonal at 60°."""
    at = frame[frame["degrees"] == 60].head(8)
    gaps = boundary(at["target"]) - 60
    texts = [
        f"{label} {'never' if np.isnan(gap) else f'{gap:.0f}°'}"
        for label, gap in zip(at["label"], gaps, strict=True)
    ]
    return (
        "Decision regions of two classes. At 60° to its class an embedding has to be further from "
        f"the other by: {', '.join(texts)}."
    )
