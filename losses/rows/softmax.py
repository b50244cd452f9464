"""Softmax and its normalised forms."""

from __future__ import annotations

from losses.rows.common import scale
from losses.schema import Hyperparameter, LossRow

ROWS = (
    LossRow(
        name="softmax",
        title="Softmax",
        paper="Cross-entropy over W·x + b",
        year=1989,
        arxiv="",
        target="losses.softmax:Softmax",
        kind="classifier",
    ),
    LossRow(
        name="norm_softmax",
        title="NormFace",
        paper="Wang et al., NormFace: L2 hypersphere embedding for face verification",
        year=2017,
        arxiv="1704.06369",
        target="losses.norm_softmax:NormSoftmax",
        kind="classifier",
        hyperparameters=(
            scale(16.0, "logit per unit of cosine; the initial one where it is learnable"),
            Hyperparameter(
                "learnable_scale",
                "option",
                False,
                structural=True,
                meaning="learn the scale with the model",
            ),
        ),
        notes="The paper learns the scale; it is fixed by default, so that it can be an axis.",
    ),
)
