"""The figures of tuning: what stands in their CSVs, by hand; drawn for every kind of study; drawn
again from the CSV alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from losses import catalog
from reports.collect import Study
from reports.figures import FIGURES, Saved, redraw, save
from reports.figures.style import SLOTS, styled
from reports.figures.tuning.axes import BELOW, ends, place, spread, ticks
from reports.figures.tuning.budget import over_searches
from reports.figures.tuning.frames import best_so_far, files, non_dominated, trials
from reports.selection import Selection

EER, TOP1 = "validation/verification/eer", "validation/closed_set/top1"
SELECTION = Selection([], None, "")
TUNING = [family for family in FIGURES if family.prefix.startswith("tuning_")]
NAN = float("nan")


def axis(name: str, low: float, high: float, log: bool = False, of: str = "loss") -> dict[str, Any]:
    """One parameter of a search space."""
    return {"name": name, "of": of, "low": low, "high": high, "log": log, "whole": False} | {
        "legal_low": None,
        "legal_high": None,
        "start_low": low,
        "start_high": high,
    }


RECIPE = (
    axis("learning_rate", 1e-3, 1.0, True, "recipe"),
    axis("weight_decay", 1e-5, 1e-2, True, "recipe"),
)


def trial(
    number: int, values: Sequence[float] | None, parameters: dict[str, float], **other: Any
) -> dict[str, Any]:
    """One trial; complete unless it has no values or says otherwise."""
    names = (EER, TOP1)
    return {
        "number": number,
        "round": 0,
        "origin": "default" if number == 0 else "sampler",
        "parameters": parameters,
        "status": "failed" if values is None else "complete",
        "reason": None,
        "values": None if values is None else list(values),
        "rungs": [],
        "epochs": 5,
        "images": 1000,
        "runs": [],
        "metrics": {} if values is None else dict(zip(names, values, strict=False)),
        "seconds": 1.0,
        "diverged": values is None,
    } | other


def search(
    loss: str, study: int, tried: list[dict[str, Any]], space: Sequence[Any] = RECIPE, **other: Any
) -> dict[str, Any]:
    """One search; the winner is the trial with the least first value."""
    known = [each for each in tried if each["values"] and each["status"] == "complete"]
    winner = min(known, key=lambda each: each["values"][0])["number"] if known else None
    return {
        "id": f"{loss}-{study}-0a1b2c3d4e",
        "loss": loss,
        "study": study,
        "fixed": {},
        "seeds": [1000],
        "space": list(space),
        "trials": tried,
        "winner": winner,
        "reason": None if known else "no trial has a value",
        "front": [winner] if known else [],
        "importance": None,
        "at_bound": {},
    } | other


def study_of(
    found: list[dict[str, Any]],
    objectives: Sequence[tuple[str, str]] = ((EER, "minimize"),),
    halving: bool = False,
) -> Study:
    """A study that is nothing but its searches."""
    plan = {
        "tuning": {
            "objectives": [{"metric": name, "direction": way} for name, way in objectives],
            "sampler": "tpe",
            "trials": max(len(own["trials"]) for own in found) if found else 0,
            "halving": {"rungs": 3, "factor": 2} if halving else None,
            "searches": found,
        }
    }
    losses = dict.fromkeys(own["loss"] for own in found)
    empty = pd.DataFrame()
    return Study(plan, Path(), empty, (), (), {loss: [] for loss in losses}, empty, empty)


def fabricated(
    losses: Sequence[str], searches: int, count: int, halving: bool = False, aims: int = 1
) -> Study:
    """Searches of catalog losses whose quality is smooth in the parameters, with noise, failures,
    trials stopped early and the default as trial 0.
    """
    found = []
    for place_, loss in enumerate(losses):
        free = catalog.search_space(loss)
        space = [
            axis(row.name, float(row.search_low or 0), float(row.search_high or 1), row.log)
            for row in free
        ] + list(RECIPE)
        for number in range(1, searches + 1):
            rng = np.random.default_rng([place_, number])
            usual = {row.name: float(row.default) for row in free}
            usual |= {"learning_rate": 0.1, "weight_decay": 5e-4}
            tried = [
                _fabricated_trial(space, usual, rng, i, count, place_, halving, aims)
                for i in range(count)
            ]
            shares = rng.dirichlet(np.ones(len(space)))
            importance = dict(zip([own["name"] for own in space], map(float, shares), strict=True))
            found.append(search(loss, number, tried, space, importance=importance))
    ways = ((EER, "minimize"), (TOP1, "maximize"))
    return study_of(found, ways[:aims], halving)


def _fabricated_trial(
    space: Sequence[dict[str, Any]],
    usual: dict[str, float],
    rng: np.random.Generator,
    number: int,
    count: int,
    hardness: int,
    halving: bool,
    aims: int,
) -> dict[str, Any]:
    parameters = dict(usual)
    cost, better = 0.0, number / count
    for own in space:
        where = (1 - better) * rng.uniform() + better * np.clip(rng.normal(0.6, 0.15), 0, 1)
        low, high = own["low"], own["high"]
        value = low * (high / low) ** where if own["log"] else low + (high - low) * where
        if number:
            parameters[own["name"]] = float(value)
        here = float(place([parameters[own["name"]]], low, high, own["log"])[0])
        cost += (here - 0.6) ** 2
    eer = 0.03 + 0.0015 * hardness + 0.08 * cost + 0.002 * rng.standard_normal()
    top1 = 0.99 - 0.002 * hardness - 0.1 * abs(cost - 0.1) + 0.005 * rng.standard_normal()
    values = [max(1e-3, float(eer)), min(1.0, float(top1))]
    if number and rng.uniform() < 0.06:
        return trial(number, None, parameters, images=200)
    made = trial(
        number, values[:aims], parameters, metrics=dict(zip((EER, TOP1), values, strict=True))
    )
    if halving:
        made["rungs"] = [{"epoch": 1, "values": [2 * v for v in values[:aims]]}]
        if number and cost > 0.25:
            made |= {"status": "stopped", "values": None, "images": 200}
    return made


def drawn(study: Study, folder: Path) -> list[Saved]:
    """Every figure of tuning that the study has."""
    return [
        save(name, frame, folder)
        for family in TUNING
        for name, frame in family.gather(study, SELECTION)
    ]


def frames(study: Study, prefix: str) -> dict[str, pd.DataFrame]:
    """Name to frame of one family's figures."""
    family = next(each for each in TUNING if each.prefix == prefix)
    return dict(family.gather(study, SELECTION))


def by_hand() -> Study:
    """Two losses; arcface with two searches, a failed default, a stopped trial."""
    space = (axis("margin", 0.0, 0.8), axis("scale", 4.0, 64.0, True), *RECIPE)

    def point(margin: float, scale: float) -> dict[str, float]:
        return {"margin": margin, "scale": scale, "learning_rate": 0.1, "weight_decay": 0.0}

    stopped = {"status": "stopped", "images": 250, "rungs": [{"epoch": 1, "values": [0.2]}]}
    first = [
        trial(0, None, point(0.5, 64.0), images=100),
        trial(1, [0.08], point(0.4, 16.0)),
        trial(2, None, point(0.9, 16.0), **stopped),
        trial(3, [0.05], point(0.0, 4.0), origin="preset am_softmax"),
    ]
    second = [trial(i, [v], point(0.1 * i, 8.0)) for i, v in enumerate((0.1, 0.06, 0.07, 0.09))]
    plain = {"learning_rate": 0.1, "weight_decay": 5e-4}
    softmax = [trial(i, [v], plain) for i, v in enumerate((0.09, 0.09, 0.12, 0.03))]
    shares = {"margin": 0.25, "scale": 0.5, "learning_rate": 0.125, "weight_decay": 0.125}
    other = {"margin": 0.75, "scale": 0.25, "learning_rate": 0.0, "weight_decay": 0.0}
    return study_of(
        [
            search("arcface", 2, second, space, importance=other),
            search("arcface", 1, first, space, importance=shares),
            search("softmax", 1, softmax),
        ],
        halving=True,
    )


def test_trials_in_order_with_what_each_was_worth_and_cost() -> None:
    frame = trials(by_hand())
    assert frame["search"].tolist() == [1] * 4 + [2] * 4 + [1] * 4
    own = frame.iloc[:4]
    np.testing.assert_equal(own["value"].tolist(), [NAN, 0.08, NAN, 0.05])
    np.testing.assert_equal(own["seen"].tolist(), [NAN, 0.08, 0.2, 0.05])
    np.testing.assert_equal(own["best"].tolist(), [NAN, 0.08, 0.08, 0.05])
    assert own["images"].tolist() == [100, 1100, 1350, 2350]
    assert own["origin"].tolist() == ["default", "sampler", "sampler", "preset"]
    assert own["default"].tolist() == [True, False, False, False]
    assert own["winner"].tolist() == [False, False, False, True]
    assert frame["slot"].tolist() == [SLOTS["arcface"]] * 8 + [SLOTS["softmax"]] * 4


def test_best_so_far_by_both_directions() -> None:
    values = [NAN, 3.0, 5.0, NAN, 2.0, 7.0]
    np.testing.assert_equal(best_so_far(values, lower=True), [NAN, 3, 3, 3, 2, 2])
    np.testing.assert_equal(best_so_far(values, lower=False), [NAN, 3, 5, 5, 5, 7])


def test_budget_holds_each_search_and_means_them_where_all_have_a_value() -> None:
    frame = frames(by_hand(), "tuning_budget")["tuning_budget"]
    arcface = frame[frame["loss"] == "arcface"]
    assert arcface["budget"].tolist() == [1, 2, 3, 4] * 2
    lines = [own for _, own in arcface.groupby("search")]
    by_trials = over_searches(lines, "budget")
    # Search 1: -, 8, 8, 5; search 2: 10, 6, 6, 6.
    assert by_trials["x"].tolist() == [2, 3, 4]
    assert by_trials["mean"].tolist() == pytest.approx([0.07, 0.07, 0.055])
    assert by_trials["low"].tolist() == pytest.approx([0.06, 0.06, 0.05])
    assert by_trials["high"].tolist() == pytest.approx([0.08, 0.08, 0.06])
    by_images = over_searches(lines, "images").set_index("x")
    # At 1,100 images search 1 has 8 and search 2, at its first 1,000, still 10.
    assert by_images.loc[1100, "mean"] == pytest.approx(0.09)
    assert by_images.loc[2350, "mean"] == pytest.approx(0.055)
    assert 1000 not in by_images.index  # search 1 has no value yet


def test_budget_leaves_out_a_search_without_any_value() -> None:
    lines = [pd.DataFrame({"budget": [1, 2], "best": best}) for best in ([NAN, NAN], [0.2, 0.1])]
    assert over_searches(lines, "budget")["mean"].tolist() == [0.2, 0.1]
    assert len(over_searches(lines[:1], "budget")) == 0


def test_budget_says_what_is_not_in_it() -> None:
    plain = {"learning_rate": 0.1, "weight_decay": 5e-4}
    found = [search(loss, 2, [trial(0, None, plain)]) for loss in ("cosface", "arcface")]
    found += [search("cosface", 1, [trial(0, [0.1], plain)])]
    family = next(each for each in TUNING if each.prefix == "tuning_budget")
    with styled():
        caption = family.draw(frames(study_of(found), "tuning_budget")["tuning_budget"]).caption
    assert "Without any value: ArcFace. Not in the means: 1 search without any value." in caption


def test_images_stand_in_the_budget_only_where_trials_are_stopped() -> None:
    without = fabricated(["softmax"], 1, 5)
    assert frames(without, "tuning_budget")["tuning_budget"]["images"].isna().all()
    with styled():
        for study, panels in ((without, 1), (by_hand(), 2)):
            family = next(each for each in TUNING if each.prefix == "tuning_budget")
            (frame,) = frames(study, "tuning_budget").values()
            assert len(family.draw(frame).figure.axes) == panels


def test_the_front_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    for lower in itertools.product((True, False), repeat=2):
        points = rng.integers(0, 12, (60, 2)).astype(float)  # with ties and doubles
        points[3] = [NAN, 0]
        sign = np.where(lower, 1, -1)
        cost = points * sign
        truth = [
            not any(
                all(other <= own) and any(other < own)
                for other in cost
                if not np.isnan(other).any()
            )
            and not np.isnan(own).any()
            for own in cost
        ]
        assert non_dominated(points, lower).tolist() == truth
        assert 0 < sum(truth) < 60


def test_pareto_of_two_objectives_and_of_metrics_of_one() -> None:
    plain = {"learning_rate": 0.1, "weight_decay": 5e-4}
    pairs = {
        "softmax": [(0.10, 0.90), (0.08, 0.88), (0.09, 0.87), (0.08, 0.86)],
        "arcface": [(0.05, 0.89), (0.05, 0.91), (0.20, 0.95)],
    }
    ways = ((EER, "minimize"), (TOP1, "maximize"))
    for aims in (1, 2):
        found = [
            search(
                loss,
                1,
                [
                    trial(i, pair[:aims], plain, metrics=dict(zip((EER, TOP1), pair, strict=True)))
                    for i, pair in enumerate(mine)
                ],
            )
            for loss, mine in pairs.items()
        ]
        named = frames(study_of(found, ways[:aims]), "tuning_pareto")
        assert list(named) == ["tuning_pareto", "tuning_pareto-losses"]
        frame = named["tuning_pareto"]
        across, up = (EER, TOP1) if aims == 2 else (TOP1, EER)
        assert (frame["x_metric"].iloc[0], frame["y_metric"].iloc[0]) == (across, up)
        assert frame["x_lower"].iloc[0] == (aims == 2)
        assert frame["front"].tolist() == [True, True, False, False, False, True, True]
        assert frame["joint"].tolist() == [False] * 5 + [True, True]
        family = next(each for each in TUNING if each.prefix == "tuning_pareto")
        with styled():
            drawing = family.draw(frame)
        assert ("found afterwards" in drawing.caption) == (aims == 1)
        ax = drawing.figure.axes[0]
        assert ax.xaxis_inverted() == (aims == 2)  # a small EER is at the right, or up
        assert ax.yaxis_inverted() == (aims == 1)


def test_without_a_second_metric_there_is_no_front() -> None:
    plain = {"learning_rate": 0.1, "weight_decay": 5e-4}
    lone = [trial(0, [0.1], plain, metrics={EER: 0.1}), trial(1, [0.2], plain, metrics={EER: 0.2})]
    assert not frames(study_of([search("softmax", 1, lone)]), "tuning_pareto")


def test_fronts_use_the_closed_metric_that_every_loss_has() -> None:
    ncm = "validation/closed_set/ncm_top1"
    plain = {"learning_rate": 0.1, "weight_decay": 5e-4}
    both = trial(0, [0.1], plain, metrics={EER: 0.1, TOP1: 0.9, ncm: 0.8})
    triplet = trial(0, [0.1], plain, metrics={EER: 0.1, ncm: 0.7})
    study = study_of([search("softmax", 1, [both]), search("triplet", 1, [triplet])])
    frame = frames(study, "tuning_pareto")["tuning_pareto"]
    assert frame["x_metric"].unique().tolist() == [ncm]
    assert frame["x"].tolist() == [0.8, 0.7]


def test_importance_is_the_mean_over_searches() -> None:
    frame = frames(by_hand(), "tuning_importance")["tuning_importance"]
    own = frame[frame["loss"] == "arcface"].set_index("parameter")
    assert own["mean"].to_dict() == {
        "margin": 0.5,
        "scale": 0.375,
        "learning_rate": 0.0625,
        "weight_decay": 0.0625,
    }
    assert (own.loc["margin", "low"], own.loc["margin", "high"], own.loc["margin", "n"]) == (
        0.25,
        0.75,
        2,
    )
    assert set(frame.loc[frame["loss"] == "softmax", "parameter"]) == {
        "learning_rate",
        "weight_decay",
    }
    assert frame.loc[frame["loss"] == "softmax", "mean"].isna().all()
    assert (frame["column"] == frame["parameter"]).all()


def test_of_many_parameters_those_of_one_loss_share_columns() -> None:
    names = list(catalog.names())
    frame = frames(fabricated(names, 1, 3), "tuning_importance")["tuning_importance"]
    assert not frame.duplicated(["loss", "column"]).any()
    shared = frame.groupby("parameter")["loss"].nunique() > 1
    own = frame[~frame["parameter"].map(shared)]
    assert own["column"].str.startswith("only this loss's ").all()
    assert (frame["column"] == frame["parameter"]).sum() == len(frame) - len(own)


def test_contour_takes_margin_and_scale_else_the_most_important() -> None:
    frame = frames(by_hand(), "tuning_contour")["tuning_contour"]
    first = frame.drop_duplicates("loss").set_index("loss")
    assert first.loc["arcface", ["y_name", "x_name"]].tolist() == ["margin", "scale"]
    assert first.loc["arcface", ["x_low", "x_high", "x_log"]].tolist() == [4.0, 64.0, True]
    own = frame[(frame["loss"] == "arcface") & (frame["search"] == 1)]
    assert own["y"].tolist() == [0.5, 0.4, 0.9, 0.0]
    assert own["x"].tolist() == [64.0, 16.0, 16.0, 4.0]
    tried = [trial(i, [0.1], {"a": 1.0, "b": 2.0, "c": 3.0}) for i in range(2)]
    space = [axis(name, 0.0, 4.0) for name in "abc"]
    weights = [{"a": 0.2, "b": 0.1, "c": 0.7}, {"a": 0.2, "b": 0.7, "c": 0.1}]
    study = study_of(
        [search("oim", i + 1, tried, space, importance=own) for i, own in enumerate(weights)]
    )
    (pair,) = frames(study, "tuning_contour").values()  # both searches: a 0.4, b 0.8, c 0.8
    assert (pair["y_name"].iloc[0], pair["x_name"].iloc[0]) == ("b", "c")
    lone = study_of([search("oim", 1, tried, space[:1])])
    assert not frames(lone, "tuning_contour")


def test_contour_shows_the_widest_range_of_the_searches_and_the_bounds_at_0_and_1() -> None:
    tried = [trial(i, [0.1 + i], {"margin": 0.1 * i, "scale": 2.0**i}) for i in range(3)]
    spaces = (
        [axis("margin", 0, 0.8), axis("scale", 4, 64, True)],
        [axis("margin", 0, 1.2), axis("scale", 2, 64, True)],
    )
    study = study_of([search("arcface", i + 1, tried, space) for i, space in enumerate(spaces)])
    (frame,) = frames(study, "tuning_contour").values()
    assert frame[["y_low", "y_high", "x_low", "x_high"]].drop_duplicates().values.tolist() == [
        [0, 1.2, 2, 64]
    ]
    family = next(each for each in TUNING if each.prefix == "tuning_contour")
    with styled():
        ax = family.draw(frame).figure.axes[0]
    box = ax.patches[0].get_bbox()
    assert (box.x0, box.y0, box.x1, box.y1) == (0, 0, 1, 1)
    points = np.asarray(ax.collections[0].get_offsets())
    # The scale 1 of the first trial lies a fifth of the range below it: log2 of 2 to 64 is 5 long.
    assert points[:3, 0] == pytest.approx([-0.2, 0.0, 0.2])
    assert points[:3, 1] == pytest.approx([0, 0.1 / 1.2, 0.2 / 1.2])
    assert ax.get_xlim()[0] < -0.2


def test_surface_only_from_eight_places_on() -> None:
    family = next(each for each in TUNING if each.prefix == "tuning_contour")
    space = [axis("margin", 0, 1), axis("scale", 0, 1)]
    rng = np.random.default_rng(0)

    def surfaces(count: int, constant: bool = False, line: bool = False) -> int:
        tried = [
            trial(i, [0.1 if constant else u], {"margin": v, "scale": v if line else u})
            for i, (u, v) in enumerate(rng.uniform(size=(count, 2)).tolist())
        ]
        (frame,) = frames(study_of([search("arcface", 1, tried, space)]), "tuning_contour").values()
        with styled():
            ax = family.draw(frame).figure.axes[0]
        return sum(type(each).__name__ == "TriContourSet" for each in ax.collections)

    assert surfaces(7) == 0
    assert surfaces(8) == 1
    assert surfaces(20, constant=True) == 0
    assert surfaces(20, line=True) == 0


def test_parallel_lines_run_over_every_parameter() -> None:
    frame = frames(by_hand(), "tuning_parallel")["tuning_parallel"]
    own = frame[(frame["loss"] == "arcface") & (frame["search"] == 1) & (frame["number"] == 3)]
    assert own["parameter"].tolist() == ["margin", "scale", "learning_rate", "weight_decay"]
    assert own["setting"].tolist() == [0.0, 4.0, 0.1, 0.0]
    family = next(each for each in TUNING if each.prefix == "tuning_parallel")
    with styled():
        ax = family.draw(frame[frame["loss"] == "arcface"]).figure.axes[0]
    lines = [line for line in ax.lines if len(line.get_xdata()) >= 4]
    whole = [np.asarray(line.get_ydata()) for line in lines if len(line.get_xdata()) == 5]
    # The winner of search 1: both bounds, two of three decades of the rate, no place for a decay 0.
    assert any(line[:4] == pytest.approx([0, 0, 2 / 3, BELOW]) for line in whole)
    # Failed and stopped trials do not reach the objective.
    assert sum(len(line.get_xdata()) == 4 for line in lines) == 2


def test_places_ticks_and_ends() -> None:
    assert place([1e-3, 1e-1, 1.0], 1e-3, 1.0, log=True) == pytest.approx([0, 2 / 3, 1])
    assert place([0.0, 0.2, 0.8, 1.2], 0.0, 0.8, log=False) == pytest.approx([0, 0.25, 1, 1.5])
    assert place([0.0, -1.0], 1e-5, 1.0, log=True).tolist() == [BELOW, BELOW]
    assert place([3.0, NAN], 3.0, 3.0, log=False).tolist()[0] == 0.5
    assert ticks(4.0, 128.0, log=True) == [10.0, 30.0, 100.0]
    assert ticks(1e-3, 1.0, log=True) == pytest.approx([1e-3, 1e-2, 1e-1, 1])
    assert all(0 <= value <= 0.8 for value in ticks(0.0, 0.8, log=False))
    assert ticks(2.0, 2.0, log=False) == [2.0]
    # One failure to learn does not set the scale, unless it has to be shown.
    low, high = ends([3.0, 4.0, 5.0, 50.0], lower=True)
    assert low < 3
    assert 5 < high < 10
    assert ends([3.0, 4.0, 5.0, 50.0], lower=True, keep=[50.0])[1] > 50
    low, high = ends([97.0, 96.0, 95.0, 10.0], lower=False)
    assert 90 < low < 95
    assert high > 97
    assert ends([NAN], lower=True) == (0.0, 1.0)
    low, high = ends([2.0, 2.0], lower=True)
    assert low < 2 < high


def test_labels_are_pulled_apart_in_their_order() -> None:
    wanted = [0.5, 0.52, 0.51, 1.4, 0.99]
    found = spread(wanted, 0.1)
    assert (np.argsort(found) == np.argsort(wanted)).all()
    assert np.diff(np.sort(found)).min() >= 0.1 - 1e-12
    assert found.max() <= 1
    crowded = np.sort(spread([0.5] * 30, 0.1))
    assert crowded == pytest.approx(np.linspace(0, 1, 30))
    assert spread([], 0.1).tolist() == []


def test_files_hold_equally_many() -> None:
    assert [(name, len(part)) for name, part in files("a", range(25), 12)] == [
        ("a-1", 9),
        ("a-2", 9),
        ("a-3", 7),
    ]
    assert [name for name, _ in files("a", range(12), 12)] == ["a"]
    assert list(files("a", [], 12)) == []


@pytest.mark.parametrize("plan", [{}, {"tuning": None}])
def test_a_study_without_tuning_has_none_of_the_figures(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    assert drawn(dataclasses.replace(by_hand(), plan=plan), tmp_path) == []


def awkward() -> dict[str, Study]:
    """Studies at the edge of what can be drawn."""
    plain = {"learning_rate": 0.1, "weight_decay": 0.0}
    lost = search("softmax", 1, [trial(i, None, plain) for i in range(3)])
    worked = search("cosface", 1, [trial(i, [0.1 * i + 0.1], plain) for i in range(3)])
    spread_ = [
        {"learning_rate": 10.0 ** -(i % 3 + 0.3), "weight_decay": 1e-4 * i} for i in range(12)
    ]
    return {
        "a search lost": study_of([lost, worked]),
        "all lost": study_of([lost]),
        "one trial": study_of([search("softmax", 1, [trial(0, [0.1, 0.9], plain)])]),
        "constant": study_of(
            [search("softmax", 1, [trial(i, [0.1, 0.9], own) for i, own in enumerate(spread_)])]
        ),
        "one point": study_of(
            [search("softmax", 1, [trial(i, [0.1 + i, 0.9], plain) for i in range(12)])]
        ),
        "zero": study_of(
            [search("softmax", 1, [trial(i, [0.0, 1.0], own) for i, own in enumerate(spread_)])]
        ),
        "no searches": study_of([]),
        "nothing to tune": study_of([search("softmax", 1, [trial(0, [0.1], {})], space=())]),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", list(awkward()))
def test_awkward_studies_are_drawn(name: str, tmp_path: Path) -> None:
    saved = drawn(awkward()[name], tmp_path)
    if name in ("all lost", "no searches"):
        assert saved == []
    else:
        assert {"tuning_budget", "tuning_history"} <= {figure.name for figure in saved}
    if name == "a search lost":
        budget = next(figure for figure in saved if figure.name == "tuning_budget")
        assert "Without any value: Softmax." in budget.caption


def test_every_figure_is_drawn_again_from_its_csv_alone(tmp_path: Path) -> None:
    names = ["softmax", "cosface", "arcface", "magface", "oim", "bag_of_tricks", "triplet"]
    saved = drawn(fabricated(names, 2, 9, halving=True, aims=2), tmp_path)
    assert [figure.name for figure in saved] == [
        "tuning_budget",
        "tuning_history",
        "tuning_importance",
        "tuning_contour",
        "tuning_parallel-1",
        "tuning_parallel-2",
        "tuning_pareto",
        "tuning_pareto-losses",
    ]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for figure in saved:
        image = matplotlib.image.imread(figure.path("png"))
        assert 0.005 < (image[..., :3].min(axis=2) < 0.9).mean() < 0.95, figure.name
        assert figure.width <= 7.0
        assert figure.caption.endswith(".")
        assert figure.alt.endswith(".")
    again = redraw(tmp_path)
    assert {figure.name: (figure.title, figure.caption, figure.alt) for figure in again} == {
        figure.name: (figure.title, figure.caption, figure.alt) for figure in saved
    }
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.pop("figures.json") is not None
    assert after == before
    assert math.isclose(max(figure.width for figure in saved), 7.0)
