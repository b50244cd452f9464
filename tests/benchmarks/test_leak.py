"""Nothing before the final evaluation depends on a test label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import data
from benchmarks import train as training
from benchmarks.evaluate import evaluate_run, validation_metrics
from benchmarks.protocols import PROTOCOLS, Judged, read_judged
from benchmarks.store import RunStore
from benchmarks.train import train_stack
from datasets.image_set import ImageSet
from tests.benchmarks import tiny

SPLIT = {**tiny.SPLIT, "known_validation": 2}
SETTINGS = {"protocols": list(PROTOCOLS), "fars": [0.2], "fpirs": [0.2], "resamples": 10}


def scrambled(images: ImageSet, split: data.Split, seed: int) -> ImageSet:
    """Every test image gets another label; no other image does."""
    labels = images.labels.copy()
    rng = np.random.default_rng(seed)
    for rows in (split.known_test, split.unknown_test):
        labels[rows] = rng.permutation(labels[rows])
    return replace(images, labels=labels)


def test_changed_test_labels_change_nothing_before_the_final_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [
        tiny.experiment("arcface", {"margin": 0.3, "scale": 16}, split=SPLIT),
        tiny.experiment("triplet", split=SPLIT),
    ]
    original = tiny.images(each=12)
    split = data.split_of(items[0], original)
    # Which images are held out is the split's matter, and fixed; their labels are what must not leak.
    monkeypatch.setattr(data, "split_of", lambda *_: split)
    files, verdicts, tuned = {}, {}, {}
    for name, images in (("as it is", original), ("scrambled", scrambled(original, split, 5))):
        monkeypatch.setattr(training, "load_images", lambda *_, images=images: images)
        results = tmp_path / name
        train_stack(items, results=results, device=torch.device("cpu"))
        store = RunStore(results / "runs")
        for item in items:
            run = store.folder(item.id)
            key = (name, item.id)
            files[key] = [
                (run / part).read_bytes()
                for part in ("model.safetensors", "history.jsonl", "experiment.json")
            ]
            tuned[key] = validation_metrics(store, item.id, SETTINGS)
            folder = evaluate_run(store, item.id, "e", SETTINGS)
            assert folder is not None
            verdicts[key] = (folder / "metrics.json").read_text()
    for item in items:
        before, after = ("as it is", item.id), ("scrambled", item.id)
        assert files[before] == files[after]
        assert repr(tuned[before]) == repr(tuned[after])
        assert tuned[before]["validation/closed_set/ncm_top1"] is not None
        assert tuned[before]["validation/verification/eer"] is not None
        assert verdicts[before] != verdicts[after]  # the final evaluation does see them


def test_what_tunes_is_given_no_test_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = tiny.experiment("softmax", split=SPLIT)
    monkeypatch.setattr(training, "load_images", lambda *_: tiny.images(each=12))
    train_stack([item], results=tmp_path, device=torch.device("cpu"))
    store, seen = RunStore(tmp_path / "runs"), []
    whole = read_judged(store.folder(item.id) / "embeddings.npz")

    def spy(judged: Judged, side: str, settings: object) -> object:
        seen.append((judged, side))
        return PROTOCOLS["closed_set"].function(judged, side, settings)

    row = replace(PROTOCOLS["verification"], function=spy)
    monkeypatch.setitem(PROTOCOLS, "verification", row)
    found = validation_metrics(store, item.id, {**SETTINGS, "protocols": ["verification"]})
    assert found
    assert all(name.startswith("validation/") for name in found)
    ((judged, side),) = seen
    assert side == "validation"
    for world in ("known", "unknown"):
        assert len(judged.rows(f"{world}_test")) == 0
        assert len(whole.rows(f"{world}_test")) > 0
        assert len(judged.rows(f"{world}_validation")) == len(whole.rows(f"{world}_validation"))
    test_classes = set(whole.labels[whole.rows("unknown_test")].tolist())
    assert not test_classes & set(judged.labels.tolist())
