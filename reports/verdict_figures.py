"""The figures of one verdict, drawn from the curves that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import COLUMN, Drawing, color, dashes

Curves = Mapping[str, np.ndarray]

# Prefix of the curves, and whose pairs they are.
SOURCES = (("pairs", "listed pairs"), ("verification", "all pairs"))
MIN_FALSE_ACCEPTS = 10  # below FAR × impostor pairs = 10 a curve rests on a handful of pairs


def draw_all(content: Mapping[str, Any], curves: Curves) -> Iterator[Drawing]:
    """Every figure that the verdict has curves for: ROC, scores, CMC, TPIR, OSCR."""
    own = {
        name.removeprefix("test/"): curve
        for name, curve in curves.items()
        if name.startswith("test/")
    }
    drawings = (
        roc(content, own),
        *histograms(own),
        cmc(own),
        tpir(content, own),
        oscr(content, own),
    )
    yield from (drawing for drawing in drawings if drawing is not None)


def roc(content: Mapping[str, Any], curves: Curves) -> Drawing | None:
    """TAR over FAR, on a log axis."""
    sources = [row for row in SOURCES if f"{row[0]}/far" in curves]
    if not sources:
        return None
    figure, ax = _panel()
    lowest, said = 1.0, []
    for slot, (prefix, whose) in enumerate(sources):
        far, tar = curves[f"{prefix}/far"], curves[f"{prefix}/tar"]
        impostor = content["metrics"][f"{prefix}/impostor_pairs"]
        least = min(1.0, MIN_FALSE_ACCEPTS / impostor)
        drawn = far >= least
        lowest = min(lowest, least)
        # From the point at the least supported rate on: a ROC is a staircase of observed points.
        start = np.interp(least, far, tar)
        ax.plot(
            np.r_[least, far[drawn]],
            np.r_[start, tar[drawn]],
            color=color(slot),
            linestyle=dashes(slot),
            label=f"{whose} ({impostor:,.0f} impostor)",
        )
        auc = content["metrics"].get(f"{prefix}/auc")
        said.append(f"{whose} AUC {auc:.3f}" if auc is not None else whose)
    ax.set_xscale("log")
    if lowest < 1:
        ax.set_xlim(lowest, 1)
    ax.set_ylim(-0.01, 1.01)
    ax.set_xlabel("False accept rate (log scale)")
    ax.set_ylabel("True accept rate")
    ax.legend(loc="best")
    caption = (
        "True accept rate over false accept rate. Not drawn where FAR × impostor pairs < "
        f"{MIN_FALSE_ACCEPTS}."
    )
    return Drawing(figure, "ROC", caption, f"ROC curves: {'; '.join(said)}.")


def histograms(curves: Curves) -> Iterator[Drawing]:
    """Genuine and impostor scores, each as shares of its own pairs."""
    for prefix, whose in SOURCES:
        if f"{prefix}/score_edges" not in curves:
            continue
        edges = curves[f"{prefix}/score_edges"]
        figure, ax = _panel()
        used = []
        for slot, (kind, name) in enumerate((("impostor", "Impostor"), ("genuine", "Genuine"))):
            count = curves[f"{prefix}/{kind}_histogram"].astype(float)
            merged, merged_edges = _merged(count, edges)
            share = merged / max(1.0, merged.sum())
            ax.stairs(share, merged_edges, color=color(slot), label=name, linewidth=1.2)
            ax.stairs(share, merged_edges, color=color(slot), fill=True, alpha=0.18)
            held = np.flatnonzero(count)
            used += [edges[held[0]], edges[held[-1] + 1]] if len(held) else []
        if used:
            margin = 0.03 * (max(used) - min(used))
            ax.set_xlim(min(used) - margin, max(used) + margin)
        ax.set_ylim(bottom=0)
        distance = edges[0] < -1.5 or edges[-1] == 0
        ax.set_xlabel("Score (negated distance)" if distance else "Score (cosine)")
        ax.set_ylabel("Share of the pairs of its kind")
        ax.legend(loc="best")
        caption = f"Scores of {whose}; each kind adds up to 1."
        alt = f"Histogram of the scores of genuine and impostor pairs, {whose}."
        yield Drawing(figure, f"Scores, {whose}", caption, alt)


def cmc(curves: Curves) -> Drawing | None:
    """Share of mated probes found within the best k identities."""
    if "identification/cmc" not in curves:
        return None
    rank, rate = curves["identification/rank"], curves["identification/cmc"]
    figure, ax = _panel()
    ax.plot(rank, rate, color=color(0), marker="o" if len(rank) < 30 else None)
    if len(rank) >= 10:
        ax.set_xscale("log")
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= rank[-1]]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
    ax.set_ylim(max(0.0, float(rate[0]) - 0.08), 1.01)
    ax.set_xlabel("Rank k")
    ax.set_ylabel("Identification rate")
    caption = "Share of the mated probes whose identity is among the best k; mean over galleries."
    return Drawing(figure, "CMC", caption, f"CMC: rank 1 {rate[0]:.3f}, last rank {rate[-1]:.3f}.")


def tpir(content: Mapping[str, Any], curves: Curves) -> Drawing | None:
    """True over false positive identification rate, on a log axis."""
    if "identification/tpir" not in curves:
        return None
    fpir, rate = curves["identification/fpir"], curves["identification/tpir"]
    lowest = min(1.0, MIN_FALSE_ACCEPTS / content["metrics"]["identification/non_mated_probes"])
    drawn = fpir >= lowest
    if drawn.sum() < 2:
        return None
    figure, ax = _panel()
    ax.plot(fpir[drawn], rate[drawn], color=color(0))
    ax.set_xscale("log")
    ax.set_ylim(-0.01, 1.01)
    ax.set_xlabel("False positive identification rate (log scale)")
    ax.set_ylabel("True positive identification rate")
    caption = (
        "Open-set identification at rank 1, mean over galleries. Not drawn where FPIR × non-mated "
        f"probes < {MIN_FALSE_ACCEPTS}."
    )
    return Drawing(figure, "TPIR over FPIR", caption, "TPIR over FPIR at rank 1.")


def oscr(content: Mapping[str, Any], curves: Curves) -> Drawing | None:
    """Correct classification rate of the known over the false positive rate of the unknown."""
    prefix, end = "open_set_recognition/", "_ccr"
    scores = [name[len(prefix) : -len(end)] for name in curves if name.endswith(end)]
    if not scores:
        return None
    lowest = min(1.0, MIN_FALSE_ACCEPTS / content["metrics"][f"{prefix}unknown_images"])
    figure, ax = _panel()
    for slot, score in enumerate(scores):
        fpr, ccr = curves[f"{prefix}{score}_fpr"], curves[f"{prefix}{score}_ccr"]
        drawn = fpr >= lowest
        name = score.replace("_", " ")
        ax.plot(fpr[drawn], ccr[drawn], color=color(slot), linestyle=dashes(slot), label=name)
    ax.set_xscale("log")
    ax.set_ylim(-0.01, 1.01)
    ax.set_xlabel("False positive rate of the unknown (log scale)")
    ax.set_ylabel("Correct classification rate")
    ax.legend(loc="best")
    caption = (
        "Known images accepted and named rightly, over unknown images accepted; by score. Not drawn "
        f"where FPR × unknown images < {MIN_FALSE_ACCEPTS}."
    )
    return Drawing(figure, "OSCR", caption, f"OSCR curves of {', '.join(scores)}.")


def _panel() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(COLUMN * 1.25, 2.7), layout="constrained")
    return figure, figure.subplots()


def _merged(count: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins joined by two, or by four where they hold little: the eye needs no more."""
    factor = 4 if count.sum() < 20_000 else 2
    if len(count) % factor:
        return count, edges
    return count.reshape(-1, factor).sum(axis=1), edges[::factor]
