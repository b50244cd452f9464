"""What one setting of a loss does to two-dimensional embeddings: a column for each value, the plane
above the unit circle (Wen et al. 2016, figure 3; CosFace, figure 4; ArcFace, figure 3).
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.embeddings.axes import (
    HEADINGS,
    circle,
    class_legend,
    classes_text,
    directions_text,
    hatched,
    limit_of,
    plane,
    styles_of,
)
from reports.figures.embeddings.points import cell_rows, per_class
from reports.figures.embeddings.sweep import sweeps
from reports.figures.style import PAGE, Drawing
from reports.selection import Selection
from reports.summary import loss_title, unit

COLUMNS = 6  # values of a setting


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each loss and numeric setting with two-dimensional embeddings the test images of the
    first finished seed at each value; see `points.cell_rows`.
    """
    for sweep in sweeps(study, selection, 2, COLUMNS):
        room = per_class(len(sweep.cells))
        frames = [cell_rows(study, cell, None, room) for cell in sweep.cells]
        frame = pd.concat(frames, ignore_index=True)
        if (frame["kind"] != "lost").any():
            titles = frame["cell"].map(sweep.titles)
            frame = frame.assign(axis=sweep.axis, title=titles, fixed=sweep.note)
            yield f"embedding_row-{sweep.loss}-{sweep.axis}", frame


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    cells = list(dict.fromkeys(frame["cell"]))
    kind = next(kind for kind in reversed(HEADINGS) if (frame["kind"] == kind).any())
    styles = styles_of(frame)
    width = max(PAGE * min(1, len(cells) / 4), PAGE / 2)
    figure = Figure(figsize=(width, 1.9 * width / len(cells) + 0.9), layout="constrained")
    panels = figure.subplots(2, len(cells), squeeze=False)
    for column, cell in enumerate(cells):
        own = frame[frame["cell"] == cell]
        panels[0, column].set_title(str(own["title"].iloc[0]))
        if (own["kind"] == "lost").all():
            for ax in panels[:, column]:
                hatched(ax, str(own["lost"].iloc[0]) or "no embeddings")
            continue
        plane(panels[0, column], own, kind, styles, limit_of(own))
        circle(panels[1, column], own, kind, styles)
    panels[0, 0].set_ylabel("$x_2$ over $x_1$")
    panels[1, 0].set_ylabel("by direction")
    class_legend(figure, styles, unknown=False, columns=10 if width > 5 else 5)
    loss, axis = loss_title(str(frame["loss"].iloc[0])), str(frame["axis"].iloc[0])
    seeds = sorted({int(seed) for seed in frame["seed"] if seed >= 0})
    most = int(frame[frame["kind"] == kind].groupby(["cell", "class"]).size().max())
    in_unit = unit(str(frame["loss"].iloc[0]), axis)
    lost = frame[frame["lost"] != ""].drop_duplicates("cell")
    gone = ", ".join(f"{row.title} ({row.lost})" for row in lost.itertuples())
    name = axis.replace("_", " ")
    caption = (
        f"{loss}, {HEADINGS[kind].lower()}, by {name}{f' ({in_unit})' if in_unit else ''}: "
        "embeddings as they are (top, each on its own scale) and divided by their length (bottom; "
        "outside the circle the share of each class's images per 5° of direction). "
        f"{directions_text(frame)} One run each, seed {', '.join(map(str, seeds))}; at most {most} "
        f"images per class, each class named at their mean.{classes_text(frame, styles)}"
        f"{f' Lost: {gone}.' if gone else ''} {frame['fixed'].iloc[0]}"
    )
    values = ", ".join(dict.fromkeys(frame["title"]))
    return Drawing(
        figure,
        f"Embedding by {name}: {loss}",
        caption.strip(),
        f"Scatter of two-dimensional embeddings of {len(styles)} classes for {loss} with {values}.",
    )
