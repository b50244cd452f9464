"""One binary decision per class in place of a softmax."""

from __future__ import annotations

from losses.schema import LossRow

ROWS: tuple[LossRow, ...] = ()
