"""Many lines in one figure: one panel while an eye can follow them, a panel per family of losses
after that.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from losses import catalog
from losses.describe import family
from reports.figures.style import DASHES, PAGE, color, dashes

TOGETHER = 7  # lines that one panel carries
MOST = 32  # lines of a figure
ACROSS = 6  # panels side by side
TALLEST = 8.4  # inches
LEFT, RIGHT, TOP, GAP = 0.55, 0.02, 0.34, 0.1  # inches: around panels, between them
OTHERS = "#d8d8d8"  # the lines of the other panels


@dataclass(frozen=True)
class Grid:
    """A figure of so many quantities, each in one panel or in one per group of lines.

    Attributes
    ----------
    figure : Figure
    groups : list of (title, lines)
        One without title where a panel carries all lines.
    axes : array (quantities, groups) of Axes
    """

    figure: Figure
    groups: list[tuple[str, list[str]]]
    axes: NDArray[np.object_]

    @property
    def alone(self) -> bool:
        """Whether each quantity has one panel."""
        return len(self.groups) == 1

    def label(self, xlabel: str, ylabels: Sequence[str]) -> None:
        """Axis labels: in x below each column, in y at the left of each row."""
        columns = 1 if self.alone else _across(self.groups)
        for row, text in enumerate(ylabels):
            for place, ax in enumerate(self.axes[row]):
                if place % columns == 0:
                    ax.set_ylabel(text)
                if self.alone or row == len(self.axes) - 1:
                    ax.set_xlabel(xlabel)

    def finish(self, handles: Mapping[str, Artist]) -> None:
        """One scale per quantity, and legends: of the figure, or below each column its own.

        Parameters
        ----------
        handles : text of the legend to artist; of the lines, and of what all panels share.
        """
        drawn = [line for _, own in self.groups for line in own if line in handles]
        common = [text for text in handles if text not in drawn]
        if below := [*drawn, *common] if self.alone else common:
            self.figure.legend(
                [handles[text] for text in below],
                below,
                loc="outside lower center" if self.alone else "lower center",
                ncols=_columns(below, self.figure.get_figwidth()),
            )
        if self.alone:
            return
        for row in self.axes:
            ends = np.array([ax.get_ylim() for ax in row])
            inverted = ends[0, 0] > ends[0, 1]
            low, high = ends.min(), ends.max()
            for ax in row:
                ax.set_ylim((high, low) if inverted else (low, high))
        for (_, lines), ax in zip(self.groups, self.axes[-1], strict=True):
            shown = [line for line in lines if line in handles]
            height = ax.get_position().height * self.figure.get_figheight()
            ax.legend(
                [handles[line] for line in shown],
                shown,
                loc="upper center",
                bbox_to_anchor=(0.5, -0.38 / height),
                fontsize=5.6 if len(self.groups) > 3 else 6.8,
                handlelength=1.9,
                borderpad=0,
                labelspacing=0.25,
            )


def grid(lines: Mapping[str, str], quantities: int, *, common: int = 0) -> Grid:
    """Panels of so many quantities for these lines (key to loss).

    `common`: entries in the legend that all panels share, beside the lines.
    """
    groups = grouped(lines)
    if len(groups) == 1:
        rows = -(-(len(lines) + common) // 4)
        width = PAGE if quantities > 1 else 0.62 * PAGE
        figure = Figure(figsize=(width, 2.35 + 0.15 * rows), layout="constrained")
        axes = figure.subplots(1, quantities, squeeze=False)
        return Grid(figure, groups, axes.T)
    # Places in inches: a layout engine would take seconds for dozens of panels.
    columns = _across(groups)
    blocks = -(-len(groups) // columns)
    legend = 0.58 + 0.115 * max(len(own) for _, own in groups)
    below = 0.32 if common else 0.0
    row = min(
        1.7 if columns < 4 else 1.15, ((TALLEST - below) / blocks - legend - TOP) / quantities
    )
    block = quantities * row + legend + TOP
    size = (PAGE, blocks * block + below)
    width = (PAGE - LEFT - RIGHT) / columns - GAP
    figure = Figure(figsize=size)
    axes = np.empty((quantities, len(groups)), dtype=object)
    for place, (title, _) in enumerate(groups):
        down, across = divmod(place, columns)
        for number in range(quantities):
            left = LEFT + across * (width + GAP)
            bottom = size[1] - down * block - TOP - (number + 1) * row + GAP
            box = (left / PAGE, bottom / size[1], width / PAGE, (row - GAP) / size[1])
            ax = figure.add_axes(box)
            ax.locator_params(nbins=4)
            ax.tick_params(labelleft=across == 0, labelbottom=number == quantities - 1)
            axes[number, place] = ax
        axes[0, place].set_title(textwrap.fill(title, 130 // columns), fontsize=6.5)
    return Grid(figure, groups, axes)


def grouped(lines: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Lines (key to loss) by the family of their loss, in the catalog's order of families.

    Neighbouring families share a group while it has no more than `TOGETHER` lines; a family with
    more takes several groups. Up to `TOGETHER` lines are one group without a title.
    """
    if len(lines) <= TOGETHER:
        return [("", list(lines))]
    families: dict[str, list[str]] = {title: [] for title in (*catalog.FAMILIES, "Others")}
    for line, loss in lines.items():
        families[_family(loss)].append(line)
    groups: list[tuple[list[str], list[str]]] = []
    for title, own in families.items():
        short = title.removesuffix(" margins")
        parts = -(-len(own) // TOGETHER)
        if parts == 1 and groups and len(groups[-1][1]) + len(own) <= TOGETHER:
            groups[-1][0].append(short.lower())
            groups[-1][1].extend(own)
            continue
        for part, chunk in enumerate(np.array_split(np.array(own, object), max(parts, 1))):
            if len(chunk):
                groups.append(([short if parts == 1 else f"{short} {part + 1}"], list(chunk)))
    return [(", ".join(titles), own) for titles, own in groups]


def first_of_each(losses: Sequence[str], most: int = MOST) -> list[int]:
    """Places of at most so many lines, given the loss of each: first one of each loss, then a
    second, …; in their order.
    """
    seen: Counter[str] = Counter()
    turns = []
    for place, loss in enumerate(losses):
        turns.append((seen[loss], place))
        seen[loss] += 1
    return sorted(place for _, place in sorted(turns)[:most])


def capped(shown: int, total: int, what: str) -> str:
    """A sentence for the caption where `first_of_each` left lines out; else empty."""
    if shown >= total:
        return ""
    return f" {shown} of {total} {what} shown: of each loss the first ones in the study."


def background(ax: Axes, lines: Iterable[tuple[Sequence[float], Sequence[float]]]) -> None:
    """The lines of the other panels, for comparison: (x, y) of each."""
    gap = np.array([[np.nan], [np.nan]])
    parts = [part for x, y in lines for part in (np.array([x, y], dtype=float), gap)]
    if parts:  # as one line with gaps: a line each would take seconds to draw
        ax.plot(*np.concatenate(parts, axis=1), color=OTHERS, linewidth=0.6, zorder=1)


def styles(lines: Mapping[str, int], *, spread: bool = False) -> dict[str, dict[str, Any]]:
    """Colour and dashes of the lines (key to slot of the loss) of a panel.

    A loss has its colour, and its settings differ in their dashes; a colour each if `spread`, or
    where dashes do not suffice.
    """
    counts = Counter(lines.values())
    spread = spread or max(counts.values(), default=0) > len(DASHES)
    seen: Counter[int] = Counter()
    found = {}
    for place, (line, slot) in enumerate(lines.items()):
        own = (place, place) if spread else (slot, slot + seen[slot])
        seen[slot] += 1
        found[line] = {"color": color(own[0]), "linestyle": dashes(own[1])}
    return found


def _family(loss: str) -> str:
    try:
        title = family(catalog.row(loss))
    except catalog.CatalogError:
        return "Others"
    return title if title in catalog.FAMILIES else "Others"


def _across(groups: Sequence[tuple[str, list[str]]]) -> int:
    """Panels side by side: as many as the texts of their legends allow, in blocks of equal width."""
    longest = max(len(line) for _, own in groups for line in own)
    most = max(1, min(ACROSS, int((PAGE - LEFT) / (0.38 + 0.046 * longest))))
    return -(-len(groups) // (-(-len(groups) // most)))


def _columns(texts: Sequence[str], width: float) -> int:
    """Columns of a legend that fit into a width (inches) at 6.8 points."""
    longest = max(map(len, texts), default=1)
    return max(1, min(len(texts), int(width / (0.4 + 0.062 * longest))))
