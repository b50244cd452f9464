"""The MLflow mirror of a tuned study: searches below the study, trials below their search."""

import json
import shutil
from collections import Counter

import pytest

from benchmarks.store import RunStore
from benchmarks.tracked_trials import arms, tracked_search, tracked_trial, trial_folder
from benchmarks.tracking import MirrorSummary, TrackingError
from tests.benchmarks.mirrored_study import (
    ARCFACE,
    EER,
    END,
    IDS,
    RECALL,
    SOFTMAX,
    TunedStudy,
    content,
    empty_store,
    search,
    trial,
)

mlflow = pytest.importorskip("mlflow")

SEARCHES = [f"search {ARCFACE}", f"search {SOFTMAX}"]
TRIALS = [f"{ARCFACE} trial {number}" for number in range(4)]
TRIALS += [f"{SOFTMAX} trial {number}" for number in range(2)]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A tuned study that has been mirrored once; for tests that change nothing."""
    study = TunedStudy(tmp_path_factory.mktemp("shared") / "results")
    return study, study.mirror()


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory):
    return empty_store(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture
def study(tmp_path, fresh_store):
    study = TunedStudy(tmp_path / "results")
    shutil.copy(fresh_store, study.results / "mlflow.db")
    return study


def ids(runs):
    return {key: run.info.run_id for key, run in runs.items()}


def test_trials_are_below_their_search_and_searches_below_the_study(mirrored):
    study, summary = mirrored
    assert summary == MirrorSummary(created=4, trials={"created": 6})
    assert str(summary) == "4 runs created, 6 trials created"
    _, runs = study.shown()
    assert set(runs) == {"study toy", *SEARCHES, *TRIALS, *IDS}
    key_of = {run.info.run_id: key for key, run in runs.items()}
    parents = {
        key: key_of.get(run.data.tags.get("mlflow.parentRunId")) for key, run in runs.items()
    }
    assert parents == {
        "study toy": None,
        **dict.fromkeys([*SEARCHES, *IDS], "study toy"),
        **dict.fromkeys(TRIALS[:4], SEARCHES[0]),
        **dict.fromkeys(TRIALS[4:], SEARCHES[1]),
    }
    roles = Counter(run.data.tags["marginbench.role"] for run in runs.values())
    assert roles == {"study": 1, "search": 2, "trial": 6, "experiment": 4}


def test_a_search_is_shown_with_its_space_its_winner_and_its_counts(mirrored):
    client, runs = mirrored[0].shown()
    run = runs[SEARCHES[0]]
    assert (run.info.run_name, run.info.status) == ("arcface tuning 1", "FINISHED")
    # From the start of the first trial to the end of the last.
    assert (run.info.start_time, run.info.end_time) == (1000 * (END - 30), 1000 * END)
    assert run.data.params == {
        "loss": "arcface",
        "search": "1",
        "fixed.scale": "16",
        "seeds": "[7]",
        f"objective.{EER}": "minimize",
        "sampler": "tpe",
        "trials": "4",
        "rounds": "2",
        "epochs": "3",
        "halving.rungs": "2",
        "halving.factor": "2",
        "extend_bounds": "false",
        "space.margin.low": "0.0",
        "space.margin.high": "0.8",
        "space.margin.log": "false",
        "space.learning_rate.low": "0.01",
        "space.learning_rate.high": "1.0",
        "space.learning_rate.log": "true",
        "winner": "trial 2",
        "winner.margin": "0.2",
        "winner.learning_rate": "0.1",
        "at_bound.margin": "low",
    }
    assert run.data.metrics == {
        f"objective/{EER}": 0.07,
        f"best/{EER}": 0.07,
        "trials/complete": 2.0,
        "trials/stopped": 1.0,
        "trials/failed": 1.0,
        "run/images": 9000.0,
        "run/seconds": 90.0,
        "importance/margin": 0.75,
        "importance/learning_rate": 0.25,
    }
    history = client.get_metric_history(run.info.run_id, f"best/{EER}")
    assert [(row.step, row.value) for row in history] == [(0, 0.1), (1, 0.1), (2, 0.07), (3, 0.07)]


def test_a_search_without_winner_says_why(mirrored):
    _, runs = mirrored[0].shown()
    run = runs[SEARCHES[1]]
    assert (run.info.run_name, run.info.status) == ("softmax tuning 1", "FAILED")
    assert run.data.tags["mlflow.note.content"] == "all trials failed"
    assert not any(name.startswith("winner") for name in run.data.params)
    assert run.data.metrics == {
        "trials/complete": 0.0,
        "trials/stopped": 0.0,
        "trials/failed": 2.0,
        "run/images": 2000.0,
        "run/seconds": 20.0,
    }


def test_a_complete_trial_is_shown_with_its_curves(mirrored):
    client, runs = mirrored[0].shown()
    run = runs[TRIALS[2]]
    assert (run.info.run_name, run.info.status) == ("arcface trial 2", "FINISHED")
    assert (run.info.start_time, run.info.end_time) == (1000 * (END - 30), 1000 * END)
    assert run.data.params == {
        "loss": "arcface",
        "loss.scale": "16",
        "loss.margin": "0.2",
        "recipe.learning_rate": "0.1",
        "number": "2",
        "round": "1",
        "origin": "sampler",
    }
    assert run.data.metrics == {
        EER: 0.07,
        RECALL: 0.9,
        f"objective/{EER}": 0.07,
        f"rung/{EER}": 0.07,
        "train/loss": 2.0,
        "run/epochs": 3.0,
        "run/images": 3000.0,
        "run/seconds": 30.0,
    }
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(row.step, row.value) for row in history] == [(1, 6.0), (2, 3.0), (3, 2.0)]
    history = client.get_metric_history(run.info.run_id, f"rung/{EER}")
    assert [(row.step, row.value) for row in history] == [(1, 0.3), (3, 0.07)]
    tags = run.data.tags
    assert tags["marginbench.trial"] == "complete"
    assert tags["marginbench.winner"] == "true"
    assert tags["marginbench.search"] == ARCFACE
    assert tags["marginbench.runs"] == "a-t2"
    winners = {key for key in runs if "marginbench.winner" in runs[key].data.tags}
    assert winners == {TRIALS[2]}


def test_a_stopped_trial_ends_at_its_last_rung(mirrored):
    _, runs = mirrored[0].shown()
    run = runs[TRIALS[1]]
    assert run.info.status == "FINISHED"
    assert run.data.tags["marginbench.trial"] == "stopped"
    # Of epoch 1, although a folder of the same run, trained to the end, lies there too.
    assert run.data.metrics == {
        "train/loss": 6.0,
        f"rung/{EER}": 0.2,
        "run/epochs": 1.0,
        "run/images": 1000.0,
        "run/seconds": 10.0,
    }


@pytest.mark.parametrize(
    ("key", "reason", "loss"),
    [
        (TRIALS[3], "diverged: not finite", 3.0),  # from the last rung folder
        (TRIALS[4], "out_of_memory: 3 GB", None),  # no epoch was done
        (TRIALS[5], "diverged: not finite", None),  # its folder is gone
    ],
)
def test_a_failed_trial_says_why(mirrored, key, reason, loss):
    _, runs = mirrored[0].shown()
    run = runs[key]
    assert run.info.status == "FAILED"
    assert run.data.tags["marginbench.trial"] == "failed"
    assert run.data.tags["mlflow.note.content"] == reason
    assert run.data.metrics.get("train/loss") == loss
    assert not any("verification" in name for name in run.data.metrics)
    if key == TRIALS[5]:
        assert run.info.end_time == 1  # unknown, and the same in every mirror


def test_final_runs_can_be_found_by_their_arm(mirrored):
    client, runs = mirrored[0].shown()
    experiment = runs[IDS[0]].info.experiment_id

    def found(condition):
        hits = client.search_runs([experiment], f'tags."marginbench.arm" {condition}')
        return {run.data.tags["marginbench.id"] for run in hits}

    assert found("= 'tuned 1'") == {IDS[2]}
    assert found("LIKE '%tuned 1%'") == {IDS[1], IDS[2]}
    assert found("= 'default, tuned 1'") == {IDS[1]}
    assert "marginbench.arm" not in runs[IDS[3]].data.tags


def test_a_second_mirror_changes_nothing(study):
    study.mirror()
    client, runs = study.shown()
    first = content(client, runs), ids(runs)
    assert study.mirror() == MirrorSummary(unchanged=4, trials={"unchanged": 6})
    client, runs = study.shown()
    assert (content(client, runs), ids(runs)) == first


def test_a_rebuilt_mirror_shows_the_same(mirrored, fresh_store):
    study, _ = mirrored
    shutil.copy(fresh_store, study.results / "again.db")
    study.mirror("again.db")
    assert content(*study.shown("again.db")) == content(*study.shown())


def test_a_changed_trial_and_its_search_are_replaced_and_the_others_moved_below_it(study):
    study.mirror()
    before = study.shown()[1]
    changed = study.plan["tuning"]["searches"][0]["trials"][2]
    changed["values"] = [0.06]
    study.write_plan()
    summary = study.mirror()
    assert summary == MirrorSummary(unchanged=4, trials={"unchanged": 5, "replaced": 1})
    after = study.shown()[1]
    new = {key for key in after if ids(after)[key] != ids(before)[key]}
    assert new == {SEARCHES[0], TRIALS[2]}
    assert after[SEARCHES[0]].data.metrics[f"objective/{EER}"] == 0.06
    parent = after[SEARCHES[0]].info.run_id
    assert {after[key].data.tags["mlflow.parentRunId"] for key in TRIALS[:4]} == {parent}


def test_a_new_curve_replaces_its_trial_alone(study):
    study.mirror()
    before = study.shown()[1]
    study.write_trial("a-t0", epochs=2)
    study.mirror()
    after = study.shown()[1]
    assert {key for key in after if ids(after)[key] != ids(before)[key]} == {TRIALS[0]}
    assert after[TRIALS[0]].data.metrics["train/loss"] == 3.0


@pytest.mark.parametrize("older", [True, False])
def test_a_study_that_lost_its_tuning_loses_its_trials(study, older):
    study.mirror()
    before = study.shown()[1]
    study.plan["tuning"] = None
    if older:
        del study.plan["tuning"]
    study.write_plan()
    # Three of the four runs had an arm.
    assert study.mirror() == MirrorSummary(unchanged=1, replaced=3, trials={"removed": 6})
    after = study.shown()[1]
    assert set(after) == {"study toy", *IDS}
    assert ids(after)["study toy"] == ids(before)["study toy"]


def test_what_a_killed_mirror_left_is_made_again(study):
    shutil.rmtree(study.results / "runs" / IDS[0])  # so that the study is not finished
    study.mirror()
    client, runs = study.shown()
    assert runs["study toy"].info.status == "RUNNING"
    client.delete_tag(runs["study toy"].info.run_id, "marginbench.content")
    client.update_run(runs[SEARCHES[1]].info.run_id, status="RUNNING")
    client.update_run(runs[TRIALS[1]].info.run_id, status="RUNNING")
    client.delete_run(runs[TRIALS[2]].info.run_id)
    trials = {"unchanged": 4, "replaced": 1, "created": 1}
    assert study.mirror() == MirrorSummary(unchanged=3, waiting=1, trials=trials)
    _, after = study.shown()
    new = {key for key in after if ids(after)[key] != ids(runs)[key]}
    assert new == {"study toy", SEARCHES[1], TRIALS[1], TRIALS[2]}
    assert after[TRIALS[5]].data.tags["mlflow.parentRunId"] == ids(after)[SEARCHES[1]]
    assert after[SEARCHES[0]].data.tags["mlflow.parentRunId"] == ids(after)["study toy"]


@pytest.mark.parametrize("waiting", [0, 1])
@pytest.mark.parametrize("call", ["log_batch", "log_dict"])
def test_a_writer_that_is_killed_leaves_no_half_study(study, monkeypatch, call, waiting):
    """Also where the study is not finished, so that its status is RUNNING by right."""
    if waiting:
        shutil.rmtree(study.results / "runs" / IDS[0])

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, call, killed)
        with pytest.raises(KeyboardInterrupt):
            study.mirror(report=False)
    _, left = study.shown()
    assert set(left) == {"study toy"}
    study.mirror(report=False)
    client, runs = study.shown()
    parent = runs["study toy"]
    assert parent.info.run_id != left["study toy"].info.run_id
    assert parent.data.params["seeds"] == "2"
    assert [item.path for item in client.list_artifacts(parent.info.run_id)] == ["config.yaml"]


def test_a_trial_takes_three_calls(study, monkeypatch):
    """There may be thousands of them, and a server is asked over the network."""
    calls = Counter()

    def counted(name):
        original = getattr(mlflow.MlflowClient, name)

        def call(self, *args, **options):
            calls[name] += 1
            return original(self, *args, **options)

        monkeypatch.setattr(mlflow.MlflowClient, name, call)

    for name in ("create_run", "log_batch", "set_terminated"):
        counted(name)
    for name in ("delete_run", "log_metric", "log_param", "set_tag", "update_run"):
        counted(name)
    study.mirror(report=False)
    assert calls == {"create_run": 13, "log_batch": 13, "set_terminated": 13}
    calls.clear()
    study.mirror(report=False)
    assert calls == {}


def test_problems_are_explained(study):
    (study.results / "trials" / "a-t1.epoch-1" / "history.jsonl").write_text("{")
    with pytest.raises(TrackingError, match=r"trials/a-t1\.epoch-1: cannot be read"):
        study.mirror()
    del study.plan["tuning"]["arms"]
    study.write_plan()
    with pytest.raises(TrackingError, match=r"tuned\.json: .*lacks tuning\.arms"):
        study.mirror()
    study.plan["tuning"] = [1]
    study.write_plan()
    with pytest.raises(TrackingError, match=r"tuned\.json: no plan of a study"):
        study.mirror()


def test_several_objectives_are_shown_each_with_its_best(tmp_path):
    goals = [
        {"metric": "loss", "direction": "minimize"},
        {"metric": "auc", "direction": "maximize"},
    ]
    values = [None, [0.5, 0.8], [0.6, 0.9], None, [0.4, 0.7]]
    trials = [
        {**trial("x", number), "values": pair, "rungs": []} for number, pair in enumerate(values)
    ]
    names = ("sampler", "trials", "rounds", "epochs", "halving", "extend_bounds")
    tuning = {"objectives": goals, **dict.fromkeys(names)}
    found = search("norm-2-cccc", trials=trials, winner=2)
    runs = [tracked_trial(item, found, tuning, tmp_path, None) for item in trials]
    assert {row[0]: row[1] for row in runs[2].metrics}["objective/auc"] == 0.9
    assert not any(row[0].startswith("objective") for row in runs[3].metrics)
    run = tracked_search(found, {"study": "toy", "tuning": tuning}, runs)
    final = {name: value for name, value, *_ in run.metrics if name.startswith("objective")}
    assert final == {"objective/loss": 0.6, "objective/auc": 0.9}
    best = [(name, value, step) for name, value, _, step in run.metrics if name.startswith("best")]
    assert best == [
        *(("best/loss", value, step) for step, value in [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.4)]),
        *(("best/auc", value, step) for step, value in [(1, 0.8), (2, 0.9), (3, 0.9), (4, 0.9)]),
    ]
    assert run.name == "norm tuning 2"


def test_an_arm_is_named_once():
    around = [{"arm": "around", "experiments": [name]} for name in "ab"] * 2
    assert arms([*around, {"arm": "tuned 2", "experiments": ["b"]}]) == {
        "a": "around",
        "b": "around, tuned 2",
    }


def test_a_failed_trial_is_sought_at_the_highest_rung(tmp_path):
    failed = trial("x", 0, status="failed")
    store = RunStore(tmp_path)
    for epoch in (2, 9, 16):
        store.folder(f"x-t0.epoch-{epoch}").mkdir()
    store.folder("x-t01.epoch-99").mkdir()
    assert trial_folder(failed, tmp_path).name == "x-t0.epoch-16"
    store.folder("x-t0").mkdir()
    assert trial_folder(failed, tmp_path).name == "x-t0"


def test_the_plan_of_the_config_alone_can_be_mirrored_too(study):
    """Before the study is tuned: its key is null, and nothing is said of trials."""
    plain = {**study.plan, "tuning": None}
    (study.results / "toy" / "tuned.json").write_text(json.dumps(plain))
    assert str(study.mirror()) == "4 runs created"
