"""What the margin does: target logit and how steeply it falls, against the angle to the own class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.collect import Study
from reports.figures.small_multiples import (
    TOGETHER,
    background,
    capped,
    first_of_each,
    grid,
    styles,
)
from reports.figures.style import Drawing, slots
from reports.selection import Selection
from reports.summary import loss_title, setting_text, tuned_text

STEP = 2  # degrees
REFERENCE = "#9a9a9a"
LOWEST = -3.2  # of the panel; multiplied angles fall far below
QUANTITIES = {"target": "Target logit / scale", "gradient": "−∂(target logit / scale)/∂θ"}


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per margin curve and angle, of the compared cells; see `margin_curves`."""
    frame = margin_curves(study, selection)
    if len(frame):
        yield "target_logit", frame


def margin_curves(study: Study, selection: Selection) -> pd.DataFrame:
    """The target logits of the compared cells whose loss has a margin on it.

    Returns
    -------
    One row per curve and angle: loss, label, slot, degrees, target (in units of the scale),
    gradient (−∂target/∂θ, per radian, as the loss passes it back; NaN at both ends), total (the
    curves there are, of which `MOST` are kept). Settings of a loss with one curve (they differ in
    scale alone) share it. Empty where torch is not installed.
    """
    try:
        from reports.loss_curves import Curve, plain, target_at
    except ImportError:
        return pd.DataFrame()
    found: list[tuple[str, str, Curve]] = []
    experiments = {item["id"]: item for item in study.plan["experiments"]}
    firsts = study.frame.drop_duplicates("cell").set_index("cell")
    for cell in selection.cells:
        loss = str(firsts.loc[cell, "loss"])
        hyper = experiments[str(firsts.loc[cell, "id"])]["loss"]["hyperparameters"]
        try:
            curve = target_at(loss, hyper)
        except (ImportError, ValueError):  # another library's, or no loss of this checkout
            continue
        if curve is None or curve.same(plain()):
            continue
        if not any(loss == other and curve.same(drawn) for other, _, drawn in found):
            label = _label(study, cell, loss, hyper)
            known = label in [other for _, other, _ in found]
            found.append(
                (loss, f"{label} ({setting_text(study, cell)})" if known else label, curve)
            )
    frames = []
    for place in first_of_each([loss for loss, _, _ in found]):
        loss, label, curve = found[place]
        values = {
            "degrees": curve.x[::STEP].astype(int),
            "target": np.round(curve.value[::STEP], 6),
            "gradient": np.round(-curve.slope[::STEP], 6),
        }
        fixed = {"loss": loss, "label": label, "slot": slots(study)[loss]}
        frames.append(pd.DataFrame({**fixed, **values, "total": len(found)}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _label(study: Study, cell: str, loss: str, hyper: Mapping[str, Any]) -> str:
    """Title and margin; of a loss with several margins the setting, without the scale, which does
    not change the curve.
    """
    if study.tuning is not None and "margin" in hyper:  # in place of "tuned 1"
        return f"{loss_title(loss)} m={tuned_text(hyper['margin'])}"
    setting = [part for part in setting_text(study, cell).split() if not part.startswith("s=")]
    return " ".join([loss_title(loss), *setting])


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    lines = {str(label): line for label, line in frame.groupby("label", sort=False)}
    losses = {label: str(line["loss"].iloc[0]) for label, line in lines.items()}
    panels = grid(losses, len(QUANTITIES))
    handles = {}
    for axes, quantity in zip(panels.axes, QUANTITIES, strict=True):
        for (_, own), ax in zip(panels.groups, axes, strict=True):
            _reference(ax, quantity)
            others = [line for label, line in lines.items() if label not in own]
            background(ax, [(line["degrees"], line[quantity]) for line in others])
            ranks = {label: int(lines[label]["slot"].iloc[0]) for label in own}
            alone = len(set(losses.values())) == 1
            for label, style in styles(ranks, spread=alone).items():
                line = lines[label]
                (handles[label],) = ax.plot(line["degrees"], line[quantity], **style)
            ax.set_xlim(0, 180)
            ax.set_xticks(range(0, 181, 30) if panels.alone else range(0, 180, 60))
            if quantity == "target":
                ax.set_ylim(max(LOWEST, frame["target"].min() - 0.1), 1.1)
    panels.label("Angle to own class θ (°)" if panels.alone else "θ (°)", _ylabels(panels.alone))
    panels.finish(handles)
    return Drawing(panels.figure, "Target logit and its gradient", _caption(frame), _alt(frame))


def _reference(ax: Axes, quantity: str) -> None:
    degrees = np.arange(0, 181, STEP)
    angle = np.radians(degrees)
    ax.plot(
        degrees,
        np.cos(angle) if quantity == "target" else np.sin(angle),
        color=REFERENCE,
        linewidth=0.9,
        linestyle=(0, (2, 1)),
    )
    if quantity == "gradient":
        ax.axhline(0, color="#b0b0b0", linewidth=0.6, zorder=0)


def _ylabels(alone: bool) -> list[str]:
    return list(QUANTITIES.values()) if alone else ["Target / scale", "−∂/∂θ"]


def _caption(frame: pd.DataFrame) -> str:
    curves, total = frame["label"].nunique(), int(frame["total"].iloc[0])
    cut = frame["target"].min() < LOWEST
    first, second = ("Left", "Right") if curves <= TOGETHER else ("Above", "Below")
    return (
        f"{first}: target logit divided by the scale (by the lengths of embedding and class "
        "weight where the loss has no scale), against the angle to the own class. "
        f"{second}: how steeply it falls as the loss passes it back, per radian; below 0 the loss pushes away "
        "from the class. Dashed grey: no margin. From the losses' own code, of an average sample "
        "where samples have margins of their own, at the end of what a loss anneals. No data enters "
        f"this figure.{' Curves leave the panel below.' if cut else ''}"
        f"{capped(curves, total, 'curves')}"
    )


def _alt(frame: pd.DataFrame) -> str:
    at = frame[frame["degrees"] == 60]
    values = ", ".join(f"{row.label} {row.target:.2f}" for row in at.head(8).itertuples())
    return f"Target logit over scale at 60°, where no margin gives 0.50: {values}."
