"""Do the metrics of all protocols rank the settings alike?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from reports.collect import Study
from reports.figures.style import PAGE, PALETTE, Drawing
from reports.metrics import main_scores, metric
from reports.selection import Selection
from reports.statistics.correlation import spearman

MIN_SETTINGS = 5  # fewer give no interval


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per pair of main metrics: Spearman's ρ over the means of all settings of the study,
    signs turned so that ρ > 0 says that they agree on what is better.
    """
    measured = {name for name in study.metrics if study.measured(name)}
    names = [name for name in main_scores(study.metrics, measured) if name in measured]
    means = study.frame.groupby("cell", sort=False)[names].mean()
    names = [name for name in names if means[name].notna().sum() >= MIN_SETTINGS]
    if len(names) < 2:
        return
    sign = {name: 1 if metric(name).higher_is_better else -1 for name in names}
    rows = []
    for first, second in combinations(names, 2):
        found = spearman(sign[first] * means[first], sign[second] * means[second])
        rows.append(
            {
                "first": first,
                "second": second,
                "rho": round(found.rho, 6),
                "low": round(found.low, 6),
                "high": round(found.high, 6),
                "n": found.n,
            }
        )
    yield "correlation", pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave, as a triangle."""
    names = list(dict.fromkeys([*frame["first"], *frame["second"]]))
    size = len(names)
    grid = np.full((size, size), np.nan)
    figure = Figure(figsize=(PAGE * 0.8, max(1.0 + 0.31 * size, 2.2)), layout="constrained")
    ax = figure.subplots()
    unsure = 0
    for row in frame.itertuples():
        y, x = names.index(str(row.second)), names.index(str(row.first))
        rho, low, high = (float(str(value)) for value in (row.rho, row.low, row.high))
        grid[y, x] = rho
        spans = low <= 0 <= high
        unsure += spans
        text = "–" if np.isnan(rho) else f"{rho:.2f}".replace("-", "−")
        ax.text(
            x,
            y,
            f"({text})" if spans else text,
            ha="center",
            va="center",
            fontsize=6.5,
            color="white" if abs(rho) > 0.72 else "black",
            style="italic" if spans else "normal",
        )
    colors = LinearSegmentedColormap.from_list("agree", [PALETTE[1], "white", PALETTE[0]])
    image = ax.imshow(grid[:, :-1], cmap=colors, vmin=-1, vmax=1, aspect="auto")
    ax.set_ylim(size - 0.5, 0.5)
    shorts = [metric(name).short for name in names]
    ax.set_xticks(range(size - 1), shorts[:-1], rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(1, size), shorts[1:])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for side in ax.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("Spearman's ρ  (1: same order)")
    n = sorted(set(frame["n"]))
    ends = int(frame["low"].isna().sum())
    caption = (
        "Agreement of the main metrics on which settings are better: Spearman's ρ over the means of "
        f"{n[0]}{f' to {n[-1]}' if len(n) > 1 else ''} settings (all of the study), signs turned so "
        "that ρ > 0 says that both call the same settings better. In parentheses and italics: the "
        f"95 % interval (Bonett and Wright 2000) includes 0, {unsure} of {len(frame)} pairs"
        f"{f'; {ends} pairs have no interval (a perfect ranking, or no variation)' if ends else ''}. "
        "The intervals take settings as independent and are not corrected for the number of pairs; "
        "the CSV has them."
    )
    ordered = frame.dropna(subset=["rho"]).sort_values("rho", kind="stable")
    alt = "Matrix of rank correlations between " + ", ".join(shorts)
    for word, row in zip(("least", "most"), (ordered.head(1), ordered.tail(1)), strict=True):
        for each in row.itertuples():
            pair = f"{metric(str(each.first)).short} and {metric(str(each.second)).short}"
            alt += f"; {word} agreement: {pair}, ρ = {float(str(each.rho)):.2f}"
    return Drawing(figure, "Do the metrics agree?", caption, f"{alt}.")
