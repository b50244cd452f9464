"""Weighted sums of losses on one embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from losses.base import Log, Loss
from losses.class_terms import ClassTerm
from losses.neck import Neck


class Sum(Loss):
    """Σ_p w_p·L_p over the parts p: losses on the same embeddings, each with its own reduction.

    The first part has weight 1. With a neck (Luo et al. 2019) the parts with class weights, and
    terms made of those weights, are given its output, all others the embeddings themselves; the
    judged embeddings are the neck's output by running statistics.

    Logged is what the parts log (where two log the same, the former), the unweighted loss of each
    as ``<part>_loss``, and ``embedding_norm`` of the embeddings before the neck. `scores` are those
    of the first part that has some. Parameters and buffers are named ``<part>.<name>``, the weights
    ``<part>_weight``.

    Parameters
    ----------
    parts : dict of str to Loss
        In their order, which is also that of drawing their parameters.
    weights : dict of str to float
        Of every part but the first; >= 0.
    neck : {"none", "batch_norm"}
        See `losses.neck.Neck`.

    Raises
    ------
    ValueError
        A term of class weights without a part that has one weight row per class.
    """

    kind: ClassVar[str] = "joint"

    def __init__(
        self, parts: Mapping[str, Loss], weights: Mapping[str, float], *, neck: str = "none"
    ) -> None:
        first = next(iter(parts.values()))
        super().__init__(first.num_classes, first.embedding_dim)
        self.names = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.add_hyperparameters(**{f"{name}_weight": value for name, value in weights.items()})
        self.neck = neck
        self.batch_norm = Neck(self.embedding_dim) if neck == "batch_norm" else None
        self.classifiers = tuple(name for name, part in parts.items() if part.kind != "embedding")
        # Of this sum, not of the class: they follow from the parts.
        if not self.classifiers:
            self.kind = "embedding"  # type: ignore[misc]
        self.class_parameters = tuple(  # type: ignore[misc]
            f"{name}.{own}" for name, part in parts.items() for own in part.class_parameters
        )
        self.waits = any(part.waits for part in parts.values())  # type: ignore[misc]
        terms = [name for name, part in parts.items() if isinstance(part, ClassTerm)]
        rows = [name for name in self.classifiers if _has_rows(parts[name])]
        if terms and not rows:
            raise ValueError(
                f"{'+'.join(parts)}: {terms[0]} needs a part with one class weight row per class"
            )
        self.rows_of = rows[0] if rows else ""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Reset the parts in their order."""
        for name in self.names:
            self.part(name).reset_parameters(generator)
        if self.batch_norm is not None:
            self.batch_norm.reset()

    def part(self, name: str) -> Loss:
        """The part of this name."""
        found = self.get_submodule(name)
        assert isinstance(found, Loss)
        return found

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        necked = embeddings if self.batch_norm is None else self.batch_norm(embeddings)
        total, log = embeddings.new_zeros(()), Log()
        for name in self.names:
            part = self.part(name)
            seen = necked if self._after_neck(name) else embeddings
            if isinstance(part, ClassTerm):
                weight = self.part(self.rows_of).weight
                assert isinstance(weight, Tensor)
                loss, own = part.measure(seen, labels, weight.to(seen.dtype)), Log()
            else:
                loss, own = part.compute(seen, labels)
            scale = getattr(self, f"{name}_weight", None)
            total = total + (loss if scale is None else scale.to(loss.dtype) * loss)
            log = {**own, **log, f"{name}_loss": loss.detach()}
        with torch.no_grad():
            log["embedding_norm"] = torch.linalg.vector_norm(embeddings, dim=-1).mean()
        return total, log

    def _after_neck(self, name: str) -> bool:
        return name in self.classifiers or isinstance(self.part(name), ClassTerm)

    def represent(self, embeddings: Tensor) -> Tensor:
        """After the neck, by its running statistics, (B, D)."""
        return embeddings if self.batch_norm is None else self.batch_norm.judged(embeddings)

    def scores(self, embeddings: Tensor) -> Tensor | None:
        """See `Loss.logits`; None for a sum without a classifier."""
        if not self.classifiers:
            return None
        return self.part(self.classifiers[0]).logits(self.represent(embeddings))

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the state of the parts and the neck's running statistics."""
        necked = embeddings
        if self.batch_norm is not None:
            with torch.autocast(embeddings.device.type, enabled=False):
                necked = self.batch_norm.again(embeddings)
                self.batch_norm.track(embeddings)
        for name in self.names:
            seen = necked if self._after_neck(name) else embeddings
            self.part(name).after_step(seen, labels)


def _has_rows(part: Loss) -> bool:
    weight = dict(part.named_parameters()).get("weight")
    return weight is not None and weight.shape == (part.num_classes, part.embedding_dim)
