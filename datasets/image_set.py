"""A decoded data set: every image, its class, and the part the data set itself puts it in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class ImageSet:
    """Decoded images with their classes; read-only.

    Attributes
    ----------
    name : str
        Name of the data set in the registry.
    images : uint8 (N, C, H, W)
        Usually a read-only memory map of the cache.
    labels : int64 (N,)
        Class of each image, 0 … len(class_names) − 1. Within a class, images stand in listing
        order.
    class_names : tuple of str
    parts : int8 (N,)
        The part the data set itself gives: TRAIN, VALIDATION or TEST; all TRAIN if it gives none.
    checksum : str
        ``content_checksum`` of the fields above, hexadecimal.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: np.ndarray
    checksum: str


def content_checksum(
    images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], parts: np.ndarray
) -> str:
    """SHA-256 (hexadecimal) of decoded content: shapes, values and class names."""
    digest = hashlib.sha256()
    for array, dtype in ((images, np.uint8), (labels, "<i8"), (parts, np.int8)):
        values = np.ascontiguousarray(array, dtype=dtype)
        digest.update(repr(values.shape).encode())
        digest.update(values.data)
    digest.update("\0".join(class_names).encode())
    return digest.hexdigest()


def first_parts(labels: np.ndarray, parts: np.ndarray, classes: int) -> np.ndarray:
    """The first part in which each class has an image, int8 (classes,)."""
    first = np.full(classes, TEST, dtype=np.int8)
    np.minimum.at(first, labels, parts)
    return first


def from_arrays(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    parts: np.ndarray | None = None,
) -> ImageSet:
    """Make an `ImageSet` of arrays (dtypes are cast, ``parts`` defaults to all TRAIN).

    Raises
    ------
    ValueError
        If lengths differ, the images are not (N, C, H, W), or a label has no class name.
    """
    images = np.ascontiguousarray(images, dtype=np.uint8)
    labels = np.asarray(labels, dtype=np.int64)
    given = np.zeros(len(labels), np.int8) if parts is None else np.asarray(parts, dtype=np.int8)
    if images.ndim != 4 or not len(images) == len(labels) == len(given):
        raise ValueError(
            f"{name}: images {images.shape}, labels {labels.shape} and parts {given.shape} must be "
            "(N, C, H, W), (N,) and (N,)"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ValueError(f"{name}: labels must lie in 0 … {len(class_names) - 1}")
    names = tuple(class_names)
    checksum = content_checksum(images, labels, names, given)
    return ImageSet(name, images, labels, names, given, checksum)
