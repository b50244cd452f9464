"""Two-dimensional embeddings, train and test: as they are, and projected to the unit circle."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.embeddings.axes import (
    HEADINGS,
    Styles,
    circle,
    class_legend,
    classes_text,
    directions_text,
    hatched,
    limit_of,
    plane,
    styles_of,
    wrapped,
)
from reports.figures.embeddings.points import PARTS, cell_rows, cells_of, per_class
from reports.figures.style import COLUMN, PAGE, Drawing
from reports.selection import Selection

CELLS = 12  # drawn
COLUMNS = 4  # cells in one figure
LEGEND = 12  # classes in one line below a page-wide figure


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """The compared cells with two-dimensional embeddings, up to `COLUMNS` in a figure: the points
    of the first finished seed of each, thinned evenly; see `points.cell_rows`.
    """
    cells = cells_of(study, selection, 2)
    shown = cells[:CELLS]
    count = -(-len(shown) // COLUMNS)
    for number in range(count):
        group = [cell for place, cell in enumerate(shown) if place * count // len(shown) == number]
        # Training and test images; those of unknown classes are as many as of two more.
        room = per_class(2 * len(group))
        frame = pd.concat(
            [cell_rows(study, cell, tuple(PARTS), room) for cell in group], ignore_index=True
        )
        if (frame["kind"] != "lost").any():
            name = "embedding" if count == 1 else f"embedding-{number + 1}"
            yield name, frame.assign(part_of=f"{len(shown)}/{len(cells)}")


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave: one cell in 2 × 2 panels, more cells one a column."""
    cells = list(dict.fromkeys(frame["cell"]))
    kinds = [kind for kind in HEADINGS if (frame["kind"] == kind).any()]
    styles = styles_of(frame)
    figure, panels = _layout(cells, kinds)
    for cell in cells:
        own = frame[frame["cell"] == cell]
        limit = limit_of(own)
        for (kind, space), ax in panels[cell].items():
            if (own["kind"] == "lost").all():
                hatched(ax, str(own["lost"].iloc[0]) or "no embeddings")
            elif space == "plane":
                plane(ax, own, kind, styles, limit)
            else:
                circle(ax, own, kind, styles)
        if len(cells) > 1:
            next(iter(panels[cell].values())).set_title(wrapped(str(own["label"].iloc[0])))
    class_legend(figure, styles, _has(frame, "unknown"), LEGEND if len(cells) > 2 else 6)
    names = ", ".join(dict.fromkeys(frame["label"]))
    return Drawing(figure, f"Embedding: {names}", _caption(frame, styles), _alt(frame, styles))


def _layout(
    cells: list[str], kinds: list[str]
) -> tuple[Figure, dict[str, dict[tuple[str, str], Axes]]]:
    """Panels of each cell by (kind, space); a cell alone has the kinds side by side, others have
    them one below the other, and the circle for the last kind only.
    """
    if len(cells) == 1:
        size = (COLUMN * 1.15, 4.35) if len(kinds) > 1 else (COLUMN, 6.4)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(2, len(kinds), squeeze=False)
        for column, kind in enumerate(kinds):
            axes[0, column].set_title(HEADINGS[kind])
            axes[0, column].set_xlabel("$x_1$")
        axes[0, 0].set_ylabel("$x_2$")
        spaces = ("plane", "circle")
        return figure, {
            cells[0]: {
                (k, s): axes[i, j] for i, s in enumerate(spaces) for j, k in enumerate(kinds)
            }
        }
    rows = [*((kind, "plane") for kind in kinds), (kinds[-1], "circle")]
    width = PAGE * (0.06 + 0.235 * len(cells))
    figure = Figure(figsize=(width, 1.65 * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots(len(rows), len(cells), squeeze=False)
    for row, (kind, space) in zip(axes, rows, strict=True):
        how = "$x_2$ over $x_1$" if space == "plane" else "by direction"
        row[0].set_ylabel(f"{HEADINGS[kind]}\n{how}")
    return figure, {cell: dict(zip(rows, axes[:, i], strict=True)) for i, cell in enumerate(cells)}


def _caption(frame: pd.DataFrame, styles: Styles) -> str:
    cells = frame["cell"].nunique()
    shown, of = str(frame["part_of"].iloc[0]).split("/")
    kept = frame[~frame["kind"].isin(("lost", "unknown"))]
    most = int(kept.groupby(["cell", "kind", "class"]).size().max())
    seeds = sorted({int(seed) for seed in frame["seed"] if seed >= 0})
    lost = {label: text for label, text in zip(frame["label"], frame["lost"], strict=True) if text}
    return (
        "Two-dimensional embeddings as they are (top) and divided by their length (bottom; outside "
        "the circle the share of each class's images per 5° of direction, the tallest bar alike in "
        f"each panel). {directions_text(frame)} "
        f"One run{' each' if cells > 1 else ''}, seed {', '.join(map(str, seeds))}; at most {most} "
        f"images per class and panel, each class named at their mean.{classes_text(frame, styles)}"
        f"{' Grey: images of classes never seen in training.' if _has(frame, 'unknown') else ''}"
        f"{f' {shown} of {of} settings: the first of the study.' if shown != of else ''}"
        f"{_lost(lost)}"
    )


def _lost(lost: dict[str, str]) -> str:
    return f" Lost: {', '.join(f'{key} ({text})' for key, text in lost.items())}." if lost else ""


def _alt(frame: pd.DataFrame, styles: Styles) -> str:
    names = ", ".join(dict.fromkeys(frame["label"]))
    return (
        f"Scatter of two-dimensional embeddings of {len(styles)} classes for {names}: training and "
        "test images, as they are and by their direction."
    )


def _has(frame: pd.DataFrame, kind: str) -> bool:
    return bool((frame["kind"] == kind).any())
