"""What both ways train: one recipe, one net, and the grid of experiments. Imports no torch."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.experiment import Experiment
from losses import catalog

if TYPE_CHECKING:
    from datasets.image_set import ImageSet

RECIPE: dict[str, Any] = {
    "sampler": "shuffled", "images_per_class": 4, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4,
    "schedule": "cosine", "milestones": [0.5], "decay": 0.1, "warmup_epochs": 0, "clip_norm": 0,
    "class_learning_rate": 10, "class_weight_norm": 1, "class_sampling": 1, "label_smoothing": 0, "precision": "float32",
    "embeddings": "float32", "snapshots": [], "threads": 1,
}  # fmt: skip
AUGMENT = {
    "rotate_degrees": 10, "translate": 0.1, "scale": 0.1, "shear_degrees": 10, "flip": 0, "erase": 0, "erase_area": 0.1,
}  # fmt: skip
# What the data sets themselves set apart as unknown is judged; glyphs sets nothing apart.
GIVEN = {"classes": "given", "images": "listed", "unknown_validation": 0, "known_test": 4}
DRAWN = {"classes": "random", "images": "random", "unknown_validation": 0, "unknown_test": 0.3, "known_test": 2}  # fmt: skip
SMALL = {**DRAWN, "unknown_test": 0.1, "known_classes": 150}
SYNTHETIC = "synthetic"
SETTINGS_OF_A_SEED = 64


@dataclass(frozen=True)
class Task:
    """What is trained, and on what.

    Attributes
    ----------
    dataset : name of a data set, or ``synthetic``: noise in the shape of Omniglot, for machines that can decode none.
    results : folder that holds the cache of decoded data.
    small : few classes of a drawn split, for runs in seconds.
    """

    dataset: str
    device: str = "cpu"
    backbone: str = "conv3"
    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 0.1
    results: Path = Path("results")
    small: bool = False

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Task:
        """Inverse of `to_json`."""
        return cls(**{**content, "results": Path(content["results"])})

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return {**vars(self), "results": str(self.results.resolve())}

    @property
    def split(self) -> dict[str, Any]:
        """Which classes are known; a study's ``split``."""
        if self.small:
            return SMALL
        return DRAWN if self.dataset == "glyphs" else GIVEN

    @property
    def net(self) -> dict[str, Any]:
        """A study's ``backbone``."""
        return {"name": self.backbone, "embedding_dim": 64, "embedding_norm": "batch", "activation": "relu"}  # fmt: skip

    @property
    def recipe(self) -> dict[str, Any]:
        """A study's ``recipe``."""
        own = {key: getattr(self, key) for key in ("epochs", "batch_size", "learning_rate")}
        return {**RECIPE, **own}

    def experiment(self, loss: str, hyper: dict[str, Any], seed: int) -> Experiment:
        """One point of a grid; its identity is no stored run's."""
        from datasets import registry

        options = {} if self.dataset == SYNTHETIC else registry.resolve_options(self.dataset, {})
        return Experiment.create(
            dataset={"name": self.dataset, "options": options}, data_checksum="", backbone=self.net, augment=AUGMENT,
            split={"known_validation": 0, "seed": "experiment", **self.split}, recipe=self.recipe, seed=seed,
            fingerprint="", loss={"name": loss, "hyperparameters": catalog.resolve(loss, hyper)},
        )  # fmt: skip

    def grid(self, count: int, first_seed: int = 0) -> list[Experiment]:
        """`count` experiments of loss x margin x scale x seed; all settings of a seed before the next seed's."""
        points = settings()
        return [
            self.experiment(*points[place % len(points)], first_seed + place // len(points))
            for place in range(count)
        ]

    def images(self) -> ImageSet:
        """The decoded data set, from the cache.

        Raises
        ------
        datasets.errors.DataError : missing or corrupt data.
        """
        if self.dataset == SYNTHETIC:
            from benchmarks.speed.synthetic import characters

            return characters()
        from benchmarks.splitting import load_images

        return load_images(self.experiment("softmax", {}, 0), self.results)


def settings() -> list[tuple[str, dict[str, Any]]]:
    """The points of a seed: additive angle, additive cosine, normalised and plain softmax, alternately.

    The first ones differ in the loss, so that a small stack holds several.
    """
    angle = [("arcface", {"margin": m / 20, "scale": s}) for s in (16, 30, 64) for m in range(6, 13)]  # fmt: skip
    cosine = [("cosface", {"margin": m / 20, "scale": s}) for s in (16, 30, 64) for m in range(4, 11)]  # fmt: skip
    normed = [("norm_softmax", {"scale": scale}) for scale in range(16, 37)]
    rounds = list(zip(angle, cosine, normed, strict=True))
    points: list[tuple[str, dict[str, Any]]] = [*rounds[0], ("softmax", {})]
    points += itertools.chain.from_iterable(rounds[1:])
    assert len(points) == SETTINGS_OF_A_SEED
    return points


def default_dataset(results: Path) -> str:
    """Omniglot where its data or its cache is at hand, else glyphs; noise where neither can be decoded."""
    from datasets import registry

    if any((results / "cache").glob("omniglot-*")) or any(registry.data_root().glob("omniglot*")):
        return "omniglot"
    drawable = all(importlib.util.find_spec(name) for name in ("PIL", "matplotlib", "fontTools"))
    return "glyphs" if drawable or any((results / "cache").glob("glyphs-*")) else SYNTHETIC


def streams(experiments: list[Experiment]) -> int:
    """How many different batches the experiments see at a time."""
    return len({item.stream for item in experiments})
