"""One report of the full study, shared by the tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.__main__ import main
from tests.reports.fake_results import Tree, write_tree


def make_report(tree: Tree) -> None:
    """Run the command line on a tree."""
    given = ["--plan", str(tree.plan), "--runs", str(tree.runs), "--out", str(tree.out)]
    assert main(["make", *given]) == 0


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A study with validation, diverged, failed and missing runs, and its report."""
    folder: Path = tmp_path_factory.mktemp("reported")
    grid = {
        "softmax": {},
        "arcface": {"margin": [0.1, 0.3, 0.8], "scale": [32.0, 64.0]},
        "triplet": {"margin": [0.1, 0.2, 0.5]},
    }
    tree = write_tree(folder, grid=grid, identities="shared")
    make_report(tree)
    return tree
