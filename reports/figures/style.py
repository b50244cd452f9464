"""One look for every figure: column-width sizes, colours and markers that survive colour blindness
and grey print.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from losses.catalog import CATALOG
from reports.collect import Study
from reports.figures.font import families

COLUMN = 3.5  # inches: one column of a two-column paper
PAGE = 7.0  # inches: both columns

# Okabe and Ito (2008), without yellow (too light on white), ordered so that neighbours differ in
# lightness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.5, 1.2, 1.5)),
    (0, (8, 2, 1.2, 1.2, 1.2, 2)),
)
GREY = "#6b6b6b"

# The losses that most studies compare come first, so that these differ in colour.
_FIRST = ("arcface", "cosface", "softmax", "triplet", "sphereface", "center", "norm_softmax")
SLOTS = {loss: slot for slot, loss in enumerate(dict.fromkeys((*_FIRST, *CATALOG)))}

_RC: Any = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.8,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # editable text; Type 3 fonts are refused by some publishers
    "svg.hashsalt": "reports",
}


@dataclass(frozen=True)
class Drawing:
    """A figure with what stands beside it: caption (n, interval, what is missing) and a text for
    those who cannot see it.
    """

    figure: Figure
    title: str
    caption: str
    alt: str


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's settings of the report, for the duration of a block."""
    with matplotlib.rc_context({**_RC, "font.family": families()}):
        yield


def color(slot: int) -> str:
    """Colour of a slot."""
    return PALETTE[int(slot) % len(PALETTE)]


def marker(slot: int) -> str:
    """Marker of a slot; (colour, marker) repeat after 77 slots."""
    return MARKERS[int(slot) % len(MARKERS)]


def dashes(slot: int, index: int = 0) -> Any:
    """Line style: of a loss by its slot, of the lines of one loss by `index`."""
    return DASHES[(int(slot) + int(index)) % len(DASHES)]


def slots(study: Study) -> dict[str, int]:
    """Slot of each loss of the study: decides its colour and marker, in every figure of every study.

    Losses that the catalog does not have (sums, other libraries') take the slots after its own.
    """
    others = [loss for loss in study.losses if loss not in SLOTS]
    return {**SLOTS, **{loss: len(SLOTS) + place for place, loss in enumerate(others)}}


def with_slots(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the column ``slot``, so that its CSV alone can be drawn."""
    return frame.assign(slot=frame["loss"].map(slots(study)))


def numeric_ticks(ax: Axes, values: list[float], axis: str = "x") -> None:
    """Ticks at the settings that were run, on a log2 axis where they span a factor of eight or
    more.
    """
    side = ax.xaxis if axis == "x" else ax.yaxis
    if min(values) > 0 and max(values) / min(values) >= 8:
        (ax.set_xscale if axis == "x" else ax.set_yscale)("log", base=2)
    side.set_major_locator(FixedLocator(values))
    side.set_minor_locator(NullLocator())
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
