"""Two-dimensional embeddings, train and test: as they are, and projected to the unit circle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.collect import Study
from reports.figures.style import COLUMN, GREY, MARKERS, PALETTE, Drawing
from reports.selection import Selection
from reports.summary import loss_title, setting_text

PARTS = {0: "train", 2: "test", 4: "unknown"}  # codes of ``part`` in a run's embeddings
CLASSES = 10  # drawn; more could not be told apart
POINTS = 150  # per class and part
COLOURS = (*PALETTE[:6], "#7f3c8d", "#8a8d0f", "#8c564b", "#000000")


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each compared cell with 2-D embeddings the points of its first finished seed, thinned
    evenly.
    """
    finished = study.frame[
        (study.frame["status"] == "finished") & study.frame["cell"].isin(selection.cells)
    ]
    for number, (cell, runs) in enumerate(finished.groupby("cell", sort=False)):
        row = runs.sort_values("seed").iloc[0]
        stored = study.archive(str(row["id"]), "embeddings.npz")
        if not stored or stored["embeddings"].shape[1] != 2:
            continue
        known = np.sort(stored["known_classes"])
        frames = []
        for code, part in PARTS.items():
            labels = (
                known[:CLASSES]
                if part != "unknown"
                else np.setdiff1d(np.unique(stored["labels"]), known)
            )
            for label in labels:
                rows = np.flatnonzero((stored["part"] == code) & (stored["labels"] == label))
                if len(rows) > POINTS:
                    rows = rows[np.linspace(0, len(rows) - 1, POINTS).astype(int)]
                x, y = stored["embeddings"][rows].T.astype(float)
                frames.append(pd.DataFrame({"part": part, "class": int(label), "x": x, "y": y}))
        frame = pd.concat(frames, ignore_index=True)
        if len(frame):
            fixed = {
                "cell": cell,
                "loss": row["loss"],
                "label": setting_text(study, str(cell)),
                "seed": int(row["seed"]),
            }
            yield (
                f"embedding-{row['loss']}-{number + 1}",
                frame.assign(**fixed, known_classes=len(known)),
            )


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    first = frame.iloc[0]
    classes = sorted(frame.loc[frame["part"] != "unknown", "class"].unique())
    columns = [part for part in ("train", "test") if (frame["part"] == part).any()]
    figure = Figure(figsize=(COLUMN * 1.15, 4.35 if len(columns) > 1 else 6), layout="constrained")
    panels = figure.subplots(2, len(columns), squeeze=False)
    for column, part in enumerate(columns):
        shown = frame[frame["part"] == part]
        unknown = frame[frame["part"] == "unknown"] if part == "test" else frame[:0]
        _plane(panels[0, column], shown, unknown, classes)
        _circle(panels[1, column], shown, unknown, classes)
        panels[0, column].set_title("Training images" if part == "train" else "Test images")
    limit = 1.05 * float(np.abs(frame[["x", "y"]].to_numpy()).max() or 1)
    for ax in panels[0]:
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="$x_1$")
        ax.locator_params(nbins=5)
    panels[0, 0].set_ylabel("$x_2$")
    for ax in panels[0, 1:]:
        ax.tick_params(labelleft=False)
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[i % len(MARKERS)],
            markersize=3.5,
            color=COLOURS[i % len(COLOURS)],
            label=str(c),
        )
        for i, c in enumerate(classes)
    ]
    if (frame["part"] == "unknown").any():
        handles.append(
            Line2D([], [], linestyle="none", marker="+", markersize=4, color=GREY, label="unknown")
        )
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 6),
        title="Class",
        title_fontsize=6.8,
        handletextpad=0.1,
    )
    name = f"{loss_title(first['loss'])} {first['label']}".strip()
    more = int(first["known_classes"]) - len(classes)
    part = f"; the first {len(classes)} of {len(classes) + more} known classes" if more > 0 else ""
    unseen = " Grey: images of classes never seen in training."
    caption = (
        f"{name}, seed {int(first['seed'])}: two-dimensional embeddings as they are (top) and "
        "divided by their length (bottom; outside the circle the share of each class's images per "
        "5° of direction, the tallest bar alike in each panel). "
        f"One run, at most {POINTS} images per class{part}."
        f"{unseen if (frame['part'] == 'unknown').any() else ''}"
    )
    return Drawing(
        figure,
        f"Embedding: {name}",
        caption,
        f"Scatter of two-dimensional embeddings of {len(classes)} classes for {name}.",
    )


def _plane(ax: Axes, frame: pd.DataFrame, unknown: pd.DataFrame, classes: list[int]) -> None:
    ax.scatter(unknown["x"], unknown["y"], s=6, marker="+", color=GREY, linewidth=0.4, alpha=0.6)
    for index, label in enumerate(classes):
        mine = frame[frame["class"] == label]
        own, shape = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        ax.scatter(mine["x"], mine["y"], s=4, linewidth=0, alpha=0.6, color=own, marker=shape)
    ax.axhline(0, color="#bdbdbd", linewidth=0.5, zorder=0)
    ax.axvline(0, color="#bdbdbd", linewidth=0.5, zorder=0)


def _circle(ax: Axes, frame: pd.DataFrame, unknown: pd.DataFrame, classes: list[int]) -> None:
    turn = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(turn), np.sin(turn), color="#bdbdbd", linewidth=0.6, zorder=0)
    if len(unknown):
        angle = np.arctan2(unknown["y"], unknown["x"])
        ax.scatter(
            0.93 * np.cos(angle),
            0.93 * np.sin(angle),
            s=5,
            marker="+",
            color=GREY,
            linewidth=0.4,
            alpha=0.5,
        )
    edges = np.linspace(-np.pi, np.pi, 73)
    tallest = 1e-9
    bars = []
    for index, label in enumerate(classes):
        mine = frame[frame["class"] == label]
        angle = np.arctan2(mine["y"], mine["x"]).to_numpy()
        own = COLOURS[index % len(COLOURS)]
        ax.scatter(
            np.cos(angle),
            np.sin(angle),
            s=3,
            linewidth=0,
            color=own,
            marker=MARKERS[index % len(MARKERS)],
        )
        shares, _ = np.histogram(angle, edges)
        shares = shares / max(len(angle), 1)
        tallest = max(tallest, float(shares.max(initial=0)))
        bars += [
            (start, stop, share, own)
            for start, stop, share in zip(edges[:-1], edges[1:], shares, strict=True)
            if share > 0
        ]
    for start, stop, share, own in bars:
        arc = np.linspace(start, stop, 5)
        outer = 1.06 + 0.26 * share / tallest
        x = np.concatenate([1.06 * np.cos(arc), outer * np.cos(arc[::-1])])
        y = np.concatenate([1.06 * np.sin(arc), outer * np.sin(arc[::-1])])
        ax.fill(x, y, color=own, alpha=0.55, linewidth=0)
    ax.set(xlim=(-1.34, 1.34), ylim=(-1.34, 1.34), aspect="equal")
    ax.axis("off")
