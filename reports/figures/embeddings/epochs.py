"""Two-dimensional embeddings as they form, epoch by epoch: a row of frames, and an animation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.embeddings.axes import (
    HEADINGS,
    circle,
    class_legend,
    classes_text,
    directions_text,
    limit_of,
    plane,
    styles_of,
)
from reports.figures.embeddings.points import (
    PARTS,
    cells_of,
    directions,
    facts,
    per_class,
    points,
    run_of,
    stored,
    thinned,
)
from reports.figures.style import PAGE, Drawing
from reports.selection import Selection

COLUMNS = 6  # epochs of the figure; the animation has all
CELLS = 6  # figures


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each compared cell that kept two or more epochs the test images of its first finished
    seed at every one of them (training images where the snapshots hold no test images), with
    column ``epoch``.
    """
    frames = []
    for cell in cells_of(study, selection, 2):
        run = run_of(study, cell)
        frame = None if run is None else _frame(study, run[0])
        if run is not None and frame is not None:
            frames.append(frame.assign(**facts(study, cell, run[1])))
    for number, frame in enumerate(frames[:CELLS], start=1):
        note = f"The first {CELLS} of {len(frames)} settings are drawn." * (len(frames) > CELLS)
        yield f"embedding_epochs-{frame['loss'].iloc[0]}-{number}", frame.assign(fixed=note)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    epochs = sorted(frame["epoch"].unique())
    shown = thinned(epochs, COLUMNS)
    kind, styles, limit = _kind(frame), styles_of(frame), limit_of(frame)
    width = max(PAGE * min(1, len(shown) / 4), PAGE / 2)
    figure = Figure(figsize=(width, 1.9 * width / len(shown) + 0.9), layout="constrained")
    panels = figure.subplots(2, len(shown), squeeze=False)
    for epoch, (flat, round_) in zip(shown, panels.T, strict=True):
        own = frame[frame["epoch"] == epoch]
        plane(flat, own, kind, styles, limit)
        circle(round_, own, kind, styles)
        flat.set_title(_name(epoch))
        flat.tick_params(labelleft=flat is panels[0, 0])
    panels[0, 0].set_ylabel("$x_2$ over $x_1$")
    panels[1, 0].set_ylabel("by direction")
    class_legend(figure, styles, unknown=False, columns=10 if width > 5 else 5)
    label, seed, lost = frame[["label", "seed", "lost"]].iloc[0]
    some = f" {len(shown)} of {len(epochs)} epochs kept; the animation shows all."
    most = int(frame[frame["kind"] == kind].groupby(["epoch", "class"]).size().max())
    caption = (
        f"{label}, {HEADINGS[kind].lower()}, after so many epochs: embeddings as they are (top, all "
        "on one scale) and divided by their length (bottom; outside the circle the share of each "
        f"class's images per 5° of direction). {directions_text(frame)} One run, seed {seed}; the "
        f"same images throughout, at most {most} per class.{classes_text(frame, styles)}"
        f"{some if len(shown) < len(epochs) else ''}"
        f"{f' Lost: {lost}.' if lost else ''}"
        f" {frame['fixed'].iloc[0]}"
    )
    lengths = (
        frame[frame["kind"] == kind]
        .groupby("epoch")[["x", "y"]]
        .apply(lambda own: float(np.median(np.hypot(own["x"], own["y"]))))
    )
    alt = (
        f"Two-dimensional embeddings of {len(styles)} classes for {label} at epochs "
        f"{', '.join(f'{epoch:g}' for epoch in shown)}; their median length goes from "
        f"{lengths.iloc[0]:.3g} to {lengths.iloc[-1]:.3g}."
    )
    return Drawing(figure, f"Embedding by epoch: {label}", caption.strip(), alt)


def animate(frame: pd.DataFrame) -> Iterator[Figure]:
    """Plane and circle at every epoch that was kept, on the same scale; the frames share a figure,
    so each must be drawn before the next is asked for.
    """
    kind, styles, limit = _kind(frame), styles_of(frame), limit_of(frame)
    figure = Figure(figsize=(5.2, 2.85))
    panels = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.13, top=0.84, wspace=0.12)
    for epoch in sorted(frame["epoch"].unique()):
        own = frame[frame["epoch"] == epoch]
        for ax in panels:
            ax.clear()
        plane(panels[0], own, kind, styles, limit)
        circle(panels[1], own, kind, styles)
        panels[0].set(xlabel="$x_1$", ylabel="$x_2$")
        figure.suptitle(f"{frame['label'].iloc[0]}, {HEADINGS[kind].lower()}: {_name(epoch)}")
        yield figure


def _frame(study: Study, run: str) -> pd.DataFrame | None:
    """Rows of every epoch that a run kept; None: fewer than two."""
    names = ("labels", "part", "known_classes", "snapshot_epochs", "snapshot_rows", "snapshots")
    arrays = stored(study, run, *names, "snapshot_weights")
    epochs = arrays.get("snapshot_epochs", np.empty(0))
    if len(epochs) < 2:
        return None
    known, rows = arrays["known_classes"], arrays["snapshot_rows"]
    labels, part = arrays["labels"][rows], arrays["part"][rows]
    kind = "test" if (part == PARTS["test"]).any() else "train"
    weights = arrays.get("snapshot_weights")
    frames = []
    for place, epoch in enumerate(epochs):
        where = (arrays["snapshots"][place], labels, part, known)
        own = None if weights is None else weights[place]
        both = [points(*where, [kind], per_class(len(epochs))), directions(*where, own)]
        frames.append(pd.concat(both, ignore_index=True).assign(epoch=int(epoch)))
    return pd.concat(frames, ignore_index=True).assign(known_classes=len(known))


def _kind(frame: pd.DataFrame) -> str:
    return next(kind for kind in HEADINGS if (frame["kind"] == kind).any())


def _name(epoch: float) -> str:
    return f"epoch {epoch:g}" if epoch else "before training"
