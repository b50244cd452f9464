"""What classes and dimensions allow, against the numbers of the paper and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from losses.catalog import CATALOG, resolve
from losses.feasibility import (
    angular_margin_bound,
    cosine_margin_bound,
    scale_bound,
    warnings,
)
from tests.losses.stacks import batch, make


@pytest.mark.parametrize(
    ("classes", "at_90", "at_99"),
    [(10, 3.96, 6.11), (100, 6.72, 9.10), (964, 9.06, 11.45), (10572, 11.46, 13.86)],
)
def test_scale_bound_of_known_data_sets(classes: int, at_90: float, at_99: float) -> None:
    assert scale_bound(classes) == pytest.approx(at_90, abs=5e-3)
    assert scale_bound(classes, 0.99) == pytest.approx(at_99, abs=5e-3)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_scale_bound_gives_that_probability(classes: int) -> None:
    """At a class weight of the regular simplex, whose cosines to the others are -1 / (C - 1)."""
    cosines = np.full(classes, -1 / (classes - 1))
    cosines[0] = 1
    for probability in (0.6, 0.9, 0.99):
        logits = scale_bound(classes, probability) * cosines
        found = np.exp(logits[0]) / np.exp(logits).sum()
        assert found == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize(("classes", "bound"), [(8, 0.2929), (10, 0.1910), (3, 1.5), (2, 2.0)])
def test_margins_on_a_circle(classes: int, bound: float) -> None:
    assert cosine_margin_bound(classes, 2) == pytest.approx(bound, abs=5e-5)
    assert angular_margin_bound(classes, 2) == pytest.approx(2 * math.pi / classes)


@pytest.mark.parametrize(("classes", "dim"), [(2, 8), (5, 4), (9, 8), (2, 1)])
def test_the_simplex_reaches_the_bound(classes: int, dim: int) -> None:
    centered = np.eye(classes) - 1 / classes  # rank C - 1, so it fits into C - 1 dimensions
    rows = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    assert np.linalg.matrix_rank(rows) <= dim
    reached = 1 - (rows @ rows.T - 3 * np.eye(classes)).max()
    assert cosine_margin_bound(classes, dim) == pytest.approx(reached)


def test_no_random_spread_passes_the_bound() -> None:
    rng = np.random.default_rng(0)
    for classes, dim in [(3, 2), (7, 2), (4, 3), (6, 3), (9, 4), (3, 1)]:
        for _ in range(2000):
            rows = rng.normal(size=(classes, dim))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            reached = 1 - (rows @ rows.T - 3 * np.eye(classes)).max()
            assert reached <= cosine_margin_bound(classes, dim) + 1e-12
    # Octahedron: more than K + 1 classes, and the bound is reached.
    assert cosine_margin_bound(6, 3) == 1


def test_ten_digits_in_two_dimensions() -> None:
    """The default margin of CosFace does not fit into the plane."""
    found = warnings("cosface", resolve("cosface"), 10, 2)
    assert found == [
        "cosface: margin 0.35 cannot be satisfied: 10 classes in 2 dimensions have room for at "
        "most 0.191 cosine (CosFace, eq. 7)"
    ]
    assert warnings("cosface", resolve("cosface", {"margin": 0.19}), 10, 2) == []
    assert warnings("cosface", resolve("cosface"), 10, 3) == []
    [text] = warnings("arcface", resolve("arcface", {"margin": 0.64}), 10, 2)
    assert "margin 0.64 cannot be satisfied" in text
    assert "0.628 radian" in text


def test_small_scale() -> None:
    hyper = resolve("arcface", {"scale": 9.0})
    [text] = warnings("arcface", hyper, 964, 128)
    assert "scale 9 is too small for 964 classes" in text
    assert "9.06" in text
    assert warnings("arcface", hyper, 900, 128) == []
    learned = resolve("norm_softmax", {"scale": 1.0, "learnable_scale": True})
    assert warnings("norm_softmax", learned, 964, 128) == []
    assert len(warnings("norm_softmax", learned | {"learnable_scale": False}, 964, 128)) == 1


@pytest.mark.parametrize("mode", ["dynamic", "fixed"])
def test_adacos_of_two_classes(mode: str) -> None:
    """The warning stands where the loss has no gradient, in every step, and nowhere else."""
    hyper = resolve("adacos", {"mode": mode})
    for classes in (2, 3):
        loss = make("adacos", hyper, num_classes=classes)
        slopes = []
        for step in range(3):
            embeddings, labels = batch(classes=classes, seed=step)
            loss.zero_grad()
            loss(embeddings, labels).backward()
            slopes.append(loss.weight.grad.abs().max().item())
            with torch.no_grad():
                loss.after_step(embeddings, labels)
        found = warnings("adacos", hyper, classes, 4)
        assert (max(slopes) < 1e-12) == (classes == 2)
        assert [text[:30] for text in found] == ["adacos: with 2 classes its sca"] * (classes == 2)
    name = "adacos+triplet"
    assert len(warnings(name, resolve(name, {"adacos.mode": mode}), 2, 4)) == 1


def test_defaults_fit_faces() -> None:
    """964 classes in 128 dimensions: only the tutorial's form, whose scale is 1, is warned of."""
    warned = {
        name for name in CATALOG if warnings(name, resolve(name), 964, 128, embedding_norm="batch")
    }
    assert warned <= {"cosine_over_ten"}


def test_parts_of_a_sum() -> None:
    name = "cosface+triplet"
    found = warnings(name, resolve(name, {"cosface.margin": 0.4}), 10, 2)
    assert [text[:20] for text in found] == ["cosface: margin 0.4 "]


def test_lengths_of_magface() -> None:
    hyper = resolve("magface", {"l_m": 0.1, "u_m": 0.2})
    [text] = warnings("magface", hyper, 20, 16, embedding_norm="batch")
    assert "about 4 long" in text
    assert warnings("magface", hyper, 20, 128, embedding_norm="batch") == []
    assert warnings("magface", hyper, 20, 16) == []


def test_degrees_of_the_peer() -> None:
    pytest.importorskip("pytorch_metric_learning")
    name = "pml:ArcFaceLoss"
    [text] = warnings(name, resolve(name, {"margin": 0.5}), 10, 8)
    assert "write 28.65" in text
    assert warnings(name, resolve(name), 10, 8) == []
