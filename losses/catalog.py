"""The one table of what a loss is, read by configs, tuner, axis labels, docs and tests. No torch.

The rows stand in `losses.rows`, by family. Adding a loss is one class in its own module and one row
there.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from losses import peers
from losses.rows import (
    adaptive,
    additive,
    binary,
    memory,
    multiplicative,
    pairs,
    proxies,
    softmax,
    sums,
)
from losses.rows.terms import TERMS
from losses.schema import CatalogError, Hyperparameter, LossRow, Preset, Value, nearest, written

__all__ = [
    "CATALOG",
    "FAMILIES",
    "CatalogError",
    "Hyperparameter",
    "LossRow",
    "Preset",
    "group_key",
    "names",
    "part_row",
    "resolve",
    "row",
    "search_space",
    "source_modules",
]


FAMILIES: dict[str, tuple[LossRow, ...]] = {
    "Softmax": softmax.ROWS,
    "Multiplicative margins": multiplicative.ROWS,
    "Additive margins": additive.ROWS,
    "Adaptive margins": adaptive.ROWS,
    "Binary": binary.ROWS,
    "Pairs and triplets": pairs.ROWS,
    "Proxies": proxies.ROWS,
    "Centers and memories": memory.ROWS,
    "Sums": sums.ROWS,
}
"""The rows under the headings of the docs, in their order."""

CATALOG: dict[str, LossRow] = {entry.name: entry for rows in FAMILIES.values() for entry in rows}

OTHER_NAMES = {
    "a_softmax": "sphereface",
    "am_softmax": "cosface",
    "batch_hard": "triplet",
    "cross_entropy": "softmax",
    "infonce": "ntxent",
    "large_margin_softmax": "l_softmax",
    "lmcl": "cosface",
    "normface": "norm_softmax",
}
"""What else papers and code call a loss, where its name here is not the nearest spelling."""


def names() -> tuple[str, ...]:
    """Names of all losses, in the order of the catalog."""
    return tuple(CATALOG)


def row(name: str) -> LossRow:
    """The catalog's row of a loss, or one made for a sum of losses such as ``softmax+triplet``.

    Raises
    ------
    CatalogError
        There is none; with the nearest spelling.
    """
    if isinstance(name, str) and name in CATALOG:
        return CATALOG[name]
    if isinstance(name, str) and "+" in name:
        return _sum(name)
    if isinstance(name, str) and name in TERMS:
        problem = f"a term of sums, no loss alone; write {TERMS[name].example!r}"
        raise CatalogError.about("loss", name, problem)
    if peers.is_peer(name):
        return peers.row(name)
    here = OTHER_NAMES.get(str(name).lower().replace("-", "_"))
    hint = f"; here it is {here!r}" if here else nearest(name, CATALOG)
    problem = f"unknown{hint} (known: {', '.join(CATALOG)})"
    raise CatalogError.about("loss", name, problem)


def part_row(name: str) -> LossRow:
    """The row of a part of a sum: of a term where there is one of the name, else of the loss."""
    return TERMS[name].row if name in TERMS else row(name)


@cache
def _sum(name: str) -> LossRow:
    parts = name.split("+")
    problem = next(filter(None, (_part_problem(part, parts) for part in parts)), "")
    rows = {} if problem else {part: part_row(part) for part in parts}
    of_classes = [part for part in rows if part in TERMS and TERMS[part].of_classes]
    if of_classes and not any(
        "weight_norm" in entry.recipe and entry.single_rows for entry in rows.values()
    ):
        problem = f"{of_classes[0]} needs a part with one class weight row per class"
    if problem:
        raise CatalogError.about("loss", name, problem)
    return sums.sum_row(name, rows)


def _part_problem(part: str, parts: list[str]) -> str:
    """What is wrong with a part of a sum; empty if nothing."""
    known = {**CATALOG, **TERMS}
    if not part or part != part.strip():
        return "a sum is losses with a + between them and nothing else, as 'softmax+triplet'"
    if parts.count(part) > 1:
        return f"has the part {part!r} twice"
    if part not in known and not peers.is_peer(part):
        return f"unknown part {part!r}{nearest(part, known)} (known: {', '.join(known)})"
    if part in TERMS:
        example = TERMS[part].example
        first = f"{part!r} is a term and cannot be the first part; as in {example!r}"
        return first if part == parts[0] else ""
    entry = row(part)
    if entry.parts:
        return f"{part!r} is itself a sum; write its parts, {'+'.join(entry.parts)}"
    if any(parameter.name == "weight" for parameter in entry.hyperparameters):
        return f"{part!r} has a hyper-parameter 'weight' of its own and cannot be in a sum"
    return ""


def resolve(name: str, given: Mapping[str, object] | None = None) -> dict[str, Value]:
    """All hyper-parameters of a loss: those given, checked, and the defaults of the others.

    The key ``preset`` names one of the loss's presets, whose values then stand for the defaults. A
    hyper-parameter without effect beside the others (``only_if``) is left out, and an error if it
    was given. Resolving a resolved dict returns it unchanged.

    Raises
    ------
    CatalogError
        Unknown loss, preset or key (with the nearest spelling), wrong type, not finite, out of the
        legal range, without effect, not below another.
    """
    entry = row(name)
    parameters = {parameter.name: parameter for parameter in entry.hyperparameters}
    given = dict(given or {})
    values = _preset(entry, given.pop("preset")) if "preset" in given else {}
    for key, value in given.items():
        if key not in parameters:
            peers.check_settable(name, key, value)
            has = ", ".join(parameters) or "none"
            problem = (
                f"{name} has no such hyper-parameter{nearest(key, parameters)} (it has: {has})"
            )
            raise CatalogError.about(f"{name}.{key}", value, problem)
    checked = {
        key: parameter.check(name, given.get(key, values.get(key, parameter.default)))
        for key, parameter in parameters.items()
    }
    resolved = {}
    for key, parameter in parameters.items():
        if parameter.only_if is None or checked[parameter.only_if[0]] in parameter.only_if[1]:
            resolved[key] = checked[key]
        elif key in given:
            other, needed = parameter.only_if
            allowed = " or ".join(written(value) for value in needed)
            problem = f"has an effect only with {other}: {allowed}"
            raise CatalogError.about(f"{name}.{key}", given[key], problem)
    for key, value in resolved.items():
        above = parameters[key].below
        if above is not None and float(value) >= float(resolved[above]):
            problem = f"must be below {above} = {resolved[above]!r}"
            raise CatalogError.about(f"{name}.{key}", value, problem)
    return resolved


def _preset(entry: LossRow, name: object) -> dict[str, Value]:
    presets = {preset.name: preset.values for preset in entry.presets}
    if not isinstance(name, str) or name not in presets:
        has = ", ".join(presets) or "none"
        problem = f"{entry.name} has no such preset{nearest(name, presets)} (it has: {has})"
        raise CatalogError.about(f"{entry.name}.preset", name, problem)
    return presets[name]


def search_space(
    name: str, fixed: Mapping[str, object] | None = None
) -> tuple[Hyperparameter, ...]:
    """Hyper-parameters to tune beside the fixed ones: in effect, free, with a search range."""
    fixed = fixed or {}
    resolved = resolve(name, fixed)
    return tuple(
        parameter
        for parameter in row(name).hyperparameters
        if parameter.name in resolved
        and parameter.name not in fixed
        and parameter.search_low is not None
    )


def group_key(name: str, hyper: Mapping[str, Value]) -> tuple[object, ...]:
    """Name and structural values: what must be equal for experiments to be stacked."""
    structural = [parameter.name for parameter in row(name).hyperparameters if parameter.structural]
    return (name, *((key, hyper.get(key)) for key in structural))


def can_sample(name: str, hyper: Mapping[str, Value]) -> bool:
    """Whether a step can train on some of the classes alone (``losses.class_sampling``).

    A loss without class weights can: it is the same with all. ``hyper`` is resolved.
    """
    entry = row(name)
    for part in entry.parts:
        own = {
            key.removeprefix(f"{part}."): value
            for key, value in hyper.items()
            if key.startswith(f"{part}.")
        }
        if part not in TERMS and not can_sample(part, own):
            return False
    if entry.parts or "weight_norm" not in entry.recipe:
        return True
    if isinstance(entry.unsampled, bool):
        return not entry.unsampled
    key, value = entry.unsampled
    return hyper.get(key) != value


def source_modules(name: str) -> list[str]:
    """Files that decide what a loss computes, sorted.

    Its module and all modules of this package that it imports, found without importing them.
    """
    package = Path(__file__).resolve().parent
    entry = row(name)
    parts = {part: part_row(part) for part in entry.parts} or {name: entry}
    waiting = [each.target.partition(":")[0] for each in (entry, *parts.values())]
    found: set[Path] = set()
    while waiting:
        path = package.parent.joinpath(*waiting.pop().split(".")).with_suffix(".py")
        if path in found or not path.is_file():
            continue
        found.add(path)
        imports = _imports(path.read_text(encoding="utf-8"))
        waiting += [name for name in imports if name.partition(".")[0] == package.name]
    return [str(path) for path in sorted(found.union(*map(peers.sources, parts)))]


@cache
def _imports(code: str) -> tuple[str, ...]:
    """Modules, or names in them, that a module imports."""
    found: list[str] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return tuple(found)
