"""Critical-difference diagram: mean ranks of the compared settings over the seeds (Demšar 2006)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.comparison.compared import names_of, shortlist
from reports.figures.style import GREY, PAGE, Drawing, color, marker, with_slots
from reports.metrics import metric
from reports.selection import Selection
from reports.statistics.ranks import Ranking, cliques, ranking
from reports.summary import Probability, closed_metric, open_metric, setting_text

_MOST = 32  # settings in a diagram
_ROW, _BAR = 0.145, 0.075  # inches: of a name, of a bar


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per compared setting and metric: its mean rank over the seeds, and of the metric
    Friedman's test and Nemenyi's critical difference. A setting without a rank has no `rank`.
    """
    cells, frames = selection.cells, []
    losses = study.cells.set_index("cell")["loss"]
    for name in (closed_metric(study), open_metric(study)):
        if name is None:
            continue
        ranked, found = _ranked(study, name, cells)
        if len(ranked) < 2 or found.sets < 2:
            continue
        placed = dict(zip(ranked, found.ranks.round(6), strict=True))
        frames.append(
            pd.DataFrame(
                {
                    "metric": name,
                    "cell": cells,
                    "loss": [losses[cell] for cell in cells],
                    "label": [setting_text(study, cell) for cell in cells],
                    "rank": [placed.get(cell, np.nan) for cell in cells],
                    "seeds": found.sets,
                    "p": found.p,
                    "critical_difference": found.critical_difference,
                }
            )
        )
    if frames:
        yield "ranks", with_slots(study, pd.concat(frames, ignore_index=True))


def _ranked(study: Study, name: str, cells: Sequence[str]) -> tuple[list[str], Ranking]:
    """Which settings can be ranked, and their ranking. A diverged run ranks last in its seed; a
    setting that lacks the values of most seeds for another reason stands outside, and of the others
    count the seeds that all have.
    """
    higher = bool(metric(name).higher_is_better)
    values = np.array(study.by_seed(name, cells))  # (cells, seeds)
    status = study.frame.pivot(index="cell", columns="seed", values="status").reindex(list(cells))
    values[(status == "diverged").to_numpy() & np.isnan(values)] = -np.inf if higher else np.inf
    known = 2 * (~np.isnan(values)).sum(axis=1) > values.shape[1]
    kept = [cell for cell, each in zip(cells, known, strict=True) if each]
    if not kept:
        return [], ranking(np.empty((0, 0)), higher)
    return kept, ranking(values[known], higher)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave: a diagram for each metric, best to the left."""
    names = names_of(frame)
    metrics = list(dict.fromkeys(frame["metric"]))
    tops = {name: frame[(frame["metric"] == name) & frame["rank"].notna()] for name in metrics}
    shown = {name: _shown(own) for name, own in tops.items()}
    bars = {name: _bars(own) for name, own in shown.items()}
    heights = [
        0.68 + _BAR * _levels(bars[name]) + _ROW * -(-len(shown[name]) // 2) for name in metrics
    ]
    figure = Figure(figsize=(PAGE, sum(heights) + 0.1))
    bottom = 1.0
    for name, height in zip(metrics, heights, strict=True):
        share = height / figure.get_figheight()
        bottom -= share
        ax = figure.add_axes((0, bottom, 1, share))
        _diagram(ax, shown[name], len(tops[name]), bars[name], names, height)
    return Drawing(figure, "Ranks over the seeds", _caption(frame, shown, names), _alt(tops, names))


def _shown(own: pd.DataFrame) -> pd.DataFrame:
    kept = shortlist(list(own["cell"]), list(own["rank"]), _MOST, higher=False)
    return own[own["cell"].isin(kept)].sort_values("rank", kind="stable")


def _bars(own: pd.DataFrame) -> list[tuple[float, float, int]]:
    """Bars with the level on which each stands: the lowest where it touches no other."""
    ends: list[float] = []
    placed = []
    for low, high in cliques(own["rank"], float(own["critical_difference"].iloc[0])):
        level = next((i for i, end in enumerate(ends) if end < low - 0.02), len(ends))
        ends[level : level + 1] = [high]
        placed.append((low, high, level))
    return placed


def _levels(bars: Sequence[tuple[float, float, int]]) -> int:
    return max((level for *_, level in bars), default=-1) + 1


def _diagram(
    ax: Axes,
    own: pd.DataFrame,
    count: int,
    bars: Sequence[tuple[float, float, int]],
    names: dict[str, str],
    height: float,
) -> None:
    """One metric. Vertical unit: inches below the top; horizontal: ranks, names outside of them."""
    last = max(float(own["rank"].max()), 2.0) if len(own) < count else float(count)
    side = 0.72 * (last - 1)  # room for names on either side, in ranks
    ax.set_xlim(1 - side, last + side)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    row = metric(str(own["metric"].iloc[0]))
    p, seeds = Probability(own["p"].iloc[0]), int(own["seeds"].iloc[0])
    p_text = p.text if p.text.startswith("<") else f"= {p.text}"
    title = f"{row.title}: mean rank over {seeds} seeds (Friedman p {p_text})"
    ax.text((1 + last) / 2, 0.02, title, ha="center", va="top", fontsize=8)
    axis = 0.5
    ax.plot([1, last], [axis, axis], color="black", linewidth=0.8)
    step = max(1, round((last - 1) / 8))
    for tick in np.arange(1, np.floor(last) + 0.5, step):
        ax.plot([tick, tick], [axis - 0.05, axis], color="black", linewidth=0.6)
        ax.text(tick, axis - 0.06, f"{tick:g}", ha="center", va="bottom", fontsize=6.5)
    difference = float(own["critical_difference"].iloc[0])
    wide = min(difference, last - 1 + side / 2)  # a longer one is broken off
    ax.plot([1, 1 + wide], [0.25, 0.25], color="black", linewidth=1.2)
    for end in (1, 1 + wide) if wide == difference else (1,):
        ax.plot([end, end], [0.21, 0.29], color="black", linewidth=0.8)
    cd = f"{'' if wide == difference else '→ '}CD = {difference:.2f}"
    ax.text(1 + wide + 0.02 * (last - 1), 0.25, cd, ha="left", va="center", fontsize=6.5)
    base = axis + 0.09
    for low, high, level in bars:
        y = base + _BAR * level
        pad = 0.006 * (last - 1)
        ax.plot(
            [low - pad, high + pad],
            [y, y],
            color="black",
            linewidth=2.4,
            solid_capstyle="butt",
            zorder=3,
        )
    base += _BAR * _levels(bars) + 0.02
    half = -(-len(own) // 2)
    for place, each in enumerate(own.itertuples()):
        left_side = place < half
        y = base + _ROW * (place if left_side else len(own) - 1 - place) + 0.04
        rank, slot = float(str(each.rank)), int(str(each.slot))
        edge = 1 - 0.06 * (last - 1) if left_side else last + 0.06 * (last - 1)
        ax.plot([rank, rank, edge], [axis, y, y], color=GREY, linewidth=0.5, zorder=1)
        ax.plot(rank, axis, color=color(slot), marker=marker(slot), markersize=4, zorder=4)
        ax.plot(edge, y, color=color(slot), marker=marker(slot), markersize=4, zorder=4)
        text = (
            f"{names[str(each.cell)]}  {rank:.2f}"
            if left_side
            else (f"{rank:.2f}  {names[str(each.cell)]}")
        )
        gap = (-1 if left_side else 1) * 0.025 * (last - 1)
        ax.text(edge + gap, y, text, ha="right" if left_side else "left", va="center", fontsize=6.5)


def _caption(frame: pd.DataFrame, shown: dict[str, pd.DataFrame], names: dict[str, str]) -> str:
    words = [
        "Critical-difference diagram (Demšar 2006): mean ranks of the compared settings, 1 is best. "
        "Blocks are the seeds: all settings of a seed share split, initial backbone, batches and "
        "test images. A bar joins settings whose mean ranks differ by less than Nemenyi's critical "
        "difference (CD, 5 %): over these seeds they cannot be told apart. Few seeds make it wide; "
        "the paired tests of the comparison use the values, not ranks alone. Friedman: p of Iman "
        "and Davenport's F that all settings are equal. A diverged run ranks last in its seed."
    ]
    gone = [
        f"{names[str(row.cell)]} ({metric(str(row.metric)).short})"
        for row in frame[frame["rank"].isna()].itertuples()
    ]
    if gone:
        words.append(f"Without a rank, as most seeds have no value: {', '.join(gone)}.")
    for name, own in shown.items():
        count = int((frame["metric"].eq(name) & frame["rank"].notna()).sum())
        if len(own) < count:
            words.append(f"{metric(name).short}: the best {len(own)} of {count} are shown.")
    return " ".join(words)


def _alt(tops: dict[str, pd.DataFrame], names: dict[str, str]) -> str:
    texts = []
    for name, own in tops.items():
        ordered = own.sort_values("rank", kind="stable")
        best, worst = ordered.iloc[0], ordered.iloc[-1]
        texts.append(
            f"{metric(name).title}: best mean rank {best['rank']:.2f} {names[best['cell']]}, worst "
            f"{worst['rank']:.2f} {names[worst['cell']]}, critical difference "
            f"{best['critical_difference']:.2f}"
        )
    return f"Mean ranks of {len(next(iter(tops.values())))} settings. {'; '.join(texts)}."
