"""Batch-hard triplets counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses.schema import Value
from tests.losses.stacks import make

POINTS = torch.tensor([[0.0], [1.0], [3.0], [4.5], [9.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1, 2])
GAPS = np.array([1 - 3, 1 - 2, 1.5 - 2, 1.5 - 3.5])  # hardest positive minus hardest negative
SQUARED_GAPS = np.array([1 - 9, 1 - 4, 2.25 - 4, 2.25 - 12.25])


@pytest.mark.parametrize(
    ("hyper", "expected"),
    [
        ({"soft_margin": False, "margin": 1.0}, np.maximum(GAPS + 1, 0)),
        ({"soft_margin": False, "margin": 1.75}, np.maximum(GAPS + 1.75, 0)),
        ({"soft_margin": False, "margin": 3.5, "squared": True}, np.maximum(SQUARED_GAPS + 3.5, 0)),
        ({"soft_margin": True}, np.log1p(np.exp(GAPS))),
        ({"soft_margin": True, "squared": True}, np.log1p(np.exp(SQUARED_GAPS))),
    ],
)
def test_by_hand(hyper: dict[str, Value], expected: np.ndarray) -> None:
    """Four anchors; the fifth sample is alone in its class and no anchor, but a negative."""
    value, log = make("triplet", hyper).compute(POINTS, LABELS)
    assert value.item() == pytest.approx(expected.mean(), rel=1e-12)
    assert log["active"] == 4
    assert log["embedding_norm"] == pytest.approx(3.5)


def test_normalized_embeddings_ignore_length() -> None:
    loss = make("triplet", {"normalize": True})
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    lengths = torch.rand(6, 1, generator=generator, dtype=torch.float64) + 0.5
    torch.testing.assert_close(loss(points * lengths, labels), loss(points, labels))


def test_mining_survives_a_common_offset_in_float32() -> None:
    """Far from the origin the ranking must not drown in the rounding of large squares."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(-64, 64, (16, 4), generator=generator) / 64
    labels = torch.arange(16) % 4
    loss = make("triplet", dtype=torch.float32)
    near, far = loss(points, labels), loss(points + 4096, labels)  # both exact in float32
    torch.testing.assert_close(far, near, rtol=1e-6, atol=1e-6)


def test_soft_margin_does_not_overflow() -> None:
    points = torch.tensor([[0.0], [500.0], [1.0], [501.0]], requires_grad=True)
    value = make("triplet")(points, torch.tensor([0, 0, 1, 1]))
    assert value.item() == pytest.approx(499.0)
    value.backward()
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()


@given(seed=st.integers(0, 10_000), size=st.integers(1, 12), classes=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_against_a_loop(seed: int, size: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, 3)) + 10.0  # a shared offset must not matter
    y = generator.integers(0, classes, size)
    terms = []
    for a in range(size):
        positive = [math.dist(x[a], x[j]) for j in range(size) if y[j] == y[a] and j != a]
        negative = [math.dist(x[a], x[j]) for j in range(size) if y[j] != y[a]]
        if positive and negative:
            terms.append(max(0.0, max(positive) - min(negative) + 0.3))
    loss = make("triplet", {"soft_margin": False, "margin": 0.3})
    value, log = loss.compute(torch.tensor(x), torch.tensor(y))
    assert value.item() == pytest.approx(np.mean(terms) if terms else 0.0, abs=1e-9)
    assert log["active"] == len(terms)
