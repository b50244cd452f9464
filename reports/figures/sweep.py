"""One axis at a time: quality against margin, scale or any other number that varies, with
intervals.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import SHORT, Study, value_text
from reports.figures.style import GREY, PAGE, Drawing, color, dashes, marker, numeric_ticks, slots
from reports.intervals import mean_interval
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import closed_metric, loss_title, open_metric, unit


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """Per axis: the losses that vary only it share a figure (if they share its unit); one that
    varies more has its own.

    Losses that vary nothing stand in the shared figures as horizontal references.
    """
    shared: dict[tuple[str, str], list[str]] = {}
    for loss in study.losses:
        numeric = [axis for axis in study.axes[loss] if study.frame[axis].dtype == float]
        for axis in numeric:
            if len(study.axes[loss]) == 1:
                shared.setdefault((axis, unit(loss, axis)), []).append(loss)
            else:
                frame = _frame(study, [loss], axis, {})
                if frame["mean"].notna().any():
                    yield f"sweep-{axis}-{loss}", frame
    # What a loss without this setting is compared with: of a tuned loss the cell of the comparison.
    compared = study.frame[study.frame["cell"].isin(selection.cells)]
    fixed = {
        loss: compared[compared["loss"] == loss] for loss in study.losses if not study.axes[loss]
    }
    for (axis, own_unit), losses in shared.items():
        frame = _frame(study, losses, axis, fixed)
        if frame["mean"].notna().any():
            name = f"sweep-{axis}" + (f"-{own_unit.replace(' ', '_')}" if own_unit else "")
            yield name, frame


def _frame(
    study: Study, losses: list[str], axis: str, references: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    rows = []
    for name in (closed_metric(study), open_metric(study)):
        for loss in [*losses, *references] if name is not None else []:
            mine = references[loss] if loss in references else study.swept(loss)
            for _, runs in mine.groupby("cell", sort=False):
                own = runs.iloc[0]
                rest = [key for key in study.axes[loss] if key != axis]
                series = " ".join(
                    f"{SHORT.get(k, k)}={value_text(own[k])}" for k in rest if own[k] == own[k]
                )
                interval = mean_interval(runs[name])
                rows.append(
                    {
                        "metric": name,
                        "axis": axis,
                        "loss": loss,
                        "series": series,
                        "slot": slots(study)[loss],
                    }
                    | {
                        "x": float("nan") if loss in references else own[axis],
                        "mean": interval.mean,
                        "half": interval.half,
                    }
                    | {"n": interval.n, "planned": len(runs)}
                )
    columns = ["metric", "axis", "loss", "series", "slot", "x", "mean", "half", "n", "planned"]
    return pd.DataFrame(rows, columns=columns)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    names = list(dict.fromkeys(frame["metric"]))
    axis = str(frame["axis"].iloc[0])
    single = frame.loc[frame["x"].notna(), "loss"].nunique() == 1
    figure = Figure(figsize=(PAGE if len(names) > 1 else PAGE * 0.62, 2.75), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for ax, name in zip(panels, names, strict=True):
        _panel(ax, frame[frame["metric"] == name], single)
        ax.set_ylabel(metric(name).axis)
        loss = str(frame.loc[frame["x"].notna(), "loss"].iloc[0])
        label = f"{axis.replace('_', ' ')}{f' {SHORT[axis]}' if axis in SHORT else ''}"
        ax.set_xlabel(f"{label} ({unit(loss, axis)})" if unit(loss, axis) else label)
    handles, labels = panels[0].get_legend_handles_labels()
    references = {loss_title(str(loss)) for loss in frame.loc[frame["x"].isna(), "loss"]}
    order = sorted(range(len(labels)), key=lambda place: labels[place] in references)
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    losses = ", ".join(
        loss_title(loss) for loss in dict.fromkeys(frame.loc[frame["x"].notna(), "loss"])
    )
    seeds = int(frame["planned"].max())
    lost = int((frame["planned"] - frame["n"])[frame["metric"] == names[0]].sum())
    caption = (
        f"{losses}: {axis.replace('_', ' ')} sweep. Points: mean over {seeds} "
        f"seed{'s' if seeds > 1 else ''}"
        f"{'; bars: 95 % Student-t interval' if seeds > 1 else ''}."
        f"{' Grey lines: losses without this setting.' if frame['x'].isna().any() else ''}"
        f"{f' {lost} runs without a result are not in the means.' if lost else ''}"
    )
    ends = []
    for name in names:
        mine = frame[(frame["metric"] == name) & frame["x"].notna() & frame["mean"].notna()]
        if len(mine):
            best = mine.loc[
                mine["mean"].idxmax() if metric(name).higher_is_better else mine["mean"].idxmin()
            ]
            ends.append(
                f"best {metric(name).title} {best['mean'] * 100:.1f} % at {axis} {best['x']:g} "
                f"({best['loss']} {best['series']})"
            )
    return Drawing(
        figure,
        f"{axis.replace('_', ' ').capitalize()} sweep: {losses}",
        caption,
        f"Lines of quality against {axis}: {'; '.join(ends)}.",
    )


def _panel(ax: Axes, frame: pd.DataFrame, single: bool) -> None:
    swept = frame[frame["x"].notna()]
    groups = list(swept.groupby(["loss", "series"], sort=False))
    values = sorted(float(x) for x in swept["x"].unique())
    positive = min(values) > 0 and max(values) / min(values) >= 8
    gap = min((b - a for a, b in itertools.pairwise(values)), default=1.0)
    for index, ((loss, series), line) in enumerate(groups):
        slot = index if single and len(groups) > 1 else int(line["slot"].iloc[0])
        line = line.sort_values("x")
        # Side by side where lines would hide each other's bars.
        offset = (index - (len(groups) - 1) / 2) * 0.06
        x = line["x"] * 2 ** (offset * 0.5) if positive else line["x"] + offset * gap
        ax.errorbar(
            x,
            100 * line["mean"],
            yerr=None if line["half"].isna().all() else 100 * line["half"].fillna(0),
            color=color(slot),
            marker=marker(slot),
            linestyle=dashes(slot),
            markeredgecolor="white",
            markeredgewidth=0.4,
            elinewidth=0.9,
            capsize=2,
            label=(str(series) or loss_title(str(loss)))
            if single
            else f"{loss_title(str(loss))} {series}".strip(),
        )
    for index, row in enumerate(frame[frame["x"].isna() & frame["mean"].notna()].itertuples()):
        ax.axhline(
            100 * float(row.mean),
            color=GREY,
            linestyle=dashes(1, index),
            linewidth=1,
            label=loss_title(str(row.loss)),
        )
    numeric_ticks(ax, values)
