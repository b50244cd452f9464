"""Batch plans: which images stand in which batch of an epoch, as one index array."""

import numpy as np

from datasets.errors import DataError

SAMPLERS = ("shuffled", "balanced")


def plan_epoch(
    labels: np.ndarray,
    *,
    sampler: str,
    batch_size: int,
    steps: int,
    images_per_class: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Plan one epoch of batches.

    Parameters
    ----------
    labels : int (n,)
        Classes of the training images.
    sampler : "shuffled" or "balanced"
        Shuffled: a permutation of all images cut to ``steps * batch_size``; further permutations
        follow where it is too short. Balanced: each batch holds ``batch_size // images_per_class``
        distinct classes with ``images_per_class`` images each ("P × K", Hermans et al. 2017);
        classes, and the images of a class, are dealt without replacement before any comes again. No
        image stands twice in a batch unless its class has fewer than ``images_per_class`` images.
    batch_size, steps : int
        Images per batch and batches per epoch.
    images_per_class : int
        Of the balanced sampler; the shuffled one does not look at it.
    rng : np.random.Generator

    Returns
    -------
    int64 (steps, batch_size)
        Positions into ``labels``.

    Raises
    ------
    DataError
        If the labels cannot fill such batches, or the sizes do not fit together.
    """
    check_batches(sampler, batch_size, images_per_class)
    if len(labels) == 0 or steps < 1:
        raise DataError(f"nothing to plan: {len(labels)} images, {steps} steps")
    if sampler == "shuffled":
        return _deal(len(labels), steps * batch_size, rng).reshape(steps, batch_size)
    return _balanced(
        np.asarray(labels), batch_size // images_per_class, images_per_class, steps, rng
    )


def check_batches(sampler: str, batch_size: int, images_per_class: int) -> None:
    """Raise `DataError` unless the sampler is known and the sizes fit together."""
    if sampler not in SAMPLERS:
        raise DataError(f"sampler: {sampler!r} is not one of {', '.join(SAMPLERS)}")
    if batch_size < 1:
        raise DataError(f"batch_size: {batch_size} must be at least 1")
    if sampler == "balanced" and (images_per_class < 1 or batch_size % images_per_class):
        raise DataError(
            f"batch_size: {batch_size} is not a multiple of images_per_class {images_per_class}, "
            "which the balanced sampler needs"
        )


def _deal(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """`length` of 0 … count − 1: one permutation after the other, the last one cut."""
    rounds = -(-length // count)
    return np.concatenate([rng.permutation(count) for _ in range(rounds)])[:length]


def _balanced(
    labels: np.ndarray, classes: int, images: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if classes > len(sizes):
        raise DataError(
            f"a balanced batch needs {classes} classes (batch_size / images_per_class), "
            f"there are {len(sizes)}"
        )
    slots = _deal_classes(len(sizes), classes, steps, rng)  # (steps * classes,)
    plan = _deal_images(labels, sizes, slots, images, rng)  # (steps * classes, images)
    return plan.reshape(steps, classes * images)


def _deal_classes(count: int, per_batch: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Permutations of the classes in a row, so joined that no batch holds a class twice."""
    length = per_batch * steps
    dealt = np.empty(length + count, dtype=np.int64)
    filled = 0
    while filled < length:
        order = rng.permutation(count)
        begun = filled % per_batch  # classes that the open batch holds already
        if begun:
            early = np.ones(count, dtype=bool)
            early[dealt[filled - begun : filled]] = False
            head = order[early[order]][: per_batch - begun]
            early[:] = False
            early[head] = True
            order = np.concatenate([head, order[~early[order]]])
        dealt[filled : filled + count] = order
        filled += count
    return dealt[:length]


def _deal_images(
    labels: np.ndarray,
    sizes: np.ndarray,
    slots: np.ndarray,
    images: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """`images` positions for each slot's class, (len(slots), images).

    The images of a class are shuffled into a round; each turn of the class takes the next `images`
    of its round, and a round that cannot fill another turn is followed by a new one.
    """
    turns = np.maximum(sizes // images, 1)  # turns in a round, by class
    rounds = -(-np.bincount(slots, minlength=len(sizes)) // turns)

    # Every round of every class is a block of the class's positions, shuffled within the block.
    block_class = np.repeat(np.arange(len(sizes)), rounds)
    block_size = sizes[block_class]
    block_start = np.cumsum(block_size) - block_size
    block = np.repeat(np.arange(len(block_class)), block_size)
    members = np.argsort(labels, kind="stable")
    member_start = np.cumsum(sizes) - sizes
    rank = np.arange(len(block)) - block_start[block]
    positions = members[member_start[block_class[block]] + rank]
    positions = positions[np.lexsort((rng.random(len(block)), block))]

    turn = _occurrence(slots)
    first_block = np.cumsum(rounds) - rounds
    of_slot = first_block[slots] + turn // turns[slots]
    offset = (turn % turns[slots] * images)[:, None] + np.arange(images)
    return positions[block_start[of_slot][:, None] + offset % sizes[slots][:, None]]


def _occurrence(values: np.ndarray) -> np.ndarray:
    """How often each element's value stood before it: [3, 5, 3] → [0, 0, 1]."""
    order = np.argsort(values, kind="stable")
    _, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
    before = np.empty(len(values), dtype=np.int64)
    before[order] = np.arange(len(values)) - np.repeat(starts, counts)
    return before
