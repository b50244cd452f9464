"""The table over data sets, from the command line."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from reports.__main__ import main
from tests.reports.fake_results import write_tree

GRID = {"softmax": {}, "cosface": {}, "arcface": {}, "center": {}}
LEVEL = {"softmax": 0.10, "cosface": 0.06, "arcface": 0.05, "center": 0.08}


def studies(folder: Path, count: int, **options: object) -> list[Path]:
    """Studies on so many data sets, each with its own difficulty; the losses rank alike."""
    found = []
    for place in range(count):

        def values(
            loss: str, _: Mapping[str, float], seed: int, add: float = 0.01 * place
        ) -> tuple[float, float]:
            return 0.9, LEVEL[loss] + add + 0.001 * seed

        given = {"grid": GRID, "seeds": 3, "values": values, **options}
        tree = write_tree(folder / f"{place}", **given)
        found.append(tree.plan.parent.rename(folder / f"{place}" / f"set{place}"))
    return found


def command(folders: list[Path], out: Path, *more: str) -> int:
    return main(["across", *map(str, folders), "--out", str(out), *more])


def test_losses_by_data_set(tmp_path: Path) -> None:
    assert command(studies(tmp_path, 4), tmp_path / "out") == 0
    rows = list(csv.DictReader((tmp_path / "out" / "across.csv").open()))
    assert [row["loss"] for row in rows] == ["Softmax", "CosFace", "ArcFace", "Center loss"]
    assert [float(row["rank"]) for row in rows] == [4, 2, 1, 3]
    assert float(rows[0]["set2"]) == pytest.approx(0.10 + 0.02 + 0.001)
    assert float(rows[0]["iqm"]) == pytest.approx(0.10 + 0.015 + 0.001, abs=5e-4)
    assert float(rows[0]["iqm_low"]) < float(rows[0]["iqm"]) < float(rows[0]["iqm_high"])
    text = (tmp_path / "out" / "across.md").read_text()
    # All four agree: χ² = N (K - 1) = 12; CD = 2.569 √(20 / 24)
    assert "Friedman χ² = 12.00" in text
    assert "5 %): 2.35." in text


def test_other_metrics_and_directions(tmp_path: Path) -> None:
    folders = studies(tmp_path, 3, identities="shared")
    assert command(folders, tmp_path / "out", "--metric", "retrieval/recall_at_1") == 0
    rows = list(csv.DictReader((tmp_path / "out" / "across.csv").open()))
    assert [float(row["rank"]) for row in rows] == [4, 2, 1, 3]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("verification/err", "--metric verification/err: not measured in .*verification/eer"),
        ("geometry/intra", "has no better direction"),
    ],
)
def test_wrong_metric(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metric: str, words: str
) -> None:
    assert command(studies(tmp_path, 2), tmp_path / "out", "--metric", metric) == 2
    assert re.search(words, caplog.text)


def test_one_study_is_too_few(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert command(studies(tmp_path, 1), tmp_path / "out") == 2
    assert "two or more" in caplog.text


def test_no_loss_in_common(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = studies(tmp_path / "a", 1, grid={"softmax": {}})
    second = studies(tmp_path / "b", 1, grid={"center": {}})
    assert command(first + second, tmp_path / "out") == 2
    assert "no loss in common" in caplog.text


def test_a_data_set_that_lacks_a_loss_counts_in_no_mean(tmp_path: Path) -> None:
    folders = studies(tmp_path / "a", 2)
    folders += studies(
        tmp_path / "b",
        1,
        fates=lambda loss, *_: ("diverged", "-") if loss == "arcface" else ("finished", None),
        values=lambda loss, _, seed: (0.9, 0.3 + LEVEL[loss]),
    )
    assert command(folders, tmp_path / "out") == 0
    rows = list(csv.DictReader((tmp_path / "out" / "across.csv").open()))
    assert [row["iqm_n"] for row in rows] == ["6"] * 4
    assert float(rows[0]["iqm"]) == pytest.approx(0.10 + 0.005 + 0.001)
    assert "mean rank over the 2 data sets" in (tmp_path / "out" / "across.md").read_text()


def test_a_setting_that_nothing_chose_is_named(tmp_path: Path) -> None:
    grid = {**GRID, "cosface": {"margin": [0.1, 0.2]}}
    folders = studies(tmp_path / "a", 1) + studies(tmp_path / "b", 1, grid=grid, validation=False)
    assert command(folders, tmp_path / "out") == 0
    text = (tmp_path / "out" / "across.md").read_text()
    # Both studies have one name, so that the folder above tells them apart.
    assert "CosFace on 0/set0: the first of 2 settings, cosface m=0.1" in text
    assert "ArcFace on" not in text


def test_folders_as_they_are_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = studies(tmp_path, 2)
    assert command([folders[0], folders[0]], tmp_path / "out") == 2
    assert "given twice" in caplog.text
    monkeypatch.chdir(folders[0])
    assert command([Path(), folders[1]], tmp_path / "out") == 0
    assert (tmp_path / "out" / "across.csv").read_text().startswith("loss,set0,")
    caplog.clear()
    assert command(folders, folders[0] / "plan.json") == 2
    assert "plan.json: File exists" in caplog.text
