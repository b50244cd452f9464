"""The coverage simulation's parts against other ways of computing them, and a tiny run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.measures.resampling import resample
from benchmarks.protocols import Judged, Settings, judge
from datasets.splits import PART_CODES
from tests.simulations.coverage import Design, Row, _over_pairs, main, simulate, wilson
from tests.simulations.population import Population, rates
from tests.simulations.weighted import weighted_rates

POPULATION = Population()


def pairs_of(
    embeddings: np.ndarray, label: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, same class, weight of every pair, by loops."""
    rows = []
    for i in range(len(label)):
        for j in range(i):
            same = label[i] == label[j]
            factor = weight[label[i]] if same else weight[label[i]] * weight[label[j]]
            rows.append((embeddings[i] @ embeddings[j], same, factor))
    score, same, factor = np.array(rows).T
    return score, same.astype(bool), factor


def test_weighted_rates_against_all_pairs() -> None:
    rng = np.random.default_rng(0)
    classes, images = 30, 4
    embeddings = POPULATION.study(rng, classes, images, np.array([[1.0]]))[0, 0]
    weights = rng.multinomial(classes, np.full(classes, 1 / classes), size=3)
    found = weighted_rates(embeddings, classes, np.concatenate([np.ones((1, classes)), weights]))
    label = np.repeat(np.arange(classes), images)
    for row, weight in enumerate([np.ones(classes), *weights]):
        score, same, factor = pairs_of(embeddings, label, weight)
        auc = roc_auc_score(same, score, sample_weight=factor)
        assert found["auc"][row] == pytest.approx(auc, abs=0.002)
        far, tar, _ = roc_curve(same, score, sample_weight=factor, drop_intermediate=False)
        assert found["eer"][row] == pytest.approx(far[np.argmax(far >= 1 - tar)], abs=0.01)
        target = tar[np.flatnonzero(far <= 0.01)[-1]]
        assert found["tar_at_far_1e-02"][row] == pytest.approx(target, abs=0.03)
        cosine = embeddings @ embeddings.T - 9 * np.eye(len(label))
        hit = label[cosine.argmax(axis=1)] == label
        recall = np.average(hit, weights=weight[label])
        assert found["recall_at_1"][row] == pytest.approx(recall)


def test_the_protocols_give_the_replicates_that_the_simulation_stands_for() -> None:
    """Coverage is shown for the simulation's own fast rates; the protocols' must behave as those do."""
    classes, images = 100, 8
    embeddings = POPULATION.study(np.random.default_rng(3), classes, images, np.array([[1.0]]))
    labels = np.repeat(np.arange(classes), images)
    run = Judged(
        embeddings[0, 0], labels, np.full(len(labels), PART_CODES["unknown_test"]), np.arange(0)
    )
    settings = Settings(fars=(1e-2, 1e-3), resamples=300)
    verdict = judge(run, ["verification", "retrieval"], settings, sides=["test"])
    drawn = resample(labels, settings.resamples)
    weights = np.concatenate([drawn.counts, 1 - np.eye(classes, dtype=int)])
    found = weighted_rates(embeddings[0, 0], classes, weights)
    for metric, values in found.items():
        name = ("retrieval/" if metric == "recall_at_1" else "verification/") + metric
        replicates, left_out = verdict.replicates[name], verdict.left_out[name]
        # The simulation joins the points of a coarser ROC by straight lines.
        assert np.corrcoef(replicates, values[:300])[0, 1] > 0.97, metric
        assert replicates.std() == pytest.approx(values[:300].std(), rel=0.06), metric
        assert left_out.std() == pytest.approx(values[300:].std(), rel=0.15), metric


def test_rates_of_normal_scores() -> None:
    rng = np.random.default_rng(0)
    found = rates(np.sort(rng.normal(3, 1, 400_000)), np.sort(rng.normal(0, 1, 400_000)))
    assert found["eer"] == pytest.approx(stats.norm.cdf(-1.5), abs=1e-3)
    assert found["auc"] == pytest.approx(stats.norm.cdf(3 / np.sqrt(2)), abs=1e-3)
    for target in (1e-2, 1e-3):
        expected = stats.norm.cdf(3 + stats.norm.ppf(target))
        assert found[f"tar_at_far_{target:.0e}"] == pytest.approx(expected, abs=0.01)


def test_a_population_has_the_rates_that_large_studies_show() -> None:
    rng = np.random.default_rng(1)
    truth = POPULATION.truth(0, 1.0, 50_000)
    shown = [
        weighted_rates(
            POPULATION.study(rng, 200, 4, np.array([[1.0]]))[0, 0], 200, np.ones((1, 200))
        )
        for _ in range(12)
    ]
    for metric, expected in truth.items():
        values = np.array([each[metric][0] for each in shown])
        assert abs(values.mean() - expected) < 4 * values.std(ddof=1) / np.sqrt(12)


def test_intervals_over_pairs_by_hand() -> None:
    design = Design(50, 5)
    low, high = _over_pairs("eer", 0.1, design)  # 500 genuine pairs
    assert (high - low) / 2 == pytest.approx(1.959964 * np.sqrt(0.09 / 500))
    assert (low + high) / 2 == pytest.approx(0.1)
    low, high = _over_pairs("auc", 0.5, design)
    # For equal distributions Hanley and McNeil give Wilcoxon's variance, (m + n + 1) / 12mn.
    m, n = 500, 250 * 245 // 2
    assert (high - low) / 2 == pytest.approx(1.959964 * np.sqrt((m + n + 1) / (12 * m * n)))


def test_wilson_agrees_with_scipy() -> None:
    found = stats.binomtest(45, 50).proportion_ci(method="wilson")
    assert wilson(45, 50) == pytest.approx((found.low, found.high))


def test_a_tiny_run_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figure = tmp_path / "coverage.csv", tmp_path / "coverage.png"
    given = ["--quick", "--studies", "4", "--out", str(out), "--figure", str(figure)]
    assert main(given) == 0
    rows = list(csv.DictReader(out.open()))
    assert {row["method"] for row in rows} == {"report", "percentile", "pairs", "seeds alone"}
    assert {row["identities"] for row in rows} == {"the same", "own"}
    assert all(0 <= float(row["low"]) <= float(row["coverage"]) <= 1 for row in rows)
    assert all(float(row["width"]) > 0 for row in rows)
    assert "no verdict" not in capsys.readouterr().err
    assert figure.stat().st_size > 10_000
    assert figure.with_suffix(".svg").exists()


def test_a_study_is_the_same_alone_and_among_workers() -> None:
    designs = (Design(20, 3),)
    one, two = (next(simulate(designs, 4, 50_000, POPULATION, workers)) for workers in (1, 2))
    assert one == two


def row_of(hits: int, trials: int, method: str = "report") -> Row:
    low, high = wilson(hits, trials)
    settings = (50, 5, 1, "the same", "eer", "one loss", method, 0.07)
    return Row(*settings, trials, hits / trials, low, high, 0.04)


@pytest.mark.parametrize(
    ("row", "inside", "status"),
    [
        (row_of(475, 500), True, 0),
        (row_of(462, 500), False, 0),  # 92.4 %: no more than the simulation's own error
        (row_of(440, 500), False, 1),
        (row_of(499, 500), False, 1),
        (row_of(300, 500, "pairs"), False, 0),  # the warning example may fail
    ],
)
def test_status(monkeypatch: pytest.MonkeyPatch, row: Row, inside: bool, status: int) -> None:
    good = row_of(475, 500)
    monkeypatch.setattr("tests.simulations.coverage.simulate", lambda *_: iter([[row, good]]))
    assert row.inside == inside
    assert main([]) == status
