"""ψ(θ) of the multiplicative margins, for m = 1…4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from losses import catalog
from reports.collect import Study, value_text
from reports.figures.style import COLUMN, PAGE, Drawing, color, dashes
from reports.selection import Selection
from reports.summary import loss_title

MARGINS = (1, 2, 3, 4)
STEP = 2  # degrees
FAMILY = "Multiplicative margins"
NO_ANNEALING = ("base", "lambda_min")  # at 0 the target logit is ψ alone


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per curve, m and angle, of the study's losses with a multiplied angle: label, m,
    degrees, psi, trained (whether the study trains with this m). Losses, and settings of a loss,
    with equal curves share them.
    """
    try:
        from reports.loss_curves import target_at
    except ImportError:
        return
    curves: dict[bytes, tuple[list[str], np.ndarray]] = {}
    trained: dict[str, set[float]] = {}
    for experiment in study.plan["experiments"]:
        loss = experiment["loss"]["name"]
        if loss not in [row.name for row in catalog.FAMILIES[FAMILY]]:
            continue
        hyper = dict(catalog.resolve(loss, experiment["loss"]["hyperparameters"]))
        kind = type(hyper["margin"])
        label = " ".join([loss_title(loss), *_rule(hyper)])
        trained.setdefault(label, set()).add(float(hyper["margin"]))
        if any(label in labels for labels, _ in curves.values()):
            continue
        hyper |= dict.fromkeys([key for key in NO_ANNEALING if key in hyper], 0.0)
        found = [target_at(loss, {**hyper, "margin": kind(m)}) for m in MARGINS]
        psi = np.array([np.round(c.value[::STEP], 6) for c in found if c is not None]) + 0.0
        curves.setdefault(np.round(psi, 4).tobytes(), ([], psi))[0].append(label)
    frames = [
        pd.DataFrame(
            {
                "label": ", ".join(labels),
                "m": m,
                "degrees": np.arange(0, 181, STEP),
                "psi": line,
                "trained": any(m in trained[label] for label in labels),
            }
        )
        for labels, psi in curves.values()
        for m, line in zip(MARGINS, psi, strict=True)
    ]
    if frames:
        yield "psi", pd.concat(frames, ignore_index=True)


def _rule(hyper: Mapping[str, object]) -> list[str]:
    """The options that change the curve, where a loss has them."""
    return [f"({value_text(hyper['rule'])})"] if "rule" in hyper else []


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    labels = list(dict.fromkeys(frame["label"]))
    figure = Figure(figsize=(COLUMN if len(labels) == 1 else PAGE, 2.9), layout="constrained")
    panels = figure.subplots(1, len(labels), squeeze=False, sharey=True)[0]
    for ax, label in zip(panels, labels, strict=True):
        for m, line in frame[frame["label"] == label].groupby("m"):
            ax.plot(
                line["degrees"],
                line["psi"],
                color=color(int(m) - 2) if m > 1 else "#6b6b6b",
                linestyle=dashes(int(m) - 1),
                linewidth=1.8 if line["trained"].iloc[0] else 1.2,
                label="m = 1 (cos θ)" if m == 1 else f"m = {m}",
            )
        ax.set_title(label)
        ax.set_xlim(0, 180)
        ax.set_xticks(range(0, 181, 30 if len(labels) < 3 else 60))
        ax.set_xlabel("Angle to own class θ (°)")
    panels[0].set_ylabel("ψ(θ)")
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2 if len(labels) == 1 else 4)
    used = sorted({int(m) for m in frame.loc[frame["trained"], "m"]})
    thick = f" Thick: m = {', '.join(map(str, used))}, trained in this study." if used else ""
    caption = (
        "ψ(θ), which takes the place of cos θ in the target logit, for multiplied angles mθ; without "
        "annealing, from the losses' own code. No data enters this figure."
        f"{thick}"
    )
    ends = frame[frame["degrees"] == 180].drop_duplicates(["label", "m"])
    alt = "; ".join(
        f"{label}: ψ falls from 1 at 0° to "
        + ", ".join(f"{row.psi:.0f} (m = {row.m})" for row in own.itertuples())
        + " at 180°"
        for label, own in ends.groupby("label", sort=False)
    )
    return Drawing(figure, "ψ(θ) for m = 1…4", caption, f"{alt}.")
