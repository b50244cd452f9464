"""The logits of one model in blocks of classes, made one after the other and as often as needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from losses.blocks import EXCLUDED
from losses.cross_entropy import HardRule
from losses.functional import ZERO_LENGTH, positive, unit_rows

BLOCK, BLOCK_GPU = 2**20, 2**25
"""Numbers of a block: what a processor's cache holds; on a GPU, enough to be worth its launches."""


class Block(NamedTuple):
    """Some classes of one model, n of them, K vectors each."""

    classes: slice | Tensor  # their rows of the class weights
    rows: Tensor  # (n, K, D), directions
    inverse: Tensor  # (n, K, 1), 1 / length, 0 for a zero row
    logits: Tensor  # (B, n), changed by the rule; EXCLUDED for the own class
    winners: Tensor | None  # (B, n), which of K > 1 vectors is the nearest
    largest: Tensor  # (B,), logit before the change
    hard: Tensor  # (), number of logits above the threshold
    slope: Tensor | None  # (B, n), derivative of the change
    own: tuple[Tensor, Tensor]  # (B, 1), column of the own class, and whether it is here


class Model(NamedTuple):
    """One model's part of the inputs of `CrossEntropyInBlocks`."""

    vectors: Tensor  # (B, D)
    weight: Tensor  # (C, K, D)
    places: Tensor  # (B,)
    chosen: Tensor | None  # (M,)
    rule: HardRule | None

    @property
    def classes(self) -> int:
        """M, or C where all take part."""
        return len(self.weight if self.chosen is None else self.chosen)

    def blocks(self) -> Iterator[Block]:
        """Block after block; the logits are in a buffer that the next block uses again."""
        batch, entries = len(self.vectors), BLOCK_GPU if self.vectors.is_cuda else BLOCK
        # The rows of a block are copied, too.
        size = min(self.classes, max(1, entries // max(1, batch, self.weight[0].numel())))
        buffer = self.vectors.new_empty(size * batch)
        for start in range(0, self.classes, size):
            count = min(size, self.classes - start)
            some = slice(start, start + count)
            classes = some if self.chosen is None else self.chosen[some]
            rows, lengths = unit_rows(self.weight[classes])
            inverse = (lengths > ZERO_LENGTH) / lengths.clamp_min(ZERO_LENGTH)
            logits, winners = self._products(rows, buffer[: batch * count].view(batch, count))
            place = (self.places - start).unsqueeze(-1)
            own = place.clamp(0, count - 1), (place >= 0) & (place < count)
            put(logits, own, EXCLUDED)
            largest, hard, slope = logits.amax(dim=-1), logits.new_zeros(()), None
            if self.rule is not None:
                mask = positive(logits - self.rule.threshold.unsqueeze(-1))
                hard = mask.sum()
                slope = self.rule.change(logits, mask, *self.rule.numbers)
            yield Block(
                classes, rows, inverse.unsqueeze(-1), logits, winners, largest, hard, slope, own
            )

    def _products(self, rows: Tensor, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """Inner products with the nearest of K vectors of each class, and which it is."""
        first, *others = rows.unbind(dim=1)
        torch.mm(self.vectors, first.T, out=out)
        if not others:
            return out, None
        winners = torch.zeros_like(out, dtype=torch.uint8)
        for k, each in enumerate(others, 1):
            products = self.vectors @ each.T
            winners.masked_fill_(products > out, k)
            torch.maximum(out, products, out=out)
        return out, winners


def put(table: Tensor, own: tuple[Tensor, Tensor], number: float) -> None:
    """Write a number into the own class's column of each row that has it."""
    index, here = own
    table.scatter_(-1, index, table.gather(-1, index).masked_fill_(here, number))
