"""The axis of a number that was swept: a log axis where the values span much, ticks that do not
touch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

LOG_SPAN = 8  # largest over smallest value, from which on the axis is logarithmic
SYMLOG_SPAN = 32  # the same where the smallest value is 0


def number_axis(ax: Axes, values: Sequence[float], most: int) -> bool:
    """Make the x axis of an Axes that of these values.

    Parameters
    ----------
    values : rising.
    most : ticks; of more values some stay without.

    Returns
    -------
    Whether values are shifted by a factor, not by a sum: the axis is logarithmic.
    """
    positive = [value for value in values if value > 0]
    span = positive[-1] / positive[0] if positive else 1.0
    log = len(positive) == len(values) and span >= LOG_SPAN
    places = np.array(values, dtype=float)
    if log:
        ax.set_xscale("log", base=2)
        places = np.log(places)
    elif values[0] == 0 and span >= SYMLOG_SPAN:
        ax.set_xscale("symlog", base=10, linthresh=positive[0])
        places = np.arange(len(values), dtype=float)
    ax.xaxis.set_major_locator(FixedLocator([values[place] for place in _apart(places, most)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    return log


def _apart(places: np.ndarray, most: int) -> list[int]:
    """Of rising places those that keep a distance; the first and the last always."""
    least = (places[-1] - places[0]) / max(most, 1) * 0.999
    kept = [0]
    for place in range(1, len(places)):
        if places[place] - places[kept[-1]] >= least:
            kept.append(place)
    last = len(places) - 1
    if kept[-1] != last:
        kept = [*kept[:-1], last] if len(kept) > 1 else [*kept, last]
    return [place for place, _ in itertools.groupby(kept)]
