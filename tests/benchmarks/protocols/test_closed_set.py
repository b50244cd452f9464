"""Closed-set accuracy by the classifier and by the nearest class mean."""

import numpy as np
import pytest

from benchmarks.protocols import Judged, closed_set, judge
from benchmarks.protocols.closed_set import nearest_class_mean
from tests.benchmarks.protocols.vectors import arrays, cases

TRAIN, VALIDATION, TEST = 0, 1, 2


@pytest.mark.parametrize("case", cases("nearest_centroid.cosine"))
def test_nearest_class_mean_of_the_vectors(case):
    inputs, expected = arrays(case)
    found = nearest_class_mean(inputs["train"], inputs["train_y"], inputs["test"])
    assert (found == inputs["test_y"]).mean() == pytest.approx(float(expected["top1"]), abs=1e-10)


def test_long_training_vectors_do_not_pull_the_mean():
    # Directions 0° and 80° average to 40° although the second is a hundred times longer; class 7
    # stands at 100°.
    angle = np.radians([0, 80, 100])
    train = np.stack([np.cos(angle), np.sin(angle)], axis=1) * [[1], [100], [1]]
    image = np.radians([69, 71])
    images = np.stack([np.cos(image), np.sin(image)], axis=1)
    assert nearest_class_mean(train, np.array([3, 3, 7]), images).tolist() == [3, 7]


def test_ties_go_to_the_lowest_class_and_blocks_do_not_matter(monkeypatch):
    train = np.array([[0.0, 1.0], [1.0, 0.0]])
    images = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    expected = [2, 2, 5]
    assert nearest_class_mean(train, np.array([2, 5]), images).tolist() == expected
    monkeypatch.setattr(closed_set, "BLOCK_SCORES", 2)
    assert nearest_class_mean(train, np.array([2, 5]), images).tolist() == expected


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
    }
    return Judged(**(arrays_ | changes))


def test_shares_of_test_and_validation_images():
    metrics, notes, curves = judge(run(), ["closed_set"], [])
    assert metrics == {
        "closed_set/ncm_top1": 0.75,
        "closed_set/top1": 0.5,
        "validation/closed_set/ncm_top1": 1.0,
        "validation/closed_set/top1": 0.0,
    }
    assert notes == {}
    assert curves == {}


def test_a_loss_without_classifier_has_no_top1():
    metrics, notes, _ = judge(run(top_classes=None, top_scores=None), ["closed_set"], [])
    assert metrics["closed_set/top1"] is None
    assert notes["closed_set/top1"] == "the loss has no classifier"
    assert metrics["closed_set/ncm_top1"] == 0.75


def test_embeddings_and_scores_that_are_no_numbers_are_refused():
    broken = run().embeddings.copy()
    broken[0] = np.nan  # a training image
    metrics, notes, _ = judge(run(embeddings=broken), ["closed_set"], [])
    assert metrics["closed_set/ncm_top1"] is None
    assert notes["closed_set/ncm_top1"] == "1 of 2 embeddings are not finite"
    assert metrics["closed_set/top1"] == 0.5
    scores = np.full((7, 2), np.nan)
    metrics, notes, _ = judge(run(top_scores=scores), ["closed_set"], [])
    assert metrics["closed_set/top1"] is None
    assert "not numbers" in notes["closed_set/top1"]


def test_no_held_out_images():
    metrics, notes, _ = judge(run(part=np.zeros(7, dtype=np.int8)), ["closed_set"], [])
    assert metrics == {"closed_set/ncm_top1": None, "closed_set/top1": None}
    assert set(notes.values()) == {"the split has no such images"}
