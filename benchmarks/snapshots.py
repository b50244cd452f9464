"""Embeddings of some images at chosen epochs of training, to see how they came to lie where they end."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.data import TrainingData
from benchmarks.stack import Stack
from datasets.splits import PART_CODES, Split

IMAGES = 2_000  # of a run, at most; all its parts together


class Snapshots:
    """What a stack in training keeps of its members' embeddings at the epochs of ``recipe.snapshots``.

    The embeddings are those that are judged, in evaluation mode. At epoch 0, before the first step, batch norm
    therefore has its initial statistics, mean 0 and variance 1: the features are not normalised yet.

    Parameters
    ----------
    stack, data : as in training; taking a snapshot changes neither.
    epochs : when to take one, 0 for before training.
    """

    def __init__(self, stack: Stack, data: TrainingData, epochs: list[int]) -> None:
        self.stack, self.data, self.epochs = stack, data, epochs
        self.rows = {seed: snapshot_rows(split) for seed, split in data.splits.items()}
        # For each epoch taken, by the place of each member in the stack:
        self.embeddings: dict[int, dict[int, Tensor]] = {}  # (S, D)
        self.weights: dict[int, dict[int, Tensor]] = {}  # (C, D); not of members that have none

    def take(self, epoch: int, stopped: list[bool]) -> None:
        """Take the snapshot of `epoch` if one is asked for, of the members that are not given up (`stopped`)."""
        if epoch not in self.epochs:
            return
        alive = [index for index, over in enumerate(stopped) if not over]
        embeddings = self.embeddings[epoch] = {}
        # Seed by seed, though each pass embeds with every member: no batch depends on which seeds stand in a stack.
        for seed, rows in self.rows.items():
            members = [i for i in alive if self.stack.experiments[i].seed == seed]
            if members:
                blocks = [
                    self.stack.judged(self.stack.embed(images))[members].cpu()
                    for images in self.data.images_at(rows)
                ]
                whole = torch.cat(blocks, dim=1).float()
                # Copies, since a view is saved with all of the stack behind it.
                embeddings |= {
                    index: own.clone() for index, own in zip(members, whole, strict=True)
                }
        self.weights[epoch] = {
            index: weight.float().cpu().clone()
            for index, weight in enumerate(self.stack.class_weights())
            if weight is not None and not stopped[index]
        }

    def content(self) -> dict[str, Any]:
        """For a checkpoint: dictionaries of tensors."""
        return {"embeddings": self.embeddings, "weights": self.weights}

    def restore(self, content: dict[str, Any]) -> None:
        """Inverse of `content`."""
        for name, taken in content.items():
            kept = {
                epoch: {index: tensor.cpu() for index, tensor in members.items()}
                for epoch, members in taken.items()
            }
            setattr(self, name, kept)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """One member's snapshots as they are stored: E epochs of S images and C classes; none, no arrays.

        ``snapshot_epochs`` (E,) int32, ``snapshot_rows`` (S,) int64 (places in ``embeddings``), ``snapshots``
        (E, S, D) float32 and, with class weights in the embeddings' space, ``snapshot_weights`` (E, C, D) float32.
        """
        epochs = sorted(epoch for epoch, members in self.embeddings.items() if index in members)
        if not epochs:
            return {}
        found = {
            "snapshot_epochs": np.array(epochs, dtype=np.int32),
            # A run keeps all images of the data set, in its order.
            "snapshot_rows": self.rows[self.stack.experiments[index].seed],
            "snapshots": np.stack([self.embeddings[epoch][index].numpy() for epoch in epochs]),
        }
        weights = [self.weights[epoch].get(index) for epoch in epochs]
        tables = [weight.numpy() for weight in weights if weight is not None]
        return {**found, "snapshot_weights": np.stack(tables)} if tables else found


def snapshot_rows(split: Split) -> np.ndarray:
    """Which images snapshots show: sorted positions in the data set, int64 (S,), at most `IMAGES`.

    Every part of the split gives as many, evenly spaced in it; what a small part lacks, the larger ones give more.
    """
    parts = [getattr(split, name) for name in PART_CODES if name != "unused"]
    chosen, left = [], IMAGES
    for place, rows in enumerate(sorted(parts, key=len)):
        count = min(len(rows), left // (len(parts) - place))
        chosen.append(rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)])
        left -= count
    return np.sort(np.concatenate(chosen))
