"""A tuned study through the real scheduler: the same trials whatever the cores and kills, and everything to be seen."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import optuna_dashboard
import pandas as pd
import pytest

from tests.benchmarks import study_file
from tests.pipeline.checkout import NOTHING, Checkout, jobs

pytestmark = pytest.mark.slow

CONFIG = study_file.content(
    split={"unknown_validation": 3, "unknown_test": 3, "known_test": 460, "seed": 0},
    recipe={"batch_size": 40, "class_learning_rate": 10, "epochs": 2},
    losses={"softmax": {}, "cosface": {"around": "tuned", "scale": [0.5, 1]}},
    tune={"trials": 6, "rounds": 3, "halving": {"rungs": 2, "factor": 2}, "studies": 2},
    seeds=2,
    stack_size=4,
    evaluate={"protocols": ["closed_set", "verification"], "fars": [0.1], "resamples": 100},
)


def rounds(checkout: Checkout, results: str = "results") -> dict[str, bytes]:
    """Every round of every search by its name."""
    folder = checkout.root / results / "small" / "tuning"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("*/round-*.json"))
    }


def tuned(checkout: Checkout, results: str = "results") -> dict[str, Any]:
    return dict(json.loads((checkout.root / results / "small" / "tuned.json").read_text()))


def timeless(plan: dict[str, Any]) -> dict[str, Any]:
    """The final plan without the place of its results and the seconds that trials took."""
    content = json.loads(json.dumps(plan))
    del content["config"]["results"]
    for search in content["tuning"]["searches"]:
        for trial in search["trials"]:
            del trial["seconds"]
    return dict(content)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The study, done once with two cores."""
    copy = Checkout(tmp_path_factory.mktemp("checkout"), CONFIG)
    output = copy.snakemake("--cores", "2")
    found = jobs(output)
    lanes, slots = (
        2,
        3,
    )  # two searches of two trials in a stack of four; sixteen final models at most, some alike
    assert found["tune"] == 3 * lanes
    assert found["winners"] == 1
    assert found["train"] == found["evaluate"] == 1 + slots
    return copy


def test_the_same_trials_on_one_core_and_after_kills(checkout: Checkout) -> None:
    """SIGKILL for all processes, in each round of a lane; then to the end on one core."""
    arguments = ("--cores", "1", "--until", "winners", "--config", "results=other")
    folder = checkout.root / "other" / "small" / "tuning"
    kills = 0
    for wanted in range(1, 6, 2):
        process = checkout.start(*arguments, "--rerun-incomplete")
        limit = time.monotonic() + 300
        # In the round after the next one: something is trained and not written yet.
        while len(list(folder.glob("rounds/*.json"))) < wanted or not list(
            (checkout.root / "other" / "checkpoints").glob("*/current.pt")
        ):
            if process.poll() is not None:
                break
            assert time.monotonic() < limit
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        checkout.snakemake("--unlock", "--config", "results=other")
    assert kills >= 2
    checkout.snakemake(*arguments, "--rerun-incomplete")
    assert rounds(checkout, "other") == rounds(checkout)
    assert len(rounds(checkout)) == 4 * 3
    assert timeless(tuned(checkout, "other")) == timeless(tuned(checkout))


def test_a_second_call_does_nothing(checkout: Checkout) -> None:
    assert NOTHING in checkout.snakemake("--cores", "2")


def test_an_edited_loss_is_tuned_again_alone(checkout: Checkout) -> None:
    line = "return -self.margin"
    with checkout.edited("losses/cosface.py", line, f"# eq. 4\n        {line}"):
        assert NOTHING in checkout.snakemake("--cores", "2")
    before = tuned(checkout)
    with checkout.edited("losses/cosface.py", line, "return -2 * self.margin"):
        checkout.snakemake("--cores", "2", "--until", "plan")
        planned = {search["id"] for search in checkout.plan()["searches"]["searches"]}
    kept = planned & {search["id"] for search in before["tuning"]["searches"]}
    assert len(planned) == 4
    assert {name.partition("-")[0] for name in kept} == {"softmax"}
    assert {name.partition("-")[0] for name in planned - kept} == {"cosface"}
    checkout.snakemake("--cores", "2", "--until", "plan")


def test_one_trial_more_trains_only_what_is_new(checkout: Checkout) -> None:
    """Another budget is another search, but a model that was trained once is not trained again."""
    trials = checkout.root / "results" / "trials"
    before = {path.name: path.stat().st_mtime_ns for path in trials.iterdir()}
    tune = {**CONFIG["tune"], "studies": 1}
    with checkout.configured(tune=tune):
        checkout.snakemake("--cores", "2", "--until", "winners")
    assert {path.name: path.stat().st_mtime_ns for path in trials.iterdir()} == before
    assert len(tuned(checkout)["tuning"]["searches"]) == 2
    checkout.snakemake("--cores", "2")
    assert len(tuned(checkout)["tuning"]["searches"]) == 4


def test_test_images_are_judged_once_and_of_fresh_seeds_alone(checkout: Checkout) -> None:
    plan = tuned(checkout)
    runs = checkout.root / "results" / "runs"
    judged = {path.parent.parent.parent.name for path in runs.glob("*/evaluations/*/metrics.json")}
    assert judged >= {item["id"] for item in plan["experiments"]}
    assert {item["seed"] for item in plan["experiments"]} == {0, 1}
    assert not list((checkout.root / "results" / "trials").glob("*/evaluations"))


def test_the_report_shows_the_tuning(checkout: Checkout) -> None:
    report = checkout.root / "results" / "small" / "report"
    page = (report / "index.html").read_text()
    assert 'id="tuning"' in page
    tables = {path.stem for path in (report / "tables").glob("*.csv")}
    assert {"tuning", "default_vs_tuned", "optima", "tuning_luck"} <= tables
    budget = pd.read_csv(report / "tables" / "tuning.csv")
    assert budget["images"].nunique() == 1
    assert list((report / "figures").glob("tuning_budget.png"))
    frame = pd.read_parquet(checkout.root / "results" / "small" / "results.parquet")
    assert len(frame) == len(tuned(checkout)["experiments"])


def test_mlflow_has_the_trials_below_their_searches(checkout: Checkout) -> None:
    query = """
        select parent.value, count(*) from tags kind
        join tags parent on parent.run_uuid = kind.run_uuid and parent.key = 'mlflow.parentRunId'
        join runs on runs.run_uuid = kind.run_uuid and runs.lifecycle_stage = 'active'
        where kind.key = 'marginbench.role' and kind.value = ? group by parent.value
    """
    with sqlite3.connect(checkout.root / "results" / "mlflow.db") as store:
        searches = store.execute(query, ("search",)).fetchall()
        trials = store.execute(query, ("trial",)).fetchall()
    assert [count for _, count in searches] == [4]
    assert [count for _, count in trials] == [6] * 4


@contextmanager
def served(storage: optuna.storages.BaseStorage) -> Iterator[str]:
    """optuna-dashboard on a free port of the loopback."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with make_server("127.0.0.1", 0, optuna_dashboard.wsgi(storage), handler_class=Quiet) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_optuna_dashboard_opens_the_journal(checkout: Checkout) -> None:
    path = checkout.root / "results" / "small" / "tuning" / "optuna.journal"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    wanted = {search["id"]: search for search in tuned(checkout)["tuning"]["searches"]}
    with served(storage) as host:

        def asked(what: str) -> Any:
            with urllib.request.urlopen("http:" + f"//{host}/api/{what}") as answer:
                return json.load(answer)

        listed = asked("studies")["study_summaries"]
        assert {item["study_name"] for item in listed} == set(wanted)
        for item in listed:
            shown = asked(f"studies/{item['study_id']}?after=0")["trials"]
            trials = wanted[item["study_name"]]["trials"]
            states = {"complete": "Complete", "stopped": "Pruned", "failed": "Fail"}
            assert [t["state"] for t in shown] == [states[t["status"]] for t in trials]
            assert [t.get("values") for t in shown] == [t["values"] for t in trials]


def test_trials_csv_has_a_row_a_trial(checkout: Checkout) -> None:
    frame = pd.read_csv(Path(checkout.root / "results" / "small" / "tuning" / "trials.csv"))
    assert len(frame) == 4 * 6
    assert frame.groupby("search")["winner"].sum().tolist() == [1] * 4
    assert (frame.groupby("search")["images"].sum().nunique()) == 1
