"""The decoded data set and its checksum."""

import hashlib

import numpy as np
import pytest

from datasets.image_set import content_checksum, first_parts, from_arrays

IMAGES = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)
LABELS = np.array([0, 1, 1])
PARTS = np.array([0, 0, 2], np.int8)
NAMES = ("a", "b")


def test_checksum_is_that_of_shapes_values_and_names():
    expected = hashlib.sha256()
    expected.update(b"(3, 1, 2, 2)" + bytes(range(12)))
    expected.update(b"(3,)" + LABELS.astype("<i8").tobytes())
    expected.update(b"(3,)" + bytes([0, 0, 2]))
    expected.update(b"a\0b")
    assert content_checksum(IMAGES, LABELS, NAMES, PARTS) == expected.hexdigest()


def test_checksum_sees_every_field():
    other = IMAGES.copy()
    other[2, 0, 1, 1] += 1
    found = {
        content_checksum(IMAGES, LABELS, NAMES, PARTS),
        content_checksum(other, LABELS, NAMES, PARTS),
        content_checksum(IMAGES.reshape(3, 2, 2, 1), LABELS, NAMES, PARTS),
        content_checksum(IMAGES, LABELS[::-1], NAMES, PARTS),
        content_checksum(IMAGES, LABELS, ("a", "c"), PARTS),
        content_checksum(IMAGES, LABELS, NAMES, PARTS * 0),
    }
    assert len(found) == 6


@pytest.mark.parametrize(
    ("images", "labels", "parts"),
    [
        (IMAGES[:2], LABELS, PARTS),
        (IMAGES[:, 0], LABELS, PARTS),
        (IMAGES, LABELS, PARTS[:2]),
        (IMAGES, LABELS + 1, PARTS),
        (IMAGES, LABELS - 1, PARTS),
    ],
)
def test_arrays_must_fit(images, labels, parts):
    with pytest.raises(ValueError, match="toy"):
        from_arrays("toy", images, labels, NAMES, parts)


def test_first_parts():
    assert first_parts(np.array([0, 0, 1, 1, 2]), np.array([2, 0, 2, 1, 2]), 3).tolist() == [
        0,
        1,
        2,
    ]
