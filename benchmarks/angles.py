"""Angles between training images and the class weights, as they change over training (ArcFace, figure 4a)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from benchmarks.data import TrainingData
    from benchmarks.stack import Stack

BINS = 180  # of one degree
SAMPLE = 1024  # training images, evenly spaced
TABLE = 2**22  # entries of an images x classes table; with more classes, fewer images


def watched_epochs(epochs: int) -> list[int]:
    """The first, the middle and the last epoch (1-based); fewer where they coincide."""
    return sorted({1, (epochs + 1) // 2, epochs})


@torch.no_grad()
def angle_histograms(stack: Stack, data: TrainingData) -> list[tuple[list[int], list[int]] | None]:
    """For each member the angles of its training images to their own and to all other classes' weights.

    The images are not augmented and embedded in evaluation mode.

    Returns
    -------
    For each member two lists of `BINS` counts, own class and others; None without class weights in the
    embeddings' space.
    """
    weights = stack.class_weights()
    found: list[tuple[list[int], list[int]] | None] = [None] * len(weights)
    for seed in {item.seed for item in stack.experiments}:
        members = [
            index
            for index, item in enumerate(stack.experiments)
            if item.seed == seed and weights[index] is not None
        ]
        if not members:
            continue
        images, labels = data.training_sample(seed, max(1, min(SAMPLE, TABLE // data.num_classes)))
        embeddings = stack.judged(stack.embed(images))
        for index in members:
            weight = weights[index]
            assert weight is not None
            found[index] = _counts(embeddings[index], weight, labels)
    return found


def _counts(embeddings: Tensor, weight: Tensor, labels: Tensor) -> tuple[list[int], list[int]]:
    cosines = F.normalize(embeddings, dim=1) @ F.normalize(weight, dim=1).T  # (B, C)
    bins = (torch.acos(cosines.clamp(-1, 1)) * (BINS / math.pi)).long().clamp(0, BINS - 1)
    own = bins.gather(1, labels[:, None]).flatten()
    target = torch.bincount(own, minlength=BINS)
    others = torch.bincount(bins.flatten(), minlength=BINS) - target
    return target.tolist(), others.tolist()
