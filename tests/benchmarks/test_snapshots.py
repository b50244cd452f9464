"""Snapshots are what a training that ends there would leave, and change nothing that is left without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import snapshots
from benchmarks import train as training
from benchmarks.backbones import build_backbone
from benchmarks.checkpoint import Checkpoints
from benchmarks.errors import ConfigError
from benchmarks.experiment import Experiment
from benchmarks.seeds import stream_seed
from benchmarks.snapshots import snapshot_rows
from benchmarks.splitting import split_of
from benchmarks.study import load
from benchmarks.train import train_stack
from benchmarks.trials import train_trials
from datasets.splits import Split
from tests.benchmarks import study_file, tiny

CPU = torch.device("cpu")
EPOCHS = [0, 1, 3]
ARRAYS = {"snapshot_epochs", "snapshot_rows", "snapshots", "snapshot_weights"}


@pytest.fixture(autouse=True)
def _tiny_images(monkeypatch: pytest.MonkeyPatch) -> None:
    few_images(monkeypatch)


def few_images(patched: pytest.MonkeyPatch) -> None:
    """Fewer in a snapshot than the tiny data set has, so that there is something to choose."""
    patched.setattr(training, "load_images", lambda *_: tiny.images())
    patched.setattr(snapshots, "IMAGES", 50)


def members(**changes: Any) -> list[Experiment]:
    """Two seeds; a neck, a loss without class weights, one with several centers a class."""
    recipe = {"epochs": 3, "schedule": "constant", "snapshots": EPOCHS, **changes}
    return [
        tiny.experiment("cosface", {"margin": 0.2, "scale": 16}, **recipe),
        tiny.experiment("softmax", seed=1, **recipe),
        tiny.experiment("bag_of_tricks", **recipe),
        tiny.experiment("triplet", **recipe),
        tiny.experiment("subcenter_arcface", **recipe),
    ]


def file_of(results: Path, item: Experiment, name: str = "embeddings.npz") -> Path:
    return results / "runs" / item.id / name


def arrays(results: Path, item: Experiment) -> dict[str, np.ndarray]:
    with np.load(file_of(results, item)) as file:
        return dict(file)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of `members`."""
    results = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patched:
        few_images(patched)
        assert {*train_stack(members(), results=results, device=CPU).values()} == {"finished"}
    return results


def test_shapes_and_types(clean: Path) -> None:
    for item in members():
        found = arrays(clean, item)
        assert found["snapshot_epochs"].tolist() == EPOCHS
        assert found["snapshots"].shape == (3, 50, 8)
        assert found["snapshot_rows"].tolist() == snapshot_rows(split_of(item, tiny.images())).tolist()  # fmt: skip
        kinds = [found[name].dtype for name in ("snapshot_epochs", "snapshot_rows", "snapshots")]
        assert kinds == [np.int32, np.int64, np.float32]
        weighted = item.loss["name"] in ("cosface", "softmax", "bag_of_tricks")
        assert ("snapshot_weights" in found) is weighted
        if weighted:
            assert found["snapshot_weights"].shape == (3, 8, 8)
            assert found["snapshot_weights"].dtype == np.float32


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_snapshot_is_what_a_training_up_to_there_leaves(
    epoch: int, clean: Path, tmp_path: Path
) -> None:
    shorter = members(epochs=epoch, snapshots=[])
    train_stack(shorter, results=tmp_path, device=CPU)
    place = EPOCHS.index(epoch)
    for item, other in zip(members(), shorter, strict=True):
        found, expected = arrays(clean, item), arrays(tmp_path, other)
        assert not ARRAYS & expected.keys()
        rows = found["snapshot_rows"]
        # The batches hold other images, which may cost the last bit.
        close = {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(found["snapshots"][place], expected["embeddings"][rows], **close)
        if "snapshot_weights" in found:
            weights = found["snapshot_weights"][place]
            assert np.array_equal(weights, expected["class_weights"])


def test_epoch_0_is_the_untrained_model(clean: Path) -> None:
    pixels = torch.from_numpy(np.array(tiny.images().images)).float() / 255
    for item in (members()[0], members()[1], members()[3]):
        found = arrays(clean, item)
        generator = torch.Generator().manual_seed(stream_seed("init", item.seed))
        backbone = build_backbone(channels=1, image_size=12, generator=generator, **item.backbone)
        with torch.no_grad():
            expected = backbone.eval()(pixels[found["snapshot_rows"]])
        np.testing.assert_allclose(found["snapshots"][0], expected, rtol=1e-4, atol=1e-5)
        if "snapshot_weights" in found:
            # Of the length that the recipe asks for.
            lengths = np.linalg.norm(found["snapshot_weights"][0], axis=1)
            np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_snapshots_change_nothing_else(clean: Path, tmp_path: Path) -> None:
    plain = members(snapshots=[])
    train_stack(plain, results=tmp_path, device=CPU)
    for item, other in zip(members(), plain, strict=True):
        assert item.id != other.id
        assert item.layout != other.layout, "they do not share a stack"
        for name in ("history.jsonl", "model.safetensors"):
            assert file_of(clean, item, name).read_bytes() == file_of(tmp_path, other, name).read_bytes()  # fmt: skip
        ours, theirs = arrays(clean, item), arrays(tmp_path, other)
        assert theirs.keys() == ours.keys() - ARRAYS
        assert all(ours[name].tobytes() == array.tobytes() for name, array in theirs.items())


def test_a_snapshot_does_not_depend_on_the_neighbours(clean: Path, tmp_path: Path) -> None:
    train_stack(members()[1:2], results=tmp_path, device=CPU)
    train_stack(members()[2:4], results=tmp_path, device=CPU)
    for item in members()[1:4]:
        assert file_of(clean, item).read_bytes() == file_of(tmp_path, item).read_bytes()


class Killed(BaseException):
    """No error of the computation."""


def killed_in(epoch: int, items: list[Experiment], results: Path) -> None:
    """Train until an epoch begins, and no further."""
    whole = training._epoch

    def interrupted(*arguments: Any) -> Any:
        if arguments[2] == epoch:
            raise Killed
        return whole(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "_epoch", interrupted)
        with pytest.raises(Killed):
            train_stack(items, results=results, device=CPU)


def test_killed_in_each_epoch_and_continued_the_files_are_the_same(
    clean: Path, tmp_path: Path
) -> None:
    for epoch in (1, 2, 3):
        killed_in(epoch, members(), tmp_path)
        assert not (tmp_path / "runs").exists()
    train_stack(members(), results=tmp_path, device=CPU)
    for item in members():
        assert file_of(clean, item).read_bytes() == file_of(tmp_path, item).read_bytes()


def test_a_member_that_is_given_up_has_no_more_snapshots(clean: Path, tmp_path: Path) -> None:
    bad = tiny.experiment("softmax", **{**members()[0].recipe, "learning_rate": 1e30})
    items = [*members(), bad]
    killed_in(3, items, tmp_path)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    state = Checkpoints(folder).load(CPU)
    assert state is not None
    place = state["members"].index(bad.id)
    for taken in (state["snapshots"]["embeddings"], state["snapshots"]["weights"]):
        assert place in taken[0]
        assert place not in taken[1]
    assert len(state["snapshots"]["embeddings"][1]) == len(members())
    statuses = train_stack(items, results=tmp_path, device=CPU)
    assert statuses[bad.id] == "diverged"
    assert not file_of(tmp_path, bad).exists()
    for item in members():
        assert file_of(clean, item).read_bytes() == file_of(tmp_path, item).read_bytes()


def test_trials_have_none(tmp_path: Path) -> None:
    items = members(split={**tiny.SPLIT, "known_validation": 2, "seed": 0})[:2]
    train_trials(items, results=tmp_path, device=CPU, until=2)
    train_trials(items, results=tmp_path, device=CPU, since=2)
    paths = list((tmp_path / "trials").glob("*/embeddings.npz"))
    assert len(paths) == 4
    for path in paths:
        with np.load(path) as file:
            assert not ARRAYS & set(file)


@pytest.mark.parametrize(
    ("sizes", "images", "expected"),
    [
        # Of train, known_validation, known_test, unknown_validation, unknown_test.
        ((48, 0, 16, 16, 16), 50, (13, 0, 12, 12, 13)),
        ((48, 0, 16, 16, 16), 96, (48, 0, 16, 16, 16)),
        ((48, 0, 16, 16, 16), 2_000, (48, 0, 16, 16, 16)),
        ((50_000, 0, 9_000, 300, 7_000), 2_000, (567, 0, 567, 300, 566)),
        ((5, 0, 0, 0, 0), 3, (3, 0, 0, 0, 0)),
    ],
)
def test_each_part_gives_as_many_evenly_spaced(
    sizes: tuple[int, ...],
    images: int,
    expected: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshots, "IMAGES", images)
    order = np.random.default_rng(0).permutation(sum(sizes))
    parts = [np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1])]
    rows = snapshot_rows(Split(*parts, known_classes=np.arange(3), checksum=""))
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    found = [np.flatnonzero(np.isin(part, rows)) for part in parts]
    counts = [len(places) for places in found]
    assert sorted(counts) == sorted(expected)
    assert sum(counts) == len(rows) == min(images, sum(sizes))
    for places, size in zip(found, sizes, strict=True):
        if len(places) > 1:
            assert places[[0, -1]].tolist() == [0, size - 1]
            assert np.ptp(np.diff(places)) <= 1


@pytest.mark.parametrize(
    ("snapshot_epochs", "words"),
    [
        ([0, 2, 1, 7], "recipe.snapshots: 2 is after the last epoch, recipe.epochs = 1"),
        ([0, 0], "recipe.snapshots: [0, 0]"),
        ([-1], "recipe.snapshots"),
        ([0.5], "recipe.snapshots"),
        (3, "recipe.snapshots: 3"),
    ],
)
def test_epochs_that_cannot_be(snapshot_epochs: Any, words: str, tmp_path: Path) -> None:
    path = study_file.write(tmp_path, recipe={"snapshots": snapshot_epochs})
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_asks_for_them(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, recipe={"snapshots": [1, 0]})
    assert [item.recipe["snapshots"] for item in load(path).experiments] == [[1, 0]]
    assert load(study_file.write(tmp_path)).experiments[0].recipe["snapshots"] == []
