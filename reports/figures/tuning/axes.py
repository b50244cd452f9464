"""What the figures of tuning share in drawing: places on a parameter's axis, ends of a value's axis,
labels that do not overlap, panels by loss.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from reports.collect import SHORT
from reports.figures.style import PAGE
from reports.metrics import VALIDATION, metric
from reports.summary import loss_title, unit

BELOW = -0.08  # place of a value that a log axis does not have, such as a weight decay of 0
WINNER = "#D55E00"  # where no loss and no search has this colour


def unit_of(name: str) -> float:
    """What a metric's raw value is multiplied by to be shown: 100 for a share."""
    return 100.0 if metric(name).percent else 1.0


def place(values: ArrayLike, low: float, high: float, log: bool) -> NDArray[np.float64]:
    """Where values stand between two bounds: 0 at the lower, 1 at the upper, evenly in log units on
    a log axis. What a log axis does not have stands at `BELOW`.

    >>> place([1.0, 10.0, 100.0], 1.0, 100.0, log=True).tolist()
    [0.0, 0.5, 1.0]
    """
    found = np.asarray(values, dtype=float)
    if not high > low:
        return np.where(np.isfinite(found), 0.5, np.nan)
    if not log:
        return (found - low) / (high - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.log(found / low) / np.log(high / low)
    return np.where(found <= 0, BELOW, share)


def ticks(low: float, high: float, log: bool, most: int = 4) -> list[float]:
    """Round values between two bounds, both ends allowed."""
    if not high > low:
        return [low]
    found: NDArray[np.float64] = np.array([])
    if log and high / low >= 10:
        for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
            found = np.asarray(LogLocator(subs=subs, numticks=99).tick_values(low, high))
            if ((found >= low * 0.999) & (found <= high * 1.001)).sum() >= 3:
                break
    else:
        found = np.asarray(MaxNLocator(most).tick_values(low, high))
    slack = 1e-9 * (high - low)
    return [float(v) for v in found if low - slack <= v <= high + slack]


def number(value: float) -> str:
    """A tick as text: 1e-05 -> "1e-5"."""
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e")


def setting(loss: str, name: str) -> str:
    """A tuned parameter's name with symbol and unit: ``"margin m (radian)"``."""
    symbol = f" {SHORT[name]}" if name in SHORT else ""
    own = unit(loss, name)
    said = own in name.split("_")  # "temperature (temperature)"
    return f"{name.replace('_', ' ')}{symbol}{f' ({own})' if own and not said else ''}"


def ends(values: ArrayLike, lower: bool, keep: ArrayLike = ()) -> tuple[float, float]:
    """Ends of an axis on which the good values can be told apart.

    They span all of `keep` and, of `values`, everything not further from the best than three times
    the median is; a few trials that learnt nothing would squeeze the rest. (0, 1) without values.
    """
    sign = 1.0 if lower else -1.0
    cost, kept = (sign * _known(each) for each in (values, keep))
    if len(cost) == 0:
        return 0.0, 1.0
    best = min(cost.min(), *kept, np.inf)
    worst = min(cost.max(), best + 3 * (float(np.median(cost)) - best))
    worst = max(worst, *kept, best)
    pad = 0.06 * (worst - best) or 0.01 * abs(best) or 0.01
    low, high = sorted((sign * (best - pad), sign * (worst + pad)))
    return float(low), float(high)


def spread(wanted: Sequence[float], gap: float) -> NDArray[np.float64]:
    """Places in [0, 1] for labels, in the order of `wanted`, as near to it as `gap` allows; if they
    do not fit, evenly over the whole.
    """
    order = np.argsort(wanted, kind="stable")
    found = np.clip(np.asarray(wanted, dtype=float)[order], 0, 1)
    gap = min(gap, 1 / max(len(found) - 1, 1))
    for i in range(1, len(found)):
        found[i] = max(found[i], found[i - 1] + gap)
    if len(found) and found[-1] > 1:
        found[-1] = 1.0
        for i in range(len(found) - 2, -1, -1):
            found[i] = min(found[i], found[i + 1] - gap)
    places = np.empty(len(found))
    places[order] = found
    return places


def panels(count: int, columns: int, height: float, extra: float) -> tuple[Figure, list[Axes]]:
    """A figure of small multiples, page-wide unless there is only one; `height` of a row and
    `extra` for the legend in inches.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    width = PAGE if count > 1 else PAGE * 0.62
    figure = Figure(figsize=(width, rows * height + extra), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.axis("off")
    return figure, axes[:count]


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """One legend above all panels, where no label of an axis stands."""
    most = 8 if figure.get_figwidth() == PAGE else 4
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), most),
        columnspacing=1.2,
    )


def ink(rgba: Sequence[float]) -> str:
    """Black or white, whichever reads better on a colour."""
    return "black" if 0.299 * rgba[0] + 0.587 * rgba[1] + 0.114 * rgba[2] > 0.5 else "white"


def listed(losses: Sequence[str]) -> str:
    """Losses as text, in the order given."""
    return ", ".join(loss_title(str(loss)) for loss in losses)


def phrase(name: str) -> str:
    """A metric in a sentence: ``"open-set EER on validation images"``."""
    title = metric(name.removeprefix(VALIDATION)).title
    title = title[0].lower() + title[1:] if " " in title else title
    return f"{title} on validation images" if name.startswith(VALIDATION) else title


def shown(value: float) -> str:
    """Three digits of a value: 4.6 -> "4.60", 100.0 -> "100"."""
    return f"{value:#.3g}".rstrip(".")


def axis_label(figure: Figure, text: str, better: str) -> None:
    """The label of all upright axes, in two lines where the figure is too low for one."""
    height = figure.get_figheight()
    if height < 3.2:
        text, better = wrapped(text, height - 0.3), f"\n{better.lstrip(', ')}"
    figure.supylabel(text + better, fontsize=7.5)


def wrapped(text: str, inches: float) -> str:
    """An axis label in as many lines as its axis is short."""
    # The unit stays with the last word.
    return textwrap.fill(text.replace(" (%)", "\u00a0(%)"), max(12, int(16 * inches)))


def lower_text(lower: bool) -> str:
    """Which way is better, for an axis."""
    return "lower is better" if lower else "higher is better"


def colormap(lower: bool) -> str:
    """Colour map of a value, darker is better."""
    return "cividis" if lower else "cividis_r"


def _known(values: ArrayLike) -> NDArray[np.float64]:
    found: Any = np.asarray(values, dtype=float).ravel()
    known: NDArray[np.float64] = found[np.isfinite(found)]
    return known
