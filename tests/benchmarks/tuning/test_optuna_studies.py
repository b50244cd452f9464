"""What is asked for is a function of the search and its earlier rounds, within the ranges, and gets better."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmarks.errors import ConfigError
from benchmarks.tuning.optuna_studies import current_axes, export, importance, propose
from benchmarks.tuning.space import Axis
from tests.benchmarks.tuning.searching import bowl, carried_out, tuning

SAMPLERS = ("tpe", "gp", "qmc", "random")
TWO = ["verification/eer", "retrieval/recall_at_1"]


def two(point: dict[str, float]) -> list[float]:
    return [*bowl(point), point["margin"]]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objective", ["verification/eer", TWO])
def test_a_round_depends_on_the_earlier_rounds_alone(
    tmp_path: Path, sampler: str, objective: Any
) -> None:
    planned = tuning(tmp_path, sampler=sampler, objective=objective, trials=12, rounds=4)
    (search,) = planned.searches
    formula = two if objective == TWO else bowl
    trials = carried_out(search, planned, formula)
    assert trials == carried_out(search, planned, formula)
    for number in reversed(range(4)):  # any round, by itself, from its files
        earlier = json.loads(json.dumps(trials[: planned.numbers(number).start]))
        asked = propose(search, planned, earlier, number)
        assert [point for _, point in asked] == [
            own["parameters"] for own in trials if own["round"] == number
        ]
    points = [tuple(own["parameters"].values()) for own in trials]
    assert len(set(points)) == len(points)  # no point twice
    for own in trials:
        for axis in search.axes:
            assert axis.low <= own["parameters"][axis.name] <= axis.high


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_later_rounds_learn_from_earlier_ones(tmp_path: Path, sampler: str) -> None:
    """Against itself without results: the median of the last half is much better."""
    planned = tuning(tmp_path, sampler=sampler, trials=40, rounds=10)
    (search,) = planned.searches
    values = [own["values"][0] for own in carried_out(search, planned, bowl)]
    blind = tuning(tmp_path, sampler="random", trials=40, rounds=10)
    chance = [own["values"][0] for own in carried_out(blind.searches[0], blind, bowl)]
    assert sorted(values[20:])[10] < 0.6 * sorted(chance[20:])[10]


def test_a_result_changes_the_next_round_but_no_earlier_one(tmp_path: Path) -> None:
    planned = tuning(tmp_path, trials=24, rounds=4)
    (search,) = planned.searches
    one = carried_out(search, planned, bowl)
    other = carried_out(search, planned, lambda point: [-bowl(point)[0]])
    assert [own["parameters"] for own in one[:6]] == [own["parameters"] for own in other[:6]]
    assert [own["parameters"] for own in one[12:]] != [own["parameters"] for own in other[12:]]


def test_searches_of_a_loss_differ_and_rounds_do_not_repeat(tmp_path: Path) -> None:
    planned = tuning(tmp_path, studies=3, sampler="random")
    asked = [carried_out(search, planned, bowl) for search in planned.searches]
    points = [
        str(own["parameters"]) for trials in asked for own in trials if own["origin"] == "sampler"
    ]
    assert len(set(points)) == len(points)
    seeds = [search.seeds for search in planned.searches]
    assert seeds == [(1000,), (1001,), (1002,)]


def test_the_papers_default_is_trial_0_and_presets_are_next(tmp_path: Path) -> None:
    planned = tuning(tmp_path, {"cosface": {}, "softmax": {}}, trials=8, rounds=2)
    cosface, softmax = (carried_out(s, planned, lambda _: [0.5]) for s in planned.searches)
    assert [own["origin"] for own in cosface[:5]] == [
        "default",
        "preset am_softmax",
        "preset insightface",
        "preset facex_zoo",
        "sampler",
    ]
    assert cosface[0]["parameters"] == {
        "margin": 0.35,
        "scale": 64,
        "learning_rate": 0.1,
        "weight_decay": 0.0005,
    }
    assert cosface[1]["parameters"] | {"scale": 64} == cosface[0]["parameters"]
    assert [own["origin"] for own in softmax] == ["default"] + ["sampler"] * 7
    assert set(softmax[3]["parameters"]) == {"learning_rate", "weight_decay"}


def test_a_default_outside_of_the_range_is_tried_and_not_told(tmp_path: Path) -> None:
    """Optuna could not hold it; the other trials are told as ever."""
    planned = tuning(tmp_path, {"cosine_over_ten": {}})  # scale 1, searched from 4 on
    (search,) = planned.searches
    trials = carried_out(search, planned, lambda point: [point["scale"]])
    assert trials[0]["parameters"]["scale"] == 1
    assert all(4 <= own["parameters"]["scale"] <= 128 for own in trials[1:])


def test_failed_trials_are_told_and_searching_goes_on(tmp_path: Path) -> None:
    planned = tuning(tmp_path, trials=24, rounds=6)
    (search,) = planned.searches
    trials = carried_out(
        search, planned, lambda point: None if point["scale"] > 16 else bowl(point)
    )
    assert any(own["status"] == "failed" for own in trials)
    assert len(trials) == 24
    every = carried_out(search, planned, lambda _: None)
    assert len({str(own["parameters"]) for own in every}) == 24


def test_stopped_trials_are_told_at_their_last_rung(tmp_path: Path) -> None:
    """Where all good trials stopped early, what they had still pulls the sampler."""
    planned = tuning(tmp_path, {"softmax": {}}, trials=40, rounds=2, sampler="tpe")
    (search,) = planned.searches

    def asked(low_is_good: bool) -> float:
        trials = carried_out(search, planned, lambda _: [0.5], rounds=1)
        for own in trials:  # a complete one would stand before all of them
            rate = math.log(own["parameters"]["learning_rate"])
            own |= {"status": "stopped", "values": None}
            own["rungs"] = [{"epoch": 1, "values": [rate if low_is_good else -rate]}]
        points = [point for _, point in propose(search, planned, trials, 1)]
        return sum(math.log10(point["learning_rate"]) for point in points) / len(points)

    assert asked(True) < -1.1 < -0.9 < asked(False)


def test_ranges_are_extended_once_half_way_where_the_best_lies_on_an_end(tmp_path: Path) -> None:
    planned = tuning(tmp_path, trials=24, rounds=6, extend_bounds=True)
    (search,) = planned.searches

    def edge(point: dict[str, float]) -> list[float]:
        return [point["margin"] - point["learning_rate"]]  # low margin, high learning rate

    trials = carried_out(search, planned, edge, rounds=3)
    before = current_axes(search, planned, trials[:8], 2)
    assert before == list(search.axes)
    trials[5]["parameters"] |= {"margin": 0.001, "learning_rate": 0.99}
    trials[5]["values"] = [-5.0]
    margin, scale, rate, decay = current_axes(search, planned, trials, 3)
    assert (margin.low, margin.high) == (0.0, 0.8)  # the legal bound
    assert (rate.low, rate.high) == (0.01, pytest.approx(10))  # half of two decades more
    assert [scale, decay] == [search.axes[1], search.axes[3]]
    assert current_axes(search, planned, trials, 5) == [margin, scale, rate, decay]
    later = [point["learning_rate"] for _, point in propose(search, planned, trials[:12], 3)]
    assert all(0.01 <= value <= rate.high for value in later)


def test_points_that_a_loss_refuses_are_asked_again(tmp_path: Path) -> None:
    ranges = {"search": {"l_a": [5, 60], "u_a": [20, 80]}}  # l_a has to be below u_a
    planned = tuning(
        tmp_path, {"magface": {}}, losses={"magface": ranges}, trials=16, rounds=2, sampler="random"
    )
    (search,) = planned.searches
    trials = carried_out(search, planned, lambda _: [0.5])
    assert len(trials) == 16
    assert all(own["parameters"]["l_a"] < own["parameters"]["u_a"] for own in trials)
    never = tuning(
        tmp_path,
        {"magface": {}},
        losses={"magface": {"search": {"l_a": [60, 70], "u_a": [20, 50]}}},
        sampler="random",
    )
    with pytest.raises(ConfigError, match="no point of the ranges is allowed"):
        carried_out(never.searches[0], never, lambda _: [0.5])


def test_importance_finds_the_parameter_that_matters(tmp_path: Path) -> None:
    planned = tuning(tmp_path, trials=40, rounds=1, sampler="random")
    (search,) = planned.searches
    trials = carried_out(search, planned, lambda point: [abs(math.log(point["scale"] / 20))])
    found = importance(planned, search.axes, trials)
    assert found is not None
    assert sum(found.values()) == pytest.approx(1)
    assert found["scale"] > 0.6
    assert importance(planned, search.axes, trials[:5]) is None
    assert importance(planned, search.axes, carried_out(search, planned, lambda _: [0.5])) is None


def test_the_journal_is_read_by_optuna(tmp_path: Path) -> None:
    planned = tuning(tmp_path, objective=TWO, studies=2)
    searches = []
    for search in planned.searches:
        trials = carried_out(search, planned, lambda p: None if p["scale"] > 60 else two(p))
        spans = [axis.to_json() for axis in search.axes]
        searches.append({"id": search.id, "space": spans, "trials": trials})
    ways = zip(planned.objectives, planned.directions, strict=True)
    found = {"objectives": [{"metric": m, "direction": d} for m, d in ways], "searches": searches}
    path = tmp_path / "optuna.journal"
    for _ in range(2):  # the second takes the place of the first
        export(path, found)
    assert [item.name for item in tmp_path.glob("*journal*")] == ["optuna.journal"]
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    assert {study.study_name for study in storage.get_all_studies()} == {
        s.id for s in planned.searches
    }
    for own in searches:
        study = optuna.load_study(study_name=own["id"], storage=storage)
        assert study.metric_names == planned.objectives
        assert [way.name.lower() for way in study.directions] == planned.directions
        assert [t.values for t in study.trials] == [t["values"] for t in own["trials"]]
        assert [t.params for t in study.trials] == [t["parameters"] for t in own["trials"]]
        states = {"complete": "COMPLETE", "failed": "FAIL"}
        assert [t.state.name for t in study.trials] == [states[t["status"]] for t in own["trials"]]


@pytest.mark.parametrize(
    ("axis", "value", "side"),
    [
        (Axis("x", "loss", 0.0, 1.0, log=False), 0.015, "low"),
        (Axis("x", "loss", 0.0, 1.0, log=False), 0.03, None),
        (Axis("x", "loss", 0.0, 1.0, log=False), 0.99, "high"),
        (Axis("x", "loss", 1.0, 10000.0, log=True), 1.1, "low"),
        (Axis("x", "loss", 1.0, 10000.0, log=True), 150.0, None),
        (Axis("x", "loss", 1.0, 10000.0, log=True), 9000.0, "high"),
        (Axis("x", "loss", 1.0, 10000.0, log=True), 0.0, "low"),  # a default that has no logarithm
    ],
)
def test_what_lies_on_a_bound(axis: Axis, value: float, side: str | None) -> None:
    assert axis.bound(value) == side
