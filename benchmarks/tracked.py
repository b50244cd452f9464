"""What a mirrored run shows, made from the run store alone. Imports no mlflow."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.files import file_hash

LAYOUT = 1  # of a mirrored run; a change mirrors every run anew
PARAM_LENGTH, TAG_LENGTH = 6000, 5000  # MLflow's limits, in characters

MetricRow = tuple[str, float, int, int]  # name, value, milliseconds since 1970, step


@dataclass(frozen=True)
class TrackedRun:
    """All that one MLflow run shall hold.

    Attributes
    ----------
    key : what tells the run from all others of its MLflow experiment.
    name : for people.
    parent : key of the run that it is shown below; None for the study itself.
    status : ``FINISHED``, ``FAILED`` or ``RUNNING``.
    times : start and end in milliseconds since 1970.
    settings : YAML artifacts by file name.
    report : folder whose files become artifacts; None for none.
    """

    key: str
    name: str
    status: str
    times: tuple[int, int]
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[MetricRow]
    parent: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    report: Path | None = None

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of everything above but the parent, files included."""
        elsewhere = ("report", "parent")
        content = {name: value for name, value in vars(self).items() if name not in elsewhere}
        report = self.report
        files = (
            {}
            if report is None
            else {
                str(path.relative_to(report)): file_hash(path)
                for path in report.rglob("*")
                if path.is_file()
            }
        )
        text = json.dumps([LAYOUT, content, files], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def study_key(plan: Mapping[str, Any]) -> str:
    """Key of the parent run of a study."""
    return f"study {plan['study']}"


def tracked_study(
    plan: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any] | None],
    report: Path | None,
) -> TrackedRun:
    """The parent run: the study as a whole.

    Parameters
    ----------
    plan : content of ``plan.json``.
    results : content of ``result.json`` by experiment id; None for a run that is not done.
    report : the study's report folder, if it shall be shown.
    """
    statuses = Counter(
        "waiting" if result is None else result["status"] for result in results.values()
    )
    times = [run_times(result) for result in results.values() if result is not None]
    start, end = min((t[0] for t in times), default=0), max((t[1] for t in times), default=0)
    sizes = {"experiments": len(plan["experiments"]), "stacks": len(plan["stacks"])}
    return TrackedRun(
        key=study_key(plan),
        name=plan["study"],
        status="RUNNING" if statuses["waiting"] else "FINISHED",
        times=(start, end),
        params=flat_params({**sizes, **plan["config"]}),
        tags={
            "marginbench.role": "study",
            "marginbench.evaluation": plan["evaluation"],
            "mlflow.note.content": str(plan["title"])[:TAG_LENGTH],
        },
        metrics=[
            (f"runs/{status}", float(count), end, 0) for status, count in sorted(statuses.items())
        ],
        settings={"config.yaml": plan["config"]},
        report=report,
    )


def tracked_run(
    experiment: Mapping[str, Any],
    result: Mapping[str, Any],
    folder: Path,
    plan: Mapping[str, Any],
    arm: str | None = None,
) -> TrackedRun:
    """The child run of one experiment.

    Parameters
    ----------
    experiment, result : content of ``experiment.json`` and ``result.json``.
    folder : the run's folder.
    plan : its study's, whose verdict is shown, if it is there.
    arm : why the experiment is in the plan of a tuned study, as in `benchmarks.tracked_trials.arms`.
    """
    times = run_times(result)
    verdict = _json(folder / "evaluations" / plan["evaluation"] / "metrics.json")
    notes = [f"{name}: {reason}" for name, reason in verdict.get("notes", {}).items()]
    if result.get("reason"):
        notes.insert(0, f"{result['status']}: {result['reason']}")
    provenance = result.get("provenance", {})
    facts = ("seconds", "images_per_second", "epochs", "images", "stack_size", "peak_memory")
    in_tags = ("id", "data_checksum", "fingerprint")
    return TrackedRun(
        key=experiment["id"],
        name=experiment["id"].rpartition("-")[0] or experiment["id"],
        status="FINISHED" if result["status"] == "finished" else "FAILED",
        times=times,
        params=flat_params({key: experiment[key] for key in experiment if key not in in_tags}),
        tags=tag_texts(
            {
                "marginbench.role": "experiment",
                "marginbench.arm": arm,
                "marginbench.status": result["status"],
                "marginbench.evaluation": verdict.get("evaluation"),
                "marginbench.git_commit": provenance.get("git_commit"),
                "marginbench.dirty": provenance.get("dirty"),
                "marginbench.data_checksum": experiment["data_checksum"],
                "marginbench.fingerprint": experiment.get("fingerprint"),
                "marginbench.stack": result.get("stack"),
                "marginbench.device": provenance.get("device"),
                "mlflow.source.git.commit": provenance.get("git_commit"),
                "mlflow.note.content": "\n\n".join(notes) or None,
            }
        ),
        metrics=metric_rows(
            folder / "history.jsonl",
            {**verdict.get("metrics", {}), **{f"run/{name}": result.get(name) for name in facts}},
            times,
        ),
        parent=study_key(plan),
    )


def flat_params(content: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings as MLflow parameters.

    >>> flat_params({"seed": 1, "loss": {"name": "arcface", "hyperparameters": {"margin": 0.5}}})
    {'seed': '1', 'loss': 'arcface', 'loss.margin': '0.5'}

    Signs that MLflow does not allow in names become underscores:

    >>> flat_params({"losses": {"softmax+triplet": {"triplet.margin": 0.3}}})
    {'losses.softmax_triplet.triplet.margin': '0.3'}
    """
    flat: dict[str, str] = {}
    for name, value in content.items():
        # The name of a thing stands for the thing, and its settings stand directly below it.
        inner = above and name in ("name", "options", "hyperparameters")
        key = above if inner else allowed_name(f"{above}.{name}".removeprefix("."))
        if isinstance(value, Mapping):
            flat.update(flat_params(value, key))
        else:
            flat[key] = (value if isinstance(value, str) else json.dumps(value))[:PARAM_LENGTH]
    return flat


def allowed_name(name: str) -> str:
    """A name as MLflow allows it for metrics and parameters."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def tag_texts(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow takes them, without those that are None."""
    return {name: str(value)[:TAG_LENGTH] for name, value in tags.items() if value is not None}


def metric_rows(
    history: Path | None, final: Mapping[str, float | None], times: tuple[int, int]
) -> list[MetricRow]:
    """Epochs as ``train/<name>`` at their step, then the final values at the last step.

    Parameters
    ----------
    history : ``history.jsonl`` of a run; None for no epochs.
    final : values by name; what is not a finite number is left out.
    times : start and end of the run.
    """
    lines = [] if history is None else history.read_text().splitlines()
    rows = [json.loads(line) for line in lines if line]
    start, end = times
    metrics = []
    for row in rows:
        epoch = int(row.pop("epoch"))
        time = start + (end - start) * epoch // len(rows)
        metrics += [(f"train/{name}", value, time, epoch) for name, value in row.items()]
    metrics += [(name, value, end, len(rows)) for name, value in final.items()]
    return [
        (name, float(value), time, step)
        for name, value, time, step in metrics
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def run_times(result: Mapping[str, Any]) -> tuple[int, int]:
    """Start and end in milliseconds: the date of the result, and the run's share of the stack's time before it; 0 if unknown."""
    try:
        end = datetime.fromisoformat(result["provenance"]["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return 0, 0
    return int(1000 * (end - (result.get("seconds") or 0.0))), int(1000 * end)


def _json(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty if there is no such file."""
    return dict(json.loads(path.read_text())) if path.exists() else {}
