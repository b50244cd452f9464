"""Recall@1 against independent vectors and pytorch-metric-learning."""

import numpy as np
import pytest

from benchmarks.protocols import Judged, ProtocolError, judge, retrieval
from benchmarks.protocols.retrieval import nearest_other, recall_at_1
from tests.benchmarks.protocols.vectors import arrays, cases

UNKNOWN_TEST = 4
STABLE = [
    "retrieval." + name + ".stable"
    for name in ("random", "ties", "singleton_class", "duplicates", "query_gallery")
]


def judged(embeddings, labels):
    part = np.full(len(labels), UNKNOWN_TEST, dtype=np.int8)
    return Judged(embeddings, labels, part, known_classes=np.array([0]))


@pytest.mark.parametrize("case", cases(*STABLE))
def test_recall_of_the_vectors(case):
    inputs, expected = arrays(case)
    same_set = case["params"]["same_set"]["value"]
    share, left_out = recall_at_1(
        inputs["S"], inputs["query_y"], inputs["ref_y"], same_set=same_set
    )
    assert share == pytest.approx(float(expected["recall_1"]), abs=1e-10)
    assert left_out == int(expected["n_excluded"])


def test_agrees_with_pytorch_metric_learning():
    torch = pytest.importorskip("torch")
    accuracy = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    inference = pytest.importorskip("pytorch_metric_learning.utils.inference")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, 900)
    embeddings = rng.standard_normal((40, 12))[labels] + rng.standard_normal((900, 12))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    peer = accuracy.AccuracyCalculator(
        include=("precision_at_1",),
        k=1,
        device=torch.device("cpu"),
        knn_func=inference.CustomKNN(distances.CosineSimilarity()),
    ).get_accuracy(torch.tensor(embeddings), torch.tensor(labels))
    metrics, _, _ = judge(judged(embeddings, labels), ["retrieval"], [])
    assert metrics["retrieval/recall_at_1"] == pytest.approx(peer["precision_at_1"], abs=1e-12)


def test_blocks_do_not_matter_and_nobody_finds_itself(monkeypatch):
    rng = np.random.default_rng(1)
    embeddings = rng.choice([-1.0, 1.0], (500, 16))  # exact cosines, many duplicates and ties
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -np.inf)
    expected = cosines.argmax(axis=1)
    np.testing.assert_array_equal(nearest_other(embeddings), expected)
    monkeypatch.setattr(retrieval, "BLOCK_SCORES", 3 * 500)
    np.testing.assert_array_equal(nearest_other(embeddings), expected)


def test_an_image_alone_in_its_class_is_left_out_but_can_be_found():
    # image 2 is alone in class 5, and nearest to image 1
    embeddings = np.array([[1, 0], [0.5, 1], [0.4, 1], [0.9, 0.1]])
    metrics, notes, _ = judge(judged(embeddings, np.array([8, 8, 5, 8])), ["retrieval"], [])
    assert metrics == {
        "retrieval/recall_at_1": 2 / 3,
        "retrieval/queries": 3.0,
        "retrieval/left_out": 1.0,
    }
    assert notes == {}


@pytest.mark.parametrize(
    ("embeddings", "labels", "reason"),
    [
        (np.ones((3, 2)), np.arange(3), "no class has two images"),
        (np.ones((0, 2)), np.arange(0), "the split has no such images"),
        (np.array([[1, np.inf], [1, 1]]), np.zeros(2, int), "1 of 2 embeddings are not finite"),
    ],
)
def test_undefined_recall_has_a_reason(embeddings, labels, reason):
    metrics, notes, _ = judge(judged(embeddings, labels), ["retrieval"], [])
    assert metrics["retrieval/recall_at_1"] is None
    assert notes == {"retrieval/recall_at_1": reason}


def test_scores_without_relevant_references_are_refused():
    with pytest.raises(ProtocolError, match="no query has a relevant reference"):
        recall_at_1(np.ones((1, 2)), np.array([0]), np.array([1, 2]), same_set=False)
