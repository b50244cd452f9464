"""Small experiments and images for tests of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.experiment import Experiment
from datasets.image_set import ImageSet, from_arrays
from losses import catalog

RECIPE: dict[str, Any] = {
    "epochs": 2, "batch_size": 16, "sampler": "shuffled", "images_per_class": 2, "optimizer": "sgd", "momentum": 0.9,
    "learning_rate": 0.05, "weight_decay": 5e-4, "schedule": "cosine", "milestones": [0.5, 0.75], "decay": 0.1,
    "warmup_epochs": 0, "clip_norm": 0, "class_learning_rate": 2, "class_weight_norm": 1, "class_sampling": 1, "label_smoothing": 0,
    "precision": "float32", "embeddings": "float32", "snapshots": [], "threads": 1,
}  # fmt: skip
AUGMENT = {
    "rotate_degrees": 10, "translate": 0.1, "scale": 0.1, "shear_degrees": 5, "flip": 0, "erase": 0.2, "erase_area": 0.1,
}  # fmt: skip
SPLIT = {
    "classes": "random", "images": "random", "unknown_validation": 2, "unknown_test": 2, "known_validation": 0,
    "known_test": 2, "seed": "experiment",
}  # fmt: skip


def experiment(
    loss: str, hyper: dict[str, Any] | None = None, *, seed: int = 0, **changes: Any
) -> Experiment:
    """An experiment on `images`; `changes` go to the recipe, or replace a whole section of that name."""
    sections: dict[str, Any] = {
        "dataset": {"name": "tiny", "options": {}},
        "data_checksum": "0" * 64,
        "split": SPLIT,
        "backbone": {
            "name": "conv3",
            "embedding_dim": 8,
            "embedding_norm": "batch",
            "activation": "relu",
        },
        "augment": AUGMENT,
        "fingerprint": "test",
    }
    sections |= {key: changes.pop(key) for key in list(changes) if key in sections}
    recipe = {**RECIPE, "sampler": catalog.row(loss).sampler, **changes}
    return Experiment.create(
        recipe=recipe,
        loss={"name": loss, "hyperparameters": catalog.resolve(loss, hyper or {})},
        seed=seed,
        **sections,
    )


def images(classes: int = 12, each: int = 8, size: int = 12, channels: int = 1) -> ImageSet:
    """Noisy images around one random pattern a class."""
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(classes), each)
    patterns = rng.uniform(0, 255, (classes, channels, size, size))
    noisy = patterns[labels] * 0.7 + rng.uniform(0, 255 * 0.3, (len(labels), channels, size, size))
    return from_arrays(
        "tiny", noisy.astype(np.uint8), labels, [f"class {number}" for number in range(classes)]
    )


def neighbours() -> list[Experiment]:
    """Nine experiments that differ in all that may differ inside a stack."""
    return [
        experiment("softmax"),
        experiment("softmax", seed=1, learning_rate=0.02, label_smoothing=0.1),
        experiment("norm_softmax", {"scale": 8}),
        experiment("sphereface", {"margin": 3}, clip_norm=1.0),
        experiment("cosface", {"margin": 0.2, "scale": 16}, weight_decay=0),
        experiment("arcface", {"margin": 0.3, "scale": 16}),
        experiment("arcface", {"margin": 0.5, "scale": 64}, seed=2, class_learning_rate=10),
        experiment("triplet", {"soft_margin": False, "margin": 0.2}),
        experiment("center", seed=1, class_weight_norm=0.5),
    ]


def peers() -> list[Experiment]:
    """Losses that run model by model, two of a group and one alone, among stacked neighbours."""
    return [
        experiment("pml:TripletMarginLoss", {"margin": 0.2}),
        experiment("pml:ProxyAnchorLoss"),
        experiment("pml:ProxyAnchorLoss", seed=1, learning_rate=0.02),
        experiment("pml:P2SGradLoss"),
        experiment("pml:LargeMarginSoftmaxLoss", {"margin": 2}, weight_decay=0),
        experiment("cosface", {"margin": 0.2, "scale": 16}),
        experiment("center", seed=1),
    ]
