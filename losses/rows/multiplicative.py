"""Margins that multiply the angle."""

from __future__ import annotations

from losses.schema import Hyperparameter, LossRow

ROWS = (
    LossRow(
        name="sphereface",
        title="SphereFace",
        paper="Liu et al., SphereFace: deep hypersphere embedding for face recognition",
        year=2017,
        arxiv="1704.08063",
        target="losses.sphereface:SphereFace",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "margin",
                "factor",
                4,
                choices=(1, 2, 3, 4, 5),
                meaning="multiple of the target angle",
            ),
            Hyperparameter(
                "base",
                "weight",
                1000.0,
                low=0.0,
                high=1e6,
                meaning="weight of the plain logit at step 0",
            ),
            Hyperparameter(
                "gamma", "per step", 0.12, low=0.0, high=1e3, meaning="decay of the weight"
            ),
            Hyperparameter(
                "power", "exponent", 1.0, low=0.0, high=100.0, meaning="exponent of the decay"
            ),
            Hyperparameter(
                "lambda_min",
                "weight",
                5.0,
                low=0.0,
                high=1e6,
                search_low=0.5,
                search_high=50.0,
                log=True,
                meaning="smallest weight of the plain logit",
            ),
        ),
        notes="Annealed as in the authors' code; step 1 is the first forward pass.",
    ),
)
