"""Score-level verification metrics against independent vectors, scikit-learn and counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.measures.detection_cost import Costs, min_dcf
from benchmarks.measures.roc import (
    auc,
    eer,
    eer_midpoint,
    eer_threshold,
    roc,
    tar_at_far,
    thin,
)
from benchmarks.protocols import ProtocolError


@pytest.mark.parametrize("digits", [1, 2, 7])
def test_agrees_with_scikit_learn(digits):
    rng = np.random.default_rng(digits)
    genuine = np.round(rng.normal(0.5, 0.3, 700), digits)
    impostor = np.round(rng.normal(0.0, 0.3, 5000), digits)
    same = np.repeat([1, 0], [700, 5000])
    scores = np.concatenate([genuine, impostor])
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    curve = roc(genuine, impostor)
    np.testing.assert_allclose(curve.far, far, rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.tar, tar, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert auc(curve) == pytest.approx(roc_auc_score(same, scores), abs=1e-12)


def test_a_curve_worked_out_by_hand():
    # threshold  inf  .9  .8  .5  .2        genuine .9 .8 .5 .5, impostor .8 .5 .2 .2
    curve = roc(np.array([0.9, 0.5, 0.8, 0.5]), np.array([0.2, 0.8, 0.5, 0.2]))
    assert curve.genuine.tolist() == [0, 1, 2, 4, 4]
    assert curve.impostor.tolist() == [0, 0, 1, 2, 4]
    # wins: .9 beats 4, .8 beats 3 and ties 1, each .5 beats 2 and ties 1
    assert auc(curve) == (4 + 3.5 + 2.5 + 2.5) / 16
    # from (FAR .25, FRR .5) to (.5, 0): .25 + .25 t = .5 - .5 t at t = 1/3
    assert eer(curve) == pytest.approx(1 / 3, abs=1e-15)
    assert tar_at_far(curve, 0.3).threshold == 0.8
    assert (tar_at_far(curve, 0.3).tar, tar_at_far(curve, 0.3).far) == (0.5, 0.25)
    assert tar_at_far(curve, 0.3).impostors == 1
    assert curve.frr.tolist() == [1, 0.75, 0.5, 0, 0]
    assert eer_threshold(curve) == (0.8, 0.5)
    assert eer_midpoint(curve) == 0.375  # at 0.8, where |FAR - FRR| is .25, not .5
    # P .5, both costs 1: FAR + FRR at its least, .5 at 0.5
    assert min_dcf(curve, Costs(prior=0.5)) == 0.5
    assert min_dcf(curve) == pytest.approx(0.75)  # one false accept of 4 costs 24.75


def test_a_target_that_is_exactly_a_count_is_reached():
    # 29 / 100 <= 0.29 although 0.29 * 100 is 28.999999999999996 in floating point
    curve = roc(np.array([70.5]), np.arange(100.0))
    assert tar_at_far(curve, 0.29).far == 0.29


def test_no_threshold_below_the_target_accepts_nobody():
    point = tar_at_far(roc(np.ones(3), np.ones(5)), 0.1)
    assert (point.threshold, point.tar, point.far) == (np.inf, 0.0, 0.0)


@pytest.mark.parametrize(
    ("genuine", "impostor", "message"),
    [
        ([], [0.1], "no genuine"),
        ([0.1], [], "no impostor"),
        ([0.1, np.nan], [0.2], "1 scores are not a number"),
    ],
)
def test_scores_without_a_curve_are_refused(genuine, impostor, message):
    with pytest.raises(ProtocolError, match=message):
        roc(np.array(genuine), np.array(impostor))


def test_a_target_that_is_no_rate_is_refused():
    with pytest.raises(ProtocolError, match="must be in"):
        tar_at_far(roc(np.ones(1), np.ones(1)), 10.0)


LEVELS = st.lists(st.integers(-20, 20), min_size=1, max_size=60)


@settings(max_examples=80, deadline=None)
@given(genuine=LEVELS, impostor=LEVELS, seed=st.integers(0, 2**16))
def test_only_the_order_of_the_scores_counts(genuine, impostor, seed):
    def numbers(first, second):
        curve = roc(first, second)
        points = [tar_at_far(curve, far) for far in (0.01, 0.1, 0.5)]
        return auc(curve), eer(curve), [(point.tar, point.far) for point in points]

    first, second = np.array(genuine, float), np.array(impostor, float)
    rng = np.random.default_rng(seed)
    plain = numbers(first, second)
    assert numbers(rng.permutation(first), rng.permutation(second)) == plain
    assert numbers(np.exp(first / 7), np.exp(second / 7)) == plain
    assert numbers(3 * first - 8, 3 * second - 8) == plain


@settings(max_examples=80, deadline=None)
@given(genuine=LEVELS, impostor=LEVELS)
def test_definitions_by_counting(genuine, impostor):
    first, second = np.array(genuine, float), np.array(impostor, float)
    curve = roc(first, second)
    wins = (first[:, None] > second).mean() + 0.5 * (first[:, None] == second).mean()
    assert auc(curve) == pytest.approx(wins, abs=1e-12)
    # swapping the roles and negating the scores mirrors the curve: FAR and FRR change places
    assert eer(curve) == pytest.approx(eer(roc(-second, -first)), abs=1e-12)
    for target in (0.0, 0.05, 0.3, 1.0):
        point = tar_at_far(curve, target)
        allowed = [t for t in [*first, *second] if (second >= t).mean() <= target]
        assert point.threshold == min(allowed, default=np.inf)
        assert point.far == (second >= point.threshold).mean()
        assert point.tar == (first >= point.threshold).mean()


def test_a_thinned_curve_keeps_points_of_the_curve_and_its_ends():
    rng = np.random.default_rng(0)
    curve = roc(rng.normal(1, 1, 500), rng.normal(0, 1, 20_000))
    far, tar = thin(curve, 100)
    assert len(far) <= 100
    assert (far[0], far[-1], tar[-1]) == (0.0, 1.0, 1.0)
    full = set(zip(curve.far, curve.tar, strict=True))
    assert set(zip(far, tar, strict=True)) <= full
    for target in (1e-3, 1e-2, 1e-1):  # no gap wider than a step of the grid, a factor of 1.11
        assert far[np.searchsorted(far, target, side="right") - 1] > target / 1.25


def test_a_short_curve_is_drawn_whole():
    curve = roc(np.array([0.9, 0.1]), np.array([0.5, 0.3]))
    far, tar = thin(curve)
    assert far.tolist() == [0, 0, 0.5, 1, 1]
    assert tar.tolist() == [0, 0.5, 0.5, 0.5, 1]


def test_a_threshold_with_equal_rates_is_the_threshold_of_the_eer():
    curve = roc(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    assert (eer(curve), eer_midpoint(curve), eer_threshold(curve)) == (0.5, 0.5, (2.0, 2.0))
    tied = roc(np.ones(2), np.ones(3))
    assert (eer(tied), eer_midpoint(tied), eer_threshold(tied)) == (0.5, 0.5, (np.inf, 1.0))
    thirds = roc(np.array([3.0, 2.0, 0.5]), np.array([2.5, 1.0, 0.0]))
    assert thirds.far[3] < 1 - thirds.tar[3]  # 1/3 and 1 - 2/3, in floating point
    assert eer(thirds) == pytest.approx(1 / 3, abs=1e-15)
    assert eer_threshold(thirds) == (2.0, 2.0)


@settings(max_examples=60, deadline=None)
@given(genuine=LEVELS, impostor=LEVELS)
def test_least_cost_by_trying_every_threshold(genuine, impostor):
    first, second = np.array(genuine, float), np.array(impostor, float)
    costs = Costs(prior=0.1, miss=10.0, false_accept=2.0)
    tried = [
        1.0 * (first < t).mean() + 1.8 * (second >= t).mean() for t in [np.inf, *first, *second]
    ]
    assert min_dcf(roc(first, second), costs) == pytest.approx(min(tried), abs=1e-12)
    assert min_dcf(roc(first, second), costs) <= 1.0


@pytest.mark.parametrize("wrong", [{"prior": 0.0}, {"prior": 1.0}, {"miss": 0.0}])
def test_impossible_costs_are_refused(wrong):
    with pytest.raises(ProtocolError, match=r"prior|costs"):
        Costs(**wrong)
