"""What a study file may say about tuning, and what it costs: refused whole, in words that say how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as cli
from benchmarks.errors import ConfigError
from benchmarks.study import Study, load
from losses import catalog
from tests.benchmarks import study_file

SPLIT = {"seed": 0, "known_validation": 2}
TUNE = {"trials": 4, "rounds": 2}


def written(folder: Path, **changes: Any) -> Path:
    changes = {"split": SPLIT, "tune": TUNE, **changes}
    if isinstance(changes["tune"], dict):
        changes["tune"] = {**TUNE, **changes["tune"]}
    return study_file.write(folder, **changes)


def planned(folder: Path, **changes: Any) -> Study:
    return load(written(folder, **changes))


# What is changed in a good study, and what the message must hold.
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"tune": {"trial": 3}}, ["tune.trial: unknown key", "did you mean 'trials'?"]),
    "not a mapping": ({"tune": "tpe"}, ["tune: 'tpe' is not allowed", "a mapping"]),
    "no trials": ({"tune": {"trials": 0}}, ["tune.trials: 0"]),
    "more rounds than trials": ({"tune": {"rounds": 5}}, ["tune.rounds: 5 is more than tune.trials = 4"]),
    "unknown objective": (
        {"tune": {"objective": "verification/err"}},
        ["'verification/err' is no metric", "did you mean 'verification/eer'?", "allowed: auto, closed_set/top1"],
    ),
    "objective of a protocol that is not asked for": (
        {"tune": {"objective": "retrieval/map_at_r"}, "evaluate": {"protocols": ["verification"]}},
        ["'retrieval/map_at_r' is no metric"],
    ),
    "objective at a rate that is not asked for": (
        {"tune": {"objective": "verification/tar_at_far_1e-05"}},
        ["tar_at_far_1e-05", "did you mean 'verification/tar_at_far_1e-0"],
    ),
    "one objective of two": (
        {"tune": {"objective": ["verification/eer", "speed"]}},
        ["'speed' is no metric that a search can aim at"],
    ),
    "objective without its images": (
        {"tune": {"objective": "closed_set/ncm_top1"}, "split": {"seed": 0}},
        ["'closed_set/ncm_top1' needs validation images of known classes", "split.known_validation"],
    ),
    "objective without unseen classes": (
        {"tune": {"objective": "verification/eer"}, "split": {**SPLIT, "unknown_validation": 0}},
        ["needs validation classes that training does not see", "split.unknown_validation"],
    ),
    "nothing to aim at": (
        {"split": {"seed": 0, "unknown_validation": 0}},
        ["'auto' finds nothing to aim at", "split.unknown_validation or split.known_validation"],
    ),
    "a classifier's objective for an embedding loss": (
        {"tune": {"objective": "closed_set/top1"}, "losses": {"arcface": {}, "triplet": {}}},
        ["'closed_set/top1' needs a classifier, which triplet has not", "closed_set/ncm_top1"],
    ),
    "a sampler that forgets": (
        {"tune": {"sampler": "nsga2"}},
        ["'nsga2' is refused", "forgets everything when a study is rebuilt", "tpe, gp, qmc, random"],
    ),
    "unknown sampler": ({"tune": {"sampler": "tp"}}, ["'tp' is not allowed", "did you mean 'tpe'?"]),
    "too few trials for the rungs": (
        {"tune": {"halving": {"rungs": 3, "factor": 2}}, "recipe": {"epochs": 8}},
        ["4 in 2 rounds are 2 a round, too few for the rungs", "at least 4 a round"],
    ),
    "too few epochs for the rungs": (
        {"tune": {"halving": {"rungs": 2, "factor": 2}}, "recipe": {"epochs": 1}},
        ["recipe.epochs = 1 is too small for the rungs", "at least 2 epochs"],
    ),
    "range outside of the legal one": (
        {"tune": {"losses": {"arcface": {"search": {"margin": [0.1, 2]}}}}},
        ["tune.losses.arcface.search.margin: [0.1, 2] is outside the legal range", "[0, 1.5708], radian"],
    ),
    "range upside down": (
        {"tune": {"losses": {"arcface": {"search": {"margin": [0.5, 0.1]}}}}},
        ["search.margin: [0.5, 0.1] is not allowed", "low below high"],
    ),
    "range of one number": (
        {"tune": {"losses": {"arcface": {"search": {"margin": 0.5}}}}},
        ["search.margin: 0.5 is not allowed", "[low, high]"],
    ),
    "range of an option": (
        {"tune": {"losses": {"arcface": {"search": {"rule": [0, 1]}}}}},
        ["arcface has no such number to search", "it has: margin, scale"],
    ),
    "range of the recipe that has no logarithm": (
        {"tune": {"recipe": {"learning_rate": [0, 1]}}},
        ["tune.recipe.learning_rate: [0, 1] is not allowed", "above 0"],
    ),
    "settings of a loss that the study has not": (
        {"tune": {"losses": {"arcfase": {}}}},
        ["tune.losses.arcfase: is not among the study's losses", "did you mean 'arcface'?"],
    ),
    "a list where one value is fixed": (
        {"tune": {"losses": {"arcface": {"margin": [0.1, 0.2]}}}},
        ["tune.losses.arcface.margin: [0.1, 0.2] is not allowed", "a range goes under `search`"],
    ),
    "a fixed value that is not legal": (
        {"tune": {"losses": {"arcface": {"margin": 3}}}},
        ["tune.losses.arcface: arcface.margin = 3"],
    ),
    "a split of each seed": (
        {"split": {"known_validation": 2}},
        ["split.seed: 'experiment' cannot be tuned", "a trial would train on those that another seed is tested on"],
    ),
    "extension without a second half": (
        {"tune": {"extend_bounds": True, "rounds": 1}},
        ["tune.extend_bounds: true needs tune.rounds >= 2"],
    ),
    "around without tuning": (
        {"losses": {"arcface": {"around": "tuned", "margin": [1, 2]}}, "tune": None},
        ["losses.arcface.around: 'tuned' needs a `tune` block"],
    ),
    "around what is not searched": (
        {"losses": {"arcface": {"around": "tuned", "margins": [1, 2]}}},
        ["losses.arcface.margins: is not searched", "did you mean 'margin'?", "margin, scale"],
    ),
    "around by a factor of nothing": (
        {"losses": {"arcface": {"around": "tuned", "margin": [0, 2]}}},
        ["losses.arcface.margin: 0 is not allowed", "above 0"],
    ),
    "around nothing": (
        {"losses": {"arcface": {"around": "tuned", "margin": []}}},
        ["losses.arcface.margin: an empty list leaves nothing to run"],
    ),
    "around one factor twice": (
        {"losses": {"arcface": {"around": "tuned", "margin": [1, 1.0]}}},
        ["losses.arcface.margin: [1, 1.0] has a factor twice"],
    ),
    "one objective twice": (
        {"tune": {"objective": ["verification/eer", "validation/verification/eer"]}},
        ["'validation/verification/eer' stands twice"],
    ),
    "ranges as a list, beside a wrong grid around": (
        {
            "losses": {"arcface": {"around": "tuned", "margins": [1]}},
            "tune": {"losses": {"arcface": {"search": [1, 2]}}},
        },
        ["tune.losses.arcface.search: [1, 2] is not allowed", "a mapping of hyper-parameters to [low, high]"],
    ),
    "a number that no float holds": ({"tune": {"recipe": {"learning_rate": [1, 10**400]}}}, ["learning_rate"]),
    "a thousand rungs": ({"tune": {"halving": {"rungs": 1000}}}, ["tune.halving.rungs: 1000"]),
    "a fixed option with which a step cannot train on some classes": (
        {
            "losses": {"curricularface": {}},
            "recipe": {"class_sampling": 0.5},
            "tune": {"losses": {"curricularface": {"gradient": "exact"}}},
        },
        ["recipe.class_sampling: 0.5, but curricularface {", "gradient: exact", "allowed for it: 1"],
    ),
    "around something else": (
        {"losses": {"arcface": {"around": "best", "margin": [1, 2]}}},
        ["losses.arcface.around: 'best' is not allowed", "'tuned'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_tuning_is_refused(name: str, tmp_path: Path) -> None:
    changes, wanted = BAD[name]
    if changes.get("tune", {}) is None:
        path = study_file.write(
            tmp_path, **{k: v for k, v in changes.items() if k != "tune"}, split=SPLIT
        )
    else:
        path = written(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load(path)
    for part in wanted:
        assert part in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_an_objective_that_the_images_cannot_carry_ends_before_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(
        tmp_path,
        tune={"objective": "identification/tpir_at_fpir_1e-04"},
        evaluate={"fpirs": [1e-4]},
    )
    plan = tmp_path / "plan.json"
    assert cli.main(["plan", "--config", str(path), "--out", str(plan)]) == 0
    assert cli.main(["data", "--plan", str(plan)]) == 1
    assert "tune.objective: the validation images cannot carry it" in caplog.text
    assert "tpir_at_fpir_1e-04" in caplog.text


@pytest.mark.parametrize(
    ("classes", "known", "expected"),
    [
        (2, 2, "validation/verification/eer"),  # few classes: no rate of false accepts
        (0, 2, "validation/closed_set/ncm_top1"),
    ],
)
def test_the_objective_that_is_chosen_by_itself(
    tmp_path: Path, classes: int, known: int, expected: str
) -> None:
    split = {"seed": 0, "unknown_validation": classes, "known_validation": known}
    tuning = planned(tmp_path, split=split).tuning
    assert tuning is not None
    assert tuning.objectives == [expected]


def test_with_many_classes_it_is_a_rate_of_false_accepts(tmp_path: Path) -> None:
    tuning = planned(
        tmp_path, dataset={"name": "glyphs"}, split={"seed": 0, "unknown_validation": 20}
    ).tuning
    assert tuning is not None
    assert tuning.objectives == ["validation/verification/tar_at_far_1e-02"]


def test_every_loss_of_the_catalog_is_tuned_with_the_same_freedom(tmp_path: Path) -> None:
    """Trials, seeds and the recipe's ranges are equal; each has its own numbers beside."""
    study = planned(tmp_path, losses={name: {} for name in catalog.names()}, tune={"studies": 2})
    tuning = study.tuning
    assert tuning is not None
    assert len(tuning.searches) == 2 * len(catalog.names())
    for search in tuning.searches:
        own = [axis for axis in search.axes if axis.of == "loss"]
        assert [axis.name for axis in own] == [
            row.name for row in catalog.search_space(search.loss)
        ]
        shared = [(axis.name, axis.low, axis.high) for axis in search.axes if axis.of == "recipe"]
        assert shared == [("learning_rate", 0.01, 1.0), ("weight_decay", 5e-05, 0.005)]
        assert search.seeds == (999 + search.study,)
        assert search.start[0][0] == "default"
        assert len(search.start) <= 2
        # The default of the catalog, unchanged, also where it lies outside of what is searched.
        first = search.experiment(search.start[0][1], 0)
        assert first.loss["hyperparameters"] == catalog.resolve(search.loss)
        assert first in study.experiments


def test_a_value_may_be_fixed_or_only_the_start(tmp_path: Path) -> None:
    tune = {"losses": {"arcface": {"scale": 16, "margin": 0.2, "search": {"margin": [0.1, 0.4]}}}}
    tuning = planned(tmp_path, tune=tune).tuning
    assert tuning is not None
    (search,) = tuning.searches
    margin, rate, _ = search.axes
    assert (margin.name, margin.low, margin.high) == ("margin", 0.1, 0.4)
    assert rate.name == "learning_rate"
    assert search.start[0][1]["margin"] == 0.2
    hyper = search.experiment({**search.start[0][1], "margin": 0.3}, 0).loss["hyperparameters"]
    assert (hyper["scale"], hyper["margin"]) == (16, 0.3)


def test_a_search_is_named_by_what_decides_it(tmp_path: Path) -> None:
    def ids(**changes: Any) -> list[str]:
        tuning = planned(tmp_path, **changes).tuning
        assert tuning is not None
        return [search.id for search in tuning.searches]

    first = ids()
    assert first == ids(stack_size=1, title="other", seeds=3, tracking={"uri": "sqlite:///x.db"})
    assert first == ids(tune={"studies": 2})[:1]
    assert first == ids(losses={"arcface": {}, "softmax": {}})[:1]
    assert first == ids(evaluate={"resamples": 5})
    for changes in (
        {"tune": {"trials": 5}},
        {"tune": {"rounds": 1}},
        {"tune": {"seed": 1}},
        {"tune": {"sampler": "gp"}},
        {"tune": {"objective": "retrieval/map_at_r"}},
        {"tune": {"recipe": {"learning_rate": [0.1, 1]}}},
        {"tune": {"losses": {"arcface": {"scale": 16}}}},
        {"recipe": {"learning_rate": 0.05}},
        {"split": {**SPLIT, "seed": 1}},
        {"evaluate": {"fars": [0.01]}},
    ):
        assert ids(**changes) != first, changes


def test_the_command_line_changes_single_keys_of_it(tmp_path: Path) -> None:
    own = {"arcface": {"scale": 16}, "triplet": {"soft_margin": False}}
    path = written(tmp_path, losses={"arcface": {}, "triplet": {}}, tune={"losses": own})
    changed = load(path, {"tune": {"trials": 6, "losses": {"arcface": {"scale": 32}}}}).config[
        "tune"
    ]
    assert changed["trials"] == 6
    assert changed["losses"] == {**own, "arcface": {"scale": 32}}
    plain = load(path, {"tune": None})
    assert plain.tuning is None
    assert "tune" not in plain.config


def test_one_number_is_written_in_one_way(tmp_path: Path) -> None:
    first, second = (
        planned(tmp_path, recipe={"learning_rate": rate, "weight_decay": decay}).tuning
        for rate, decay in ((1, 0.0005), (1.0, 5e-4))
    )
    assert first is not None
    assert second is not None
    (one,), (other,) = first.searches, second.searches
    assert repr((one.id, one.axes, one.start)) == repr((other.id, other.axes, other.start))


def test_trials_have_other_seeds_than_the_winners(tmp_path: Path) -> None:
    tuning = planned(tmp_path, seeds=[0, 1004, 2], tune={"studies": 2, "seeds_per_trial": 2}).tuning
    assert tuning is not None
    assert [search.seeds for search in tuning.searches] == [(1005, 1006), (1007, 1008)]


def test_the_commands_say_what_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain, plan = study_file.write(tmp_path), tmp_path / "plan.json"
    cli.main(["plan", "--config", str(plain), "--out", str(plan)])
    for command in ("tune", "winners"):
        assert cli.main([command, "--plan", str(plan)]) == 1
        assert "this study is not tuned; its config has no `tune` block" in caplog.text
    cli.main(["plan", "--config", str(written(tmp_path)), "--out", str(plan)])
    for arguments, message in (
        (["tune", "--lane", "x", "--round", "0"], "lane 'x' is not in the plan; it has "),
        (["tune", "--lane", "x"], "--lane and --round are given together"),
        (["tune", "--lane", "x", "--round", "2"], "this study has rounds 0 to 1"),
        (["winners"], "round-0.json: is missing; python -m benchmarks tune --plan "),
    ):
        caplog.clear()
        assert cli.main([*arguments, "--plan", str(plan)]) == 1
        assert message in caplog.text
