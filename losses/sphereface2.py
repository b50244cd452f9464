"""Binary classification on the hypersphere (SphereFace2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.binary import BinaryHead
from losses.blocks import Change
from losses.functional import angle, straight_through

SMALLEST = 1e-30
"""In place of 0 where a logarithm follows."""


class SphereFace2(BinaryHead):
    """SphereFace2. Wen et al. 2022, eq. 5 (form C), and its forms A and M. Mean over batch.

    λ/r·log(1 + e^(-r·p - b)) + (1 - λ)/r·Σ_{j≠y} log(1 + e^(r·n_j + b)), times ``loss_weight``,
    with g(x) = 2((x + 1)/2)^t - 1 and

    - form C: p = g(cosθ_y) - m, n_j = g(cosθ_j) + m,
    - form A: p = g(cos(min(θ_y + m, π))), n_j = g(cosθ_j),
    - form M: p = g(cos(min(m·θ_y, π))), n_j = g(cosθ_j).

    The bias b () is learned, shared by all classes, added to the logits. It starts where the
    derivative of the loss to it is 0 while all cosines are 0.

    Parameters
    ----------
    num_classes, embedding_dim : int
    form : {"C", "A", "M"}
        Margin on the cosine, added to the angle, or multiplying it.
    margin : float
        m >= 0 of form C, in units of g.
    angular_margin : float
        m of form A in radians, 0..π/2.
    multiple : float
        m of form M; 1 is no margin.
    scale : float
        r > 0.
    power : float
        t >= 1: how far g thins out the similarities; 1 is the cosine.
    positive_weight : float
        λ in (0, 1), weight of the own class against all others.
    loss_weight : float
        Factor on the whole loss; the paper's formula has none, the authors' code 50.
    gradient : {"exact", "straight_through"}
        ``exact``: derivative of the logits. ``straight_through``: their values with the derivative
        of r·cosθ + b, as in the authors' code (characteristic gradient detachment).
    weight_norm : float
        See `losses.heads.ClassWeights`.
    """

    margin: Tensor
    angular_margin: Tensor
    multiple: Tensor
    scale: Tensor
    power: Tensor
    positive_weight: Tensor
    loss_weight: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        form: str = "C",
        margin: float = 0.4,
        angular_margin: float = 0.5,
        multiple: float = 1.7,
        scale: float = 40.0,
        power: float = 3.0,
        positive_weight: float = 0.7,
        loss_weight: float = 1.0,
        gradient: str = "exact",
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, weight_norm=weight_norm)
        self.form = form
        self.gradient = gradient
        self.add_hyperparameters(
            margin=margin,
            angular_margin=angular_margin,
            multiple=multiple,
            scale=scale,
            power=power,
            positive_weight=positive_weight,
            loss_weight=loss_weight,
        )
        self.add_bias()

    def initial_bias(self) -> float:
        """The b at which dL/db = 0 while all cosines are 0.

        With a⁺ = r·p, a⁻ = r·n at cosine 0 and z = λ / ((1 - λ)(C - 1)), u = e^b solves
        e^(a⁺)·u² + (1 - z)·u - z·e^(-a⁻) = 0. Of the two forms of its positive root the one that
        adds is taken: the other, which the authors' code uses throughout, cancels for z > 1 (C = 2).
        """
        zero = torch.zeros((), dtype=torch.float64, device=self.scale.device)
        positive = (self.scale * self.similarity(zero)).item()
        negative = (self.scale * (self.adjust(zero) + self.other_margin(zero.dtype))).item()
        weight = self.positive_weight.item()
        log_z = math.log(weight / ((1 - weight) * (self.num_classes - 1)))
        difference = abs(math.expm1(log_z))  # |1 - z|
        half = (positive - negative + log_z) / 2 + math.log(2)  # log of the root's other part
        if difference == 0:
            log_sum = half
        else:
            part = math.exp(min(half - math.log(difference), 700))
            log_sum = math.log(difference) + math.log1p(math.hypot(1, part))
        if log_z > 0:
            return log_sum - math.log(2) - positive
        return math.log(2) + log_z - negative - log_sum

    def adjust(self, cosine: Tensor) -> Tensor:
        """g(cosθ) = 2((cosθ + 1)/2)^t - 1."""
        half = ((cosine + 1) / 2).clamp_min(SMALLEST)
        return 2 * half ** self.power.to(cosine.dtype) - 1

    def similarity(self, cosine: Tensor) -> Tensor:
        """Similarity p of the own class with its margin, from its cosine (B,)."""
        if self.form == "C":
            return self.adjust(cosine) - self.margin.to(cosine.dtype)
        theta = angle(cosine)
        moved = {
            "A": theta + self.angular_margin.to(cosine.dtype),
            "M": theta * self.multiple.to(cosine.dtype),
        }
        return self.adjust(moved[self.form].clamp(max=math.pi).cos())

    def other_margin(self, dtype: torch.dtype) -> Tensor:
        """What is added to g(cosθ_j) of the other classes, ()."""
        margin = self.margin.to(dtype)
        return margin if self.form == "C" else torch.zeros_like(margin)

    def plain(self, cosines: Tensor) -> Tensor:
        """r·g(cosθ) + b."""
        return self.scale.to(cosines.dtype) * self.adjust(cosines) + self.bias.to(cosines.dtype)

    def target(self, cosine: Tensor) -> Tensor:
        """r·p + b."""
        value = self.similarity(cosine)
        if self.gradient == "straight_through":
            value = straight_through(value, cosine)
        return self.scale.to(cosine.dtype) * value + self.bias.to(cosine.dtype)

    def radius(self, dtype: torch.dtype) -> Tensor:
        """k with (k·(cosθ + 1))^t = 2r·((cosθ + 1)/2)^t."""
        radius = (2 * self.scale) ** (1 / self.power) / 2
        return radius.to(dtype)

    def negatives(self, dtype: torch.dtype) -> tuple[Change, tuple[Tensor, ...]]:
        """r·n_j + b, as x^t + r·(m - 1) + b with x = k·cosθ + k."""
        offset = self.scale.to(dtype) * (self.other_margin(dtype) - 1) + self.bias.to(dtype)
        radius, power = self.radius(dtype), self.power.to(dtype)
        if self.gradient == "exact":
            return raise_to_power, (radius, power, offset)
        return raise_straight_through, (radius, power, self.scale.to(dtype) / radius, offset)

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """λ/r and (1 - λ)/r, times the weight of the loss."""
        positive = self.positive_weight.to(dtype)
        factor = self.loss_weight.to(dtype) / self.scale.to(dtype)
        return positive * factor, (1 - positive) * factor


def raise_to_power(products: Tensor, radius: Tensor, power: Tensor, offset: Tensor) -> Tensor:
    """Make products k·cosθ logits (k·cosθ + k)^t + offset, in place; the derivative."""
    x = products.add_(radius).clamp_min_(SMALLEST)
    slope = x.log().mul_(power - 1).exp_()  # x^(t - 1): a power is the slowest operation here
    x.mul_(slope).add_(offset)
    return slope.mul_(power)


def raise_straight_through(
    products: Tensor, radius: Tensor, power: Tensor, derivative: Tensor, offset: Tensor
) -> Tensor:
    """`raise_to_power` with a given derivative ()."""
    raise_to_power(products, radius, power, offset)
    return derivative
