"""A study file that cannot be run is refused whole, before anything is written, in words that say how to mend it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.config import load as load_config
from benchmarks.config import loss_points, varying
from benchmarks.errors import ConfigError
from benchmarks.study import Study, load
from benchmarks.study_file import typed
from tests.benchmarks import study_file
from tests.conftest import ROOT

SHIPPED = sorted(set((ROOT / "config").glob("*.yaml")) - {ROOT / "config" / "schema.yaml"})

# What is changed in a good study file, and what the message must contain: key, value, what is allowed.
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"seed": 3}, ["seed: unknown key", "did you mean 'seeds'?", "allowed: augment, backbone"]),
    "unknown nested key": (
        {"recipe": {"learning_rat": 1}},
        ["recipe.learning_rat: unknown key", "did you mean 'learning_rate'?", "allowed: batch_size"],
    ),
    "unknown choice": (
        {"recipe": {"schedule": "cosin"}},
        ["recipe.schedule: 'cosin'", "did you mean 'cosine'?", "cosine, step, constant"],
    ),
    "margin in degrees": (
        {"losses": {"arcface": {"margin": 28}}},
        ["arcface.margin = 28", "[0, 1.5708] (radian)", "if that is degrees, write 0.4887"],
    ),
    "margin out of range": ({"losses": {"cosface": {"margin": 3}}}, ["cosface.margin = 3", "[0, 2] (cosine)"]),
    "margin not a number": ({"losses": {"cosface": {"margin": None}}}, ["cosface.margin = null", "one number (cosine), not null"]),
    "margin of another kind": (
        {"losses": {"sphereface": {"margin": [1, 2.5]}}},
        ["sphereface.margin = 2.5", "must be one of 1, 2, 3, 4, 5"],
    ),
    "scale of zero": ({"losses": {"cosface": {"scale": 0}}}, ["cosface.scale = 0", "[0.001, 100000]"]),
    "negative scale in a list": ({"losses": {"arcface": {"scale": [16, -1]}}}, ["arcface.scale = -1", "[0.001, 100000]"]),
    "unknown loss": (
        {"losses": {"arcfase": {}}},
        ["losses.arcfase", "did you mean 'arcface'?", "known: softmax, norm_softmax"],
    ),
    "unknown hyper-parameter": (
        {"losses": {"arcface": {"margins": 0.1}}},
        ["arcface.margins = 0.1", "did you mean 'margin'?", "it has: margin, scale"],
    ),
    "hyper-parameter without effect": (
        {"losses": {"triplet": {"margin": 0.3}}},
        ["triplet.margin = 0.3", "only with soft_margin: false"],
    ),
    "losses as a list": ({"losses": ["arcface"]}, ["losses: ['arcface'] is not allowed", "allowed: a mapping of losses"]),
    "losses left empty": ({"losses": None}, ["losses: null is not allowed", "allowed: a mapping of losses"]),
    "recipe left empty": ({"recipe": None}, ["recipe: null is not allowed", "allowed: a mapping of keys"]),
    "no losses": ({"losses": {}}, ["losses: {}", "non-empty"]),
    "a loss that is a number": ({"losses": {"arcface": 0}}, ["losses.arcface: 0", "allowed: a mapping"]),
    "empty list": ({"losses": {"arcface": {"margin": []}}}, ["losses.arcface.margin", "empty list"]),
    "empty list of blocks": ({"losses": {"arcface": []}}, ["losses.arcface", "empty list"]),
    "empty list in a recipe": (
        {"losses": {"arcface": {"recipe": {"learning_rate": []}}}},
        ["losses.arcface.recipe.learning_rate", "empty list"],
    ),
    "equal values in a list": (
        {"losses": {"arcface": {"margin": [0.1, 0.1]}}},
        ["losses.arcface", "margin=0.1, scale=64.0", "more than once"],
    ),
    "blocks that overlap": (
        {"losses": {"arcface": [{"margin": [0.1, 0.2]}, {"margin": 0.2}]}},
        ["losses.arcface", "margin=0.2", "more than once"],
    ),
    "a default written out beside it": (
        {"losses": {"cosface": [{}, {"margin": 0.35}]}},
        ["losses.cosface", "margin=0.35", "more than once"],
    ),
    "one rate written twice": (
        {"losses": {"arcface": {"recipe": {"class_learning_rate": [1, 1.0]}}}},
        ["losses.arcface", "more than once"],
    ),
    "recipe key of the whole study": (
        {"losses": {"arcface": {"recipe": {"epochs": 3}}}},
        ["losses.arcface.recipe.epochs", "cannot be set for one loss", "allowed: learning_rate, weight_decay"],
    ),
    "misspelt recipe key of a loss": (
        {"losses": {"arcface": {"recipe": {"learning_rates": 3}}}},
        ["losses.arcface.recipe.learning_rates", "did you mean 'learning_rate'?"],
    ),
    "bad recipe value of a loss": (
        {"losses": {"arcface": {"recipe": {"learning_rate": [0.1, -1]}}}},
        ["losses.arcface.recipe.learning_rate: -1", "minimum of 0"],
    ),
    "unknown data set": ({"dataset": {"name": "mnist5"}}, ["'mnist5'", "did you mean 'mnist5k'?"]),
    "unknown option": (
        {"dataset": {"name": "glyphs", "options": {"size": 28}}},
        ["dataset glyphs", "'size'", "image_size"],
    ),
    "bad value of an option": (
        {"dataset": {"name": "glyphs", "options": {"image_size": 30}}},
        ["option image_size: 30", "one of 28, 32"],
    ),
    "option that must be given": ({"dataset": {"name": "folder"}}, ["dataset folder, option path", "must be given"]),
    "folder that is not there": (
        {"dataset": {"name": "folder", "options": {"path": "/nowhere/at/all"}}},
        ["/nowhere/at/all", "no such folder"],
    ),
    "one unknown class": ({"split": {"unknown_test": 1}}, ["unknown_test: 1", "use 0 or at least 2"]),
    "one known class": (
        {"split": {"unknown_test": 7}},
        ["10 classes", "2 unknown to validation", "7 to test", "leaves 1 known", "at least 2"],
    ),
    "more known classes than there are": ({"split": {"known_classes": 7}}, ["known_classes: 7", "the 6 that the split leaves"]),
    "one class to train on": ({"split": {"known_classes": 1}}, ["known_classes: 1", "at least 2"]),
    "part of a class": ({"split": {"unknown_test": 2.5}}, ["unknown_test: 2.5", "a share below 1 nor a whole number"]),
    "negative number of classes": ({"split": {"unknown_test": -1}}, ["split.unknown_test: -1", "minimum of 0"]),
    "parts that the data does not give": ({"split": {"images": "given", "known_test": None}}, ["images: 'given'", "use 'random'"]),
    "seed given twice": ({"seeds": [1, 1]}, ["seeds: [1, 1]", "distinct array of integer >= 0"]),
    "negative seed": ({"seeds": [-1]}, ["seeds: [-1]", "integer >= 0"]),
    "no seed": ({"seeds": 0}, ["seeds: 0", "integer >= 1"]),
    "empty list of seeds": ({"seeds": []}, ["seeds: []", "integer >= 1"]),
    "seeds with a decimal point": ({"seeds": 2.0}, ["seeds: 2.0", "integer >= 1"]),
    "epochs with a decimal point": ({"recipe": {"epochs": 1.0}}, ["recipe.epochs: 1.0", "integer"]),
    "learning rate that is no number": ({"recipe": {"learning_rate": float("nan")}}, ["recipe.learning_rate: nan", "number"]),
    "infinite learning rate": ({"recipe": {"learning_rate": float("inf")}}, ["recipe.learning_rate: inf", "number"]),
    "batch size and images per class": (
        {"losses": {"triplet": {}}, "recipe": {"batch_size": 18}},
        ["recipe.batch_size: 18", "multiple of images_per_class = 4", "balanced"],
    ),
    "more classes a batch than are known": (
        {"losses": {"triplet": {}}, "recipe": {"batch_size": 32}},
        ["recipe.images_per_class", "only 6 classes are known", "images_per_class >= 6"],
    ),
    "warm-up longer than training": (
        {"recipe": {"warmup_epochs": 2}},
        ["recipe.warmup_epochs: 2", "recipe.epochs = 1"],
    ),
    "label smoothing of a loss without cross-entropy": (
        {"losses": {"sphereface2": {"recipe": {"label_smoothing": [0, 0.1]}}}},
        ["losses.sphereface2.recipe.label_smoothing: [0, 0.1]", "no cross-entropy", "losses show sphereface2"],
    ),
    "class weights of a loss without": (
        {"losses": {"triplet": {"recipe": {"class_weight_norm": 2}}}},
        ["losses.triplet.recipe.class_weight_norm: 2", "no class weights"],
    ),
    "name of a folder of the results": ({"study": "runs"}, ["study: 'runs'", "any other name than cache"]),
    "name with a slash": ({"study": "a/b"}, ["study: 'a/b'", "does not match"]),
    "unknown protocol": (
        {"evaluate": {"protocols": ["closed"]}},
        ["evaluate.protocols.0: 'closed'", "did you mean 'closed_set'?", "closed_set, verification, identification"],
    ),
    "no such device": ({"device": "gpu"}, ["device: 'gpu'", "cpu, cuda, auto"]),
    "no such accelerator": ({"device": "cuda"}, ["device: 'cuda'", "no GPU is visible", "device: cpu"]),
}  # fmt: skip


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of this Python in the checkout."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_study_file(problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    changes, expected = BAD[problem]
    path = study_file.write(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message, "one problem, one line"
    for words in expected:
        assert words in message
    assert sorted(tmp_path.iterdir()) == [path], "nothing is written"


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    path = study_file.write(
        tmp_path,
        losses={"arcface": {"margin": 28}, "cosfase": {}, "softmax": {"margin": 1}},
        recipe={"warmup_epochs": 9},
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    starts = ["losses.arcface:", "losses.cosfase:", "losses.softmax:", "recipe.warmup_epochs:"]
    assert [line.removeprefix(f"{path}: ").split()[0] for line in lines] == starts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dataset: {name: mnist5k", "not a YAML file"),
        ("\ufffe\x00", "not a YAML file"),
        ("- dataset\n- losses\n", "a study file is a mapping"),
        ("", "a study file is a mapping"),
        ("dataset: {name: mnist5k}\nlosses: {softmax: }\nseeds: 1\nseeds: 2\n", "the key 'seeds' stands twice"),
        ("losses: {softmax: }\n", "missing key 'dataset'"),
    ],
)  # fmt: skip
def test_what_is_no_study_file(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert re.match(f"{re.escape(str(path))}: .*{re.escape(expected)}", str(caught.value))


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        load(tmp_path / "nowhere.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match=r"bytes\.yaml: not a YAML file"):
        load(tmp_path / "bytes.yaml")


@pytest.mark.parametrize("changes", [{"losses": {"arcfase": {}}}, {"device": "cuda"}])
def test_the_command_says_it_and_fails(changes: dict[str, Any], tmp_path: Path) -> None:
    path = study_file.write(tmp_path, **changes)
    done = run("benchmarks", "plan", "--config", str(path), CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_command_without_a_plan_says_how_to_write_one(tmp_path: Path) -> None:
    done = run("benchmarks", "train", "--plan", str(tmp_path / "plan.json"))
    assert done.returncode == 1
    assert "python -m benchmarks plan" in done.stderr
    (tmp_path / "plan.json").write_text('{"study": "old"}')
    done = run("benchmarks", "evaluate", "--plan", str(tmp_path / "plan.json"))
    assert done.returncode == 1
    assert "damaged, or of another version" in done.stderr


@pytest.mark.slow
def test_a_dry_run_of_the_pipeline_says_it_and_fails(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, losses={"arcfase": {}})
    done = run("snakemake", "-n", "--configfile", str(path), "--nolock")
    assert done.returncode != 0
    assert f"{path}: losses.arcfase" in done.stdout + done.stderr
    assert "did you mean 'arcface'?" in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_studies_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    study = load(path)
    assert study.name == path.stem
    assert study.experiments
    members = [item for stack in study.stacks.values() for item in stack]
    assert sorted(members) == sorted(item.id for item in study.experiments)
    assert len(set(members)) == len(members)


def test_overrides_are_merged_and_the_grid_is_replaced(tmp_path: Path) -> None:
    path = study_file.write(tmp_path)
    config = load_config(
        path, {"recipe": {"epochs": 7}, "seeds": [3, 1], "losses": {"softmax": None}}
    )
    assert config["recipe"]["epochs"] == 7
    assert config["recipe"]["batch_size"] == 16, "the rest of the recipe stays"
    assert config["seeds"] == [3, 1]
    assert config["losses"] == {"softmax": None}
    with pytest.raises(ConfigError, match=r"recipe\.epochs: 0 is less than the minimum of 1"):
        load_config(path, {"recipe": {"epochs": 0}})


def test_numbers_inside_overrides_of_the_command_line() -> None:
    """Snakemake reads ``recipe={epochs: 2}`` as text inside the braces."""
    given = {"seeds": 2, "title": "1: 2", "losses": {"arcface": {"margin": ["1e-1", "0.2"]}}}
    assert typed(given) == {
        "seeds": 2,
        "title": "1: 2",
        "losses": {"arcface": {"margin": [0.1, 0.2]}},
    }
    assert typed({"losses": {"triplet": {"normalize": "true"}, "softmax": ""}}) == {
        "losses": {"triplet": {"normalize": True}, "softmax": None}
    }


def test_defaults(tmp_path: Path) -> None:
    path = tmp_path / "little.yaml"
    path.write_text("dataset: {name: glyphs}\nlosses: {softmax: }\n")
    study = load(path)
    assert study.name == study.title == "little"
    assert study.results == Path("results")
    assert [item.seed for item in study.experiments] == [0, 1, 2, 3, 4]
    first = study.experiments[0]
    assert first.dataset == {"name": "glyphs", "options": {"image_size": 28}}
    assert first.backbone["name"] == "conv3"
    assert first.recipe["threads"] == 1
    assert first.recipe["sampler"] == "shuffled"
    assert study.device == "cpu"


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    """YAML 1.1 calls 1e-3 a word; here it is a number."""
    path = tmp_path / "numbers.yaml"
    path.write_text(
        "dataset: {name: mnist5k}\nrecipe: {learning_rate: 1e-3, weight_decay: 5E-4}\n"
        "losses: {center: }\n"
    )
    config = load_config(path)
    assert config["recipe"]["learning_rate"] == 0.001
    assert config["recipe"]["weight_decay"] == 0.0005


def test_recipe_of_one_loss(tmp_path: Path) -> None:
    path = study_file.write(
        tmp_path,
        losses={"softmax": {"recipe": {"learning_rate": [0.1, 0.2]}}, "triplet": {}},
    )
    points = list(loss_points(load_config(path)))
    assert [(name, recipe["learning_rate"], recipe["sampler"]) for name, _, recipe in points] == [
        ("softmax", 0.1, "shuffled"),
        ("softmax", 0.2, "shuffled"),
        ("triplet", 0.1, "balanced"),
    ]
    assert varying(load_config(path)) == {"softmax": ["learning_rate"], "triplet": []}


def test_grid_order_and_blocks(tmp_path: Path) -> None:
    """As written: losses, blocks, then lists with the last key fastest, then seeds."""
    path = study_file.write(
        tmp_path,
        losses={
            "cosface": [{"margin": [0.2, 0.1], "scale": [8, 16]}, {"margin": 0.3, "scale": 64}],
            "softmax": None,
        },
        seeds=[4, 2],
    )
    found = [
        (item.loss["name"], *item.loss["hyperparameters"].values(), item.seed)
        for item in load(path).experiments
    ]
    grid = [(0.2, 8), (0.2, 16), (0.1, 8), (0.1, 16), (0.3, 64)]
    expected: list[tuple[Any, ...]] = [
        ("cosface", *point, seed) for point in grid for seed in (4, 2)
    ]
    assert found == [*expected, ("softmax", 4), ("softmax", 2)]
    assert varying(load_config(path)) == {"cosface": ["margin", "scale"], "softmax": []}


@pytest.mark.parametrize(("size", "stacks"), [(1, 10), (4, 3), (10, 1), (64, 1)])
def test_stacks_hold_every_experiment_once_and_nearly_equal_numbers(
    size: int, stacks: int, tmp_path: Path
) -> None:
    path = study_file.write(tmp_path, losses={"softmax": {}, "arcface": {}}, seeds=5, stack_size=size)  # fmt: skip
    study = load(path)
    sizes = [len(members) for members in study.stacks.values()]
    assert len(sizes) == stacks
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    members = [item.id for stack in study.stacks for item in study.members(stack)]
    assert sorted(members) == sorted(item.id for item in study.experiments)
    with pytest.raises(ConfigError, match="stack 'nonesuch' is not in the plan"):
        study.members("nonesuch")


def test_the_plan_is_a_pure_function_of_the_config(tmp_path: Path) -> None:
    """Equal for every process, whatever its hash seed and wherever the file stands; and JSON keeps it whole."""
    path = study_file.write(tmp_path, losses={"triplet": {}, "arcface": {"margin": [0.1, 0.2]}})
    plans = []
    for seed in ("1", "2"):
        out = tmp_path / f"plan{seed}.json"
        done = run(
            "benchmarks", "plan", "--config", str(path), "--out", str(out), PYTHONHASHSEED=seed
        )
        assert done.returncode == 0, done.stderr
        plans.append(out.read_text())
    assert plans[0] == plans[1]
    study = load(path)
    assert json.loads(plans[0]) == study.to_json()
    again = Study.from_json(json.loads(plans[0]))
    assert again == study
    assert again.to_json() == study.to_json()


def test_planning_again_does_not_touch_an_equal_plan(tmp_path: Path) -> None:
    from benchmarks.__main__ import main

    path, out = study_file.write(tmp_path), tmp_path / "results/small/plan.json"
    assert main(["plan", "--config", str(path)]) == 0
    before = out.stat().st_mtime_ns
    assert main(["plan", "--config", str(path)]) == 0
    assert out.stat().st_mtime_ns == before
    assert main(["plan", "--config", str(path), "--overrides", '{"seeds": 2}']) == 0
    assert len(json.loads(out.read_text())["experiments"]) == 2
