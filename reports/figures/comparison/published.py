"""Published against reproduced numbers, where they are comparable at all."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from reports.collect import Study
from reports.figures.comparison.compared import label_points
from reports.figures.style import GREY, PAGE, Drawing, color, marker, with_slots
from reports.literature.numbers import compare
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import loss_title, setting_text
from reports.tables.published import RULE, ours, source_text

_MOST = 40  # points
_NETS = {"same": "full", "other": "none", "not stated": "left"}  # how a marker is filled


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per comparable published number: it and ours as errors, fractions (an accuracy is
    turned into 1 minus it).
    """
    matches, _ = compare(study, selection)
    rows: list[dict[str, object]] = []
    losses = study.cells.set_index("cell")["loss"]
    for match in matches[:_MOST]:
        mine = ours(study, match)
        low, mean, high = mine.low, mine.mean, mine.high
        if not match.error:
            low, mean, high = 1 - high, 1 - mean, 1 - low
        rows.append(
            {
                "place": len(rows) + 1,
                "metric": match.metric,
                "cell": match.cell,
                "loss": losses[match.cell],
                "label": setting_text(study, match.cell),
                "source": source_text(match),
                "published": round(match.value if match.error else 1 - match.value, 6),
                "mean": round(mean, 6),
                "low": round(low, 6),
                "high": round(high, 6),
                "n": mine.n,
                "net": match.net,
                "rows": len(matches),
            }
        )
    if rows:
        yield "published", with_slots(study, pd.DataFrame(rows))


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave: equal numbers on the diagonal, a key with the sources beside it."""
    names = list(dict.fromkeys(frame["metric"]))
    handles = _key(frame)
    figure = Figure(figsize=(PAGE, max(3.2, 0.3 + 0.128 * len(handles))), layout="constrained")
    ax = figure.subplots()
    legend = figure.legend(
        handles=handles,
        loc="outside right upper",
        fontsize=5.8,
        labelspacing=0.22,
        handletextpad=0.3,
        handlelength=1.4,
    )
    for handle, text in zip(handles, legend.get_texts(), strict=True):
        if handle.get_marker() in (None, "None", ""):  # a source
            text.set(style="italic", color=GREY)
    _points(figure, ax, frame)
    total, apart = int(frame["rows"].iloc[0]), 100 * (frame["mean"] - frame["published"])
    n = sorted(set(frame["n"]))
    caption = (
        f"Error (100 % minus {' or '.join(metric(name).title for name in names)}), published and "
        "reproduced, on logarithmic axes; on the dashed line both are equal, below it ours is "
        f"smaller. Ours: mean over seeds (n = {n[0]}{f' to {n[-1]}' if len(n) > 1 else ''}) with "
        "the 95 % interval; the published numbers came without one. Filled: the same net; hollow: "
        f"another; half: the net is not stated. {RULE}"
        + (f" The first {len(frame)} of {total} are shown." if total > len(frame) else "")
    )
    alt = (
        f"Scatter of {len(frame)} published against reproduced errors; ours minus published from "
        f"{apart.min():.2f} to {apart.max():.2f} percentage points, mean {apart.mean():.2f}."
    )
    return Drawing(figure, "Published and reproduced", caption, alt)


def _key(frame: pd.DataFrame) -> list[Line2D]:
    """The points by number, under the name of their source."""
    shown = []
    for source, own in frame.groupby("source", sort=False):
        title = shorten(str(source), 52, placeholder=" …")
        shown.append(Line2D([], [], linestyle="none", label=title))
        shown += [
            Line2D(
                [],
                [],
                linestyle="none",
                markersize=4,
                label=f"{row.place}  {loss_title(str(row.loss))} {row.label}".strip(),
                **_look(int(str(row.slot)), str(row.net)),
            )
            for row in own.itertuples()
        ]
    return shown


def _look(slot: int, net: str) -> dict[str, Any]:
    return {
        "color": color(slot),
        "marker": marker(slot),
        "fillstyle": _NETS[net],
        "markerfacecoloralt": "white",
    }


def _points(figure: Figure, ax: Axes, frame: pd.DataFrame) -> None:
    values = 100 * frame[["published", "mean", "low", "high"]].to_numpy(dtype=float)
    floor = np.nanmin(values[:, :2][values[:, :2] > 0], initial=100.0) / 3  # of a log axis
    values = np.maximum(values, floor)
    for row, (x, mean, low, high) in zip(frame.itertuples(), values, strict=True):
        ax.errorbar(
            x,
            mean,
            yerr=None if np.isnan(low) else [[mean - low], [high - mean]],
            markersize=5,
            elinewidth=0.7,
            linestyle="none",
            zorder=3,
            **_look(int(str(row.slot)), str(row.net)),
        )
    ends = (float(np.nanmin(values)) / 1.12, float(np.nanmax(values)) * 1.12)
    ax.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    for side, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        (ax.set_xscale if side == "x" else ax.set_yscale)("log")
        axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(LogLocator(10, subs=(3.0, 4.0, 6.0, 7.0, 8.0, 9.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        few = ends[1] / ends[0] < 8
        axis.set_minor_formatter(
            FuncFormatter(lambda value, _, few=few: f"{value:g}" if few else "")
        )
    ax.tick_params(which="minor", labelsize=6)
    ax.set_xlim(ends)
    ax.set_ylim(ends)
    ax.set_xlabel("Published error (%)")
    ax.set_ylabel("Reproduced error (%)")
    bars = values[~np.isnan(values[:, 2])]
    label_points(
        figure,
        ax,
        values[:, :2],
        [str(place) for place in frame["place"]],
        lines=[(x, low, x, high) for x, _, low, high in bars],
        size=6.5,
    )
