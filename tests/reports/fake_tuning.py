"""A tuned study as the pipeline writes it, with known numbers: nothing is trained or searched."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from losses import catalog
from tests.reports.fake_results import (
    EVALUATION,
    Grid,
    Tree,
    fate,
    make_experiment,
    quality,
    write_json,
    write_run,
)

OBJECTIVE = "validation/verification/eer"
LOSSES = ("softmax", "cosface", "arcface")
TRIALS, ROUNDS, EPOCHS, EPOCH_IMAGES = 9, 3, 6, 1_500
RECIPE = {"learning_rate": (0.1, 0.001, 1.0), "weight_decay": (5e-4, 1e-6, 1e-2)}
Settings = dict[str, Any]


def write_tuned(
    folder: Path,
    *,
    losses: Sequence[str] = LOSSES,
    searches: int = 2,
    seeds: int = 5,
    grid: Grid | None = None,
    failed: Collection[tuple[str, int]] = (("cosface", 2),),
    around: Sequence[str] = (),
    validation: bool = True,
    identities: str | None = None,
    objectives: Sequence[str] = (OBJECTIVE,),
    values: Callable[[str, Mapping[str, float], int], tuple[float, float]] = quality,
    fates: Callable[[str, Mapping[str, float], int], tuple[str, str | None]] = fate,
) -> Tree:
    """Write ``study/tuned.json`` and ``runs/`` below a folder.

    The first search of the first loss finds its default; the first search of any other loss ends on
    the upper bound of its first parameter, with a stopped and a diverged trial on the way, and its
    second search finds margin 0.3 and scale 32 where it has them.

    Parameters
    ----------
    failed : (loss, study) of the searches whose trials all failed.
    around : losses with two points around their first optimum.
    """
    tree = Tree(folder / "study" / "tuned.json", folder / "runs", folder / "study" / "report")
    experiments: dict[str, dict[str, Any]] = {}
    stacks: dict[str, list[str]] = {}

    def ids(loss: str, settings: Settings, stack: str) -> list[str]:
        """The experiments of a point, each carried out once."""
        found = []
        for seed in range(seeds):
            item = experiment_of(loss, settings, seed)
            found.append(item["id"])
            tree.ids[(loss, json.dumps(settings, sort_keys=True), seed)] = item["id"]
            if item["id"] not in experiments:
                experiments[item["id"]] = item
                stacks.setdefault(f"{stack}-{seed}", []).append(item["id"])
                write_run(
                    tree.runs,
                    item,
                    settings,
                    fates(loss, settings, seed),
                    values(loss, settings, seed),
                    validation=validation,
                    identities=identities,
                )
        return found

    arms: list[dict[str, Any]] = []
    for loss, axes in (grid or {}).items():
        for point in np.array(np.meshgrid(*axes.values(), indexing="ij")).reshape(len(axes), -1).T:
            own = dict(zip(axes, map(float, point), strict=True))
            arm = {"loss": loss, "arm": "grid", "search": None, "trial": None}
            arms.append({**arm, "experiments": ids(loss, own, "g0")})
    found = [
        search_of(loss, study, (loss, study) in failed, losses, objectives)
        for loss in losses
        for study in range(1, searches + 1)
    ]
    for search in found:
        loss, winner = search["loss"], search["winner"]
        points = [("default", 0)] if search["study"] == 1 else []
        points += [(f"tuned {search['study']}", winner)] if winner is not None else []
        for arm, number in points:
            settings = search["trials"][number]["parameters"]
            arms.append(
                {
                    "loss": loss,
                    "arm": arm,
                    "search": None if arm == "default" else search["id"],
                    "trial": number,
                    "experiments": ids(loss, settings, "tuned-f0"),
                }
            )
        if loss in around and search["study"] == 1 and winner is not None:
            best = search["trials"][winner]["parameters"]
            for factor in (0.8, 1, 1.25):
                own = {**best, "margin": best["margin"] * factor}
                arm = {"loss": loss, "arm": "around", "search": search["id"], "trial": winner}
                arms.append({**arm, "experiments": ids(loss, own, "tuned-a0")})
    plan = {
        "study": "study",
        "title": "Losses tuned on drawn glyphs",
        "config": {},
        "device": "cpu",
        "evaluation": EVALUATION,
        "axes": {
            loss: [key for key, own in (grid or {}).get(loss, {}).items() if len(own) > 1]
            for loss in dict.fromkeys([*(grid or {}), *losses])
        },
        "experiments": list(experiments.values()),
        "stacks": stacks,
        "warnings": [],
        "tuning": {
            "objectives": [
                {"metric": name, "direction": "minimize" if "eer" in name else "maximize"}
                for name in objectives
            ],
            "sampler": "tpe",
            "trials": TRIALS,
            "rounds": ROUNDS,
            "studies": searches,
            "seeds_per_trial": 1,
            "epochs": EPOCHS,
            "halving": {"rungs": 2, "factor": 2},
            "extend_bounds": True,
            "searches": found,
            "arms": arms,
        },
    }
    write_json(tree.plan, plan)
    return tree


def experiment_of(loss: str, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """An experiment of a point of a search space, which may set its own recipe."""
    recipe = {key: value for key, value in settings.items() if key in RECIPE}
    hyper = {key: value for key, value in settings.items() if key not in RECIPE}
    item = make_experiment(loss, hyper, seed, 64)
    item["recipe"] |= {"weight_decay": RECIPE["weight_decay"][0], **recipe}
    text = json.dumps([item["loss"], item["recipe"]], sort_keys=True)
    # The readable part of an id rounds; its end tells experiments apart.
    digest = sum((place + 1) * ord(sign) for place, sign in enumerate(text)) % 16**6
    return item | {"id": f"glyphs-conv3-{loss}-r{seed}-{digest:06x}"}


def space_of(loss: str) -> list[dict[str, Any]]:
    """The axes of a loss and of the recipe, as the plan has them."""
    axes = [
        {
            "name": each.name,
            "of": "loss",
            "low": each.search_low,
            "high": each.search_high,
            "log": each.log,
            "whole": False,
            "legal_low": each.low,
            "legal_high": each.high,
        }
        for each in catalog.search_space(loss)
    ]
    axes += [
        {"name": name, "of": "recipe", "low": low, "high": high, "log": True, "whole": False}
        | {"legal_low": None, "legal_high": None}
        for name, (_, low, high) in RECIPE.items()
    ]
    return [{**axis, "start_low": axis["low"], "start_high": axis["high"]} for axis in axes]


def search_of(
    loss: str, study: int, failed: bool, losses: Sequence[str], objectives: Sequence[str]
) -> dict[str, Any]:
    """One search as the plan has it: default first, then points drawn from the space."""
    space = space_of(loss)
    rng = np.random.default_rng([study, *loss.encode()])
    default = {
        axis["name"]: RECIPE[axis["name"]][0]
        if axis["name"] in RECIPE
        else catalog.resolve(loss)[axis["name"]]
        for axis in space
    }
    own_default = study == 1 and loss == losses[0]
    on_bound = study == 1 and not own_default
    trials = []
    for number in range(TRIALS):
        point = default if number == 0 else {axis["name"]: _drawn(axis, rng) for axis in space}
        value = round(0.08 + 0.004 * number + 0.001 * study, 6)
        value = 0.2 if number == 0 and not own_default else value
        if number == 4 and on_bound:
            point, value = {**point, space[0]["name"]: space[0]["high"]}, 0.06
        if (
            number == 2 and study == 2 and {"margin", "scale"} <= default.keys()
        ):  # where `quality` is best
            best = {"margin": 0.3, "scale": 32.0, **{name: row[0] for name, row in RECIPE.items()}}
            point, value = (
                {axis["name"]: best.get(axis["name"], point[axis["name"]]) for axis in space},
                0.05,
            )
        trials.append(_trial(loss, study, number, point, [value] * len(objectives)))
    if on_bound:
        trials[5] |= {"status": "stopped", "values": None, "epochs": 3, "images": 3 * EPOCH_IMAGES}
        trials[5]["rungs"] = trials[5]["rungs"][:1]
        trials[6] |= {
            "images": EPOCH_IMAGES,
            **_lost("loss not finite in epoch 2"),
            "diverged": True,
        }
        space[0] |= {"start_high": (space[0]["low"] + space[0]["high"]) / 2}
    if failed:
        trials = [{**trial, **_lost("RuntimeError: no class weight moved")} for trial in trials]
    known = {t["number"]: t["values"][0] for t in trials if t["values"]}
    winner = min(known, key=lambda number: known[number]) if known else None
    return {
        "id": f"{loss}-{study}-0a1b2c3d4e",
        "loss": loss,
        "study": study,
        "fixed": {},
        "seeds": [1000 + study],
        "space": space,
        "trials": trials,
        "winner": winner,
        "reason": None if known else f"all {TRIALS} trials failed",
        "front": [] if winner is None else [winner],
        "importance": {axis["name"]: 1 / len(space) for axis in space} if known else None,
        "at_bound": {space[0]["name"]: "high"} if on_bound and known else {},
    }


def _trial(
    loss: str, study: int, number: int, point: Settings, values: list[float]
) -> dict[str, Any]:
    return {
        "number": number,
        "round": number // (TRIALS // ROUNDS),
        "origin": "default" if number == 0 else "sampler",
        "parameters": point,
        "status": "complete",
        "reason": None,
        "values": values,
        "rungs": [{"epoch": 3, "values": values}, {"epoch": EPOCHS, "values": values}],
        "epochs": EPOCHS,
        "images": EPOCHS * EPOCH_IMAGES,
        "runs": [f"glyphs-conv3-{loss}-r{1000 + study}-{number:06x}"],
        "metrics": {OBJECTIVE: values[0]},
        "seconds": 4.5,
        "diverged": False,
    }


def _lost(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "values": None, "rungs": [], "metrics": {}}


def _drawn(axis: Mapping[str, Any], rng: np.random.Generator) -> float:
    share = 0.15 + 0.7 * float(rng.random())
    if axis["log"]:
        return float(axis["low"] * (axis["high"] / axis["low"]) ** share)
    return float(axis["low"] + share * (axis["high"] - axis["low"]))
