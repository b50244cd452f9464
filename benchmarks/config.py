"""Reading a study file and validating it whole, before anything runs.

Two sources say what is allowed: ``config/schema.yaml`` for the keys, the catalogs of losses and data sets for
what they hold. Every problem is reported at once, each as one line: file, key, value, allowed.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from benchmarks.errors import ConfigError
from benchmarks.experiment import STACKED_RECIPE, canonical
from benchmarks.tuning import settings as tune_settings
from losses import catalog
from losses.schema import written

SCHEMA_PATH = Path(__file__).resolve().parent.parent / "config" / "schema.yaml"

# What the results folder holds beside the studies: no study may have such a name.
RESERVED = ("cache", "checkpoints", "locks", "mlartifacts", "runs", "trials")

# What a loss must have for these keys of its recipe to do something.
NEEDED = {
    "label_smoothing": "cross-entropy over the classes",
    "class_weight_norm": "class weights",
}


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: ``1e-3`` is a number, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _is_number(_: Any, value: object) -> bool:
    return tune_settings.is_number(value)


def _is_integer(_: Any, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# Stricter than JSON Schema: 2.0 is no number of epochs, and neither NaN nor infinity is a learning rate.
_Validator = jsonschema.validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": _is_number, "integer": _is_integer}
    ),
)


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read a study file, apply `overrides`, fill in the defaults, validate.

    Parameters
    ----------
    path : a YAML file.
    overrides : top-level keys to replace; mappings are merged key by key (so ``{"recipe": {"epochs": 2}}`` keeps
        the rest of the recipe), anything else replaces the file's value.

    Returns
    -------
    The complete study configuration (losses as written, see `loss_points`).

    Raises
    ------
    ConfigError : the file is missing, not YAML, or says something that is not allowed.
    """
    try:
        content = yaml.load(path.read_text(), _Loader)  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a study file is a mapping of keys; see config/README.md")
    config = _merge(content, overrides or {})
    if (
        config.get("tune", {}) is None
    ):  # `tune: null` is a study that is not tuned, also on the command line
        del config["tune"]
    config.setdefault("study", path.stem)
    schema = yaml.safe_load(SCHEMA_PATH.read_text())
    problems = [_explain(error) for error in _Validator(schema).iter_errors(config)]
    if not problems:
        config = _with_defaults(config, schema)
        problems = list(_problems(config))
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def typed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides as Snakemake hands them on, with the numbers that it leaves as text inside lists and mappings.

    >>> typed({"seeds": 2, "title": "1", "recipe": {"epochs": "2", "learning_rate": "1e-3"}})
    {'seeds': 2, 'title': '1', 'recipe': {'epochs': 2, 'learning_rate': 0.001}}
    """

    def inner(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: inner(item) for key, item in value.items()}
        if isinstance(value, list):
            return [inner(item) for item in value]
        return yaml.load(value, _Loader) if isinstance(value, str) else value

    return {
        key: inner(value) if isinstance(value, Mapping | list) else value
        for key, value in settings.items()
    }


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


def varying(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """For each loss the keys (hyper-parameters, recipe keys) that take more than one value in this study."""
    seen: dict[str, dict[str, set[str]]] = {}
    for name, hyper, recipe in loss_points(config):
        for key, value in [*hyper.items(), *((key, recipe[key]) for key in STACKED_RECIPE)]:
            seen.setdefault(name, {}).setdefault(key, set()).add(str(value))
    return {
        name: [key for key, values in keys.items() if len(values) > 1]
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


def _merge(
    base: Mapping[str, Any], overrides: Mapping[str, Any], whole: tuple[str, ...] = ("losses",)
) -> dict[str, Any]:
    """`base` with the keys of `overrides`; the grid of a study (`whole`) is replaced, not mixed with another."""
    merged = copy.deepcopy(dict(base))
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key not in whole:
            merged[key] = _merge(merged[key], value, ())
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    filled = {}
    for key, rule in schema["properties"].items():
        if key in value or "default" in rule:
            filled[key] = _with_defaults(copy.deepcopy(value.get(key, rule.get("default"))), rule)
    return filled


def _explain(error: ValidationError) -> str:
    """One line for one schema error: key, value, allowed, nearest right spelling."""
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(allowed))
        hints = []
        for key in unknown:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hints.append(
                f"{where + '.' if where else ''}{key}: unknown key"
                + (f", did you mean {near[0]!r}?" if near else "")
            )
        return f"{'; '.join(hints)} (allowed: {', '.join(allowed)})"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{where + ': ' if where else ''}missing key {', '.join(map(repr, missing))}"
    if error.validator == "enum":
        allowed = [str(choice) for choice in error.validator_value]
        near = difflib.get_close_matches(str(error.instance), allowed, n=1)
        return (
            f"{where}: {error.instance!r} is not allowed"
            + (f", did you mean {near[0]!r}?" if near else "")
            + f" (allowed: {', '.join(allowed)})"
        )
    if error.validator == "anyOf":
        return f"{where}: {error.instance!r} is not allowed (allowed: {' or '.join(_describe(rule) for rule in error.validator_value)})"
    if error.validator == "type" and error.validator_value == "object":
        items = "losses" if where == "losses" else "keys"
        return f"{where}: {written(error.instance)} is not allowed (allowed: a mapping of {items})"
    return f"{where}: {error.message}"


def _describe(rule: Mapping[str, Any]) -> str:
    if "const" in rule:
        return repr(rule["const"])
    bounds = f" >= {rule['minimum']}" if "minimum" in rule else ""
    items = f" of {_describe(rule['items'])}" if "items" in rule else ""
    return f"{'distinct ' if rule.get('uniqueItems') else ''}{rule['type']}{bounds}{items}"


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot say: catalogs, combinations, duplicates."""
    if config["study"] in RESERVED:
        yield (
            f"study: {config['study']!r} names a folder of the results itself "
            f"(allowed: any other name than {', '.join(RESERVED)})"
        )
    recipe = config["recipe"]
    schema = yaml.safe_load(SCHEMA_PATH.read_text())["properties"]["recipe"]
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
            own = block.get("recipe") or {}
            if not isinstance(own, dict):
                yield f"{where}.recipe: {own!r} is not allowed (allowed: a mapping of recipe keys)"
                readable = False
                continue
            for key, value in own.items():
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
                    for error in _Validator(schema["properties"][key]).iter_errors(item):
                        yield f"{where}.recipe.{key}: {error.message}"
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
        samplers = {recipe_of(config, name)["sampler"] for name in config["losses"]}
        if "tune" in config:
            yield from tune_settings.problems(config)
        if "balanced" in samplers and recipe["batch_size"] % recipe["images_per_class"]:
            yield (
                f"recipe.batch_size: {recipe['batch_size']} is not a multiple of images_per_class = {recipe['images_per_class']}, "
                "as the balanced sampler needs"
            )
    if recipe["warmup_epochs"] > recipe["epochs"]:
        yield f"recipe.warmup_epochs: {recipe['warmup_epochs']} is more than recipe.epochs = {recipe['epochs']}"


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
