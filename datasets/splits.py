"""Which classes are known, which are met only in validation or test, and which images train.

Known classes are divided image by image into training, validation and test; unknown classes are
whole. Validation and test have disjoint unknown classes, so that what is tuned on one says nothing
of the other.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from datasets.errors import DataError
from datasets.image_set import TEST, TRAIN, VALIDATION, ImageSet, first_parts
from datasets.registry import Description

PART_CODES = {
    "unused": -1,
    "train": 0,
    "known_validation": 1,
    "known_test": 2,
    "unknown_validation": 3,
    "unknown_test": 4,
}

SIX_FOUR = (
    (2, 4, 5, 9, 8, 3),
    (3, 2, 6, 9, 4, 0),
    (5, 8, 3, 2, 4, 6),
    (3, 7, 8, 4, 0, 5),
    (6, 3, 4, 9, 8, 2),
)
"""Known classes of the five published divisions of ten classes into 6 known and 4 unknown (Vaze et al. 2022)."""

UNUSED = -1  # the role of a known class that is left out
MIN_CLASSES = 2  # a classifier needs two classes, and so does a verification of unknown ones


@dataclass(frozen=True)
class SplitSpec:
    """How to divide a data set. Amounts are shares below 1 and numbers from 1 on.

    Attributes
    ----------
    classes : "random", "given" or "six_four"
        Random: unknown classes are drawn. Given: the data set's own parts decide; a class with
        training images is known, one without is unknown to validation or, with test images alone,
        to test. Six_four: the classic division of ten classes in open-set recognition, one of
        `SIX_FOUR`; the four unknown ones are for test.
    images : "random", "listed" or "given"
        Which images of a known class are held out: drawn; the last in listing order (test at the
        very end, validation before it); or those that the data set itself puts into its parts.
    unknown_validation : float
        Classes drawn as unknown to validation: of all classes, or unless ``classes`` is random of
        the known side, in addition to those that the data set gives.
    unknown_test : float or None
        Classes drawn as unknown to test. None: a quarter, or unless ``classes`` is random those
        given; it is then an error to ask for a number as well.
    known_validation : float
        Images of each known class held out for validation; with ``images="given"`` drawn from its
        training images, in addition to those that the data set gives.
    known_test : float or None
        Images of each known class held out for test. None: a fifth, or with ``images="given"``
        those given; it is then an error to ask for a number as well.
    known_classes : float or None
        Known classes that train, of those that the unknown ones leave; the others are unused,
        neither trained on nor judged. Which classes are unknown does not depend on it. None: all.

    Notes
    -----
    Shares are rounded to the nearest number, half up; a class share above 0 gives at least two
    classes. A known class always keeps a training image: test takes first, then validation, and a
    class too small for both gives what it has beyond that one image.
    """

    classes: str = "random"
    images: str = "random"
    unknown_validation: float = 0.1
    unknown_test: float | None = None
    known_validation: float = 0.0
    known_test: float | None = None
    known_classes: float | None = None

    def __post_init__(self) -> None:
        _choice("classes", self.classes, ("random", "given", "six_four"))
        _choice("images", self.images, ("random", "listed", "given"))
        # Resolved here, so that equal splits are equal specs.
        test_classes = _resolved("unknown_test", self.unknown_test, self.classes, 0.25)
        test_images = _resolved("known_test", self.known_test, self.images, 0.2)
        object.__setattr__(self, "unknown_test", test_classes)
        object.__setattr__(self, "known_test", test_images)
        for key in ("unknown_validation", "unknown_test", "known_validation", "known_test"):
            _amount(key, getattr(self, key))
        if self.known_classes is not None:
            _amount("known_classes", self.known_classes)
            if self.known_classes in (0, 1):
                raise DataError(
                    f"known_classes: {self.known_classes} must be a share below 1 or a number of "
                    f"at least {MIN_CLASSES}, or null for all"
                )


@dataclass(frozen=True)
class Split:
    """A data set divided: int64 positions into its images, pairwise disjoint, each sorted.

    ``known_classes`` are the sorted class ids of the known classes; the position in it is the label
    that a classifier trains on. ``checksum`` is a SHA-256 of all of it.
    """

    train: np.ndarray
    known_validation: np.ndarray
    known_test: np.ndarray
    unknown_validation: np.ndarray
    unknown_test: np.ndarray
    known_classes: np.ndarray
    checksum: str

    def part(self, count: int) -> np.ndarray:
        """Part of each of the data set's `count` images: int8 (count,) of ``PART_CODES``."""
        codes = np.full(count, PART_CODES["unused"], dtype=np.int8)
        for name, code in PART_CODES.items():
            if name != "unused":
                codes[getattr(self, name)] = code
        return codes


def make_split(
    image_set: ImageSet, spec: SplitSpec, rng: np.random.Generator, division: int = 0
) -> Split:
    """Divide `image_set` as `spec` says.

    `division` picks one of `SIX_FOUR` (its rest by 5). The draws of classes and of images do not
    depend on the amounts asked for: with one seed, a larger test set contains the smaller one, and
    more known classes contain the fewer.

    Raises
    ------
    DataError
        If fewer known classes would be left than are asked for, or than two, fewer than two unknown ones where any are
        asked for, a known class has no training image, or the data set does not give the parts
        asked for.
    """
    labels, parts = image_set.labels, image_set.parts
    _parts_given(spec, bool((parts != TRAIN).any()))
    class_order = rng.permutation(len(image_set.class_names))
    image_order = rng.random(len(labels))

    roles = _class_roles(image_set, spec, class_order, division)
    role = roles[labels]
    known = np.flatnonzero(role == TRAIN)
    held = _held_out(labels[known], parts[known], spec, image_order[known])
    unknown = role == TEST
    if spec.classes == "six_four" and spec.images == "given":
        unknown &= parts == TEST  # as published: no training image is ever judged
    return _checked(
        {
            "train": known[held == TRAIN],
            "known_validation": known[held == VALIDATION],
            "known_test": known[held == TEST],
            "unknown_validation": np.flatnonzero(role == VALIDATION),
            "unknown_test": np.flatnonzero(unknown),
        },
        np.flatnonzero(roles == TRAIN),
        labels,
    )


def class_counts(spec: SplitSpec, description: Description) -> tuple[int, int, int]:
    """Numbers of (known, unknown to validation, unknown to test) classes that `spec` gives.

    Raises
    ------
    DataError
        As `make_split` does for the numbers of classes.
    """
    given = description.given_classes
    _parts_given(spec, given is not None)
    if spec.classes == "six_four":
        given = _tally(_six_four(description.classes, 0))
    elif spec.classes == "random" or given is None:
        given = (description.classes, 0, 0)
    return _divided(spec, given)


def nominal_train_images(image_set: ImageSet, spec: SplitSpec) -> int:
    """Training images of an average draw of the known classes.

    It does not depend on the seed, so that steps per epoch made from it are the same for all seeds
    even where classes differ in size.
    """
    roles = _roles_before_drawing(image_set, spec)
    known = _divided(spec, _tally(roles))[0]
    labels = image_set.labels
    if spec.images == "given":
        labels = labels[image_set.parts == TRAIN]
    sizes = np.bincount(labels, minlength=len(roles))
    test, validation = _images(spec, sizes)
    train = (sizes - test - validation)[roles == TRAIN]
    return int(known * train.sum() // len(train))


def _class_roles(
    image_set: ImageSet, spec: SplitSpec, order: np.ndarray, division: int
) -> np.ndarray:
    """Role of each class, (classes,): TRAIN for known, VALIDATION and TEST for unknown, or UNUSED."""
    roles = _roles_before_drawing(image_set, spec, division)
    given = _tally(roles)
    known, validation, test = _divided(spec, given)
    free = order[roles[order] == TRAIN]
    drawn_test, drawn_validation = test - given[TEST], validation - given[VALIDATION]
    roles[free[:drawn_test]] = TEST
    roles[free[drawn_test : drawn_test + drawn_validation]] = VALIDATION
    roles[free[drawn_test + drawn_validation + known :]] = UNUSED
    return roles


def _roles_before_drawing(image_set: ImageSet, spec: SplitSpec, division: int = 0) -> np.ndarray:
    """All known, or as the data set or the division gives them, (classes,)."""
    classes = len(image_set.class_names)
    if spec.classes == "random":
        return np.full(classes, TRAIN, dtype=np.int8)
    if spec.classes == "six_four":
        return _six_four(classes, division)
    return first_parts(image_set.labels, image_set.parts, classes)


def _six_four(classes: int, division: int) -> np.ndarray:
    if classes != 10:
        raise DataError(
            f"classes: 'six_four' divides ten classes, this data set has {classes}; use 'random'"
        )
    roles = np.full(classes, TEST, dtype=np.int8)
    roles[list(SIX_FOUR[division % len(SIX_FOUR)])] = TRAIN
    return roles


def _tally(roles: np.ndarray) -> tuple[int, int, int]:
    known, validation, test = np.bincount(roles, minlength=3).tolist()
    return known, validation, test


def _divided(spec: SplitSpec, given: tuple[int, int, int]) -> tuple[int, int, int]:
    """Numbers of classes after drawing unknown ones, and those that train, from the known of `given`."""
    known, validation, test = given
    more_validation = _classes(spec.unknown_validation, known)
    more_test = _classes(spec.unknown_test or 0, known)
    counts = (
        known - more_validation - more_test,
        validation + more_validation,
        test + more_test,
    )
    if counts[0] < MIN_CLASSES:
        raise DataError(
            f"a split of {sum(given)} classes with {counts[1]} unknown to validation and "
            f"{counts[2]} to test leaves {counts[0]} known; at least {MIN_CLASSES} are needed"
        )
    for key, count in (("unknown_validation", counts[1]), ("unknown_test", counts[2])):
        if 0 < count < MIN_CLASSES:
            raise DataError(f"{key}: {count} class cannot be verified; use 0 or at least 2")
    return _limited(spec.known_classes, counts[0]), *counts[1:]


def _limited(asked: float | None, known: int) -> int:
    """How many of the `known` classes train."""
    count = known if asked is None else _classes(asked, known)
    if count > known:
        raise DataError(
            f"known_classes: {count} is more than the {known} that the split leaves known"
        )
    return count


def _held_out(
    labels: np.ndarray, parts: np.ndarray, spec: SplitSpec, order: np.ndarray
) -> np.ndarray:
    """Part of each known image, (n,): TRAIN, VALIDATION or TEST."""
    held = np.full(len(labels), TRAIN, dtype=np.int8)
    free = np.arange(len(labels))
    if spec.images == "given":
        held = parts.astype(np.int8)
        free = np.flatnonzero(parts == TRAIN)
    sizes = np.bincount(labels[free])
    test, validation = _images(spec, sizes)
    # Rank from the end: listing order, or the order drawn.
    key = -free if spec.images == "listed" else order[free]
    ranked = np.lexsort((key, labels[free]))
    rank = np.empty(len(free), dtype=np.int64)
    rank[ranked] = np.arange(len(free)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    own_test, own_validation = test[labels[free]], validation[labels[free]]
    held[free[rank < own_test]] = TEST
    held[free[(rank >= own_test) & (rank < own_test + own_validation)]] = VALIDATION
    return held


def _images(spec: SplitSpec, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images to hold out of classes of `sizes`: (test, validation); one image always stays."""
    spare = np.maximum(sizes - 1, 0)
    test = np.minimum(_rounded(spec.known_test or 0, sizes), spare)
    return test, np.minimum(_rounded(spec.known_validation, sizes), spare - test)


def _rounded(amount: float, total: np.ndarray) -> np.ndarray:
    if amount >= 1:
        return np.full(total.shape, int(amount))
    # The small term undoes the binary rounding of decimal shares: 0.15 of 10 is 1.5, hence 2.
    return np.floor(amount * total + 0.5 + 1e-9).astype(np.int64)


def _classes(amount: float, total: int) -> int:
    if 0 < amount < 1:
        return max(MIN_CLASSES, int(_rounded(amount, np.array(total))))
    return int(amount)


def _checked(positions: dict[str, np.ndarray], known: np.ndarray, labels: np.ndarray) -> Split:
    """The split, after making sure that it is one."""
    together = np.concatenate(list(positions.values()))
    if len(np.unique(together)) != len(together):
        raise DataError("the parts of the split share images")
    owner: dict[int, str] = {}
    for name, group in (
        ("known", np.concatenate([positions[key] for key in list(positions)[:3]])),
        ("unknown_validation", positions["unknown_validation"]),
        ("unknown_test", positions["unknown_test"]),
    ):
        for label in np.unique(labels[group]).tolist():
            if owner.setdefault(label, name) != name:
                raise DataError(f"class {label} is both {owner[label]} and {name}")
    untrained = np.setdiff1d(known, labels[positions["train"]])
    if len(untrained):
        raise DataError(
            f"{len(untrained)} known classes have no training image; the first is class "
            f"{untrained[0]}"
        )
    digest = hashlib.sha256()
    for array in (*positions.values(), known):
        digest.update(f"{len(array)}:".encode())
        digest.update(array.astype("<i8").tobytes())
    return Split(**positions, known_classes=known, checksum=digest.hexdigest())


def _parts_given(spec: SplitSpec, given: bool) -> None:
    for key in ("classes", "images"):
        if getattr(spec, key) == "given" and not given:
            raise DataError(f"{key}: 'given' cannot be, this data set gives no parts; use 'random'")


def _choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DataError(f"{key}: {value!r} is not one of {', '.join(allowed)}")


def _resolved(key: str, value: float | None, rule: str, default: float) -> float:
    if rule == "random" or rule == "listed":
        return default if value is None else value
    if value:
        raise DataError(f"{key}: {value} cannot be asked for where the split is {rule}; use 0")
    return 0.0


def _amount(key: str, value: float) -> None:
    """Raise unless `value` is a share in [0, 1) or a whole number."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise DataError(f"{key}: {value!r} must be a share below 1 or a number of at least 0")
    if value >= 1 and value != int(value):
        raise DataError(f"{key}: {value!r} is neither a share below 1 nor a whole number")
