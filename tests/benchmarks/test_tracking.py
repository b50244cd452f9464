"""The MLflow mirror shows what is on disk, once, and again after it was deleted."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from benchmarks.tracking import MirrorSummary, TrackingError, mirror
from tests.benchmarks.mirrored_study import DIVERGED, END, IDS, Study, content, empty_store

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A study that has been mirrored once; for tests that change nothing."""
    study = Study(tmp_path_factory.mktemp("shared") / "results")
    return study, study.mirror()


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory):
    """An empty MLflow store to copy: making one takes a second."""
    return empty_store(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture
def study(tmp_path, fresh_store):
    study = Study(tmp_path / "results")
    shutil.copy(fresh_store, study.results / "mlflow.db")
    return study


def test_a_run_is_shown_as_it_is_on_disk(mirrored):
    study, summary = mirrored
    assert summary == MirrorSummary(created=4)
    client, runs = study.shown()
    assert set(runs) == {*IDS, "study toy"}
    run = runs[IDS[2]]
    assert run.data.params == {
        "dataset": "glyphs",
        "dataset.classes": "20",
        "split.classes": "random",
        "split.known_test": "0.2",
        "backbone": "conv3",
        "backbone.embedding_dim": "64",
        "recipe.epochs": "3",
        "recipe.learning_rate": "0.1",
        "recipe.milestones": "[0.5, 0.75]",
        "loss": "arcface",
        "loss.margin": "0.5",
        "seed": "0",
    }
    assert run.data.metrics == {
        "train/loss": 8 / 3,
        "train/accuracy": 0.75,
        "verification/auc": 0.92,
        "run/seconds": 30.0,
        "run/epochs": 3.0,
        "run/peak_memory": 400 * 2**20,
    }
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(row.step, row.value) for row in history] == [(1, 8.0), (2, 4.0), (3, 8 / 3)]
    assert [row.timestamp for row in history] == [1000 * (END - s) for s in (20, 10, 0)]
    tags = run.data.tags
    assert tags["marginbench.status"] == "finished"
    assert tags["marginbench.git_commit"] == tags["mlflow.source.git.commit"] == "c0ffee"
    assert tags["marginbench.data_checksum"] == "d" * 64
    assert tags["mlflow.note.content"] == "verification/tar_at_far_1e-04: too few pairs"
    assert run.info.run_name == "glyphs-conv3-arcface-m5-r0"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1000 * (END - 30), 1000 * END)


def test_the_summary_says_where_each_run_stands(mirrored):
    study, summary = mirrored
    _, runs = study.shown()
    assert dict(summary.runs) == {name: runs[name].info.run_id for name in IDS}
    assert {runs[name].info.experiment_id for name in IDS} == {summary.experiment}
    assert str(summary) == "4 runs created"


def test_a_diverged_run_is_shown_as_failed_with_its_reason(mirrored):
    _, runs = mirrored[0].shown()
    run = runs[DIVERGED]
    assert run.info.status == "FAILED"
    assert run.data.tags["marginbench.status"] == "diverged"
    assert run.data.tags["mlflow.note.content"].startswith("diverged: parameters are not finite")
    assert run.data.metrics["train/loss"] == 4.0
    assert not any(name.startswith("verification") for name in run.data.metrics)


def test_the_study_is_the_parent_and_carries_config_and_report(mirrored, tmp_path):
    study, _ = mirrored
    client, runs = study.shown()
    parent = runs.pop("study toy")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert parent.data.tags["marginbench.role"] == "study"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["experiments"] == "4"
    assert parent.data.params["losses.arcface.margin"] == "[0.0, 0.5]"
    assert parent.data.metrics == {"runs/finished": 3.0, "runs/diverged": 1.0}
    client.download_artifacts(parent.info.run_id, "", str(tmp_path))
    assert (tmp_path / "report" / "tables" / "main.csv").read_text() == "loss,auc\n"
    assert "margin:\n    - 0.0\n    - 0.5" in (tmp_path / "config.yaml").read_text()
    assert parent.info.artifact_uri.startswith((study.results / "mlartifacts").as_uri())


def test_a_second_mirror_changes_nothing(study):
    study.mirror()
    client, runs = study.shown()
    first = content(client, runs), {key: run.info.run_id for key, run in runs.items()}
    assert study.mirror() == MirrorSummary(unchanged=4)
    client, runs = study.shown()
    assert (content(client, runs), {key: run.info.run_id for key, run in runs.items()}) == first


def test_a_rebuilt_mirror_shows_the_same(mirrored, fresh_store):
    study, _ = mirrored
    shutil.copy(fresh_store, study.results / "again.db")
    study.mirror("again.db")
    assert content(*study.shown("again.db")) == content(*study.shown())


def test_only_a_changed_run_is_replaced(study):
    study.mirror()
    before = study.shown()[1]
    study.write_run(IDS[1], auc=0.5)
    assert study.mirror() == MirrorSummary(replaced=1, unchanged=3)
    after = study.shown()[1]
    assert after[IDS[1]].data.metrics["verification/auc"] == 0.5
    changed = {key for key in after if after[key].info.run_id != before[key].info.run_id}
    assert changed == {IDS[1]}


def test_a_new_report_replaces_the_parent_and_its_files_only(study):
    study.mirror()
    before = study.shown()[1]
    (study.report / "index.html").write_text("<p>best: cosface")
    assert study.mirror() == MirrorSummary(unchanged=4)
    after = study.shown()[1]
    parent = after["study toy"].info.run_id
    assert parent != before["study toy"].info.run_id
    for key in IDS:
        assert after[key].info.run_id == before[key].info.run_id
        assert after[key].data.tags["mlflow.parentRunId"] == parent
    pages = list((study.results / "mlartifacts").rglob("index.html"))
    assert [page.read_text() for page in pages] == ["<p>best: cosface"]


def test_runs_without_result_wait_and_runs_outside_the_plan_leave(study):
    shutil.rmtree(study.results / "runs" / IDS[0])
    assert study.mirror(report=False) == MirrorSummary(created=3, waiting=1)
    client, runs = study.shown()
    assert runs["study toy"].info.status == "RUNNING"
    foreign = client.create_run(runs[IDS[1]].info.experiment_id).info.run_id
    study.write_run(IDS[0], auc=0.7)
    del study.plan["experiments"][1]
    study.write_plan()
    assert study.mirror(report=False) == MirrorSummary(created=1, unchanged=2, removed=1)
    client = mlflow.MlflowClient(study.uri())
    assert client.get_run(foreign).info.lifecycle_stage == "active"
    client.delete_run(foreign)
    runs = study.shown()[1]
    assert set(runs) == {"study toy", IDS[0], IDS[2], IDS[3]}
    assert runs["study toy"].info.status == "FINISHED"


def test_what_a_killed_mirror_left_is_made_again(study):
    study.mirror()
    client, runs = study.shown()
    client.delete_tag(runs[IDS[0]].info.run_id, "marginbench.content")
    client.update_run(runs[IDS[1]].info.run_id, status="RUNNING")
    assert study.mirror() == MirrorSummary(replaced=2, unchanged=2)
    _, after = study.shown()
    assert after[IDS[1]].info.status == "FINISHED"
    assert content(*study.shown()).keys() == runs.keys()


def test_more_metrics_and_params_than_one_call_takes(study):
    rows = [json.dumps({"epoch": epoch, "loss": 1 / epoch}) for epoch in range(1, 1701)]
    (study.results / "runs" / IDS[0] / "history.jsonl").write_text("\n".join(rows))
    study.plan["experiments"][0]["recipe"] = {f"setting_{n}": n for n in range(250)}
    study.write_plan()
    study.mirror(report=False)
    client, runs = study.shown()
    assert runs[IDS[0]].data.params["recipe.setting_249"] == "249"
    history = client.get_metric_history(runs[IDS[0]].info.run_id, "train/loss")
    assert [row.value for row in history] == [1 / epoch for epoch in range(1, 1701)]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:/tmp/mlruns", "use sqlite:///"),
        ("mlruns", "use sqlite:///"),
        ("mysql://me:secret@server/db", r"mysql://\*\*\*@server/db.*allowed are sqlite:///"),
    ],
)
def test_stores_that_are_not_supported(study, uri, message):
    with pytest.raises(TrackingError, match=message):
        mirror(
            study.results / "toy" / "plan.json",
            study.results / "runs",
            uri,
            artifact_root=study.results / "mlartifacts",
        )


def test_problems_are_explained(study, tmp_path):
    (tmp_path / "a-file").write_text("")
    with pytest.raises(TrackingError, match=r"a-file: cannot be written .*tracking.uri"):
        study.mirror("../a-file/mlflow.db")
    (study.results / "damaged.db").write_text("this is no database" * 100)
    with pytest.raises(TrackingError, match=r"damaged.db.*not a database"):
        study.mirror("damaged.db")
    history = study.results / "runs" / IDS[0] / "history.jsonl"
    history.write_text("{")
    with pytest.raises(TrackingError, match=rf"{IDS[0]}: cannot be read"):
        study.mirror()
    shutil.rmtree(study.report)
    with pytest.raises(TrackingError, match=r"there is no report"):
        study.mirror()
    (study.results / "toy" / "plan.json").write_text("{}")
    with pytest.raises(TrackingError, match=r"no plan of a study .lacks config"):
        study.mirror()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(study):
    study.results.chmod(0o555)
    with pytest.raises(TrackingError, match="cannot be written"):
        study.mirror("new.db")


def test_a_moved_results_folder_is_noticed(study, tmp_path):
    study.mirror()
    moved = Study(tmp_path / "moved")
    shutil.copy(study.results / "mlflow.db", moved.results / "mlflow.db")
    with pytest.raises(TrackingError, match="results were moved"):
        moved.mirror()


CALL = """
import sys
from pathlib import Path
from benchmarks.tracking import mirror
results = Path(sys.argv[1])
print(mirror(results / "toy" / "plan.json", results / "runs", f"sqlite:///{results}/mlflow.db",
             artifact_root=results / "mlartifacts"))
"""


@pytest.mark.slow
def test_two_processes_may_start_on_a_fresh_store_and_it_may_be_deleted(tmp_path):
    study = Study(tmp_path / "results")
    command = [sys.executable, "-c", CALL, str(study.results)]

    def start():
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    both = [start(), start()]
    ends = [(*process.communicate(timeout=120), process.returncode) for process in both]
    assert [code for *_, code in ends] == [0, 0], ends
    assert sorted(out.strip() for out, *_ in ends) == ["4 runs created", "4 runs unchanged"]
    assert not any("INFO" in err for _, err, _ in ends)

    (study.results / "mlflow.db").unlink()
    third = start()
    out, err = third.communicate(timeout=120)
    assert (out.strip(), third.returncode) == ("4 runs created", 0), err
    assert len(study.shown()[1]) == 5
