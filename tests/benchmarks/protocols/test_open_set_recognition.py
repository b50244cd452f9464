"""Open-set recognition against loops and scikit-learn, and its protocol against physically repeated identities."""

import numpy as np
import pytest

from benchmarks.errors import ProtocolError
from benchmarks.measures.detection import UnitScores, thin, wins
from benchmarks.measures.oscr import (
    answers,
    auroc,
    ccr_at_fpr,
    oscr,
    oscr_area,
    oscr_curve,
)
from benchmarks.measures.resampling import resample
from benchmarks.protocols.closed_set import closed_set
from benchmarks.protocols.judged import Judged, Settings
from benchmarks.protocols.known_scores import least_distance, log_max_softmax, scored
from benchmarks.protocols.open_set_recognition import open_set_recognition
from datasets.splits import PART_CODES

PREFIX = "open_set_recognition/"
EMPTY = np.empty(0)


def curve_by_loops(known, correct, unknown, ccr_op, thresholds):
    right = [score for score, good in zip(known, correct, strict=True) if good]
    observed = {*unknown} | ({*right} if thresholds == "all" else set())
    points = []
    for threshold in sorted(observed, reverse=True):
        reach = [score > threshold if ccr_op == "gt" else score >= threshold for score in right]
        fpr = sum(score >= threshold for score in unknown) / len(unknown)
        points.append((threshold, fpr, sum(reach) / len(known)))
    return points


def random_answers(rng):
    n, m, levels = rng.integers(1, 30), rng.integers(1, 30), rng.integers(1, 15)
    known, unknown = rng.integers(0, levels, n) / levels, rng.integers(0, levels + 3, m) / levels
    return known, rng.random(n) < rng.random(), unknown


def test_agrees_with_loops():
    rng = np.random.default_rng(0)
    unreached = 0
    for _ in range(200):
        known, correct, unknown = random_answers(rng)
        for ccr_op in ("ge", "gt"):
            for thresholds in ("all", "unknown"):
                curve = oscr_curve(known, correct, unknown, ccr_op, thresholds)
                expected = curve_by_loops(known, correct, unknown, ccr_op, thresholds)
                got = np.stack([curve.thresholds, curve.alarm_rate, curve.hit_rate], axis=1)
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        expected = curve_by_loops(known, correct, unknown, "ge", "all")
        for target in (0.0, 0.1, 0.5, 1.0):
            point = ccr_at_fpr(known, correct, unknown, target)
            within = [entry for entry in expected if entry[1] <= target]
            if not within:
                assert np.isnan(point).all()
                unreached += 1
                continue
            threshold, fpr, ccr = min(within)
            assert point == pytest.approx((threshold, ccr, fpr), abs=1e-12)
        pairs = [
            good * ((a > b) + (a == b) / 2)
            for a, good in zip(known, correct, strict=True)
            for b in unknown
        ]
        assert oscr_area(known, correct, unknown) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert unreached


@pytest.mark.parametrize("levels", [1, 4, 10**6])
def test_agrees_with_scikit_learn(levels):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(levels)
    known, unknown = rng.integers(0, levels, 700) / levels, rng.integers(0, levels, 900) / levels
    truth = np.repeat([1, 0], [700, 900])
    peer = metrics.roc_auc_score(truth, np.concatenate([known, unknown]))
    assert auroc(known, unknown) == pytest.approx(peer, abs=1e-12)
    assert oscr_area(known, np.ones(700, bool), unknown) == pytest.approx(peer, abs=1e-12)


def test_the_curve_ends_at_the_closed_set_accuracy_and_has_no_zero_point():
    rng = np.random.default_rng(3)
    known, unknown, labels = rng.random((50, 4)), rng.random((30, 4)) + 0.5, rng.integers(0, 4, 50)
    curve = oscr(known, labels, unknown)
    accuracy = (known.argmax(axis=1) == labels).mean()
    assert (curve.alarm_rate[-1], curve.hit_rate[-1]) == (1.0, accuracy)
    assert curve.alarm_rate[0] > 0  # an unknown image has the best score: FPR 0 cannot be had
    assert np.isnan(ccr_at_fpr(*answers(known, labels, unknown), 0.0).ccr)
    fpr, ccr = thin(curve)
    assert set(zip(fpr, ccr, strict=True)) <= set(
        zip(curve.alarm_rate, curve.hit_rate, strict=True)
    )


def test_equal_scores_and_wrong_answers():
    same = np.full(4, 0.5)
    assert auroc(same, same) == 0.5
    assert oscr_area(same, np.array([1, 1, 0, 0]), same) == 0.25
    nobody = oscr_curve(same, np.zeros(4, bool), same)
    assert (nobody.hit_rate == 0).all()
    assert answers(np.ones((2, 3)), np.array([0, 1]), np.ones((1, 3))).correct.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auroc(EMPTY, np.ones(2)), "no known scores"),
        (lambda: auroc(np.ones(2), EMPTY), "no unknown scores"),
        (lambda: auroc(np.ones(2), np.array([np.nan])), "unknown: 1 scores are not a number"),
        (lambda: oscr_area(np.ones(2), np.ones(3), np.ones(2)), "3 answers for 2 known scores"),
        (lambda: oscr_curve(np.ones(2), np.ones(2), np.ones(2), "lt"), "ccr_op 'lt'"),
        (
            lambda: oscr_curve(np.ones(2), np.ones(2), np.ones(2), "ge", "known"),
            "thresholds 'known'",
        ),
        (lambda: ccr_at_fpr(np.ones(2), np.ones(2), np.ones(2), -0.1), "FPR -0.1"),
        (lambda: oscr(np.ones((2, 3)), np.ones(1), np.ones((2, 3))), "1 labels for 2 known"),
        (lambda: oscr(np.ones((2, 3)), np.ones(2), np.ones((2, 4))), "3 class scores"),
        (lambda: oscr(np.ones((2, 3)), np.ones(2), np.ones((0, 3))), "unknown scores are"),
        (lambda: oscr(np.full((2, 3), np.nan), np.ones(2), np.ones((2, 3))), "6 scores are not"),
    ],
)
def test_bad_scores_are_named(call, message):
    with pytest.raises(ProtocolError, match=message):
        call()


def test_wins_by_unit_agree_with_loops():
    rng = np.random.default_rng(1)
    for _ in range(60):
        n, m, units, others = rng.integers((0, 1, 1, 1), (150, 300, 6, 7))
        hits = UnitScores(rng.integers(0, 9, n) / 9, rng.integers(0, units, n))
        negatives = UnitScores(rng.integers(0, 9, m) / 9, rng.integers(0, others, m))
        expected = np.zeros((units, others))
        for score, unit in zip(*hits, strict=True):
            worth = (score > negatives.scores) + (score == negatives.scores) / 2
            np.add.at(expected[unit], negatives.units, worth)
        np.testing.assert_array_equal(wins(hits, negatives, (units, others)), expected)


def test_wins_in_blocks(monkeypatch):
    rng = np.random.default_rng(2)
    hits = UnitScores(rng.random(300), rng.integers(0, 5, 300))
    negatives = UnitScores(rng.random(200), rng.integers(0, 5, 200))
    whole = wins(hits, negatives, (5, 5))
    monkeypatch.setattr("benchmarks.measures.detection.BLOCK", 64 * 7)
    np.testing.assert_array_equal(wins(hits, negatives, (5, 5)), whole)


# --- the scores of images


def test_max_softmax_does_not_saturate():
    gap = np.array([1.0, 20.0, 40.0, 60.0])  # the last three are probability 1 in float32
    top = np.stack([np.full(4, 64.0), 64.0 - gap], axis=1).astype(np.float32)
    exact = -np.log1p(np.exp(-gap))
    stored = np.logaddexp(top[:, 0], top[:, 1]).astype(np.float32)
    got = log_max_softmax(top, stored)
    np.testing.assert_allclose(got, exact, rtol=1e-5)
    assert (np.diff(got) > 0).all()
    # classes that are not among the stored ones count through the log-sum-exp
    assert log_max_softmax(np.zeros((1, 2)), np.log([10.0])) == pytest.approx(np.log(0.1))


def test_the_least_distance(monkeypatch):
    rng = np.random.default_rng(4)
    images, points = rng.uniform(-1, 1, (40, 3)), rng.uniform(-1, 1, (7, 3))
    expected = np.linalg.norm(images[:, None] - points, axis=2).min(axis=1)
    np.testing.assert_allclose(least_distance(images, points), expected, atol=1e-12)
    monkeypatch.setattr("benchmarks.protocols.known_scores.BLOCK_SCORES", 20)
    np.testing.assert_allclose(least_distance(images, points), expected, atol=1e-12)
    assert (least_distance(points, points) == 0).all()
    # Points far from 0 and near to each other: products of 1 do not tell them apart.
    near, of_images = 1 + 1e-8 * points, 1 + 1e-8 * images
    np.testing.assert_allclose(least_distance(of_images, near), 1e-8 * expected, atol=1e-12)
    assert (least_distance(near, near) == 0).all()


def make_run(rng, known=8, unknown=9, images=12, noise=0.7, **changes):
    """Training and held-out images of known classes, images of unknown classes, a linear classifier."""
    centres = rng.standard_normal((known + unknown, 5))
    labels = np.concatenate(
        [
            np.repeat(np.arange(known), 6),
            rng.integers(0, known, known * images),
            known + rng.integers(0, unknown, unknown * images),
        ]
    )
    names = ["train", "known_test", "unknown_test"]
    sizes = [known * 6, known * images, unknown * images]
    part = np.repeat([PART_CODES[name] for name in names], sizes).astype(np.int8)
    embeddings = centres[labels] + noise * rng.standard_normal((len(labels), 5))
    scores = 4 * embeddings @ centres[:known].T
    order = np.argsort(-scores, axis=1)[:, :5]
    arrays = {
        "embeddings": embeddings.astype(np.float32),
        "labels": labels * 10,
        "part": part,
        "known_classes": np.arange(known) * 10,
        "top_classes": order * 10,
        "top_scores": np.take_along_axis(scores, order, axis=1),
        "logsumexp": np.log(np.exp(scores).sum(axis=1)),
        "class_weights": centres[:known],
    }
    return Judged(**(arrays | changes))


def rows(run):
    return run.rows("known_test"), run.rows("unknown_test")


def test_scores_by_their_definitions():
    run = make_run(np.random.default_rng(0))
    known, unknown = rows(run)
    found = scored(run, known, unknown)
    x = run.embeddings.astype(np.float64)
    unit = x / np.linalg.norm(x, axis=1)[:, None]
    train = run.rows("train")
    means = [x[train][run.labels[train] == c].mean(axis=0) for c in run.known_classes]
    ways = [unit[train][run.labels[train] == c].mean(axis=0) for c in run.known_classes]
    weights = run.class_weights / np.linalg.norm(run.class_weights, axis=1)[:, None]
    ways = np.array(ways) / np.linalg.norm(ways, axis=1)[:, None]
    scale = np.abs(x).max()  # distances are in its units
    for name, expected in {
        "max_logit": run.top_scores[:, 0],
        "max_softmax": run.top_scores[:, 0] - run.logsumexp,
        "max_cosine": (unit @ weights.T).max(axis=1),
        "nearest_mean": (unit @ ways.T).max(axis=1),
        "mean_distance": -np.linalg.norm(x[:, None] - means, axis=2).min(axis=1) / scale,
    }.items():
        np.testing.assert_allclose(found[name].known, expected[known], atol=1e-9, err_msg=name)
        np.testing.assert_allclose(found[name].unknown, expected[unknown], atol=1e-9, err_msg=name)


def test_collapsed_embeddings_are_ties():
    one = np.random.default_rng(2).standard_normal(5).astype(np.float32)
    run = make_run(np.random.default_rng(1), embeddings=np.tile(one, (252, 1)))
    metrics = open_set_recognition(run, "test", Settings(resamples=0)).metrics
    for score in ("max_cosine", "nearest_mean", "mean_distance"):
        assert metrics[PREFIX + f"auroc_{score}"] == 0.5


# --- the protocol


def test_metrics_agree_with_the_functions_and_with_closed_set():
    run = make_run(np.random.default_rng(2))
    known, unknown = rows(run)
    settings = Settings(fpirs=(0.2, 0.1, 0.01), resamples=0)
    outcome = open_set_recognition(run, "test", settings)
    metrics = outcome.metrics
    found = scored(run, known, unknown)
    for name, item in found.items():
        assert metrics[PREFIX + f"auroc_{name}"] == auroc(item.known, item.unknown)
    for name in ("max_logit", "nearest_mean"):
        item = found[name]
        arrays = item.known, item.correct, item.unknown
        assert metrics[PREFIX + f"oscr_{name}"] == oscr_area(*arrays)
        point = ccr_at_fpr(*arrays, 0.2)
        assert metrics[PREFIX + f"ccr_at_fpr_{name}_2e-01"] == point.ccr
        assert metrics[PREFIX + f"achieved_fpr_{name}_2e-01"] == point.fpr <= 0.2
        assert metrics[PREFIX + f"ccr_at_fpr_{name}_1e-02"] is None
        note = outcome.notes[PREFIX + f"ccr_at_fpr_{name}_1e-02"]
        assert "FPR 0.01 of 108 unknown images" in note
        fpr, ccr = outcome.curves[PREFIX + f"{name}_fpr"], outcome.curves[PREFIX + f"{name}_ccr"]
        assert (fpr[-1], ccr[-1]) == (1.0, metrics[PREFIX + f"accuracy_{name}"])
        assert len(fpr) <= 400
    closed = closed_set(run, "test", settings).metrics
    assert metrics[PREFIX + "accuracy_max_logit"] == closed["closed_set/top1"]
    assert metrics[PREFIX + "accuracy_nearest_mean"] == closed["closed_set/ncm_top1"]
    for name, images in (("known", 96), ("unknown", 108)):
        assert metrics[PREFIX + f"{name}_images"] == images
        assert outcome.curves[PREFIX + f"max_softmax_{name}"].sum() == images
    assert not outcome.replicates
    assert not outcome.left_out


def weighted(item, known_times, unknown_times, fpirs):
    """The metrics with every image repeated as often as its identity counts."""
    known, unknown = np.repeat(item.known, known_times), np.repeat(item.unknown, unknown_times)
    values = [auroc(known, unknown)]
    if item.correct is not None:
        arrays = known, np.repeat(item.correct, known_times), unknown
        values += [oscr_area(*arrays), *(ccr_at_fpr(*arrays, fpir).ccr for fpir in fpirs)]
    return values


@pytest.mark.parametrize("levels", [None, 4])
def test_replicates_are_metrics_of_repeated_identities(levels):
    run = make_run(np.random.default_rng(4))
    if levels:  # many equal scores
        top = np.round(run.top_scores / run.top_scores.max() * levels)
        run = make_run(np.random.default_rng(4), top_scores=top, embeddings=np.sign(run.embeddings))
    known, unknown = rows(run)
    fpirs = (0.4, 0.1)
    outcome = open_set_recognition(run, "test", Settings(fpirs=fpirs, resamples=30))
    first, second = resample(run.labels[known], 30), resample(run.labels[unknown], 30)
    assert set(outcome.replicates) == set(outcome.left_out)
    valued = {name for name, value in outcome.metrics.items() if value is not None}
    kinds = ("auroc", "oscr", "ccr")
    assert set(outcome.replicates) == {
        name for name in valued if name.removeprefix(PREFIX).startswith(kinds)
    }
    for score, item in scored(run, known, unknown).items():
        rates = [f"{PREFIX}ccr_at_fpr_{score}_{rate}" for rate in ("4e-01", "1e-01")]
        names = [f"{PREFIX}auroc_{score}", f"{PREFIX}oscr_{score}", *rates]
        names = [name for name in names if name in outcome.replicates]
        kept = [fpir for fpir, rate in zip(fpirs, rates, strict=True) if rate in names]
        for draw in range(30):
            times = first.counts[draw][first.units], second.counts[draw][second.units]
            got = [outcome.replicates[name][draw] for name in names]
            np.testing.assert_allclose(got, weighted(item, *times, kept), atol=1e-12)
        for unit in range(9):
            times = np.ones(len(known), int), (second.units != unit).astype(int)
            got = [outcome.left_out[name][unit] for name in names]
            np.testing.assert_allclose(got, weighted(item, *times, kept), atol=1e-12)


def test_the_curve_is_that_of_repeated_identities():
    run = make_run(np.random.default_rng(4))
    known, unknown = rows(run)
    outcome = open_set_recognition(run, "test", Settings(fpirs=(0.1,), resamples=30))
    home = f"{PREFIX}nearest_mean_"
    fprs = outcome.curves[f"{home}replicate_fpr"]
    assert fprs[0] * len(unknown) >= 10
    assert len(fprs) >= 3
    item = scored(run, known, unknown)["nearest_mean"]
    first, second = resample(run.labels[known], 30), resample(run.labels[unknown], 30)
    once = np.ones(len(known), int)
    draws = {
        "replicate": [
            (one[first.units], other[second.units])
            for one, other in zip(first.counts, second.counts, strict=True)
        ],
        "left_out": [(once, (second.units != unit).astype(int)) for unit in range(9)],
        "grid": [(once, np.ones(len(unknown), int))],
    }
    for kind, times in draws.items():
        got = np.atleast_2d(outcome.curves[f"{home}{kind}_ccr"])
        assert got.shape == (len(times), len(fprs))
        for row, each in zip(got, times, strict=True):
            np.testing.assert_allclose(row, weighted(item, *each, fprs)[2:], atol=1e-6)
    column, name = fprs.tolist().index(0.1), f"{PREFIX}ccr_at_fpr_nearest_mean_1e-01"
    assert outcome.curves[f"{home}grid_ccr"][column] == outcome.metrics[name]
    found = outcome.curves[f"{home}replicate_ccr"][:, column]
    np.testing.assert_allclose(found, outcome.replicates[name], rtol=1e-6)
    assert not any("max_logit_replicate" in name for name in outcome.curves)


def test_known_and_unknown_are_drawn_apart():
    run = make_run(np.random.default_rng(5), known=9, unknown=9)
    known, unknown = rows(run)
    first, second = resample(run.labels[known], 50), resample(run.labels[unknown], 50)
    assert first.counts.shape == second.counts.shape
    assert (first.counts != second.counts).any()


def refused(outcome):
    assert {k for k, v in outcome.metrics.items() if v is None} == set(outcome.notes)
    return {key.removeprefix(PREFIX): note for key, note in outcome.notes.items()}


def all_names():
    run = make_run(np.random.default_rng(0))
    return set(open_set_recognition(run, "test", Settings(fpirs=(0.5, 0.1))).metrics)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"top_classes": None, "top_scores": None, "logsumexp": None, "class_weights": None},
            {
                "auroc_max_logit": "the loss has no classifier",
                "auroc_max_softmax": "the loss has no classifier",
                "auroc_max_cosine": "the loss has no class weights",
                "accuracy_max_logit": "the loss has no classifier",
                "oscr_max_logit": "the loss has no classifier",
                "ccr_at_fpr_max_logit_5e-01": "the loss has no classifier",
                "ccr_at_fpr_max_logit_1e-01": "the loss has no classifier",
                "achieved_fpr_max_logit_5e-01": "the loss has no classifier",
                "achieved_fpr_max_logit_1e-01": "the loss has no classifier",
            },
        ),
        ({"class_weights": None}, {"auroc_max_cosine": "the loss has no class weights"}),
        (
            {"class_weights": np.full((8, 5), np.nan)},
            {"auroc_max_cosine": "the class weights are not finite"},
        ),
        (
            {"class_weights": np.ones((8, 10))},
            {"auroc_max_cosine": "the class weights are not in the space of the embeddings"},
        ),
        (
            {"logsumexp": np.full(252, np.inf)},
            {"auroc_max_softmax": "the classifier's scores have no finite log-sum-exp"},
        ),
    ],
)
def test_what_a_run_lacks_is_refused(changes, expected):
    run = make_run(np.random.default_rng(0), **changes)
    outcome = open_set_recognition(run, "test", Settings(fpirs=(0.5, 0.1), resamples=5))
    assert set(outcome.metrics) == all_names()
    assert refused(outcome) == expected


@pytest.mark.parametrize(
    ("broken", "names", "reason"),
    [
        ("known_test", ("max_cosine", "nearest_mean", "mean_distance"), "1 of 204 embeddings"),
        ("train", ("nearest_mean", "mean_distance"), "training images: 1 of 48 embeddings"),
    ],
)
def test_broken_embeddings_are_refused(broken, names, reason):
    run = make_run(np.random.default_rng(0))
    embeddings = run.embeddings.copy()
    embeddings[run.rows(broken)[0], 0] = np.nan
    run = make_run(np.random.default_rng(0), embeddings=embeddings)
    outcome = open_set_recognition(run, "test", Settings(fpirs=(0.5, 0.1), resamples=5))
    assert set(outcome.metrics) == all_names()
    notes = refused(outcome)
    assert {key for key in notes if key.startswith("auroc")} == {f"auroc_{n}" for n in names}
    assert all(note.startswith(reason) for note in notes.values())


def test_classifier_scores_that_are_no_numbers_are_refused():
    top = make_run(np.random.default_rng(0)).top_scores
    top[-1, 0] = np.nan
    run = make_run(np.random.default_rng(0), top_scores=top)
    outcome = open_set_recognition(run, "test", Settings(fpirs=(0.5, 0.1), resamples=5))
    assert set(outcome.metrics) == all_names()
    assert set(refused(outcome).values()) == {"the classifier's scores are not finite"}


@pytest.mark.parametrize("world", ["known", "unknown"])
def test_a_side_without_images_is_refused(world):
    run = make_run(np.random.default_rng(0))
    part = np.where(run.part == PART_CODES[f"{world}_test"], PART_CODES["unused"], run.part)
    outcome = open_set_recognition(
        make_run(np.random.default_rng(0), part=part), "test", Settings(fpirs=(0.5, 0.1))
    )
    assert set(outcome.metrics) == all_names()
    assert outcome.metrics[PREFIX + f"{world}_images"] == 0
    notes = refused(outcome)
    assert len(notes) == len(outcome.metrics) - 2
    assert set(notes.values()) == {f"the split has no images of {world} classes"}
    assert not outcome.replicates


def test_a_rate_that_no_threshold_reaches_is_refused():
    run = make_run(np.random.default_rng(0))
    top = np.where((run.part == PART_CODES["unknown_test"])[:, None], 99.0, run.top_scores)
    run = make_run(np.random.default_rng(0), top_scores=top)
    outcome = open_set_recognition(run, "test", Settings(fpirs=(0.5,), resamples=3))
    assert refused(outcome) == {
        "ccr_at_fpr_max_logit_5e-01": "no threshold reaches FPR 0.5",
        "achieved_fpr_max_logit_5e-01": "no threshold reaches FPR 0.5",
    }
