"""What a plan warns of, and that a warning stops nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from benchmarks.__main__ import SHOWN_WARNINGS, main
from benchmarks.study import Study, load
from tests.benchmarks.study_file import write


def test_warnings_stand_in_the_plan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    losses = {"cosface": {"margin": [0.4, 0.6], "scale": [2, 32]}, "softmax": {}}
    path = write(tmp_path, losses=losses, backbone={"embedding_dim": 2}, seeds=2)
    out = tmp_path / "plan.json"
    with caplog.at_level(logging.WARNING):
        assert main(["plan", "--config", str(path), "--out", str(out)]) == 0
    plan = json.loads(out.read_text())
    # Six of the ten digits are known.
    found = [
        (item["hyperparameters"]["margin"], item["hyperparameters"]["scale"], item["warning"])
        for item in plan["warnings"]
    ]
    room = "6 classes in 2 dimensions have room for at most 0.5 cosine (CosFace, eq. 7)"
    small = (
        "cosface: scale 2 is too small for 6 classes: a probability of 0.9 at the class centre "
        "takes at least 3.17 (CosFace, eq. 6)"
    )
    large = f"cosface: margin 0.6 cannot be satisfied: {room}"
    assert found == [(0.4, 2, small), (0.6, 2, large), (0.6, 2, small), (0.6, 32, large)]
    shown = [record.getMessage() for record in caplog.records]
    assert [line for line in shown if line.startswith("warning: ")] == [
        f"warning: {small}",
        f"warning: {large}",
    ]
    assert Study.from_json(plan) == load(path)


def test_many_warnings_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scales = [0.1 * step for step in range(1, SHOWN_WARNINGS + 4)]
    path = write(tmp_path, losses={"norm_softmax": {"scale": scales}})
    with caplog.at_level(logging.WARNING):
        assert main(["plan", "--config", str(path), "--out", str(tmp_path / "plan.json")]) == 0
    shown = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("warning: ") for line in shown) == SHOWN_WARNINGS
    assert any(line.startswith("and 3 more warnings") for line in shown)


def test_peers_are_planned(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning")
    losses = {
        "pml:TripletMarginLoss": {"margin": [0.1, 0.2]},
        "pml:ArcFaceLoss": {"margin": 0.5},
        "arcface": {"margin": 0.5, "scale": 32},
    }
    study = load(write(tmp_path, losses=losses))
    assert len(study.experiments) == 4
    assert {item.recipe["sampler"] for item in study.experiments} == {"balanced", "shuffled"}
    assert len({item.loss_group for item in study.experiments}) == 4
    assert not any(":" in item.id for item in study.experiments)
    [warning] = study.warnings
    assert "margin 0.5 is in degrees there" in warning["warning"]
