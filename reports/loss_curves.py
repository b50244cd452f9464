"""Curves of the losses, measured on the losses themselves: no formula is written down here twice.

Two views. Of a cross-entropy with a margin, the target logit against the angle to the own class.
Of a loss on pairs, proxies or single classes, its value against one similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from losses import catalog
from losses.base import Loss
from losses.build import build
from losses.class_blocks import Found
from losses.describe import shown
from losses.schema import LossRow, Value

AFTER_ANNEALING = 10**9  # steps: where a loss anneals, its final curve is shown
DEGREES = np.arange(0.0, 180.5, 1.0)
LENGTHS = (10.0, 60.0, 110.0)  # of embeddings, where the margin depends on it
QUALITIES = (-1.0, -0.5, 0.0, 0.5, 1.0)
MOST, MOST_PAIRS = 8, 6  # settings in a figure
OWN, OTHER = "own", "other"
FIXED = {OWN: 0.0, OTHER: 0.8}  # the similarity that is not swept: to others, to the own
Hyper = dict[str, Value]
Arrays = tuple[np.ndarray, np.ndarray]  # a function and its slope
Batch = Callable[[Tensor, str], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Curve:
    """A function of one variable and its slope, at one setting of a loss."""

    label: str
    x: np.ndarray
    value: np.ndarray
    slope: np.ndarray

    def same(self, other: Curve) -> bool:
        """Whether no eye could tell the two apart."""
        return bool(
            np.allclose(self.value, other.value, atol=1e-4)
            and np.allclose(self.slope[1:-1], other.slope[1:-1], atol=1e-3)
        )


def plain() -> Curve:
    """The target logit without margin, cosθ."""
    angle = np.radians(DEGREES)
    return Curve("cos θ (no margin)", DEGREES, np.cos(angle), -np.sin(angle))


def has_target(name: str) -> bool:
    """Whether a loss has a target logit with a margin at its defaults."""
    curve = default_target(name)
    return curve is not None and not curve.same(plain())


def samples(name: str) -> str:
    """What the margin of a loss depends on: ``quality`` or ``length`` of a sample; else empty."""
    curves = _of_samples(name)
    return ("length" if "‖" in curves[0].label else "quality") if curves else ""


def to_weights(name: str) -> bool:
    """Whether the similarities of a loss are those to class weights, proxies or a memory."""
    return bool(_class_vectors(_loss(name, {}, torch.eye(4)[:3])))


def has_similarity(name: str) -> bool:
    """Whether a loss is a function of similarities alone."""
    return catalog.row(name).kind == "embedding" or (
        catalog.row(name).kind != "joint" and to_weights(name)
    )


def target_curves(name: str) -> list[Curve]:
    """Target logits against the angle, in degrees; empty for a loss that has none, or no margin.

    Where samples have margins of their own, curves of several samples come in place of those of
    several margins.
    """
    if not has_target(name):
        return []
    row = catalog.row(name)
    curves = _of_samples(name)
    for label, hyper in settings(row, main=not curves, presets=True):
        if curve := _curve(label, DEGREES, _target(name, hyper)):
            curves.append(curve)
    kept: list[Curve] = []
    for curve in curves:
        if not any(curve.same(other) for other in [plain(), *kept]):
            kept.append(curve)
    return kept[:MOST]


def default_target(name: str) -> Curve | None:
    """The target logit at the defaults, of an average sample; None where there is none."""
    return target_at(name, {})


def target_at(name: str, hyper: Hyper) -> Curve | None:
    """The target logit at one setting, of an average sample and at the end of what the loss anneals.

    Parameters
    ----------
    name : of a loss; of a sum its first part with a target logit counts.
    hyper : its hyper-parameters; the defaults for those left out.

    Returns
    -------
    The curve, labelled with the loss's title; None where there is none.
    """
    row = catalog.row(name)
    for part in row.parts:
        own = {k.removeprefix(f"{part}."): v for k, v in hyper.items() if k.startswith(f"{part}.")}
        if part in catalog.CATALOG and (curve := target_at(part, own)) is not None:
            return Curve(row.title, curve.x, curve.value, curve.slope)
    return _curve(row.title, DEGREES, _target(name, hyper))


def _of_samples(name: str) -> list[Curve]:
    """Curves of samples of several qualities or lengths; empty where these change nothing."""
    if hasattr(_loss(name, {}, torch.eye(4)[:3]), "quality_target"):
        measured = [
            (f"quality {q:g}".replace("-", "−"), _target(name, {}, quality=q)) for q in QUALITIES
        ]
    else:
        measured = [(f"‖x‖ = {n:g}", _target(name, {}, length=n)) for n in LENGTHS]
    curves = [curve for label, arrays in measured if (curve := _curve(label, DEGREES, arrays))]
    return curves if any(not curve.same(curves[0]) for curve in curves[1:]) else []


def _target(
    name: str, hyper: Hyper, *, length: float | None = None, quality: float | None = None
) -> Arrays | None:
    """Target logit by angle, in units of the score at angle 0, and its derivative by θ.

    Of an average sample, or of one of this length or quality.
    """
    loss: Any = _loss(name, hyper, torch.eye(4)[[0, 2, 3]])  # the others at right angles to x
    if getattr(loss, "weight", None) is None or not hasattr(loss, "per_sample"):
        return None
    logits: list[Tensor] = []

    def spy(given: Tensor, labels: Tensor) -> Tensor:
        logits.append(given)
        return given.sum(dim=-1)

    def spy_on_cosines(
        vectors: Tensor, directions: Tensor, labels: Tensor, target: Tensor, rule: object
    ) -> Found:
        logits.append(target.unsqueeze(-1))
        return Found(target, torch.zeros_like(target), target.new_zeros(()))

    loss.per_sample, loss.entropies = spy, spy_on_cosines
    if quality is not None:
        loss.target = lambda cosine: loss.quality_target(cosine, cosine.new_tensor(quality))
    if length is None and hasattr(loss, "sample_shift"):
        loss.sample_shift = lambda cosine, lengths: loss.target(cosine) - cosine
    angle = torch.tensor(np.radians(DEGREES), requires_grad=True)
    zero = 0 * angle
    points = (length or 1.0) * torch.stack([angle.cos(), angle.sin(), zero, zero], dim=1)
    loss.compute(points, torch.zeros(len(DEGREES), dtype=torch.int64))
    if not logits:
        return None
    with torch.no_grad():
        unit = loss.logits(points[:1])[0, 0]
    target = logits[0][:, 0] / unit
    (slope,) = torch.autograd.grad(target.sum(), angle)
    slope[[0, -1]] = torch.nan  # where the losses bound the slope of the angle
    return target.detach().numpy(), slope.numpy()


def similarity_curves(name: str) -> dict[str, list[Curve]]:
    """The loss against the similarity to the own class, and to another; empty where it has none.

    Of a pair loss the similarities are those in a batch of two classes with two embeddings each,
    of length 1. Of a loss with class weights, those of one embedding to weights at right angles.
    """
    if not has_similarity(name):
        return {}
    row, weighted = catalog.row(name), to_weights(name)
    curves: dict[str, list[Curve]] = {OWN: [], OTHER: []}
    limits = {OWN: 0.98, OTHER: 0.59 if weighted else 0.89}
    batch = _to_weights if weighted else _pairs
    for label, hyper in settings(row, main=True, presets=False):
        pair = []
        for role, limit in limits.items():
            grid = np.linspace(-limit, limit, 129)
            pair.append(_curve(label, grid, _by_similarity(name, hyper, role, grid, batch)))
        own, other = pair
        if own is None or other is None or len(curves[OWN]) == MOST_PAIRS:
            continue
        seen = zip(curves[OWN], curves[OTHER], strict=True)
        if not any(own.same(first) and other.same(second) for first, second in seen):
            curves[OWN].append(own)
            curves[OTHER].append(other)
    return curves


def _by_similarity(name: str, hyper: Hyper, role: str, grid: np.ndarray, batch: Batch) -> Arrays:
    """Loss and its derivative by one similarity."""
    loss = _loss(name, hyper, torch.eye(4)[:3])

    def value(similarity: Tensor) -> Tensor:
        result: Tensor = loss(*batch(similarity, role))
        return result

    slope, values = torch.func.vmap(torch.func.grad_and_value(value))(torch.tensor(grid))
    return values.detach().numpy(), slope.detach().numpy()


def _pairs(similarity: Tensor, role: str) -> tuple[Tensor, Tensor]:
    """Four embeddings of two classes; all pairs within a class, and all others, are alike."""
    own, other = _own_and_other(similarity, role)
    half = 0.5**0.5
    vectors = torch.tensor(
        [[0.5, 0.5, half, 0], [0.5, 0.5, -half, 0], [0.5, -0.5, 0, half], [0.5, -0.5, 0, -half]],
        dtype=torch.float64,
    )  # of the matrix of similarities, whatever they are; its values follow
    values = torch.stack([1 + own + 2 * other, 1 + own - 2 * other, 1 - own, 1 - own])
    return vectors * values.sqrt(), torch.tensor([0, 0, 1, 1])


def _to_weights(similarity: Tensor, role: str) -> tuple[Tensor, Tensor]:
    own, other = _own_and_other(similarity, role)
    rest = (1 - own.square() - other.square()).sqrt()
    return torch.stack([own, other, 0 * own, rest]).unsqueeze(0), torch.tensor([0])


def _own_and_other(similarity: Tensor, role: str) -> tuple[Tensor, Tensor]:
    fixed = torch.full_like(similarity, FIXED[role])
    return (similarity, fixed) if role == OWN else (fixed, similarity)


def _loss(name: str, hyper: Hyper, axes: Tensor) -> Loss:
    """A loss in float64 with these class weights, at the end of what it anneals."""
    classes, dim = axes.shape
    loss = build(
        name,
        hyper,
        num_classes=classes,
        embedding_dim=dim,
        generator=torch.Generator().manual_seed(0),
    ).double()
    with torch.no_grad():
        for vectors in _class_vectors(loss):
            middle = [1] * (vectors.ndim - 2)  # sub-centers of a class are alike
            vectors.copy_(axes.reshape(classes, *middle, dim).expand_as(vectors))
        if "steps" in dict(loss.named_buffers()):
            loss.get_buffer("steps").fill_(AFTER_ANNEALING)
    return loss


def _class_vectors(loss: Loss) -> list[Tensor]:
    """Weights, proxies or memory: arrays of a row (or rows) of the embedding's length per class."""
    tensors = {**dict(loss.named_parameters()), **dict(loss.named_buffers())}
    shape = (loss.num_classes, loss.embedding_dim)
    names = [*loss.class_parameters, "lut"]
    found = [tensors[name] for name in names if name in tensors]
    return [vectors for vectors in found if (vectors.shape[0], vectors.shape[-1]) == shape]


def settings(row: LossRow, *, main: bool, presets: bool) -> Iterator[tuple[str, Hyper]]:
    """Settings worth a curve: the default, other values of its first number, options, presets."""
    resolved = catalog.resolve(row.name)
    numbers = [
        item
        for item in row.hyperparameters
        if item.name in resolved and not item.structural and item.unit != "scale"
    ]
    # The margin; where there is none, what a tuner would turn first.
    first = next(
        (item for item in numbers if item.name.startswith("margin") or item.unit == "radian"),
        next((item for item in numbers if item.search_low is not None), None),
    )
    if main:
        yield f"{first.name} {shown(first.default)} (default)" if first else "default", {}
    if main and first:
        default = float(first.default)
        low, high = float(first.low or 0.0), float(first.high or np.inf)
        factors = (0.5, 2.0) if first.log else (0.5, 1.5)
        reach = (first.search_high or 0.0) / default if default else 0.0
        if not first.log and reach > 10:  # or no eye could tell them apart
            factors = (0.5 * reach, reach)
        others = first.choices or [round(default * factor, 6) for factor in factors]
        for value in others:
            if value != first.default and (first.choices or low <= float(value) <= high):
                yield f"{first.name} {shown(value)}", {first.name: value}
    for item in row.hyperparameters:
        if item.structural and item.name in resolved:
            options = (True, False) if isinstance(item.default, bool) else item.choices
            for value in options:
                if value != item.default:
                    yield f"{item.name} {shown(value)}", {item.name: value}
    for preset in row.presets if presets else ():
        yield f"preset {preset.name}", dict(preset.values)


def _curve(label: str, x: np.ndarray, arrays: Arrays | None) -> Curve | None:
    """The curve, if it is one."""
    if arrays is None or not all(np.isfinite(array[1:-1]).all() for array in arrays):
        return None
    return Curve(label, x, *arrays)
