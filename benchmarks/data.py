"""What a stack trains on: the decoded images on the device, the split of each seed, the batches of each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.profiler import record_function

from benchmarks.errors import TrainingError
from benchmarks.experiment import Experiment
from benchmarks.seeds import rng
from benchmarks.splitting import nominal_images, split_of
from datasets import augment
from datasets.batches import plan_epoch
from datasets.errors import DataError
from datasets.image_set import ImageSet
from datasets.splits import PART_CODES

Stream = tuple[int, str]  # (seed, sampler): experiments of one stream see the same batches
TEST_PARTS = (PART_CODES["known_test"], PART_CODES["unknown_test"])


class TrainingData:
    """Images on the device, and batches planned from the seeds.

    Parameters
    ----------
    image_set : all images, uint8 (N, C, H, W).
    experiments : the members of a stack, of one layout.
    device : where the images are kept and augmented.
    dtype : of the batches.
    """

    def __init__(
        self,
        image_set: ImageSet,
        experiments: list[Experiment],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        first = experiments[0]
        self.device, self.dtype, self.recipe = device, dtype, first.recipe
        self.images = torch.from_numpy(np.array(image_set.images)).to(device)  # (N, C, H, W)
        self.class_ids = np.array(image_set.labels)  # (N,)
        self.splits = {item.seed: split_of(item, image_set) for item in experiments}
        self.spec = augment.AugmentSpec(**first.augment)
        self.labels: dict[
            int, np.ndarray
        ] = {}  # seed -> positions in its known classes, of its training images
        for seed, split in self.splits.items():
            self.labels[seed] = _positions(split.known_classes, image_set.labels[split.train])
        # The same for every seed, even where classes differ in size; a last, smaller batch is left out.
        self.steps_per_epoch = max(1, nominal_images(first, image_set) // self.recipe["batch_size"])

    @property
    def num_classes(self) -> int:
        """Known classes; the same for every seed."""
        return len(next(iter(self.splits.values())).known_classes)

    def batches(self, streams: list[Stream], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch (1-based): images (S, B, C, H, W) in [0, 1], augmented, and labels (S, B)."""
        plans = [self._plan(stream, epoch) for stream in streams]
        draws = [self._draws(stream, epoch) for stream in streams]
        for step in range(self.steps_per_epoch):
            rows = slice(step * self.recipe["batch_size"], (step + 1) * self.recipe["batch_size"])
            pixels = [self._pixels(index[step]) for index, _ in plans]
            with record_function("augmentation"):
                images = torch.stack(
                    [
                        augment.apply(own, drawn[rows])
                        for own, drawn in zip(pixels, draws, strict=True)
                    ]
                )
            labels = torch.stack([labels[step] for _, labels in plans])
            yield images.to(self.dtype), labels

    def _plan(self, stream: Stream, epoch: int) -> tuple[Tensor, Tensor]:
        seed, sampler = stream
        labels = self.labels[seed]
        positions = plan_epoch(
            labels,
            sampler=sampler,
            batch_size=self.recipe["batch_size"],
            steps=self.steps_per_epoch,
            images_per_class=self.recipe["images_per_class"],
            rng=rng("order", seed, sampler, epoch),
        )
        index = self.splits[seed].train[positions]  # (steps, B)
        return torch.from_numpy(index).to(self.device), torch.from_numpy(labels[positions]).to(
            self.device
        )

    def _draws(self, stream: Stream, epoch: int) -> Any:
        count = self.steps_per_epoch * self.recipe["batch_size"]
        return augment.draw(self.spec, count, rng("augment", stream[0], epoch)).to(self.device)

    def _pixels(self, index: Tensor) -> Tensor:
        return self.images[index].float().div_(255)

    def training_sample(self, seed: int, count: int) -> tuple[Tensor, Tensor]:
        """Up to `count` training images of a seed, evenly spaced: (b, C, H, W) in [0, 1], and their labels (b,)."""
        train = self.splits[seed].train
        chosen = np.linspace(0, len(train) - 1, min(count, len(train))).astype(np.int64)
        images = self._pixels(torch.from_numpy(train[chosen]).to(self.device)).to(self.dtype)
        return images, torch.from_numpy(self.labels[seed][chosen]).to(self.device)

    def images_at(self, rows: np.ndarray) -> Iterator[Tensor]:
        """The images of the data set at positions `rows` in that order, not augmented: (b, C, H, W) in [0, 1]."""
        # A GPU has all models' activations at a time, a CPU one model's.
        size = 1024 if self.device.type == "cpu" else self.recipe["batch_size"]
        for start in range(0, len(rows), size):
            yield self._pixels(torch.from_numpy(rows[start : start + size]).to(self.device))

    def all_rows(self) -> np.ndarray:
        """Positions of all images: int64 (N,)."""
        return np.arange(len(self.class_ids))

    def untested_rows(self) -> np.ndarray:
        """Positions of the images that are in no test part, sorted int64: all that a trial may see.

        Raises
        ------
        TrainingError : the experiments' seeds have different test parts.
        """
        tested = [
            np.isin(split.part(len(self.class_ids)), TEST_PARTS) for split in self.splits.values()
        ]
        if any(not np.array_equal(tested[0], other) for other in tested[1:]):
            raise TrainingError(
                f"trials of seeds {', '.join(map(str, sorted(self.splits)))} have different test images, so that one would "
                "be chosen by what another is tested on; fix the split with split.seed: a number"
            )
        return np.flatnonzero(~tested[0])


def _positions(known_classes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Labels 0..C-1 of images by their classes; checked here once, since a GPU would have to stop for it."""
    places = np.searchsorted(known_classes, classes)
    found = known_classes[np.minimum(places, len(known_classes) - 1)]
    if not np.array_equal(found, classes):
        wrong = sorted({int(number) for number in classes[found != classes]})
        raise DataError(f"training images of classes {wrong[:5]}, which are not known classes")
    return places
