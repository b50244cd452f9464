"""What an experiment is: one point of the grid with one seed; frozen, hashable, named by its content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from losses import catalog

# Recipe keys whose value may differ from model to model inside one stack; all others shape the stack's tensors.
STACKED_RECIPE = (
    "learning_rate",
    "weight_decay",
    "class_learning_rate",
    "class_weight_norm",
    "label_smoothing",
    "clip_norm",
)


def canonical(value: Any) -> str:
    """One text for equal configurations: sorted keys, no spaces, 1 and 1.0 alike."""

    def plain(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {str(key): plain(item[key]) for key in sorted(item)}
        if isinstance(item, list | tuple):
            return [plain(part) for part in item]
        if isinstance(item, float) and item.is_integer():
            return int(item)
        return item

    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def content_hash(value: Any, length: int = 10) -> str:
    """First `length` hex digits of the SHA-256 of the canonical text of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


@dataclass(frozen=True)
class Experiment:
    """One point of the grid with one seed.

    Two experiments are equal when their `id` is: it ends in a hash of everything that decides the result (the
    resolved configuration, the data's checksum, the fingerprint of the engine and of the loss).
    """

    id: str
    dataset: dict[str, Any] = field(compare=False)  # name, options
    data_checksum: str = field(compare=False)
    split: dict[str, Any] = field(compare=False)
    backbone: dict[str, Any] = field(compare=False)  # name, embedding_dim, embedding_norm
    recipe: dict[str, Any] = field(compare=False)
    augment: dict[str, float] = field(compare=False)
    loss: dict[str, Any] = field(compare=False)  # name, hyperparameters
    seed: int = field(compare=False)
    fingerprint: str = field(compare=False)

    @classmethod
    def create(cls, **content: Any) -> Experiment:
        """Build an experiment from its content; the id follows from it."""
        loss, hyper = content["loss"]["name"], content["loss"]["hyperparameters"]
        knobs = "".join(f"-{key[0]}{hyper[key]:g}" for key in ("margin", "scale") if key in hyper)
        words = re.sub(r"[^\w.]+", "_", loss)  # a name of files: pml:TripletMarginLoss
        slug = f"{content['dataset']['name']}-{content['backbone']['name']}-{words}{knobs}-r{content['seed']}"
        return cls(id=f"{slug}-{content_hash(content)}", **content)

    def to_json(self) -> dict[str, Any]:
        """The plain content, as stored in ``experiment.json``."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Experiment:
        """Inverse of `to_json`."""
        return cls(**content)

    @property
    def layout(self) -> str:
        """Equal for experiments that one stack can hold: tensors of the same shapes, the same number of steps."""
        shape = {
            key: value
            for key, value in self.recipe.items()
            if key not in (*STACKED_RECIPE, "sampler")
        }
        return canonical(
            [self.dataset, self.data_checksum, self.split, self.backbone, shape, self.augment]
        )

    @property
    def loss_group(self) -> tuple[Any, ...]:
        """Equal for experiments whose losses run as one batched computation."""
        return catalog.group_key(self.loss["name"], self.loss["hyperparameters"])

    @property
    def stream(self) -> tuple[int, str]:
        """Equal for experiments that see the same batches with the same augmentations."""
        return self.seed, self.recipe["sampler"]
