"""A fake study on a data set that papers judged: what the tests of published numbers need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.collect import Study, collect
from tests.reports.fake_results import Tree, write_tree

GRID: Mapping[str, Mapping[str, list[Any]]] = {
    "softmax": {},
    "l_softmax": {"margin": [2.0, 3.0, 5.0]},
}
GIVEN = {"classes": "random", "images": "given", "unknown_validation": 0, "unknown_test": 0}


def accuracy(loss: str, settings: Mapping[str, float], seed: int) -> tuple[float, float]:
    """Closed-set top-1 near the papers' and an EER."""
    return 0.995 + 0.0005 * settings.get("margin", 0) / 4 + 0.0002 * seed, 0.05


def digits(
    folder: Path,
    *,
    dataset: str = "mnist",
    split: Mapping[str, Any] | None = None,
    backbone: str = "lsoftmax_paper",
    grid: Mapping[str, Mapping[str, list[Any]]] = GRID,
    **options: Any,
) -> tuple[Tree, Study]:
    """A closed-set study with three seeds; GIVEN is the split that papers use."""
    given: dict[str, Any] = {"seeds": 3, "open_set": False, "validation": False, "values": accuracy}
    tree = write_tree(folder, grid=grid, **(given | options))
    plan = json.loads(tree.plan.read_text())
    for item in plan["experiments"]:
        item["dataset"] = {"name": dataset, "options": {}}
        item["split"] = dict(GIVEN if split is None else split)
        item["backbone"]["name"] = backbone
    tree.plan.write_text(json.dumps(plan))
    return tree, collect(tree.plan, tree.runs)
