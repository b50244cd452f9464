"""Plan and run store to frame, and the choice of cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.collect import cell_label, collect, write_results
from reports.errors import ReportError
from reports.selection import select
from tests.reports.fake_results import Tree, quality, write_json, write_tree

ARCFACE = {"arcface": {"margin": [0.1, 0.3, 0.5], "scale": [16.0, 32.0]}}


def never(*_: object) -> tuple[str, str | None]:
    return "finished", None


def test_one_row_per_experiment_whatever_became_of_it(tmp_path: Path) -> None:
    tree = write_tree(tmp_path)
    study = collect(tree.plan, tree.runs)
    assert len(study.frame) == 32 * 5
    counts = study.frame["status"].value_counts().to_dict()
    assert counts == {
        "finished": 150,
        "diverged": 7,
        "failed": 1,
        "out_of_memory": 1,
        "missing": 1,
    }
    row = study.frame.set_index("id").loc[tree.run("arcface", 2, margin=0.3, scale=32.0).name]
    closed, eer = quality("arcface", {"margin": 0.3, "scale": 32.0}, 2)
    assert row["closed_set/top1"] == closed
    assert row["verification/eer"] == eer
    assert (row["cell"], row["margin"], row["scale"], row["seed"]) == (
        "arcface m=0.3 s=32",
        0.3,
        32.0,
        2,
    )
    lost = study.frame.set_index("id").loc[tree.run("arcface", 0, margin=0.8, scale=64.0).name]
    assert lost["reason"] == "loss not finite in epoch 3 (step 412)"
    assert np.isnan(lost["verification/eer"])


def test_refused_values_keep_their_note(tmp_path: Path) -> None:
    study = collect(*_paths(write_tree(tmp_path, grid={"triplet": {}}, seeds=1)))
    notes = study.notes.set_index("metric")["note"]
    assert notes["closed_set/top1"] == "the loss has no classifier"
    assert "fewer than 10 false accepts" in notes["verification/tar_at_far_1e-04"]


def test_by_seed_is_in_the_order_of_seeds(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid=ARCFACE, seeds=3, fates=never)
    study = collect(tree.plan, tree.runs)
    found = study.by_seed("verification/eer", ["arcface m=0.5 s=16", "arcface m=0.1 s=32"])
    for row, settings in enumerate(
        ({"margin": 0.5, "scale": 16.0}, {"margin": 0.1, "scale": 32.0})
    ):
        assert found[row].tolist() == [quality("arcface", settings, seed)[1] for seed in range(3)]


def test_varying_recipe_key_becomes_column_and_label(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"arcface": {"margin": [0.3]}}, seeds=2)
    plan = json.loads(tree.plan.read_text())
    for experiment in plan["experiments"]:
        experiment["recipe"]["learning_rate"] = 0.1 if experiment["seed"] == 0 else 0.05
    write_json(tree.plan, plan)
    study = collect(tree.plan, tree.runs)
    assert study.axes == {"arcface": ["learning_rate"]}
    assert list(study.frame["cell"]) == ["arcface lr=0.1", "arcface lr=0.05"]


def test_finished_without_evaluation_is_said(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=2)
    (tree.run("softmax", 1) / "evaluations" / "e0" / "metrics.json").unlink()
    frame = collect(tree.plan, tree.runs).frame
    assert frame["reason"].iloc[1] == "not evaluated: no metrics of evaluation e0"


def test_results_files(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid=ARCFACE, seeds=2)
    study = collect(tree.plan, tree.runs)
    parquet, csv = write_results(study, tmp_path / "one")
    _, again = write_results(collect(tree.plan, tree.runs), tmp_path / "two")
    assert csv.read_bytes() == again.read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), study.frame, check_dtype=False)
    stored = pd.read_csv(csv, float_precision="round_trip")
    assert stored["verification/eer"].tolist() == study.frame["verification/eer"].tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), ("{", "not JSON"), ('{"experiments": []}', "no experiments")],
)
def test_bad_plan_is_explained(tmp_path: Path, content: str | None, words: str) -> None:
    plan = tmp_path / "plan.json"
    if content is not None:
        plan.write_text(content)
    with pytest.raises(ReportError, match=words) as caught:
        collect(plan, tmp_path)
    assert str(plan) in str(caught.value)


@pytest.mark.parametrize("damaged", [b"{", b"\xff\xfe"])
def test_a_damaged_history_is_explained(tmp_path: Path, damaged: bytes) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    path = tree.run("softmax", 0) / "history.jsonl"
    study = collect(tree.plan, tree.runs)
    assert study.history(path.parent.name)
    path.write_bytes(damaged)
    with pytest.raises(ReportError, match=r"history\.jsonl: not JSON"):
        study.history(path.parent.name)


def test_unknown_status_is_an_error(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    write_json(tree.run("softmax", 0) / "result.json", {"status": "great"})
    with pytest.raises(ReportError, match="'great'"):
        collect(tree.plan, tree.runs)


def test_cell_label() -> None:
    assert cell_label("softmax", {}) == "softmax"
    label = cell_label("triplet", {"soft_margin": True, "margin": 0.25, "rule": "easy"})
    assert label == "triplet soft_margin=true m=0.25 rule=easy"


def test_selection_follows_validation_not_test(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid=ARCFACE, seeds=3, fates=never)
    # The best test setting (m=0.3 s=32) is made bad on validation images.
    for seed in range(3):
        path = tree.run("arcface", seed, margin=0.3, scale=32.0) / "evaluations/e0/metrics.json"
        content = json.loads(path.read_text())
        content["metrics"]["validation/verification/eer"] = 0.4
        write_json(path, content)
    study = collect(tree.plan, tree.runs)
    means = study.frame.groupby("cell")["validation/verification/eer"].mean()
    chosen = select(study)
    assert study.frame.groupby("cell")["verification/eer"].mean().idxmin() == "arcface m=0.3 s=32"
    assert chosen.cells == [means.idxmin()]
    assert chosen.cells != ["arcface m=0.3 s=32"]
    assert chosen.criterion == "validation/verification/eer"
    assert "validation" in chosen.rule


def test_without_validation_every_cell_is_compared(tmp_path: Path) -> None:
    study = collect(*_paths(write_tree(tmp_path, grid=ARCFACE, seeds=2, validation=False)))
    chosen = select(study)
    assert chosen.criterion is None
    assert chosen.cells == list(study.cells["cell"])
    assert len(chosen.cells) == 6


def test_closed_set_study_is_chosen_by_closed_set_validation(tmp_path: Path) -> None:
    study = collect(*_paths(write_tree(tmp_path, grid=ARCFACE, seeds=3, open_set=False)))
    chosen = select(study)
    assert chosen.criterion == "validation/closed_set/ncm_top1"
    means = study.frame.groupby("cell")["validation/closed_set/ncm_top1"].mean()
    assert chosen.cells == [means.idxmax()]


def test_a_cell_that_lost_seeds_cannot_win(tmp_path: Path) -> None:
    def fates(_: object, settings: Mapping[str, float], seed: int) -> tuple[str, str | None]:
        lost = settings["margin"] == 0.3 and seed > 0
        return ("diverged", "not finite") if lost else ("finished", None)

    study = collect(*_paths(write_tree(tmp_path, grid=ARCFACE, seeds=3, fates=fates)))
    assert "m=0.3" not in select(study).cells[0]


def test_choice_at_the_edge_of_the_grid_is_flagged(tmp_path: Path) -> None:
    grid = {"arcface": {"margin": [0.3, 0.5, 0.8], "scale": [16.0, 32.0]}}
    chosen = select(collect(*_paths(write_tree(tmp_path, grid=grid, fates=never))))
    assert chosen.cells == ["arcface m=0.3 s=32"]
    assert chosen.edges == {"arcface m=0.3 s=32": ["margin"]}  # two scales have no inside


def _paths(tree: Tree) -> tuple[Path, Path]:
    return tree.plan, tree.runs
