"""The pipeline itself, in a copy of the checkout: what it makes, what it makes again, and what it leaves alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.benchmarks import study_file
from tests.pipeline.checkout import NOTHING, Checkout, jobs

pytestmark = pytest.mark.slow

CONFIG = study_file.content(
    split={"unknown_validation": 3, "unknown_test": 3, "known_test": 460},
    recipe={"batch_size": 40, "class_learning_rate": 10},
    losses={"softmax": {}, "cosface": {"margin": 0.1, "scale": 16}},
    seeds=2,
    stack_size=2,
    evaluate={"protocols": ["closed_set", "verification"], "fars": [0.1]},
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The study, done once with two cores."""
    copy = Checkout(tmp_path_factory.mktemp("checkout"), CONFIG)
    output = copy.snakemake("--cores", "2")
    assert jobs(output) == {
        "all": 1, "attach": 1, "data": 1, "evaluate": 2, "plan": 1, "report": 1, "track": 1, "train": 2,
    }  # fmt: skip
    assert str(copy.root / "results/small/report/index.html") in output
    return copy


def test_outputs(checkout: Checkout) -> None:
    plan, folder = checkout.plan(), checkout.root / "results" / "small"
    assert set(checkout.runs()) >= checkout.ids()
    assert len(checkout.ids()) == 4
    for name in checkout.ids():
        run = checkout.root / "results" / "runs" / name
        assert json.loads((run / "result.json").read_text())["status"] == "finished"
        verdict = run / "evaluations" / plan["evaluation"] / "metrics.json"
        metrics = json.loads(verdict.read_text())["metrics"]
        assert 0 <= metrics["closed_set/top1"] <= 1
        assert 0 <= metrics["verification/eer"] <= 1
    page = (folder / "report" / "index.html").read_text()
    assert "CosFace" in page
    assert {"results.parquet", "tracked.json", "report.attached.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert list((folder / "report" / "tables").glob("*.csv"))
    assert list((folder / "report" / "figures").glob("*.png"))
    assert (checkout.root / "results" / "mlflow.db").is_file()
    for stack, members in plan["stacks"].items():
        trained = json.loads((folder / "stacks" / f"{stack}.trained.json").read_text())
        assert {name: entry["status"] for name, entry in trained.items()} == dict.fromkeys(members, "finished")  # fmt: skip


def test_a_second_call_does_nothing(checkout: Checkout) -> None:
    assert NOTHING in checkout.snakemake("--cores", "2")


def test_a_comment_reruns_nothing(checkout: Checkout) -> None:
    before = checkout.plan()
    line = "return -self.margin"
    with checkout.edited("losses/cosface.py", line, f"# eq. 4\n        {line}"):
        assert NOTHING in checkout.snakemake("--cores", "2")
    with checkout.edited("benchmarks/stack.py", '"""The stack: ', '"""What a stack is: '):
        assert NOTHING in checkout.snakemake("--cores", "2")
    assert checkout.plan() == before


def test_a_margin_more_trains_only_the_new_experiments(checkout: Checkout) -> None:
    before = checkout.runs()
    losses = {"softmax": {}, "cosface": {"margin": [0.1, 0.2], "scale": 16}}
    with checkout.configured(losses=losses):
        checkout.snakemake("--cores", "2", "--until", "evaluate")
        new = checkout.ids() - set(before)
    assert len(new) == 2
    assert all("-cosface-m0.2-s16-" in name for name in new)
    after = checkout.runs()
    assert after.keys() == before.keys() | new
    assert {name: after[name] for name in before} == before


def test_a_new_formula_trains_only_its_loss(checkout: Checkout) -> None:
    checkout.snakemake("--cores", "2", "--until", "plan")
    before, ids = checkout.runs(), checkout.ids()
    with checkout.edited("losses/cosface.py", "return -self.margin", "return -2 * self.margin"):
        checkout.snakemake("--cores", "2", "--until", "evaluate")
        new = checkout.ids() - set(before)
        kept = checkout.ids() & set(before)
    assert len(new) == len(kept) == 2
    assert all("-cosface-m0.1-s16-" in name for name in new)
    assert kept == {name for name in ids if "-softmax-" in name}
    after = checkout.runs()
    assert after.keys() == before.keys() | new
    assert {name: after[name] for name in before} == before


def test_interrupted_and_continued_on_one_core_gives_the_same_verdicts(checkout: Checkout) -> None:
    arguments = ("--cores", "1", "--until", "evaluate", "--config", "results=other")
    other = checkout.root / "other"
    process = checkout.start(*arguments)
    limit = time.monotonic() + 200
    while not list(other.glob("locks/*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    done = list(other.glob("small/stacks/*.trained.json"))
    assert len(done) < len(checkout.plan("other")["stacks"])

    checkout.snakemake(*arguments)
    evaluation = checkout.plan("other")["evaluation"]
    assert len(checkout.ids("other")) == 4
    for name in checkout.ids("other"):
        ours, theirs = (
            checkout.root / results / "runs" / name / "evaluations" / evaluation / "metrics.json"
            for results in ("other", "results")
        )
        assert ours.read_bytes() == theirs.read_bytes()


def test_config_on_the_command_line_overrides_the_file(checkout: Checkout) -> None:
    output = checkout.snakemake("-n", "--config", "seeds=1", "study=one")
    assert jobs(output)["train"] == 1
    output = checkout.snakemake("-n", "--config", "seeds=3", "recipe={epochs: 2}", "study=three")
    assert jobs(output)["train"] == 3
    output = checkout.snakemake("-n", "--config", "seed=3", code=1)
    assert "seed: unknown key, did you mean 'seeds'?" in output


def test_the_quick_form_is_asked_for_on_the_command_line(checkout: Checkout) -> None:
    with checkout.configured(quick={"seeds": 1, "vary": {"backbone.embedding_dim": [2, 4, 8]}}):
        assert jobs(checkout.snakemake("-n", "--config", "quick=false", "study=full"))["train"] == 2
        assert jobs(checkout.snakemake("-n", "--config", "quick=true"))["train"] == 3
        checkout.snakemake("--cores", "1", "--until", "plan", "--config", "quick=true")
        plan = json.loads((checkout.root / "results/small_quick/plan.json").read_text())
        assert plan["study"] == "small_quick"
        assert {item["seed"] for item in plan["experiments"]} == {0}
        dims = [item["backbone"]["embedding_dim"] for item in plan["experiments"]]
        assert sorted(dims) == [2, 2, 4, 4, 8, 8]
    output = checkout.snakemake("-n", "--config", "quick=true", code=1)
    assert "quick: the file has no such block (files that have one: " in output


def test_a_thousand_experiments_are_planned(checkout: Checkout) -> None:
    margins = [number / 100 for number in range(50)]
    losses = {"cosface": {"margin": margins, "scale": [8, 16]}}
    with checkout.configured(study="large", losses=losses, seeds=10, stack_size=8):
        found = jobs(checkout.snakemake("-n", "--quiet", "rules"))
    assert found["train"] == found["evaluate"] == 125
    assert not (checkout.root / "results" / "large").exists()


FAKE = """
# Stands in for training: notes when it begins and ends, and writes what it is asked for.
echo begin >> calls; sleep 0.5; echo end >> calls
while [ "$1" != --done ]; do shift; done
echo '{}' > "$2"
"""


def test_a_gpu_is_asked_for_at_plan_time_and_taken_by_one_stack_at_a_time(
    checkout: Checkout,
) -> None:
    (checkout.root / "fake.sh").write_text(FAKE)
    real, fake = "python -m benchmarks train", "sh fake.sh"
    with (
        checkout.configured(study="accelerated", device="cuda", stack_size=1),
        checkout.edited("Snakefile", real, fake),
    ):
        output = checkout.snakemake("-n", code=1)
        assert "device: 'cuda' is asked for and no GPU is visible" in output
        assert not (checkout.root / "results" / "accelerated").exists()
        output = checkout.snakemake("--cores", "4", "--until", "train", CUDA_VISIBLE_DEVICES="0")
        assert jobs(output)["train"] == 4
        calls = (checkout.root / "calls").read_text().split()
        assert calls == ["begin", "end"] * 4
        # A machine with two says so.
        (checkout.root / "calls").unlink()
        arguments = (
            "--cores",
            "4",
            "--until",
            "train",
            "--resources",
            "gpu=2",
            "--forcerun",
            "train",
        )
        checkout.snakemake(*arguments, CUDA_VISIBLE_DEVICES="0")
        calls = (checkout.root / "calls").read_text().split()
        assert calls[:2] == ["begin", "begin"]
        running = [calls[:stop].count("begin") - calls[:stop].count("end") for stop in range(9)]
        assert max(running) == 2


def test_lint_and_layout(checkout: Checkout) -> None:
    output = checkout.snakemake("--lint")
    assert "Lints for" not in output
    for name in ("Snakefile", "common.smk"):
        style = [str(Path(sys.executable).parent / "snakefmt"), "--check", name]
        done = subprocess.run(style, cwd=checkout.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_snakemakes_own_report_holds_the_page(checkout: Checkout) -> None:
    checkout.snakemake("--report", "report.zip")
    with zipfile.ZipFile(checkout.root / "report.zip") as archive:
        names = archive.namelist()
        pages = [name for name in names if name.endswith("index.html") and "/data/" in name]
        page = (checkout.root / "results" / "small" / "report" / "index.html").read_bytes()
        assert page in [archive.read(name) for name in pages]
        shown = {name: archive.read(name) for name in names if "/data/" in name}
        text = b"".join(shown.values()).decode("utf-8", "replace")
        text += archive.read(next(name for name in names if name.endswith("report.html"))).decode()
    figures = checkout.root / "results" / "small" / "report" / "figures"
    rows = json.loads((figures / "figures.json").read_text())
    assert len(rows) > 3
    for row in rows:
        assert (figures / f"{row['name']}.png").read_bytes() in shown.values(), row["name"]
