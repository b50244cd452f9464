"""Hard cases for every loss: where cosines touch ±1, samples coincide, and batches degenerate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from losses.base import Loss
from losses.catalog import CATALOG
from losses.schema import Value
from tests.losses.stacks import batch, class_rows, make

DEGENERATE = {"one sample": [0], "singletons": [0, 1, 2], "one class": [1, 1, 1]}


@contextlib.contextmanager
def clamp_slope(inclusive: bool) -> Iterator[None]:
    """One of the two conventions that torch has had for the gradient of clamp where it just touches.

    Parameters
    ----------
    inclusive : bool
        The slope at the bound is 1; else 0.
    """

    class Clamp(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
            inside = (x >= low) & (x <= high) if inclusive else (x > low) & (x < high)
            ctx.save_for_backward(inside)
            return torch.minimum(torch.maximum(x, x.new_tensor(low)), x.new_tensor(high))

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
            return gradients[0] * ctx.saved_tensors[0], None, None

    def clamp(x: Tensor, min: float = -torch.inf, max: float = torch.inf) -> Tensor:
        result: Tensor = Clamp.apply(x, min, max) if x.is_floating_point() else whole(x, min, max)
        return result

    original = torch.clamp

    def whole(x: Tensor, min: float, max: float) -> Tensor:
        """Whole numbers, which have no gradient."""
        ends = [None if abs(end) == torch.inf else int(end) for end in (min, max)]
        return original(x, *ends)

    places: list[tuple[Any, str]] = [(Tensor, "clamp"), (Tensor, "clamp_min"), (torch, "clamp")]
    own = [getattr(*place) for place in places]
    try:
        for where, name in places:
            setattr(where, name, clamp)
        yield
    finally:
        for (where, name), original in zip(places, own, strict=True):
            setattr(where, name, original)


def has_scale(name: str) -> bool:
    return any(parameter.name == "scale" for parameter in CATALOG[name].hyperparameters)


def hard_batch(loss: Loss, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Embeddings on, opposite to and equal to class weights, duplicates, zeros, extreme lengths."""
    embeddings, labels = batch(16, dtype=dtype)
    labels[15] = 4
    labels[:15] = labels[:15] % 4  # sample 15 is alone in its class
    rows = class_rows(loss)
    own = embeddings if rows is None else rows.detach()[labels, 0]
    embeddings[0] = own[0]  # cosine +1
    embeddings[1] = -own[1]  # cosine -1
    embeddings[2] = 3 * own[3]  # on another class, or on another embedding
    embeddings[4] = embeddings[5]
    labels[4] = labels[5]  # duplicates of one class
    embeddings[6] = embeddings[7]
    labels[6], labels[7] = 0, 1  # of two classes
    embeddings[8] = embeddings[9] = 0
    embeddings[10] *= 1e4
    embeddings[11] *= 1e-4
    return embeddings.clone().requires_grad_(), labels


def not_finite(loss: Loss, embeddings: Tensor, labels: Tensor) -> list[str]:
    """What of the value, the log and the gradients is not finite or missing; nothing: all is well.

    Every parameter has a gradient, and so have the embeddings.
    """
    value, log = loss.compute(embeddings, labels)
    parameters = dict(loss.named_parameters())
    found = torch.autograd.grad(value, [embeddings, *parameters.values()], allow_unused=True)
    gradients = dict(zip(("embeddings", *parameters), found, strict=True))
    bad = [key for key, tensor in {"loss": value, **log}.items() if not torch.isfinite(tensor)]
    return bad + [
        f"gradient of {key}"
        for key, gradient in gradients.items()
        if gradient is None or not torch.isfinite(gradient).all()
    ]


@dataclass(frozen=True)
class HardCase:
    """A loss and a batch on which value, log and gradients have to be finite."""

    name: str
    loss: Loss
    embeddings: Tensor
    labels: Tensor


def hard_cases(name: str, hyper: dict[str, Value], dtype: torch.dtype) -> Iterator[HardCase]:
    """The hard batch at every scale, zeros, degenerate batches, 2 classes."""
    scales = (1.0, 64.0, 1e4) if has_scale(name) else (None,)
    for scale in scales:
        at = "" if scale is None else f" at scale {scale:g}"
        chosen = hyper if scale is None else {**hyper, "scale": scale}
        loss = make(name, chosen, dtype=dtype)
        yield HardCase(f"hard batch{at}", loss, *hard_batch(loss, dtype))
        zeros = torch.zeros(6, 4, dtype=dtype, requires_grad=True)
        yield HardCase(f"zeros{at}", loss, zeros, torch.arange(6) // 2)
    for title, classes_of in DEGENERATE.items():
        embeddings = batch(len(classes_of), dtype=dtype)[0].requires_grad_()
        yield HardCase(title, make(name, hyper, dtype=dtype), embeddings, torch.tensor(classes_of))
    yield some_classes(name, hyper, dtype, 2)


def some_classes(name: str, hyper: dict[str, Value], dtype: torch.dtype, count: int) -> HardCase:
    """Few classes, or so many that the batch has hardly any of them."""
    embeddings, labels = batch(12, classes=count, dtype=dtype)
    labels[:6] = labels[6:]  # pairs, also among many classes
    loss = make(name, hyper, num_classes=count, dtype=dtype)
    return HardCase(f"{count:,} classes", loss, embeddings.requires_grad_(), labels)
