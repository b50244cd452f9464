"""Which parameter mattered: its share of what the trials differ in, by loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.collect import Study
from reports.figures.style import PAGE, Drawing, slots
from reports.figures.tuning.axes import ink, listed, phrase
from reports.figures.tuning.frames import objectives, searches
from reports.selection import Selection
from reports.summary import loss_title

_COLUMNS = 9  # of so many parameters each has its column; of more, only those of several losses
_FIRST = ("learning_rate", "weight_decay", "margin", "scale")
_OWN = "only this loss's"


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per loss and tuned parameter: importance as the mean, least and greatest over the
    searches that have one (NaN where none has), and the column that it is drawn in.
    """
    rows: list[dict[str, Any]] = []
    for loss in dict.fromkeys(own["loss"] for own in searches(study)):
        mine = [own for own in searches(study) if own["loss"] == loss]
        known = [own["importance"] for own in mine if own["importance"]]
        for name in dict.fromkeys(axis["name"] for own in mine for axis in own["space"]):
            shares = [float(own[name]) for own in known if name in own]
            rows.append(
                {
                    "metric": objectives(study)[0][0],
                    "loss": loss,
                    "slot": slots(study).get(loss, 0),
                    "parameter": name,
                    "mean": float(np.mean(shares)) if shares else np.nan,
                    "low": min(shares, default=np.nan),
                    "high": max(shares, default=np.nan),
                    "n": len(shares),
                    "searches": len(mine),
                }
            )
    if any(row["n"] for row in rows):
        frame = pd.DataFrame(rows)
        yield "tuning_importance", frame.assign(column=_columns(frame))


def _columns(frame: pd.DataFrame) -> list[str]:
    """Column of each row: the parameter, or a place among those that no other loss has."""
    count = Counter(frame["parameter"])
    alone = {name for name in count if count[name] == 1 and name not in _FIRST}
    if len(count) <= _COLUMNS:
        return list(frame["parameter"])
    seen: Counter[str] = Counter()
    found = []
    for loss, name in zip(frame["loss"], frame["parameter"], strict=True):
        seen[loss] += name in alone
        found.append(f"{_OWN} {seen[loss]}" if name in alone else name)
    return found


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    losses = list(dict.fromkeys(frame["loss"]))
    columns = sorted(dict.fromkeys(frame["column"]), key=lambda name: _order(frame, name))
    own = [name.startswith(_OWN) for name in columns]
    widths = np.where(own, 0.78, 0.56)
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    figure = Figure(
        figsize=(min(PAGE, 1.5 + float(edges[-1])), 1.05 + 0.235 * len(losses)),
        layout="constrained",
    )
    ax = figure.subplots()
    ax.set_xlim(0, edges[-1])
    ax.set_ylim(len(losses), 0)
    greatest = float(frame["mean"].max()) or 1.0
    for row in frame.itertuples():
        column = columns.index(str(row.column))
        _entry(
            ax, row, losses.index(row.loss), edges[column], widths[column], own[column], greatest
        )
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.xaxis.tick_top()
    shared = [place for place, name in enumerate(columns) if not own[place]]
    middle = edges[:-1] + widths / 2
    ax.set_xticks(
        [middle[place] for place in shared],
        [columns[place].replace("_", " ").replace(".", "\n") for place in shared],
        rotation=35,
        ha="left",
        rotation_mode="anchor",
    )
    if any(own):
        first = own.index(True)
        ax.text(
            float(edges[first] + edges[-1]) / 2,
            -0.25,
            "of this loss alone",
            ha="center",
            va="bottom",
            fontsize=7,
        )
    ax.set_yticks(np.arange(len(losses)) + 0.5, [loss_title(str(loss)) for loss in losses])
    blank = [loss for loss, mine in frame.groupby("loss", sort=False) if mine["mean"].isna().all()]
    searched = int(frame["searches"].max())
    known = frame[frame["n"] > 0]
    of = "those of " if (known["n"] < known["searches"]).any() else ""
    several = f", mean over {of}{searched} searches" if searched > 1 else ""
    several += " that had enough trials" if of and several else ""
    caption = (
        "Share of each tuned parameter, in per cent, in what tells the better trials of a loss "
        f"from all of them by {phrase(str(frame['metric'].iloc[0]))} (PED-ANOVA, Watanabe et "
        f"al. 2023{several}; a row adds up to 100). Darker: more. Blank: the loss does not have the "
        "parameter. Shares of few trials are rough, and say nothing outside the ranges searched."
        f"{f' Hatched: too few trials to tell ({listed(blank)}).' if blank else ''}"
    )
    top = frame.loc[frame.dropna(subset="mean").groupby("loss", sort=False)["mean"].idxmax()]
    said = "; ".join(
        f"{loss_title(str(row.loss))}: {str(row.parameter).replace('_', ' ')} "
        f"{100 * float(row.mean):.0f} %"
        for row in top.itertuples()
    )
    alt = f"Heat table of losses by parameters. The most important parameter of each: {said}."
    return Drawing(figure, "Which parameters mattered", caption, alt)


def _order(frame: pd.DataFrame, name: str) -> tuple[bool, int, int, str]:
    """The recipe's first, then margin and scale, then by how many losses have it."""
    first = _FIRST.index(name) if name in _FIRST else len(_FIRST)
    return name.startswith(_OWN), first, -int((frame["column"] == name).sum()), name


def _entry(
    ax: Axes, row: Any, place: int, left: float, width: float, own: bool, greatest: float
) -> None:
    known = row.mean == row.mean
    rgba = matplotlib.colormaps["Blues"](0.75 * row.mean / greatest if known else 0.0)
    ax.add_patch(
        Rectangle(
            (left + 0.01, place + 0.03),
            width - 0.02,
            0.94,
            facecolor=rgba if known else "#f2f2f2",
            edgecolor="none" if known else "#8a8a8a",
            hatch=None if known else "////",
            linewidth=0,
        )
    )
    words = [str(row.parameter).replace("_", " ")] if own else []
    words += [f"{100 * row.mean:.0f}"] if known else []
    ax.text(
        left + width / 2,
        place + 0.5,
        "\n".join(words),
        ha="center",
        va="center",
        fontsize=5.2 if own else 6.5,
        linespacing=1.0,
        color=ink(rgba) if known else "black",
        bbox=None if known else {"fc": "white", "ec": "none", "pad": 0.6},
    )
