"""How the curves of `bands` are drawn: one axes for a few cells, small multiples for many."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import COLUMN, PAGE, color, dashes
from reports.summary import loss_title

TOGETHER = 7  # cells in one axes; more would hide each other
SHOWN = 32  # panels of one figure
BEHIND = "#cfcfcf"
SHADED = "#ededed"


@dataclass(frozen=True)
class Look:
    """What tells one kind of curve from another.

    Attributes
    ----------
    x, y : columns of the frame.
    x_label, y_label : with the unit.
    prepare : sets scales, limits and ticks of an axes; gets the whole frame.
    percent : whether y is shown times 100.
    """

    x: str
    y: str
    x_label: str
    y_label: str
    prepare: Callable[[Axes, pd.DataFrame], None]
    percent: bool = True

    @property
    def unit(self) -> float:
        """What y is multiplied with."""
        return 100.0 if self.percent else 1.0


def draw_curves(frame: pd.DataFrame, look: Look) -> Figure:
    """All cells in one axes with their bands; more than `TOGETHER` in a panel each, the others grey."""
    if frame["cell"].nunique() <= TOGETHER:
        return _together(frame, look)
    return _multiples(frame, look)


def named(frame: pd.DataFrame) -> dict[str, str]:
    """What each cell is called: its loss alone where no loss has two cells, its setting where all
    are of one loss, else both.
    """
    first = frame.drop_duplicates("cell").set_index("cell")
    if first["loss"].is_unique:
        return {cell: loss_title(loss) for cell, loss in first["loss"].items()}
    if first["loss"].nunique() == 1:
        title = f"{loss_title(str(first['loss'].iloc[0]))} "
        return {cell: label.removeprefix(title) for cell, label in first["label"].items()}
    return dict(first["label"])


def shown(frame: pd.DataFrame, look: Look) -> list[str]:
    """The cells that get a panel, in the order of the plan: the `SHOWN` with the best mean y."""
    means = frame.groupby("cell", sort=False)[look.y].mean().fillna(-np.inf)
    best = means.sort_values(ascending=False, kind="stable").index[:SHOWN]
    return [cell for cell in means.index if cell in set(best)]


def _together(frame: pd.DataFrame, look: Look) -> Figure:
    names = named(frame)
    longest = max(len(name) for name in names.values())
    columns = 1 if longest > 26 else 2 if longest > 13 else 3
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(COLUMN, 2.6 + 0.15 * rows), layout="constrained")
    ax = figure.subplots()
    alone = frame["loss"].nunique() == 1 < len(names)
    groups = list(frame.groupby("cell", sort=False))
    for index, (cell, line) in enumerate(groups):
        slot = int(line["slot"].iloc[0])
        before = [c for c, other in groups[:index] if int(other["slot"].iloc[0]) == slot]
        # One loss alone: its cells differ in colour. Several: a loss keeps its colour, and its
        # cells differ in dashes.
        own = color(index) if alone else color(slot)
        style = dashes(index) if alone else dashes(slot, len(before))
        gone = " (no result)" if line[look.x].isna().all() else ""
        _band(ax, line, look, own, 0.13)
        x, y = line[look.x], look.unit * line[look.y]
        ax.plot(x, y, color=own, linestyle=style, label=f"{names[str(cell)]}{gone}")
    look.prepare(ax, frame)
    ax.set_xlabel(look.x_label)
    ax.set_ylabel(look.y_label)
    figure.legend(loc="outside lower center", ncols=columns)
    return figure


def _multiples(frame: pd.DataFrame, look: Look) -> Figure:
    cells = shown(frame, look)
    across = 4 if len(cells) <= 20 else 5
    names, lines_above = titles(frame, across)
    figure, places = panels(
        len(cells),
        across,
        1.2 if across == 4 else 0.9,
        look.x_label,
        look.y_label,
        top=0.11 + 0.11 * lines_above,
    )
    lines = dict(list(frame.groupby("cell", sort=False)))
    behind = _broken(frame, look)
    for ax, cell in zip(places, cells, strict=True):
        line = lines[cell]
        own = color(int(line["slot"].iloc[0]))
        ax.plot(*behind, color=BEHIND, linewidth=0.6, zorder=1)
        _band(ax, line, look, own, 0.3)
        ax.plot(line[look.x], look.unit * line[look.y], color=own, zorder=3)
        if line[look.x].isna().all():
            ax.text(0.5, 0.5, "× no result", transform=ax.transAxes, ha="center", va="center")
        panel_title(ax, names[cell])
        _shade(ax, frame)
    look.prepare(places[0], frame)  # the others share its scales, limits and ticks
    for ax in places:
        ax.minorticks_off()
    return figure


def panels(
    count: int,
    across: int,
    height: float,
    x_label: str,
    y_label: str,
    top: float = 0.22,
    legend: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """A page-wide grid of `count` panels that share their axes, each so many inches high.

    Parameters
    ----------
    top, legend : inches above the panels of a row, for their titles, and above all.
    """
    down = -(-count // across)
    left, right, bottom = 0.52, 0.1, 0.45
    height = min(height, (8.5 - bottom - legend) / down - top)
    whole = bottom + legend + down * (height + top)
    figure = Figure(figsize=(PAGE, whole))
    inside = PAGE - left - right
    grid = figure.subplots(
        down,
        across,
        sharex=True,
        sharey=True,
        squeeze=False,
        gridspec_kw={
            "left": left / PAGE,
            "right": 1 - right / PAGE,
            "bottom": bottom / whole,
            "top": 1 - (legend + top) / whole,
            "hspace": top / height,
            "wspace": 0.18 / (inside / across),
        },
    )
    for index, ax in enumerate(grid.flat):
        ax.set_visible(index < count)
        ax.tick_params(labelbottom=index + across >= count)
        # Given places: to look for free ones takes most of the time of drawing many panels.
        ax.xaxis.set_label_coords(0.5, 0)
        ax.yaxis.set_label_coords(0, 0.5)
    middle = (bottom + whole - legend - top) / 2 / whole
    figure.text(0.5 + (left - right) / 2 / PAGE, 0.06 / whole, x_label, ha="center", va="bottom")
    figure.text(0.05 / PAGE, middle, y_label, ha="left", va="center", rotation=90)
    return figure, list(grid.flat)[:count]


def titles(frame: pd.DataFrame, across: int) -> tuple[dict[str, str], int]:
    """What each cell's panel is called, on at most two lines, and the most lines that one has."""
    width = int((PAGE / across - 0.25) / 0.054)  # inches of a panel, and of a letter
    names = {
        cell: "\n".join(textwrap.wrap(name, width, max_lines=2, placeholder=" …"))
        for cell, name in named(frame).items()
    }
    return names, max(name.count("\n") for name in names.values()) + 1


def panel_title(ax: Axes, text: str) -> None:
    """A title above a panel, at a given place."""
    ax.set_title(text, fontsize=7, y=1.0, pad=2.5)


def _broken(frame: pd.DataFrame, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """All lines as one, with a gap between two."""
    gap = [np.nan]
    parts = [line for _, line in frame.groupby("cell", sort=False)]
    x = np.concatenate([np.append(part[look.x], gap) for part in parts])
    y = np.concatenate([np.append(part[look.y], gap) for part in parts])
    return x, look.unit * y


def _band(ax: Axes, line: pd.DataFrame, look: Look, own: str, alpha: float) -> None:
    low, high = (look.unit * line[end] for end in ("low", "high"))
    ax.fill_between(line[look.x], low, high, color=own, alpha=alpha, linewidth=0, zorder=2)


def log_rates(ax: Axes, frame: pd.DataFrame) -> None:
    """A log axis of rates up to 1; what the data do not carry is shaded."""
    lowest = float(frame["lowest"].iloc[0])
    ax.set_xscale("log")
    ax.set_xlim(lowest / 1.6, 1)
    _shade(ax, frame)


def _shade(ax: Axes, frame: pd.DataFrame) -> None:
    lowest = float(frame["lowest"].iloc[0])
    if lowest < 1:
        ax.axvspan(lowest / 1e3, lowest, color=SHADED, linewidth=0, zorder=0)


def percent_from_data(ax: Axes, frame: pd.DataFrame, column: str) -> None:
    """Per cent up to 100, from a little below the lowest band."""
    bottom = 100 * float(np.nanmin(frame[["low", column]].to_numpy(dtype=float)))
    bottom = min(bottom, 99.0)  # of models without an error too
    ax.set_ylim(max(0.0, bottom - 0.04 * (100 - bottom)), 100 + 0.01 * (100 - bottom))


# --- captions


def runs_text(frame: pd.DataFrame) -> str:
    """``"5 seeds"``, ``"3 to 5 seeds"``: the runs behind a line."""
    counts = frame.loc[frame["n"] > 0, "n"]
    low, high = int(counts.min()), int(counts.max())
    number = str(high) if low == high else f"{low} to {high}"
    return f"{number} seed{'s' if high > 1 else ''}"


def band_text(frame: pd.DataFrame) -> str:
    """What the bands are, of the kinds that occur."""
    found = set(frame.loc[frame["n"] > 0, "covers"])
    if found <= {"nothing"}:
        return "no interval (one seed, judged without resamples)"
    kinds = {
        "seeds and identities": "over seeds and identities",
        "identities": "over identities, of one model",
        "seeds": "over seeds alone (Student t; curves judged without resamples)",
    }
    texts = [text for kind, text in kinds.items() if kind in found]
    return f"pointwise 95 % interval {'; or '.join(texts)}"


def lost_text(frame: pd.DataFrame) -> str:
    """A sentence for runs without a curve; nothing where there are none."""
    first = frame.drop_duplicates("cell").set_index("cell")
    lost = first["runs"] - first["n"]
    if lost.sum() == 0:
        return ""
    names = named(frame)
    which = ", ".join(f"{count} of {names[str(cell)]}" for cell, count in lost[lost > 0].items())
    return f" Without a result, and left out: {lost.sum()} of {first['runs'].sum()} runs ({which})."


def panels_text(frame: pd.DataFrame) -> str:
    """How small multiples are to be read, and which cells they leave out."""
    cells = frame["cell"].nunique()
    if cells <= TOGETHER:
        return ""
    note = " Light grey: all the others."
    if cells > SHOWN:
        note += f" {SHOWN} of {cells} have a panel: those with the highest mean over the points."
    return note


def best_first(frame: pd.DataFrame, look: Look, x: float, higher: bool = True) -> Sequence[str]:
    """``"ArcFace 81.2 %"`` of each cell at the point nearest to `x` (in log), the best first; 12 at
    most.
    """
    names, values = named(frame), {}
    for cell, line in frame.dropna(subset=[look.x, look.y]).groupby("cell", sort=False):
        nearest = (np.log(line[look.x]) - np.log(x)).abs().idxmin()
        values[names[str(cell)]] = 100 * float(line.loc[nearest, look.y])
    order = sorted(values, key=lambda name: -values[name] if higher else values[name])
    return [f"{name} {values[name]:.1f} %" for name in order[:12]]
