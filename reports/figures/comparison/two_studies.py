"""Two studies side by side: a row for each setting, a dot with its interval for each study."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import metrics
from reports.collect import Study
from reports.figures.style import PAGE, PALETTE, Drawing
from reports.selection import Selection

ROWS = 40  # settings drawn; of more the first
PANELS = 4  # metrics drawn; of more the first


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """Nothing: one study alone has no such figure; `reports.compare` draws it."""
    yield from ()


def draw(frame: pd.DataFrame) -> Drawing:
    """A panel for each metric; filled dots: the second study, hollow ones: the first."""
    names = list(dict.fromkeys(frame["metric"]))[:PANELS]
    labels = list(dict.fromkeys(frame["label"]))[:ROWS]
    studies = list(dict.fromkeys(frame["study"]))
    height = min(1.1 + 0.26 * len(labels), 8.5)
    figure = Figure(figsize=(PAGE, height), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, names, strict=True):
        row = metrics.metric(name)
        unit = 100 if row.percent else 1
        for place, study in enumerate(studies):
            own = frame[(frame["metric"] == name) & (frame["study"] == study)]
            own = own[own["label"].isin(labels)].set_index("label")
            height_of = [labels.index(each) + 0.15 * (2 * place - 1) for each in own.index]
            mean = unit * own["mean"].to_numpy()
            reach = unit * np.abs(own[["low", "high"]].to_numpy().T - own["mean"].to_numpy())
            ax.errorbar(
                mean,
                height_of,
                xerr=np.nan_to_num(reach),
                fmt="o" if place else "s",
                markerfacecolor=PALETTE[place] if place else "white",
                color=PALETTE[place],
                elinewidth=0.9,
                label=study,
            )
        arrow = {True: " →", False: " ←"}.get(row.higher_is_better or False, "")
        ax.set_xlabel(f"{row.short}{' (%)' if row.percent else ''}, better{arrow}")
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(studies)
    )
    left = frame["label"].nunique() - len(labels)
    caption = (
        f"Mean over seeds with its 95 % interval of {studies[0]} (squares) and {studies[1]} (dots), "
        f"n = {_range(frame['n'])} seeds; the interval is that of the tables."
        + (f" The first {len(labels)} of {len(labels) + left} settings are shown." if left else "")
    )
    means = frame[frame["metric"] == names[0]].pivot_table(
        index="label", columns="study", values="mean", sort=False
    )
    better = (means[studies[1]] > means[studies[0]]).sum()
    alt = (
        f"{metrics.metric(names[0]).title}: the mean of {studies[1]} is above that of {studies[0]} "
        f"in {better} of {len(means)} settings."
    )
    return Drawing(figure, f"{studies[0]} and {studies[1]}", caption, alt)


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
