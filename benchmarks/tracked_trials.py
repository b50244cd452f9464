"""What the mirror shows of a study's tuning: its searches, and their trials. Imports no mlflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.store import trial_name
from benchmarks.tracked import (
    TrackedRun,
    allowed_name,
    flat_params,
    metric_rows,
    run_times,
    study_key,
    tag_texts,
)


def arms(listed: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Why each experiment is in the final plan, by its id.

    `listed` is ``arms`` of the plan's tuning.

    >>> arms([{"arm": "default", "experiments": ["a"]}, {"arm": "tuned 1", "experiments": ["a"]}])
    {'a': 'default, tuned 1'}
    """
    names: dict[str, list[str]] = {}
    for arm in listed:
        for experiment in arm["experiments"]:
            known = names.setdefault(experiment, [])
            if arm["arm"] not in known:
                known.append(arm["arm"])
    return {experiment: ", ".join(known) for experiment, known in names.items()}


def search_key(search: Mapping[str, Any]) -> str:
    """Key of the tuning run of a search."""
    return f"search {search['id']}"


def trial_folder(trial: Mapping[str, Any], root: Path) -> Path:
    """Where the first run of a trial lies, at the last epoch that it was trained to.

    Parameters
    ----------
    trial : of a search in ``tuned.json``.
    root : ``results/trials``. The folder need not exist: trials may have been cleaned up.
    """
    first = trial["runs"][0]
    whole = root / first
    if trial["status"] == "stopped":
        # Another study may have trained the same to the end.
        return root / trial_name(first, trial["epochs"])
    if trial["status"] == "complete" or whole.exists():
        return whole
    rungs = root.glob(f"{first}.epoch-*")
    return max(rungs, key=lambda path: int(path.name.rpartition("-")[2]), default=whole)


def tracked_search(
    search: Mapping[str, Any], plan: Mapping[str, Any], trials: Sequence[TrackedRun]
) -> TrackedRun:
    """The tuning run of one search: its settings, and what came of it.

    Parameters
    ----------
    search : of ``plan["tuning"]["searches"]``.
    plan : content of ``tuned.json``.
    trials : what is shown of the search's trials.
    """
    tuning = plan["tuning"]
    winner = next((t for t in search["trials"] if t["number"] == search["winner"]), None)
    # Trials without folder have no times.
    times = [trial.times for trial in trials if trial.times[1]]
    start, end = min((t[0] for t in times), default=0), max((t[1] for t in times), default=0)
    settings = ("sampler", "trials", "rounds", "epochs", "halving", "extend_bounds")
    counts = Counter({"complete": 0, "stopped": 0, "failed": 0})
    counts.update(trial["status"] for trial in search["trials"])
    final = {
        **_objectives(winner, tuning),
        **{f"trials/{status}": count for status, count in counts.items()},
        **{
            f"run/{name}": sum(t[name] or 0 for t in search["trials"])
            for name in ("images", "seconds")
        },
        **{
            f"importance/{allowed_name(name)}": share
            for name, share in (search["importance"] or {}).items()
        },
    }
    best = [(f"best/{name}", value, end, number) for name, value, number in _best(search, tuning)]
    return TrackedRun(
        key=search_key(search),
        name=f"{search['loss']} tuning {search['study']}",
        status="FAILED" if winner is None else "FINISHED",
        times=(start, end),
        params=flat_params(
            {
                "loss": search["loss"],
                "search": search["study"],
                "fixed": search["fixed"],
                "seeds": search["seeds"],
                "objective": {goal["metric"]: goal["direction"] for goal in tuning["objectives"]},
                **{name: tuning[name] for name in settings},
                "space": {
                    axis["name"]: {key: axis[key] for key in ("low", "high", "log")}
                    for axis in search["space"]
                },
                "winner": {}
                if winner is None
                else {
                    "name": f"trial {winner['number']}",
                    "hyperparameters": winner["parameters"],
                },
                "at_bound": search["at_bound"],
            }
        ),
        tags=tag_texts(
            {
                "marginbench.role": "search",
                "marginbench.search": search["id"],
                "mlflow.note.content": search["reason"],
            }
        ),
        metrics=metric_rows(None, final, (start, end)) + best,
        parent=study_key(plan),
    )


def tracked_trial(
    trial: Mapping[str, Any],
    search: Mapping[str, Any],
    tuning: Mapping[str, Any],
    folder: Path,
    result: Mapping[str, Any] | None,
) -> TrackedRun:
    """The run of one trial, below the tuning run of its search.

    Parameters
    ----------
    trial, search, tuning : of ``tuned.json``.
    folder : of the trial's first run, whose epochs are shown.
    result : content of ``result.json`` there; None if it is not there any more: the trial is then
        shown without epochs and date.
    """
    # Named as the settings of an experiment are, so that they share their columns.
    of = {axis["name"]: axis["of"] for axis in search["space"]}
    values: dict[str, dict[str, Any]] = {"loss": dict(search["fixed"]), "recipe": {}}
    for name, value in trial["parameters"].items():
        values[of.get(name, "loss")][name] = value
    times = (0, 0) if result is None else run_times(result)
    names = [goal["metric"] for goal in tuning["objectives"]]
    rungs = [
        (f"rung/{name}", float(value), times[1], rung["epoch"])
        for rung in trial["rungs"]
        for name, value in zip(names, rung["values"], strict=True)
        if value is not None
    ]
    final = {
        **trial["metrics"],
        **_objectives(trial, tuning),
        **{f"run/{name}": trial[name] for name in ("epochs", "images", "seconds")},
    }
    return TrackedRun(
        key=f"{search['id']} trial {trial['number']}",
        name=f"{search['loss']} trial {trial['number']}",
        status="FAILED" if trial["status"] == "failed" else "FINISHED",
        times=times,
        params=flat_params(
            {
                "loss": {"name": search["loss"], "hyperparameters": values["loss"]},
                "recipe": values["recipe"],
                **{name: trial[name] for name in ("number", "round", "origin")},
            }
        ),
        tags=tag_texts(
            {
                "marginbench.role": "trial",
                "marginbench.search": search["id"],
                "marginbench.trial": trial["status"],
                "marginbench.winner": "true" if trial["number"] == search["winner"] else None,
                "marginbench.runs": ", ".join(trial["runs"]),
                "mlflow.note.content": trial["reason"],
            }
        ),
        metrics=metric_rows(folder / "history.jsonl" if result else None, final, times) + rungs,
        parent=search_key(search),
    )


def _objectives(
    trial: Mapping[str, Any] | None, tuning: Mapping[str, Any]
) -> dict[str, float | None]:
    """``objective/<metric>`` of a trial that has the values."""
    if trial is None or trial["values"] is None:
        return {}
    names = [f"objective/{goal['metric']}" for goal in tuning["objectives"]]
    return dict(zip(names, trial["values"], strict=True))


def _best(search: Mapping[str, Any], tuning: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Each objective's name, its best value up to a trial, and the trial's number."""
    for index, goal in enumerate(tuning["objectives"]):
        better = min if goal["direction"] == "minimize" else max
        best: float | None = None
        for trial in search["trials"]:
            if trial["values"] is not None:
                value = float(trial["values"][index])
                best = value if best is None else better(best, value)
            if best is not None:
                yield goal["metric"], best, trial["number"]
