"""Open-set ROC of the compared cells: FAR on a log axis, mean over seeds by vertical averaging."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.style import COLUMN, Drawing, color, dashes, slots
from reports.selection import Selection
from reports.statistics import average_curve
from reports.summary import loss_title, setting_text

POINTS = 120  # of the common grid
MIN_FALSE_ACCEPTS = 10  # below FAR × impostor pairs = 10 the curve rests on a handful of pairs
# Cells in one figure; more are drawn loss by loss, and without bands, which would hide each other
TOGETHER = 7


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per cell and FAR of the grid, which begins where the data begins to carry a rate."""
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    pairs = []
    for row in study.frame[study.frame["cell"].isin(selection.cells)].to_dict("records"):
        stored = study.archive(row["id"], "curves.npz")
        if "test/verification/far" in stored:
            curves.setdefault(row["cell"], []).append(
                (stored["test/verification/far"], stored["test/verification/tar"])
            )
            pairs.append(float(row.get("verification/impostor_pairs", np.nan)))
    counted = [count for count in pairs if count == count and count > 0]
    if not curves or not counted:
        return
    lowest = MIN_FALSE_ACCEPTS / min(counted)
    if lowest >= 1:
        return
    grid = np.geomspace(lowest, 1.0, POINTS)
    losses = study.cells.set_index("cell")["loss"]
    frames = []
    for cell in [cell for cell in selection.cells if cell in curves]:
        mean, half = average_curve(curves[cell], grid)
        label = f"{loss_title(losses[cell])} {setting_text(study, cell)}".strip()
        fixed = {
            "cell": cell,
            "loss": losses[cell],
            "label": label,
            "slot": slots(study)[losses[cell]],
            "n": len(curves[cell]),
        }
        frames.append(
            pd.DataFrame({**fixed, "far": grid, "tar": mean, "half": half, "lowest_far": lowest})
        )
    table = pd.concat(frames, ignore_index=True)
    if len(frames) <= TOGETHER:
        yield "roc", table
        return
    for loss, own in table.groupby("loss", sort=False):
        yield f"roc-{loss}", own.reset_index(drop=True)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    cells = frame["cell"].nunique()
    alone = frame["loss"].nunique() == 1
    if alone and cells > 1:
        frame = frame.assign(
            label=frame["label"].str.removeprefix(loss_title(str(frame["loss"].iloc[0])) + " ")
        )
    figure = Figure(figsize=(COLUMN * 1.25, 2.9 + 0.13 * -(-cells // 2)), layout="constrained")
    _panel(figure.subplots(), frame, spread=alone)
    figure.legend(loc="outside lower center", ncols=2 if cells < 9 else 3)
    lowest = float(frame["lowest_far"].iloc[0])
    low, high = int(frame["n"].min()), int(frame["n"].max())
    runs = str(high) if low == high else f"{low} to {high}"
    caption = (
        "Open-set verification ROC, test classes never seen in training. Line: mean TAR over "
        f"{runs} seed{'s' if high > 1 else ''} at "
        f"equal FAR (vertical averaging){_band(high, cells)}. "
        f"Not drawn below FAR = {lowest:.1e}, where FAR × impostor pairs < {MIN_FALSE_ACCEPTS}."
    )
    at = frame[frame["far"] <= max(lowest * 1.001, 0.01)].groupby("label", sort=False)["tar"].last()
    alt = (
        "ROC curves. TAR near FAR 1 %: "
        + "; ".join(f"{label} {100 * tar:.1f} %" for label, tar in at.items())
        + "."
    )
    title = f"Open-set ROC: {loss_title(str(frame['loss'].iloc[0]))}" if alone else "Open-set ROC"
    return Drawing(figure, title, caption, alt)


def _band(seeds: int, cells: int) -> str:
    if seeds < 2:
        return ""
    kind = "pointwise 95 % Student-t interval"
    return f"; band: {kind}" if cells <= TOGETHER else f"; the {kind} of each line is in the CSV"


def _panel(ax: Axes, frame: pd.DataFrame, spread: bool) -> None:
    cells = list(frame.groupby("cell", sort=False))
    for index, (_, line) in enumerate(cells):
        slot = int(line["slot"].iloc[0])
        within = [cell for cell, other in cells if int(other["slot"].iloc[0]) == slot]
        # One loss alone: its cells differ in colour. Several losses: a loss keeps its colour, its
        # cells differ in dashes.
        own = color(index) if spread else color(slot)
        style = (
            dashes(index // 7) if spread else dashes(slot, within.index(str(line["cell"].iloc[0])))
        )
        ax.plot(
            line["far"],
            100 * line["tar"],
            color=own,
            linestyle=style,
            label=str(line["label"].iloc[0]),
        )
        if line["half"].notna().any() and len(cells) <= TOGETHER:
            low, high = line["tar"] - line["half"], line["tar"] + line["half"]
            ax.fill_between(
                line["far"],
                100 * low.clip(0, 1),
                100 * high.clip(0, 1),
                color=own,
                alpha=0.15,
                linewidth=0,
            )
    lowest = float(frame["lowest_far"].iloc[0])
    ax.set_xscale("log")
    ax.set_xlim(lowest / 1.6, 1)
    ax.axvspan(lowest / 1.6, lowest, color="#ededed", linewidth=0, zorder=0)
    bottom = 100 * float((frame["tar"] - frame["half"].fillna(0)).min())
    ax.set_ylim(max(0.0, bottom - 4), 101)
    ax.set_xlabel("False accept rate (log scale)")
    ax.set_ylabel("True accept rate (%)")
