"""Reading a study file and validating it whole, before anything runs.

Two sources say what is allowed: ``config/schema.yaml`` for the keys, the catalogs of losses and data sets for
what they hold. Every problem is reported at once, each as one line: file, key, value, allowed.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import study_file, study_schema, vary
from benchmarks.errors import ConfigError
from benchmarks.experiment import STACKED_RECIPE, canonical
from benchmarks.tuning import settings as tune_settings
from losses import catalog
from losses.schema import written

# What the results folder holds beside the studies: no study may have such a name.
RESERVED = ("cache", "checkpoints", "locks", "mlartifacts", "runs", "trials")

# What a loss must have for these keys of its recipe to do something.
NEEDED = {
    "label_smoothing": "cross-entropy over the classes",
    "class_weight_norm": "class weights",
}


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read a study file, apply `overrides`, fill in the defaults, validate.

    Parameters
    ----------
    path : a YAML file.
    overrides : top-level keys to replace; mappings are merged key by key (so ``{"recipe": {"epochs": 2}}`` keeps
        the rest of the recipe), anything else replaces the file's value, the grid (``losses``, ``vary``), too.
        ``quick: true`` applies the file's ``quick`` block first.

    Returns
    -------
    The complete study configuration (losses as written, see `loss_points`). It has a ``quick`` block where the file
    has one and it is not applied.

    Raises
    ------
    ConfigError : the file is missing, not YAML, or says something that is not allowed, be it in a ``quick`` block
        that is not applied.
    """
    content, given = study_file.read(path), dict(overrides or {})
    asked, block = given.pop("quick", False), content.pop("quick", {})
    if isinstance(asked, str):  # as Snakemake hands it on
        asked = {"true": True, "false": False}.get(asked.lower(), asked)
    if not isinstance(asked, bool):
        raise ConfigError(f"{path}: quick: {written(asked)} is not allowed (allowed: true, false)")
    if asked and not block:
        raise ConfigError(
            f"{path}: quick: the file has no such block (files that have one: {_with_quick()})"
        )
    config, problems = _checked(study_file.merged(content, given))
    if block != {}:
        quick, found = _quick(content, block, given)
        problems = [
            *([] if asked else problems),
            *(f"quick: {line}" for line in found if asked or line not in problems),
        ]
        config = quick if asked else {**config, "quick": block}
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def _quick(
    content: Mapping[str, Any], block: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The quick form of a study, and what is wrong with it."""
    if not isinstance(block, Mapping):
        return {}, [f"{written(block)} is not allowed (allowed: a mapping of keys)"]
    if "quick" in block:
        return {}, ["has a block of the same name inside; take it out"]
    return _checked(study_file.merged(study_file.quick_form(content, block), given))


def _with_quick() -> str:
    """The shipped study files that have a quick form."""
    paths = sorted(study_schema.SCHEMA_PATH.parent.glob("*.yaml"))
    return ", ".join(path.name for path in paths if study_file.read(path).get("quick")) or "none"


def _checked(own: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A study as written, completed by the defaults, and what is wrong with it."""
    problems = study_schema.problems(own)
    if problems:
        return own, problems
    config = study_schema.with_defaults(own)
    return config, list(_problems(config, own))


def loss_points(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The grid of a study: (loss, complete hyper-parameters, complete recipe) for each of its points.

    A loss has one block or a list of blocks; inside a block every list multiplies. The key ``recipe`` of a block
    sets recipe values for that loss alone.

    Raises
    ------
    losses.catalog.CatalogError : a loss or hyper-parameter that the catalog does not allow.
    """
    for name, blocks in config["losses"].items():
        for block in _blocks(blocks):
            if "around" in block:  # its points are known when the loss is tuned
                continue
            hyper = {key: value for key, value in block.items() if key != "recipe"}
            for point in _product(hyper):
                resolved = catalog.resolve(name, point)
                for changes in _product(block.get("recipe") or {}):
                    yield name, resolved, recipe_of(config, name, changes)


def recipe_of(
    config: Mapping[str, Any], loss: str, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The study's recipe for one loss, with what the loss changes in it and the sampler that it needs."""
    recipe = {**config["recipe"], **(changes or {})}
    if recipe["sampler"] == "auto":
        recipe["sampler"] = catalog.row(loss).sampler
    return recipe


Point = tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]
"""The study of one combination (see `vary.combinations`), a loss, its hyper-parameters and its recipe."""


def points(config: Mapping[str, Any]) -> Iterator[Point]:
    """The whole grid: each of the `loss_points`, once for each combination of what the study varies.

    Yields
    ------
    The study of the combination (see `vary.combinations`), loss, hyper-parameters, recipe.
    """
    each = vary.combinations(config)
    # A point of the losses with all its combinations, so that a loss stands together.
    for row in zip(*(loss_points(study) for study in each), strict=True):
        for study, point in zip(each, row, strict=True):
            yield study, *point


def varying(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """For each loss what takes more than one value in this study: hyper-parameters, recipe keys, and what varies for
    all losses, named as the columns of a report."""
    seen: dict[str, dict[str, set[str]]] = {}
    for name, hyper, recipe in loss_points(config):
        for key, value in [*hyper.items(), *((key, recipe[key]) for key in STACKED_RECIPE)]:
            seen.setdefault(name, {}).setdefault(key, set()).add(str(value))
    shared = vary.columns(config)
    return {
        name: [key for key, values in keys.items() if len(values) > 1] + shared
        for name, keys in seen.items()
    }


def _blocks(blocks: Any) -> list[dict[str, Any]]:
    return [
        {} if block is None else block
        for block in (blocks if isinstance(blocks, list) else [blocks])
    ]


def _product(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    axes = [value if isinstance(value, list) else [value] for value in block.values()]
    for values in itertools.product(*axes):
        yield dict(zip(block, values, strict=True))


def _problems(config: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot say: catalogs, combinations, duplicates; `own` is the study without defaults."""
    if config["study"] in RESERVED:
        yield (
            f"study: {config['study']!r} names a folder of the results itself "
            f"(allowed: any other name than {', '.join(RESERVED)})"
        )
    readable = True
    for name, blocks in config["losses"].items():
        if blocks == []:
            yield f"losses.{name}: an empty list leaves nothing to run"
            readable = False
        for number, block in enumerate(_blocks(blocks)):
            where = f"losses.{name}" + (f"[{number}]" if isinstance(blocks, list) else "")
            if not isinstance(block, dict):
                yield f"{where}: {block!r} is not allowed (allowed: a mapping of hyper-parameters, or a list of such mappings)"
                readable = False
                continue
            if "around" in block:
                found = list(tune_settings.around_problems(where, name, block, config))
                yield from found
                readable = readable and not found
                continue
            for key, value in block.items():
                if value == []:
                    yield f"{where}.{key}: an empty list leaves nothing to run"
                    readable = False
            changes = block.get("recipe") or {}
            if not isinstance(changes, dict):
                yield f"{where}.recipe: {changes!r} is not allowed (allowed: a mapping of recipe keys)"
                readable = False
                continue
            for key, value in changes.items():
                if value == []:
                    yield f"{where}.recipe.{key}: an empty list leaves nothing to run"
                    readable = False
                if key not in STACKED_RECIPE:
                    near = difflib.get_close_matches(str(key), STACKED_RECIPE, n=1)
                    yield (
                        f"{where}.recipe.{key}: cannot be set for one loss"
                        + (f", did you mean {near[0]!r}?" if near else "")
                        + f" (allowed: {', '.join(STACKED_RECIPE)}; all else is the same for every loss of a study)"
                    )
                    readable = False
                    continue
                if not _takes(name, key):
                    yield (
                        f"{where}.recipe.{key}: {value!r} has no effect, {name} has no "
                        f"{NEEDED[key]}; take it out (python -m losses show {name})"
                    )
                    readable = False
                for item in value if isinstance(value, list) else [value]:
                    for line in study_schema.value_problems(
                        f"{where}.recipe.{key}", item, "recipe", key
                    ):
                        yield line
                        readable = False
            try:
                for point in _product(
                    {key: value for key, value in block.items() if key != "recipe"}
                ):
                    catalog.resolve(name, point)
            except catalog.CatalogError as error:
                yield f"{where}: {error}"
                readable = False
    if readable:
        yield from _duplicates(config)
        if "tune" in config:
            yield from tune_settings.problems(config)
    found = list(vary.problems(config, own))
    yield from found
    # Each combination by itself; two of them may be wrong in the same words.
    each = [config] if found else vary.combinations(config)
    yield from dict.fromkeys(
        line for study in each for line in _recipe_problems(study, balanced=readable)
    )


def _recipe_problems(config: Mapping[str, Any], balanced: bool) -> Iterator[str]:
    """Keys of a recipe that do not go together; `balanced`: also those of its balanced batches."""
    recipe = config["recipe"]
    samplers = {recipe_of(config, name)["sampler"] for name in config["losses"]} if balanced else ()
    if "balanced" in samplers and recipe["batch_size"] % recipe["images_per_class"]:
        yield (
            f"recipe.batch_size: {recipe['batch_size']} is not a multiple of images_per_class = {recipe['images_per_class']}, "
            "as the balanced sampler needs"
        )
    if recipe["warmup_epochs"] > recipe["epochs"]:
        yield f"recipe.warmup_epochs: {recipe['warmup_epochs']} is more than recipe.epochs = {recipe['epochs']}"
    late = [epoch for epoch in recipe["snapshots"] if epoch > recipe["epochs"]]
    if late:
        yield f"recipe.snapshots: {late[0]} is after the last epoch, recipe.epochs = {recipe['epochs']}"


def _takes(name: str, key: str) -> bool:
    """Whether a recipe key does something to a loss; also where there is no such loss."""
    try:
        return key not in NEEDED or key.removeprefix("class_") in catalog.row(name).recipe
    except catalog.CatalogError:
        return True


def _duplicates(config: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    for name, hyper, recipe in loss_points(config):
        own = {**hyper, **{key: recipe[key] for key in STACKED_RECIPE}}
        text = canonical([name, own])
        if text in seen:
            shown = ", ".join(f"{key}={value}" for key, value in hyper.items())
            yield f"losses.{name}: the grid has the point ({shown}) more than once"
        seen.add(text)
