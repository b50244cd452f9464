"""Splits: invariants over random data sets, and the rule of each option on small ones by hand."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.errors import DataError
from datasets.image_set import TEST, TRAIN, VALIDATION, ImageSet, from_arrays
from datasets.registry import Description
from datasets.splits import (
    PART_CODES,
    SIX_FOUR,
    SplitSpec,
    class_counts,
    make_split,
    nominal_train_images,
)


def image_set(sizes: list[int], parts: list[int] | None = None) -> ImageSet:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.zeros((len(labels), 1, 2, 2))
    return from_arrays("toy", images, labels, [f"c{i}" for i in range(len(sizes))], parts)


def description(data: ImageSet, given_classes: tuple[int, int, int] | None = None) -> Description:
    sizes = np.bincount(data.labels)
    return Description(len(sizes), len(data.labels), int(sizes.min()), 1, 2, given_classes, "x")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


amounts = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.5]), st.integers(0, 6))


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=25),
    images=st.sampled_from(["random", "listed"]),
    chosen=st.tuples(amounts, amounts, amounts, amounts),
    seed=st.integers(0, 99),
)
def test_every_split_is_a_disjoint_cover_with_disjoint_classes(sizes, images, chosen, seed):
    data = image_set(sizes)
    spec = SplitSpec("random", images, *chosen)
    try:
        counts = class_counts(spec, description(data))
    except DataError:
        with pytest.raises(DataError):
            make_split(data, spec, rng(seed))
        return
    split = make_split(data, spec, rng(seed))
    known = [split.train, split.known_validation, split.known_test]
    unknown = [split.unknown_validation, split.unknown_test]
    together = np.concatenate(known + unknown)
    assert sorted(together.tolist()) == list(range(len(data.labels)))

    classes = [set(data.labels[part].tolist()) for part in (np.concatenate(known), *unknown)]
    assert sum(len(group) for group in classes) == len(sizes)
    assert set().union(*classes) == set(range(len(sizes)))
    assert tuple(len(group) for group in classes) == counts
    assert set(data.labels[split.train].tolist()) == classes[0]
    assert split.known_classes.tolist() == sorted(classes[0])

    codes = split.part(len(data.labels))
    for name, code in PART_CODES.items():
        if name != "unused":
            assert np.flatnonzero(codes == code).tolist() == getattr(split, name).tolist()
    again = make_split(data, spec, rng(seed))
    assert again.checksum == split.checksum


def test_shares_and_numbers_by_hand():
    data = image_set([10] * 20)
    split = make_split(data, SplitSpec(unknown_test=0.25, known_test=0.2), rng())
    assert len(np.unique(data.labels[split.unknown_test])) == 5
    assert len(np.unique(data.labels[split.unknown_validation])) == 2
    assert len(split.known_classes) == 13
    assert np.bincount(data.labels[split.known_test], minlength=20).max() == 2
    assert len(split.known_test) == 26
    assert len(split.train) == 13 * 8

    numbers = SplitSpec(unknown_validation=3, unknown_test=4, known_validation=1, known_test=3)
    split = make_split(data, numbers, rng())
    assert len(split.unknown_validation) == 30
    assert len(split.unknown_test) == 40
    assert len(split.known_validation) == 13
    assert len(split.known_test) == 39


def test_a_share_above_zero_is_at_least_two_classes():
    assert class_counts(SplitSpec(), description(image_set([3] * 6))) == (2, 2, 2)
    assert class_counts(SplitSpec(unknown_validation=0), description(image_set([3] * 6))) == (
        4,
        0,
        2,
    )


def test_decimal_shares_round_half_up():
    # 0.15 · 10 = 1.5 exactly in decimals, though not in binary
    data = image_set([10] * 4)
    split = make_split(
        data, SplitSpec(unknown_validation=0, unknown_test=0, known_test=0.15), rng()
    )
    assert len(split.known_test) == 8


def test_small_classes_keep_a_training_image_and_test_comes_first():
    data = image_set([1, 2, 3, 9])
    closed = SplitSpec(
        unknown_validation=0, unknown_test=0, known_validation=2, known_test=2, images="listed"
    )
    split = make_split(data, closed, rng())
    assert split.train.tolist() == [0, 1, 3, 6, 7, 8, 9, 10]
    assert split.known_test.tolist() == [2, 4, 5, 13, 14]
    assert split.known_validation.tolist() == [11, 12]
    assert split.known_classes.tolist() == [0, 1, 2, 3]


def test_random_images_differ_by_seed_and_listed_do_not():
    data = image_set([20] * 6)
    drawn = SplitSpec(unknown_validation=0, unknown_test=0)
    listed = SplitSpec(unknown_validation=0, unknown_test=0, images="listed")
    drawn_by_seed = {make_split(data, drawn, rng(seed)).checksum for seed in range(5)}
    assert len(drawn_by_seed) == 5
    expected = np.flatnonzero(np.arange(120) % 20 >= 16)
    for seed in range(3):
        assert make_split(data, listed, rng(seed)).known_test.tolist() == expected.tolist()


def test_each_class_and_image_is_drawn_about_equally_often():
    data = image_set([5] * 10)
    spec = SplitSpec(unknown_validation=0, unknown_test=2, known_test=1)
    draws = 2000
    total = np.zeros((2, 50))
    for seed in range(draws):
        split = make_split(data, spec, rng(seed))
        total[0, split.unknown_test] += 1
        total[1, split.known_test] += 1
    # unknown with probability 2/10; held out with 8/10 · 1/5; five standard deviations
    for counts, p in zip(total, (0.2, 0.16), strict=True):
        assert np.abs(counts - p * draws).max() < 5 * np.sqrt(draws * p * (1 - p))


def test_larger_amounts_contain_smaller_ones():
    data = image_set([10] * 20)
    small = make_split(data, SplitSpec(unknown_test=4, known_test=2), rng(7))
    large = make_split(data, SplitSpec(unknown_test=6, known_test=4), rng(7))
    assert set(small.unknown_test) < set(large.unknown_test)
    both = np.isin(data.labels[small.known_test], large.known_classes)
    assert set(small.known_test[both]) < set(large.known_test)


def test_fewer_known_classes_change_nothing_else():
    """Nested with one seed; what is judged as unknown, and each class's own images, stay as they are."""
    data = image_set([7, 10, 13, 10] * 6)
    spec = SplitSpec(unknown_validation=3, unknown_test=5, known_validation=1)
    whole = make_split(data, spec, rng(7))
    assert len(whole.known_classes) == 16
    before: set[int] = set()
    for count in (2, 3, 0.5, 11, 16):
        limited = replace(spec, known_classes=count)
        split = make_split(data, limited, rng(7))
        number = 8 if count == 0.5 else count
        assert len(split.known_classes) == number
        assert class_counts(limited, description(data)) == (number, 3, 5)
        known = set(split.known_classes.tolist())
        assert before < known <= set(whole.known_classes.tolist())
        before = known
        for name in ("unknown_validation", "unknown_test"):
            assert np.array_equal(getattr(split, name), getattr(whole, name))
        for name in ("train", "known_validation", "known_test"):
            everyone = getattr(whole, name)
            mine = everyone[np.isin(data.labels[everyone], split.known_classes)]
            assert np.array_equal(getattr(split, name), mine)
        unused = split.part(len(data.labels)) == PART_CODES["unused"]
        dropped = set(whole.known_classes.tolist()) - known
        assert set(data.labels[unused].tolist()) == dropped
        # Whole classes: none of their images is left in any part.
        assert unused.sum() == np.isin(data.labels, sorted(dropped)).sum()
    assert split.checksum == whole.checksum


def test_another_seed_draws_other_known_classes():
    data, spec = image_set([5] * 20), SplitSpec(known_classes=4)
    drawn = {tuple(make_split(data, spec, rng(seed)).known_classes.tolist()) for seed in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize("classes", ["given", "six_four"])
def test_known_classes_are_fewer_of_those_given(classes):
    if classes == "given":
        data, counts = given_set(), (4, 2, 2)
    else:
        data, counts = image_set([5] * 10), (10, 0, 0)
    spec = SplitSpec(classes=classes, unknown_validation=0)
    whole = make_split(data, spec, rng(), 1)
    split = make_split(data, replace(spec, known_classes=3), rng(), 1)
    assert len(split.known_classes) == 3
    assert set(split.known_classes) < set(whole.known_classes)
    assert np.array_equal(split.unknown_test, whole.unknown_test)
    assert np.array_equal(split.unknown_validation, whole.unknown_validation)
    assert class_counts(replace(spec, known_classes=3), description(data, counts))[0] == 3


def given_set() -> ImageSet:
    """Classes 0–3 with training images, 4–5 from validation on, 6–7 in test alone."""
    sizes = [4] * 8
    parts = [TRAIN, TRAIN, VALIDATION, TEST] * 4 + [VALIDATION, VALIDATION, VALIDATION, TEST] * 2
    return image_set(sizes, parts + [TEST] * 8)


def test_given_classes_and_images():
    data = given_set()
    spec = SplitSpec(classes="given", images="given", unknown_validation=0)
    assert spec.unknown_test == 0
    assert spec.known_test == 0
    split = make_split(data, spec, rng())
    assert split.known_classes.tolist() == [0, 1, 2, 3]
    assert split.train.tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    assert split.known_validation.tolist() == [2, 6, 10, 14]
    assert split.known_test.tolist() == [3, 7, 11, 15]
    assert split.unknown_validation.tolist() == list(range(16, 24))
    assert split.unknown_test.tolist() == list(range(24, 32))
    assert class_counts(spec, description(data, (4, 2, 2))) == (4, 2, 2)


def test_unknown_validation_is_drawn_from_the_given_known_classes():
    data = given_set()
    spec = SplitSpec(classes="given", unknown_validation=2)
    split = make_split(data, spec, rng())
    unknown = set(data.labels[split.unknown_validation].tolist())
    assert {4, 5} < unknown <= set(range(6))
    assert len(unknown) == 4
    assert set(data.labels[split.unknown_test].tolist()) == {6, 7}
    assert class_counts(spec, description(data, (4, 2, 2))) == (2, 4, 2)


def test_given_where_every_class_is_in_every_part_means_all_known():
    data = image_set([4] * 5, [TRAIN, TRAIN, TRAIN, TEST] * 5)
    spec = SplitSpec(classes="given", images="given", unknown_validation=0, known_validation=1)
    split = make_split(data, spec, rng())
    assert split.known_classes.tolist() == [0, 1, 2, 3, 4]
    assert split.known_test.tolist() == [3, 7, 11, 15, 19]
    assert np.bincount(data.labels[split.known_validation]).tolist() == [1] * 5
    assert nominal_train_images(data, spec) == len(split.train) == 10


@pytest.mark.parametrize("division", range(6))
def test_the_published_divisions_into_six_and_four(division):
    data = image_set([5] * 10, [TRAIN, TRAIN, TRAIN, TRAIN, TEST] * 10)
    spec = SplitSpec(classes="six_four", images="given", unknown_validation=0)
    split = make_split(data, spec, rng(), division)
    known = SIX_FOUR[division % 5]
    assert split.known_classes.tolist() == sorted(known)
    assert set(data.labels[split.unknown_test].tolist()) == set(range(10)) - set(known)
    # As published, unknown images too come from the set's own test part.
    assert (data.parts[split.unknown_test] == TEST).all()
    assert len(split.train) == 24
    assert len(split.unknown_test) == 4
    assert class_counts(spec, description(data, (10, 0, 0))) == (6, 0, 4)
    drawn = make_split(data, SplitSpec(classes="six_four", unknown_validation=0), rng(), division)
    assert len(drawn.unknown_test) == 20


@pytest.mark.parametrize("images", ["random", "listed"])
def test_nominal_train_images_is_the_mean_over_draws(images):
    sizes = [3, 5, 8, 20, 20, 7, 9, 11]
    data = image_set(sizes)
    spec = SplitSpec(images=images, unknown_validation=0, unknown_test=2, known_test=0.2)
    train = [n - min(int(0.2 * n + 0.5), n - 1) for n in sizes]
    assert nominal_train_images(data, spec) == 6 * sum(train) // 8
    found = np.mean([len(make_split(data, spec, rng(seed)).train) for seed in range(1500)])
    assert found == pytest.approx(6 * sum(train) / 8, abs=0.5)
    limited = replace(spec, known_classes=4)
    assert nominal_train_images(data, limited) == 4 * sum(train) // 8


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"classes": "rnd"}, "classes"),
        ({"images": "last"}, "images"),
        ({"unknown_test": -1}, "unknown_test"),
        ({"known_test": 1.5}, "known_test"),
        ({"known_validation": float("nan")}, "known_validation"),
        ({"unknown_validation": True}, "unknown_validation"),
        ({"unknown_validation": "3"}, "unknown_validation"),
        ({"classes": "given", "unknown_test": 0.25}, "unknown_test"),
        ({"images": "given", "known_test": 2}, "known_test"),
        ({"classes": "six_four", "unknown_test": 4}, "unknown_test"),
        ({"known_classes": 0}, "known_classes: 0"),
        ({"known_classes": 1}, "known_classes: 1"),
        ({"known_classes": 2.5}, "known_classes: 2.5"),
        ({"known_classes": True}, "known_classes"),
    ],
)
def test_bad_specs_name_the_key(arguments, word):
    with pytest.raises(DataError, match=word):
        SplitSpec(**arguments)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (SplitSpec(unknown_test=9, unknown_validation=0), "1 known"),
        (SplitSpec(unknown_test=1), "unknown_test: 1 class"),
        (SplitSpec(unknown_validation=1), "unknown_validation: 1 class"),
        (SplitSpec(known_classes=7, unknown_test=2), "7 is more than the 6 that the split leaves"),
        (SplitSpec(classes="given"), "gives no parts"),
        (SplitSpec(images="given"), "gives no parts"),
    ],
)
def test_impossible_splits_are_refused_by_plan_and_data_alike(spec, reason):
    data = image_set([5] * 10)
    with pytest.raises(DataError, match=reason):
        class_counts(spec, description(data))
    with pytest.raises(DataError, match=reason):
        make_split(data, spec, rng())


def test_six_four_needs_ten_classes():
    data = image_set([5] * 9)
    spec = SplitSpec(classes="six_four", unknown_validation=0)
    with pytest.raises(DataError, match="this data set has 9"):
        class_counts(spec, description(data))
    with pytest.raises(DataError, match="this data set has 9"):
        make_split(data, spec, rng())


def test_a_known_class_without_training_image_is_refused():
    data = image_set([2] * 4, [TRAIN, TEST] * 3 + [TEST, TEST])
    spec = SplitSpec(images="given", unknown_validation=0, unknown_test=0)
    with pytest.raises(DataError, match=r"no training image.*class 3"):
        make_split(data, spec, rng())


def test_planning_imports_no_torch():
    code = (
        "import datasets.registry, datasets.splits, datasets.folder, sys; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
