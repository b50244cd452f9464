"""The rule of equal quality: it passes what is equal, and fails what differs, is missing or cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from benchmarks.speed.quality import (
    FEWEST_SEEDS,
    QualityError,
    Rule,
    half_width,
    judge,
    student_quantile,
)

EER, TOP1 = "verification/eer", "closed_set/top1"
RULES = {EER: Rule(0.003, 0.02), TOP1: Rule(0.015, 0.065)}
Metrics = dict[tuple[str, int], dict[str, float]]


def found(eer: float, top1: float, noise: float = 0.0, seeds: int = 3, draw: int = 0) -> Metrics:
    rng = np.random.default_rng(draw)
    return {
        (loss, seed): {EER: eer + noise * rng.normal(), TOP1: top1 + noise * rng.normal()}
        for loss in ("arcface", "softmax")
        for seed in range(seeds)
    }


def status(usual: Metrics, suite: Metrics) -> dict[str, str]:
    return {verdict.metric: verdict.status for verdict in judge(usual, suite, RULES)}


def test_equal_within_noise() -> None:
    usual, suite = found(0.07, 0.7, 0.002, draw=1), found(0.07, 0.7, 0.002, draw=2)
    assert status(usual, suite) == {EER: "equal", TOP1: "equal"}


def test_a_small_difference_without_noise_is_tolerated_and_a_larger_one_is_not() -> None:
    usual = found(0.07, 0.7)
    assert status(usual, found(0.0729, 0.686)) == {EER: "equal", TOP1: "equal"}
    assert status(usual, found(0.0731, 0.684)) == {EER: "differs", TOP1: "differs"}
    assert status(usual, found(0.0669, 0.716)) == {EER: "differs", TOP1: "differs"}  # better, too


def test_a_difference_beyond_the_noise_is_found_and_one_within_it_is_not() -> None:
    usual = found(0.07, 0.7, 0.0015, draw=1)
    assert status(usual, found(0.08, 0.7, 0.0015, draw=2))[EER] == "differs"
    assert status(usual, found(0.0735, 0.7, 0.004, draw=2))[EER] == "equal"


def test_noise_that_hides_everything_does_not_pass() -> None:
    usual, suite = found(0.2, 0.5, 0.1, draw=1), found(0.2, 0.5, 0.1, draw=2)
    assert status(usual, suite) == {EER: "cannot tell", TOP1: "cannot tell"}


def test_the_interval_is_students_over_the_pairs() -> None:
    usual, suite = found(0.07, 0.7, 0.002, draw=1), found(0.071, 0.7, 0.002, draw=2)
    gaps = [suite[name][EER] - usual[name][EER] for name in usual]
    expected = scipy.stats.ttest_1samp(gaps, 0).confidence_interval(0.99)
    verdict = judge(usual, suite, RULES)[0]
    assert (verdict.low, verdict.high) == pytest.approx(tuple(expected), abs=1e-8)
    assert verdict.difference == pytest.approx(np.mean(gaps))
    assert verdict.pairs == 6
    assert verdict.usual == pytest.approx(np.mean([row[EER] for row in usual.values()]))
    assert "equal" in verdict.text()


@pytest.mark.parametrize("degrees", [1, 2, 5, 11, 40])
@pytest.mark.parametrize("probability", [0.9, 0.975, 0.995])
def test_student(probability: float, degrees: int) -> None:
    expected = scipy.stats.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-6)


def test_half_width_by_hand() -> None:
    values = np.array([1.0, 2.0, 3.0])
    assert half_width(values, 0.95) == pytest.approx(4.302652730 / math.sqrt(3))


def test_what_cannot_be_compared_is_an_error() -> None:
    whole = found(0.07, 0.7)
    few = found(0.07, 0.7, seeds=FEWEST_SEEDS - 1)
    one_loss = {name: row for name, row in whole.items() if name[0] == "arcface"}
    for usual, suite, words in (
        (whole, few, "different experiments"),
        (few, few, "3 are needed"),
        (one_loss, one_loss, "1 losses"),
        ({}, {}, "0 losses"),
        (whole, {**whole, ("arcface", 0): {EER: math.nan, TOP1: 0.7}}, "verification/eer of the suite"),
        ({**whole, ("arcface", 0): {EER: 0.1}}, whole, "closed_set/top1 of the usual"),
    ):  # fmt: skip
        with pytest.raises(QualityError, match=words):
            judge(usual, suite, RULES)
