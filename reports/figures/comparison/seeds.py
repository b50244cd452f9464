"""Every seed shown: mean with interval and a dot per run, for each compared cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.comparison.compared import dots, names_of, open_metrics, rows_of, shortlist
from reports.figures.settings.axes import covers_text
from reports.figures.style import GREY, PAGE, Drawing, color, with_slots
from reports.metrics import metric, of_test
from reports.selection import Selection
from reports.summary import cell_intervals, headline_metrics, setting_text
from reports.words.grammar import counted

_MOST = 60  # settings in the figure


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per compared run and headline metric; a run without a result has no value. Mean and
    ends of the interval are those of the run's setting.
    """
    names = _metrics(study, selection)
    mine = study.frame[study.frame["cell"].isin(selection.cells)]
    if not names or not mine[names].notna().any(axis=None):
        return
    cells = selection.cells
    if len(cells) > _MOST:
        means = mine.groupby("cell")[names[0]].mean().reindex(cells)
        cells = shortlist(cells, list(means), _MOST, bool(metric(names[0]).higher_is_better))
        mine = mine[mine["cell"].isin(cells)]
    labels = {cell: setting_text(study, cell) for cell in cells}
    frames = []
    for name in names:
        found = dict(zip(cells, cell_intervals(study, name, cells), strict=True))
        ends = {
            key: mine["cell"].map(
                {cell: round(getattr(each, key), 6) for cell, each in found.items()}
            )
            for key in ("mean", "low", "high")
        }
        frames.append(
            mine[["cell", "loss", "seed", "status"]].assign(
                label=mine["cell"].map(labels),
                settings=len(selection.cells),
                metric=name,
                value=mine[name].round(6),
                covers=mine["cell"].map({cell: each.covers for cell, each in found.items()}),
                **ends,
            )
        )
    yield "seeds", with_slots(study, pd.concat(frames, ignore_index=True))


def _metrics(study: Study, selection: Selection) -> list[str]:
    """The headline metrics and TAR at the smallest FAR of the comparison, four at most."""
    headline = headline_metrics(study)[:3]
    tars = [name for name in open_metrics(study, selection.cells) if metric(name).few_accepts]
    return of_test([*headline, *tars[-1:]])


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    names = list(dict.fromkeys(frame["metric"]))
    cells = list(dict.fromkeys(frame["cell"]))
    height, size = rows_of(len(cells))
    figure = Figure(figsize=(PAGE, 0.8 + height), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, names, strict=True):
        _panel(ax, frame[frame["metric"] == name], cells)
        row = metric(name)
        title = row.axis if len(names) < 4 else f"{row.short}{f' ({row.unit})' if row.unit else ''}"
        ax.set_xlabel(f"{title}\n{'better →' if row.higher_is_better else '← better'}")
    titles = names_of(frame)
    panels[0].set_yticks(range(len(cells)), [titles[cell] for cell in cells], fontsize=size)
    panels[0].set_ylim(len(cells) - 0.4, -0.6)
    planned = int(frame.groupby(["cell", "metric"]).size().max())
    lost = int(frame.loc[frame["metric"] == names[0], "status"].ne("finished").sum())
    total = int(frame["settings"].iloc[0])
    caption = (
        "Every run of the compared settings"
        + (f". Light: one seed ({planned} planned); dark: mean." if planned > 1 else " (one seed).")
        + covers_text(set(frame.get("covers", [])), "Bars")
        + f"{f' Missing, as without a result: {lost} runs.' if lost else ''}"
        + f"{' ×: no run has a value.' if _empty(frame) else ''}"
        + (
            f" {len(cells)} of {total} settings are shown: the best by mean "
            f"{metric(names[0]).title}."
            if total > len(cells)
            else ""
        )
    )
    alt = (
        "Dot plot of "
        + ", ".join(metric(name).title for name in names)
        + f" for {counted(len(cells), 'setting')}; the numbers are in the comparison table."
    )
    return Drawing(figure, "All seeds", caption, alt)


def _empty(frame: pd.DataFrame) -> bool:
    """Whether a setting has no value at all of some metric."""
    return bool(frame["value"].isna().groupby([frame["cell"], frame["metric"]]).all().any())


def _panel(ax: Axes, frame: pd.DataFrame, cells: list[str]) -> None:
    """One metric: a row of dots for each setting."""
    unit = 100 if metric(str(frame["metric"].iloc[0])).percent else 1
    place = frame["cell"].map({cell: i for i, cell in enumerate(cells)})
    frame = frame.assign(place=place).sort_values(["place", "seed"])
    known = frame.dropna(subset=["value"])
    nth, count = (
        known.groupby("place").cumcount(),
        known.groupby("place")["place"].transform("size"),
    )
    spread = np.where(count > 1, 0.32 * nth / (count - 1).clip(1) - 0.16, 0.0)
    inks = [color(slot) for slot in known["slot"]]
    ax.scatter(
        unit * known["value"], known["place"] + spread, s=8, color=inks, alpha=0.4, linewidth=0
    )
    means = known.drop_duplicates("place")
    sure = means.dropna(subset=["low"])
    inks = [color(slot) for slot in sure["slot"]]
    ax.hlines(sure["place"], unit * sure["low"], unit * sure["high"], colors=inks, linewidth=1)
    for end in ("low", "high"):
        ax.scatter(unit * sure[end], sure["place"], marker="|", s=16, color=inks, linewidth=1)
    dots(
        ax,
        np.column_stack([unit * means["mean"], means["place"]]),
        means["slot"].astype(int).tolist(),
        22,
        edgecolor="white",
        linewidth=0.4,
        zorder=3,
    )
    gone = sorted(set(range(len(cells))) - set(means["place"]))
    ax.scatter(
        [0.02] * len(gone), gone, marker="x", s=16, color=GREY, transform=ax.get_yaxis_transform()
    )
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=5)
