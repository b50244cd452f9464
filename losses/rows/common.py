"""Hyper-parameters that several losses share."""

from __future__ import annotations

from losses.schema import Hyperparameter, Value


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


def option(
    name: str,
    choices: tuple[Value, ...],
    meaning: str,
    only_if: tuple[str, tuple[Value, ...]] | None = None,
) -> Hyperparameter:
    """A structural hyper-parameter whose first choice is the default."""
    unit = "exponent" if name == "power" else "option"
    allowed = () if isinstance(choices[0], bool) else choices
    return Hyperparameter(
        name, unit, choices[0], choices=allowed, structural=True, meaning=meaning, only_if=only_if
    )
