"""How each search went: every trial in order, where it came from, what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.collect import Study
from reports.figures.style import DASHES, PALETTE, Drawing
from reports.figures.tuning.axes import (
    axis_label,
    ends,
    legend,
    listed,
    lower_text,
    panels,
    phrase,
    unit_of,
)
from reports.figures.tuning.frames import files, trials
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import loss_title

_MOST = 20  # panels in a file: five rows fill a page
_ORIGINS = {"default": "s", "preset": "^", "sampler": "o"}


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per trial, by the first objective; see `reports.figures.tuning.frames.trials`."""
    frame = trials(study)
    if frame["seen"].notna().any():
        for name, losses in files("tuning_history", list(dict.fromkeys(frame["loss"])), _MOST):
            yield name, frame[frame["loss"].isin(losses)].drop(columns="images")


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    losses = list(dict.fromkeys(frame["loss"]))
    name, lower = str(frame["metric"].iloc[0]), bool(frame["lower"].iloc[0])
    figure, axes = panels(len(losses), 4, 1.45, 0.5)
    for ax, loss in zip(axes, losses, strict=True):
        _panel(ax, frame[frame["loss"] == loss], lower, unit_of(name))
        ax.set_title(loss_title(str(loss)), fontsize=7.5)
    figure.supxlabel("Trial", fontsize=7.5)
    axis_label(figure, metric(name).axis, f", {lower_text(lower)}")
    legend(figure, _legend(frame))
    name_of = phrase(name)
    status = frame["status"].value_counts()
    several = frame["search"].nunique() > 1
    counts = ", ".join(
        f"{status[key]} {key}" for key in ("complete", "stopped", "failed") if key in status
    )
    caption = (
        f"{name_of[0].upper()}{name_of[1:]}: every trial of {'every search' if several else 'the search'} of each loss, in the order "
        f"tried ({len(frame)} trials: {counts}); each panel has its own axis. Lines: the best value"
        f" so far{'; colour and dash: the search' if several else ''}. Marker: where the point came"
        " from. Ring: the winner."
        f"{' Hollow: stopped early, at its last rung.' if status.get('stopped') else ''}"
        f"{' × at the edge: failed, without a value.' if status.get('failed') else ''}"
        " Trials on the edge lie beyond it."
    )
    alt = f"{name_of[0].upper()}{name_of[1:]} of every trial in order, by loss: {listed(losses)}; {counts}."
    title = "The history of the searches"
    return Drawing(figure, title, caption, alt)


def _panel(ax: Axes, own: pd.DataFrame, lower: bool, factor: float) -> None:
    seen = factor * own["seen"]
    best = factor * own["best"]
    low, high = ends(seen, lower, best.groupby(own["search"]).last())
    ax.set_ylim(low, high)
    for search, tried in own.groupby("search", sort=False):
        ax.step(
            tried["number"],
            np.clip(factor * tried["best"], low, high),
            where="post",
            color=_ink(search),
            linestyle=DASHES[(int(search) - 1) % len(DASHES)],
            linewidth=0.9,
        )
    ink = own["search"].map(_ink).to_numpy()
    stopped = (own["status"] == "stopped").to_numpy()
    seen = np.clip(seen, low, high)
    for origin, shape in _ORIGINS.items():
        mine = ((own["origin"] == origin) & own["seen"].notna()).to_numpy()
        ax.scatter(
            own["number"][mine],
            seen[mine],
            s=9 if origin == "sampler" else 16,
            marker=shape,
            facecolor=np.where(stopped, "white", ink)[mine].tolist(),
            edgecolor=ink[mine].tolist(),
            linewidth=0.6,
            alpha=0.85,
            zorder=3 if origin == "sampler" else 4,
            clip_on=False,
        )
    gone = own["seen"].isna().to_numpy()
    ax.scatter(
        own["number"][gone],
        np.full(gone.sum(), high if lower else low),
        s=14,
        marker="x",
        color=ink[gone].tolist(),
        linewidth=0.9,
        zorder=5,
        clip_on=False,
    )
    won = own[own["winner"] & own["value"].notna()]
    ax.scatter(
        won["number"],
        factor * won["value"],
        s=46,
        facecolor="none",
        edgecolor="black",
        linewidth=0.9,
        zorder=6,
        clip_on=False,
    )
    last = float(own["number"].max())
    room = 0.5 + 0.03 * last
    ax.set_xlim(-room, last + room)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    if own["seen"].isna().all():
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no value", ha="center", va="center", transform=ax.transAxes)


def _ink(search: int) -> str:
    """Colour of a search, by its number from 1."""
    return PALETTE[(int(search) - 1) % len(PALETTE)]


def _legend(frame: pd.DataFrame) -> list[Line2D]:
    """Handles of what occurs in the figure."""

    def point(label: str, shape: str, **options: Any) -> Line2D:
        look: dict[str, Any] = {"color": "#404040", "linestyle": "none", "markersize": 4}
        return Line2D([], [], marker=shape, label=label, **(look | options))

    handles = [
        point(origin, shape)
        for origin, shape in _ORIGINS.items()
        if (frame["origin"] == origin).any()
    ]
    if (frame["status"] == "stopped").any():
        handles.append(point("stopped", "o", markerfacecolor="white"))
    if frame["seen"].isna().any():
        handles.append(point("failed", "x"))
    handles.append(point("winner", "o", color="black", markerfacecolor="none", markersize=6))
    found = sorted(int(search) for search in frame["search"].unique())
    if len(found) > 1:
        handles += [
            Line2D(
                [],
                [],
                color=_ink(search),
                linestyle=DASHES[(search - 1) % len(DASHES)],
                linewidth=1,
                label=f"search {search}",
            )
            for search in found
        ]
    return handles
