"""What every loss is: the contract with the training loop."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

Log = dict[str, Tensor]


class Loss(nn.Module):
    """A training objective for one model.

    Numbers that may differ between models (hyper-parameters) and all moving state (steps, centers)
    are tensors in buffers, so that ``torch.func.stack_module_state`` and ``vmap`` turn K models
    into one batched computation. A subclass must therefore not branch on tensor values, index with
    masks or call ``.item()``.

    In training, for each optimizer step: ``compute`` once (gradients flow from its loss), the
    optimizer's update, then ``after_step`` once with the same arrays. ``logits`` serves evaluation.

    A subclass implements ``evaluate``, and ``scores`` where there are class weights. Both are
    called in float32 (float64 where the embeddings are float64) with autocast off.

    Attributes
    ----------
    kind : {"classifier", "embedding", "joint"}
    class_parameters : tuple of str
        Names of the parameters that hold a row per class; a learning-rate multiplier may apply to
        them.
    lowest_label : int
        Below 0 where the loss knows samples without a class. Losses of kind ``embedding`` only
        compare labels, and take any.
    waits : bool
        Whether ``after_step`` makes the host wait for the device; then no CUDA graph can hold it.
    """

    kind: ClassVar[str]
    class_parameters: ClassVar[tuple[str, ...]] = ()
    lowest_label: ClassVar[int] = 0
    waits: ClassVar[bool] = False

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embedding_dim = embedding_dim

    def add_hyperparameters(self, **values: float) -> None:
        """Register numbers as 0-dim buffers.

        They are kept in float64 and cast where they are used, so that a margin of 0.35 is 0.35 also
        in a float64 model.
        """
        for name, value in values.items():
            self.register_buffer(name, torch.tensor(float(value), dtype=torch.float64))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the initial parameters and state anew; default: there are none.

        The generator is the experiment's own; None: torch's global one.
        """

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """Loss of a batch, and what to log about it.

        Parameters
        ----------
        embeddings : Tensor (B, D)
            Any floating type; not normalised.
        labels : Tensor (B,)
            int64, 0..num_classes-1.

        Returns
        -------
        loss : Tensor ()
        log : dict of str to Tensor ()
            Without gradient; the keys are the same in every step. Angles are in radians.

        Raises
        ------
        ValueError
            Wrong shape or type; on a CPU, outside ``vmap``, also a label out of range (elsewhere a
            look at the values would stop the device; training checks its labels once).
        """
        self._check(embeddings, labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.evaluate(_full_precision(embeddings), labels)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss alone."""
        return self.compute(embeddings, labels)[0]

    def logits(self, embeddings: Tensor) -> Tensor | None:
        """Evaluation scores (B, C) without margin, scale included; None without class weights."""
        self._check_embeddings(embeddings)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.scores(_full_precision(embeddings))

    def represent(self, embeddings: Tensor) -> Tensor:
        """The embeddings that are judged, (B, D) from (B, D) in evaluation; default: as they are.

        `logits` is given the embeddings before this.
        """
        return embeddings

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the buffers on, in place; default: nothing moves.

        Called after the optimizer's step, without gradients.
        """

    def _check(self, embeddings: Tensor, labels: Tensor) -> None:
        name = type(self).__name__
        self._check_embeddings(embeddings)
        batch = embeddings.shape[0]
        if labels.shape != (batch,):
            raise ValueError(
                f"{name}: labels of shape {tuple(labels.shape)} for {batch} embeddings; ({batch},) "
                "is needed"
            )
        if labels.dtype != torch.int64:
            raise ValueError(f"{name}: labels of type {labels.dtype}; torch.int64 is needed")
        if self.kind == "embedding" or not batch or not _is_readable(labels):
            return
        low, high = (int(bound) for bound in labels.aminmax())
        if low < self.lowest_label or high >= self.num_classes:
            wrong = low if low < self.lowest_label else high
            raise ValueError(
                f"{name}: label {wrong} is out of range; it has {self.num_classes} classes, labels "
                f"{self.lowest_label}..{self.num_classes - 1}"
            )

    def _check_embeddings(self, embeddings: Tensor) -> None:
        name = type(self).__name__
        if embeddings.dim() != 2 or embeddings.shape[1] != self.embedding_dim:
            raise ValueError(
                f"{name}: embeddings of shape {tuple(embeddings.shape)}; "
                f"(batch, {self.embedding_dim}) is needed"
            )
        if not embeddings.is_floating_point():
            raise ValueError(
                f"{name}: embeddings of type {embeddings.dtype}; a floating type is needed"
            )

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """The formula behind ``compute``."""
        raise NotImplementedError

    def scores(self, embeddings: Tensor) -> Tensor | None:
        """The formula behind ``logits``."""
        return None


def _is_readable(labels: Tensor) -> bool:
    """Whether a look at the values costs nothing: on a CPU, and not inside a transform."""
    wrapped: bool = torch._C._functorch.is_functorch_wrapped_tensor(labels)
    return labels.device.type == "cpu" and not wrapped and not torch.compiler.is_compiling()


def _full_precision(embeddings: Tensor) -> Tensor:
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()
