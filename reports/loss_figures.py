"""Figures of the losses' pages, as SVG: the same bytes from the same versions."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from losses import catalog, describe
from reports.figures.style import DASHES, PAGE, PALETTE, styled
from reports.loss_curves import (
    FIXED,
    OTHER,
    OWN,
    Curve,
    default_target,
    has_similarity,
    has_target,
    plain,
    samples,
    similarity_curves,
    target_curves,
    to_weights,
)

REFERENCE = "#9a9a9a"
BY_ANGLE = ("Softmax", "Multiplicative margins", "Additive margins", "Adaptive margins")
COORDINATES = re.compile(r'<path d="[^"]*" clip-path')  # of curves; glyphs stay as they are


OVERVIEW = {
    "Fixed margins": ("Multiplicative margins", "Additive margins"),
    "Adaptive margins (of an average sample)": ("Adaptive margins",),
}


TARGET_CAPTION = (
    "Left: target logit divided by the logit of angle 0 without margin, against the angle to the "
    "own class. Right: how steeply it falls, −∂/∂θ; below 0 the loss pushes away from the class. "
    "One setting is changed at a time; settings that change neither curve are left out. Losses "
    "that anneal are shown at the end of it."
)
SAMPLES_CAPTION = {
    "": "",
    "quality": " The margin depends on the embedding's length: curves of samples of several "
    "qualities, the normalised length between −1 and 1, stand in place of those of several margins.",
    "length": " The margin depends on the embedding's length ‖x‖: curves of several lengths stand in "
    "place of those of several margins.",
}
PAIR_CAPTION = (
    "The loss of a batch of two classes with two embeddings each, of length 1, and its derivative "
    f"by one cosine similarity. Left: within the classes, {FIXED[OWN]:g} between them. Right: "
    f"between the classes, {FIXED[OTHER]:g} within them. One setting is changed at a time; settings "
    "that change no curve are left out."
)
WEIGHT_CAPTION = (
    "The loss of one embedding of length 1 among three classes at right angles, and its derivative "
    f"by one cosine similarity. Left: to the own class, {FIXED[OWN]:g} to the others. Right: to one "
    f"other class, {FIXED[OTHER]:g} to the own. One setting is changed at a time; settings that "
    "change no curve are left out."
)


def caption(name: str) -> str:
    """What the figure of a loss shows; empty for a loss without."""
    if _by_angle(name):
        return f"{TARGET_CAPTION}{SAMPLES_CAPTION[samples(name)]}" if has_target(name) else ""
    if not has_similarity(name):
        return ""
    return WEIGHT_CAPTION if to_weights(name) else PAIR_CAPTION


def loss_figure(name: str) -> str:
    """SVG of the curves of a loss; empty for a loss without."""
    if not caption(name):
        return ""
    if _by_angle(name):
        targets = target_curves(name)
        return _svg(lambda: _draw_targets(targets))
    similarities = similarity_curves(name)
    return _svg(lambda: _draw_similarity(similarities))


def _by_angle(name: str) -> bool:
    return describe.family(catalog.row(name)) in BY_ANGLE


def _draw_targets(curves: Sequence[Curve]) -> Figure:
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    reference = plain()
    _line(left, reference, reference.value, -1)
    _line(right, reference, -reference.slope, -1)
    for number, curve in enumerate(curves):
        _line(left, curve, curve.value, number)
        _line(right, curve, -curve.slope, number)
    for ax in (left, right):
        _degrees(ax)
    left.set_ylabel("Target logit / scale")
    right.set_ylabel("−∂(target logit / scale)/∂θ")
    right.axhline(0, color="#b0b0b0", linewidth=0.6, zorder=0)
    _legend(figure, left, 1 + len(curves))
    return figure


def _draw_similarity(curves: dict[str, list[Curve]]) -> Figure:
    figure = Figure(figsize=(PAGE, 4.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col")
    labels = list(dict.fromkeys(curve.label for found in curves.values() for curve in found))
    for column, (role, title) in enumerate(
        [(OWN, "Similarity to the own class"), (OTHER, "Similarity to another class")]
    ):
        for curve in curves[role]:
            _line(axes[0, column], curve, curve.value, labels.index(curve.label))
            _line(axes[1, column], curve, curve.slope, labels.index(curve.label))
        axes[1, column].set_xlabel(title)
        axes[1, column].set_xlim(curves[role][0].x[[0, -1]])
        axes[1, column].axhline(0, color="#b0b0b0", linewidth=0.6, zorder=0)
    axes[0, 0].set_ylabel("Loss")
    axes[1, 0].set_ylabel("Derivative by the similarity")
    _legend(figure, axes[0, 0], len(labels))
    return figure


def overview() -> str:
    """SVG of the target logits of all margin losses at their defaults; equal ones share a curve."""
    panels = []
    for title, families in OVERVIEW.items():
        curves: list[Curve] = []
        for row in [row for family in families for row in catalog.FAMILIES[family]]:
            curve = default_target(row.name)
            if curve is not None and not curve.same(plain()):
                _merge(curves, curve)
        panels.append((title, curves))
    return _svg(lambda: _draw_overview(panels))


def _merge(curves: list[Curve], curve: Curve) -> None:
    for place, other in enumerate(curves):
        if np.allclose(other.value, curve.value, atol=1e-4):
            label = f"{other.label} =\n{curve.label}"
            curves[place] = Curve(label, other.x, other.value, other.slope)
            return
    curves.append(curve)


def _draw_overview(panels: Sequence[tuple[str, list[Curve]]]) -> Figure:
    figure = Figure(figsize=(PAGE, 3.9), layout="constrained")
    for ax, (title, curves) in zip(
        np.atleast_1d(figure.subplots(1, len(panels), sharey=True)), panels, strict=True
    ):
        reference = plain()
        _line(ax, reference, reference.value, -1)
        for number, curve in enumerate(curves):
            _line(ax, curve, curve.value, number)
        _degrees(ax)
        ax.set_title(title)
        ax.set_ylim(-2.1, 1.1)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel("Target logit / scale")
    return figure


def _line(ax: Axes, curve: Curve, value: np.ndarray, number: int) -> None:
    default = curve.label.endswith(("default", "(default)"))
    style = DASHES[number // len(PALETTE) % len(DASHES)] if number >= 0 else "-"
    ax.plot(
        curve.x,
        np.round(value, 5),
        color=PALETTE[number % len(PALETTE)] if number >= 0 else REFERENCE,
        linestyle=style,
        linewidth=1.7 if default else (1.1 if number >= 0 else 0.9),
        zorder=2.5 if default else 2,  # the default is seen where others meet it
        label=curve.label,
    )


def _degrees(ax: Axes) -> None:
    ax.set_xlim(0, 180)
    ax.set_xticks(range(0, 181, 30))
    ax.set_xlabel("Angle to the own class θ (°)")


def _legend(figure: Figure, ax: Axes, entries: int) -> None:
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, entries)
    )


def _svg(draw: Callable[[], Figure]) -> str:
    # The whole font, whose signs have the same names wherever the pages are made.
    changes: Any = {"font.family": "DejaVu Sans", "xtick.major.size": 0, "ytick.major.size": 0}
    with styled(), rc_context(changes):
        buffer = io.StringIO()
        # Neither date nor version: equal curves are equal bytes.
        draw().savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    lines = (line.strip() for line in buffer.getvalue().splitlines() if "<!--" not in line)
    return COORDINATES.sub(_rounded, "\n".join(lines).replace("DejaVuSans-", "g") + "\n")


def _rounded(path: re.Match[str]) -> str:
    path_of_lines = path[0].replace("\nL ", "\n")  # a line is what follows anyway
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}", path_of_lines)
