"""Whether a loss can reach what it asks for, given the number of classes and the dimension. No torch.

Warnings, never errors: a margin that cannot be satisfied can still be trained with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from losses.catalog import part_row
from losses.schema import LossRow, Value

PROBABILITY = 0.9
"""P of `scale_bound` in the warnings: the least probability of a class at its own centre."""

_IN_DEGREES = {
    "pml:AngularLoss": "alpha",
    "pml:ArcFaceLoss": "margin",
    "pml:SubCenterArcFaceLoss": "margin",
    "pml:TupletMarginLoss": "margin",
}
"""Arguments of pytorch-metric-learning that are angles in degrees, where ours are in radians."""


def cosine_margin_bound(num_classes: int, embedding_dim: int) -> float:
    """Largest cosine margin that C unit class weights in K dimensions leave room for.

    1 - max_{i≠j} w_i·w_j of the best spread, with every embedding on its class weight. Wang et al.
    2018 (CosFace), eq. 7: 1 - cos(2π/C) for K = 2, C / (C - 1) for C <= K + 1. For more classes the
    paper only says "far below C / (C - 1)"; used here is 1, since of more than K + 1 vectors two
    are at most 90 degrees apart (Rankin 1955).

    Parameters
    ----------
    num_classes : int
        C >= 2.
    embedding_dim : int
        K >= 1.
    """
    if embedding_dim == 2:
        return 1 - math.cos(2 * math.pi / num_classes)
    if num_classes <= embedding_dim + 1:
        return num_classes / (num_classes - 1)
    # On a line: with a third class, two have the same direction.
    return 1.0 if embedding_dim > 1 else 0.0


def angular_margin_bound(num_classes: int, embedding_dim: int) -> float:
    """Largest additive angular margin (radians), by the argument of `cosine_margin_bound`.

    The smallest angle between two class weights of the best spread.
    """
    return math.acos(max(-1.0, 1 - cosine_margin_bound(num_classes, embedding_dim)))


def scale_bound(num_classes: int, probability: float = PROBABILITY) -> float:
    """Smallest scale that gives every class a probability of P at its own centre.

    (C - 1)/C · ln((C - 1)·P / (1 - P)): Wang et al. 2018 (CosFace), eq. 6.

    Parameters
    ----------
    num_classes : int
        C >= 2.
    probability : float
        P in (0, 1).
    """
    others = num_classes - 1
    return others / num_classes * math.log(others * probability / (1 - probability))


def warnings(
    name: str,
    hyper: Mapping[str, Value],
    num_classes: int,
    embedding_dim: int,
    *,
    embedding_norm: str = "none",
) -> list[str]:
    """What a setting of a loss asks for and cannot get; empty if nothing.

    Parameters
    ----------
    name : str
        Of a loss, or a sum of losses.
    hyper : mapping of str to value
        Its resolved hyper-parameters.
    num_classes, embedding_dim : int
    embedding_norm : {"batch", "none"}
        What the backbone does to the embeddings.
    """
    entry = part_row(name)
    if entry.parts:
        found = []
        for part in entry.parts:
            own = {
                key.removeprefix(f"{part}."): value
                for key, value in hyper.items()
                if key.startswith(f"{part}.")
            }
            found += warnings(part, own, num_classes, embedding_dim, embedding_norm=embedding_norm)
        return found
    lines = [
        *_degrees(name, hyper),
        *_margins(entry, hyper, num_classes, embedding_dim),
        *_scale(entry, hyper, num_classes),
        *_learns(entry, num_classes),
        *_lengths(entry, hyper, embedding_dim, embedding_norm),
    ]
    return [f"{name}: {line}" for line in lines]


def _is_cosine_head(entry: LossRow) -> bool:
    """A cross-entropy over scaled cosines; in circle's the margin and the scale mean other things."""
    if entry.name == "circle_class":
        return False
    units = [parameter.unit for parameter in entry.hyperparameters]
    return entry.kind == "classifier" and "label_smoothing" in entry.recipe and "scale" in units


def _degrees(name: str, hyper: Mapping[str, Value]) -> Iterator[str]:
    key = _IN_DEGREES.get(name, "")
    value = hyper.get(key, 0)
    if isinstance(value, int | float) and 0 < value <= math.pi / 2:
        yield (
            f"{key} {value:g} is in degrees there, {math.radians(value):.2g} radians; if it was "
            f"meant in radians, write {math.degrees(value):.4g}"
        )


def _margins(
    entry: LossRow, hyper: Mapping[str, Value], num_classes: int, embedding_dim: int
) -> Iterator[str]:
    if not _is_cosine_head(entry):
        return
    room = f"{num_classes} classes in {embedding_dim} dimensions"
    for parameter in entry.hyperparameters:
        value = hyper.get(parameter.name)
        if not isinstance(value, float):
            continue
        unit = _margin_unit(parameter.unit, hyper)
        if unit == "cosine" and "margin" in parameter.name:
            bound = cosine_margin_bound(num_classes, embedding_dim)
        elif unit == "radian" and entry.name == "cosine_over_ten":
            bound = math.asin(min(1.0, cosine_margin_bound(num_classes, embedding_dim) / 10))
        elif unit == "radian":
            bound = angular_margin_bound(num_classes, embedding_dim)
        else:
            continue
        if value > bound * (1 + 1e-9):
            yield (
                f"{parameter.name} {value:g} cannot be satisfied: {room} have room for at most "
                f"{bound:.3g} {unit} (CosFace, eq. 7)"
            )


def _margin_unit(unit: str, hyper: Mapping[str, Value]) -> str:
    """Of a margin whose unit follows from the option ``kind``, or that acts on both."""
    kinds = {"arc": "radian", "cos": "cosine", "am": "cosine"}
    if "cosine" in unit and str(hyper.get("kind")) in kinds:
        return kinds[str(hyper["kind"])]
    return "cosine" if unit == "radian and cosine" else unit


def _scale(entry: LossRow, hyper: Mapping[str, Value], num_classes: int) -> Iterator[str]:
    # A learned scale, or one that follows the data, is free to rise.
    if not _is_cosine_head(entry) or hyper.get("learnable_scale"):
        return
    value = hyper.get("scale")
    bound = scale_bound(num_classes)
    if isinstance(value, int | float) and value < bound:
        yield (
            f"scale {value:g} is too small for {num_classes} classes: a probability of "
            f"{PROBABILITY:g} at the class centre takes at least {bound:.3g} (CosFace, eq. 6)"
        )


def _learns(entry: LossRow, num_classes: int) -> Iterator[str]:
    if entry.name == "adacos" and num_classes == 2:
        yield "with 2 classes its scale √2·ln(C - 1) is 0 and stays there: nothing is learned"


def _lengths(
    entry: LossRow, hyper: Mapping[str, Value], embedding_dim: int, embedding_norm: str
) -> Iterator[str]:
    if entry.name != "magface" or embedding_norm != "batch":
        return
    low, high = float(hyper["l_a"]), float(hyper["u_a"])
    length = math.sqrt(embedding_dim)
    if not low <= length <= high:
        yield (
            f"batch norm makes embeddings of {embedding_dim} dimensions about {length:.3g} long at "
            f"the start, outside of l_a..u_a = {low:g}..{high:g}, where the length changes nothing; "
            "embedding_norm: none, or other limits"
        )
