"""Triplet losses: mined in the batch, or given."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from losses.counters import counter_uniform
from losses.functional import softplus, unit_rows
from losses.pairs import PairLoss, chord_angle, distances, masked_mean


def given_triplets(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: float | Tensor = 0.2,
    soft_margin: bool = False,
    distance: str = "euclidean",
    normalize: bool = False,
) -> Tensor:
    """Triplet loss of given triplets, one term each; row i of the three belongs together.

    max(0, m + d(a, p) - d(a, n)) or softplus(d(a, p) - d(a, n)). The usual loss is the mean.

    Parameters
    ----------
    anchors, positives, negatives : Tensor (N, D)
    margin, soft_margin, distance, normalize
        See `Triplet`.

    Returns
    -------
    Tensor (N,)
    """
    if normalize or distance == "angular":
        anchors, positives, negatives = (
            unit_rows(points)[0] for points in (anchors, positives, negatives)
        )
    gap = _row_distance(anchors, positives, distance) - _row_distance(anchors, negatives, distance)
    return triplet_term(gap, margin, soft_margin)


def triplet_term(gap: Tensor, margin: float | Tensor, soft_margin: bool) -> Tensor:
    """Hinge or softplus of the positive distance minus the negative one."""
    return softplus(gap) if soft_margin else (gap + margin).relu()


def _row_distance(first: Tensor, second: Tensor, distance: str) -> Tensor:
    """Row-wise distance (N,) of two (N, D), which have unit rows if it is angular."""
    difference = first - second
    if distance == "squared":
        return difference.square().sum(dim=-1)
    length = torch.linalg.vector_norm(difference, dim=-1)
    if distance == "euclidean":
        return length
    return chord_angle(length, torch.linalg.vector_norm(first + second, dim=-1))


class Triplet(PairLoss):
    """Triplet loss, mined in the batch. Hermans et al. 2017, eq. 5 (batch hard), 6 (batch all).

    h(d(a, p) - d(a, n)) with h(z) = max(0, m + z), or the soft margin h(z) = log(1 + e^z); p is
    another sample of the anchor's class, n one of another class. ``mining`` picks the triplets:

    - ``hard``: for each anchor the farthest positive and the nearest negative; mean over the
      anchors that have both.
    - ``all``: every triplet; mean over the terms above 0 (``reduction="nonzero"``), or over all.
    - ``semi_hard`` (Schroff et al. 2015, eq. 4): d(a, p) < d(a, n). ``variant="all"``: every such
      triplet within the margin, d(a, n) < d(a, p) + m (at any distance with the soft margin).
      ``"nearest"``: for each positive pair the nearest such negative, or the farthest negative
      where there is none; mean over the ordered positive pairs.
    - ``random``: for each anchor one random positive and one random negative; mean over anchors.

    The numbers of ``random`` are a function of the buffers ``seed`` (drawn at the start) and
    ``steps`` (the steps done). ``all`` and ``semi_hard`` hold a few arrays of B³ numbers: in float32
    about 5 MB a model at B = 64, 45 MB at B = 128. Logs: see `losses.pairs.PairLoss`.

    Parameters
    ----------
    num_classes, embedding_dim : int
    mining : {"hard", "all", "semi_hard", "random"}
    variant : {"nearest", "all"}
        Of ``semi_hard``.
    reduction : {"nonzero", "mean"}
        Of ``all``.
    soft_margin : bool
        Softplus in place of the hinge; the margin then has no effect.
    margin : float
        m >= 0, in units of the distance used.
    distance : {"euclidean", "squared", "angular"}
        ``squared``: squared Euclidean. ``angular``: the angle in radians (Deng et al. 2019, section
        2.3), whatever the lengths; a zero vector is at π/2 to everything.
    normalize : bool
        Embeddings are scaled to length 1 first.
    """

    measure: ClassVar[str] = "distance"
    margin: Tensor
    seed: Tensor
    steps: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        mining: str = "hard",
        variant: str = "nearest",
        reduction: str = "nonzero",
        soft_margin: bool = True,
        margin: float = 0.2,
        distance: str = "euclidean",
        normalize: bool = False,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.mining = mining
        self.variant = variant
        self.reduction = reduction
        self.soft_margin = soft_margin
        self.distance = distance
        self.normalize = normalize or distance == "angular"
        self.add_hyperparameters(margin=margin)
        if mining == "random":
            self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the seed of ``random`` mining anew; its next step is the first."""
        if self.mining == "random":
            device = "cpu" if generator is None else generator.device
            self.seed.copy_(torch.randint(2**62, (), generator=generator, device=device))
            self.steps.zero_()

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """The next step draws other triplets."""
        if self.mining == "random":
            self.steps.add_(1)

    def comparisons(self, points: Tensor) -> Tensor:
        """Distances (B, B)."""
        near = distances(points, points)
        if self.distance == "angular":
            return chord_angle(near, distances(points, -points))
        return near.square() if self.distance == "squared" else near

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) by anchor; (B, B) by positive pair for the nearest; (B, B, B) by triplet for all."""
        margin = self.margin.to(matrix.dtype)
        every = self.mining == "all" or (self.mining == "semi_hard" and self.variant == "all")
        if every:
            near, far = matrix.unsqueeze(2), matrix.unsqueeze(1)  # d(a, p), d(a, n)
            counted = positive.unsqueeze(2) & negative.unsqueeze(1)
            if self.mining == "semi_hard":
                counted = counted & (near < far)
                if not self.soft_margin:
                    counted = counted & (far < near + margin)
            gap = near - far  # (B, B, B)
        elif self.mining == "semi_hard":
            gap = matrix - matrix.gather(1, nearest_beyond(matrix, negative))  # (B, B)
            counted = positive & negative.any(dim=1, keepdim=True)
        else:
            chosen = matrix.gather(1, self.chosen(matrix.detach(), positive, negative))  # (B, 2)
            gap = chosen[:, 0] - chosen[:, 1]
            counted = positive.any(dim=1) & negative.any(dim=1)
        return triplet_term(gap, margin, self.soft_margin), counted

    def chosen(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Columns (B, 2) of each anchor's positive and negative; meaningless where it has none."""
        if self.mining == "hard":
            farthest = matrix.masked_fill(~positive, -torch.inf).argmax(dim=1)
            nearest = matrix.masked_fill(~negative, torch.inf).argmin(dim=1)
            return torch.stack([farthest, nearest], dim=1)
        size = matrix.shape[0]
        uniform = counter_uniform(self.seed, self.steps, 2 * size).reshape(2, size)
        picks = [pick(mask, u) for mask, u in zip((positive, negative), uniform, strict=True)]
        return torch.stack(picks, dim=1)

    def reduce(self, terms: Tensor, counted: Tensor, positive: Tensor) -> Tensor:
        """Mean over the terms that count, of ``all`` by default only over those above 0."""
        if self.mining == "all" and self.reduction == "nonzero":
            counted = counted & (terms > 0)
        return masked_mean(terms, counted)


def nearest_beyond(matrix: Tensor, negative: Tensor) -> Tensor:
    """Columns (B, B): for each pair (a, p) the nearest negative n with d(a, n) > d(a, p).

    The farthest negative where there is none; meaningless for an anchor without negatives.
    """
    matrix = matrix.detach()
    far = matrix.unsqueeze(1)
    beyond = negative.unsqueeze(1) & (far > matrix.unsqueeze(2))  # (B, B, B)
    nearest = torch.where(beyond, far, torch.inf).argmin(dim=-1)
    farthest = matrix.masked_fill(~negative, -torch.inf).argmax(dim=1, keepdim=True)
    return torch.where(beyond.any(dim=-1), nearest, farthest)


def pick(mask: Tensor, uniform: Tensor) -> Tensor:
    """One true column of each row of (B, B), by a uniform number in (0, 1] each (B,)."""
    counts = mask.sum(dim=1)
    rank = ((1 - uniform) * counts).to(torch.int64) + 1
    return ((mask.cumsum(dim=1) == rank.unsqueeze(1)) & mask).to(torch.int8).argmax(dim=1)
