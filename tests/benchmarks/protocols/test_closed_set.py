"""Closed-set accuracy: by the classifier, by class means, by neighbours; recall of classes; calibration."""

import numpy as np
import pytest

from benchmarks.measures import classifiers
from benchmarks.measures.calibration import reliability
from benchmarks.measures.classifiers import (
    class_recall,
    nearest_class_mean,
    nearest_neighbours,
    top_k,
)
from benchmarks.measures.resampling import resample
from benchmarks.protocols import Judged, ProtocolError, Settings, judge

TRAIN, VALIDATION, TEST = 0, 1, 2
CLASSIFIER = ("top1", "top5", "macro_recall", "worst_recall", "ece", "ece_equal_mass")
IMAGES = ("ncm_top1", "ncm_macro_recall", "ncm_worst_recall", "knn_top1")


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_under_ties(k):
    rng = np.random.default_rng(k)
    scores, labels = rng.integers(0, 3, (80, 6)).astype(float), rng.integers(0, 6, 80)
    for ties, tie in (
        ("first", lambda c, own: c),
        ("pessimistic", lambda c, own: c == own),
        ("optimistic", lambda c, own: c != own),
    ):
        expected = [
            own in sorted(range(6), key=lambda c: (-row[c], tie(c, own)))[:k]
            for row, own in zip(scores, labels, strict=True)
        ]
        assert top_k(scores, labels, k, ties).tolist() == expected
    assert top_k(-np.inf * np.ones((1, 2)), np.array([1]), ties="optimistic").all()


def test_top_k_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((300, 12)), rng.integers(0, 12, 300)
    for k in (1, 5):
        expected = metrics.top_k_accuracy_score(labels, scores, k=k, labels=np.arange(12))
        assert top_k(scores, labels, k).mean() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.full((2, 3), np.nan)}, "6 scores are not a number"),
        ({"scores": np.ones((1, 3))}, "for 2 labels"),
        ({"labels": np.array([0, 3])}, "columns of the scores, 0 to 2"),
        ({"k": 0}, "k: 0"),
        ({"ties": "random"}, "'random'; allowed: first"),
    ],
)
def test_bad_scores_are_named(change, message):
    given = {"scores": np.ones((2, 3)), "labels": np.array([0, 1])} | change
    with pytest.raises(ProtocolError, match=message):
        top_k(**given)


def test_long_training_vectors_do_not_pull_the_mean():
    # Directions 0° and 80° average to 40° although the second is a hundred times longer; class 7
    # stands at 100°.
    angle = np.radians([0, 80, 100])
    train = np.stack([np.cos(angle), np.sin(angle)], axis=1) * [[1], [100], [1]]
    image = np.radians([69, 71])
    images = np.stack([np.cos(image), np.sin(image)], axis=1)
    labels = np.array([3, 3, 7])
    assert nearest_class_mean(train, labels, images).tolist() == [3, 7]
    # the plain mean of class 3 is (9.2, 49.2)
    assert nearest_class_mean(train, labels, images, "euclidean").tolist() == [7, 7]
    assert nearest_class_mean(train, labels, 40 * images, "euclidean").tolist() == [3, 3]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_ties_go_to_the_lowest_class_and_blocks_do_not_matter(monkeypatch, metric):
    train = np.array([[0.0, 1.0], [1.0, 0.0]])
    images = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    for size in (2**20, 2):
        monkeypatch.setattr(classifiers, "BLOCK_SCORES", size)
        assert nearest_class_mean(train, np.array([5, 2]), images, metric).tolist() == [2, 2, 2]
        assert nearest_class_mean(train, np.array([2, 5]), images, metric).tolist() == [2, 2, 5]


def test_class_means_agree_with_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(4)
    train, labels = rng.standard_normal((90, 5)) + 100, rng.integers(0, 7, 90)
    images = rng.standard_normal((60, 5)) + 100
    peer = neighbors.NearestCentroid().fit(train, labels)
    assert nearest_class_mean(train, labels, images, "euclidean").tolist() == list(
        peer.predict(images)
    )
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train, images)]
    means = np.stack([unit[0][labels == c].mean(0) for c in range(7)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert nearest_class_mean(train, labels, images).tolist() == list((unit[1] @ means.T).argmax(1))


def test_neighbours_vote():
    # cosines to the image (1, 0): 1, 1, .38, .38, 0, -1
    train = np.array([[1, 0], [2, 0], [5, 12], [5, -12], [0, 1], [-1, 0]], dtype=float)
    image = np.array([[5.0, 0.0]])

    def vote(labels, k):
        return nearest_neighbours(train, np.array(labels), image, k).item()

    assert vote([9, 8, 7, 7, 7, 7], 1) == 9  # position 0 before its equal
    assert vote([9, 8, 7, 7, 7, 7], 4) == 7  # two votes against one, although .77 < 1
    assert vote([9, 8, 7, 8, 7, 7], 4) == 8
    assert vote([9, 7, 7, 9, 1, 1], 4) == 7  # two votes each, equal sums: the lowest
    assert vote([9, 9, 7, 7, 1, 1], 4) == 9  # two votes each, 2 > .77
    assert vote([1, 9, 9, 9, 2, 2], 99) == 9  # all that there are


@pytest.mark.parametrize("k", [1, 4, 5])
def test_neighbours_by_the_definition(k):
    rng = np.random.default_rng(k)
    train, labels = rng.choice([-1.0, 1.0], (60, 4)), rng.integers(0, 5, 60)  # heavy ties
    images = rng.choice([-1.0, 1.0], (40, 4))
    expected = []
    for image in images:
        cosines = train @ image / 4
        chosen = sorted(range(60), key=lambda i: (-cosines[i], i))[:k]
        tally = {
            c: (
                sum(labels[i] == c for i in chosen),
                sum(cosines[i] for i in chosen if labels[i] == c),
            )
            for c in labels[chosen]
        }
        expected.append(min(tally, key=lambda c: (-tally[c][0], -tally[c][1], c)))
    assert nearest_neighbours(train, labels, images, k).tolist() == expected


def test_one_neighbour_agrees_with_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(8)
    train, labels = rng.standard_normal((200, 6)), rng.integers(0, 9, 200)
    images = rng.standard_normal((80, 6))
    peer = neighbors.KNeighborsClassifier(1, metric="cosine").fit(train, labels)
    assert nearest_neighbours(train, labels, images, 1).tolist() == list(peer.predict(images))


def test_recall_of_classes():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels, found = rng.integers(0, 8, 200) * 3, rng.integers(0, 8, 200) * 3
    classes, recalls = class_recall(found == labels, labels)
    assert classes.tolist() == list(range(0, 24, 3))
    assert recalls.mean() == pytest.approx(metrics.balanced_accuracy_score(labels, found))
    with pytest.raises(ProtocolError, match="0 hits"):
        class_recall(np.empty(0, bool), np.empty(0, int))


def test_training_images_are_needed():
    for function in (nearest_class_mean, lambda *given: nearest_neighbours(*given, 1)):
        with pytest.raises(ProtocolError, match="0 labels for 0 training images"):
            function(np.empty((0, 2)), np.empty(0, int), np.ones((1, 2)))
    with pytest.raises(ProtocolError, match="'manhattan'; allowed: cosine, euclidean"):
        nearest_class_mean(np.ones((1, 2)), np.ones(1, int), np.ones((1, 2)), "manhattan")


def test_calibration_by_its_definition():
    rng = np.random.default_rng(0)
    confidence = np.concatenate([rng.random(400), np.arange(16) / 15])
    correct = rng.random(416) < 0.5  # too sure above, not sure enough below
    error, total = 0.0, 0
    found = reliability(confidence, correct)
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if m == 0:
            inside |= confidence == 0
        total += inside.sum()
        error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
        assert found.count[m] == inside.sum()
        assert found.confidence[m] == pytest.approx(confidence[inside].mean())
        assert found.accuracy[m] == pytest.approx(correct[inside].mean())
    assert total == 416
    assert found.error == pytest.approx(error, abs=1e-14)

    order = np.argsort(confidence, kind="stable")
    groups = [order[-(-m * 416 // 15) : -(-(m + 1) * 416 // 15)] for m in range(15)]
    error = sum(abs(correct[g].mean() - confidence[g].mean()) * len(g) / 416 for g in groups)
    assert len(np.unique(confidence)) == 416
    found = reliability(confidence, correct, mass="equal_mass")
    assert found.error == pytest.approx(error, abs=1e-14)
    assert found.count.tolist() == [len(g) for g in groups]


def test_calibration_of_simple_cases():
    assert reliability(np.ones(4), np.ones(4, bool)).error == 0
    assert reliability(np.ones(4), np.zeros(4, bool)).error == 1
    four = np.full(4, 0.75), np.array([True, True, True, False])
    for mass in ("equal_width", "equal_mass"):  # equal confidences share a bin
        assert reliability(*four, mass=mass).error == pytest.approx(0, abs=1e-15)
    empty = reliability(*four)
    assert empty.count.sum() == 4
    assert np.isnan(empty.accuracy).sum() == 14
    for confidence in (1.1, -0.1, np.nan):
        with pytest.raises(ProtocolError, match="1 confidences are not in"):
            reliability(np.array([0.5, confidence]), np.ones(2, bool))
    with pytest.raises(ProtocolError, match=r"\(2,\) confidences for \(1,\)"):
        reliability(np.ones(2), np.ones(1, bool))
    with pytest.raises(ProtocolError, match=r"confidences for"):
        reliability(np.ones(0), np.ones(0, bool))
    with pytest.raises(ProtocolError, match="bins: 0"):
        reliability(*four, bins=0)
    with pytest.raises(ProtocolError, match="'volume'; allowed: equal_width, equal_mass"):
        reliability(*four, mass="volume")


def run(**changes):
    """Classes 10, 20 at right angles; of four test images class means get 3, the classifier 2."""
    arrays_ = {
        "embeddings": np.array(
            [[2, 0], [0, 5], [1, 0.1], [1, 0.2], [0.1, 1], [1, 0.3], [0, 1]], dtype=np.float32
        ),
        "labels": np.array([10, 20, 10, 10, 20, 20, 20]),
        "part": np.array([TRAIN, TRAIN, TEST, TEST, TEST, TEST, VALIDATION], dtype=np.int8),
        "known_classes": np.array([10, 20]),
        "top_classes": np.array([[10, 20]] * 2 + [[20, 10]] * 3 + [[20, 10], [10, 20]]),
        "top_scores": np.tile([1.0, 0.5], (7, 1)).astype(np.float32),
        "logsumexp": np.log(np.exp(1.0) / np.array([0.5] * 2 + [0.9, 0.9, 0.6, 0.6] + [0.7])),
    }
    return Judged(**(arrays_ | changes))


def verdict(judged, resamples=0):
    return judge(judged, ["closed_set"], Settings(resamples=resamples))


def of(outcome, names, side=""):
    return [outcome.metrics[f"{side}closed_set/{name}"] for name in names]


def test_shares_of_test_and_validation_images():
    outcome = verdict(run())
    # classifier: images of 10 wrong, images of 20 right; class means miss (1, .3) of class 20
    assert of(outcome, ("top1", "macro_recall", "worst_recall")) == [0.5, 0.5, 0.0]
    assert of(outcome, ("ncm_top1", "ncm_macro_recall", "ncm_worst_recall")) == [0.75, 0.75, 0.5]
    assert of(outcome, ("knn_top1",)) == [0.75]  # one training image a class: the sum decides
    assert of(outcome, ("ece",)) == pytest.approx([(0.9 + 0.4) / 2])
    assert of(outcome, ("top1", "ncm_top1"), "validation/") == [0.0, 1.0]
    assert outcome.notes == {
        f"{side}closed_set/top5": "of 2 classes all are among the best five"
        for side in ("", "validation/")
    }
    count = outcome.curves["test/closed_set/reliability_count"]
    assert (count[8], count[13], count.sum()) == (2, 2, 4)  # 0.6 = 9/15, 0.9 < 14/15
    assert outcome.curves["test/closed_set/class_recall"].tolist() == [0, 1]
    assert outcome.curves["test/closed_set/ncm_class_recall"].tolist() == [0.5, 1]


def test_a_loss_without_classifier():
    outcome = verdict(run(top_classes=None, top_scores=None, logsumexp=None), 10)
    assert of(outcome, CLASSIFIER) == [None] * 6
    for name in CLASSIFIER:
        assert outcome.notes[f"closed_set/{name}"] == "the loss has no classifier"
    assert of(outcome, ("ncm_top1",)) == [0.75]
    assert set(outcome.replicates) == {
        "closed_set/ncm_top1",
        "closed_set/ncm_macro_recall",
        "closed_set/knn_top1",
    }


def test_embeddings_and_scores_that_are_no_numbers_are_refused():
    broken = run().embeddings.copy()
    broken[0] = np.nan  # a training image
    outcome = verdict(run(embeddings=broken))
    assert of(outcome, IMAGES) == [None] * 4
    assert outcome.notes["closed_set/ncm_top1"] == "1 of 2 embeddings are not finite"
    assert of(outcome, ("top1",)) == [0.5]
    outcome = verdict(run(top_scores=np.full((7, 2), np.nan)))
    assert of(outcome, CLASSIFIER) == [None] * 6
    assert "not numbers" in outcome.notes["closed_set/top1"]
    for changes, reason in (
        ({"top_scores": np.full((7, 2), np.inf), "logsumexp": np.full(7, np.inf)}, "not finite"),
        ({"logsumexp": None}, "kept no scores"),
    ):
        outcome = verdict(run(**changes))
        assert of(outcome, ("top1", "ece", "ece_equal_mass")) == [0.5, None, None]
        assert reason in outcome.notes["closed_set/ece"]


def test_no_held_out_or_no_training_images():
    outcome = verdict(run(part=np.zeros(7, dtype=np.int8)), 10)
    assert of(outcome, CLASSIFIER + IMAGES) == [None] * 10
    assert set(outcome.notes.values()) == {"the split has no such images"}
    outcome = verdict(run(part=np.full(7, TEST, dtype=np.int8)))
    assert of(outcome, IMAGES) == [None] * 4
    assert outcome.notes["closed_set/knn_top1"] == "there are no training images"


def large(seed=0, images=240, classes=12):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images) * 7
    embeddings = rng.standard_normal((classes, 4))[labels // 7] + rng.standard_normal((images, 4))
    scores = rng.standard_normal((images, classes)) + 2 * (
        np.arange(classes) * 7 == labels[:, None]
    )
    order = np.argsort(-scores, axis=1)[:, :5]
    return Judged(
        embeddings,
        labels,
        np.where(np.arange(images) % 2, TEST, TRAIN).astype(np.int8),
        np.arange(classes) * 7,
        top_classes=order * 7,
        top_scores=np.take_along_axis(scores, order, 1),
        logsumexp=np.log(np.exp(scores).sum(1)),
    )


def test_replicates_are_the_metrics_of_repeated_images():
    judged = large()
    outcome = verdict(judged, 40)
    rows = judged.rows("known_test")
    drawn = resample(judged.labels[rows], 40)
    replicated = ("top1", "top5", "macro_recall", "ncm_top1", "ncm_macro_recall", "knn_top1", "ece")
    assert set(outcome.replicates) == {f"closed_set/{name}" for name in replicated}
    assert set(outcome.left_out) == set(outcome.replicates)

    def again(weight):
        """The run with each test image as often as `weight` says."""
        times = np.ones(len(judged.labels), dtype=int)
        times[rows] = weight
        kept = np.repeat(np.arange(len(judged.labels)), times)
        arrays = {
            name: getattr(judged, name)[kept]
            for name in ("embeddings", "labels", "part", "top_classes", "top_scores", "logsumexp")
        }
        return Judged(**arrays, known_classes=judged.known_classes)

    for r in (0, 21):
        weight = drawn.counts[r][drawn.units]
        metrics = verdict(again(weight)).metrics
        for name in replicated:
            value = outcome.replicates[f"closed_set/{name}"][r]
            if "macro" not in name:
                assert value == pytest.approx(metrics[f"closed_set/{name}"], abs=1e-12)
        # a class drawn twice counts as two classes
        top = judged.top_classes[rows, 0] == judged.labels[rows]
        recalls = class_recall(top, judged.labels[rows])[1]
        macro = np.average(recalls, weights=drawn.counts[r])
        assert outcome.replicates["closed_set/macro_recall"][r] == pytest.approx(macro, abs=1e-12)
    for unit in (0, 11):
        metrics = verdict(again((drawn.units != unit).astype(int))).metrics
        for name in replicated:
            value = outcome.left_out[f"closed_set/{name}"][unit]
            assert value == pytest.approx(metrics[f"closed_set/{name}"], abs=1e-12)


def test_few_kept_classes_refuse_the_top_five():
    judged = large()
    short = {name: getattr(judged, name)[:, :3] for name in ("top_classes", "top_scores")}
    outcome = verdict(Judged(**vars(judged) | short))
    assert outcome.notes["closed_set/top5"] == "the run kept the best 3 classes"
    assert outcome.metrics["closed_set/ece"] == verdict(judged).metrics["closed_set/ece"]
