"""The benchmark of the whole pipeline: its studies, its clock, its tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.speed import pipeline
from benchmarks.speed.counted import counted
from benchmarks.speed.pipeline_page import markdown
from benchmarks.study import load
from datasets import registry

FACTS = {
    "date": "2030-01-02T03:04:05+00:00", "machine": "Example CPU", "cores": "2", "device": "cpu", "torch": "2.11.0",
    "python": "3.12.1", "threads": "1", "stack": "auto",
}  # fmt: skip


@pytest.mark.parametrize("experiments", [10, 20, 70, 100, 1000])
def test_a_study_has_exactly_so_many_experiments(experiments: int, tmp_path: Path) -> None:
    pipeline.write_study(tmp_path, experiments, 4)
    study = load(tmp_path / "study.yaml", {"results": str(tmp_path / "results")})
    assert len({item.id for item in study.experiments}) == len(study.experiments) == experiments
    assert {item.loss["name"] for item in study.experiments} == {"cosface", "arcface"}
    assert max(map(len, study.stacks.values())) <= 4


@pytest.mark.parametrize("experiments", [0, 5, 15])
def test_a_number_that_makes_no_grid_is_refused(experiments: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 10"):
        pipeline.study(experiments, tmp_path)


def test_images_of_a_class_are_alike(tmp_path: Path) -> None:
    pipeline.write_images(tmp_path / "images")
    options = {"path": str(tmp_path / "images"), "image_size": 8, "channels": 1}
    found = registry.describe("folder", options, tmp_path, tmp_path / "cache")
    assert (found.classes, found.images, found.smallest_class) == (80, 800, 10)
    pixels = np.array(
        [[np.asarray(Image.open(path)) for path in sorted(home.iterdir())]
         for home in sorted((tmp_path / "images").iterdir())], dtype=float,
    )  # fmt: skip
    within = pixels.std(axis=1).mean()
    assert within < pixels.mean(axis=1).std(axis=0).mean() * 1.5  # the classes can be told apart
    assert 30 < within < 45  # uniform noise of 128 values: 37


def test_cpu_time_of_a_command_and_of_what_it_starts(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    (tmp_path / "child.py").write_text(burn.format(0.8))
    parent = "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'])\nprint('done', sys.argv[1:])\n"
    (tmp_path / "parent.py").write_text(parent + burn.format(0.3))
    found = counted("parent", ["x", 1], tmp_path)
    assert found.output == "done ['x', '1']\n"
    assert 0.3 <= found.own < 0.7 <= found.children
    assert found.cpu == found.own + found.children
    assert found.wall >= found.children - 0.1


def test_a_failed_command_says_what_it_printed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import sys\nprint('so it goes')\nsys.exit(3)\n")
    with pytest.raises(RuntimeError, match=r"(?s)broken ended with 3.*so it goes"):
        counted("broken", [], tmp_path)


def test_seconds_of_jobs_come_from_their_benchmark_files(tmp_path: Path) -> None:
    for number, seconds in enumerate((1.5, 2.25)):
        (tmp_path / f"train-{number}.tsv").write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t5\n")
    (tmp_path / "track.tsv").write_text("s\th:m:s\n9\t0:00:09\n")
    assert pipeline._job_seconds(tmp_path, "train") == [1.5, 2.25]
    assert pipeline._job_seconds(tmp_path, "track") == [9]


def rows_of(experiments: int, wall: float, cpu: float) -> list[dict[str, str]]:
    seconds = {
        "all": (wall, cpu), "snakemake": ("", 3), "train": (30, ""), "evaluate": (20, ""), "track": (5, ""),
        "report": (8, ""), "again": (4, 4), "mirror": (0.25 * experiments, 0.05 * experiments), "report alone": (9, 15),
    }  # fmt: skip
    return [
        {**FACTS, "experiments": str(experiments), "what": what, "jobs": "7", "wall_seconds": str(one), "cpu_seconds": str(two)}
        for what, (one, two) in seconds.items()
    ]  # fmt: skip


def test_the_page_shows_what_an_extra_experiment_costs() -> None:
    planned = {
        **FACTS, "experiments": "10000", "what": "dry run", "jobs": "0", "wall_seconds": "12", "cpu_seconds": "11",
    }  # fmt: skip
    page = markdown([*rows_of(10, 40, 60), *rows_of(100, 130, 186), planned])
    assert "2030-01-02, 2 cores of Example CPU" in page
    assert "| 10 | 7 | 40.0 | 60.0 | – | – |" in page
    assert "| 100 | 7 | 130.0 | 186.0 | 1.00 | 1.40 |" in page  # 90 and 126 seconds for 90 more
    assert "| 100 | 30.0 | 20.0 | 5.0 | 8.0 | 3.0 | 4.0 |" in page
    assert "| dry run of 10,000 experiments | 12.0 | 11.0 |" in page
    assert "| mirror of 100 runs, a run | 0.250 | 0.050 |" in page
    assert "| report of 100 runs | 9.0 | 15.0 |" in page


def test_the_page_without_a_dry_run_has_no_row_of_it() -> None:
    assert "dry run of" not in markdown(rows_of(10, 40, 60))


@pytest.mark.slow
def test_snakemake_plans_the_study_with_this_checkout(tmp_path: Path) -> None:
    row = pipeline.dry_run(tmp_path, 20, 5)
    assert float(row["wall_seconds"]) > 0
    config = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert config["stack_size"] == 5
    output = pipeline.snakemake(tmp_path, "--dry-run").output
    assert "train" in output
    assert "evaluate" in output
