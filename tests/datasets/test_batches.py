"""Batch plans: who stands where, how often, and never twice."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.batches import plan_epoch
from datasets.errors import DataError


def plan(labels, sampler="balanced", batch_size=12, steps=10, images_per_class=3, seed=0):
    return plan_epoch(
        np.asarray(labels),
        sampler=sampler,
        batch_size=batch_size,
        steps=steps,
        images_per_class=images_per_class,
        rng=np.random.default_rng(seed),
    )


def test_shuffled_is_permutations_in_a_row():
    planned = plan(np.zeros(10), "shuffled", batch_size=4, steps=6)
    assert planned.shape == (6, 4)
    assert planned.dtype == np.int64
    flat = planned.ravel()
    assert sorted(flat[:10]) == sorted(flat[10:20]) == list(range(10))
    assert flat[:10].tolist() != flat[10:20].tolist()
    assert len(set(flat[20:])) == 4


def test_shuffled_is_cut_where_an_epoch_is_shorter():
    assert len(set(plan(np.zeros(100), "shuffled", 7, 3).ravel().tolist())) == 21


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=4, max_size=15),
    per_batch=st.integers(1, 4),
    images=st.integers(1, 5),
    steps=st.integers(1, 25),
    seed=st.integers(0, 9),
)
def test_balanced_batches(sizes, per_batch, images, steps, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 7, sizes))
    planned = plan(labels, "balanced", per_batch * images, steps, images, seed)
    assert planned.shape == (steps, per_batch * images)
    for batch in planned:
        classes, counts = np.unique(labels[batch], return_counts=True)
        assert len(classes) == per_batch
        assert (counts == images).all()
        for label in classes:
            own = batch[labels[batch] == label]
            assert len(set(own.tolist())) == min(images, sizes[label // 7])

    # Classes are dealt in rounds: no class is ever two turns ahead of another.
    turns = np.bincount(labels[planned].ravel() // 7, minlength=len(sizes)) // images
    assert turns.max() - turns.min() <= 1 + (len(sizes) % per_batch > 0)


def test_images_of_a_class_are_dealt_in_rounds():
    labels = np.repeat(np.arange(2), 6)
    planned = plan(labels, batch_size=6, steps=8, images_per_class=3)
    # 2 classes x 3 images per batch: two batches show each of the 12 images once.
    for pair in planned.reshape(4, 12):
        assert sorted(pair.tolist()) == list(range(12))


def test_every_image_is_equally_likely():
    labels = np.repeat(np.arange(3), 5)  # 5 images are no multiple of 2
    counts = np.zeros(15)
    for seed in range(400):
        counts += np.bincount(
            plan(labels, batch_size=4, steps=3, images_per_class=2, seed=seed).ravel(), minlength=15
        )
    expected = 400 * 12 / 15
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_a_seed_repeats_and_another_differs():
    labels = np.repeat(np.arange(30), 5)
    for sampler in ("shuffled", "balanced"):
        assert (plan(labels, sampler) == plan(labels, sampler)).all()
        assert (plan(labels, sampler) != plan(labels, sampler, seed=1)).any()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"sampler": "sorted"}, "sampler: 'sorted'"),
        ({"batch_size": 10}, "not a multiple of images_per_class 3"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"images_per_class": 0}, "images_per_class 0"),
        ({"steps": 0}, "0 steps"),
        ({"batch_size": 36}, "needs 12 classes.*there are 6"),
    ],
)
def test_impossible_plans_are_refused(arguments, reason):
    with pytest.raises(DataError, match=reason):
        plan(np.repeat(np.arange(6), 4), **arguments)


def test_no_images_are_refused():
    with pytest.raises(DataError, match="0 images"):
        plan([], "shuffled")


def test_an_epoch_is_planned_in_milliseconds():
    labels = np.repeat(np.arange(964), 16)
    for sampler, limit in (("shuffled", 0.05), ("balanced", 0.25)):  # ten times what it takes
        start = time.perf_counter()
        plan(labels, sampler, 128, 120, 4)
        assert time.perf_counter() - start < limit
