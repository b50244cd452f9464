"""How the embeddings lie: angles within and between classes, of each compared setting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.comparison.compared import names_of, rows_of
from reports.figures.settings.axes import covers_text
from reports.figures.style import GREY, PAGE, Drawing, color, with_slots
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import cell_intervals, setting_text

SHOWN = tuple(
    f"geometry/{name}" for name in ("w_ec", "w_inter", "intra", "inter", "angular_fisher_score")
)
_MOST = 60  # settings in the figure
_ABOUT = (
    "W-EC: class weight to the mean of its training images; W-Inter: class weight to the nearest "
    "other; Intra: image of an unknown class to that class's mean; Inter: that mean to the nearest "
    "other (Deng et al. 2019, Table 3). AFS: angular Fisher score of the unknown classes, spread "
    "within over spread between, smaller is tighter (Liu et al. 2017)."
)


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per compared setting and quantity with mean and interval (of the tables), angles in
    degrees; ``refused``: runs have the metric but no value, as the loss has no class weights.
    """
    names = [name for name in SHOWN if study.measured(name)]
    if not names:
        return
    cells = selection.cells[:_MOST]
    losses = study.cells.set_index("cell")["loss"]
    owner = study.frame.set_index("id")["cell"]
    rows = []
    for name in names:
        notes = study.notes.loc[study.notes["metric"] == name, "id"]
        refused = set(notes.map(owner))
        for cell, found in zip(cells, cell_intervals(study, name, cells), strict=True):
            rows.append(
                {
                    "metric": name,
                    "cell": cell,
                    "loss": losses[cell],
                    "label": setting_text(study, cell),
                    "mean": round(found.mean, 6),
                    "low": round(found.low, 6),
                    "high": round(found.high, 6),
                    "n": found.n,
                    "covers": found.covers,
                    "refused": cell in refused,
                    "settings": len(selection.cells),
                }
            )
    yield "geometry", with_slots(study, pd.DataFrame(rows))


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave: a column of bars for each quantity."""
    names = list(dict.fromkeys(frame["metric"]))
    cells = list(dict.fromkeys(frame["cell"]))
    height, size = rows_of(len(cells))
    figure = Figure(figsize=(PAGE, 0.75 + height), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, names, strict=True):
        _panel(ax, frame[frame["metric"] == name], size)
        row = metric(name)
        ax.set_xlabel(f"{row.short}{f' ({row.unit})' if row.unit else ''}")
    titles = names_of(frame)
    panels[0].set_yticks(range(len(cells)), [titles[cell] for cell in cells], fontsize=size)
    panels[0].set_ylim(len(cells) - 0.4, -0.6)
    n = sorted(set(frame.loc[frame["n"] > 0, "n"]))
    total = int(frame["settings"].iloc[0])
    caption = (
        f"Geometry of the embeddings: mean over seeds (n = {n[0]}"
        f"{f' to {n[-1]}' if len(n) > 1 else ''})."
        + covers_text(set(frame.get("covers", [])), "Bars")
        + f" {_ABOUT}"
        + (
            " n/a: refused, as the loss has no class weights in the space of the embeddings, or for "
            "the reason under the table."
            if frame["refused"].any()
            else ""
        )
        + (" ×: no run has a value." if (~frame["refused"] & (frame["n"] == 0)).any() else "")
        + (f" The first {len(cells)} of {total} settings are shown." if total > len(cells) else "")
    )
    texts = []
    for name in names:
        own = frame[frame["metric"] == name].dropna(subset=["mean"]).sort_values("mean")
        if len(own):
            texts.append(
                f"{metric(name).short} from {own['mean'].iloc[0]:.3g}{metric(name).unit} "
                f"({titles[own['cell'].iloc[0]]}) to {own['mean'].iloc[-1]:.3g}"
                f"{metric(name).unit} ({titles[own['cell'].iloc[-1]]})"
            )
    return Drawing(figure, "Geometry", caption, f"Bars of {'; '.join(texts)}.")


def _panel(ax: Axes, frame: pd.DataFrame, size: float) -> None:
    places, inks = np.arange(len(frame)), np.array([color(slot) for slot in frame["slot"]])
    known, sure = frame["mean"].notna().to_numpy(), frame["low"].notna().to_numpy()
    mean, low, high = frame[["mean", "low", "high"]].to_numpy(dtype=float).T
    ax.barh(places[known], mean[known], height=0.66, color=inks[known], alpha=0.6)
    ax.errorbar(
        mean[sure],
        places[sure],
        xerr=[(mean - low)[sure], (high - mean)[sure]],
        color="black",
        elinewidth=0.8,
        capsize=1.5,
        capthick=0.6,
        linestyle="none",
    )
    for place in places[~known]:
        ax.text(
            0.03,
            place,
            "n/a" if frame["refused"].iloc[place] else "×",
            va="center",
            fontsize=size,
            color=GREY,
            transform=ax.get_yaxis_transform(),
        )
    ax.set_xlim(left=0)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)
