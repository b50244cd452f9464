"""Hyper-parameters that several losses share."""

from __future__ import annotations

from losses.schema import Hyperparameter


def scale(default: float, meaning: str = "logit per unit of cosine") -> Hyperparameter:
    """s, the radius of the hypersphere."""
    return Hyperparameter(
        "scale",
        "scale",
        default,
        low=1e-3,
        high=1e5,
        search_low=4.0,
        search_high=128.0,
        log=True,
        meaning=meaning,
    )
