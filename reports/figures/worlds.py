"""Closed set against open set: does the ranking in one world hold in the other?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.style import COLUMN, Drawing, color, marker, with_slots
from reports.intervals import mean_interval
from reports.metrics import metric
from reports.selection import Selection
from reports.statistics import Correlation, spearman
from reports.summary import closed_metric, loss_title, open_metric


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per run that has both metrics."""
    closed, opened = closed_metric(study), open_metric(study)
    if closed is None or opened is None:
        return
    frame = study.frame.dropna(subset=[closed, opened])
    if len(frame) >= 2:
        points = frame[["id", "cell", "loss", "seed"]].assign(
            closed=frame[closed], open=frame[opened]
        )
        yield (
            "closed_vs_open",
            with_slots(study, points.assign(closed_metric=closed, open_metric=opened)),
        )


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave; the EER axis points down, so that better is up and to the right."""
    closed, opened = (metric(str(frame[key].iloc[0])) for key in ("closed_metric", "open_metric"))
    losses = list(dict.fromkeys(frame["loss"]))
    figure = Figure(figsize=(COLUMN * 1.2, 3.1 + 0.14 * -(-len(losses) // 3)), layout="constrained")
    ax = figure.subplots()
    for loss, runs in frame.groupby("loss", sort=False):
        slot = int(runs["slot"].iloc[0])
        ax.scatter(
            100 * runs["closed"],
            100 * runs["open"],
            s=7,
            color=color(slot),
            marker=marker(slot),
            alpha=0.35,
            linewidth=0,
        )
        for index, (_, own) in enumerate(runs.groupby("cell", sort=False)):
            x, y = mean_interval(own["closed"]), mean_interval(own["open"])
            ax.errorbar(
                100 * x.mean,
                100 * y.mean,
                xerr=None if x.half != x.half else 100 * x.half,
                yerr=None if y.half != y.half else 100 * y.half,
                color=color(slot),
                marker=marker(slot),
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.5,
                elinewidth=0.6,
                ecolor=(color(slot), 0.5),
                linestyle="none",
                label=loss_title(str(loss)) if index == 0 else None,
            )
    ax.set_xlabel(f"{closed.axis}  →  better")
    ax.set_ylabel(f"{opened.axis}{'  →  better' if opened.higher_is_better else ''}")
    if not opened.higher_is_better:
        ax.invert_yaxis()
        ax.set_ylabel(f"{opened.axis}, reversed  →  better")
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    sign = 1 if opened.higher_is_better else -1
    means = frame.groupby("cell", sort=False)[["closed", "open"]].mean()
    cells, runs_ = (
        spearman(means["closed"], sign * means["open"]),
        spearman(frame["closed"], sign * frame["open"]),
    )
    caption = (
        "Closed-set against open-set quality of the same models. Small: one run; large: mean of a "
        "setting over seeds with 95 % "
        f"Student-t intervals. Spearman's ρ over the {cells.n} settings' means: "
        f"{correlation_text(cells)}; over all "
        f"{runs_.n} runs: {_rho(runs_)} (no interval: the seeds of a setting are not independent "
        "points). "
        "ρ > 0: better on known classes goes with better on unknown ones."
    )
    alt = (
        f"Scatter of {closed.title} against {opened.title} for "
        f"{', '.join(map(loss_title, losses))}; Spearman {_rho(cells)} over settings."
    )
    return Drawing(figure, "Closed set against open set", caption, alt)


def correlation_text(value: Correlation) -> str:
    """``"0.72, 95 % interval [0.31, 0.90]"``, or why there is none."""
    if value.rho != value.rho:
        return "not defined (fewer than three settings, or no variation)"
    if value.low != value.low:
        return f"{value.rho:.2f} (too few settings or a perfect ranking: no interval)"
    return f"{value.rho:.2f}, 95 % interval [{value.low:.2f}, {value.high:.2f}]"


def _rho(value: Correlation) -> str:
    return "not defined" if value.rho != value.rho else f"{value.rho:.2f}"
