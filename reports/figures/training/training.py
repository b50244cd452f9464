"""Training curves: loss, accuracy and target angle per epoch, mean over seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.collect import Study
from reports.figures.small_multiples import background, capped, first_of_each, grid, styles
from reports.figures.style import Drawing, slots
from reports.selection import Selection
from reports.statistics.intervals import mean_interval
from reports.summary import loss_title, setting_text

QUANTITIES = {
    "loss": "Training loss (log scale)",
    "accuracy": "Training accuracy (%)",
    "target_angle": "Angle to own class (°)",
}
_SHORT = {"loss": "Loss (log)", "accuracy": "Accuracy (%)", "target_angle": "Angle (°)"}
ROWS = 3000  # of a frame: of long trainings of many cells every k-th epoch is kept
LEAST_EPOCHS = 10
NAMED = 8  # lines in the alternative text


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per compared cell, epoch and quantity; runs that stopped early count until then.

    `every`: the epochs are every such one, and the last; `total`: the compared cells; `finished`:
    runs of the cell that did; `lost`: what became of the others.
    """
    losses = study.cells.set_index("cell")["loss"]
    places = first_of_each([losses[cell] for cell in selection.cells])
    cells = [selection.cells[place] for place in places]
    values = _values(study, cells)
    if len(values) == 0:
        return
    last = int(values["epoch"].max())
    per_epoch = len(values.drop_duplicates(["cell", "quantity"]))
    every = -(-last // max(LEAST_EPOCHS, ROWS // per_epoch))
    # Of each cell its last epoch too: one that diverged is drawn to where it stopped.
    ends = values.groupby("cell")["epoch"].transform("max")
    values = values[(values["epoch"] % every == 0) | (values["epoch"] == ends)]
    rows = []
    for (cell, quantity, epoch), own in values.groupby(["cell", "quantity", "epoch"], sort=False):
        found = mean_interval(own["value"])
        ends_of = {"mean": found.mean, "low": found.low, "high": found.high}
        shown = {key: float(f"{value:.6g}") for key, value in ends_of.items()}
        rows.append({"cell": cell, "quantity": quantity, "epoch": epoch, **shown, "n": found.n})
    labels = {c: f"{loss_title(losses[c])} {setting_text(study, c)}".strip() for c in cells}
    table = pd.DataFrame(rows)
    fates = {cell: study.frame.loc[study.frame["cell"] == cell, "status"] for cell in cells}
    table.insert(1, "loss", table["cell"].map(losses))
    yield (
        "training",
        table.assign(
            label=table["cell"].map(labels),
            slot=table["loss"].map(slots(study)),
            every=every,
            finished=table["cell"].map(
                {cell: int((own == "finished").sum()) for cell, own in fates.items()}
            ),
            lost=table["cell"].map({cell: _lost(own) for cell, own in fates.items()}),
            total=len(selection.cells),
        ),
    )


def _lost(status: pd.Series) -> str:
    """``"2 diverged, 1 failed"``; empty where all runs finished."""
    counts = status[status != "finished"].value_counts()
    return ", ".join(f"{n} {str(word).replace('_', ' ')}" for word, n in counts.items())


def _values(study: Study, cells: list[str]) -> pd.DataFrame:
    """What the runs of these cells logged: a row per cell, epoch, quantity and run."""
    rows: list[tuple[str, int, str, float]] = []
    for cell in cells:
        for experiment in study.frame.loc[study.frame["cell"] == cell, "id"]:
            for epoch in study.history(experiment):
                rows += [
                    (cell, int(epoch["epoch"]), key, float(epoch[key]))
                    for key in QUANTITIES
                    if epoch.get(key) is not None and np.isfinite(epoch[key])
                ]
    return pd.DataFrame(rows, columns=["cell", "epoch", "quantity", "value"])


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    quantities = [key for key in QUANTITIES if key in set(frame["quantity"])]
    losses = dict(zip(frame["label"], frame["loss"], strict=True))
    if len(set(losses.values())) == 1 and len(losses) > 1:
        title = loss_title(next(iter(losses.values())))
        frame = frame.assign(label=frame["label"].str.removeprefix(f"{title} "))
        losses = dict(zip(frame["label"], frame["loss"], strict=True))
    panels = grid(losses, len(quantities))
    handles: dict[str, Any] = {}
    for axes, quantity in zip(panels.axes, quantities, strict=True):
        for ax, (_, own) in zip(axes, panels.groups, strict=True):
            mine = frame[frame["quantity"] == quantity]
            handles |= _panel(ax, mine, own, spread=len(set(losses.values())) == 1)
    panels.label("Epoch", [(QUANTITIES if panels.alone else _SHORT)[key] for key in quantities])
    panels.finish(handles)
    return Drawing(panels.figure, "Training", _caption(frame, quantities), _alt(frame, quantities))


def _panel(ax: Axes, frame: pd.DataFrame, own: list[str], *, spread: bool) -> dict[str, Any]:
    """Lines of one quantity; `spread`: of one loss, so that each setting has its colour."""
    quantity = str(frame["quantity"].iloc[0])
    per = 100 if quantity == "accuracy" else 1
    if quantity == "loss" and (frame["mean"] > 0).all():
        _log(ax, frame["mean"].max() / frame["mean"].min())
    lines = {str(label): line for label, line in frame.groupby("label", sort=False)}
    others = [line for label, line in lines.items() if label not in own]
    background(ax, [(line["epoch"], per * line["mean"]) for line in others])
    ranks = {label: int(lines[label]["slot"].iloc[0]) for label in own if label in lines}
    handles: dict[str, Any] = {}
    for label, style in styles(ranks, spread=spread).items():
        line = lines[label].sort_values("epoch")
        point: Any = {"marker": "o" if len(line) == 1 else None, "markersize": 3}
        (handles[label],) = ax.plot(line["epoch"], per * line["mean"], **style, **point)
        if "finished" in line and line["finished"].iloc[0] == 0:
            end = line.iloc[-1]
            ax.plot(end["epoch"], per * end["mean"], "x", color=style["color"], markersize=5)
        if line["low"].notna().any():
            # On a log axis a band that reaches 0 would fill the panel.
            floor = line["mean"] / 10 if quantity == "loss" else 0 * line["mean"]
            low, high = line["low"].clip(lower=floor), line["high"]
            high = high.clip(upper=1) if quantity == "accuracy" else high
            band: Any = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
            ax.fill_between(line["epoch"], per * low, per * high, **band)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return handles


def _log(ax: Axes, span: float) -> None:
    """A log axis with few ticks, as plain numbers."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 30 else (1,)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _caption(frame: pd.DataFrame, quantities: list[str]) -> str:
    seeds, every = int(frame["n"].max()), int(frame["every"].iloc[0])
    band = "; band: 95 % Student-t interval over seeds" if frame["low"].notna().any() else ""
    return (
        "Training per epoch, on augmented batches. Line: mean over "
        f"{'up to ' if frame['n'].min() < seeds else ''}{seeds} "
        f"seed{'s' if seeds > 1 else ''}{band}. Loss values of different losses or scales are not "
        "on one scale: compare their shape, not their height."
        f"{' Accuracy: without margin.' if 'accuracy' in quantities else ''}"
        f"{f' Every {every} epochs.' if every > 1 else ''}"
        f"{_without(frame, quantities)}"
        f"{_stopped(frame)}"
        f"{capped(frame['cell'].nunique(), int(frame['total'].iloc[0]), 'settings')}"
    )


def _stopped(frame: pd.DataFrame) -> str:
    """Which settings have runs that did not finish."""
    if "lost" not in frame:
        return ""
    first = frame.drop_duplicates("cell")
    names = [f"{row.label} ({row.lost})" for row in first[first["lost"] != ""].itertuples()]
    if not names:
        return ""
    return (
        f" Runs that did not finish count until they stopped, ×: none finished: {'; '.join(names)}."
    )


def _without(frame: pd.DataFrame, quantities: list[str]) -> str:
    """Which losses log no accuracy and no angle."""
    if "accuracy" not in quantities:
        return ""
    silent = set(frame["loss"]) - set(frame.loc[frame["quantity"] == "accuracy", "loss"])
    names = [loss_title(loss) for loss in dict.fromkeys(frame["loss"]) if loss in silent]
    return f" Without class weights, so without accuracy: {', '.join(names)}." if names else ""


def _alt(frame: pd.DataFrame, quantities: list[str]) -> str:
    last = frame.sort_values("epoch").groupby(["label", "quantity"], sort=False).tail(1)
    key = "accuracy" if "accuracy" in quantities else "loss"
    mine = last[last["quantity"] == key].set_index("label")["mean"]
    per, unit = (100, " %") if key == "accuracy" else (1, "")
    ordered = [label for label in dict.fromkeys(frame["label"]) if label in mine.index]
    if len(ordered) > NAMED:
        ordered = [str(mine.idxmax()), str(mine.idxmin())]
        key = f"highest and lowest {key}"
    texts = [f"{label} {per * mine[label]:.3g}{unit}" for label in ordered]
    return (
        f"{', '.join(QUANTITIES[each] for each in quantities)} over {int(frame['epoch'].max())} "
        f"epochs; {key} at the end of each line: {', '.join(texts)}."
    )
