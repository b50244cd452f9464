"""The engine with more classes than it keeps copies of."""

from __future__ import annotations

import pytest
import torch

from benchmarks.stack import LossGroup
from losses.build import build


@pytest.mark.parametrize(
    ("classes", "kept"), [(100, 100), (4096, 4096), (4097, 2049), (9000, 3000)]
)
def test_evenly_spaced_rows_tell_whether_weights_move(classes: int, kept: int) -> None:
    losses = [build("arcface", num_classes=classes, embedding_dim=3) for _ in range(2)]
    group = LossGroup(losses, slice(0, 2), torch.device("cpu"), torch.float32)
    assert group.initial["weight"].shape == (2, kept, 3)
    assert group.weights_moved().tolist() == [0.0, 0.0]
    with torch.no_grad():
        group.stacked.parameters["weight"][1].mul_(1.25)
    assert group.weights_moved().tolist() == pytest.approx([0.0, 0.25])
