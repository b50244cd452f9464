"""The verification protocol: names, refusals, curves."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.measures.resampling import resample
from benchmarks.protocols import Judged, Settings, judge
from benchmarks.protocols.verification import far_text

FARS = (1e-1, 1e-2, 1e-3)
UNKNOWN_VALIDATION, UNKNOWN_TEST = 3, 4


def judged(embeddings, labels, part=UNKNOWN_TEST):
    part = np.broadcast_to(np.int8(part), len(labels))
    return Judged(np.asarray(embeddings), np.array(labels, dtype=int), part, np.array([0]))


def verify(run, fars=FARS, resamples=0):
    return judge(run, ["verification"], Settings(fars=fars, resamples=resamples))


@pytest.fixture(scope="module")
def planted():
    """Two-dimensional angles: 60 images of 12 classes for the test, 20 of 4 for validation."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(16), 5)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)[labels] + 0.25 * rng.standard_normal(80)
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    part = np.where(labels < 12, UNKNOWN_TEST, UNKNOWN_VALIDATION)
    return judged(embeddings, labels, part), angles


def test_test_and_validation_classes_are_judged_apart(planted):
    run, angles = planted
    outcome = verify(run)
    metrics, notes = outcome.metrics, outcome.notes
    for prefix, chosen in (("", run.labels < 12), ("validation/", run.labels >= 12)):
        labels = run.labels[chosen]
        upper = np.triu_indices(len(labels), 1)
        cosines = np.cos(angles[chosen][:, None] - angles[chosen])[upper]
        same = (labels[:, None] == labels)[upper]
        assert metrics[prefix + "verification/genuine_pairs"] == same.sum()
        assert metrics[prefix + "verification/impostor_pairs"] == (~same).sum()
        expected = roc_auc_score(same, cosines)
        assert metrics[prefix + "verification/auc"] == pytest.approx(expected, abs=1e-12)
        # TAR at FAR 0.1: the threshold lets in at most a tenth of the impostors
        threshold = min(t for t in cosines if (cosines[~same] >= t).mean() <= 0.1)
        rates = [(cosines[kind] >= threshold).mean() for kind in (same, ~same)]
        assert metrics[prefix + "verification/tar_at_far_1e-01"] == rates[0]
        assert metrics[prefix + "verification/achieved_far_1e-01"] == rates[1]
    # 1,650 and 150 impostor pairs
    assert metrics["verification/tar_at_far_1e-02"] is not None
    refused = {"verification/tar_at_far_1e-03", "verification/achieved_far_1e-03"}
    for rate in ("1e-02", "1e-03"):
        refused |= {f"validation/verification/{kind}_far_{rate}" for kind in ("tar_at", "achieved")}
    assert {name for name, value in metrics.items() if value is None} == refused == set(notes)
    assert notes["verification/tar_at_far_1e-03"] == (
        "FAR 0.001 of 1,650 impostor pairs is fewer than 10 false accepts"
    )


def test_curves_are_the_roc_and_the_histograms(planted):
    run, _ = planted
    outcome = verify(run)
    metrics, curves = outcome.metrics, outcome.curves
    for side, genuine, impostor in (("test", 120, 1650), ("validation", 40, 150)):
        far, tar = curves[f"{side}/verification/far"], curves[f"{side}/verification/tar"]
        assert len(far) == len(tar) <= 400
        assert (far[0], tar[0], far[-1], tar[-1]) == (0, 0, 1, 1)
        assert curves[f"{side}/verification/genuine_histogram"].sum() == genuine
        assert curves[f"{side}/verification/impostor_histogram"].sum() == impostor
        np.testing.assert_allclose(
            curves[f"{side}/verification/score_edges"], np.linspace(-1, 1, 201)
        )
    # a thinned curve has nearly the area of the full one
    area = np.trapezoid(curves["test/verification/tar"], curves["test/verification/far"])
    assert area == pytest.approx(metrics["verification/auc"], abs=0.01)


def test_the_histogram_puts_scores_into_their_bins():
    # cosines: 1 (genuine), 0 and 0 (impostor)
    curves = verify(judged(np.eye(2)[[0, 0, 1]], [1, 1, 2])).curves
    assert np.flatnonzero(curves["test/verification/genuine_histogram"]).tolist() == [199]
    assert curves["test/verification/impostor_histogram"][100] == 2
    assert np.flatnonzero(curves["test/verification/genuine_angles"]).tolist() == [0]
    assert curves["test/verification/impostor_angles"][90] == 2


def test_collapsed_embeddings_are_judged_as_guessing():
    outcome = verify(judged(np.full((60, 5), 0.3), np.arange(60) % 6), resamples=20)
    metrics = outcome.metrics
    assert metrics["verification/auc"] == metrics["verification/eer"] == 0.5
    assert metrics["verification/tar_at_far_1e-01"] == 0.0
    assert metrics["verification/achieved_far_1e-01"] == 0.0
    assert metrics["verification/min_dcf"] == 1.0
    assert (outcome.replicates["verification/eer"] == 0.5).all()
    assert (outcome.replicates["verification/tar_at_far_1e-01"] == 0.0).all()


@pytest.mark.parametrize(
    ("embeddings", "labels", "reason"),
    [
        (np.ones((4, 2)), [1, 1, 1, 1], "there are no impostor pairs"),
        (np.ones((3, 2)), [1, 2, 3], "there are no genuine pairs"),
        (np.ones((0, 2)), [], "the split has no such images"),
        ([[1, 0], [np.nan, 1], [0, 1]], [1, 1, 2], "1 of 3 embeddings are not finite"),
    ],
)
def test_undefined_numbers_have_a_reason(embeddings, labels, reason):
    outcome = verify(judged(embeddings, labels), (0.1,), resamples=10)
    metrics, notes, curves = outcome.metrics, outcome.notes, outcome.curves
    names = ["auc", "eer", "min_dcf", "tar_at_far_1e-01", "achieved_far_1e-01"]
    assert notes == {f"verification/{name}": reason for name in names}
    assert all(metrics[name] is None for name in notes)
    assert metrics["verification/genuine_pairs"] is not None
    assert curves == outcome.replicates == outcome.left_out == {}


@pytest.mark.parametrize(
    ("far", "text"),
    [(1e-1, "1e-01"), (1e-4, "1e-04"), (0.025, "2.5e-02"), (1.0, "1e+00"), (0.0, "0e+00")],
)
def test_rates_in_names(far, text):
    assert far_text(far) == text


def test_replicates_stand_beside_the_metrics_they_belong_to(planted):
    run, _ = planted
    outcome = verify(run, resamples=50)
    names = {
        f"verification/{name}"
        for name in ("auc", "eer", "min_dcf", "tar_at_far_1e-01", "tar_at_far_1e-02")
    }
    assert set(outcome.replicates) == set(outcome.left_out) == names
    for name in names:
        assert outcome.replicates[name].shape == (50,)
        assert outcome.left_out[name].shape == (12,)
    # Class by class: the AUC without class 3 is that of the other classes.
    chosen = run.labels < 12
    drawn = resample(run.labels[chosen], 50)
    unit = drawn.units[run.labels[chosen] == 3][0]
    others = chosen & (run.labels != 3)
    alone = verify(judged(run.embeddings[others], run.labels[others]))
    for name in ("auc", "eer", "min_dcf", "tar_at_far_1e-01"):
        value = outcome.left_out[f"verification/{name}"][unit]
        assert value == pytest.approx(alone.metrics[f"verification/{name}"], abs=0.02)
    assert outcome.left_out["verification/auc"][unit] == pytest.approx(
        alone.metrics["verification/auc"], abs=1e-3
    )


def test_the_curve_has_the_replicates_of_the_metrics(planted):
    run, _ = planted
    outcome = verify(run, resamples=50)
    curves = {
        key.removeprefix("test/verification/"): item
        for key, item in outcome.curves.items()
        if key.startswith("test/")
    }
    far = curves["replicate_far"]
    assert far[0] * outcome.metrics["verification/impostor_pairs"] >= 10
    assert curves["replicate_tar"].shape == (50, len(far))
    assert curves["left_out_tar"].shape == (12, len(far))
    assert curves["replicate_tar"].dtype == np.float32
    for text in ("1e-01", "1e-02"):
        (column,) = np.flatnonzero(far == float(text))
        name = f"verification/tar_at_far_{text}"
        assert curves["grid_tar"][column] == outcome.metrics[name]
        for kind, store in (("replicate", outcome.replicates), ("left_out", outcome.left_out)):
            found = curves[f"{kind}_tar"][:, column]
            np.testing.assert_allclose(found, store[name], rtol=1e-6)
    assert (curves["replicate_tar"][:, -1] == 1).all()
    assert "validation/verification/far" in outcome.curves
    assert "validation/verification/replicate_far" not in outcome.curves
    assert "test/verification/replicate_far" not in verify(run, resamples=0).curves
