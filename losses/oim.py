"""Online instance matching (OIM)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from losses.base import Log, Loss
from losses.cross_entropy import cross_entropy
from losses.functional import hits, unit_rows


class OIM(Loss):
    """Online instance matching. Xiao et al. 2017, OIM loss. Mean over the labelled samples.

    -log softmax over [v_1…v_C; u_1…u_Q]·x/τ, at v_y. The lookup table v (C, D) holds a unit vector
    per class, the circular queue u (Q, D) the last Q embeddings of unlabelled samples (label -1),
    which have no loss of their own. Both are buffers: constants in the gradient. They start at
    zero; a zero row stays in the sum with logit 0. Without a labelled sample the loss is 0.

    After each step, in the order of the batch: v_y ← γv_y + (1 - γ)x, scaled to length 1, for a
    labelled sample; an unlabelled one takes the place at the queue's pointer, which moves on and
    wraps. Several samples of a class are as many updates.

    Parameters
    ----------
    num_classes, embedding_dim : int
    temperature : float
        τ > 0.
    momentum : float
        γ in [0, 1]: the weight of the old vector.
    queue_size : int
        Q >= 0; 0: no queue, unlabelled samples are left out.
    normalize : bool
        Embeddings are scaled to length 1 first, as in the paper.
    """

    kind: ClassVar[str] = "classifier"
    lowest_label: ClassVar[int] = -1
    waits: ClassVar[bool] = True
    temperature: Tensor
    momentum: Tensor
    lut: Tensor
    queue: Tensor | None
    pointer: Tensor | None

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        temperature: float = 0.1,
        momentum: float = 0.5,
        queue_size: int = 0,
        normalize: bool = True,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.queue_size = queue_size
        self.normalize = normalize
        self.add_hyperparameters(temperature=temperature, momentum=momentum)
        self.register_buffer("lut", torch.zeros(num_classes, embedding_dim))
        queue = torch.zeros(queue_size, embedding_dim) if queue_size else None
        self.register_buffer("queue", queue)
        self.register_buffer("pointer", torch.tensor(0) if queue_size else None)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Empty the table and the queue; nothing is drawn."""
        for memory in (self.lut, self.queue, self.pointer):
            if memory is not None:
                memory.zero_()

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`; ``seen`` is the share of classes with a vector."""
        lut = self.lut.to(embeddings.dtype)
        points = self._scaled_points(embeddings)
        own_logits = logits = points @ lut.mT  # (B, C)
        if self.queue is not None:
            logits = torch.cat([logits, points @ self.queue.to(points.dtype).mT], dim=-1)
        labelled = labels >= 0
        target = torch.where(labelled, labels, torch.zeros_like(labels))
        count = labelled.to(logits.dtype).sum().clamp_min(1)
        with torch.no_grad():
            right = torch.where(labelled, hits(own_logits, target), torch.zeros_like(count))
        terms = cross_entropy(logits, target, torch.zeros_like(count))
        loss = torch.where(labelled, terms, torch.zeros_like(terms)).sum() / count
        with torch.no_grad():
            directions, lengths = unit_rows(embeddings)
            angles = (directions * lut[target]).sum(dim=-1).clamp(-1, 1).acos()
            log = {
                "accuracy": right.sum() / count,
                "target_angle": torch.where(labelled, angles, torch.zeros_like(angles)).sum()
                / count,
                "embedding_norm": lengths.mean(),
                "seen": (lut != 0).any(dim=-1).to(logits.dtype).mean(),
            }
        return loss, log

    def scores(self, embeddings: Tensor) -> Tensor:
        """v·x/τ, (B, C)."""
        return self._scaled_points(embeddings) @ self.lut.to(embeddings.dtype).mT

    def _points(self, embeddings: Tensor) -> Tensor:
        return unit_rows(embeddings)[0] if self.normalize else embeddings

    def _scaled_points(self, embeddings: Tensor) -> Tensor:
        return self._points(embeddings) / self.temperature.to(embeddings.dtype)

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """Update the table and the queue."""
        points = self._points(embeddings.detach()).to(self.lut.dtype)
        momentum = self.momentum.to(points.dtype).expand(len(points))
        earlier = (labels.unsqueeze(1) == labels).tril(-1).sum(dim=1)  # of the same class
        turn = torch.where(labels >= 0, earlier, torch.full_like(earlier, -1))
        self.lut.copy_(_Matched.apply(self.lut, points, labels, turn, momentum))
        if self.queue is not None and self.pointer is not None:
            self._enqueue(points, labels < 0)

    def _enqueue(self, points: Tensor, unlabelled: Tensor) -> None:
        """Put the unlabelled rows of (B, D) at the pointer; of more than Q the last Q stay."""
        assert self.queue is not None
        assert self.pointer is not None
        size = self.queue_size
        rank = unlabelled.cumsum(0) - 1  # place among the unlabelled
        count = rank[-1] + 1
        stays = unlabelled & (rank >= count - size)
        # Slot `size` is none. Which sample comes to each slot, or -1:
        slots = torch.where(stays, (self.pointer + rank) % size, torch.full_like(rank, size))
        positions = torch.arange(len(points), device=points.device)
        source = torch.full((size + 1,), -1, device=points.device).scatter(0, slots, positions)
        source = source[:size]
        taken = source >= 0
        new = points[torch.where(taken, source, torch.zeros_like(source))]
        self.queue.copy_(torch.where(taken.unsqueeze(1), new, self.queue))
        self.pointer.copy_((self.pointer + count) % size)


class _Matched(torch.autograd.Function):
    """`_matched`, and for a stack one call over the classes of all its models."""

    @staticmethod
    def forward(
        lut: Tensor, points: Tensor, labels: Tensor, turn: Tensor, momentum: Tensor
    ) -> Tensor:
        return _matched(lut, points, labels, turn, momentum)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """There is no gradient."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arrays: Tensor) -> tuple[Tensor, int]:
        models = info.batch_size
        lut, points, labels, turn, momentum = (
            array.expand(models, *array.shape) if dim is None else array.movedim(dim, 0)
            for array, dim in zip(arrays, in_dims, strict=True)
        )
        first = lut.shape[1] * torch.arange(models, device=lut.device).unsqueeze(1)
        moved = _matched(
            lut.flatten(0, 1),
            points.flatten(0, 1),
            (labels + first).flatten(),
            turn.flatten(),
            momentum.flatten(),
        )
        return moved.view(lut.shape), 0


def _matched(lut: Tensor, points: Tensor, labels: Tensor, turn: Tensor, momentum: Tensor) -> Tensor:
    """The table (C, D) after the points (N, D) of their labels (N,), those of turn 0 first.

    Within a turn (N,) no class comes twice; turn -1 is left out. Each update of a class starts from
    the scaled result of the one before, so as many rounds follow each other as the most frequent
    class has samples. Their number is data, which `vmap` does not allow but in a function of its
    own; a loop over the batch, which it does, was measured to take ten times as long.
    """
    lut = lut.clone()
    order = turn.argsort()
    rounds = order.split((turn + 1).bincount(minlength=1).tolist())  # the one wait for the device
    for chosen in rounds[1:]:
        index, gamma = labels[chosen], momentum[chosen].unsqueeze(1)
        lut[index] = unit_rows(gamma * lut[index] + (1 - gamma) * points[chosen])[0]
    return lut
