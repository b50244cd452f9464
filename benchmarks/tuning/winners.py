"""What the searches found: the best trial of each, and the final plan that trains it with fresh seeds.

Until here nothing has seen a test image of a tuned setting; the final plan's runs are judged on test once.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.config import loss_points
from benchmarks.experiment import Experiment, canonical
from benchmarks.store import RunStore, trial_name
from benchmarks.study import Study
from benchmarks.tuning.objectives import best_first, fronts
from benchmarks.tuning.optuna_studies import current_axes, importance
from benchmarks.tuning.rounds import read_rounds
from benchmarks.tuning.searches import Search, Tuning
from benchmarks.tuning.space import Axis, Point, short
from losses import catalog

Trial = dict[str, Any]

# Of the study's `tune`, what the report shows.
SETTINGS = (
    "sampler",
    "trials",
    "rounds",
    "studies",
    "seeds_per_trial",
    "halving",
    "extend_bounds",
)


def final_plan(study: Study, tuning: Tuning) -> dict[str, Any]:
    """The content of ``tuned.json``: the plan with the winners' experiments in its slots, and all about the searches.

    Raises
    ------
    TrainingError : a round is missing or of another config.
    """
    trials = {search.id: _trials(study, tuning, search) for search in tuning.searches}
    found = [_found(tuning, search, trials[search.id]) for search in tuning.searches]
    arms = list(_arms(study, tuning, found))
    planned = {item.id for item in study.experiments}
    new = {item.id: item for _, items in arms for item in items if item.id not in planned}
    stacks = dict(zip(tuning.slots, _divided(list(new.values()), len(tuning.slots)), strict=True))
    final = replace(
        study,
        experiments=(*study.experiments, *new.values()),
        stacks={**study.stacks, **stacks},
    )
    settings = {key: tuning.settings[key] for key in SETTINGS}
    names = [
        {"metric": name, "direction": way}
        for name, way in zip(tuning.objectives, tuning.directions, strict=True)
    ]
    return {
        **final.to_json(),
        "tuning": {
            "objectives": names,
            **settings,
            "epochs": tuning.epochs,
            "searches": found,
            "arms": [{**arm, "experiments": [item.id for item in items]} for arm, items in arms],
        },
    }


def _trials(study: Study, tuning: Tuning, search: Search) -> list[Trial]:
    """All trials of a search, with their training time; None where the trial store has lost it."""
    store = RunStore(study.results / "trials")
    trials = read_rounds(study.folder, search, tuning.rounds, tuning)
    for trial in trials:
        # One that stopped, or failed on its way, has its last folder at the rung that it was trained for.
        rung = next(epoch for epoch in tuning.rungs() if epoch >= trial["epochs"])
        last = None if rung == tuning.epochs else rung
        results = [store.result(trial_name(run, last)) for run in trial["runs"]]
        known = [result["seconds"] for result in results if result is not None]
        trial["seconds"] = sum(known) if len(known) == len(results) else None
        trial["diverged"] = (trial["reason"] or "").startswith("diverged:")
    return trials


def _found(tuning: Tuning, search: Search, trials: Sequence[Trial]) -> dict[str, Any]:
    """What one search found."""
    values = [trial["values"] for trial in trials]
    order = best_first(values, tuning.directions)
    axes = current_axes(search, tuning, trials, tuning.rounds)
    winner = trials[order[0]] if order else None
    reasons = sorted({trial["reason"] for trial in trials if trial["reason"]})
    ends = (
        {}
        if winner is None
        else {axis.name: axis.bound(winner["parameters"][axis.name]) for axis in axes}
    )
    return {
        "id": search.id,
        "loss": search.loss,
        "study": search.study,
        "fixed": search.fixed,
        "seeds": list(search.seeds),
        "space": [_span(own, first) for own, first in zip(axes, search.axes, strict=True)],
        "trials": list(trials),
        "winner": None if winner is None else winner["number"],
        "reason": None if order else f"no trial has a value: {'; '.join(reasons)}",
        "front": sorted(fronts(values, tuning.directions)[0]) if order else [],
        "importance": importance(tuning, axes, trials),
        "at_bound": {name: end for name, end in ends.items() if end is not None},
    }


def _span(axis: Axis, first: Axis) -> dict[str, Any]:
    return {**axis.to_json(), "start_low": first.low, "start_high": first.high}


def _arms(
    study: Study, tuning: Tuning, found: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[dict[str, Any], list[Experiment]]]:
    """Why each of the final experiments is there: the grid, the defaults, the winner of each search, what is around it."""
    yield from _grid(study)
    for loss in dict.fromkeys(search.loss for search in tuning.searches):
        own = [item for item in zip(tuning.searches, found, strict=True) if item[0].loss == loss]
        first, origin = own[0][0], own[0][0].start[0][1]
        yield (
            {"loss": loss, "arm": "default", "search": None, "trial": 0},
            [first.experiment(origin, seed) for seed in study.seeds],
        )
        won = []
        for search, result in own:
            if result["winner"] is None:
                continue
            trial = result["trials"][result["winner"]]
            won.append((search, trial))
            arm = {
                "loss": loss,
                "arm": f"tuned {search.study}",
                "search": search.id,
                "trial": trial["number"],
            }
            yield arm, [search.experiment(trial["parameters"], seed) for seed in study.seeds]
        if not won:
            continue
        place = best_first([trial["values"] for _, trial in won], tuning.directions)[0]
        search, best = won[place]
        for point in _around(search, best["parameters"], tuning.around.get(loss, [])):
            arm = {"loss": loss, "arm": "around", "search": search.id, "trial": best["number"]}
            yield arm, [search.experiment(point, seed) for seed in study.seeds]


def _grid(study: Study) -> Iterator[tuple[dict[str, Any], list[Experiment]]]:
    """The points that the study file names; the plan has the defaults beside them."""
    named = {canonical(point) for point in loss_points(study.config)}
    found: dict[str, list[Experiment]] = {}
    for item in study.experiments:
        key = canonical([item.loss["name"], item.loss["hyperparameters"], item.recipe])
        if key in named:
            found.setdefault(key, []).append(item)
    for items in found.values():
        yield {"loss": items[0].loss["name"], "arm": "grid", "search": None, "trial": None}, items


def _around(
    search: Search, best: Point, blocks: Sequence[Mapping[str, Sequence[float]]]
) -> Iterator[Point]:
    """The points of grids of factors around a point, each once, without those that the loss does not allow."""
    seen = []
    legal = {parameter.name: parameter for parameter in catalog.row(search.loss).hyperparameters}
    products = [
        dict(zip(block, factors, strict=True))
        for block in blocks
        for factors in itertools.product(*block.values())
    ]
    for factors in products:
        point = {
            **best,
            **{name: _times(legal[name], best[name], factors[name]) for name in factors},
        }
        try:
            search.experiment(point, search.seeds[0])
        except catalog.CatalogError:
            continue
        if point not in seen:
            seen.append(point)
            yield point


def _times(parameter: catalog.Hyperparameter, value: float, factor: float) -> float:
    """A value times a factor, where that is legal, else the nearest legal value."""
    found = short(value * factor)
    found = found if parameter.low is None else max(found, parameter.low)
    found = found if parameter.high is None else min(found, parameter.high)
    return round(found) if isinstance(parameter.default, int) else found


def _divided(experiments: list[Experiment], slots: int) -> list[tuple[str, ...]]:
    """Ids in so many stacks of nearly equal size; those that share batches, and those of one loss, together."""
    experiments = sorted(experiments, key=lambda item: (item.stream, item.loss_group, item.id))
    count = len(experiments)
    return [
        tuple(item.id for item in experiments[slot * count // slots : (slot + 1) * count // slots])
        for slot in range(slots)
    ]


def trials_table(found: Sequence[Mapping[str, Any]]) -> str:
    """All trials of the searches as CSV, a row each."""
    trials = [(own, trial) for own in found for trial in own["trials"]]
    parameters = list(dict.fromkeys(axis["name"] for own in found for axis in own["space"]))
    metrics = sorted({name for _, trial in trials for name in trial["metrics"]})
    plain = ("number", "round", "origin", "status", "reason", "epochs", "images", "seconds")
    rows = [
        {
            "search": own["id"],
            "loss": own["loss"],
            "study": own["study"],
            **{key: trial[key] for key in plain},
            "winner": trial["number"] == own["winner"],
            **{f"parameter/{name}": trial["parameters"].get(name) for name in parameters},
            **{name: trial["metrics"].get(name) for name in metrics},
        }
        for own, trial in trials
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
