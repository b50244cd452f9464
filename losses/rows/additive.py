"""Margins added to the angle or taken from the cosine."""

from __future__ import annotations

from losses.rows.common import scale
from losses.schema import Hyperparameter, LossRow

ROWS = (
    LossRow(
        name="cosface",
        title="CosFace",
        paper="Wang et al., CosFace: large margin cosine loss for deep face recognition",
        year=2018,
        arxiv="1801.09414",
        target="losses.cosface:CosFace",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "margin",
                "cosine",
                0.35,
                low=0.0,
                high=2.0,
                search_low=0.0,
                search_high=0.6,
                meaning="taken from the target cosine",
            ),
            scale(64.0),
        ),
    ),
    LossRow(
        name="arcface",
        title="ArcFace",
        paper="Deng et al., ArcFace: additive angular margin loss for deep face recognition",
        year=2019,
        arxiv="1801.07698",
        target="losses.arcface:ArcFace",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "margin",
                "radian",
                0.5,
                low=0.0,
                high=1.5707963267948966,
                search_low=0.0,
                search_high=0.8,
                meaning="added to the target angle",
            ),
            scale(64.0),
            Hyperparameter(
                "rule",
                "option",
                "linear",
                choices=("linear", "easy", "none", "clip"),
                structural=True,
                meaning="target logit where angle + margin passes pi",
            ),
            Hyperparameter(
                "gradient",
                "option",
                "exact",
                choices=("exact", "straight_through"),
                structural=True,
                meaning="derivative of the target logit, or of the plain cosine",
            ),
        ),
        notes="insightface's PyTorch code is rule none with gradient straight_through.",
    ),
)
