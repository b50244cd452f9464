"""What could each loss do with N trials: the best validation value so far, against the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.collect import Study
from reports.figures.style import GREY, PAGE, Drawing, color, dashes, marker
from reports.figures.tuning.axes import (
    ends,
    listed,
    lower_text,
    phrase,
    shown,
    spread,
    unit_of,
)
from reports.figures.tuning.frames import halved, objectives, searches, trials
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import loss_title

_ALL = 8  # up to so many losses are all drawn in colour
_BEST = 6  # of more, so many
_LABEL = 0.115  # inches between two labels


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per trial, search and objective: ``budget`` (trials so far), ``images`` (trained so
    far; NaN where no trial is stopped early) and the best value so far.
    """
    frames = []
    for index in range(len(objectives(study)) if searches(study) else 0):
        found = trials(study, index)
        found["budget"] = found.groupby(["loss", "search"], sort=False).cumcount() + 1
        if not halved(study):
            found["images"] = np.nan
        frames.append(
            found[["metric", "lower", "loss", "slot", "search", "budget", "images", "best"]]
        )
    if frames and any(frame["best"].notna().any() for frame in frames):
        yield "tuning_budget", pd.concat(frames, ignore_index=True)


def over_searches(lines: Sequence[pd.DataFrame], budget: str) -> pd.DataFrame:
    """Mean, least and greatest of the searches' best values so far, at every budget where one of
    them changes: ``x, mean, low, high``.

    A line holds its last value until it changes and after its end. A search that never had a value
    is left out; before every other one has a value there is no mean.
    """
    known = [line for line in lines if line["best"].notna().any()]
    if not known:
        return pd.DataFrame({"x": [], "mean": [], "low": [], "high": []}, dtype=float)
    x = np.unique(np.concatenate([line[budget].to_numpy(dtype=float) for line in known]))
    held = np.full((len(known), len(x)), np.nan)
    for row, line in zip(held, known, strict=True):
        at = np.searchsorted(line[budget].to_numpy(dtype=float), x, side="right") - 1
        row[at >= 0] = line["best"].to_numpy(dtype=float)[at[at >= 0]]
    frame = pd.DataFrame(
        {"x": x, "mean": held.mean(axis=0), "low": held.min(axis=0), "high": held.max(axis=0)}
    )
    return frame.dropna().reset_index(drop=True)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave: a row per objective, a panel per kind of budget."""
    names = list(dict.fromkeys(frame["metric"]))
    budgets = ["budget", *(["images"] if frame["images"].notna().any() else [])]
    count = frame["loss"].nunique()
    height = max(2.5, _LABEL * count + 0.45)
    width = PAGE if len(budgets) > 1 or count > _ALL else PAGE * 0.72
    figure = Figure(figsize=(width, height * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(budgets), squeeze=False, sharey="row", sharex="col")
    several, said, drawn = int(frame["search"].nunique()), [], 0
    for axes, name in zip(grid, names, strict=True):
        mine = frame[frame["metric"] == name]
        lower, factor = bool(mine["lower"].iloc[0]), unit_of(str(name))
        final = _final(mine, lower)
        drawn = max(drawn, len(final))
        bright = list(final.index[: len(final) if len(final) <= _ALL else _BEST])
        low, high = _ends(mine, final, lower, factor)
        for ax, budget in zip(axes, budgets, strict=True):
            _panel(ax, mine, budget, bright, factor)
            ax.set_ylim(low, high)
        row = metric(str(name))
        axes[0].set_ylabel(
            f"{row.short.replace('val.', 'Validation:')}{f' ({row.unit})' if row.unit else ''}\n"
            f"best so far, {lower_text(lower)}"
        )
        _labels(axes[-1], mine, final, bright, factor, height - 0.45)
        if len(final):
            said.append(
                f"{phrase(str(name))}: {loss_title(str(final.index[0]))} ends best at "
                f"{shown(factor * final.iloc[0])}, {loss_title(str(final.index[-1]))} last at "
                f"{shown(factor * final.iloc[-1])}"
            )
    titles = {"budget": "Trials", "images": f"Images trained on{_images(frame)[1]}"}
    for ax, budget in zip(grid[-1], budgets, strict=True):
        ax.set_xlabel(titles[budget])
    grid[0, 0].xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    lost = [
        loss
        for loss, own in frame[frame["metric"] == names[0]].groupby("loss", sort=False)
        if own["best"].isna().all()
    ]
    valued = frame[frame["metric"] == names[0]].groupby(["loss", "search"])["best"].count()
    count_empty = int((valued.drop(lost, level="loss") == 0).sum())
    empty = f"{count_empty} search{'es' if count_empty > 1 else ''}" if count_empty else ""
    seeds = f"mean over {several} searches, band from the best to the worst of them"
    caption = (
        "What each loss reached with a given budget: the best value so far on validation images"
        f"{f', {seeds}' if several > 1 else ' (one search)'}. A trial that failed"
        f"{' or was stopped' if len(budgets) > 1 else ''} counts in the budget. "
        "Labels at the right: the losses from the best down, with the value after the last trial."
        f"{f' In colour: the best {_BEST} at the end; grey: the others.' if drawn > _ALL else ''}"
        f"{' Right: the same against the images trained on.' if len(budgets) > 1 else ''}"
        " Lines that leave the frame come from, or stay at, worse values (arrow at the label)."
        " The best of more trials is better by luck alone: compare losses at equal budgets, and on"
        " test images only by the tables."
        f"{f' Without any value: {listed(lost)}.' if lost else ''}"
        f"{f' Not in the means: {empty} without any value.' if empty else ''}"
    )
    alt = f"Lines of the best validation value against the number of trials. {'; '.join(said)}."
    return Drawing(figure, "What each loss reached with its tuning budget", caption, alt)


def _ends(mine: pd.DataFrame, final: pd.Series, lower: bool, factor: float) -> tuple[float, float]:
    """Ends of a panel's upright axis: of a few losses from the first trial on, of many where they
    ended, so that their labels can be told apart; always three quarters of the losses' ends.
    """
    keep = factor * final.to_numpy()[: int(np.ceil(0.75 * len(final)))]
    if len(final) > _ALL:
        low, high = ends(factor * final.to_numpy(), lower, keep)
        more = 0.25 * (high - low)
        return (low, high + more) if lower else (low - more, high)
    starts = mine.groupby(["loss", "search"])["best"].first()
    return ends(factor * pd.concat([final, starts]).to_numpy(), lower, keep)


def _images(frame: pd.DataFrame) -> tuple[float, str]:
    """What images are multiplied by to be shown, and the word for it."""
    most = float(frame["images"].max())
    if most >= 2e6:
        return 1e-6, ", million"
    return (1e-3, ", thousand") if most >= 2e3 else (1.0, "")


def _final(mine: pd.DataFrame, lower: bool) -> pd.Series:
    """Mean over searches of the best value after the last trial, by loss, the best first."""
    last = mine.groupby(["loss", "search"], sort=False)["best"].last().dropna()
    return last.groupby("loss", sort=False).mean().sort_values(ascending=lower, kind="stable")


def _panel(ax: Axes, mine: pd.DataFrame, budget: str, bright: list[str], factor: float) -> None:
    scale = _images(mine)[0] if budget == "images" else 1.0
    last = scale * float(mine[budget].max())
    first = 1.0 if budget == "budget" else 0.0
    room = 0.03 * (last - first) or 0.5
    ax.set_xlim(first - room, last + room)
    for loss, own in mine.groupby("loss", sort=False):
        slot, lit = int(own["slot"].iloc[0]), loss in bright
        line = over_searches([each for _, each in own.groupby("search", sort=False)], budget)
        if len(line) == 0:
            continue
        x = scale * line["x"]
        ink = color(slot) if lit else "#b9b9b9"
        if lit and own["search"].nunique() > 1:
            ax.fill_between(
                x,
                factor * line["low"],
                factor * line["high"],
                step="post",
                color=ink,
                alpha=0.13,
                linewidth=0,
            )
        ax.step(
            x,
            factor * line["mean"],
            where="post",
            color=ink,
            linestyle=dashes(slot) if lit else "-",
            linewidth=1.3 if lit else 0.7,
            zorder=3 if lit else 2,
        )
        # On to the edge, where the label's line takes over: a budget that was not needed.
        ends_at = [float(x.iloc[-1]), ax.get_xlim()[1]]
        ax.plot(ends_at, [factor * line["mean"].iloc[-1]] * 2, color=ink, linewidth=0.5)
        ax.plot(
            x.iloc[-1:],
            factor * line["mean"].iloc[-1:],
            marker=marker(slot) if lit else None,
            color=ink,
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=4,
            clip_on=False,
        )


def _labels(
    ax: Axes,
    mine: pd.DataFrame,
    final: pd.Series,
    bright: list[str],
    factor: float,
    height: float,
) -> None:
    """Names with end values right of a panel, pulled apart, each tied to the end of its line."""
    low, high = ax.get_ylim()
    at = (factor * final.to_numpy() - low) / (high - low)
    slot = mine.drop_duplicates("loss").set_index("loss")["slot"]
    for loss, own, there in zip(final.index, at, spread(at, _LABEL / height), strict=True):
        beyond = " ↑" if own > 1 else " ↓" if own < 0 else ""
        lit = loss in bright
        ink = color(int(slot[loss])) if lit else GREY
        ax.plot(
            [1.0, 1.06],
            [min(max(own, 0), 1), there],
            color=ink,
            linewidth=0.5,
            transform=ax.transAxes,
            clip_on=False,
        )
        ax.text(
            1.07,
            there,
            f"{loss_title(str(loss))}  {shown(factor * final[loss])}{beyond}",
            color=ink if lit else "#4f4f4f",
            fontsize=6.4 if lit else 6,
            fontweight="bold" if lit else "normal",
            va="center",
            transform=ax.transAxes,
        )
