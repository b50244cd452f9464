"""Images in the shape of Omniglot for machines that have no data set and no library to decode one."""

from __future__ import annotations

import numpy as np

from datasets.image_set import TEST, TRAIN, ImageSet, from_arrays

KNOWN, UNKNOWN, IMAGES, SIDE = 964, 659, 20, 28


def characters(known: int = KNOWN, unknown: int = UNKNOWN) -> ImageSet:
    """A class is a smooth random pattern, its images are that pattern under noise: uint8 (N, 1, 28, 28).

    Known classes are in the part for training, unknown ones in that for testing, as in Omniglot.
    """
    rng = np.random.default_rng(0)
    classes = known + unknown
    coarse = rng.random((classes, 1, 7, 7))
    patterns = coarse.repeat(4, axis=2).repeat(4, axis=3)  # (classes, 1, 28, 28)
    labels = np.repeat(np.arange(classes), IMAGES)
    images = np.empty((len(labels), 1, SIDE, SIDE), dtype=np.uint8)
    for number, pattern in enumerate(patterns):
        noisy = pattern + rng.normal(0, 0.25, (IMAGES, 1, SIDE, SIDE))
        images[number * IMAGES : (number + 1) * IMAGES] = 255 * np.clip(noisy, 0, 1)
    parts = np.where(labels < known, TRAIN, TEST)
    return from_arrays("synthetic", images, labels, [str(name) for name in range(classes)], parts)
