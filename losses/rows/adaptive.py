"""Margins that follow the sample or the progress of training."""

from __future__ import annotations

from losses.schema import LossRow

ROWS: tuple[LossRow, ...] = ()
