"""Training curves: loss, accuracy and target angle per epoch, mean over seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.collect import Study
from reports.figures.style import PAGE, Drawing, color, dashes, slots
from reports.intervals import mean_interval
from reports.selection import Selection
from reports.summary import loss_title, setting_text

QUANTITIES = {
    "loss": "Training loss (log scale)",
    "accuracy": "Training accuracy (%)",
    "target_angle": "Angle to own class (°)",
}
# Cells in one figure; more are drawn loss by loss, and without bands, which would hide each other
TOGETHER = 7


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per cell, epoch and quantity; runs that stopped early count until then."""
    rows = []
    for row in study.frame[study.frame["cell"].isin(selection.cells)].to_dict("records"):
        for epoch in study.history(row["id"]):
            rows += [
                {
                    "cell": row["cell"],
                    "loss": row["loss"],
                    "epoch": int(epoch["epoch"]),
                    "quantity": key,
                    "value": float(epoch[key]),
                }
                for key in QUANTITIES
                if epoch.get(key) is not None and np.isfinite(epoch[key])
            ]
    if not rows:
        return
    frame = pd.DataFrame(rows)
    keys = ["cell", "loss", "quantity", "epoch"]
    means = (
        frame.groupby(keys, sort=False)["value"]
        .agg(lambda values: mean_interval(values).mean)
        .rename("mean")
    )
    halves = (
        frame.groupby(keys, sort=False)["value"]
        .agg(lambda values: mean_interval(values).half)
        .rename("half")
    )
    counts = frame.groupby(keys, sort=False)["value"].size().rename("n")
    table = pd.concat([means, halves, counts], axis=1).reset_index()
    losses, labels = study.cells.set_index("cell")["loss"], {}
    for cell in selection.cells:
        labels[cell] = f"{loss_title(losses[cell])} {setting_text(study, cell)}".strip()
    table = table.assign(label=table["cell"].map(labels), slot=table["loss"].map(slots(study)))
    if table["cell"].nunique() <= TOGETHER:
        yield "training", table
        return
    for loss, own in table.groupby("loss", sort=False):
        yield f"training-{loss}", own.reset_index(drop=True)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    quantities = [key for key in QUANTITIES if key in set(frame["quantity"])]
    cells = list(dict.fromkeys(frame["cell"]))
    losses = list(dict.fromkeys(frame["loss"]))
    if len(losses) == 1 and len(cells) > 1:
        frame = frame.assign(label=frame["label"].str.removeprefix(loss_title(losses[0]) + " "))
    columns = min(len(cells), 4)
    height = 2.2 + 0.15 * -(-len(cells) // columns)
    figure = Figure(figsize=(PAGE * max(len(quantities), 2) / 3, height), layout="constrained")
    panels = figure.subplots(1, len(quantities), squeeze=False)[0]
    handles: dict[str, Line2D] = {}
    for ax, quantity in zip(panels, quantities, strict=True):
        handles |= _panel(ax, frame[frame["quantity"] == quantity], cells, spread=len(losses) == 1)
        ax.set_xlabel("Epoch")
        ax.set_ylabel(QUANTITIES[quantity])
    ordered = [label for label in dict.fromkeys(frame["label"]) if label in handles]
    figure.legend(
        [handles[label] for label in ordered], ordered, loc="outside lower center", ncols=columns
    )
    title = "Training" if len(losses) > 1 else f"Training: {loss_title(losses[0])}"
    seeds = int(frame["n"].max())
    caption = (
        "Training per epoch, on augmented batches. Line: mean over "
        f"{'up to ' if frame['n'].min() < seeds else ''}{seeds} "
        f"seed{'s' if seeds > 1 else ''}{_band(seeds, len(cells))}. "
        "Loss values of different losses or scales are not on one scale: compare their shape, not "
        "their height."
        f"{' Accuracy: without margin.' if 'accuracy' in quantities else ''}"
    )
    last = frame[frame["epoch"] == frame["epoch"].max()]
    alt = (
        f"{', '.join(QUANTITIES[q] for q in quantities)} over {int(last['epoch'].max())} epochs "
        f"for {', '.join(ordered)}."
    )
    return Drawing(figure, title, caption, alt)


def _band(seeds: int, cells: int) -> str:
    if seeds < 2:
        return ""
    return (
        "; band: 95 % Student-t interval"
        if cells <= TOGETHER
        else "; the 95 % Student-t interval of each line is in the CSV"
    )


def _panel(ax: Axes, frame: pd.DataFrame, cells: list[str], spread: bool) -> dict[str, Line2D]:
    quantity = str(frame["quantity"].iloc[0])
    factor = 100 if quantity == "accuracy" else 1
    seen: dict[int, int] = {}
    handles: dict[str, Line2D] = {}
    for cell, line in frame.groupby("cell", sort=False):
        slot = int(line["slot"].iloc[0])
        index = cells.index(str(cell)) if spread else seen.get(slot, 0)
        seen[slot] = seen.get(slot, 0) + 1
        own, style = (
            (color(index), dashes(index // 7)) if spread else (color(slot), dashes(slot, index))
        )
        line = line.sort_values("epoch")
        single = len(line) == 1
        (drawn,) = ax.plot(
            line["epoch"],
            factor * line["mean"],
            color=own,
            linestyle=style,
            marker="o" if single else None,
            markersize=3,
        )
        handles[str(line["label"].iloc[0])] = drawn
        if line["half"].notna().any() and len(cells) <= TOGETHER:
            low, high = line["mean"] - line["half"], line["mean"] + line["half"]
            floor = line["mean"] / 10 if quantity == "loss" else 0 * low
            low = low.where(low > floor, floor)
            high = high.clip(upper=1) if quantity == "accuracy" else high
            ax.fill_between(
                line["epoch"], factor * low, factor * high, color=own, alpha=0.15, linewidth=0
            )
    if quantity == "loss" and (frame["mean"] > 0).all():
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return handles
