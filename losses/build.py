"""From a catalog entry to a loss."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import torch

from losses.base import Loss
from losses.catalog import part_row, resolve, row
from losses.class_sampling import sampled
from losses.schema import LossRow, Value


def build(
    name: str,
    hyper: Mapping[str, Value] | None = None,
    *,
    num_classes: int,
    embedding_dim: int,
    label_smoothing: float = 0.0,
    weight_norm: float = 1.0,
    class_sampling: float = 1.0,
    generator: torch.Generator | None = None,
) -> Loss:
    """Make a loss, with its parameters drawn from the generator.

    Parameters
    ----------
    name : str
        A name of the catalog, or a sum of such names.
    hyper : mapping of str to value
        Hyper-parameters; the catalog's defaults for those left out.
    num_classes : int
        At least 2.
    embedding_dim : int
        At least 1.
    label_smoothing : float
        In [0, 1); for losses with a cross-entropy, others do not look at it.
    weight_norm : float
        Length of each class weight row at the start, > 0; for losses with class weights.
    class_sampling : float
        Share of the classes that a step trains on, in (0, 1]; below 1 only for losses whose class
        weights can be sampled (`losses.class_sampling`) or that have none.
    generator : torch.Generator or None
        The experiment's ``head`` stream; None: torch's global generator.

    Raises
    ------
    CatalogError
        Unknown loss, or a hyper-parameter that the catalog does not allow.
    ValueError
        A number of the other arguments is out of its range, or the classes cannot be sampled.
    """
    entry = row(name)
    values = resolve(name, hyper)
    if num_classes < 2 or embedding_dim < 1:
        raise ValueError(
            f"num_classes = {num_classes}, embedding_dim = {embedding_dim}: at least 2 and 1"
        )
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing = {label_smoothing!r}: must be in [0, 1)")
    if not 0.0 < weight_norm < float("inf"):
        raise ValueError(f"weight_norm = {weight_norm!r}: must be positive and finite")
    if not 0.0 < class_sampling <= 1.0:
        raise ValueError(f"class_sampling = {class_sampling!r}: must be in (0, 1]")
    settings = {
        "label_smoothing": label_smoothing,
        "weight_norm": weight_norm,
        "class_sampling": class_sampling,
    }
    loss = _construct(entry, values, num_classes, embedding_dim, settings)
    loss.reset_parameters(generator)
    return loss


def _construct(
    entry: LossRow,
    values: Mapping[str, Value],
    num_classes: int,
    embedding_dim: int,
    settings: Mapping[str, float],
) -> Loss:
    module, _, class_name = entry.target.partition(":")
    loss_class = getattr(importlib.import_module(module), class_name)
    if not entry.parts:
        shared = {key: settings[key] for key in entry.recipe}
        if settings["class_sampling"] < 1 and "weight_norm" in entry.recipe:
            loss_class = sampled(loss_class)
            shared["share"] = settings["class_sampling"]
        loss: Loss = loss_class(num_classes, embedding_dim, **values, **shared)
        return loss
    parts, weights, own = {}, {}, dict(values)
    for name in entry.parts:
        mine = {key: own.pop(key) for key in list(own) if key.startswith(f"{name}.")}
        mine = {key.removeprefix(f"{name}."): value for key, value in mine.items()}
        if "weight" in mine:
            weights[name] = mine.pop("weight")
        parts[name] = _construct(part_row(name), mine, num_classes, embedding_dim, settings)
    total: Loss = loss_class(parts, weights, **own)
    return total
