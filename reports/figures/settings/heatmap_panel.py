"""One panel of a heatmap: shaded cells with their numbers, the best framed, the lost hatched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from reports.metrics import metric

DIFFERENCE = "difference"  # in place of a metric: see `reports.figures.settings.heatmap.difference`
NARROWEST, LOWEST = 0.36, 0.24  # inches of a cell that numbers fit into


def fits(cell: tuple[float, float]) -> bool:
    """Whether numbers fit into a cell of this width and height in inches."""
    return cell[0] >= NARROWEST * 0.95 and cell[1] >= LOWEST


def scale_of(frame: pd.DataFrame) -> Normalize:
    """One scale for all panels of a metric; of the difference 0 in the middle."""
    values = frame["mean"].dropna() * 100
    if len(values) == 0:
        return Normalize(0, 1)
    if frame["metric"].iloc[0] == DIFFERENCE:
        most = max(values.abs().max(), 1e-9)
        return Normalize(-most, most)
    return Normalize(values.min(), values.max())


def panel(
    ax: Axes,
    frame: pd.DataFrame,
    scale: Normalize,
    xs: list[float],
    ys: list[float],
    cell: tuple[float, float],
) -> Any:
    """Draw one metric into an Axes; the image, for a colour bar."""
    name = str(frame["metric"].iloc[0])
    table = frame.pivot(index="y", columns="x", values="mean").reindex(index=ys, columns=xs)
    higher = name == DIFFERENCE or metric(name).higher_is_better
    colours = "PuOr_r" if name == DIFFERENCE else "cividis_r" if higher else "cividis"
    values: NDArray[np.float64] = table.to_numpy() * 100
    shade = np.ma.masked_invalid(values)
    image = ax.imshow(shade, origin="lower", aspect="auto", cmap=colours, norm=scale)
    ax.grid(False)
    for side, own, most in ((ax.set_xticks, xs, 12), (ax.set_yticks, ys, 24)):
        step = -(-len(own) // most)
        side(range(0, len(own), step), [f"{value:.4g}" for value in own[::step]])
    ax.tick_params(length=0)
    for row in frame.itertuples():
        place = (xs.index(row.x), ys.index(row.y))
        if row.n == 0 or row.mean != row.mean:
            _hatched(ax, place, str(row.lost), fits(cell))
        elif fits(cell):
            _number(ax, row, place, _ink(image, float(row.mean) * 100))
    if name != DIFFERENCE and np.isfinite(values).any():
        y, x = divmod(int(np.nanargmax(values if higher else -values)), len(xs))
        for edge, width in (("white", 2.6), ("black", 1.1)):
            style: Any = {"fill": False, "edgecolor": edge, "linewidth": width}
            ax.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, **style))
    return image


def _hatched(ax: Axes, place: tuple[int, int], lost: str, named: bool) -> None:
    corner = (place[0] - 0.5, place[1] - 0.5)
    style: Any = {"facecolor": "#f2f2f2", "edgecolor": "#8a8a8a", "hatch": "////", "linewidth": 0}
    ax.add_patch(Rectangle(corner, 1, 1, **style))
    if named:
        word = lost.split("; ")[0].split(" ", 1)[-1].replace("out_of_memory", "no memory")
        box: Any = {"fc": "white", "ec": "none", "pad": 0.8}
        ax.text(*place, word or "none", ha="center", va="center", fontsize=5.4, bbox=box)


def _number(ax: Axes, row: Any, place: tuple[int, int], ink: str) -> None:
    half = (row.high - row.low) / 2
    shown = round(row.mean * 100, 1) + 0.0  # no "−0.0"
    signed = "+.1f" if row.metric == DIFFERENCE and shown else ".1f"
    below = [f"±{half * 100:.1f}"] if half == half else []
    if row.n < row.planned:
        below.append(f"{row.n:.0f}/{row.planned:.0f}")
    text = f"{shown:{signed}}".replace("-", "−")
    lines = "\n".join([text, *([" ".join(below)] if below else [])])
    style: Any = {"ha": "center", "va": "center", "color": ink, "linespacing": 1.05}
    ax.text(*place, lines, fontsize=6 if len(below) < 2 else 5.2, **style)


def _ink(image: Any, value: float) -> str:
    red, green, blue, _ = image.to_rgba(value)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
