"""Two studies side by side: what is matched, what is paired, what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reports.__main__ import main
from reports.collect import collect
from reports.compare import compared, differences, flat, matches, welch
from reports.errors import ReportError
from reports.selection import select
from reports.tables.render import to_csv
from tests.reports.fake_results import Tree, quality, write_json, write_tree
from tests.reports.fake_tuning import write_tuned

GRID = {"softmax": {}, "arcface": {"margin": [0.1, 0.3], "scale": [32.0]}}


def never(*_: object) -> tuple[str, str | None]:
    return "finished", None


def better(loss: str, settings: Mapping[str, float], seed: int) -> tuple[float, float]:
    """The same runs with an EER that is 2 points lower, but for a little noise."""
    closed, eer = quality(loss, settings, seed)
    return closed, eer - 0.02 + 0.0002 * seed


def trees(folder: Path) -> tuple[Tree, Tree]:
    first = write_tree(folder / "a", grid=GRID, fates=never, identities="shared")
    second = write_tree(
        folder / "b", grid=GRID | {"cosface": {}}, seeds=4, fates=never, values=better
    )
    return first, second


def changed(tree: Tree, **changes: object) -> None:
    plan = json.loads(tree.plan.read_text())
    for experiment in plan["experiments"]:
        experiment |= changes
    write_json(tree.plan, plan)


def rows_of(first: Tree, second: Tree) -> list[dict[str, str]]:
    studies = [collect(tree.plan, tree.runs) for tree in (first, second)]
    table, _ = compared(studies[0], studies[1], ["a", "b"])
    return list(csv.DictReader(to_csv(table).splitlines()))


def test_equal_settings_are_paired_by_seed(tmp_path: Path) -> None:
    rows = rows_of(*trees(tmp_path))
    own = [row for row in rows if row["metric"] == "EER"]
    assert [row["cell"] for row in own] == ["Softmax", "ArcFace m=0.1 s=32", "ArcFace m=0.3 s=32"]
    assert {row["basis"] for row in own} == {"same setting"}
    gaps = [-0.02 + 0.0002 * seed for seed in range(4)]
    truth = stats.ttest_1samp(gaps, 0)
    low, high = truth.confidence_interval()
    for row in own:
        assert (row["seeds"], row["way"]) == ("4", "paired")
        assert float(row["difference"]) == pytest.approx(np.mean(gaps))
        assert float(row["difference_low"]) == pytest.approx(low)
        assert float(row["difference_high"]) == pytest.approx(high)
        assert float(row["p"]) == pytest.approx(truth.pvalue)
        assert float(row["p_holm"]) == pytest.approx(3 * truth.pvalue)
        assert row["verdict"] == "b better"
    same = [row for row in rows if row["metric"] == "Top-1"]
    assert {row["verdict"] for row in same} == {"not distinguishable"}
    assert {float(row["difference"]) for row in same} == {0.0}


def test_other_splits_are_unpaired(tmp_path: Path) -> None:
    first, second = trees(tmp_path)
    changed(second, split={"classes": "random", "unknown_test": 0.5})
    row = next(row for row in rows_of(first, second) if row["metric"] == "EER")
    values = [
        [of("softmax", {}, seed)[1] for seed in range(n)] for of, n in ((quality, 5), (better, 4))
    ]
    truth = stats.ttest_ind(values[1], values[0], equal_var=False)
    assert row["way"] == "unpaired"
    assert float(row["p"]) == pytest.approx(truth.pvalue)
    interval = truth.confidence_interval()
    found = welch(np.array(values[0]), np.array([*values[1], np.nan]))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_other_recipes_are_matched_by_the_chosen_setting(tmp_path: Path) -> None:
    first, second = trees(tmp_path)
    changed(second, recipe={"epochs": 99, "learning_rate": 0.5})
    studies = [collect(tree.plan, tree.runs) for tree in (first, second)]
    found = matches(studies[0], studies[1])
    assert [(match.first, match.basis) for match in found] == [
        ("softmax", "chosen by each"),
        ("arcface m=0.3", "chosen by each"),
    ]


def test_runs_of_both_are_not_tested(tmp_path: Path) -> None:
    first, _ = trees(tmp_path)
    study = collect(first.plan, first.runs)
    table, _ = compared(study, collect(first.plan, first.runs), ["a", "b"])
    rows = list(csv.DictReader(to_csv(table).splitlines()))
    assert {(row["way"], row["verdict"], row["p"]) for row in rows} == {
        ("same runs", "not tested", "")
    }


def test_tuned_studies_are_matched_by_default_and_by_what_they_chose(tmp_path: Path) -> None:
    first, second = write_tuned(tmp_path / "a"), write_tuned(tmp_path / "b")
    plan = json.loads(second.plan.read_text())
    for arm in plan["tuning"]["arms"]:
        for experiment in plan["experiments"]:
            if arm["arm"] != "default" and experiment["id"] in arm["experiments"]:
                experiment["augment"] = {"flip": 1}  # stands for what another search found
    write_json(second.plan, plan)
    studies = [collect(tree.plan, tree.runs) for tree in (first, second)]
    found = matches(studies[0], studies[1])
    own = [match for match in found if match.basis == "chosen by each"]
    chosen = [select(study).cells for study in studies]
    assert own
    for match in own:
        assert match.first in chosen[0]
        assert match.second in chosen[1]
    same = [match for match in found if match.basis == "same setting"]
    assert same
    assert len({(match.first, match.second) for match in found}) == len(found)


def test_other_data_are_refused(tmp_path: Path) -> None:
    first, second = trees(tmp_path)
    changed(second, data_checksum="0" * 64)
    with pytest.raises(ReportError, match="other data"):
        rows_of(first, second)


def test_what_differs_is_listed(tmp_path: Path) -> None:
    first, second = trees(tmp_path)
    for tree, config in (
        (first, {"seeds": 5, "recipe": {"epochs": 10}}),
        (second, {"seeds": 4, "recipe": {"epochs": 10}, "device": "cuda"}),
    ):
        plan = json.loads(tree.plan.read_text())
        write_json(tree.plan, plan | {"config": config})
    for result in second.runs.glob("*/result.json"):
        content = json.loads(result.read_text())
        content["provenance"]["torch"] = "3.0.0"
        write_json(result, content)
    table = differences(
        collect(first.plan, first.runs), collect(second.plan, second.runs), ["a", "b"]
    )
    assert table.rows == [
        ["configuration", "seeds", "5", "4"],
        ["configuration", "device", "–", "cuda"],
        ["provenance", "torch", "2.11.0", "3.0.0"],
    ]
    assert flat({"a": {"b": [1], "c": {}}}) == {"a.b": "[1]", "a.c": "{}"}


def test_command_writes_page_tables_and_figure(tmp_path: Path) -> None:
    first, second = trees(tmp_path)
    out = tmp_path / "out"
    folders = [str(tree.plan.parent) for tree in (first, second)]
    for tree in (first, second):
        tree.runs.rename(tree.plan.parent.parent / "runs")
    assert main(["compare", *folders, "--out", str(out)]) == 0
    page = (out / "index.html").read_text()
    assert page.count("<table>") == 1  # nothing differs in the configuration
    assert "Softmax" in page
    assert "data:image/png;base64," in page
    assert (out / "figures" / "two_studies.svg").exists()
    assert r"\begin{tabular}" in (out / "compare.tex").read_text()
