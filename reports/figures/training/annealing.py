"""What a loss changes by itself while it trains: λ of the multiplied angle, a scale, a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.collect import Study
from reports.figures.small_multiples import capped, first_of_each
from reports.figures.style import PAGE, Drawing, color, dashes, marker, slots
from reports.selection import Selection
from reports.statistics.intervals import mean_interval
from reports.summary import loss_title, setting_text

# What losses log of their own state, under these names in a run's history.
QUANTITIES = {
    "lambda": "λ",
    "scale": "Scale s",
    "t": "t",
    "norm_mean": "Running mean of ‖x‖",
}
POINTS = 120  # of a curve
MOST = 14  # lines of a figure


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per line and step: of λ the value before each step, from the loss's own code; of all
    quantities that a compared cell logs the mean of each epoch, at the step in its middle.
    """
    rows: list[dict[str, Any]] = []
    experiments = {item["id"]: item for item in study.plan["experiments"]}
    for cell in selection.cells:
        runs = study.frame[study.frame["cell"] == cell]
        loss = str(runs["loss"].iloc[0])
        label = f"{loss_title(loss)} {setting_text(study, cell)}".strip()
        fixed = {"cell": cell, "loss": loss, "label": label, "slot": slots(study)[loss]}
        steps = _steps_per_epoch(runs, experiments[str(runs["id"].iloc[0])])
        if steps is None:
            continue
        logged = _logged(study, list(runs["id"]))
        for quantity, epochs in logged.items():
            for epoch, values in epochs.items():
                found = mean_interval(values)
                place = {"quantity": quantity, "step": round((epoch - 0.5) * steps, 1)}
                ends = {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}
                rows.append({**fixed, **place, "source": "epoch", **ends})
        if "lambda" in logged:
            hyper = experiments[str(runs["id"].iloc[0])]["loss"]["hyperparameters"]
            for step, value in _annealed(loss, hyper, steps * max(logged["lambda"])):
                place = {"quantity": "lambda", "step": step, "source": "code", "mean": value}
                rows.append({**fixed, **place, "low": np.nan, "high": np.nan, "n": 0})
    frame = pd.DataFrame(rows)
    if len(frame) == 0:
        return
    lines = frame.drop_duplicates("cell")
    kept = lines["cell"].iloc[first_of_each(list(lines["loss"]), MOST)]
    shown = frame[frame["cell"].isin(kept)].assign(total=len(lines))
    for key in ("mean", "low", "high"):
        shown[key] = shown[key].map(lambda value: float(f"{value:.6g}"))
    yield "annealing", shown


def _steps_per_epoch(runs: pd.DataFrame, experiment: Mapping[str, Any]) -> int | None:
    """Optimizer steps of an epoch, from what the runs report; None where none ran an epoch."""
    done = runs[(runs["epochs"] > 0) & (runs["images"] > 0)]
    if len(done) == 0:
        return None
    first = done.iloc[0]
    return max(1, round(first["images"] / first["epochs"] / experiment["recipe"]["batch_size"]))


def _logged(study: Study, ids: list[str]) -> dict[str, dict[int, list[float]]]:
    """Of each quantity and epoch the values of the runs that have one."""
    found: dict[str, dict[int, list[float]]] = {}
    for each in ids:
        for epoch in study.history(each):
            for key in QUANTITIES:
                if epoch.get(key) is not None:
                    found.setdefault(key, {}).setdefault(int(epoch["epoch"]), []).append(epoch[key])
    return found


def _annealed(loss: str, hyper: Mapping[str, Any], steps: int) -> list[tuple[int, float]]:
    """λ of some steps, evenly on a log axis, as the loss itself gives it; none without torch."""
    try:
        from losses.build import build
    except ImportError:
        return []
    module: Any = build(loss, hyper, num_classes=2, embedding_dim=2)
    if not hasattr(module, "annealing"):  # of a sum, its part has it
        return []
    found = []
    for step in np.unique(np.geomspace(1, max(steps, 1), POINTS).round().astype(int)):
        module.steps.fill_(int(step) - 1)
        found.append((int(step), float(module.annealing())))
    return found


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    quantities = [key for key in QUANTITIES if key in set(frame["quantity"])]
    across = min(3, len(quantities))
    down = -(-len(quantities) // across)
    width = PAGE * (0.55, 0.8, 1)[across - 1]
    labels = list(dict.fromkeys(frame["label"]))
    columns = max(1, min(len(labels), int(width / (0.5 + 0.06 * max(map(len, labels))))))
    height = 1.75 * down + 0.35 + 0.15 * -(-len(labels) // columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    handles: dict[str, Any] = {}
    for ax, quantity in zip(panels, quantities, strict=False):
        _panel(ax, frame[frame["quantity"] == quantity], handles)
        ax.set_ylabel(QUANTITIES[quantity])
        ax.set_xlabel("Optimizer step")
    for spare in panels[len(quantities) :]:
        spare.remove()
    figure.legend(
        [handles[label] for label in labels], labels, loc="outside lower center", ncols=columns
    )
    return Drawing(figure, "Annealing", _caption(frame), _alt(frame, quantities))


def _panel(ax: Axes, frame: pd.DataFrame, handles: dict[str, Any]) -> None:
    seen: dict[int, int] = {}
    for label, line in frame.groupby("label", sort=False):
        slot = int(line["slot"].iloc[0])
        index = seen.setdefault(slot, 0)
        seen[slot] += 1
        style: dict[str, Any] = {"color": color(slot), "linestyle": dashes(slot, index)}
        code, epochs = (line[line["source"] == key] for key in ("code", "epoch"))
        dots: dict[str, Any] = {
            "marker": marker(slot),
            "markersize": 3.5,
            "markeredgecolor": "white",
            "markeredgewidth": 0.4,
        }
        # The mean of an epoch does not lie on the curve of its steps: no line joins the points.
        line_style = {**style, "linestyle": "none"} if len(code) else style
        ax.plot(epochs["step"], epochs["mean"], **line_style, **dots)
        if len(code):
            ax.plot(code["step"], code["mean"], **style)
        handles[str(label)] = Line2D([], [], **style, **dots)
        if epochs["low"].notna().any() and not len(code):
            ax.fill_between(
                epochs["step"],
                epochs["low"],
                epochs["high"],
                color=style["color"],
                alpha=0.15,
                linewidth=0,
            )
    if (frame["source"] == "code").any():
        ax.set_xscale("log")
        positive = frame.loc[frame["mean"] > 0, "mean"]
        if len(positive) == len(frame) and positive.max() / positive.min() > 20:
            ax.set_yscale("log")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        ax.set_xlim(left=0)


def _caption(frame: pd.DataFrame) -> str:
    epochs, code = frame[frame["source"] == "epoch"], frame[frame["source"] == "code"]
    seeds = int(epochs["n"].max())
    lines = (
        " Lines of λ: the value at each step, from the loss's own code with this study's "
        "hyper-parameters."
        if len(code)
        else ""
    )
    bands = "; bands: 95 % Student-t interval over seeds" if epochs["low"].notna().any() else ""
    return (
        "What the losses change while they train. Points: mean of an epoch as logged, at the step in "
        f"its middle, over {seeds} seed{'s' if seeds > 1 else ''}{bands}.{lines}"
        f"{capped(frame['cell'].nunique(), int(frame['total'].iloc[0]), 'settings')}"
    )


def _alt(frame: pd.DataFrame, quantities: list[str]) -> str:
    texts = []
    for quantity in quantities:
        for label, line in frame[frame["quantity"] == quantity].groupby("label", sort=False):
            line = line.sort_values("step")
            first, last = line["mean"].iloc[0], line["mean"].iloc[-1]
            texts.append(f"{QUANTITIES[quantity]} of {label} {first:.3g} to {last:.3g}")
    return f"From the first step to the last: {'; '.join(texts[:8])}."
