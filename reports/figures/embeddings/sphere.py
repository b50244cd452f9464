"""Three-dimensional embeddings on the unit sphere, above the angles of the pairs of test images
(SphereFace, figure 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.collect import Study
from reports.figures.embeddings.axes import (
    HEADINGS,
    Styles,
    bare,
    class_legend,
    classes_text,
    hatched,
    styles_of,
    wrapped,
)
from reports.figures.embeddings.points import (
    DIRECTIONS,
    PARTS,
    cell_rows,
    cells_of,
    per_class,
    run_of,
    stored,
)
from reports.figures.embeddings.sweep import Sweep, sweeps
from reports.figures.embeddings.unit_sphere import STEP, graticule, pair_angles, projected
from reports.figures.style import GREY, PAGE, Drawing
from reports.selection import Selection
from reports.summary import loss_title

COLUMNS = 5
_PAIRS = ("positive", "negative")


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """The sweeps of each loss with three-dimensional embeddings and, unless they show these already,
    the compared cells; rows as in `points.cell_rows`, and of kind ``positive`` and
    ``negative`` the number of pairs of test images by their angle (``x``: degrees, lower end).
    """
    shown: set[str] = set()
    for sweep in sweeps(study, selection, 3, COLUMNS):
        frame = _frame(study, sweep.cells, sweep)
        if (frame["kind"] != "lost").any():
            shown |= set(sweep.cells)
            yield f"sphere-{sweep.loss}-{sweep.axis}", frame
    cells = cells_of(study, selection, 3)
    if not set(cells) <= shown:
        frame = _frame(study, cells[:COLUMNS], None)
        if len(cells) > COLUMNS:
            frame["fixed"] = f"The first {COLUMNS} of {len(cells)} settings are drawn."
        if (frame["kind"] != "lost").any():
            yield "sphere", frame


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    cells = list(dict.fromkeys(frame["cell"]))
    kind = next(kind for kind in reversed(HEADINGS) if (frame["kind"] == kind).any())
    styles = styles_of(frame[~frame["kind"].isin(_PAIRS)])
    side = min(PAGE / max(len(cells), 2), 2.3)
    figure = Figure(figsize=(side * max(len(cells), 2), 0.95 * side + 2.3), layout="constrained")
    panels = figure.subplots(
        2, len(cells), squeeze=False, height_ratios=(side, 1.2), sharey="row", sharex="row"
    )
    means = []
    for cell, (ball, bars) in zip(cells, panels.T, strict=True):
        own = frame[frame["cell"] == cell]
        title = str(own["title"].iloc[0])
        ball.set_title(wrapped(title))
        if (own["kind"] == "lost").all():
            for ax in (ball, bars):
                hatched(ax, str(own["lost"].iloc[0]) or "no embeddings")
            continue
        _sphere(ball, own, kind, styles)
        middle = {pair: _histogram(bars, own, pair) for pair in _PAIRS}
        means.append(f"{title}: {middle['positive']:.0f}° and {middle['negative']:.0f}°")
    panels[1, 0].set_ylabel(f"Pairs (% per {STEP}°)")
    panels[1, -1].legend(loc="upper right", borderpad=0, handlelength=1.4)
    for ax in panels[1]:
        ax.set_xlabel("Angle of a pair (°)")
    class_legend(figure, styles, unknown=False, columns=10 if len(cells) > 2 else 5)
    loss = ", ".join(dict.fromkeys(map(loss_title, frame["loss"])))
    return Drawing(
        figure,
        f"Unit sphere: {loss}",
        _caption(frame, kind, styles, loss),
        f"Points on a sphere and histograms of pair angles for {loss}. Mean angle of positive and "
        f"of negative pairs: {'; '.join(means)}.",
    )


def _frame(study: Study, cells: list[str], sweep: Sweep | None) -> pd.DataFrame:
    frames = []
    for cell in cells:
        # The rest of the rows are histograms.
        rows = cell_rows(study, cell, None, per_class(len(cells) + 1))
        title = rows["label"].iloc[0]
        if sweep is not None:
            title = f"{loss_title(sweep.loss)}, {sweep.titles[cell]}"
        known, counts = _pairs(study, cell)
        seen = [
            {"kind": pair, "class": -1, "x": float(STEP * place), "count": int(count)}
            for pair, own in counts.items()
            for place, count in enumerate(own)
            if count
        ]
        head = rows[["cell", "loss", "label", "seed", "lost"]].iloc[0].to_dict()
        both = [rows, pd.DataFrame(seen).assign(**head)] if seen else [rows]
        frames.append(pd.concat(both, ignore_index=True).assign(title=title, known_pairs=known))
    note = "" if sweep is None else sweep.note
    return pd.concat(frames, ignore_index=True).assign(fixed=note)


def _pairs(study: Study, cell: str) -> tuple[bool, Mapping[str, NDArray[np.int64]]]:
    """Whether the pairs are of known classes, and their counts by angle: those of verification,
    else of the test images of known classes.
    """
    run = run_of(study, cell)
    if run is None:
        return True, {}
    curves = study.curves(run[0])
    names = {"positive": "genuine", "negative": "impostor"}
    kept = {pair: curves.get(f"test/verification/{name}_angles") for pair, name in names.items()}
    if all(own is not None for own in kept.values()):
        return False, {
            pair: own.reshape(-1, STEP).sum(axis=1) for pair, own in kept.items() if own is not None
        }
    arrays = stored(study, run[0], "embeddings", "labels", "part")
    mine = arrays["part"] == PARTS["test"]
    mine &= np.isfinite(arrays["embeddings"]).all(axis=1)
    if mine.sum() < 2:
        return True, {}
    return True, pair_angles(arrays["embeddings"][mine], arrays["labels"][mine])


def _sphere(ax: Axes, frame: pd.DataFrame, kind: str, styles: Styles) -> None:
    """Points in front bright, behind pale; the sphere as circles of latitude and longitude."""
    for line in graticule():
        seen = projected(line)
        back = np.where(seen[:, 2:] >= 0, seen[:, :2], np.nan)
        ax.plot(*back.T, color="#dcdcdc", linewidth=0.4, zorder=1)
    turn = np.linspace(0, 2 * np.pi, 181)
    ax.plot(np.cos(turn), np.sin(turn), color=GREY, linewidth=0.6, zorder=1)
    ax.set_rasterization_zorder(2.5)
    for label, (own, shape) in styles.items():
        mine = frame[(frame["kind"] == kind) & (frame["class"] == label)]
        seen = projected(mine[["x", "y", "z"]].to_numpy())
        for front, alpha in ((False, 0.15), (True, 0.8)):
            at = seen[(seen[:, 2] >= 0) == front]
            ax.plot(
                *at[:, :2].T,
                shape,
                color=own,
                markersize=2.2,
                mew=0,
                alpha=alpha,
                zorder=2 + 0.1 * front,
            )
    marks = frame[frame["kind"].isin(DIRECTIONS)]
    for end, label in zip(
        projected(marks[["x", "y", "z"]].to_numpy()), marks["class"], strict=True
    ):
        own, shape = styles[int(label)]
        ax.plot(
            *end[:2],
            shape,
            color=own,
            markersize=5,
            mec="black",
            mew=0.7,
            alpha=1 if end[2] >= 0 else 0.35,
            zorder=3,
        )
    ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    bare(ax)


def _histogram(ax: Axes, frame: pd.DataFrame, pair: str) -> float:
    """Shares of the pairs of one kind; returns their mean angle (degrees)."""
    mine = frame[frame["kind"] == pair]
    counts = np.zeros(180 // STEP)
    counts[(mine["x"] // STEP).astype(int)] = mine["count"]
    total = counts.sum()
    shares = 100 * counts / max(total, 1)
    edges = np.arange(0, 180 + STEP, STEP)
    first = pair == "positive"
    ink = "#0072B2" if first else "#D55E00"
    ax.stairs(shares, edges, color=ink, fill=True, alpha=0.35 if first else 0.15)
    ax.stairs(shares, edges, color=ink, linestyle="-" if first else "--", label=f"{pair} pairs")
    ax.set(xlim=(0, 180), xticks=(0, 60, 120, 180))
    return float((counts * (edges[:-1] + STEP / 2)).sum() / max(total, 1))


def _caption(frame: pd.DataFrame, kind: str, styles: Styles, loss: str) -> str:
    marks = [name for name in DIRECTIONS if (frame["kind"] == name).any()]
    names = {"weight": "class weights", "center": "centers", "mean": "means of training images"}
    seeds = sorted({int(seed) for seed in frame["seed"] if seed >= 0})
    most = int(frame[frame["kind"] == kind].groupby(["cell", "class"]).size().max())
    known = bool(frame.loc[frame["kind"] != "lost", "known_pairs"].iloc[0])
    lost = frame[frame["lost"] != ""].drop_duplicates("cell")
    gone = ", ".join(f"{row.title} ({row.lost})" for row in lost.itertuples())
    text = (
        f"{loss}: three-dimensional embeddings of {HEADINGS[kind].lower()} divided by their length "
        "(top; pale: on the far side; edged in black: "
        f"{' or '.join(names[mark] for mark in marks)}), and the angles of pairs of test images of "
        f"one class (positive) and of two (negative), {'of known classes' if known else 'never seen in training'}"
        f" (bottom). One run each, seed {', '.join(map(str, seeds))}; at most {most} images per "
        f"class drawn.{classes_text(frame, styles)}{f' Lost: {gone}.' if gone else ''} "
        f"{frame['fixed'].iloc[0]}"
    )
    return text.strip()
