"""Rounds on real training: the same bytes after a kill, in other stacks and lanes; nothing of a test image; equal budgets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import __main__ as cli
from benchmarks import data, splitting, stack
from benchmarks.errors import TrainingError
from benchmarks.evaluate import validation_metrics
from benchmarks.experiment import Experiment
from benchmarks.store import RunStore
from benchmarks.study import Study, load
from benchmarks.train import train_stack
from benchmarks.tuning import rounds
from benchmarks.tuning.rounds import Rounds, read_rounds, round_path
from benchmarks.tuning.winners import final_plan, trials_table
from datasets.splits import PART_CODES
from tests.benchmarks import study_file

SPLIT = {
    "unknown_validation": 3,
    "unknown_test": 3,
    "known_test": 460,
    "known_validation": 5,
    "seed": 0,
}
RECIPE = {"epochs": 4, "batch_size": 35, "class_learning_rate": 10}
EVALUATE = {"protocols": ["closed_set", "verification"], "fars": [0.1]}
LOSSES = {"softmax": {}, "arcface": {}}


def study(folder: Path, losses: dict[str, Any] | None = None, **tune: Any) -> Study:
    folder.mkdir(exist_ok=True)
    return load(
        study_file.write(
            folder,
            split=SPLIT,
            recipe=RECIPE,
            evaluate=EVALUATE,
            losses=losses or LOSSES,
            tune={"trials": 6, "rounds": 3, "objective": "verification/eer", **tune},
            seeds=2,
        )
    )


def tuned(planned: Study, stack_size: int = 4, numbers: range | None = None) -> Rounds:
    """Carry out these rounds (all) of all searches, each lane by itself."""
    assert planned.tuning is not None
    own = Rounds(
        planned.tuning,
        folder=planned.folder,
        results=planned.results,
        evaluate=planned.config["evaluate"],
        device="cpu",
        stack_size=stack_size,
    )
    for lane in planned.tuning.lanes:
        for number in numbers or range(planned.tuning.rounds):
            own.run(planned.tuning.members(lane), number)
    return own


def files(planned: Study) -> dict[str, bytes]:
    """All rounds by search and name."""
    found = sorted((planned.folder / "tuning").rglob("round-*.json"))
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


def trials(planned: Study, loss: str) -> list[dict[str, Any]]:
    assert planned.tuning is not None
    search = next(item for item in planned.tuning.searches if item.loss == loss)
    return read_rounds(planned.folder, search, planned.tuning.rounds, planned.tuning)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Study:
    planned = study(tmp_path_factory.mktemp("reference"))
    tuned(planned)
    return planned


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Study:
    planned = study(
        tmp_path_factory.mktemp("halved"), trials=16, rounds=2, halving={"rungs": 3, "factor": 2}
    )
    tuned(planned)
    return planned


def test_other_stacks_and_lanes_give_the_same_bytes(reference: Study, tmp_path: Path) -> None:
    other = study(tmp_path)
    assert other.tuning is not None
    together = ("all", tuple(search.id for search in other.tuning.searches))
    other = replace(other, tuning=replace(other.tuning, lanes=dict([together])))
    tuned(other, stack_size=3)
    assert files(other) == files(reference)
    assert len(files(other)) == 6


@pytest.mark.parametrize(
    "tune", [{}, {"trials": 16, "rounds": 2, "halving": {"rungs": 3, "factor": 2}}]
)
def test_a_kill_in_any_place_changes_no_byte(
    tune: dict[str, Any],
    reference: Study,
    halved: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned = study(tmp_path, **tune)
    step, kills = stack.Stack.step, 0

    def killed(every: int) -> Callable[..., Any]:
        count = 0

        def one(self: stack.Stack, *inputs: Any) -> Any:
            nonlocal count
            count += 1
            if count == every:
                raise KeyboardInterrupt
            return step(self, *inputs)

        return one

    for every in (3, 11, 17, 5, 23, 29):  # optimizer steps until the next kill
        with monkeypatch.context() as patch:
            patch.setattr(stack.Stack, "step", killed(every))
            try:
                tuned(planned)
            except KeyboardInterrupt:
                kills += 1
    tuned(planned)
    assert kills == 6
    assert files(planned) == files(halved if tune else reference)
    # And between the writing of files:
    last = sorted((planned.folder / "tuning").rglob("round-*.json"))[-1]
    last.unlink()
    tuned(planned)
    assert files(planned) == files(halved if tune else reference)


def test_a_trial_is_worth_what_its_run_says_on_validation_images(
    reference: Study, tmp_path: Path
) -> None:
    """The value of the default is that of the same experiment as an ordinary run."""
    assert reference.tuning is not None
    for search in reference.tuning.searches:
        first = trials(reference, search.loss)[0]
        item = search.experiment(first["parameters"], search.seeds[0])
        assert [item.id] == first["runs"]
        train_stack([item], results=tmp_path, device=torch.device("cpu"))
        found = validation_metrics(
            RunStore(tmp_path / "runs"), item.id, reference.config["evaluate"]
        )
        assert first["values"] == [found["validation/verification/eer"]]
        assert first["metrics"] == {
            name: value for name, value in found.items() if value is not None
        }


def test_every_loss_has_the_same_budget(reference: Study, halved: Study) -> None:
    for planned, images in ((reference, 6 * 4 * 140), (halved, 2 * (8 * 1 + 4 * 1 + 2 * 2) * 140)):
        assert planned.tuning is not None
        for search in planned.tuning.searches:
            own = read_rounds(planned.folder, search, planned.tuning.rounds, planned.tuning)
            assert len(own) == planned.tuning.settings["trials"]
            assert sum(item["images"] for item in own) == images


def test_nothing_of_a_test_image_is_in_a_trial(halved: Study) -> None:
    store = halved.results / "trials"
    folders = [path for path in store.iterdir() if (path / "embeddings.npz").exists()]
    assert len(folders) == 2 * 2 * (8 + 4 + 2)
    hidden = [PART_CODES["known_test"], PART_CODES["unknown_test"]]
    for folder in folders:
        with np.load(folder / "embeddings.npz") as arrays:
            assert not np.isin(arrays["part"], hidden).any()
            assert (arrays["part"] == PART_CODES["unknown_validation"]).any()
        assert not (folder / "model.safetensors").exists()
        assert not list(folder.glob("*.pt"))  # nobody goes on from there


def test_scrambled_test_labels_change_no_trial(
    reference: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = study(tmp_path)
    item = planned.experiments[0]
    images = splitting.load_images(item, planned.results)
    split = splitting.split_of(item, images)
    labels = np.array(images.labels)
    hidden = np.concatenate([split.known_test, split.unknown_test])
    labels[hidden] = np.random.default_rng(0).permutation(labels[hidden])
    assert (labels != images.labels).any()
    monkeypatch.setattr(data, "split_of", lambda *_: split)
    monkeypatch.setattr("benchmarks.train.load_images", lambda *_: replace(images, labels=labels))
    tuned(planned)
    assert files(planned) == files(reference)


def test_halving_keeps_the_best_and_a_survivor_is_as_if_trained_straight(
    halved: Study, tmp_path: Path
) -> None:
    for loss in LOSSES:
        own = trials(halved, loss)
        for number in range(2):
            group = [trial for trial in own if trial["round"] == number]
            assert [
                len(group),
                *(sum(len(t["rungs"]) > rung for t in group) for rung in (1, 2)),
            ] == [8, 4, 2]
            for rung in (0, 1):
                reached = [t for t in group if len(t["rungs"]) > rung]
                gone = [t["rungs"][rung]["values"] for t in reached if len(t["rungs"]) == rung + 1]
                stayed = [t["rungs"][rung]["values"] for t in reached if len(t["rungs"]) > rung + 1]
                assert max(stayed) <= min(gone)
            assert [t["status"] for t in group].count("complete") == 2
            assert all(t["values"] is None for t in group if t["status"] == "stopped")
        assert halved.tuning is not None
        search = next(item for item in halved.tuning.searches if item.loss == loss)
        best = min((t for t in own if t["values"]), key=lambda t: t["values"])
        item = search.experiment(best["parameters"], search.seeds[0])
        train_stack([item], results=tmp_path, device=torch.device("cpu"))
        found = validation_metrics(RunStore(tmp_path / "runs"), item.id, halved.config["evaluate"])
        assert best["values"] == [found["validation/verification/eer"]]


def test_several_objectives_are_promoted_by_dominance(tmp_path: Path) -> None:
    aims = ["verification/eer", "closed_set/ncm_top1"]
    planned = study(
        tmp_path,
        {"arcface": {}},
        objective=aims,
        trials=8,
        rounds=1,
        halving={"rungs": 2, "factor": 4},
    )
    tuned(planned)
    own = trials(planned, "arcface")
    first = [trial["rungs"][0]["values"] for trial in own]
    for place, trial in enumerate(own):
        if trial["status"] == "complete":
            assert not any(a < first[place][0] and b > first[place][1] for a, b in first)
    assert planned.tuning is not None
    found = final_plan(planned, planned.tuning)["tuning"]["searches"][0]
    values = {t["number"]: t["values"] for t in own if t["values"]}
    assert found["winner"] in found["front"]
    assert set(found["front"]) == {
        number
        for number, (eer, top) in values.items()
        if not any((e <= eer and t >= top) and (e, t) != (eer, top) for e, t in values.values())
    }


def test_a_trial_of_several_seeds_is_their_mean(tmp_path: Path) -> None:
    planned = study(tmp_path, {"softmax": {}}, trials=2, rounds=1, seeds_per_trial=2)
    tuned(planned)
    for trial in trials(planned, "softmax"):
        assert len(trial["runs"]) == 2
        store = RunStore(planned.results / "trials")
        eers = [
            validation_metrics(store, name, planned.config["evaluate"])[
                "validation/verification/eer"
            ]
            for name in trial["runs"]
        ]
        assert trial["values"] == [pytest.approx(sum(eers) / 2)]
        assert trial["images"] == 2 * 4 * 140


DIVERGES = {"learning_rate": [1e18, 1e20]}


def test_diverged_trials_are_counted_and_the_search_goes_on(tmp_path: Path) -> None:
    """The default and the presets have the study's learning rate; all that is asked for is hopeless."""
    planned = study(tmp_path, recipe=DIVERGES)
    tuned(planned)
    assert planned.tuning is not None
    plan = final_plan(planned, planned.tuning)
    arcface, softmax = plan["tuning"]["searches"]
    for found in (softmax, arcface):
        for trial in found["trials"]:
            assert (
                trial["diverged"] == (trial["status"] == "failed") == (trial["origin"] == "sampler")
            )
            assert ("not finite" in trial["reason"]) if trial["diverged"] else trial["values"]
    assert sum(trial["diverged"] for trial in softmax["trials"]) == 5
    assert softmax["winner"] == 0
    arms = {(arm["loss"], arm["arm"]): arm["experiments"] for arm in plan["tuning"]["arms"]}
    assert arms["softmax", "tuned 1"] == arms["softmax", "default"]  # nothing new to train


def test_a_loss_whose_trials_all_fail_is_reported_and_the_others_are_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = study(tmp_path)
    judged = rounds.validation_metrics

    def refused(store: RunStore, name: str, *rest: Any) -> dict[str, float | None]:
        found = judged(store, name, *rest)
        return {**found, "validation/verification/eer": None} if "arcface" in name else found

    monkeypatch.setattr(rounds, "validation_metrics", refused)
    tuned(planned)
    assert planned.tuning is not None
    plan = final_plan(planned, planned.tuning)
    arcface, softmax = plan["tuning"]["searches"]
    assert softmax["winner"] is not None
    assert arcface["winner"] is None
    assert "no trial has a value: validation/verification/eer has no value" in arcface["reason"]
    arms = [(arm["loss"], arm["arm"]) for arm in plan["tuning"]["arms"]]
    assert arms == [
        ("arcface", "grid"),
        ("softmax", "grid"),
        ("arcface", "default"),
        ("softmax", "default"),
        ("softmax", "tuned 1"),
    ]
    assert trials_table(plan["tuning"]["searches"]).count("\n") == 13


def test_the_final_plan_trains_winners_with_fresh_seeds_in_the_slots(reference: Study) -> None:
    assert reference.tuning is not None
    plan = final_plan(reference, reference.tuning)
    assert json.loads(json.dumps(plan)) == plan
    final = Study.from_json(plan)
    assert [item for item in final.stacks if item not in reference.stacks] == list(
        reference.tuning.slots
    )
    placed = [name for members in final.stacks.values() for name in members]
    assert sorted(placed) == sorted(item.id for item in final.experiments)
    by_id = {item.id: item for item in final.experiments}
    tried = {seed for search in reference.tuning.searches for seed in search.seeds}
    for found in plan["tuning"]["searches"]:
        best = min(found["trials"], key=lambda trial: (trial["values"], trial["number"]))
        assert found["winner"] == best["number"]
        (arm,) = [arm for arm in plan["tuning"]["arms"] if arm["search"] == found["id"]]
        runs: list[Experiment] = [by_id[name] for name in arm["experiments"]]
        assert [item.seed for item in runs] == [0, 1]
        assert not tried & {0, 1}
        for item in runs:
            own = {**item.loss["hyperparameters"], **item.recipe}
            assert {name: own[name] for name in best["parameters"]} == best["parameters"]


def test_a_grid_around_the_tuned_point(reference: Study, tmp_path: Path) -> None:
    grid = {"around": "tuned", "margin": [0.5, 1, 4], "scale": [1, 2]}
    planned = study(tmp_path, {"softmax": {}, "arcface": grid})
    shutil.copytree(reference.folder / "tuning", planned.folder / "tuning")
    shutil.copytree(reference.results / "trials", planned.results / "trials")
    assert planned.tuning is not None
    plan = final_plan(planned, planned.tuning)
    found = plan["tuning"]["searches"][0]
    best = found["trials"][found["winner"]]["parameters"]
    around = [arm["experiments"] for arm in plan["tuning"]["arms"] if arm["arm"] == "around"]
    by_id = {item["id"]: item for item in plan["experiments"]}
    points = [by_id[names[0]]["loss"]["hyperparameters"] for names in around]
    expected = {
        (float(f"{min(best['margin'] * m, np.pi / 2):.4g}"), float(f"{best['scale'] * s:.4g}"))
        for m in (0.5, 1, 4)
        for s in (1, 2)
    }
    assert {(float(f"{p['margin']:.4g}"), p["scale"]) for p in points} == expected
    assert all(p["margin"] <= np.pi / 2 for p in points)
    for names in around:
        assert by_id[names[0]]["recipe"]["learning_rate"] == best["learning_rate"]
    assert any(
        names == arm["experiments"]
        for names in around
        for arm in plan["tuning"]["arms"]
        if arm["arm"] == "tuned 1"
    )


def test_a_round_of_another_config_is_refused(reference: Study, tmp_path: Path) -> None:
    planned = study(tmp_path, trials=8, rounds=4)  # other trials: other searches
    assert planned.tuning is not None
    assert reference.tuning is not None
    for own, other in zip(planned.tuning.searches, reference.tuning.searches, strict=True):
        assert own.id != other.id
        path = round_path(planned.folder, own, 0)
        path.parent.mkdir(parents=True)
        shutil.copy(round_path(reference.folder, other, 0), path)
    with pytest.raises(
        TrainingError,
        match=r"round-0\.json: is of another config: it says search .* delete .* to tune anew",
    ):
        tuned(planned)
    path.write_text("{")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_rounds(planned.folder, own, 1, planned.tuning)
    path.unlink()
    with pytest.raises(
        TrainingError,
        match=r"is missing; python -m benchmarks tune --plan .* makes what is missing",
    ):
        read_rounds(planned.folder, own, 1, planned.tuning)


def test_another_aim_after_halving_trains_anew_what_was_given_up(
    halved: Study, tmp_path: Path
) -> None:
    """Of the trials that it promotes only some have gone on before, and nobody kept the states of the others."""
    aim = {
        "objective": "closed_set/ncm_top1",
        "trials": 16,
        "rounds": 2,
        "halving": {"rungs": 3, "factor": 2},
    }
    fresh = study(tmp_path / "fresh", **aim)
    tuned(fresh)
    again = study(tmp_path / "again", **aim)
    shutil.copytree(halved.results / "trials", again.results / "trials")
    tuned(again)
    assert files(again) == files(fresh)


def test_a_failure_that_passes_is_no_failed_trial(
    reference: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = study(tmp_path)
    step, seen = stack.Stack.step, set()

    def short_of_memory(self: stack.Stack, *inputs: Any) -> Any:
        # Each model is refused when it is first trained alone, as when stacks beside it fill the memory.
        names = {item.id for item in self.experiments}
        if len(names) > 1 or not names <= seen:
            seen.update(names if len(names) == 1 else ())
            raise MemoryError("for a moment")
        return step(self, *inputs)

    monkeypatch.setattr(stack.Stack, "step", short_of_memory)
    tuned(planned, numbers=range(1))
    monkeypatch.undo()
    tuned(planned)
    assert files(planned) == files(reference)


def test_a_damaged_trial_is_named(reference: Study, tmp_path: Path) -> None:
    planned = study(tmp_path)
    shutil.copytree(reference.results / "trials", planned.results / "trials")
    path = next((planned.results / "trials").glob("*-softmax-*")) / "embeddings.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        TrainingError, match=r"embeddings\.npz: cannot be judged.*; delete .* to train it again"
    ):
        tuned(planned)
    shutil.rmtree(path.parent)
    tuned(planned)
    assert files(planned) == files(reference)


def test_times_that_are_lost_are_unknown(halved: Study, tmp_path: Path) -> None:
    assert halved.tuning is not None
    known = final_plan(halved, halved.tuning)["tuning"]["searches"]
    for search in known:
        for trial in search["trials"]:
            # What a trial cost goes with how far it came.
            (name,) = trial["runs"]
            folder = name if trial["epochs"] == 4 else f"{name}.epoch-{trial['epochs']}"
            result = json.loads((halved.results / "trials" / folder / "result.json").read_text())
            assert trial["seconds"] == result["seconds"]
            assert trial["images"] == result["images"]
    moved = replace(halved, config={**halved.config, "results": str(tmp_path)})
    shutil.copytree(halved.folder / "tuning", moved.folder / "tuning")
    lost = final_plan(moved, halved.tuning)["tuning"]["searches"]
    assert all(trial["seconds"] is None for search in lost for trial in search["trials"])
    assert [search["winner"] for search in lost] == [search["winner"] for search in known]


def test_the_final_plan_is_no_plan_to_tune(
    reference: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert reference.tuning is not None
    path = tmp_path / "tuned.json"
    path.write_text(json.dumps(final_plan(reference, reference.tuning)))
    for command in ("tune", "winners"):
        caplog.clear()
        assert cli.main([command, "--plan", str(path)]) == 1
        assert "is the plan after tuning; give" in caplog.text
