"""Hyper-parameters that several losses share."""

from __future__ import annotations

import math

from losses.schema import Hyperparameter, Value

RIGHT_ANGLE = math.pi / 2


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


def cosine_margin(
    default: float, meaning: str, *, name: str = "margin", search_high: float = 0.6
) -> Hyperparameter:
    """A margin that is taken from a cosine."""
    return Hyperparameter(
        name,
        "cosine",
        default,
        low=0.0,
        high=2.0,
        search_low=0.0,
        search_high=search_high,
        meaning=meaning,
    )


def angular_margin(
    default: float,
    meaning: str,
    *,
    name: str = "margin",
    unit: str = "radian",
    search_low: float = 0.0,
    search_high: float = 0.8,
) -> Hyperparameter:
    """A margin that is added to an angle, or to either where the unit says so."""
    return Hyperparameter(
        name,
        unit,
        default,
        low=0.0,
        high=RIGHT_ANGLE,
        search_low=search_low,
        search_high=search_high,
        meaning=meaning,
    )


def temperature(default: float, meaning: str) -> Hyperparameter:
    """What similarities are divided by."""
    return Hyperparameter(
        "temperature",
        "temperature",
        default,
        low=1e-5,
        high=1e4,
        search_low=0.01,
        search_high=1.0,
        log=True,
        meaning=meaning,
    )


def option(
    name: str,
    choices: tuple[Value, ...],
    meaning: str,
    only_if: tuple[str, tuple[Value, ...]] | None = None,
    *,
    unit: str = "option",
) -> Hyperparameter:
    """A structural hyper-parameter whose first choice is the default."""
    allowed = () if isinstance(choices[0], bool) else choices
    return Hyperparameter(
        name, unit, choices[0], choices=allowed, structural=True, meaning=meaning, only_if=only_if
    )


def rule(
    *choices: str,
    meaning: str = "target logit where angle + margin passes pi",
    only_if: tuple[str, tuple[Value, ...]] | None = None,
) -> Hyperparameter:
    """What holds past the angle at which a margin turns back; the first is the default."""
    return option("rule", choices, meaning, only_if)


def gradient(
    *choices: str, meaning: str = "derivative of the target logit, or of the plain cosine"
) -> Hyperparameter:
    """Which parts are constants in the gradient; the first is the default."""
    return option("gradient", choices, meaning)
