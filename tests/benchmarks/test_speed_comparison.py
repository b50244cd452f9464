"""The comparison from end to end at a tiny size: its files, its page, and that unequal quality fails it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.experiment import Experiment
from benchmarks.speed import __main__ as command
from benchmarks.speed import comparison, jobs, page, quality
from benchmarks.speed.comparison import PARTS
from benchmarks.speed.task import Task
from benchmarks.speed.throughput import SUITE, USUAL, Way, rows, ways
from reports import speed_figure

FACTS = {
    "date": "2026-01-02T03:04:05+00:00", "machine": "A CPU", "cores": "2", "device": "cpu", "torch": "2", "python": "3",
}  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def whole(way: str, eer: float, **changes: Any) -> jobs.Whole:
    metrics = {
        (loss, seed): {"verification/eer": eer + seed / 1000, "retrieval/recall_at_1": 0.8, "closed_set/top1": 0.7}
        for loss in jobs.LOSSES
        for seed in range(3)
    }  # fmt: skip
    facts: dict[str, Any] = {
        "way": way, "processes": 2, "threads": 1, "stack": None, "experiments": 6, "images": 1000, "wall": 100.0,
        "startups": [5.0], "training": 150.0, "evaluation": 20.0, "peak": 500.0, "peak_sum": 1000.0, "metrics": metrics,
    }  # fmt: skip
    return jobs.Whole(**{**facts, **changes})


@pytest.fixture
def fabricated(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Whole jobs that nobody carries out, with the suite's EER as one sets it."""
    eer = {"suite": 0.07}
    monkeypatch.setattr(Task, "images", lambda self: None)
    monkeypatch.setattr(comparison, "cores", lambda: 2)
    monkeypatch.setattr(comparison.Comparison, "facts", FACTS)

    def usual(task: Task, members: list[Experiment], out: Path, way: str, *_: int) -> jobs.Whole:
        done = whole(way, 0.07, experiments=len(members), wall=20.0 * len(members))
        own = {(item.loss["name"], item.seed) for item in members}
        return replace(done, metrics={key: done.metrics[key] for key in own})

    monkeypatch.setattr(jobs, "usual", usual)
    monkeypatch.setattr(
        jobs, "suite",
        lambda *_: whole("suite", eer["suite"], wall=10.0, training=12.0, evaluation=3.0, stack=3),
    )  # fmt: skip
    return eer


def test_equal_quality_passes_and_another_fails(
    fabricated: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--only", "jobs", "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    assert {row["status"] for row in read(tmp_path / "speed_quality_cpu.csv")} == {"equal"}
    capsys.readouterr()
    fabricated["suite"] = 0.08
    assert command.main(arguments) == 1
    statuses = {row["metric"]: row["status"] for row in read(tmp_path / "speed_quality_cpu.csv")}
    assert statuses["verification/eer"] == "differs"
    assert "same quality" in capsys.readouterr().err


def test_the_row_of_a_whole_job(fabricated: dict[str, float], tmp_path: Path) -> None:
    command.main(["--quick", "--only", "jobs", "--out", str(tmp_path)])
    usual, _, suite = read(tmp_path / "speed_jobs_cpu.csv")
    assert (usual["experiments"], usual["wall_seconds"]) == ("6", "120.0")
    # Of its two parts: times are added, the larger peak counts.
    assert (usual["training_seconds"], usual["peak_mebibytes"]) == ("300.0", "500")
    assert (
        suite["images_per_second"] == "1000"
    )  # 6,000 images in 12 s of two processes side by side
    assert suite["date"] == FACTS["date"]
    shown = page.TABLES["jobs"](tmp_path)
    cells = [cell.strip() for cell in shown.splitlines()[-3].strip("|").split("|")]
    assert cells[0] == "suite, stacks of 3"
    # Two start-ups of 5 s, 12 s of training and 3 s of evaluation.
    assert cells[4:9] == ["1.0", "5.0", "2.0", "0.5", "12%"]


def test_the_usual_ways_run_before_and_after_the_suite(
    fabricated: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dataset", "glyphs", "--only", "jobs", "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    steps = [
        line.split("whole job: ")[1]
        for line in capsys.readouterr().err.splitlines()
        if "whole job" in line
    ]
    best, default = "usual, 2", "usual, 1"
    assert [step.split(" process")[0] for step in steps[:2]] == [best, default]
    assert steps[2].startswith("suite")
    assert [step.split(" process")[0] for step in steps[3:]] == [best, default]
    rows = read(tmp_path / "speed_jobs_cpu.csv")
    assert [row["experiments"] for row in rows] == ["6", "2", "6"]
    assert {row["pairs"] for row in read(tmp_path / "speed_quality_cpu.csv")} == {"6"}


def test_without_the_pipelines_libraries_it_says_what_is_missing(
    fabricated: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setattr(comparison, "_has", lambda name: name != "yaml")
    assert command.main(["--quick", "--only", "jobs", "--out", str(tmp_path)]) == 0
    assert "not measured: no yaml; nor is the quality" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert "not measured" in page.TABLES["quality"](tmp_path)


def test_ratios_are_taken_within_a_round() -> None:
    default, best, stack = Way(USUAL, 1, threads=0), Way(USUAL, 2), Way(SUITE, 2, stack=4)
    common = {"startup": 1.0, "steps": 2, "streams": 1, "peak": 1.0, "peak_sum": 2.0, "device_peak": None}  # fmt: skip
    rates = {default: (10, 20, 5), best: (20, 40, 10), stack: (100, 160, 60)}
    measured = {way: [{**common, "rate": rate} for rate in own] for way, own in rates.items()}
    row = rows(measured, Task("glyphs"))[-1]
    assert (row["ratio_to_best_usual"], row["ratio_to_default_usual"]) == (5, 10)
    assert (row["images_per_second"], row["lowest"], row["highest"]) == (100, 60, 160)
    assert row["images_per_second_of_one"] == 12.5
    full = rows({**measured, Way(SUITE, 2, stack=8): [{"rate": None}] * 3}, Task("glyphs"))[-1]
    assert full["note"] == "out of memory"


def test_the_ways_of_each_device() -> None:
    cpu = ways("cpu", 2, [1, 16])
    assert [(way.processes, way.threads, way.experiments) for way in cpu] == [(1, 0, 1), (2, 1, 2), (2, 1, 2), (2, 1, 32)]  # fmt: skip
    gpu = ways("cuda", 16, [64])
    assert [(way.processes, way.workers) for way in gpu] == [(1, 0), (1, 8), (4, 4), (8, 2), (1, 0)]
    members = [member for job in cpu[-1].jobs(Task("glyphs"), 1.0) for member in job["members"]]
    assert len({member["id"] for member in members}) == 32


def test_the_page_is_written_from_the_files() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text) == text, "`make docs-speed` was not run"
    with pytest.raises(ValueError, match="tables"):
        page.filled(text.replace("<!-- table: floor -->", ""))


@pytest.mark.slow
def test_everything_but_the_whole_jobs(tmp_path: Path) -> None:
    parts = [part for part in PARTS if part != "jobs"]
    arguments = ["--quick", "--dataset", "synthetic", "--only", *parts, "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    found = {part: read(tmp_path / f"speed_{part}_cpu.csv") for part in parts}
    throughput = found["throughput"]
    assert [row["kind"] for row in throughput] == ["usual", "usual", "suite", "suite"]
    assert all(float(row["images_per_second"]) > 0 and row["torch"] for row in throughput)
    shares: dict[str, float] = {}
    for row in found["phases"]:
        shares[row["way"]] = shares.get(row["way"], 0) + float(row["share"])
        assert float(row["microseconds_an_image"]) > 0 or row["phase"] in ("overhead", "data")
    assert shares == pytest.approx({"usual": 1, "stack of 2": 1}, abs=0.01)
    assert float(found["floor"][0]["gigaflops"]) > 1
    measured = [row for row in found["variants"] if row["microseconds_an_image"]]
    assert {"one net, contiguous", "nets as one vmap", "the engine's path"} <= {row["variant"] for row in measured}  # fmt: skip
    for name in parts:
        assert "](../reports/published/speed_" in page.TABLES[name](tmp_path)
    written = speed_figure.draw(speed_figure.read(tmp_path), tmp_path / "figure")
    assert all(path.stat().st_size > 5000 for path in written)


@pytest.mark.slow
def test_a_suite_that_trains_wrongly_is_found(tmp_path: Path) -> None:
    """Real whole jobs: the suite's with the right learning rate passes, with a wrong one it does not."""
    task = Task("glyphs", epochs=3, batch_size=64, small=True, results=tmp_path)
    task.images()
    members = jobs.grid(task, 3)
    usual = jobs.usual(task, members, tmp_path / "usual", "usual", 2, 1)
    suite = jobs.suite(task, 3, tmp_path / "suite", "suite", 2)
    wrong = jobs.suite(replace(task, learning_rate=1e-4), 3, tmp_path / "wrong", "suite", 2)
    assert usual.images == suite.images == wrong.images
    assert (suite.experiments, suite.stack, len(suite.metrics)) == (6, 3, 6)
    assert min(*suite.startups, suite.training, suite.evaluation) > 0
    right = quality.judge(usual.metrics, suite.metrics, quality.LENIENT)
    assert {verdict.status for verdict in right} == {"equal"}, [item.text() for item in right]
    found = quality.judge(usual.metrics, wrong.metrics, quality.LENIENT)
    assert {verdict.status for verdict in found} == {"differs"}, [item.text() for item in found]


def test_the_figure_has_the_usual_way_as_lines(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "way": ["usual, a", "usual, b", "s1", "s16", "s64"], "kind": ["usual", "usual", "suite", "suite", "suite"],
        "stack": [None, None, 1, 16, 64], "images_per_second": [100, 200, 300, 900, None],
        "lowest": [90, 190, 290, 880, None], "highest": [110, 210, 310, 910, None], "backbone": ["conv3"] * 5,
    })  # fmt: skip
    figure = speed_figure.Figure()
    axis = figure.subplots()
    speed_figure.panel(axis, frame)
    levels = [line for line in axis.lines if line.get_label() in ("usual, a", "usual, b")]
    assert [line.get_ydata()[0] for line in levels] == [100, 200]
    curve = axis.containers[0][0]
    assert list(curve.get_xdata()) == [1, 16]  # what did not fit is left out
    assert list(curve.get_ydata()) == [300, 900]
    with pytest.raises(speed_figure.ReportError, match="make speed"):
        speed_figure.read(tmp_path)
