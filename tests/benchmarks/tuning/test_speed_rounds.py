"""The benchmark of a round really trains the round's trials, once together and once each alone."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from benchmarks.speed import rounds as speed_rounds
from benchmarks.study import Study, load
from benchmarks.tuning.rounds import Rounds, read_round
from tests.benchmarks import study_file


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load(
        study_file.write(
            tmp_path,
            split={"known_test": 460, "seed": 0, "unknown_validation": 3},
            evaluate={"protocols": ["verification"], "fars": [0.1]},
            tune={"trials": 2, "rounds": 1, "studies": 2},
            stack_size=4,
        )
    )


def test_it_trains_what_the_round_trains(study: Study) -> None:
    assert study.tuning is not None
    (lane,) = study.tuning.lanes
    experiments = speed_rounds.first_round(study, lane)
    own = Rounds(
        study.tuning,
        folder=study.folder,
        results=study.results,
        evaluate=study.config["evaluate"],
        device="cpu",
        stack_size=4,
    )
    own.run(study.tuning.members(lane), 0)
    runs = [
        name
        for search in study.tuning.members(lane)
        for trial in read_round(study.folder, search, 0, study.tuning)
        for name in trial["runs"]
    ]
    assert [item.id for item in experiments] == runs


@pytest.mark.slow
def test_the_row(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "rounds.csv"
    plan.write_text(json.dumps(study.to_json()))
    monkeypatch.setattr(sys, "argv", ["speed_rounds", "--plan", str(plan), "--out", str(out)])
    speed_rounds.main()
    (row,) = csv.DictReader(out.open())
    assert (row["study"], row["losses"], row["trials"]) == ("small", "arcface arcface", "4")
    stack, each = float(row["stack_seconds"]), float(row["one_process_each_seconds"])
    assert float(row["ratio"]) == pytest.approx(each / stack, rel=0.05)
    assert each > stack  # four start-ups against one
