"""Panels of embeddings: in the plane, on the unit circle, and what both need.

Classes differ in colour and in marker, and each is named at its mean, for print without colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import matplotlib.patheffects as effects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from reports.figures.embeddings.points import CLASSES, DIRECTIONS
from reports.figures.style import GREY, MARKERS, PALETTE

COLOURS = (*PALETTE[:6], "#7f3c8d", "#8a8d0f", "#8c564b", "#000000")
HEADINGS = {"train": "Training images", "test": "Test images"}
NAMES = {
    "weight": "the classes' weights (directions alone)",
    "center": "the loss's centers",
    "mean": "the means of the training images",
}
RIM = 1.34  # half width of a circle's panel
WEDGES = 72  # of 5°
DOTS = 2  # zorder; in vector formats what is not above is one picture, which keeps them small
_LIGHT = "#bdbdbd"
_HALO = [effects.withStroke(linewidth=1.6, foreground="white")]

Styles = dict[int, tuple[str, str]]  # class to colour and marker


def styles_of(frame: pd.DataFrame) -> Styles:
    """Colour and marker of each known class of a frame."""
    known = sorted(frame.loc[~frame["kind"].isin(("unknown", "lost")), "class"].unique())
    return {int(c): (COLOURS[i], MARKERS[i]) for i, c in enumerate(known[:CLASSES])}


def limit_of(frame: pd.DataFrame) -> float:
    """Half width of a plane that holds all points and the centers of a frame."""
    held = frame[~frame["kind"].isin(("weight", "lost"))]
    return 1.05 * float(np.abs(held[["x", "y"]].to_numpy()).max(initial=0) or 1)


def plane(ax: Axes, frame: pd.DataFrame, kind: str, styles: Styles, limit: float) -> None:
    """The images of one kind as they are, and the classes' directions, in ±`limit`."""
    ax.set_rasterization_zorder(DOTS + 0.5)
    _crosses(ax, frame, kind, circle=False)
    ax.axhline(0, color=_LIGHT, linewidth=0.5, zorder=0)
    ax.axvline(0, color=_LIGHT, linewidth=0.5, zorder=0)
    for label, at in _points(frame, kind, styles):
        _dots(ax, at, styles[label], size=2.2, alpha=0.6)
    marks = frame[frame["kind"].isin(DIRECTIONS)]
    ends = marks[["x", "y"]].to_numpy()
    if (marks["kind"] == "weight").any():  # only its direction is in the embeddings' unit
        ends = 0.97 * limit * ends / np.maximum(np.abs(ends).max(axis=1, keepdims=True), 1e-12)
    else:
        for end, label in zip(ends, marks["class"], strict=True):
            own, shape = styles[int(label)]
            ax.plot(*end, shape, color=own, markersize=4.5, mec="white", mew=0.6, zorder=3.2)
    _rays(ax, ends, marks["class"], styles)
    _labels(ax, frame, kind, styles, radius=None)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    ax.locator_params(nbins=4)


def circle(ax: Axes, frame: pd.DataFrame, kind: str, styles: Styles) -> None:
    """The images of one kind divided by their length; outside the circle the share of each class's
    images in each 5° of direction.
    """
    ax.set_rasterization_zorder(DOTS + 0.5)
    turn = np.linspace(0, 2 * np.pi, 181)
    ax.plot(np.cos(turn), np.sin(turn), color=_LIGHT, linewidth=0.6, zorder=0)
    _crosses(ax, frame, kind, circle=True)
    edges = np.linspace(-np.pi, np.pi, WEDGES + 1)
    shares: dict[int, np.ndarray] = {}
    for label, at in _points(frame, kind, styles):
        angle = np.arctan2(at[:, 1], at[:, 0])
        _dots(ax, np.column_stack([np.cos(angle), np.sin(angle)]), styles[label], 1.9, 1.0)
        shares[label] = np.histogram(angle, edges)[0] / len(angle)
    tallest = max((own.max() for own in shares.values()), default=1.0)
    bars = [
        (_wedge(edges[i], edges[i + 1], 1.06 + 0.26 * own[i] / tallest), styles[label][0])
        for label, own in shares.items()
        for i in np.flatnonzero(own)
    ]
    colours = [own for _, own in bars]
    ax.add_collection(
        PolyCollection([bar for bar, _ in bars], facecolors=colours, alpha=0.55, zorder=DOTS)
    )
    marks = frame[frame["kind"].isin(DIRECTIONS)]
    ends = marks[["x", "y"]].to_numpy()
    ends = ends / np.maximum(np.linalg.norm(ends, axis=1, keepdims=True), 1e-12)
    _rays(ax, ends, marks["class"], styles)
    _labels(ax, frame, kind, styles, radius=0.8)
    ax.set(xlim=(-RIM, RIM), ylim=(-RIM, RIM), aspect="equal")
    bare(ax)


def bare(ax: Axes) -> None:
    """Without ticks, grid and frame; a label stays."""
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def hatched(ax: Axes, text: str) -> None:
    """A panel without any result, and why."""
    bare(ax)
    ax.set_box_aspect(1)
    ax.add_patch(
        Rectangle((0, 0), 1, 1, transform=ax.transAxes, facecolor="#f2f2f2", edgecolor="#8a8a8a")
    ).set(hatch="////", linewidth=0)
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    ax.text(0.5, 0.5, f"×\n{text}", ha="center", va="center", transform=ax.transAxes, bbox=paper)


def wrapped(label: str, width: int = 20) -> str:
    """A panel's title in lines that fit over a quarter of a page."""
    return textwrap.fill(label, width, break_long_words=False)


def class_legend(figure: Figure, styles: Styles, unknown: bool, columns: int) -> None:
    """The classes' colours and markers below the panels."""
    handles = [
        Line2D([], [], linestyle="none", marker=shape, markersize=3.5, color=own, label=str(label))
        for label, (own, shape) in styles.items()
    ]
    if unknown:
        handles.append(
            Line2D([], [], linestyle="none", marker="+", markersize=4, color=GREY, label="unknown")
        )
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), columns),
        title="Class",
        title_fontsize=6.8,
        handletextpad=0.1,
    )


def directions_text(frame: pd.DataFrame) -> str:
    """What the lines from the origin are, as a sentence."""
    kinds = [kind for kind in DIRECTIONS if (frame["kind"] == kind).any()]
    if len(kinds) < 2:
        return "".join(f"Lines from the origin: {NAMES[kind]}." for kind in kinds)
    of = {
        kind: ", ".join(dict.fromkeys(frame.loc[frame["kind"] == kind, "label"])) for kind in kinds
    }
    parts = [f"{NAMES[kind]} ({of[kind]})" for kind in kinds]
    return f"Lines from the origin: {', '.join(parts[:-1])} or {parts[-1]}."


def classes_text(frame: pd.DataFrame, styles: Styles) -> str:
    """Which of the known classes are drawn, where not all of them are."""
    known = int(frame["known_classes"].max()) if frame["known_classes"].notna().any() else 0
    if known <= len(styles):
        return ""
    return f" The first {len(styles)} of {known} known classes."


def _points(frame: pd.DataFrame, kind: str, styles: Styles) -> list[tuple[int, np.ndarray]]:
    """Class and images (n, 2) of each class that has any of this kind."""
    groups = frame[frame["kind"] == kind].groupby("class")
    found = [(int(str(label)), own[["x", "y"]].to_numpy()) for label, own in groups]
    return [(label, at) for label, at in found if label in styles]


def _dots(ax: Axes, at: np.ndarray, style: tuple[str, str], size: float, alpha: float) -> None:
    own, shape = style
    ax.plot(*at.T, shape, color=own, markersize=size, markeredgewidth=0, alpha=alpha, zorder=DOTS)


def _crosses(ax: Axes, frame: pd.DataFrame, kind: str, circle: bool) -> None:
    """Images of unknown classes, which are test images."""
    unknown = frame[frame["kind"] == "unknown"] if kind == "test" else frame[:0]
    if not len(unknown):
        return
    at = unknown[["x", "y"]].to_numpy()
    if circle:
        at = 0.93 * at / np.maximum(np.linalg.norm(at, axis=1, keepdims=True), 1e-12)
    ax.plot(*at.T, "+", color=GREY, markersize=2.4, markeredgewidth=0.4, alpha=0.6, zorder=DOTS)


def _rays(ax: Axes, ends: np.ndarray, classes: Iterable[int], styles: Styles) -> None:
    """Lines from the origin to `ends` (C, 2), edged in white so that they stand out of the points."""
    lines = [[(0.0, 0.0), tuple(end)] for end in ends]
    colours = [styles[int(label)][0] for label in classes]
    ax.add_collection(LineCollection(lines, colors="white", linewidths=1.8, zorder=3))
    ax.add_collection(LineCollection(lines, colors=colours, linewidths=0.8, zorder=3.1))


def _labels(ax: Axes, frame: pd.DataFrame, kind: str, styles: Styles, radius: float | None) -> None:
    """Each class's name at the mean of its images, or in that direction at a radius; of two classes
    in nearly one direction the second nearer to the origin.
    """
    means = [(label, images.mean(axis=0)) for label, images in _points(frame, kind, styles)]
    means.sort(key=lambda each: float(np.arctan2(each[1][1], each[1][0])))
    last, inner = -np.inf, False
    for label, at in means:
        if radius is not None:
            angle = float(np.arctan2(at[1], at[0]))
            inner = angle - last < np.radians(12) and not inner
            last = angle
            at = radius * (0.78 if inner else 1) * at / (np.linalg.norm(at) or 1)
        own = styles[label][0]
        text = ax.text(
            float(at[0]),
            float(at[1]),
            str(label),
            fontsize=6,
            weight="bold",
            color=own,
            ha="center",
            va="center",
            path_effects=_HALO,
            zorder=4,
        )
        text.set_in_layout(False)  # asking each for its size would take long


def _wedge(start: float, stop: float, outer: float, inner: float = 1.06) -> np.ndarray:
    arc = np.linspace(start, stop, 4)
    unit = np.column_stack([np.cos(arc), np.sin(arc)])
    return np.concatenate([inner * unit, outer * unit[::-1]])
