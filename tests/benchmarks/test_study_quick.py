"""`quick`: the small form of a study, in its own file, checked also where nobody asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.config import load as load_config
from benchmarks.errors import ConfigError
from benchmarks.study import load
from tests.benchmarks import study_file
from tests.conftest import ROOT

QUICK = {"recipe": {"epochs": 1}, "losses": {"softmax": {}}, "seeds": [7]}

# What stands in the file, and what the one line of the message must contain after the file's name.
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no mapping": ({"quick": True}, ["quick: true is not allowed", "a mapping of keys"]),
    "left empty": ({"quick": None}, ["quick: null is not allowed", "a mapping of keys"]),
    "misspelt key": (
        {"quick": {"recipe": {"epoch": 1}}},
        ["quick: recipe.epoch: unknown key", "did you mean 'epochs'?"],
    ),
    "bad value": ({"quick": {"seeds": 0}}, ["quick: seeds: 0"]),
    "unknown loss": ({"quick": {"losses": {"arcfase": {}}}}, ["quick: losses.arcfase", "'arcface'"]),
    "unknown data set": ({"quick": {"dataset": {"name": "mnist5"}}}, ["quick: ", "'mnist5'", "'mnist5k'"]),
    "too many unknown classes": ({"quick": {"split": {"unknown_test": 7}}}, ["quick: ", "leaves 1 known"]),
    "itself": ({"quick": {"quick": {"seeds": 1}}}, ["quick: has a block of the same name"]),
}  # fmt: skip


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("problem", BAD)
def test_a_bad_block(problem: str, asked: bool, tmp_path: Path) -> None:
    changes, expected = BAD[problem]
    if asked and not changes["quick"]:
        expected = ["quick: the file has no such block"]
    path = study_file.write(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load(path, {"quick": True} if asked else {})
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for words in expected:
        # One that is asked for is the study; only what its file says beside it is named.
        assert words in message or (asked and words == "quick: ")


def test_a_problem_of_both_forms_is_told_once(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, losses={"arcfase": {}}, quick={"seeds": 0})
    with pytest.raises(ConfigError) as caught:
        load(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}: losses.arcfase")
    assert second.startswith(f"{path}: quick: seeds: 0")


def test_the_block_is_applied_when_asked_for(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, recipe={"epochs": 9}, quick=QUICK)
    full, quick = load(path), load(path, {"quick": True})
    assert (full.name, quick.name) == ("small", "small_quick")
    assert full.folder != quick.folder
    assert [item.loss["name"] for item in full.experiments] == ["arcface"]
    assert [(item.loss["name"], item.seed) for item in quick.experiments] == [("softmax", 7)]
    assert (full.config["recipe"]["epochs"], quick.config["recipe"]["epochs"]) == (9, 1)
    assert quick.config["recipe"]["batch_size"] == full.config["recipe"]["batch_size"] == 16
    assert "quick" not in full.to_json()["config"], "a plan says what runs"
    assert "quick" not in quick.to_json()["config"]


def test_it_is_the_study_that_one_would_write(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, quick=QUICK)
    quick = load(path, {"quick": True})
    plain = load(study_file.write(tmp_path), {**QUICK, "study": "small_quick"})
    assert quick.to_json() == plain.to_json()


def test_false_is_the_study_itself(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, quick=QUICK)
    assert load(path, {"quick": False}) == load(path, {"quick": "false"}) == load(path)
    assert load(path, {"quick": "true"}) == load(path, {"quick": True}), "as Snakemake hands it on"
    with pytest.raises(ConfigError, match=r"quick: 1 is not allowed \(allowed: true, false\)"):
        load(path, {"quick": 1})


@pytest.mark.parametrize(
    ("block", "overrides", "name"),
    [
        ({}, {}, "small_quick"),
        ({"study": "tiny"}, {}, "tiny"),
        ({"study": "tiny"}, {"study": "mine"}, "mine"),
    ],
)
def test_names(block: dict[str, Any], overrides: dict[str, Any], name: str, tmp_path: Path) -> None:
    path = study_file.write(tmp_path, quick={"seeds": 1, **block})
    assert load(path, {"quick": True, **overrides}).name == name


def test_a_file_names_the_study_and_its_quick_form(tmp_path: Path) -> None:
    path = tmp_path / "little.yaml"
    path.write_text("dataset: {name: glyphs}\nlosses: {softmax: }\nquick: {seeds: 1}\n")
    assert load(path).name == "little"
    assert load(path, {"quick": True}).name == "little_quick"


def test_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, quick=QUICK)
    assert len(load(path, {"quick": True, "seeds": 3}).experiments) == 3


def test_vary_and_tune_in_the_block(tmp_path: Path) -> None:
    """Axes are replaced as the losses are; a study that is tuned can have a form that is not."""
    path = study_file.write(
        tmp_path,
        vary={"backbone.embedding_dim": [2, 4], "recipe.momentum": [0.5, 0.9]},
        quick={"vary": {"backbone.embedding_dim": [3, 5, 7]}},
    )
    assert len(load(path).experiments) == 4
    quick = load(path, {"quick": True})
    assert [item.backbone["embedding_dim"] for item in quick.experiments] == [3, 5, 7]
    path = study_file.write(tmp_path, tune={"trials": 4}, split={"seed": 0}, quick={"tune": None})
    assert load(path).tuning is not None
    assert load(path, {"quick": True}).tuning is None


def test_a_file_without_a_block_says_which_have_one(tmp_path: Path) -> None:
    path = study_file.write(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(path, {"quick": True})
    message = str(caught.value)
    assert message.startswith(f"{path}: quick: the file has no such block (files that have one: ")
    shipped = sorted(
        path.name
        for path in (ROOT / "config").glob("*.yaml")
        if "\nquick:" in path.read_text() and path.name != "schema.yaml"
    )
    assert shipped
    assert message.endswith(f": {', '.join(shipped)})")


def test_the_complete_configuration_keeps_a_block_that_is_not_applied(tmp_path: Path) -> None:
    path = study_file.write(tmp_path, quick=QUICK)
    assert load_config(path)["quick"] == QUICK
    assert "quick" not in load_config(path, {"quick": True})
