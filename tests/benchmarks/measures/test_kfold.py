"""LFW's folds against a brute-force search over all decisions."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.measures.kfold import contiguous_folds, kfold_accuracy
from benchmarks.protocols import ProtocolError


def by_definition(scores, same, folds):
    """Every candidate threshold of every fold, one by one."""
    per_fold, thresholds, low, high = [], [], [], []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        seen = sorted(set(scores[train]))
        middles = [(a + b) / 2 for a, b in pairwise(seen)]
        candidates = [-np.inf, *middles, np.inf]
        right = [((scores[train] >= t) == same[train]).sum() for t in candidates]
        thresholds.append(candidates[right.index(max(right))])
        per_fold.append(((scores[test] >= thresholds[-1]) == same[test]).mean())
        # any real threshold: at, just above and just below every score of either side
        every = np.unique(scores)
        near = [t for s in every for t in (np.nextafter(s, -np.inf), s, np.nextafter(s, np.inf))]
        right = np.array([((scores[train] >= t) == same[train]).sum() for t in near])
        rates = np.array([((scores[test] >= t) == same[test]).mean() for t in near])
        low.append(rates[right == right.max()].min())
        high.append(rates[right == right.max()].max())
    return per_fold, thresholds, np.mean(low), np.mean(high)


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_search_over_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.5
    scores = np.round(rng.normal(0.7 * same, 0.5), 1 + seed % 3)  # with ties
    folds = rng.permutation(60) % (2 + seed % 4)
    got = kfold_accuracy(scores, same, folds)
    per_fold, thresholds, low, high = by_definition(scores, same, folds)
    np.testing.assert_allclose(got.per_fold, per_fold, atol=1e-15)
    np.testing.assert_allclose(got.thresholds, thresholds, atol=1e-15)
    assert got.mean == pytest.approx(np.mean(per_fold), abs=1e-15)
    assert got.std == pytest.approx(np.std(per_fold), abs=1e-15)
    assert got.sem == pytest.approx(np.std(per_fold, ddof=1) / np.sqrt(len(per_fold)), abs=1e-15)
    assert (got.mean_low, got.mean_high) == pytest.approx((low, high), abs=1e-15)
    assert got.mean_low <= got.mean <= got.mean_high


def test_worked_out_by_hand():
    # the other fold's best threshold: fold 0 judged at (.2 + .6) / 2, fold 1 at (.3 + .5) / 2
    scores = np.array([0.5, 0.3, 0.6, 0.2])
    got = kfold_accuracy(scores, np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(got.thresholds, [0.4, 0.4])
    assert (got.mean, got.std, got.sem) == (1, 0, 0)
    # any threshold between .2 and .6 is as good for fold 0: .55 would reject its genuine pair
    assert (got.mean_low, got.mean_high) == (0.75, 1)


def test_of_equally_good_thresholds_the_lowest():
    # on fold 1 (.1 -, .2 +, .3 -, .4 +) both .15 and .35 leave one pair wrong
    scores, same = np.array([0.25, 0.0, 0.1, 0.2, 0.3, 0.4]), np.array([1, 0, 0, 1, 0, 1])
    got = kfold_accuracy(scores, same, np.array([0, 0, 1, 1, 1, 1]))
    assert got.thresholds[0] == pytest.approx(0.15)


def test_a_middle_that_rounds_to_the_lower_score_does_not_accept_it():
    low = 1.0
    high = np.nextafter(low, 2)
    scores = np.array([low, high, low, high])
    assert kfold_accuracy(scores, np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])).mean == 1


def test_equal_scores_accept_all():
    got = kfold_accuracy(np.zeros(4), np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1]))
    assert got.thresholds.tolist() == [-np.inf, -np.inf]
    assert got.mean == 0.5


def test_pairs_of_one_kind_elsewhere_reject_or_accept_all():
    got = kfold_accuracy(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1]), [0, 0, 1, 1])
    assert got.thresholds.tolist() == [-np.inf, np.inf]
    assert got.mean == 0


@pytest.mark.parametrize(
    ("scores", "same", "folds", "message"),
    [
        ([0.1, np.nan], [0, 1], [0, 1], "1 scores are not a number"),
        ([0.1, 0.2], [0], [0, 1], "2 scores, 1 answers, 2 folds"),
        ([0.1, 0.2], [0, 1], [0, 0], "at least two folds"),
        ([], [], [], "at least two folds"),
    ],
)
def test_refusals(scores, same, folds, message):
    with pytest.raises(ProtocolError, match=message):
        kfold_accuracy(np.array(scores), np.array(same), np.array(folds))


def test_contiguous_folds_are_those_of_scikit_learn():
    from sklearn.model_selection import KFold

    for pairs, folds in ((6000, 10), (23, 4), (7, 7)):
        expected = np.empty(pairs, int)
        for fold, (_, test) in enumerate(KFold(folds).split(np.arange(pairs))):
            expected[test] = fold
        np.testing.assert_array_equal(contiguous_folds(pairs, folds), expected)
    with pytest.raises(ProtocolError, match="2 to 5 are possible"):
        contiguous_folds(5, 10)
