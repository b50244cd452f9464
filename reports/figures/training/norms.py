"""Lengths of the embeddings of test images, which some losses read as a sign of quality (MagFace,
AdaFace).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports.collect import Study
from reports.figures.cell_panels import MOST, grid, lost_panel, notes, outer, seeds_text
from reports.figures.embeddings.points import PARTS, facts, stored
from reports.figures.style import Drawing, color, slots
from reports.selection import Selection

BINS = 40
_FROM = "test/geometry/norm"


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each compared cell the number of test images by length, all seeds together, in `BINS` bins
    from 0 to the longest; of unknown classes, in a study without any of known ones.
    """
    frames = [_cell(study, cell) for cell in selection.cells[:MOST]]
    frame = pd.concat(frames, ignore_index=True)
    if (frame["kind"] != "lost").any():
        part = f"{len(frames)}/{len(selection.cells)}"
        yield "norms", frame.assign(part_of=part, slot=frame["loss"].map(slots(study)))


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    cells = frame.drop_duplicates("cell")
    figure, panels = grid(list(cells["label"]), extra=0.2)
    means = []
    for cell, ax in zip(cells["cell"], panels, strict=True):
        own = frame[frame["cell"] == cell]
        if not lost_panel(ax, own):
            means.append(f"{own['label'].iloc[0]} {_panel(ax, own)}")
    outer(panels, "Embedding length", "Test images (%)")
    kinds = set(frame["kind"]) - {"lost"}
    whose = "classes never seen in training" if kinds == {"unknown"} else "known classes"
    caption = (
        f"Lengths of the embeddings of test images of {whose}, {seeds_text(frame)} together, in "
        f"{BINS} bins from 0 to the longest; line and number: mean; in brackets the standard "
        "deviation as a share of it. Each panel has its own axes: a loss that looks at directions "
        f"alone leaves the length free.{notes(frame)}"
    )
    return Drawing(
        figure,
        "Embedding lengths",
        caption,
        f"Histograms of embedding lengths. Mean (spread): {'; '.join(means)}.",
    )


def rebinned(
    counts: NDArray[np.number], edges: NDArray[np.floating], to: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Counts (B,) in bins with `edges` (B + 1,) shared out to other bins, even within each old one;
    their sum stays where the new bins hold the old ones.

    >>> rebinned(np.array([4, 2]), np.array([0.0, 1, 2]), np.array([0, 0.5, 2, 3])).tolist()
    [2.0, 4.0, 0.0]
    """
    below = np.concatenate([[0.0], np.cumsum(counts, dtype=float)])
    return np.diff(np.interp(to, edges, below))


def _cell(study: Study, cell: str) -> pd.DataFrame:
    head = facts(study, cell)
    runs = study.frame[(study.frame["cell"] == cell) & (study.frame["status"] == "finished")]
    found = [_histogram(study, str(run)) for run in runs["id"]]
    known = [each for each in found if each is not None]
    if not known:
        return pd.DataFrame([{**head, "kind": "lost"}])
    edges = np.linspace(0, max(own[2][-1] for own in known), BINS + 1)
    total = np.sum([rebinned(counts, old, edges) for _, counts, old in known], axis=0)
    middles = np.concatenate([(old[1:] + old[:-1]) / 2 for _, _, old in known])
    weights = np.concatenate([counts for _, counts, _ in known])
    mean = float(np.average(middles, weights=weights))
    spread = float(np.sqrt(np.average((middles - mean) ** 2, weights=weights)))
    table = {
        "kind": known[0][0],
        "low": [float(f"{edge:.5g}") for edge in edges[:-1]],
        "high": [float(f"{edge:.5g}") for edge in edges[1:]],
        "count": total.round(2),
        "mean": float(f"{mean:.5g}"),
        "sd": float(f"{spread:.5g}"),
        "n": len(known),
    }
    return pd.DataFrame(table).assign(**head)


def _histogram(
    study: Study, run: str
) -> tuple[str, NDArray[np.number], NDArray[np.floating]] | None:
    """Whose test images, their counts and the bins' edges; None: the run has no test images."""
    curves = study.curves(run)
    if f"{_FROM}_histogram" in curves:
        return "unknown", curves[f"{_FROM}_histogram"], curves[f"{_FROM}_edges"]
    parts = stored(study, run, "part").get("part", np.empty(0))
    mine = parts == PARTS["test"]
    if not mine.any():
        return None
    lengths = np.linalg.norm(
        stored(study, run, "embeddings")["embeddings"][mine].astype(float), axis=1
    )
    lengths = lengths[np.isfinite(lengths)]
    top = float(lengths.max(initial=0)) or 1.0
    return "known", *np.histogram(lengths, 100, (0.0, top))


def _panel(ax: Axes, frame: pd.DataFrame) -> str:
    """Draw one cell; returns its mean and spread."""
    own = color(int(frame["slot"].iloc[0]))
    edges = [*frame["low"], frame["high"].iloc[-1]]
    mean, spread = float(frame["mean"].iloc[0]), float(frame["sd"].iloc[0])
    shares = 100 * frame["count"] / max(frame["count"].sum(), 1e-12)
    ax.stairs(shares, edges, fill=True, color=own, alpha=0.35)
    ax.stairs(shares, edges, color=own, linewidth=1)
    ax.axvline(mean, color="black", linewidth=0.7, linestyle=(0, (4, 2)))
    text = f"{mean:.3g} ({100 * spread / max(mean, 1e-12):.0f} %)"
    left = mean > 0.5 * edges[-1]
    ax.text(
        0.03 if left else 0.97,
        0.96,
        text,
        transform=ax.transAxes,
        ha="left" if left else "right",
        va="top",
        fontsize=6,
    )
    ax.set_xlim(0, edges[-1])
    ax.set_ylim(0, 1.1 * float(shares.max()))
    ax.locator_params(nbins=4)
    return text
