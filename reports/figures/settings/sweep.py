"""One axis at a time: quality against margin, scale or any other number that varies, with
intervals.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from losses import catalog
from losses.feasibility import PROBABILITY
from reports.collect import Study
from reports.figures.settings.axes import (
    axis_label,
    covers_text,
    factor,
    intervals,
    lost_text,
    measures,
    panels_of,
    setting_label,
)
from reports.figures.settings.sweep_panel import panel
from reports.figures.small_multiples import capped, first_of_each, grid
from reports.figures.style import Drawing, slots
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import loss_title, unit

SERIES = 6  # lines of the only loss that varies an axis
REFERENCES = 5  # losses that do not vary it
OTHER_SCALES = ("circle_class", "soft_triple")  # the bound is one of a cross-entropy of s·cosθ
COLUMNS = [
    *("metric", "axis", "loss", "series", "slot", "x", "mean", "low", "high", "n", "covers"),
    *("planned", "classes", "lines", "references"),
]


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """A frame per numeric axis and unit: a row per line, value of the axis and metric.

    Of a loss that varies more than this axis one line stands, through its compared setting; if it
    is the only loss on the axis, up to `SERIES` lines. Losses that do not vary the axis stand with
    their compared setting, without a place on it (x is NaN).
    """
    shared: dict[tuple[str, str], list[str]] = {}
    for loss in study.losses:
        for axis in study.axes[loss]:
            if study.frame[axis].dtype == float:
                shared.setdefault((axis, unit(loss, axis)), []).append(loss)
    for (axis, own_unit), losses in shared.items():
        frame = _frame(study, selection, axis, losses)
        if frame["mean"].notna().any():
            suffix = f"-{own_unit.replace(' ', '_')}" if own_unit not in ("", axis) else ""
            yield f"sweep-{axis.replace('.', '_')}{suffix}", frame


def _frame(study: Study, selection: Selection, axis: str, losses: list[str]) -> pd.DataFrame:
    lines: list[tuple[str, str, pd.DataFrame]] = []
    for loss in losses:
        lines += [
            (loss, text, runs)
            for text, runs in _series(
                study, selection, loss, axis, SERIES if len(losses) == 1 else 1
            )
        ]
    total = len(lines)
    lines = [lines[place] for place in first_of_each([loss for loss, _, _ in lines])]
    first = study.frame.drop_duplicates("cell").set_index("cell")
    fixed = [c for c in selection.cells if axis not in study.axes[str(first.loc[c, "loss"])]]
    fixed.sort(key=lambda cell: len(study.axes[str(first.loc[cell, "loss"])]) > 0)  # stable
    rows = []
    for name in panels_of(study, recall=True):
        for loss, series, runs in lines:
            cells = list(dict.fromkeys(runs["cell"]))
            known = _classes(study, runs) if axis == "scale" and _bounded(loss) else np.nan
            for cell, found in zip(cells, intervals(study, name, cells), strict=True):
                own = {"loss": loss, "series": series, "x": first.loc[cell, axis], "classes": known}
                rows.append({"metric": name, **own, "cell": cell, **measures(found)})
        for cell, found in zip(fixed, intervals(study, name, fixed[:REFERENCES]), strict=False):
            own = {"loss": first.loc[cell, "loss"], "series": "", "x": np.nan, "classes": np.nan}
            rows.append({"metric": name, **own, "cell": cell, **measures(found)})
    frame = pd.DataFrame(rows, columns=["cell", *[key for key in COLUMNS if key != "planned"]])
    planned = study.frame["cell"].value_counts()
    return frame.assign(
        axis=axis,
        slot=frame["loss"].map(slots(study)),
        planned=frame["cell"].map(planned),
        lines=total,
        references=len(fixed),
    )[COLUMNS]


def _series(
    study: Study, selection: Selection, loss: str, axis: str, most: int
) -> list[tuple[str, pd.DataFrame]]:
    """The runs of a loss by its other settings: first those of the compared setting, else of the
    most values of the axis.
    """
    rest = [key for key in study.axes[loss] if key != axis]
    swept = study.swept(loss)
    if not rest:
        return [("", swept)]
    compared = study.frame[study.frame["cell"].isin(selection.cells)]
    keys = {_key(row) for row in compared.loc[compared["loss"] == loss, rest].to_numpy()}
    found = []
    for place, (values, runs) in enumerate(swept.groupby(rest, dropna=False, sort=False)):
        rank = (_key(values) not in keys, -runs[axis].nunique(), place)
        found.append((rank, setting_label(rest, values), runs))
    chosen = sorted(found, key=lambda each: each[0])[:most]
    numeric = all(study.frame[key].dtype == float for key in rest)
    chosen.sort(key=lambda each: tuple(each[2][rest].iloc[0]) if numeric else (each[0][2],))
    return [(text, runs) for _, text, runs in chosen if runs[axis].nunique() > 1]


def _key(values: Any) -> tuple[str, ...]:
    """Of settings to compare: NaN equals NaN."""
    return tuple(map(str, values))


def _bounded(loss: str) -> bool:
    """Whether CosFace's lower bound is one of this loss's scale."""
    try:
        return catalog.row(loss).kind == "classifier" and loss not in OTHER_SCALES
    except catalog.CatalogError:
        return False


def _classes(study: Study, runs: pd.DataFrame) -> float:
    """Classes that the runs were trained on; NaN where they differ or no run says."""
    column = "split.known_classes"
    if column in runs and runs[column].nunique() == 1:
        return float(runs[column].iloc[0])
    if column in runs and runs[column].nunique() > 1:
        return float("nan")
    for experiment in runs["id"]:
        path = study.runs / experiment / "embeddings.npz"
        if path.exists():
            with np.load(path) as stored:  # reads this one array
                return float(len(stored["known_classes"]))
    return float("nan")


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    names = list(dict.fromkeys(frame["metric"]))
    axis, swept = str(frame["axis"].iloc[0]), frame[frame["x"].notna()]
    losses = list(dict.fromkeys(swept["loss"]))
    keyed = frame.assign(line=_line_names(frame, single=len(losses) == 1))
    lines = dict(
        zip(*(keyed.loc[frame["x"].notna(), key] for key in ("line", "loss")), strict=True)
    )
    panels = grid(lines, len(names), common=keyed.loc[frame["x"].isna(), "line"].nunique())
    handles: dict[str, Any] = {}
    for axes, name in zip(panels.axes, names, strict=True):
        for place, (ax, (_, own)) in enumerate(zip(axes, panels.groups, strict=True)):
            handles |= panel(ax, keyed[keyed["metric"] == name], own, len(losses) == 1, place == 0)
    panels.label(axis_label(str(losses[0]), axis), [_ylabel(name, panels.alone) for name in names])
    panels.finish(handles)
    return Drawing(
        panels.figure,
        f"{axis_label('', axis)} sweep",
        _caption(frame, names, axis),
        _alt(keyed, names, axis),
    )


def _ylabel(name: str, alone: bool) -> str:
    """With an arrow in the direction that is better."""
    row = metric(name)
    text = row.axis if alone else f"{row.short} ({row.unit})"
    return textwrap.fill(f"{text} {'↑' if row.higher_is_better else '↓'}", 24)


def _shared(frame: pd.DataFrame) -> str:
    """The setting at which all lines of several losses stand; empty where they differ."""
    swept = frame[frame["x"].notna()]
    found = list(dict.fromkeys(swept["series"]))
    return str(found[0]) if len(found) == 1 and swept["loss"].nunique() > 1 else ""


def _line_names(frame: pd.DataFrame, *, single: bool) -> list[str]:
    """Of each row the text in the legend: of the only loss its series, else loss and series."""
    common = _shared(frame)
    return [
        series
        if single and series and x == x
        else f"{loss_title(loss)} {series if series != common else ''}".strip()
        for loss, series, x in zip(frame["loss"], frame["series"], frame["x"], strict=True)
    ]


def _caption(frame: pd.DataFrame, names: list[str], axis: str) -> str:
    one = frame[frame["metric"] == names[0]]
    swept, fixed = one[one["x"].notna()], one[one["x"].isna()]
    seeds = int(frame["planned"].max())
    parts = [
        f"{axis_label('', axis)} varies. Points: mean over {seeds} seed{'s' if seeds > 1 else ''}; arrows: which way is better.",
        covers_text(set(frame["covers"]), "Bars"),
    ]
    if common := _shared(frame):
        parts.append(f" All at {common}.")
    elif swept["series"].ne("").any():
        parts.append(
            " A line per setting of what else varies."
            if swept["loss"].nunique() == 1
            else " What else varies in a loss is held at its compared setting, else at the one with "
            "the most values."
        )
    if len(fixed):
        left = int(fixed["references"].iloc[0]) - len(fixed)
        more = f"; {left} more not shown" if left > 0 else ""
        parts.append(f" Grey: losses that do not vary it, at their compared setting{more}.")
    if swept["classes"].notna().any():
        parts.append(
            f" Dotted: the least scale with which a class's probability reaches {PROBABILITY:g} at "
            "its centre among the C classes trained on (CosFace, eq. 6)."
        )
    lost = lost_text(swept)
    marks = (
        " Hollow: some seeds are missing."
        if ((swept["n"] < swept["planned"]) & (swept["n"] > 0)).any()
        else ""
    )
    gone = " ×: no run finished." if (swept["n"] == 0).any() else ""
    shown = swept.drop_duplicates(["loss", "series"])
    cap = capped(len(shown), int(one["lines"].iloc[0]), "lines")
    return "".join([*parts, lost, marks, gone, cap])


def _alt(frame: pd.DataFrame, names: list[str], axis: str) -> str:
    ends = []
    for name in names:
        mine = frame[(frame["metric"] == name) & frame["x"].notna() & frame["mean"].notna()]
        if len(mine):
            higher = metric(name).higher_is_better
            best = mine.loc[mine["mean"].idxmax() if higher else mine["mean"].idxmin()]
            title = loss_title(str(best["loss"]))
            ends.append(
                f"best {metric(name).title} {best['mean'] * factor(name):.1f} at {best['x']:g} "
                f"({' '.join(dict.fromkeys([title, *str(best['line']).split()]))})"
            )
    return f"Lines of quality against {axis_label('', axis)}: {'; '.join(ends)}."
