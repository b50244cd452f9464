"""Runs, their files and their place in MLflow, and what is said where runs are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports.collect import collect
from reports.page.experiments import Experiments, experiments
from reports.page.links import Links
from reports.page.mlflow_links import Mirror, read_mirror
from reports.page.status import notice
from reports.selection import select
from reports.summary import Number
from reports.tables.best_settings import best_settings, best_settings_table
from reports.tables.table import Column, Table
from tests.reports.fake_results import Tree, write_tree

RECORD = {"experiment": "7", "runs": {"a": "f00d"}}


def table_of(tree: Tree, mirror: Mirror) -> Experiments:
    study = collect(tree.plan, tree.runs)
    return experiments(study, select(study), Links(study), mirror, tree.out)


def test_every_run_has_a_row_with_its_files(tmp_path: Path) -> None:
    def fate(loss: str, settings: Any, seed: int) -> tuple[str, str | None]:
        return ("missing", None) if seed == 1 else ("finished", None)

    grid = {"softmax": {}, "arcface": {"margin": [0.1, 0.3]}}
    tree = write_tree(tmp_path, grid=grid, seeds=2, fates=fate, values=lambda *_: (0.9, 0.125))
    found = table_of(tree, Mirror())
    assert [run.id for run in found.runs] == list(tree.ids.values())
    assert [run.first for run in found.runs] == [True, False] * 3
    assert [run.status for run in found.runs] == ["finished", "missing"] * 3
    for run in found.runs:
        labels = [label for label, _ in run.files]
        assert labels == (
            ["config", "history", "result", "metrics"] if run.status == "finished" else []
        )
        for _, address in run.files:
            assert (tree.out / address).resolve().is_relative_to(tree.runs.resolve() / run.id)
            assert (tree.out / address).resolve().is_file()
    place = [short for short, _ in found.columns].index("EER (%)")
    assert [run.values[place].text for run in found.runs[:2]] == ["12.50", "–"]


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("sqlite:////somewhere/mlflow.db", "http://127.0.0.1:5000/#/experiments/7/runs/f00d"),
        ("http://tracker.example:80/", "http://tracker.example:80/#/experiments/7/runs/f00d"),
        (
            "https://me:secret@tracker.example/ml",
            "https://tracker.example/ml/#/experiments/7/runs/f00d",
        ),
        ("postgresql://me:secret@base/db", ""),
    ],
)
def test_where_a_run_stands_in_mlflow(tmp_path: Path, uri: str, link: str) -> None:
    path = tmp_path / "tracked.json"
    path.write_text(json.dumps({**RECORD, "uri": uri}))
    mirror = read_mirror(path)
    assert mirror.link("a") == link
    assert mirror.link("b") == ""
    assert mirror.runs == {"a": "f00d"}
    assert "secret" not in mirror.base
    assert ("make mlflow" in mirror.note) == uri.startswith("sqlite")


@pytest.mark.parametrize("content", [None, "{}", "[]", '{"uri": "sqlite:///x"}', "no"])
def test_a_study_that_was_not_mirrored(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tracked.json").write_text(content)
    assert read_mirror(tmp_path / "tracked.json") == Mirror()


def test_settings_whose_names_look_alike_have_their_own_anchors(tmp_path: Path) -> None:
    grid = {"arcface": {"margin": [-0.1, 0.1]}}
    tree = write_tree(tmp_path, grid=grid, seeds=1, values=lambda *_: (0.9, 0.1))
    links = Links(collect(tree.plan, tree.runs))
    assert len(set(links.settings.values())) == 2


def test_which_entries_lead_where(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"arcface": {"margin": [0.1, 0.3]}}, seeds=1)
    links = Links(collect(tree.plan, tree.runs))
    number, none = Number(0.5, 0.4, 0.6, 3), Number(float("nan"), 0.0, 0.0, 0)
    columns = [Column("loss", "Loss"), Column("setting", "Setting"), Column("x", "X")]
    row = ["ArcFace", "m=0.3", number]
    own = links.of_row(Table("t", "T", "", columns, [row]), row)
    assert own == f"#{links.settings['arcface m=0.3']}"
    assert links.of_entry(columns[2], number, own) == own
    assert links.of_entry(columns[2], none, own) == ""
    assert links.of_entry(columns[0], "ArcFace", own) == ""
    assert links.of_column(Column("ArcFace m=0.1", "")) == f"#{links.settings['arcface m=0.1']}"
    other = ["Other", "m=0.3", number]
    assert links.of_row(Table("t", "T", "", columns, [other]), other) == ""
    experiment = next(iter(tree.ids.values()))
    assert links.of_entry(Column("id", ""), experiment, "") == f"#run-{experiment}"


def test_the_best_setting_of_each_sweep(tmp_path: Path) -> None:
    eers = {0.1: (0.10, 0.11, 0.12), 0.2: (0.050, 0.061, 0.052), 0.3: (0.053, 0.055, 0.056)}
    tree = write_tree(
        tmp_path,
        grid={"softmax": {}, "arcface": {"margin": list(eers)}},
        seeds=3,
        values=lambda loss, own, seed: (0.9, eers[own["margin"]][seed] if own else 0.2),
        fates=lambda *_: ("finished", None),
    )
    study = collect(tree.plan, tree.runs)
    (found,) = best_settings(study, "verification/eer")
    assert (found.loss, found.best) == ("arcface", "arcface m=0.2")
    assert found.value.mean == pytest.approx(sum(eers[0.2]) / 3)
    assert found.same == ["arcface m=0.3"]
    assert found.worse == 1
    rows = best_settings_table(study).rows
    assert rows[1][:3] == ["EER", "ArcFace", "m=0.2"]
    assert rows[1][4:] == [3, "m=0.3", 1]


def test_no_notice_where_every_run_has_its_result(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=2)
    assert notice(collect(tree.plan, tree.runs)) is None


@pytest.mark.parametrize(
    ("fates", "title", "typed"),
    [
        (["missing"] * 3, "There is nothing to compare: none of its 3 runs", "--forcerun train"),
        (["out_of_memory"] * 3, "There is nothing to compare", "--config stack_size=1"),
        (
            ["finished", "failed", "finished"],
            "1 of 3 runs has no evaluated result.",
            "config/study",
        ),
        (["finished", "diverged", "diverged"], "2 of 3 runs have no evaluated result.", None),
    ],
)
def test_a_notice_says_what_and_what_to_do(
    tmp_path: Path, fates: list[str], title: str, typed: str | None
) -> None:
    tree = write_tree(
        tmp_path,
        grid={"softmax": {}},
        seeds=3,
        fates=lambda *a: (fates[a[2]], f"because {a[2] % 2}"),
    )
    found = notice(collect(tree.plan, tree.runs))
    assert found is not None
    assert found.title.startswith(title)
    assert sum(count for count, _, _ in found.reasons) == sum(each != "finished" for each in fates)
    commands = [command for _, command in found.steps if command]
    assert (typed is None and not commands) or any(typed in each for each in commands)
    assert found.steps
