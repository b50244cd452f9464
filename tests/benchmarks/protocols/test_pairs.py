"""All pairs in tiles: the same curve as from all scores at once, in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from benchmarks.protocols import pairs
from benchmarks.protocols.cosine import LEVELS_PER_UNIT, cosine_levels, unit_rows
from benchmarks.protocols.pairs import pair_counts, pair_levels, pair_roc
from benchmarks.protocols.roc import auc, eer, roc, tar_at_far
from tests.benchmarks.protocols.vectors import arrays, cases


def clusters(images, classes, dim=16, seed=0, spread=0.8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    centers = rng.standard_normal((classes, dim))
    return (centers[labels] + spread * rng.standard_normal((images, dim))), labels


def exact_cosines(embeddings, labels):
    """Genuine and impostor cosines in float64 from the full matrix."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    upper = np.triu_indices(len(labels), 1)
    scores = (unit @ unit.T)[upper]
    same = (labels[:, None] == labels)[upper]
    return scores[same], scores[~same]


def materialised(embeddings, labels):
    tiles = list(pair_levels(embeddings, labels))
    genuine = np.concatenate([tile[0] for tile in tiles])
    impostor = np.concatenate([tile[1] for tile in tiles])
    return genuine / LEVELS_PER_UNIT, impostor / LEVELS_PER_UNIT


def assert_same_curve(first, second):
    np.testing.assert_array_equal(first.thresholds, second.thresholds)
    np.testing.assert_array_equal(first.genuine, second.genuine)
    np.testing.assert_array_equal(first.impostor, second.impostor)


@pytest.mark.parametrize(("images", "classes"), [(1000, 50), (1000, 3), (1500, 900)])
def test_streaming_equals_all_scores_at_once(images, classes):
    embeddings, labels = clusters(images, classes)
    streamed, whole = pair_roc(embeddings, labels), roc(*materialised(embeddings, labels))
    assert_same_curve(streamed, whole)
    assert (auc(streamed), eer(streamed)) == (auc(whole), eer(whole))
    assert tar_at_far(streamed, 1e-2) == tar_at_far(whole, 1e-2)


@pytest.mark.parametrize("classes", [2, 40, 2000])
def test_signs_have_exact_cosines_whatever_the_tile(classes, monkeypatch):
    # Rows of ±1 in 64 dimensions: every cosine is a multiple of 1/32, exact in float32 and on the
    # grid.
    rng = np.random.default_rng(1)
    embeddings = rng.choice([-1.0, 1.0], (2000, 64))
    labels = rng.integers(0, classes, 2000)
    whole = roc(*exact_cosines(embeddings, labels))
    assert len(whole.thresholds) < 64  # heavy ties
    assert_same_curve(pair_roc(embeddings, labels), whole)
    monkeypatch.setattr(pairs, "TILE_ROWS", 37)
    monkeypatch.setattr(pairs, "TILE_COLUMNS", 101)
    assert_same_curve(pair_roc(embeddings, labels), whole)


def test_scores_are_the_cosines_of_the_pairs():
    embeddings, labels = clusters(700, 20, dim=128)
    for ours, exact in zip(
        materialised(embeddings, labels), exact_cosines(embeddings, labels), strict=True
    ):
        np.testing.assert_allclose(np.sort(ours), np.sort(exact), rtol=0, atol=1.2e-6)


@pytest.mark.parametrize("case", cases("verification.all_pairs"))
def test_pairs_of_the_vector(case):
    inputs, expected = arrays(case)
    genuine, impostor = materialised(inputs["X"], inputs["y"])
    same = expected["same"].astype(bool)
    np.testing.assert_allclose(np.sort(genuine), np.sort(expected["scores"][same]), atol=1e-6)
    np.testing.assert_allclose(np.sort(impostor), np.sort(expected["scores"][~same]), atol=1e-6)


def test_close_to_the_numbers_of_unrounded_scores():
    embeddings, labels = clusters(1500, 60, seed=3)
    ours, exact = pair_roc(embeddings, labels), roc(*exact_cosines(embeddings, labels))
    assert auc(ours) == pytest.approx(auc(exact), abs=1e-8)
    assert eer(ours) == pytest.approx(eer(exact), abs=1e-5)
    for far in (1e-1, 1e-2, 1e-3):
        assert tar_at_far(ours, far).tar == pytest.approx(tar_at_far(exact, far).tar, abs=1e-4)


def test_the_order_of_the_images_does_not_matter():
    embeddings, labels = clusters(900, 30)
    order = np.random.default_rng(5).permutation(900)
    first, second = pair_roc(embeddings, labels), pair_roc(embeddings[order], labels[order])
    assert auc(first) == pytest.approx(auc(second), abs=1e-9)
    assert first.genuine[-1] == second.genuine[-1]


def test_collapsed_embeddings_are_all_ties():
    direction = np.random.default_rng(2).standard_normal(64)
    embeddings = np.linspace(0.5, 40, 800)[:, None] * direction
    curve = pair_roc(embeddings, np.arange(800) % 7)
    assert curve.thresholds.tolist() == [np.inf, 1.0]
    assert (auc(curve), eer(curve)) == (0.5, 0.5)


def test_a_zero_vector_has_cosine_zero_and_length_does_not_matter():
    unit = unit_rows(np.array([[0.0, 0.0], [3e300, 4e300], [-3e-300, -4e-300], [3.0, 4.0]]))
    np.testing.assert_allclose(unit[1:], [[0.6, 0.8], [-0.6, -0.8], [0.6, 0.8]], rtol=1e-7)
    levels = cosine_levels(unit, unit)
    assert levels[0].tolist() == [0, 0, 0, 0]
    assert levels[3].tolist() == [0, LEVELS_PER_UNIT, -LEVELS_PER_UNIT, LEVELS_PER_UNIT]


def test_levels_are_rounded_cosines():
    angles = np.linspace(0, np.pi, 1001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    levels = cosine_levels(unit_rows(circle), unit_rows(np.array([[1.0, 0.0]])))[:, 0]
    assert np.abs(levels - np.cos(angles) * LEVELS_PER_UNIT).max() <= 0.6  # ½ + float32


def test_pairs_are_counted():
    labels = np.array([4, 4, 4, 9, 9, 1])
    assert pair_counts(labels) == (3 + 1, 15 - 4)
    assert pair_counts(labels[:0]) == (0, 0)
    curve = pair_roc(np.random.default_rng(0).standard_normal((6, 3)), labels)
    assert (curve.genuine[-1], curve.impostor[-1]) == (4, 11)


def test_memory_does_not_grow_with_the_number_of_pairs():
    embeddings, labels = clusters(12_000, 400, dim=8)
    tracemalloc.start()
    pair_roc(embeddings, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    matrix = 12_000**2 * 4
    assert peak < 150e6 < matrix / 3
