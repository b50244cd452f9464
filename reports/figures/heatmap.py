"""Margin × scale: closed set and open set side by side, for each loss that varies both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.collect import SHORT, Study, value_text
from reports.figures.style import COLUMN, PAGE, Drawing
from reports.intervals import mean_interval
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import closed_metric, loss_title, open_metric, unit


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """A frame for each loss with two numeric axes: one row per pair of values and metric."""
    for loss in study.losses:
        numeric = [axis for axis in study.axes[loss] if study.frame[axis].dtype == float]
        first, second = (
            ("margin", "scale") if {"margin", "scale"} <= set(numeric) else ([*numeric, "", ""])[:2]
        )
        if not second:
            continue
        rest = [axis for axis in study.axes[loss] if axis not in (first, second)]
        mine = study.swept(loss)
        groups = mine.groupby(rest, dropna=False, sort=False) if rest else [((), mine)]
        for number, (values, group) in enumerate(groups):
            fixed = " ".join(
                f"{SHORT.get(k, k)}={value_text(v)}" for k, v in zip(rest, values, strict=True)
            )
            frame = _frame(study, group, first, second)
            if frame["mean"].notna().any():
                yield (
                    f"heatmap-{loss}{f'-{number + 1}' if rest else ''}",
                    frame.assign(loss=loss, fixed=fixed),
                )


def _frame(study: Study, group: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    rows = []
    for name in (closed_metric(study), open_metric(study)):
        if name is None:
            continue
        for (x, y), runs in group.groupby([second, first]):
            interval = mean_interval(runs[name])
            lost = runs.loc[runs["status"] != "finished", "status"].value_counts()
            rows.append(
                {
                    "metric": name,
                    "x_name": second,
                    "y_name": first,
                    "x": x,
                    "y": y,
                    "mean": interval.mean,
                    "half": interval.half,
                }
                | {
                    "n": interval.n,
                    "planned": len(runs),
                    "lost": "; ".join(f"{count} {status}" for status, count in lost.items()),
                }
            )
    return pd.DataFrame(
        rows,
        columns=["metric", "x_name", "y_name", "x", "y", "mean", "half", "n", "planned", "lost"],
    )


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    loss, fixed = str(frame["loss"].iloc[0]), str(frame["fixed"].iloc[0])
    names = list(dict.fromkeys(frame["metric"]))
    xs, ys = sorted(frame["x"].unique()), sorted(frame["y"].unique())
    width = min(PAGE, (0.4 + 0.75 * len(xs)) * len(names)) if len(names) > 1 else COLUMN
    figure = Figure(figsize=(max(width, COLUMN), 0.85 + 0.36 * len(ys)), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for ax, name in zip(panels, names, strict=True):
        _panel(ax, frame[frame["metric"] == name], xs, ys)
        ax.set_title(f"{metric(name).title} (%)", fontsize=7.5)
        ax.set_xlabel(_axis(loss, str(frame["x_name"].iloc[0])))
    for ax in panels[1:]:
        ax.tick_params(labelleft=False)
    panels[0].set_ylabel(_axis(loss, str(frame["y_name"].iloc[0])))
    axes = f"{frame['y_name'].iloc[0]} × {frame['x_name'].iloc[0]}"
    seeds = int(frame["planned"].max())
    caption = (
        f"{loss_title(loss)}{f' ({fixed})' if fixed else ''}: mean over {seeds} "
        f"seed{'s' if seeds > 1 else ''} of "
        f"{' and '.join(_phrase(name) for name in names)}, in per cent"
        f"{', with the half width of the 95 % Student-t interval beneath' if seeds > 1 else ''}. "
        "Darker is better; the best mean is framed. Hatched: no run finished; k/n: only k of n "
        "seeds finished."
    )
    return Drawing(figure, f"{loss_title(loss)}: {axes}", caption, _alt(frame, names, axes, loss))


def _panel(ax: Axes, frame: pd.DataFrame, xs: list[float], ys: list[float]) -> None:
    name = str(frame["metric"].iloc[0])
    higher = bool(metric(name).higher_is_better)
    grid = (
        frame.pivot(index="y", columns="x", values="mean").reindex(index=ys, columns=xs).to_numpy()
        * 100
    )
    shade = np.ma.masked_invalid(grid)
    image = ax.imshow(
        shade, origin="lower", aspect="auto", cmap="cividis_r" if higher else "cividis"
    )
    ax.grid(False)
    ax.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    ax.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    ax.tick_params(length=0)
    best = np.nanargmax(grid if higher else -grid) if np.isfinite(grid).any() else None
    for row in frame.itertuples():
        place = (xs.index(row.x), ys.index(row.y))
        _entry(ax, row, place, _ink(image, float(row.mean) * 100))
    if best is not None:
        y, x = divmod(int(best), len(xs))
        ax.add_patch(
            Rectangle(
                (x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor="white", linewidth=2.6
            )
        )
        ax.add_patch(
            Rectangle(
                (x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor="black", linewidth=1.1
            )
        )


def _entry(ax: Axes, row: object, place: tuple[int, int], ink: str) -> None:
    n, planned, mean, half, lost = (
        getattr(row, key) for key in ("n", "planned", "mean", "half", "lost")
    )
    if n == 0:
        cell = (place[0] - 0.5, place[1] - 0.5)
        ax.add_patch(
            Rectangle(
                cell, 1, 1, facecolor="#f2f2f2", edgecolor="#8a8a8a", hatch="////", linewidth=0
            )
        )
        word = str(lost).split("; ")[0].split(" ", 1)[-1].replace("out_of_memory", "no memory")
        ax.text(
            *place,
            word or "none",
            ha="center",
            va="center",
            fontsize=5.6,
            bbox={"fc": "white", "ec": "none", "pad": 0.8},
        )
        return
    below = [f"±{half * 100:.1f}" if half == half else "", f"{n}/{planned}" if n < planned else ""]
    text = "\n".join(
        [f"{mean * 100:.1f}", *([" ".join(part for part in below if part)] if any(below) else [])]
    )
    ax.text(*place, text, ha="center", va="center", fontsize=6, color=ink, linespacing=1.05)


def _ink(image: object, value: float) -> str:
    red, green, blue, _ = image.to_rgba(value)  # type: ignore[attr-defined]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _axis(loss: str, name: str) -> str:
    symbol = f" {SHORT[name]}" if name in SHORT else ""
    return f"{name.replace('_', ' ')}{symbol}{f' ({unit(loss, name)})' if unit(loss, name) else ''}"


def _phrase(name: str) -> str:
    title = metric(name).title
    return title[0].lower() + title[1:]


def _alt(frame: pd.DataFrame, names: list[str], axes: str, loss: str) -> str:
    texts = []
    for name in names:
        mine = frame[(frame["metric"] == name) & frame["mean"].notna()]
        if len(mine) == 0:
            continue
        best = mine.loc[
            mine["mean"].idxmax() if metric(name).higher_is_better else mine["mean"].idxmin()
        ]
        texts.append(
            f"best {_phrase(name)} {best['mean'] * 100:.1f} % at {best['y_name']} {best['y']:g}, "
            f"{best['x_name']} {best['x']:g}"
        )
    return f"Heatmaps of {axes} for {loss_title(loss)}: {'; '.join(texts)}."
