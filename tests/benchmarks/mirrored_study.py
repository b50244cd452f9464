"""Studies on disk, as the pipeline leaves them, to be mirrored in tests: a plain one and a tuned one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.tracking import MirrorSummary, mirror

IDS = [f"glyphs-conv3-arcface-m{margin}-r{seed}-abc{seed}" for margin in (0, 5) for seed in (0, 1)]
DIVERGED = IDS[3]
EVALUATION = "e1"
END = 1_790_000_000  # seconds since 1970 = 2026-09-21T14:13:20+00:00


class Study:
    """A study on disk: four runs, of which the last diverged."""

    plan_name = "plan.json"

    def __init__(self, results: Path) -> None:
        self.results = results
        self.report = results / "toy" / "report"
        experiments = [
            {
                "id": name,
                "dataset": {"name": "glyphs", "options": {"classes": 20}},
                "data_checksum": "d" * 64,
                "split": {"classes": "random", "known_test": 0.2},
                "backbone": {"name": "conv3", "embedding_dim": 64},
                "recipe": {"epochs": 3, "learning_rate": 0.1, "milestones": [0.5, 0.75]},
                "loss": {"name": "arcface", "hyperparameters": {"margin": index // 2 / 2}},
                "seed": index % 2,
                "fingerprint": "f1",
            }
            for index, name in enumerate(IDS)
        ]
        self.plan = {
            "study": "toy",
            "title": "A toy",
            "config": {"seeds": 2, "losses": {"arcface": {"margin": [0.0, 0.5]}}},
            "evaluation": EVALUATION,
            "experiments": experiments,
            "stacks": {"s1": IDS},
        }
        self.write_plan()
        for index, name in enumerate(IDS):
            self.write_run(name, auc=0.9 + index / 100, diverged=name == DIVERGED)
        (self.report / "tables").mkdir(parents=True)
        (self.report / "index.html").write_text("<p>best: arcface")
        (self.report / "tables" / "main.csv").write_text("loss,auc\n")

    def write_plan(self) -> None:
        (self.results / "toy").mkdir(parents=True, exist_ok=True)
        (self.results / "toy" / self.plan_name).write_text(json.dumps(self.plan))

    def write_run(self, name: str, *, auc: float, diverged: bool = False) -> None:
        folder = self.results / "runs" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        epochs = 2 if diverged else 3
        rows = [
            {"epoch": epoch, "loss": 8.0 / epoch, "accuracy": None if diverged else epoch / 4}
            for epoch in range(1, epochs + 1)
        ]
        (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        result = {
            "id": name,
            "status": "diverged" if diverged else "finished",
            "reason": "parameters are not finite after epoch 2" if diverged else None,
            "epochs": epochs,
            "seconds": 30.0,
            "peak_memory": 400 * 2**20,
            "stack": "s1",
            "provenance": {"git_commit": "c0ffee", "date": "2026-09-21T14:13:20+00:00"},
        }
        (folder / "result.json").write_text(json.dumps(result))
        if not diverged:
            evaluation = folder / "evaluations" / EVALUATION
            evaluation.mkdir(parents=True)
            metrics = {"verification/auc": auc, "verification/tar_at_far_1e-04": None}
            notes = {"verification/tar_at_far_1e-04": "too few pairs"}
            text = {"evaluation": EVALUATION, "metrics": metrics, "notes": notes}
            (evaluation / "metrics.json").write_text(json.dumps(text))

    def uri(self, database: str = "mlflow.db") -> str:
        return f"sqlite:///{self.results / database}"

    def mirror(self, database: str = "mlflow.db", report: bool = True) -> MirrorSummary:
        return mirror(
            self.results / "toy" / self.plan_name,
            self.results / "runs",
            self.uri(database),
            artifact_root=self.results / "mlartifacts",
            report_dir=self.report if report else None,
        )

    def shown(self, database: str = "mlflow.db"):
        """The client and the active runs by ``marginbench.id``."""
        import mlflow

        client = mlflow.MlflowClient(self.uri(database))
        experiment = client.get_experiment_by_name("toy")
        runs = client.search_runs([experiment.experiment_id])
        by_id = {run.data.tags["marginbench.id"]: run for run in runs}
        assert len(by_id) == len(runs)
        return client, by_id


ARCFACE, SOFTMAX = "arcface-1-aaaa", "softmax-1-bbbb"
EER, RECALL = "validation/verification/eer", "validation/retrieval/recall_at_1"


class TunedStudy(Study):
    """The same after tuning: a search with a winner (trial 2), and one in which every trial failed.

    Trial 1 was stopped after epoch 1, trial 3 diverged on the way to epoch 3; trial 0 of softmax
    ran out of memory, and the folder of its trial 1 was cleaned up.
    """

    plan_name = "tuned.json"

    def __init__(self, results: Path) -> None:
        super().__init__(results)
        self.plan["tuning"] = {
            "objectives": [{"metric": EER, "direction": "minimize"}],
            "sampler": "tpe",
            "trials": 4,
            "rounds": 2,
            "studies": 1,
            "seeds_per_trial": 1,
            "epochs": 3,
            "halving": {"rungs": 2, "factor": 2},
            "extend_bounds": False,
            "searches": [
                search(
                    ARCFACE,
                    trials=[
                        trial("a", 0, value=0.1, origin="default"),
                        trial("a", 1, value=0.2, epochs=1, status="stopped"),
                        trial("a", 2, value=0.07),
                        trial("a", 3, epochs=2, status="failed", reason="diverged: not finite"),
                    ],
                    winner=2,
                    importance={"margin": 0.75, "learning_rate": 0.25},
                    at_bound={"margin": "low"},
                ),
                search(
                    SOFTMAX,
                    trials=[
                        trial("s", 0, epochs=0, status="failed", reason="out_of_memory: 3 GB"),
                        trial("s", 1, epochs=2, status="failed", reason="diverged: not finite"),
                    ],
                    reason="all trials failed",
                ),
            ],
            "arms": [
                {"loss": "arcface", "arm": "default", "experiments": [IDS[0], IDS[1]]},
                {"loss": "arcface", "arm": "tuned 1", "experiments": [IDS[1], IDS[2]]},
            ],
        }
        self.write_plan()
        self.write_trial("a-t0", epochs=3)
        self.write_trial("a-t1.epoch-1", epochs=1)
        self.write_trial("a-t1", epochs=3)  # of another study, without halving
        self.write_trial("a-t2", epochs=3)
        self.write_trial("a-t2.epoch-1", epochs=1)
        self.write_trial("a-t3.epoch-1", epochs=1)
        self.write_trial("a-t3.epoch-2", epochs=2, status="diverged")
        self.write_trial("s-t0", epochs=0, status="out_of_memory")

    def write_trial(self, name: str, *, epochs: int, status: str = "finished") -> Path:
        folder = self.results / "trials" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rows = [{"epoch": epoch, "loss": 6.0 / epoch} for epoch in range(1, epochs + 1)]
        (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        provenance = {"date": "2026-09-21T14:13:20+00:00"}
        result = {"id": name, "status": status, "epochs": epochs, "seconds": 10.0 * epochs}
        (folder / "result.json").write_text(json.dumps({**result, "provenance": provenance}))
        return folder


def search(name: str, *, trials: list[dict[str, Any]], **found: Any) -> dict[str, Any]:
    """One item of ``plan["tuning"]["searches"]``; no winner unless said."""
    space = [
        {"name": "margin", "of": "loss", "low": 0.0, "high": 0.8, "log": False, "whole": False},
        {"name": "learning_rate", "of": "recipe", "low": 0.01, "high": 1.0, "log": True},
    ]
    loss, study, _ = name.split("-")
    asked = {"id": name, "loss": loss, "study": int(study), "fixed": {"scale": 16}, "seeds": [7]}
    nothing = {"winner": None, "reason": None, "front": [], "importance": None, "at_bound": {}}
    return {**asked, "space": space, "trials": trials, **nothing, **found}


def trial(
    prefix: str,
    number: int,
    *,
    value: float | None = None,
    epochs: int = 3,
    status: str = "complete",
    origin: str = "sampler",
    reason: str | None = None,
) -> dict[str, Any]:
    """One item of a search's trials; `value` is that of the last rung that was reached."""
    rungs = [] if value is None else [{"epoch": epochs, "values": [value]}]
    if status == "complete":
        rungs.insert(0, {"epoch": 1, "values": [0.3]})
    return {
        "number": number,
        "round": number // 2,
        "origin": origin,
        "parameters": {"margin": number / 10, "learning_rate": 0.1},
        "status": status,
        "reason": reason,
        "values": [value] if status == "complete" else None,
        "rungs": rungs,
        "epochs": epochs,
        "images": 1000 * epochs,
        "runs": [f"{prefix}-t{number}"],
        "metrics": {EER: value, RECALL: 0.9} if status == "complete" else {},
        "seconds": 10.0 * epochs,
        "diverged": bool(reason) and reason.startswith("diverged"),
    }


def empty_store(path: Path) -> Path:
    """An empty MLflow store to copy: making one takes a second."""
    import mlflow

    mlflow.MlflowClient(f"sqlite:///{path}").get_experiment_by_name("none")
    return path


def content(client, runs):
    """All that is shown, without MLflow's own ids."""
    shown = {}
    for key, run in runs.items():
        tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
        history = {
            name: [(m.value, m.step, m.timestamp) for m in client.get_metric_history(id_, name)]
            for id_ in [run.info.run_id]
            for name in run.data.metrics
        }
        info = (run.info.status, run.info.run_name, run.info.start_time, run.info.end_time)
        artifacts = sorted(item.path for item in client.list_artifacts(run.info.run_id))
        shown[key] = (run.data.params, tags, history, info, artifacts)
    return shown
