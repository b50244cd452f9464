"""`vary`: axes that all losses of a study share, their product with the grid, and what is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import vary
from benchmarks.config import load as load_config
from benchmarks.errors import ConfigError
from benchmarks.experiment import STACKED_RECIPE, Experiment
from benchmarks.study import Study, load
from reports.collect import collect
from tests.benchmarks import study_file

LOSSES = {"softmax": {}, "arcface": {"margin": [0.1, 0.3], "scale": 16}, "triplet": {}}
VARY = {
    "backbone.embedding_dim": [2, 16],
    "backbone.name": ["conv3", "conv4"],
    "recipe.epochs": [1, 2, 3],
}

# What is changed in a good study file, and what the one line of the message must contain.
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no mapping": ({"vary": [1]}, ["vary: [1] is not allowed", "a mapping of keys"]),
    "misspelt key": (
        {"vary": {"backbone.embeding_dim": [2]}},
        ["vary.backbone.embeding_dim: cannot be varied", "did you mean 'backbone.embedding_dim'?", "allowed: backbone, backbone.name, "],
    ),
    "a key that is no text": ({"vary": {3: [2]}}, ["vary.3: cannot be varied", "allowed: backbone, "]),
    "another section": ({"vary": {"augment.flip": [0, 1]}}, ["vary.augment.flip: cannot be varied", "allowed: backbone, "]),
    "way of splitting": ({"vary": {"split.classes": ["random"]}}, ["vary.split.classes: cannot be varied"]),
    "nested mapping": (
        {"vary": {"backbone": {"embedding_dim": [2]}}},
        ["vary.backbone: is a mapping", "write dotted keys, such as backbone.embedding_dim: "],
    ),
    "a key of each loss's recipe": (
        {"vary": {"recipe.learning_rate": [0.1, 0.2]}},
        ["vary.recipe.learning_rate: goes into the recipe of each loss", "{recipe: {learning_rate: [0.1, 0.2]}}"],
    ),
    "no list": ({"vary": {"recipe.epochs": 3}}, ["vary.recipe.epochs: 3 is not allowed", "allowed: a list of values"]),
    "empty list": ({"vary": {"recipe.epochs": []}}, ["vary.recipe.epochs: an empty list leaves nothing to run"]),
    "equal values": ({"vary": {"recipe.momentum": [0, 0.0]}}, ["vary.recipe.momentum: [0, 0.0] has the value 0.0 more than once"]),
    "value below its bound": ({"vary": {"recipe.epochs": [1, 0]}}, ["vary.recipe.epochs: 0 is less than the minimum of 1"]),
    "value of another kind": ({"vary": {"backbone.embedding_dim": [2.0]}}, ["vary.backbone.embedding_dim: 2.0 is not of type 'integer'"]),
    "unknown choice": (
        {"vary": {"backbone.name": ["conv3", "conv5"]}},
        ["vary.backbone.name: 'conv5' is not allowed", "did you mean 'conv"],
    ),
    "value in two places": (
        {"vary": {"recipe.epochs": [2, 3]}, "recipe": {"epochs": 1}},
        ["recipe.epochs: stands under `vary`, too", "take it out of one of the two"],
    ),
    "backbones that are no mappings": (
        {"vary": {"backbone": ["conv3", {"name": "conv4"}]}},
        ["vary.backbone: 'conv3' is not allowed (allowed: a mapping of keys)"],
    ),
    "misspelt key of a backbone": (
        {"vary": {"backbone": [{"nam": "conv3"}]}},
        ["vary.backbone.nam: unknown key", "did you mean 'name'?"],
    ),
    "a key of whole backbones, too": (
        {"vary": {"backbone": [{"name": "conv3"}, {"name": "conv4"}], "backbone.name": ["conv3", "conv4"]}},
        ["backbone.name: stands under `vary`, too"],
    ),
    "with tune": (
        {"vary": {"backbone.embedding_dim": [2]}, "tune": {}, "split": {"seed": 0}},
        ["vary: cannot be combined with `tune`", "one study file a value", "take `tune` out"],
    ),
    "one combination too short for the warm-up": (
        {"vary": {"recipe.momentum": [0, 0.9], "recipe.epochs": [3, 2]}, "recipe": {"warmup_epochs": 3}},
        ["recipe.warmup_epochs: 3 is more than recipe.epochs = 2"],
    ),
    "one combination without whole balanced batches": (
        {"vary": {"recipe.batch_size": [16, 18]}, "losses": {"triplet": {}}},
        ["recipe.batch_size: 18 is not a multiple of images_per_class = 4"],
    ),
    "one combination of more classes a batch than are known": (
        {"vary": {"split.known_classes": [None, 3]}, "losses": {"triplet": {}}},
        ["recipe.images_per_class: a balanced batch of 16 holds 4 classes", "only 3 classes are known"],
    ),
    "one combination that samples classes of a loss that cannot": (
        {"vary": {"recipe.class_sampling": [1, 0.5]}, "losses": {"arcface": {}, "l_softmax": {"margin": 2}}},
        ["recipe.class_sampling: 0.5, but l_softmax {margin: 2", "allowed for it: 1"],
    ),
    "one combination with more classes than there are": ({"vary": {"split.unknown_test": [2, 7]}}, ["leaves 1 known"]),
}  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    """The small study file, with nothing in its recipe that `changes` vary."""
    content = study_file.content(results=str(folder / "results"), **changes)
    for path in content["vary"]:
        section, _, key = str(path).partition(".")
        if key and key not in changes.get(section, {}):
            content.get(section, {}).pop(key, None)
    file = folder / "small.yaml"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("problem", BAD)
def test_what_cannot_vary(problem: str, tmp_path: Path) -> None:
    changes, expected = BAD[problem]
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message, "one problem, one line"
    for words in expected:
        assert words in message


def test_all_problems_at_once(tmp_path: Path) -> None:
    values = {"backbone.nam": ["x"], "recipe.epochs": [0], "recipe.sampler": []}
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, vary=values, losses={"softmax": {"margin": 1}}))
    keys = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert keys == ["losses.softmax", "vary.backbone.nam", "vary.recipe.epochs", "vary.recipe.sampler"]  # fmt: skip


def test_what_may_vary() -> None:
    """Backbone, amounts of the split, and what of the recipe no loss can set by itself."""
    keys = vary.allowed()
    wanted = {"backbone.embedding_dim", "backbone.name", "split.known_classes"}
    assert wanted | {"recipe.epochs", "recipe.batch_size"} <= set(keys)
    assert not {f"recipe.{key}" for key in STACKED_RECIPE} & set(keys)
    assert not {"split.seed", "split.images", "recipe.threads", "recipe.milestones"} & set(keys)
    assert {key.partition(".")[0] for key in keys} == {"backbone", "split", "recipe"}


def key_of(experiment: Experiment) -> tuple[Any, ...]:
    """What tells the experiments of this file's study apart."""
    backbone, loss = experiment.backbone, experiment.loss["name"]
    margin = experiment.loss["hyperparameters"]["margin"] if loss == "arcface" else None
    setting = backbone["embedding_dim"], backbone["name"], experiment.recipe["epochs"]
    return loss, margin, *setting, experiment.seed


def test_the_product(tmp_path: Path) -> None:
    """Every loss point with every combination and every seed, a loss together, the last key and then seeds fastest."""
    study = load(write(tmp_path, losses=LOSSES, vary=VARY, seeds=[4, 1]))
    points = [("softmax", None), ("arcface", 0.1), ("arcface", 0.3), ("triplet", None)]
    expected = [
        (*point, *values, seed)
        for point in points
        for values in itertools.product(*VARY.values())
        for seed in (4, 1)
    ]
    assert [key_of(item) for item in study.experiments] == expected
    assert len({item.id for item in study.experiments}) == len(expected) == 96


def test_a_stack_holds_one_combination(tmp_path: Path) -> None:
    study = load(write(tmp_path, losses=LOSSES, vary=VARY, seeds=2, stack_size=64))
    assert len(study.stacks) == 12
    for stack in study.stacks:
        assert len({key_of(item)[2:5] for item in study.members(stack)}) == 1
        assert len(study.members(stack)) == 8


def test_ids_are_those_of_a_study_that_writes_the_values_itself(tmp_path: Path) -> None:
    study = load(write(tmp_path, losses=LOSSES, vary=VARY))
    (tmp_path / "plain").mkdir()
    for dim, name, epochs in itertools.product(*VARY.values()):
        backbone = {"embedding_dim": dim, "name": name}
        plain = study_file.write(tmp_path / "plain", losses=LOSSES, backbone=backbone, recipe={"epochs": epochs})  # fmt: skip
        own = {item.id for item in load(plain).experiments}
        same = [item for item in study.experiments if key_of(item)[2:5] == (dim, name, epochs)]
        assert own == {item.id for item in same}
        assert len(own) == 4


def test_the_plan_keeps_it_and_reads_it_again(tmp_path: Path) -> None:
    study = load(write(tmp_path, losses=LOSSES, vary=VARY))
    text = json.loads(json.dumps(study.to_json()))
    assert text["config"]["vary"] == VARY
    again = Study.from_json(text)
    assert again == study
    assert again.to_json() == text


def test_without_it_nothing_changes(tmp_path: Path) -> None:
    plain = load(study_file.write(tmp_path, losses=LOSSES))
    assert plain.config["vary"] == {}
    same = load(study_file.write(tmp_path, losses=LOSSES, vary={}))
    assert same.experiments == plain.experiments


def test_overrides_replace_it_whole(tmp_path: Path) -> None:
    path = write(tmp_path, vary=VARY)
    config = load_config(path, {"vary": {"backbone.activation": ["relu", "prelu"]}})
    assert config["vary"] == {"backbone.activation": ["relu", "prelu"]}
    with pytest.raises(ConfigError, match=r"recipe\.epochs: stands under `vary`, too"):
        load_config(path, {"recipe": {"epochs": 9}})


def test_reports_see_axes_of_each_loss(tmp_path: Path) -> None:
    values = {**VARY, "split.known_classes": [4, 6], "recipe.momentum": [0.9]}
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(load(write(tmp_path, losses=LOSSES, vary=values)).to_json()))
    study = collect(plan, tmp_path / "runs")
    shared = ["embedding_dim", "backbone", "recipe.epochs", "split.known_classes"]
    assert {loss: set(axes) for loss, axes in study.axes.items()} == {
        "softmax": set(shared),
        "arcface": {"margin", *shared},
        "triplet": set(shared),
    }
    planned = json.loads(plan.read_text())["axes"]
    assert planned == {"softmax": shared, "arcface": ["margin", *shared], "triplet": shared}
    assert not study.frame.columns.duplicated().any()
    assert sorted(study.frame["embedding_dim"].unique()) == [2, 16]
    assert sorted(study.frame["recipe.epochs"].unique()) == [1, 2, 3]
    assert sorted(study.frame["split.known_classes"].unique()) == [4, 6]
    assert sorted(study.frame["backbone"].unique()) == ["conv3", "conv4"]
    assert study.frame["epochs"].isna().all(), "those that a run was trained"
    assert study.cells["cell"].is_unique
    assert len(study.cells) == 4 * 24


def test_backbones_that_differ_in_several_keys(tmp_path: Path) -> None:
    """No product of their keys; the backbone's name is the one axis, since the rest follows from it."""
    backbones = [
        {"name": "conv3", "embedding_dim": 8, "activation": "prelu"},
        {"name": "conv4", "embedding_dim": 16},
    ]
    values = {"backbone": backbones, "split.known_classes": [4, 6]}
    planned = load(write(tmp_path, vary=values))
    found = [
        (item.backbone["name"], item.backbone["embedding_dim"], item.backbone["activation"])
        for item in planned.experiments
    ]
    assert found == [("conv3", 8, "prelu")] * 2 + [("conv4", 16, "relu")] * 2
    (tmp_path / "plan.json").write_text(json.dumps(planned.to_json()))
    study = collect(tmp_path / "plan.json", tmp_path / "runs")
    assert study.axes == {"arcface": ["backbone", "split.known_classes"]}
    assert {"embedding_dim", "activation"} <= set(study.settings)
    # Of one backbone its keys are the axes.
    del backbones[1]["name"]
    plan = load(write(tmp_path, vary={"backbone": backbones})).to_json()
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    axes = collect(tmp_path / "plan.json", tmp_path / "runs").axes["arcface"]
    assert axes == plan["axes"]["arcface"] == ["embedding_dim", "activation"]


def test_warnings_of_each_combination(tmp_path: Path) -> None:
    """Six known digits in two dimensions have less room than three of them, or than sixteen dimensions."""
    values = {"backbone.embedding_dim": [2, 16], "split.known_classes": [3, 6]}
    losses = {"cosface": {"margin": 0.6, "scale": 32}}
    study = load(write(tmp_path, losses=losses, vary=values))
    [warning] = study.warnings
    assert "6 classes in 2 dimensions have room for at most 0.5 cosine" in warning["warning"]


def test_small_images_and_a_large_backbone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("L", (12, 12), number).save(folder / f"{number}.png")
    dataset = {"name": "folder", "options": {"path": str(tmp_path / "data"), "image_size": 12}}
    split = {"unknown_validation": 0, "unknown_test": 0, "known_test": 1}
    path = write(tmp_path, dataset=dataset, split=split, vary={"backbone.name": ["conv3", "conv4"]})
    with pytest.raises(ConfigError, match=r"backbone\.name: 'conv4' needs images of at least 16"):
        load(path)


def test_ten_thousand_experiments(tmp_path: Path) -> None:
    values = {
        "backbone.embedding_dim": list(range(1, 51)),
        "recipe.batch_size": [16, 32, 64, 128],
    }
    losses = {"cosface": {"margin": [step / 100 for step in range(5)], "scale": [8, 16]}}
    study = load(write(tmp_path, losses=losses, vary=values, seeds=5))
    assert len(study.experiments) == 10_000
    assert len({item.id for item in study.experiments}) == 10_000
    members = [name for stack in study.stacks.values() for name in stack]
    assert sorted(members) == sorted(item.id for item in study.experiments)
