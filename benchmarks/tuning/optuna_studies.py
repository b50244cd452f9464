"""Optuna's part of tuning: which points to try next, which parameters mattered. The only module that imports optuna.

Every call rebuilds a study in memory from the trials so far and forgets it again, so that what is proposed is a
function of the search and of the results of its earlier rounds, and of nothing else: no database, no daemon.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.errors import ConfigError
from benchmarks.seeds import stream_seed
from benchmarks.tuning.objectives import best_first
from benchmarks.tuning.searches import Search, Tuning
from benchmarks.tuning.space import Axis, Point
from losses.catalog import CatalogError

optuna.logging.set_verbosity(optuna.logging.ERROR)

Trial = Mapping[str, Any]  # one of a round's file

# Points of a round that the loss does not allow (one number has to be below another) are asked again, so often.
MOST_REFUSALS = 1000
# Fewer values say nothing about which parameter mattered.
LEAST_FOR_IMPORTANCE = 8


def propose(
    search: Search, tuning: Tuning, earlier: Sequence[Trial], number: int
) -> list[tuple[str, Point]]:
    """The points of round `number`, given all trials of the rounds before.

    Returns
    -------
    (origin, point) of each trial of the round: the start points first, then what the sampler asks for.

    Raises
    ------
    ConfigError : the sampler asks again and again for points that the loss does not allow.
    """
    numbers = tuning.numbers(number)
    start = list(search.start[numbers.start : numbers.stop])
    wanted = len(numbers) - len(start)
    if wanted == 0:
        return start
    axes = current_axes(search, tuning, earlier, number)
    if tuning.settings["sampler"] == "qmc":
        # A sequence that a rebuilt study would begin again: its points are asked from the first on.
        before = max(0, numbers.start - len(search.start))
        points = _ask(search, tuning, axes, [], 0, before + wanted)[before:]
    else:
        running = [point for _, point in start]
        points = _ask(search, tuning, axes, [*earlier, *map(_running, running)], number, wanted)
    return [*start, *(("sampler", point) for point in points)]


def current_axes(
    search: Search, tuning: Tuning, earlier: Sequence[Trial], number: int
) -> list[Axis]:
    """The ranges of round `number`: with ``extend_bounds`` they grow once, half way, where the best trial lies on an end."""
    turn = tuning.rounds // 2
    axes = list(search.axes)
    if not tuning.settings["extend_bounds"] or number < turn:
        return axes
    known = [trial for trial in earlier if trial["number"] < tuning.numbers(turn).start]
    order = best_first([trial["values"] for trial in known], tuning.directions)
    if not order:
        return axes
    best = known[order[0]]["parameters"]
    sides = [axis.bound(best[axis.name]) for axis in axes]
    return [
        axis if side is None else axis.extended(side)
        for axis, side in zip(axes, sides, strict=True)
    ]


def importance(
    tuning: Tuning, axes: Sequence[Axis], trials: Sequence[Trial]
) -> dict[str, float] | None:
    """How much each parameter mattered for the first objective, summing to 1 (PED-ANOVA, arXiv:2304.10255).

    None where fewer than ``LEAST_FOR_IMPORTANCE`` trials have values, or all have the same.
    """
    known = [trial for trial in trials if trial["values"] is not None and _inside(axes, trial)]
    if len(known) < LEAST_FOR_IMPORTANCE or len({trial["values"][0] for trial in known}) == 1:
        return None
    study = optuna.create_study(direction=tuning.directions[0])
    study.add_trials([_frozen(axes, {**trial, "values": trial["values"][:1]}) for trial in known])
    with _quiet():
        found = optuna.importance.get_param_importances(study, params=[axis.name for axis in axes])
    total = sum(found.values())
    return {axis.name: found[axis.name] / total for axis in axes} if total > 0 else None


def export(path: Path, found: Mapping[str, Any]) -> None:
    """Write searches as Optuna studies into a journal file, which optuna-dashboard opens; an older one is replaced.

    Parameters
    ----------
    found : ``tuning`` of a final plan.
    """
    temporary = path.with_name(f".{path.name}.writing")
    temporary.unlink(missing_ok=True)
    with _quiet():
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(temporary)))
        for search in found["searches"]:
            study = optuna.create_study(
                storage=storage,
                study_name=search["id"],
                directions=[item["direction"] for item in found["objectives"]],
            )
            study.set_metric_names([item["metric"] for item in found["objectives"]])
            axes = [Axis.of_json(span) for span in search["space"]]
            for trial in search["trials"]:
                study.add_trial(_frozen(axes, trial))
    temporary.replace(path)


def _ask(
    search: Search,
    tuning: Tuning,
    axes: Sequence[Axis],
    told: Sequence[Trial],
    number: int,
    count: int,
) -> list[Point]:
    seed = stream_seed("tune", tuning.settings["seed"], search.study, number) % 2**32
    study = optuna.create_study(sampler=_sampler(tuning, seed), directions=tuning.directions)
    for trial in told:
        if trial["status"] == "failed" or _inside(axes, trial):
            study.add_trial(_frozen(axes, trial))
    if tuning.settings["sampler"] == "qmc":
        # Without a trial it does not know its axes, and its first point would be a plain random one.
        study.add_trial(
            _frozen(
                axes, {"parameters": {axis.name: axis.low for axis in axes}, "status": "failed"}
            )
        )
    distributions = {axis.name: _distribution(axis) for axis in axes}
    points: list[Point] = []
    for _ in range(count + MOST_REFUSALS):
        if len(points) == count:
            return points
        with _quiet():
            asked = study.ask(distributions)
        point = {axis.name: axis.rounded(asked.params[axis.name]) for axis in axes}
        try:
            search.experiment(point, search.seeds[0])
        except CatalogError as error:
            study.tell(asked, state=TrialState.FAIL)
            last = error
        else:
            points.append(point)
    raise ConfigError(
        f"tune.losses.{search.loss}.search: no point of the ranges is allowed: {last}"
    )


def _sampler(tuning: Tuning, seed: int) -> optuna.samplers.BaseSampler:
    # So many random points before a model is made: a quarter of the trials, four at least, ten (Optuna's own) at most.
    startup = min(10, max(4, tuning.settings["trials"] // 4))
    with _quiet():
        match tuning.settings["sampler"]:
            case "tpe":
                return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
            case "gp":
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
            case "qmc":
                return optuna.samplers.QMCSampler(seed=seed, scramble=True)
            case _:
                return optuna.samplers.RandomSampler(seed=seed)


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _inside(axes: Sequence[Axis], trial: Trial) -> bool:
    """Whether Optuna can hold a trial: a default or preset may lie outside of what is searched."""
    return all(axis.holds(trial["parameters"][axis.name]) for axis in axes)


def _running(point: Point) -> Trial:
    return {"parameters": point, "status": "running"}


def _frozen(axes: Sequence[Axis], trial: Trial) -> FrozenTrial:
    """A trial as Optuna holds it: stopped ones are pruned at their last rung."""
    status, values = trial["status"], trial.get("values")
    state = {
        "complete": TrialState.COMPLETE,
        "stopped": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING,
    }[status]
    inside = _inside(axes, trial)
    rungs = trial.get("rungs", [])
    # With several objectives Optuna knows no intermediate values.
    single = all(len(rung["values"]) == 1 for rung in rungs)
    attributes = {
        key: trial[key] for key in ("origin", "round", "reason") if trial.get(key) is not None
    }
    return create_trial(
        state=state,
        values=list(values) if state is TrialState.COMPLETE and values else None,
        params=dict(trial["parameters"]) if inside else {},
        distributions={axis.name: _distribution(axis) for axis in axes} if inside else {},
        user_attrs=attributes
        if inside
        else {**attributes, "parameters": dict(trial["parameters"])},
        intermediate_values={rung["epoch"]: rung["values"][0] for rung in rungs} if single else {},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna warns of what it calls experimental; the pinned version is what the tests hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
