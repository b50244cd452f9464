"""The figure of the coverage simulation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.style import GREY, PAGE, PALETTE, styled

if TYPE_CHECKING:
    from tests.simulations.coverage import Row

_METADATA: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
_NAMES = {
    "eer": "EER",
    "auc": "AUC",
    "tar_at_far_1e-02": "TAR@FAR=1e-2",
    "tar_at_far_1e-03": "TAR@FAR=1e-3",
    "recall_at_1": "Recall@1",
}
_STYLES = {
    "report": (PALETTE[0], "o", "this report: seeds and identities"),
    "percentile": (PALETTE[4], "^", "percentiles of the bootstrap over identities"),
    "seeds alone": (PALETTE[5], "s", "over seeds alone, identities the same"),
    "pairs": (PALETTE[1], "D", "over pairs (queries), as if independent"),
}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the coverage of every interval beside the band it must lie in; PNG and SVG at `path`.

    One panel for each metric and quantity, one line for each kind of study; dots with the
    simulation's own 95 % intervals.
    """
    designs = list(dict.fromkeys(_design(row) for row in rows))
    with styled():
        figure = Figure(figsize=(PAGE * 1.4, 1.6 + 0.46 * len(designs)), layout="constrained")
        axes = figure.subplots(2, len(_NAMES), sharex=True, sharey=True)
        for line, quantity in zip(axes, ("one loss", "difference"), strict=True):
            for axis, (metric, name) in zip(line, _NAMES.items(), strict=True):
                own = [row for row in rows if (row.metric, row.quantity) == (metric, quantity)]
                _panel(axis, own, designs)
                axis.set_title(name if quantity == "one loss" else f"difference in {name}")
        figure.supxlabel("simulated studies whose 95 % interval holds the truth (%)", fontsize=8)
        shown = {row.method for row in rows}
        handles = [
            Line2D([], [], color=color, marker=marker, ls="none", label=label)
            for method, (color, marker, label) in _STYLES.items()
            if method in shown
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
        for suffix in ("png", "svg"):
            figure.savefig(path.with_suffix(f".{suffix}"), metadata=_METADATA[suffix])


def _design(row: Row) -> str:
    text = f"{row.classes} × {row.images}"
    return text if row.seeds == 1 else f"{text}, {row.seeds} seeds, {row.identities} id."


def _panel(axis: Axes, rows: Sequence[Row], designs: Sequence[str]) -> None:
    axis.axvspan(93, 97, color="#d9e8d9", lw=0)
    axis.axvline(95, color=GREY, lw=0.6)
    for place, (method, (color, marker, _)) in enumerate(_STYLES.items()):
        own = [row for row in rows if row.method == method]
        if own:
            y = [designs.index(_design(row)) + 0.14 * (place - 1.5) for row in own]
            x = np.array([100 * row.coverage for row in own])
            reach = np.abs(np.array([[100 * row.low, 100 * row.high] for row in own]).T - x)
            axis.errorbar(x, y, xerr=reach, fmt=marker, ms=2.8, color=color, lw=0.8)
    axis.set_yticks(range(len(designs)), designs)
    axis.set_ylim(len(designs) - 0.5, -0.5)
