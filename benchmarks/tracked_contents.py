"""All that the mirror shows of a study, in order, from its plan and what is on disk. Imports no mlflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.store import RunStore
from benchmarks.tracked import TrackedRun, tracked_run, tracked_study
from benchmarks.tracked_trials import arms, tracked_search, tracked_trial, trial_folder

KEYS = {"study", "title", "config", "evaluation", "experiments", "stacks"}
TUNING_KEYS = {"objectives", "searches", "arms"}


class TrackingError(Exception):
    """The mirror could not be written; the message says what to do."""


class Contents:
    """The runs to show, each after the one that it is below; they are read as they are asked for.

    Parameters
    ----------
    plan : content of ``plan.json``, or of ``tuned.json``.
    runs_root : ``results/runs``; the trials are in ``trials`` beside it.
    report : the study's report folder, if it shall be shown.

    Attributes
    ----------
    waiting : number of experiments of the plan that have no result yet; they are not shown.

    Raises
    ------
    TrackingError : a run cannot be read; raised when it is asked for.
    """

    def __init__(self, plan: dict[str, Any], runs_root: Path, report: Path | None) -> None:
        self.plan = plan
        self.runs = RunStore(runs_root)
        self.trials = RunStore(runs_root.parent / "trials")
        self.report = report
        self.results = {item["id"]: self.runs.result(item["id"]) for item in plan["experiments"]}
        self.waiting = sum(result is None for result in self.results.values())
        # Older plans lack the key.
        self.tuning = plan.get("tuning") or {"searches": [], "arms": []}

    def __len__(self) -> int:
        tried = sum(1 + len(search["trials"]) for search in self.tuning["searches"])
        return 1 + tried + len(self.results) - self.waiting

    def __iter__(self) -> Iterator[TrackedRun]:
        yield tracked_study(self.plan, self.results, self.report)
        for search in self.tuning["searches"]:
            trials = [self._trial(trial, search) for trial in search["trials"]]
            yield tracked_search(search, self.plan, trials)
            yield from trials
        arm_of = arms(self.tuning["arms"])
        for item in self.plan["experiments"]:
            result, folder = self.results[item["id"]], self.runs.folder(item["id"])
            if result is None:
                continue
            with _explained(folder):
                content = tracked_run(item, result, folder, self.plan, arm_of.get(item["id"]))
            yield content

    def _trial(self, trial: dict[str, Any], search: dict[str, Any]) -> TrackedRun:
        folder = trial_folder(trial, self.trials.root)
        with _explained(folder):
            result = self.trials.result(folder.name)
            return tracked_trial(trial, search, self.tuning, folder, result)


def read_plan(path: Path) -> dict[str, Any]:
    """The content of a plan.

    Raises
    ------
    TrackingError : there is no file, it is no JSON object, or it lacks keys.
    """
    try:
        plan = json.loads(path.read_text())
        missing = KEYS - set(plan)
        if plan.get("tuning"):
            missing |= {f"tuning.{key}" for key in TUNING_KEYS - set(plan["tuning"])}
        problem = f"lacks {', '.join(sorted(missing))}" if missing else ""
    except (OSError, ValueError, TypeError, AttributeError) as error:
        problem = str(error)
    if problem:
        raise TrackingError(f"{path}: no plan of a study ({problem}); plan the study first")
    return dict(plan)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say which run cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise TrackingError(
            f"{folder}: cannot be read ({error}); delete it to make it again"
        ) from error
