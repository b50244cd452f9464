"""Which compared settings no other beats in both worlds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.comparison.compared import better, faint, handle, label_points, names_of
from reports.figures.settings.axes import covers_text
from reports.figures.style import GREY, PAGE, Drawing, color, marker, with_slots
from reports.figures.tuning.frames import non_dominated
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import cell_intervals, closed_metric, loss_title, open_metric, setting_text
from reports.words.grammar import joined

_DIRECT = 14  # settings that are all named beside their points; of more, the beaten in a legend


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per compared setting: mean and interval (of the tables) in the closed-set and the
    open-set metric; ``front``: no other's means are as good in both and better in one.
    """
    closed, opened = closed_metric(study), open_metric(study)
    if closed is None or opened is None:
        return
    cells = selection.cells
    losses = study.cells.set_index("cell")["loss"]
    frame = pd.DataFrame(
        {
            "cell": cells,
            "loss": [losses[cell] for cell in cells],
            "label": [setting_text(study, cell) for cell in cells],
        }
    )
    for side, name in (("x", closed), ("y", opened)):
        found = cell_intervals(study, name, cells)
        frame[f"{side}_metric"] = name
        for key, values in (
            (side, [each.mean for each in found]),
            (f"{side}_low", [each.low for each in found]),
            (f"{side}_high", [each.high for each in found]),
            (f"{side}_n", [each.n for each in found]),
        ):
            frame[key] = np.round(values, 6)
        frame[f"{side}_covers"] = [each.covers for each in found]
    if len(frame.dropna(subset=["x", "y"])) < 2:
        return
    lower = [not metric(name).higher_is_better for name in (closed, opened)]
    yield (
        "pareto",
        with_slots(study, frame.assign(front=non_dominated(frame[["x", "y"]].to_numpy(), lower))),
    )


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave; better is up and to the right."""
    names = names_of(frame, short=True)
    shown = frame.dropna(subset=["x", "y"])
    front = shown[shown["front"]].sort_values("x")
    beaten = shown[~shown["front"]]
    figure = Figure(figsize=(PAGE * 0.8, 3.2), layout="constrained")
    ax = figure.subplots()
    x, y = (str(frame[f"{side}_metric"].iloc[0]) for side in "xy")
    units = (100 if metric(x).percent else 1, 100 if metric(y).percent else 1)
    for row in beaten.itertuples():
        _cross(ax, row, units, faint(int(str(row.slot))), faded=True)
    ax.plot(
        units[0] * front["x"],
        units[1] * front["y"],
        color=GREY,
        linewidth=0.8,
        linestyle=(0, (3, 2)),
        zorder=2,
    )
    for row in front.itertuples():
        _cross(ax, row, units, color(int(str(row.slot))))
    ax.margins(0.12)
    ax.set_xlabel(better(x).replace("\n", " "))
    ax.set_ylabel(better(y).replace("\n", " "))
    if not metric(y).higher_is_better:
        ax.invert_yaxis()
    named = beaten["loss"].value_counts(sort=False)[: None if len(shown) > _DIRECT else 0]
    if len(named):
        slots = beaten.drop_duplicates("loss").set_index("loss")["slot"]
        handles = [
            handle(
                int(slots[loss]),
                loss_title(str(loss)) + (f", {count} settings" if count > 1 else ""),
                faded=True,
            )
            for loss, count in named.items()
        ]
        figure.legend(
            handles=handles,
            loc="outside right upper",
            title="Beaten in both",
            title_fontsize=6.8,
            ncols=1 if len(named) <= 20 else 2,
            handletextpad=0.2,
            labelspacing=0.25,
            columnspacing=0.8,
            fontsize=6.2,
        )
    told = front if len(named) else pd.concat([front, beaten])
    label_points(
        figure,
        ax,
        told[["x", "y"]].to_numpy() * units,
        [names[cell] for cell in told["cell"]],
        avoid=beaten[["x", "y"]].to_numpy() * units,
        lines=_bars(shown, units),
        inks=["black" if front_ else GREY for front_ in told["front"]],
    )
    n = sorted(set(shown["x_n"].astype(int)) | set(shown["y_n"].astype(int)))
    covers = {each for side in "xy" for each in shown.get(f"{side}_covers", [])}
    gone = [names[str(cell)] for cell in frame["cell"] if cell not in set(shown["cell"])]
    caption = (
        f"Means of the compared settings (n = {n[0]}{f' to {n[-1]}' if len(n) > 1 else ''} "
        f"seed{'s' * (n[-1] > 1)}).{covers_text(covers, 'Bars')} In colour, dashed: settings than "
        "which no other has means as good in both worlds and better in one. It is the front of the "
        "means: where intervals reach across it, membership may be chance."
        + (f" Missing, as without a value in both: {joined(gone)}." if gone else "")
    )
    alt = (
        f"Of {len(shown)} settings, not beaten in both {metric(x).title} and {metric(y).title}: "
        + "; ".join(
            f"{names[str(row.cell)]} ({units[0] * float(str(row.x)):.2f}, "
            f"{units[1] * float(str(row.y)):.2f})"
            for row in front.itertuples()
        )
        + "."
    )
    return Drawing(figure, "Pareto front", caption, alt)


def _bars(shown: pd.DataFrame, units: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """The error bars as lines, in the axes' units."""
    x, y = units
    level = shown.dropna(subset=["x_low"])
    upright = shown.dropna(subset=["y_low"])
    return [
        *zip(x * level["x_low"], y * level["y"], x * level["x_high"], y * level["y"], strict=True),
        *zip(
            x * upright["x"],
            y * upright["y_low"],
            x * upright["x"],
            y * upright["y_high"],
            strict=True,
        ),
    ]


def _cross(ax: Axes, row: object, units: tuple[int, int], ink: str, *, faded: bool = False) -> None:
    """A mean with its two intervals; an end that is not known is not drawn."""
    ends = {}
    for side, unit in zip("xy", units, strict=True):
        mean, low, high = (
            unit * float(getattr(row, key)) for key in (side, f"{side}_low", f"{side}_high")
        )
        ends[side] = (mean, None if np.isnan(low) else [[mean - low], [high - mean]])
    (x, x_ends), (y, y_ends) = ends["x"], ends["y"]
    ax.errorbar(
        x,
        y,
        xerr=x_ends,
        yerr=y_ends,
        color=ink,
        ecolor=(ink, 0.35 if faded else 0.6),
        marker=marker(int(getattr(row, "slot"))),  # noqa: B009 (a row of itertuples)
        markersize=4 if faded else 6,
        markeredgecolor="white",
        markeredgewidth=0.4,
        elinewidth=0.5 if faded else 0.9,
        linestyle="none",
        zorder=1 if faded else 3,
    )
