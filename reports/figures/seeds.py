"""Every seed shown: mean with interval and a dot per run, for each compared cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.style import PAGE, Drawing, color, marker, with_slots
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import cell_intervals, headline_metrics, loss_title, setting_text


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per compared run and headline metric; a run without a result has no value. Mean and
    ends of the interval are those of the run's setting.
    """
    names = headline_metrics(study)[:3]
    mine = study.frame[study.frame["cell"].isin(selection.cells)]
    if not names or not mine[names].notna().any(axis=None):
        return
    labels = {cell: setting_text(study, cell) for cell in selection.cells}
    frames = []
    for name in names:
        found = dict(
            zip(selection.cells, cell_intervals(study, name, selection.cells), strict=True)
        )
        ends = {
            key: mine["cell"].map({cell: getattr(each, key) for cell, each in found.items()})
            for key in ("mean", "low", "high")
        }
        frames.append(
            mine[["cell", "loss", "seed", "status"]].assign(
                label=mine["cell"].map(labels), metric=name, value=mine[name], **ends
            )
        )
    yield "seeds", with_slots(study, pd.concat(frames, ignore_index=True))


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    names = list(dict.fromkeys(frame["metric"]))
    cells = list(dict.fromkeys(frame["cell"]))
    height = 0.85 + 0.21 * len(cells) + (0.1 if len(cells) < 4 else 0)
    figure = Figure(figsize=(PAGE, height), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, names, strict=True):
        _panel(ax, frame[frame["metric"] == name], cells)
        ax.set_xlabel(
            f"{metric(name).axis}\n{'better →' if metric(name).higher_is_better else '← better'}"
        )
    first = frame.drop_duplicates("cell").set_index("cell")
    panels[0].set_yticks(
        range(len(cells)),
        [f"{loss_title(first.loc[c, 'loss'])} {first.loc[c, 'label']}".strip() for c in cells],
    )
    panels[0].set_ylim(len(cells) - 0.4, -0.6)
    planned = int(frame.groupby(["cell", "metric"]).size().max())
    lost = int(frame.loc[frame["metric"] == names[0], "status"].ne("finished").sum())
    caption = (
        "Every run of the compared settings"
        + (
            f". Light: one seed ({planned} planned); dark: mean with the 95 % interval of the "
            "comparison."
            if planned > 1
            else " (one seed)."
        )
        + f"{f' {lost} runs without a result are missing; ×: no run finished.' if lost else ''}"
    )
    alt = (
        "Dot plot of "
        + ", ".join(metric(name).title for name in names)
        + f" for {len(cells)} settings; the numbers are in the comparison table."
    )
    return Drawing(figure, "All seeds", caption, alt)


def _panel(ax: Axes, frame: pd.DataFrame, cells: list[str]) -> None:
    for place, cell in enumerate(cells):
        runs = frame[frame["cell"] == cell].sort_values("seed")
        slot, values = int(runs["slot"].iloc[0]), runs["value"].dropna().to_numpy() * 100
        if len(values) == 0:
            ax.plot(
                0.02,
                place,
                marker="x",
                color="#8a8a8a",
                markersize=4,
                transform=ax.get_yaxis_transform(),
            )
            continue
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        ax.scatter(values, place + spread, s=8, color=color(slot), alpha=0.4, linewidth=0)
        mean, low, high = (100 * float(runs[key].iloc[0]) for key in ("mean", "low", "high"))
        ax.errorbar(
            mean,
            place,
            xerr=None if np.isnan(low) else [[mean - low], [high - mean]],
            color=color(slot),
            marker=marker(slot),
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            capsize=2,
            elinewidth=1,
        )
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=5)
