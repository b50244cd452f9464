"""``config/schema.yaml`` at work: what is wrong with a study file, in one line each, and the defaults."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.tuning.settings import is_number
from losses.schema import written

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

SCHEMA_PATH = Path(__file__).resolve().parent.parent / "config" / "schema.yaml"


def _is_number(_: Any, value: object) -> bool:
    return is_number(value)


def _is_integer(_: Any, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@cache
def _validator() -> Any:
    """The class that checks: stricter than JSON Schema, in that 2.0 is no number of epochs, and neither NaN nor
    infinity is a learning rate."""
    import jsonschema  # here, since only plans are checked: a process that trains starts without it

    draft = jsonschema.Draft202012Validator
    numbers = {"number": _is_number, "integer": _is_integer}
    return jsonschema.validators.extend(
        draft, type_checker=draft.TYPE_CHECKER.redefine_many(numbers)
    )


@cache
def schema() -> dict[str, Any]:
    """The rules of a study file; not to be changed."""
    return dict(yaml.safe_load(SCHEMA_PATH.read_text()))


def problems(config: Any) -> list[str]:
    """One line for each rule of the schema that a study's configuration breaks."""
    return [_explain(error) for error in _validator()(schema()).iter_errors(config)]


def value_problems(where: str, value: Any, *keys: str) -> Iterator[str]:
    """What is wrong with one value of the key that stands at these `keys`, such as recipe, epochs."""
    rule = schema()
    for key in keys:
        rule = rule["properties"][key]
    for error in _validator()(rule).iter_errors(value):
        yield _explain(error, where)


def with_defaults(value: Any, rules: Mapping[str, Any] | None = None) -> Any:
    """A valid configuration with the schema's defaults for all that it leaves out."""
    rules = schema() if rules is None else rules
    if not isinstance(value, dict) or "properties" not in rules:
        return value
    filled = {}
    for key, rule in rules["properties"].items():
        if key in value or "default" in rule:
            filled[key] = with_defaults(copy.deepcopy(value.get(key, rule.get("default"))), rule)
    return filled


def _explain(error: ValidationError, *above: str) -> str:
    """One line for one schema error: key, value, allowed, nearest right spelling; `above`: where the value stands."""
    where = ".".join([*above, *(str(part) for part in error.absolute_path)])
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
