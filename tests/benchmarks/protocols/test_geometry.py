"""Geometry of embeddings against loops by the definition, SciPy, and cases that can be worked out by hand."""

import numpy as np
import pytest

from benchmarks.measures import spread
from benchmarks.measures.angles import angles, angular_fisher, class_angles, nearest_angles
from benchmarks.measures.resampling import resample
from benchmarks.measures.spread import (
    alignment,
    effective_rank,
    singular_values,
    spectral_decay,
    uniformity,
)
from benchmarks.protocols import Judged, ProtocolError, Settings, judge

TRAIN, UNKNOWN_VALIDATION, UNKNOWN_TEST = 0, 3, 4
WEIGHTS = ("w_ec", "w_inter")
TRAINING = ("train_intra", "train_inter")
IMAGES = (
    *("intra", "inter", "angular_fisher_score", "norm_mean", "norm_sd"),
    *("norm_q05", "norm_q50", "norm_q95"),
    *("spectral_decay", "effective_rank", "alignment", "uniformity"),
)


def clusters(images=90, classes=6, dimensions=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    rows = rng.standard_normal((classes, dimensions))[labels]
    return rows + rng.standard_normal((images, dimensions)), labels


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def degrees(a, b):
    return np.degrees(np.arccos(np.clip(unit(a) @ unit(b), -1, 1)))


def test_class_angles_by_the_definition():
    rows, labels = clusters()
    labels = labels * 5 + 2
    found = class_angles(rows, labels)
    centres = {c: unit(rows[labels == c]).mean(0) for c in np.unique(labels)}
    intra = [degrees(row, centres[c]) for row, c in zip(rows, labels, strict=True)]
    inter = [min(degrees(a, b) for d, b in centres.items() if d != c) for c, a in centres.items()]
    np.testing.assert_allclose(found.intra, intra, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.inter, inter, rtol=0, atol=1e-10)
    assert found.classes.tolist() == list(centres)
    np.testing.assert_allclose(found.centres, unit(np.stack(list(centres.values()))), atol=1e-14)


def test_angles_are_exact_where_an_arc_cosine_is_not():
    # 1e-9 and 180 - 1e-9 degrees: the cosine is ±1 in float64
    small = np.radians(1e-9)
    left = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    right = np.array([[1.0, small], [-2.0, small * 2], [1.0, 1.0], [0.0, 1e-200]])
    found = angles(left, right)
    assert found[0] == pytest.approx(1e-9, rel=1e-6)
    assert 180 - found[1] == pytest.approx(1e-9, rel=1e-3)
    assert found[2:].tolist() == pytest.approx([90, 90])


def test_nearest_angles_of_duplicates_zeros_and_singles():
    rows = np.array([[1.0, 0], [0, 2], [2, 0], [5, 0], [-1, -1], [0, 0]])
    np.testing.assert_allclose(nearest_angles(rows), [0, 90, 0, 0, 90, 90], atol=1e-6)
    assert np.isnan(nearest_angles(rows[:1])).all()
    assert nearest_angles(rows[[5, 5]]).tolist() == pytest.approx([90, 90])


def test_fisher_score_by_the_definition():
    rows, labels = clusters(seed=1)
    means = {c: rows[labels == c].mean(0) for c in range(6)}
    within = sum(1 - unit(x) @ unit(means[c]) for x, c in zip(rows, labels, strict=True))
    between = sum(1 - unit(means[c]) @ unit(rows.mean(0)) for c in labels)
    found = angular_fisher(rows, labels)
    assert found.within == pytest.approx(within, rel=1e-12)
    assert found.between == pytest.approx(between, rel=1e-12)
    assert found.score == pytest.approx(within / between, rel=1e-12)
    # lengths matter for the means, so that they matter for the score
    longer = rows * np.linspace(1, 9, len(rows))[:, None]
    assert angular_fisher(longer, labels).score != pytest.approx(found.score, rel=1e-3)
    assert np.isnan(angular_fisher(np.ones((4, 2)), np.array([0, 0, 1, 1])).score)


def test_bad_arrays_are_named():
    for function in (class_angles, angular_fisher):
        with pytest.raises(ProtocolError, match="1 labels for 2 embeddings"):
            function(np.ones((2, 2)), np.zeros(1, int))
        with pytest.raises(ProtocolError, match="0 labels for 0 embeddings"):
            function(np.ones((0, 2)), np.zeros(0, int))
        with pytest.raises(ProtocolError, match="not finite"):
            function(np.full((2, 2), np.nan), np.zeros(2, int))
    with pytest.raises(ProtocolError, match="not finite, or there are none"):
        singular_values(np.full((2, 2), np.inf))
    with pytest.raises(ProtocolError, match="no singular value above 0"):
        effective_rank(np.zeros(3))
    with pytest.raises(ProtocolError, match="two embeddings"):
        uniformity(np.ones((1, 2)))


@pytest.mark.parametrize("shape", [(400, 7), (5, 9), (1, 3)])
def test_singular_values_agree_with_one_decomposition(shape, monkeypatch):
    rows = np.random.default_rng(0).standard_normal(shape)
    expected = np.linalg.svd(unit(rows), compute_uv=False)
    for size in (256, 3):
        monkeypatch.setattr(spread, "BLOCK_ROWS", size)
        np.testing.assert_allclose(singular_values(rows), expected, rtol=1e-12)


def test_spectrum_against_scipy_and_by_hand():
    stats = pytest.importorskip("scipy.stats")
    values = singular_values(clusters(dimensions=8)[0])
    share = values / values.sum()
    assert spectral_decay(values) == pytest.approx(
        stats.entropy(np.full(8, 1 / 8), share), rel=1e-12
    )
    assert effective_rank(values) == pytest.approx(np.exp(stats.entropy(share)), rel=1e-12)
    assert spectral_decay(np.ones(4)) == 0
    assert effective_rank(np.ones(4)) == pytest.approx(4)
    assert spectral_decay(np.array([1.0, 0.0])) == np.inf
    assert effective_rank(np.array([1.0, 0.0])) == 1
    # a third direction that is a sum of the others: its singular value is rounding error, and counts as 0
    rows = np.random.default_rng(0).standard_normal((50, 2)) @ np.array([[1, 0, 1], [0, 1, 1.0]])
    assert (singular_values(rows) > 0).tolist() == [True, True, False]


def test_alignment_and_uniformity_by_their_pairs(monkeypatch):
    rows, labels = clusters(70)
    rows[3] = 0  # stands at distance 1 from everything
    points = np.where(rows.any(1, keepdims=True), rows, 1)
    points = unit(points) * rows.any(1, keepdims=True)
    genuine, every = [[] for _ in range(6)], []
    for i in range(70):
        for j in range(i):
            square = ((points[i] - points[j]) ** 2).sum()
            every.append(np.exp(-2 * square))
            if labels[i] == labels[j]:
                genuine[labels[i]].append(square)
    sums, pairs = alignment(rows, labels)
    assert pairs.tolist() == [len(found) for found in genuine]
    np.testing.assert_allclose(sums, [sum(found) for found in genuine], rtol=1e-12)
    for block in ((256, 4096), (16, 16), (16, 48)):
        monkeypatch.setattr(spread, "BLOCK_ROWS", block[0])
        monkeypatch.setattr(spread, "BLOCK_COLUMNS", block[1])
        assert uniformity(rows) == pytest.approx(np.log(np.mean(every)), rel=1e-12)
    assert uniformity(np.array([[1.0, 0], [2, 0]])) == pytest.approx(0)
    assert uniformity(np.array([[1.0, 0], [-2, 0]])) == pytest.approx(-8)
    collapsed = alignment(np.full((9, 3), 0.7), np.zeros(9, int))[0]
    assert collapsed[0] == pytest.approx(0, abs=1e-28)


def run(seed=0, **changes):
    rows, labels = clusters(160, 8, 5, seed)
    rng = np.random.default_rng(seed)
    part = np.where(labels < 4, TRAIN, UNKNOWN_TEST)
    part[(labels > 5)] = UNKNOWN_VALIDATION
    arrays = {
        "embeddings": rows,
        "labels": labels,
        "part": part.astype(np.int8),
        "known_classes": np.array([2, 0, 3, 1]),
        "class_weights": rng.standard_normal((4, 5)),
        "angle_epochs": np.array([1, 5]),
        "target_angles": rng.integers(0, 9, (2, 180)),
        "other_angles": rng.integers(0, 9, (2, 180)),
    }
    return Judged(**(arrays | changes))


def verdict(judged, resamples=0):
    return judge(judged, ["geometry"], Settings(resamples=resamples))


def test_the_numbers_of_a_run():
    judged = run()
    outcome = verdict(judged)
    assert outcome.notes == {}
    names = IMAGES + TRAINING + WEIGHTS
    assert set(outcome.metrics) == {
        f"{side}geometry/{name}" for name in names for side in ("", "validation/")
    }
    for side, code in (("", UNKNOWN_TEST), ("validation/", UNKNOWN_VALIDATION)):
        rows = judged.part == code
        found = class_angles(judged.embeddings[rows], judged.labels[rows])
        norms = np.linalg.norm(judged.embeddings[rows], axis=1)
        sums, pairs = alignment(judged.embeddings[rows], judged.labels[rows])
        spectrum = singular_values(judged.embeddings[rows])
        expected = {
            "intra": found.intra.mean(),
            "inter": found.inter.mean(),
            "norm_mean": norms.mean(),
            "norm_sd": norms.std(),
            "norm_q05": np.quantile(norms, 0.05),
            "norm_q50": np.median(norms),
            "norm_q95": np.quantile(norms, 0.95),
            "alignment": sums.sum() / pairs.sum(),
            "uniformity": uniformity(judged.embeddings[rows]),
            "spectral_decay": spectral_decay(spectrum),
            "effective_rank": effective_rank(spectrum),
        }
        for name, value in expected.items():
            assert outcome.metrics[f"{side}geometry/{name}"] == pytest.approx(value), name
    # row j of the weights is of known_classes[j]
    train = judged.part == TRAIN
    found = class_angles(judged.embeddings[train], judged.labels[train])
    own = np.argsort(judged.known_classes)
    w_ec = angles(judged.class_weights[own], found.centres).mean()
    assert outcome.metrics["geometry/w_ec"] == pytest.approx(w_ec)
    assert outcome.metrics["geometry/train_intra"] == pytest.approx(found.intra.mean())
    assert outcome.metrics["geometry/train_inter"] == pytest.approx(found.inter.mean())
    for name in ("angle_epochs", "target_angles", "other_angles"):
        np.testing.assert_array_equal(
            outcome.curves[f"test/geometry/{name}"], getattr(judged, name)
        )
    assert (
        outcome.curves["test/geometry/norm_histogram"].sum() == (judged.part == UNKNOWN_TEST).sum()
    )
    assert outcome.curves["test/geometry/singular_values"].sum() == pytest.approx(1)


def test_replicates_are_the_numbers_of_repeated_identities():
    judged = run(labels=np.arange(160) % 20 + 4, part=np.full(160, UNKNOWN_TEST, np.int8))
    outcome = verdict(judged, 30)
    assert (
        set(outcome.replicates) == set(outcome.left_out) == {"geometry/intra", "geometry/alignment"}
    )
    drawn = resample(judged.labels, 30)
    for r in (0, 13):
        copies = [
            (rows := np.flatnonzero(drawn.units == unit_), np.full(len(rows), 100 * unit_ + copy))
            for unit_, count in enumerate(drawn.counts[r])
            for copy in range(count)
        ]
        rows, labels = (np.concatenate(each) for each in zip(*copies, strict=True))
        again = verdict(
            run(
                embeddings=judged.embeddings[rows],
                labels=labels,
                part=np.full(len(rows), UNKNOWN_TEST, np.int8),
            )
        ).metrics
        for name, values in outcome.replicates.items():
            assert values[r] == pytest.approx(again[name], rel=1e-10)
    rest = drawn.units != 7
    sums, pairs = alignment(judged.embeddings[rest], judged.labels[rest])
    assert outcome.left_out["geometry/alignment"][7] == pytest.approx(sums.sum() / pairs.sum())
    intra = class_angles(judged.embeddings[rest], judged.labels[rest]).intra.mean()
    assert outcome.left_out["geometry/intra"][7] == pytest.approx(intra)


def refused(outcome):
    return {key.removeprefix("geometry/") for key in outcome.notes if "validation" not in key}


def test_a_loss_without_class_weights():
    outcome = verdict(
        run(class_weights=None, angle_epochs=None, target_angles=None, other_angles=None)
    )
    assert refused(outcome) == set(WEIGHTS)
    assert outcome.notes["geometry/w_ec"] == "the loss has no class weights"
    assert not any("angle" in name for name in outcome.curves)
    outcome = verdict(run(class_weights=np.ones((4, 9))))
    assert refused(outcome) == set(WEIGHTS)
    assert "(4, 9)" in outcome.notes["geometry/w_inter"]
    outcome = verdict(run(class_weights=np.full((4, 5), np.nan)))
    assert outcome.notes["geometry/w_inter"] == "the class weights are not finite"


def test_embeddings_that_are_not_finite():
    judged = run()
    for code, names in ((UNKNOWN_TEST, set(IMAGES)), (TRAIN, {*TRAINING, "w_ec"})):
        embeddings = judged.embeddings.copy()
        embeddings[np.flatnonzero(judged.part == code)[0]] = np.inf
        outcome = verdict(run(embeddings=embeddings), 10)
        assert refused(outcome) == names
        assert all("1 of" in outcome.notes[f"geometry/{name}"] for name in names)
        assert all(name.removeprefix("geometry/") not in names for name in outcome.replicates)


@pytest.mark.parametrize(
    ("rows", "labels", "names"),
    [
        ([], [], set(IMAGES)),
        (
            [[1.0, 0]],
            [0],
            {"inter", "angular_fisher_score", "spectral_decay", "alignment", "uniformity"},
        ),
        ([[1.0, 0], [2, 0]], [0, 1], {"angular_fisher_score", "spectral_decay", "alignment"}),
        ([[1.0, 0], [0, 2]], [4, 4], {"inter", "angular_fisher_score"}),
        ([[0.0, 0], [0, 0]], [0, 1], {"spectral_decay", "effective_rank", "alignment"}),
    ],
)
def test_what_small_and_collapsed_sets_do_not_define(rows, labels, names):
    rows = np.array(rows, dtype=float).reshape(-1, 2)
    part = np.full(len(rows), UNKNOWN_TEST, dtype=np.int8)
    judged = Judged(rows, np.array(labels, dtype=int), part, np.array([9]))
    outcome = verdict(judged, 10)
    assert refused(outcome) == names | set(TRAINING) | set(WEIGHTS)
    assert set(outcome.metrics) == {f"geometry/{name}" for name in IMAGES + TRAINING + WEIGHTS}
    assert all(v is None or np.isfinite(v) for v in outcome.metrics.values())
    assert outcome.notes["geometry/train_intra"] == "there are no training images"
