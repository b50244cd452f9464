"""Axes that all losses of a study share: its ``vary`` block, which multiplies the whole grid. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import study_schema
from benchmarks.experiment import STACKED_RECIPE
from losses.schema import nearest, written

WHOLE = "backbone"  # a section whose keys may also vary together: a list of mappings

# What may not vary in these sections, beside lists: it is the losses' own, a way to split, or a setting of a machine.
FIXED = {
    "backbone": (),
    "split": ("classes", "images", "seed"),
    "recipe": (*STACKED_RECIPE, "threads"),
}


def allowed() -> list[str]:
    """What may vary: backbones as a whole, their keys, amounts of the split, and of the recipe what no loss can set."""
    return [WHOLE] + [
        f"{section}.{key}"
        for section, fixed in FIXED.items()
        for key, rule in study_schema.schema()["properties"][section]["properties"].items()
        if key not in fixed and rule.get("type") != "array"
    ]


def combinations(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The study for each combination of the varied values, the last key fastest; itself where nothing varies.

    >>> [each["backbone"] for each in combinations({"backbone": {}, "vary": {"backbone.name": ["a", "b"]}})]
    [{'name': 'a'}, {'name': 'b'}]
    """
    found = []
    for values in itertools.product(*config["vary"].values()):
        combination: dict[str, Any] = {**config, "vary": {}}
        for path, value in zip(config["vary"], values, strict=True):
            section = path.partition(".")[0]
            combination[section] = {**combination[section], **_settings(path, value)}
        found.append(combination)
    return found


def columns(config: Mapping[str, Any]) -> list[str]:
    """What takes more than one value in the combinations, named as the columns of a report's frame."""
    found = []
    for path, values in config["vary"].items():
        section = path.partition(".")[0]
        each = [{**config[section], **_settings(path, value)} for value in values]
        keys = dict.fromkeys(key for value in values for key in _settings(path, value))
        found += [_column(section, key) for key in keys if len({str(own[key]) for own in each}) > 1]
    return found


def _settings(path: str, value: Any) -> Mapping[str, Any]:
    """What one value of a varied key sets in its section."""
    return value if path == WHOLE else {path.partition(".")[2]: value}


def _column(section: str, key: str) -> str:
    """The column of a key.

    >>> [_column("backbone", "name"), _column("backbone", "embedding_dim"), _column("split", "known_classes")]
    ['backbone', 'embedding_dim', 'split.known_classes']
    """
    if key == "name":
        return section
    # A frame has epochs already: those that a run was trained.
    return f"{section}.{key}" if section == "split" or key == "epochs" else key


def problems(config: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a study's ``vary``: a line for each problem.

    Parameters
    ----------
    config : the study with its defaults.
    own : the study as written, which tells a default from what stands in two places.
    """
    places = [f"{section}.{key}" for section in FIXED for key in own.get(section, {})]
    for path, values in config["vary"].items():
        where = f"vary.{path}"
        if path not in allowed() or isinstance(values, Mapping):
            yield f"{where}: {_reason(str(path), values)}"
            continue
        if not isinstance(values, list):
            yield f"{where}: {written(values)} is not allowed (allowed: a list of values)"
            continue
        if not values:
            yield f"{where}: an empty list leaves nothing to run"
        for place, value in enumerate(values):
            if value in values[:place]:
                yield f"{where}: {written(values)} has the value {written(value)} more than once"
        wrong = [
            line
            for value in values
            for line in study_schema.value_problems(where, value, *path.split("."))
        ]
        yield from wrong
        section = path.partition(".")[0]
        mine = {
            f"{section}.{key}" for value in values if not wrong for key in _settings(path, value)
        }
        for key in sorted(mine & set(places)):
            yield f"{key}: stands under `vary`, too; take it out of one of the two"
        places += mine
    if config["vary"] and "tune" in config:
        yield (
            "vary: cannot be combined with `tune`: a search tunes a loss for one backbone, split and recipe (write one "
            "study file a value, which share their trained runs; or take `tune` out)"
        )


def _reason(path: str, values: Any) -> str:
    """Why a key cannot vary."""
    if isinstance(values, Mapping):
        return f"is a mapping; write dotted keys, such as {path}.{next(iter(values), '<key>')}: [<values>]"
    key = path.removeprefix("recipe.")
    if path != key and key in STACKED_RECIPE:
        return f"goes into the recipe of each loss, which takes lists: {{recipe: {{{key}: {written(values)}}}}}"
    return f"cannot be varied{nearest(path, allowed())} (allowed: {', '.join(allowed())})"
