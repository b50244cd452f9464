"""Angles over training and stored class weights, against the stored embeddings themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import train as training
from benchmarks.angles import BINS, watched_epochs
from benchmarks.experiment import Experiment
from benchmarks.splitting import split_of
from benchmarks.train import train_stack
from tests.benchmarks import tiny

CPU = torch.device("cpu")


def stored(results: Path, item: Experiment) -> dict[str, np.ndarray]:
    with np.load(results / "runs" / item.id / "embeddings.npz") as file:
        return dict(file)


@pytest.fixture(autouse=True)
def _tiny_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_images", lambda *_: tiny.images())


@pytest.mark.parametrize(("epochs", "watched"), [(1, [1]), (2, [1, 2]), (5, [1, 3, 5])])
def test_watched_epochs(epochs: int, watched: list[int]) -> None:
    assert watched_epochs(epochs) == watched


def test_the_last_angles_are_those_of_what_is_stored(tmp_path: Path) -> None:
    items = [
        tiny.experiment("cosface", {"margin": 0.2, "scale": 16}),
        tiny.experiment("softmax", seed=1),
        tiny.experiment("bag_of_tricks"),  # a neck: the classifier sees what is judged
        tiny.experiment("triplet"),
        tiny.experiment("subcenter_arcface"),
    ]
    train_stack(items, results=tmp_path, device=CPU)
    for item in items[:3]:
        arrays = stored(tmp_path, item)
        assert arrays["angle_epochs"].tolist() == [1, 2]
        train = split_of(item, tiny.images()).train
        unit = arrays["embeddings"][train] / np.linalg.norm(
            arrays["embeddings"][train], axis=1, keepdims=True
        )
        weights = arrays["class_weights"] / np.linalg.norm(
            arrays["class_weights"], axis=1, keepdims=True
        )
        assert weights.shape == (len(arrays["known_classes"]), 8)
        angles = np.degrees(np.arccos(np.clip(unit.astype(float) @ weights.T, -1, 1)))
        place = np.searchsorted(arrays["known_classes"], arrays["labels"][train])
        own = angles[np.arange(len(train)), place]
        # Fewer than the sample: all training images count. An angle on an edge may fall to either side.
        expected = np.histogram(own, BINS, (0, 180))[0]
        assert arrays["target_angles"][-1].sum() == len(train)
        assert np.abs(np.cumsum(arrays["target_angles"][-1] - expected)).max() <= 1
        assert arrays["other_angles"][-1].sum() == angles.size - len(train)
    for item in items[3:]:  # no weights, several a class
        assert not {"class_weights", "angle_epochs"} & set(stored(tmp_path, item))


def test_embeddings_in_float16(tmp_path: Path) -> None:
    items = [
        tiny.experiment("softmax", embeddings=name, learning_rate=0.03)
        for name in ("float32", "float16")
    ]
    for item in items:
        train_stack([item], results=tmp_path / item.recipe["embeddings"], device=CPU)
    whole, half = (stored(tmp_path / item.recipe["embeddings"], item) for item in items)
    assert (whole["embeddings"].dtype, half["embeddings"].dtype) == (np.float32, np.float16)
    np.testing.assert_array_equal(whole["embeddings"].astype(np.float16), half["embeddings"])
