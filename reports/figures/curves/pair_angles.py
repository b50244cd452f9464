"""Histograms of the angle between the two images of a pair, genuine and impostor, as in ArcFace's
Figures 6 and 7: a panel per compared cell.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from reports.collect import Study
from reports.figures.curves.panels import lost_text, named, panel_title, panels, runs_text, titles
from reports.figures.style import GREY, Drawing, color, slots
from reports.selection import Selection
from reports.summary import loss_title, setting_text

DEGREES = 3  # of a bin
SHOWN = 32  # panels
HOME = "test/verification/"
Floats = NDArray[np.float64]


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per compared cell and bin: the share of the genuine and of the impostor pairs whose
    angle is in [angle, angle + 3°), mean over seeds; ``eer`` and the ``threshold`` in degrees at which
    FAR = FRR, means over seeds. A cell without any result has one row, without an angle.
    """
    frames = []
    for cell in selection.cells:
        own = study.frame[study.frame["cell"] == cell]
        found = [each for run in own["id"] if (each := _shares(study, run)) is not None]
        loss = str(own["loss"].iloc[0])
        fixed = {
            "cell": cell,
            "loss": loss,
            "label": f"{loss_title(loss)} {setting_text(study, cell)}".strip(),
            "slot": slots(study)[loss],
            "n": len(found),
            "runs": len(own),
        }
        if not found:
            frames.append(pd.DataFrame([{**fixed, "angle": np.nan}]))
            continue
        shares = np.mean([each[0] for each in found], axis=0)  # (2, 180)
        genuine, impostor = shares.reshape(2, -1, DEGREES).sum(axis=2)
        values = {
            "angle": np.arange(0, 180, DEGREES),
            "genuine": [float(f"{share:.4g}") for share in genuine],
            "impostor": [float(f"{share:.4g}") for share in impostor],
            "threshold": round(float(np.mean([each[1] for each in found])), 2),
            "eer": float(f"{own['verification/eer'].mean():.6g}"),
        }
        frames.append(pd.DataFrame({**fixed, **values}))
    if any(frame["n"].iloc[0] for frame in frames):
        yield "pair_angles", pd.concat(frames, ignore_index=True)


def _shares(study: Study, run: str) -> tuple[Floats, float] | None:
    """Shares of the genuine and the impostor pairs by degree (2, 180), and the angle of the EER."""
    stored = study.curves(run)
    names = [f"{HOME}{kind}_angles" for kind in ("genuine", "impostor")]
    if not all(name in stored and stored[name].sum() for name in names):
        return None
    shares = np.array([stored[name] / stored[name].sum() for name in names])
    accepted = np.concatenate([np.zeros((2, 1)), np.cumsum(shares, axis=1)], axis=1)
    excess = accepted[1] - (1 - accepted[0])  # FAR - FRR at 0°, 1°, …, 180°: from -1 up to 1
    after = int(np.argmax(excess >= 0))
    low, high = excess[after - 1], excess[after]
    return shares, float(after - high / (high - low))


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    first = frame.drop_duplicates("cell").set_index("cell")
    best = set(first["eer"].sort_values(kind="stable").index[:SHOWN])
    cells = [cell for cell in first.index if cell in best]
    # Five or six stand in two rows of three, so that no row is left with one.
    across = 5 if len(cells) > 20 else 3 if len(cells) in (5, 6, 9) else min(len(cells), 4)
    names, lines_above = titles(frame, across)
    figure, places = panels(
        len(cells),
        across,
        {1: 2.4, 2: 1.9, 3: 1.5, 5: 0.8}.get(across, 1.15),
        "Angle between the two images (°)",
        f"Share of the pairs per {DEGREES}° (%)",
        top=0.23 + 0.11 * lines_above,
        legend=0.22,
    )
    for ax, cell in zip(places, cells, strict=True):
        _panel(ax, frame[frame["cell"] == cell], names[cell])
    places[0].set_xlim(0, _end(frame))
    places[0].set_ylim(bottom=0)
    places[0].set_xticks(range(0, int(_end(frame)) + 1, 60 if across == 5 else 30))
    handles = [
        Patch(facecolor=GREY, alpha=0.6, label="genuine pairs (filled)"),
        Line2D([], [], color="black", label="impostor pairs (outline)"),
        Line2D([], [], color="black", linestyle=":", label="threshold at the EER"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=3)
    hidden = len(first) - len(cells)
    note = f" {SHOWN} of {len(first)} are shown: those with the lowest EER." if hidden else ""
    caption = (
        "Angles of genuine and impostor pairs of test classes never seen in training, each as a "
        f"share of its own pairs; mean over {runs_text(frame)}. Dotted: the threshold at the equal "
        f"error rate; above each panel the EER and that angle.{note}{lost_text(frame)}"
    )
    called = named(frame)
    told = first.loc[cells].dropna(subset="eer").sort_values("eer", kind="stable")[:12]
    texts = [
        f"{called[str(cell)]} {100 * row['eer']:.1f} % at {row['threshold']:.0f}°"
        for cell, row in told.iterrows()
    ]
    alt = f"Histograms of pair angles. EER and its threshold: {'; '.join(texts)}."
    return Drawing(figure, "Angles of genuine and impostor pairs", caption, alt)


def _panel(ax: Axes, cell: pd.DataFrame, name: str) -> None:
    if cell["angle"].isna().all():
        panel_title(ax, name)
        ax.text(0.5, 0.5, "× no result", transform=ax.transAxes, ha="center", va="center")
        return
    edges = np.append(cell["angle"], cell["angle"].iloc[-1] + DEGREES)
    own = color(int(cell["slot"].iloc[0]))
    ax.stairs(100 * cell["genuine"], edges, fill=True, color=own, alpha=0.55, linewidth=0)
    ax.stairs(100 * cell["impostor"], edges, color="black", linewidth=0.9)
    threshold, eer = float(cell["threshold"].iloc[0]), 100 * float(cell["eer"].iloc[0])
    ax.axvline(threshold, color="black", linestyle=":", linewidth=0.9)
    panel_title(ax, f"{name}\nEER {eer:.1f} % at {threshold:.0f}°")


def _end(frame: pd.DataFrame) -> float:
    """The angle up to which is drawn: where the last pairs are, in steps of 30°."""
    seen = frame[(frame["genuine"] > 1e-4) | (frame["impostor"] > 1e-4)]["angle"].max()
    return float(min(180, 30 * np.ceil((seen + DEGREES) / 30)))
