"""A small study file for tests of planning and of the pipeline: ten digits, no download."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

BASE: dict[str, Any] = {
    "study": "small",
    "dataset": {"name": "mnist5k"},
    "split": {"unknown_validation": 2, "unknown_test": 2, "known_test": 2},
    "recipe": {"epochs": 1, "batch_size": 16, "images_per_class": 4},
    "losses": {"arcface": {"margin": 0.3, "scale": 16}},
    "seeds": 1,
}


def content(**changes: Any) -> dict[str, Any]:
    """`BASE` with top-level keys replaced; mappings other than the losses are merged one level deep."""
    config = copy.deepcopy(BASE)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict) and key != "losses":
            config[key] |= value
        else:
            config[key] = value
    return config


def write(folder: Path, **changes: Any) -> Path:
    """Write such a study file; its results go into the same folder unless `changes` say otherwise."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content(**{"results": str(folder / "results"), **changes})))
    return path
