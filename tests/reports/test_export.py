"""The supplement: complete, sealed, without paths of the machine, and never over other files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from reports.__main__ import main
from tests.reports.fake_results import Tree, write_tree


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, Path]:
    folder = tmp_path_factory.mktemp("export")
    tree = write_tree(folder, grid={"softmax": {}, "arcface": {"margin": [0.3]}}, seeds=2)
    plan = json.loads(tree.plan.read_text())
    tree.plan.write_text(json.dumps(plan | {"config": {"study": "study", "results": str(folder)}}))
    to = folder / "supplement"
    assert main(["export", str(tree.plan.parent), "--to", str(to)]) == 0
    return tree, to


def test_everything_is_there_and_sealed(exported: tuple[Tree, Path]) -> None:
    _, to = exported
    listed = dict(
        reversed(line.split("  ", 1)) for line in (to / "SHA256SUMS").read_text().splitlines()
    )
    files = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}
    assert set(listed) == files - {"SHA256SUMS"}
    for name, checksum in listed.items():
        assert hashlib.sha256((to / name).read_bytes()).hexdigest() == checksum
    assert files >= {
        "README.md", "index.html", "config.json", "plan.json", "requirements.txt",
        "provenance.json", "results.csv", "tables.tex", "figures/captions.md",
        "tables/comparison.csv", "tables/comparison.md", "tables/comparison.tex",
    }  # fmt: skip
    for suffix in ("png", "pdf", "svg", "csv"):
        assert f"figures/seeds.{suffix}" in files
    assert len(pd.read_csv(to / "results.csv")) == 4
    document = (to / "tables.tex").read_text()
    assert document.count(r"\input{tables/") == len(list((to / "tables").glob("*.tex")))
    captions = (to / "figures" / "captions.md").read_text()
    for row in json.loads((to / "figures" / "figures.json").read_text()):
        assert row["caption"] in captions


def test_no_path_of_the_machine(exported: tuple[Tree, Path]) -> None:
    tree, to = exported
    for path in to.rglob("*"):
        if path.is_file():
            assert str(tree.runs.parent).encode() not in path.read_bytes(), path
    assert json.loads((to / "config.json").read_text()) == {"study": "study", "results": "results"}
    facts = json.loads((to / "provenance.json").read_text())
    assert facts["git_commit"] == {"c0ffee" * 6 + "c0ff": 4}
    assert (facts["runs"], facts["first"]) == (4, "2030-01-01")


def test_no_link_leaves_the_folder(exported: tuple[Tree, Path]) -> None:
    _, to = exported
    addresses = re.findall(r'(?:href|src)="([^"#][^"]*)"', (to / "index.html").read_text())
    files = [each for each in addresses if not each.startswith("data:")]
    assert len(files) > 10
    for each in files:
        assert (to / each).resolve().is_relative_to(to.resolve())
        assert (to / each).exists(), each


def test_other_folders_are_left_alone(
    exported: tuple[Tree, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree, _ = exported
    (tmp_path / "thesis.tex").write_text("mine")
    assert main(["export", str(tree.plan.parent), "--to", str(tmp_path)]) == 2
    assert "holds other things (thesis.tex)" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_an_earlier_export_is_replaced(exported: tuple[Tree, Path]) -> None:
    tree, to = exported
    before = (to / "SHA256SUMS").read_text()
    (to / "notes.md").write_text("mine")
    assert main(["export", str(tree.plan.parent), "--to", str(to)]) == 0
    assert (to / "notes.md").read_text() == "mine"
    after = (to / "SHA256SUMS").read_text()
    assert "notes.md" not in after
    changed = set(before.splitlines()) ^ set(after.splitlines())
    assert not [line for line in changed if line.endswith((".csv", ".png", ".tex"))]
