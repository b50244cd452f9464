"""What a study file says about tuning, checked: the ``tune`` block, and grids around a tuned point. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from losses import catalog
from losses.schema import nearest

SAMPLERS = ("tpe", "gp", "qmc", "random")
REFUSED_SAMPLERS = {
    "nsga2": "it keeps its population outside of the trials and forgets everything when a study is rebuilt for the next round",
    "cmaes": "it keeps its state outside of the trials and forgets everything when a study is rebuilt for the next round",
    "grid": "a grid is written as lists in `losses`",
}
OTHER_SPELLINGS = {
    "nsgaii": "nsga2",
    "nsga3": "nsga2",
    "nsgaiii": "nsga2",
    "nsga": "nsga2",
    "cma_es": "cmaes",
}


def rungs(epochs: int, halving: Mapping[str, int] | None) -> list[int]:
    """Epochs of the rungs, each `factor` times the one before, the last the whole training.

    >>> rungs(8, {"rungs": 3, "factor": 2}), rungs(8, None)
    ([2, 4, 8], [8])
    """
    count, factor = (halving["rungs"], halving["factor"]) if halving else (1, 1)
    return [max(1, round(epochs / factor ** (count - 1 - rung))) for rung in range(count)]


def around_blocks(config: Mapping[str, Any]) -> dict[str, list[dict[str, list[float]]]]:
    """Loss to its blocks with ``around: tuned``, each as lists of factors by hyper-parameter."""
    found: dict[str, list[dict[str, list[float]]]] = {}
    for name, blocks in config["losses"].items():
        for block in blocks if isinstance(blocks, list) else [blocks]:
            if isinstance(block, Mapping) and "around" in block:
                lists = {
                    key: value if isinstance(value, list) else [value]
                    for key, value in block.items()
                    if key != "around"
                }
                found.setdefault(name, []).append(lists)
    return found


def problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot say of a study's ``tune``: a line for each problem."""
    tune = config["tune"]
    sampler = str(tune["sampler"]).lower().replace("-", "_")
    refused = REFUSED_SAMPLERS.get(OTHER_SPELLINGS.get(sampler.replace("_", ""), sampler))
    if refused:
        yield f"tune.sampler: {tune['sampler']!r} is refused: {refused} (allowed: {', '.join(SAMPLERS)})"
    elif tune["sampler"] not in SAMPLERS:
        yield f"tune.sampler: {tune['sampler']!r} is not allowed{nearest(sampler, SAMPLERS)} (allowed: {', '.join(SAMPLERS)})"
    if tune["rounds"] > tune["trials"]:
        yield f"tune.rounds: {tune['rounds']} is more than tune.trials = {tune['trials']}: a round would have no trial"
    if tune["extend_bounds"] and tune["rounds"] < 2:
        yield "tune.extend_bounds: true needs tune.rounds >= 2: ranges are extended for the second half of the rounds"
    halving = tune["halving"]
    if halving:
        least = halving["factor"] ** (halving["rungs"] - 1)
        smallest = tune["trials"] // tune["rounds"]
        steps = rungs(config["recipe"]["epochs"], halving)
        need = f"halving.rungs = {halving['rungs']} with factor = {halving['factor']} needs at least {least}"
        if smallest < least:
            yield f"tune.trials: {tune['trials']} in {tune['rounds']} rounds are {smallest} a round, too few for the rungs: {need} a round"
        if len(set(steps)) < len(steps):
            yield f"tune.halving: recipe.epochs = {config['recipe']['epochs']} is too small for the rungs: {need} epochs"
    for name in tune["losses"]:
        if name not in config["losses"]:
            yield (
                f"tune.losses.{name}: is not among the study's losses{nearest(name, config['losses'])} "
                f"(allowed: {', '.join(config['losses'])})"
            )
        else:
            yield from _loss_problems(name, tune["losses"][name])
    yield from _leaks(config["split"])


def _leaks(split: Mapping[str, Any]) -> Iterator[str]:
    """Each seed its own split would let a trial train on what another seed tests, and searches see other classes."""
    if split["seed"] == "experiment":
        yield (
            "split.seed: 'experiment' cannot be tuned: each seed draws its own classes, and a trial would train on those "
            "that another seed is tested on (allowed with tune: a number, as 0)"
        )


def fixed(tune: Mapping[str, Any], loss: str) -> dict[str, Any]:
    """The hyper-parameters of a loss that its searches leave as they are."""
    return {
        key: value for key, value in (tune["losses"].get(loss) or {}).items() if key != "search"
    }


def _loss_problems(name: str, own: Any) -> Iterator[str]:
    """What is wrong with the settings of one loss's searches."""
    where = f"tune.losses.{name}"
    if own is not None and not isinstance(own, Mapping):
        yield f"{where}: {own!r} is not allowed (allowed: a mapping of fixed hyper-parameters and `search`)"
        return
    settled = {key: value for key, value in (own or {}).items() if key != "search"}
    for key, value in settled.items():
        if isinstance(value, list | Mapping):
            yield f"{where}.{key}: {value!r} is not allowed (allowed: one value; a range goes under `search`)"
            return
    try:
        catalog.resolve(name, settled)
    except catalog.CatalogError as error:
        yield f"{where}: {error}"
    ranges = (own or {}).get("search", {})
    if not isinstance(ranges, Mapping):
        yield f"{where}.search: {ranges!r} is not allowed (allowed: a mapping of hyper-parameters to [low, high])"
        return
    for key, span in ranges.items():
        if not (isinstance(span, list) and len(span) == 2 and all(map(is_number, span))):
            yield f"{where}.search.{key}: {span!r} is not allowed (allowed: [low, high])"


def around_problems(
    where: str, name: str, block: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with a block of `losses` that is a grid around the tuned point."""
    if block["around"] != "tuned":
        yield f"{where}.around: {block['around']!r} is not allowed (allowed: 'tuned')"
    if "tune" not in config:
        yield f"{where}.around: 'tuned' needs a `tune` block: without it nothing is tuned"
        return
    own = config["tune"]["losses"].get(name) or {}
    if list(_loss_problems(name, own)):
        return  # told where it stands
    try:
        searched = {row.name for row in catalog.search_space(name, fixed(config["tune"], name))}
        searched |= set(own.get("search", {}))
    except catalog.CatalogError as error:
        yield f"{where}: {error}"
        return
    lists = {key: value for key, value in block.items() if key != "around"}
    if not lists:
        yield f"{where}: names no hyper-parameter (allowed: lists of factors for {', '.join(sorted(searched)) or 'none'})"
    for key, value in lists.items():
        if key not in searched:
            yield (
                f"{where}.{key}: is not searched, so there is no tuned value to go around{nearest(key, searched)} "
                f"(allowed: {', '.join(sorted(searched)) or 'none'})"
            )
        factors = value if isinstance(value, list) else [value]
        if not factors:
            yield f"{where}.{key}: an empty list leaves nothing to run"
        if any(factors.count(factor) > 1 for factor in factors):
            yield f"{where}.{key}: {value!r} has a factor twice"
        for factor in factors:
            if not is_number(factor) or factor <= 0:
                yield f"{where}.{key}: {factor!r} is not allowed (allowed: factors of the tuned value, above 0)"


def is_number(value: object) -> bool:
    """Whether a value is a number that a float can hold, neither NaN nor infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
