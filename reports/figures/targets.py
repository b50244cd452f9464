"""What the margin does: target logit against the angle to the own class, of the study's margin
losses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from losses import catalog
from reports.collect import Study
from reports.figures.style import COLUMN, Drawing, color, dashes, slots
from reports.selection import Selection
from reports.summary import loss_title, setting_text

DEGREES = np.arange(0, 181, 2)
AFTER_ANNEALING = 10**9  # steps: where a loss anneals, its final curve is shown


def gather(study: Study, selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """One row per margin curve and angle, of the compared cells; nothing where torch is not
    installed.
    """
    try:
        import torch

        from losses.build import build
        from losses.heads import MarginHead
    except ImportError:
        return
    frames: list[pd.DataFrame] = []
    seen: set[bytes] = set()
    cosine = torch.tensor(np.cos(np.radians(DEGREES)))
    experiments = {item["id"]: item for item in study.plan["experiments"]}
    firsts = study.frame.drop_duplicates("cell").set_index("cell")
    for cell in selection.cells:
        loss = str(firsts.loc[cell, "loss"])
        if loss not in catalog.CATALOG:
            continue
        module = build(
            loss,
            experiments[str(firsts.loc[cell, "id"])]["loss"]["hyperparameters"],
            num_classes=2,
            embedding_dim=2,
        )
        if not isinstance(module, MarginHead):
            continue
        if "steps" in dict(module.named_buffers()):
            module.get_buffer("steps").fill_(AFTER_ANNEALING)
        with torch.no_grad():
            target = module.target(cosine).numpy()
        if np.allclose(target, np.cos(np.radians(DEGREES)), atol=1e-6):
            continue  # no margin: the reference line
        # Cells that differ in scale alone have one curve.
        if (key := loss.encode() + np.round(target, 9).tobytes()) not in seen:
            seen.add(key)
            setting = " ".join(
                part for part in setting_text(study, cell).split() if not part.startswith("s=")
            )
            fixed = {
                "loss": loss,
                "label": f"{loss_title(loss)} {setting}".strip(),
                "slot": slots(study)[loss],
            }
            frames.append(pd.DataFrame({**fixed, "degrees": DEGREES, "target": target}))
    if frames:
        yield "target_logit", pd.concat(frames, ignore_index=True)


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw what `gather` gave."""
    lines = list(frame.groupby("label", sort=False))
    figure = Figure(figsize=(COLUMN * 1.15, 2.7 + 0.14 * -(-len(lines) // 2)), layout="constrained")
    ax = figure.subplots()
    ax.plot(
        DEGREES,
        np.cos(np.radians(DEGREES)),
        color="#9a9a9a",
        linewidth=0.9,
        label="cos θ (no margin)",
    )
    seen: dict[int, int] = {}
    alone = frame["loss"].nunique() == 1
    for number, (label, line) in enumerate(lines):
        slot = int(line["slot"].iloc[0])
        index = seen.get(slot, 0)
        seen[slot] = index + 1
        own = color(number) if alone else color(slot)
        ax.plot(
            line["degrees"],
            line["target"],
            color=own,
            linestyle=dashes(slot, index),
            label=str(label),
        )
    ax.set_xlim(0, 180)
    ax.set_xticks(range(0, 181, 30))
    ax.set_xlabel("Angle to the own class θ (°)")
    ax.set_ylabel("Target logit / scale")
    figure.legend(loc="outside lower center", ncols=2)
    caption = (
        "Target logit divided by the scale (by the embedding's length where the loss has no scale) "
        "against the angle to the own "
        "class, from the losses' own code; losses that anneal are shown at the end of it. No data "
        "enters this figure."
    )
    alt = (
        "Curves that fall from 1 with the angle: "
        + ", ".join(str(label) for label, _ in lines)
        + ", against cos θ."
    )
    return Drawing(figure, "Target logit", caption, alt)
