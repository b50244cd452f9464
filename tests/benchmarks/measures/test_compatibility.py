"""The protocols of other code bases against loops written as theirs, and against each other."""

import numpy as np
import pytest

from benchmarks.measures.compatibility import (
    accuracy_400_distances,
    accuracy_mean_subtracted,
    accuracy_oracle_threshold,
    accuracy_youden,
    tar_at_interpolated_threshold,
)
from benchmarks.measures.kfold import kfold_accuracy
from benchmarks.protocols import ProtocolError


def drawn(seed, pairs=200, folds=5, digits=3):
    rng = np.random.default_rng(seed)
    same = np.tile(np.repeat([True, False], pairs // folds // 2), folds)
    cosines = np.round(np.clip(rng.normal(0.1 + 0.4 * same, 0.2), -1, 1), digits)
    return cosines, same, np.repeat(np.arange(folds), pairs // folds)


def loop(cosines, same, folds, choose, right):
    rates = []
    for fold in np.unique(folds):
        threshold = choose(cosines[folds != fold], same[folds != fold])
        rates.append(np.mean(right(cosines[folds == fold], same[folds == fold], threshold)))
    return rates


@pytest.mark.parametrize("seed", range(5))
def test_400_distances(seed):
    cosines, same, folds = drawn(seed, digits=2)

    def right(scores, kinds, threshold):
        return np.less(2 - 2 * scores, threshold) == kinds

    def choose(scores, kinds):
        accuracies = [right(scores, kinds, t).mean() for t in np.arange(0, 4, 0.01)]
        return np.arange(0, 4, 0.01)[np.argmax(accuracies)]

    got = accuracy_400_distances(cosines, same, folds)
    np.testing.assert_allclose(got.per_fold, loop(cosines, same, folds, choose, right), atol=1e-15)
    assert got.sem == pytest.approx(np.std(got.per_fold, ddof=1) / np.sqrt(5))


@pytest.mark.parametrize("seed", range(5))
def test_youden(seed):
    cosines, same, folds = drawn(seed)

    def right(scores, kinds, threshold):
        return np.where(kinds, scores > threshold, scores < threshold)

    def choose(scores, kinds):
        step = (scores.max() - scores.min()) / 1000
        grid = scores.min() + step * np.arange(1, 1001)
        index = [(scores[kinds] > t).mean() - (scores[~kinds] > t).mean() for t in grid]
        return grid[np.argmax(index)]

    got = accuracy_youden(cosines, same, folds)
    np.testing.assert_allclose(got.per_fold, loop(cosines, same, folds, choose, right), atol=1e-15)


def test_youden_weighs_the_kinds_and_not_the_pairs():
    # 1 genuine to 9 impostors: .5 rejects the genuine pairs at .3, which are few
    scores = np.tile([0.3, 0.4, *np.linspace(0, 0.2501, 16), 0.35, 0.36], 2)
    same = np.tile([True, True] + [False] * 18, 2)
    folds = np.repeat([0, 1], 20)
    youden = accuracy_youden(scores, same, folds)
    exact = kfold_accuracy(scores, same, folds)
    assert youden.thresholds[0] < 0.3 < exact.thresholds[0]
    assert (youden.mean, exact.mean) == (0.9, 0.95)


def test_oracle_threshold_is_the_best_on_the_pairs_themselves():
    scores, same = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 1])
    assert accuracy_oracle_threshold(scores, same) == 0.75
    assert accuracy_oracle_threshold(scores[:2], np.array([0, 0])) == 1  # rejecting all
    cosines, same, folds = drawn(3)
    assert accuracy_oracle_threshold(cosines, same) >= kfold_accuracy(cosines, same, folds).mean


@pytest.mark.parametrize("seed", range(3))
def test_mean_subtracted(seed):
    rng = np.random.default_rng(seed)
    same, folds = np.arange(60) % 2 == 0, np.repeat([0, 1, 2], 20)
    left = rng.normal(2, 1, (60, 4))
    right = np.where(same[:, None], left, 0) + rng.normal(np.where(same, 0, 2)[:, None], 1, (60, 4))
    rates = []
    for fold in range(3):
        others, own = folds != fold, folds == fold
        mean = np.concatenate([left[others], right[others]]).mean(axis=0)
        a, b = left - mean, right - mean
        scores = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
        grid = np.arange(-10_000, 10_001) / 10_000
        hits = [np.where(same, scores > t, scores < t) for t in grid]
        accuracy = np.array([hit[others].mean() for hit in hits])
        threshold = grid[accuracy == accuracy.max()].mean()
        rates.append(np.where(same, scores > threshold, scores < threshold)[own].mean())
    got = accuracy_mean_subtracted(left, right, same, folds)
    np.testing.assert_allclose(got.per_fold, rates, atol=1e-15)


def test_mean_subtraction_frees_of_a_common_offset():
    rng = np.random.default_rng(0)
    left, same, folds = rng.normal(0, 1, (400, 8)), np.arange(400) % 2 == 0, np.arange(400) % 10
    right = np.where(same[:, None], left, rng.normal(0, 1, (400, 8)))
    right = right + rng.normal(0, 0.3, right.shape)
    moved = accuracy_mean_subtracted(left + 50, right + 50, same, folds)
    assert moved.mean == accuracy_mean_subtracted(left, right, same, folds).mean > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_tar_at_interpolated_threshold(seed):
    cosines, same, folds = drawn(seed)
    got, achieved = tar_at_interpolated_threshold(cosines, same, folds, 0.05)
    grid, distances = np.arange(0, 4, 0.001), 2 - 2 * cosines
    rates, fars = [], []
    for fold, threshold in zip(range(5), got.thresholds, strict=True):
        others, own = folds != fold, folds == fold
        far = np.array([(distances[others & ~same] < t).mean() for t in grid])
        last = np.flatnonzero(far <= 0.05)[-1]
        assert grid[last] <= threshold <= grid[last + 1]
        weight = (0.05 - far[last]) / (far[last + 1] - far[last])
        assert threshold == pytest.approx(grid[last] + weight * 0.001, abs=1e-12)
        rates.append((distances[own & same] < threshold).mean())
        fars.append((distances[own & ~same] < threshold).mean())
    np.testing.assert_allclose(got.per_fold, rates)
    assert achieved == pytest.approx(np.mean(fars))


def test_protocols_disagree_on_the_same_scores_by_about_a_tenth_of_a_point():
    """12 draws of 3,000 + 3,000 pairs near 99.3 %, in points (hundredths of accuracy)."""
    spread, gain, inside = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        same, folds = np.tile(np.repeat([True, False], 300), 10), np.repeat(np.arange(10), 600)
        cosines = rng.normal(0.02 + 0.6 * same, 0.12).clip(-1, 1)
        ours = kfold_accuracy(cosines, same, folds)
        grid = accuracy_400_distances(cosines, same, folds).mean
        youden = accuracy_youden(cosines, same, folds).mean
        oracle = accuracy_oracle_threshold(cosines, same)
        spread.append(100 * np.ptp([grid, youden, oracle]))
        gain.append(100 * (oracle - ours.mean))
        inside.append(ours.mean_low <= ours.mean <= ours.mean_high)
    assert 0.04 < np.mean(spread) < 0.2
    assert np.max(spread) < 0.4
    assert 0.03 < np.mean(gain) < 0.15
    assert min(gain) >= 0
    assert all(inside)


def test_refusals():
    scores, folds = np.linspace(0, 1, 6), np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(ProtocolError, match="one kind alone"):
        accuracy_youden(scores, np.array([0, 0, 0, 1, 1, 1]), folds)
    with pytest.raises(ProtocolError, match="one kind alone"):
        tar_at_interpolated_threshold(scores, np.array([0, 1, 0, 1, 1, 1]), folds, 0.1)
    with pytest.raises(ProtocolError, match=r"must be in \(0, 1\)"):
        tar_at_interpolated_threshold(scores, np.array([0, 1, 0, 1, 0, 1]), folds, 0.0)
    with pytest.raises(ProtocolError, match="differ in shape"):
        accuracy_mean_subtracted(np.ones((6, 2)), np.ones((6, 3)), np.ones(6), folds)
    broken = np.ones((6, 2))
    broken[1] = np.nan
    with pytest.raises(ProtocolError, match="1 scores are not a number"):
        accuracy_mean_subtracted(broken, np.ones((6, 2)), np.ones(6), folds)
    with pytest.raises(ProtocolError, match="at least two folds"):
        accuracy_400_distances(scores, np.ones(6), np.zeros(6))
