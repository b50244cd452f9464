"""A small panel for each compared cell, in a grid that stays readable up to 32 of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.embeddings.axes import hatched, wrapped
from reports.figures.style import PAGE

MOST = 32
COLUMNS = 4
TALLEST = 8.5  # inches


def grid(titles: Sequence[str], extra: float = 0.5) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel a cell, four in a row; `extra`: inches below for a legend."""
    columns = min(len(titles), COLUMNS)
    rows = -(-len(titles) // columns)
    panel = min(1.75, (TALLEST - extra) / rows)
    # One or two panels need not be as wide as a page.
    width = PAGE * max(columns, 2) / COLUMNS
    figure = Figure(figsize=(width, rows * panel + extra), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for spare in panels[len(titles) :]:
        spare.remove()
    for ax, title in zip(panels, titles, strict=False):
        ax.set_title(wrapped(title, 28), fontsize=7.5 if rows <= 4 else 6.5)
        if rows > 4:
            ax.tick_params(labelsize=6)
    return figure, panels[: len(titles)]


def outer(panels: Sequence[Axes], xlabel: str, ylabel: str) -> None:
    """Axis labels at the left of each row and below the last panel of each column."""
    columns = min(len(panels), COLUMNS)
    size = 7.5 if len(panels) <= 4 * COLUMNS else 6
    for place, ax in enumerate(panels):
        if place % columns == 0:
            ax.set_ylabel(ylabel, fontsize=size)
        if place + columns >= len(panels):
            ax.set_xlabel(xlabel)


def lost_panel(ax: Axes, own: pd.DataFrame) -> bool:
    """Whether a cell has no result at all; its panel then says so."""
    if (own["kind"] != "lost").any():
        return False
    hatched(ax, str(own["lost"].iloc[0]) or "nothing kept")
    ax.set_box_aspect(None)
    return True


def seeds_text(frame: pd.DataFrame) -> str:
    """How many runs a cell has: ``"3 seeds"``, ``"1 to 3 seeds"``."""
    counts = frame.loc[frame["kind"] != "lost", "n"].astype(int)
    low, high = counts.min(), counts.max()
    return f"{high} seed{'s' if high > 1 else ''}" if low == high else f"{low} to {high} seeds"


def notes(frame: pd.DataFrame) -> str:
    """For the caption: lost runs, and how many cells were left out."""
    lost = frame[frame["lost"] != ""].drop_duplicates("cell")
    gone = ", ".join(f"{row.label} ({row.lost})" for row in lost.itertuples())
    shown, of = str(frame["part_of"].iloc[0]).split("/")
    capped = f" {shown} of {of} settings shown: the first of the study." if shown != of else ""
    return f"{f' Lost: {gone}.' if gone else ''}{capped}"
