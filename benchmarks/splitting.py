"""An experiment's images, and the split of them that its seed draws. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from benchmarks.experiment import Experiment
from benchmarks.seeds import rng
from datasets import cache, registry
from datasets.image_set import ImageSet
from datasets.splits import Split, SplitSpec, make_split, nominal_train_images


def load_images(experiment: Experiment, results: Path) -> ImageSet:
    """The experiment's data set, from the cache under `results` (decoded first where need be).

    Raises
    ------
    datasets.errors.DataError : missing or corrupt data.
    """
    dataset = experiment.dataset
    return cache.load(
        dataset["name"],
        dataset["options"],
        data_root=registry.data_root(),
        cache_root=results / "cache",
    )


def split_of(experiment: Experiment, image_set: ImageSet) -> Split:
    """The split of an experiment: its own seed's, or the study's fixed one (``split.seed``)."""
    spec, seed = _spec(experiment), experiment.split["seed"]
    drawn = experiment.seed if seed == "experiment" else seed
    return make_split(image_set, spec, rng("split", drawn), division=drawn)


def nominal_images(experiment: Experiment, image_set: ImageSet) -> int:
    """About how many training images an experiment has; the same for every seed."""
    return nominal_train_images(image_set, _spec(experiment))


def _spec(experiment: Experiment) -> SplitSpec:
    return SplitSpec(**{key: value for key, value in experiment.split.items() if key != "seed"})
