"""Angles of training images to the weights of their own class (θ_y) and of the others (θ_j), at the
start, in the middle and at the end of training (ArcFace, figure 4a).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from losses import catalog
from reports.collect import Study
from reports.figures.cell_panels import MOST, grid, lost_panel, notes, outer, seeds_text
from reports.figures.embeddings.points import facts, stored, thinned
from reports.figures.style import PAGE, Drawing
from reports.selection import Selection

STEP = 3  # degrees of a bin
# No mathematics in the labels: it would embed a second font, which costs more than the rest.
KINDS = {"own": "to the own class's weight", "other": "to the other weights"}
_INKS = {"own": "#0072B2", "other": "#D55E00"}
# From the first epoch kept to the last: stronger, and solid in the end.
_STYLES: tuple[tuple[Any, float, float], ...] = (
    ((0, (1.2, 1.2)), 0.8, 0.7),
    ((0, (5, 1.5)), 0.9, 0.85),
    ("-", 1.4, 1.0),
)


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each compared cell with class weights and each epoch kept the share of angles (``share``,
    of all of its kind) in bins of `STEP` degrees, runs weighing alike; empty bins have no row.
    """
    found = {cell: _cell(study, cell) for cell in selection.cells}
    found = {cell: frame for cell, frame in found.items() if len(frame)}
    if all((frame["kind"] == "lost").all() for frame in found.values()):
        return
    shown = list(found.values())[:MOST]
    part = f"{len(shown)}/{len(found)}"
    yield "angles", pd.concat(shown, ignore_index=True).assign(part_of=part)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    cells = frame.drop_duplicates("cell")
    figure, panels = grid(list(cells["label"]))
    ends = []
    for cell, ax in zip(cells["cell"], panels, strict=True):
        own = frame[frame["cell"] == cell]
        if lost_panel(ax, own):
            continue
        text = _panel(ax, own)
        ends.append(f"{own['label'].iloc[0]} {text}")
    outer(panels, "Angle (°)", f"Share (% per {STEP}°)")
    most = int(frame.dropna(subset=["epoch"]).groupby("cell")["epoch"].nunique().max())
    _legend(figure, most, wide=figure.get_figwidth() > PAGE * 0.7)
    caption = (
        "Angles of a fixed sample of training images to the class weights after the first, the middle and the last "
        f"epoch, without augmentation: shares in bins of {STEP}°, mean over {seeds_text(frame)}. "
        "Filled: own class at the end. In each panel the medians of the angle to it at these epochs. Losses without class weights are not "
        f"here.{notes(frame)}"
    )
    return Drawing(
        figure,
        "Angles to the class weights",
        caption,
        f"Histograms of angles. Median of θ_y over training: {'; '.join(ends)}.",
    )


def median_angle(counts: NDArray[np.number]) -> float:
    """Median of angles (degrees) given their counts (180,) in bins of one degree, even within each.

    >>> median_angle(np.eye(180)[40])
    40.5
    """
    below = np.concatenate([[0.0], np.cumsum(counts, dtype=float)])
    place = int(np.searchsorted(below, below[-1] / 2, side="left")) - 1
    inside = (below[-1] / 2 - below[place]) / (below[place + 1] - below[place])
    return place + float(inside)


def _cell(study: Study, cell: str) -> pd.DataFrame:
    head = facts(study, cell)
    runs = study.frame[study.frame["cell"] == cell]
    finished = runs[runs["status"] == "finished"]
    totals: defaultdict[tuple[int, str], list[NDArray[np.float64]]] = defaultdict(list)
    for run in finished["id"]:
        arrays = stored(study, str(run), "angle_epochs", "target_angles", "other_angles")
        for kind, name in (("own", "target_angles"), ("other", "other_angles")):
            for epoch, counts in zip(
                arrays.get("angle_epochs", ()), arrays.get(name, ()), strict=True
            ):
                if counts.sum():
                    totals[int(epoch), kind].append(counts / counts.sum())
    rows = [
        {"kind": kind, "epoch": epoch, "degrees": STEP * place, "share": float(f"{share:.4g}")}
        | {"median": round(median_angle(np.sum(each, axis=0)), 2), "n": len(each)}
        for (epoch, kind), each in sorted(totals.items())
        for place, share in enumerate(np.mean(each, axis=0).reshape(-1, STEP).sum(axis=1))
        if share > 5e-5
    ]
    if rows or len(finished) or _kind(str(head["loss"])) == "embedding":
        return pd.DataFrame(rows).assign(**head)
    return pd.DataFrame([{**head, "kind": "lost"}])


def _kind(loss: str) -> str:
    try:
        return catalog.row(loss).kind
    except catalog.CatalogError:
        return ""


def _panel(ax: Axes, frame: pd.DataFrame) -> str:
    """Draw one cell; returns the medians of θ_y as ``"85 → 52 → 40°"``."""
    epochs = thinned(sorted(frame["epoch"].unique()), len(_STYLES))
    styles = {1: _STYLES[2:], 2: _STYLES[::2]}.get(len(epochs), _STYLES)
    medians = []
    for epoch, (dash, width, alpha) in zip(epochs, styles, strict=False):
        for kind in KINDS:
            mine = frame[(frame["epoch"] == epoch) & (frame["kind"] == kind)]
            shares = np.zeros(180 // STEP)
            shares[(mine["degrees"] // STEP).astype(int)] = 100 * mine["share"]
            middles = STEP * (np.arange(len(shares)) + 0.5)
            ax.plot(
                middles, shares, color=_INKS[kind], linestyle=dash, linewidth=width, alpha=alpha
            )
            if kind == "own" and epoch == epochs[-1]:  # tells the two apart in grey print
                ax.fill_between(middles, shares, color=_INKS[kind], alpha=0.2, linewidth=0)
            if kind == "own" and len(mine):
                medians.append(f"{mine['median'].iloc[0]:.0f}")
    text = f"{' → '.join(medians)}°"
    ax.text(0.98, 0.97, f"own {text}", transform=ax.transAxes, ha="right", va="top", fontsize=6)
    ax.set(xlim=(0, 180), xticks=(0, 45, 90, 135, 180))
    ax.set_ylim(0, 1.16 * ax.get_ylim()[1])
    ax.locator_params(axis="y", nbins=4)
    return text


def _legend(figure: Figure, epochs: int, wide: bool) -> None:
    """`epochs`: the most that a panel has, at most three of which are drawn."""
    handles = [Line2D([], [], color=_INKS[kind], label=text) for kind, text in KINDS.items()]
    names = ("first epoch", "middle", "last")
    handles += [
        Line2D([], [], color="black", linestyle=dash, linewidth=width, label=name)
        for place, ((dash, width, _), name) in enumerate(zip(_STYLES, names, strict=True))
        if epochs >= (2, 3, 1)[place]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5 if wide else 2)
