"""Losses of pytorch-metric-learning as rows of the catalog: ``pml:TripletMarginLoss``.

Read from the sources of the installed package, which is not imported. No torch.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from losses.schema import CatalogError, Hyperparameter, LossRow, Value, finite

PREFIX = "pml:"
PACKAGE = "pytorch_metric_learning"
INSTALL = "pip install pytorch-metric-learning==2.9.0"

NONE = "none"
"""What a study writes for Python's None, where an argument has that default."""

_REQUIRED = "required"
_CLASSES = ("num_classes",)
_DIMENSION = ("embedding_size", "descriptors_dim")
_EXPERIMENT = (*_CLASSES, *_DIMENSION)
_OBJECTS = {
    "collect_stats": "statistics are not collected",
    "distance": "it takes an object",
    "embedding_reg_weight": "it acts on a regularizer, which is an object",
    "embedding_regularizer": "it takes an object",
    "reducer": "it takes an object",
    "triplets_per_anchor": "triplets would be drawn from the global generator, which a run that "
    "goes on from a checkpoint cannot repeat",
    "weight_init_func": "it takes an object",
    "weight_reg_weight": "it acts on a regularizer, which is an object",
    "weight_regularizer": "it takes an object",
}
_BASE = "it is a base class"
REFUSED = {
    "BaseLossWrapper": _BASE,
    "BaseMetricLossFunction": _BASE,
    "CrossBatchMemory": "it wraps another loss, and its queue is in no checkpoint",
    "DynamicSoftMarginLoss": "its moving histogram is in no checkpoint",
    "EmbeddingRegularizerMixin": _BASE,
    "GenericPairLoss": _BASE,
    "ManifoldLoss": "it takes no labels, and draws classes from the global generator in every step",
    "MultipleLosses": "it wraps other losses",
    "SelfSupervisedLoss": "it wraps another loss, and needs two views of every image",
    "VICRegLoss": "it takes no labels, and needs two views of every image",
    "WeightRegularizerMixin": _BASE,
}
"""Classes that cannot be a loss of a study, and why."""


@dataclass(frozen=True)
class Argument(Hyperparameter):
    """A keyword argument of a peer's constructor.

    The package states no legal range: any plain value of the default's kind is allowed.

    Attributes
    ----------
    required : bool
        It has no default.
    """

    required: bool = False

    def check(self, loss: str, value: object) -> Value:
        """See `Hyperparameter.check`."""
        key = f"{loss}.{self.name}"
        if self.required and value == _REQUIRED:
            raise CatalogError(f"{key}: must be given; it has no default", key=key)
        if isinstance(self.default, bool):
            return super().check(loss, value)
        if isinstance(value, str) and isinstance(self.default, str) and not self.required:
            return value
        if isinstance(value, bool) and self.default == NONE:
            return value
        word = isinstance(self.default, str) and self.default != NONE and not self.required
        if word or isinstance(value, bool) or not isinstance(value, int | float):
            raise CatalogError.about(key, value, f"must be {self._kind()}")
        number = finite(key, value)
        if isinstance(self.default, int) and number.is_integer():
            return int(value)
        return number if isinstance(self.default, float) else value

    def _kind(self) -> str:
        if self.default == NONE:
            return "one plain value (a number, a word, true or false)"
        return "one word" if isinstance(self.default, str) and not self.required else "one number"


@dataclass(frozen=True)
class Peer:
    """What the sources say about one class.

    Attributes
    ----------
    name : str
    arguments : tuple of Argument
        What a study may set.
    experiment : tuple of str
        What the experiment gives, of ``num_classes``, ``embedding_size``, ``descriptors_dim``.
    sources : tuple of Path
        The modules of the class and its bases, and the package's own, which states its version.
    """

    name: str
    arguments: tuple[Argument, ...]
    experiment: tuple[str, ...]
    sources: tuple[Path, ...]

    @property
    def has_classes(self) -> bool:
        """There are class weights or proxies."""
        return any(name in _CLASSES for name in self.experiment)


def is_peer(name: object) -> bool:
    """Whether a loss is named as one of pytorch-metric-learning."""
    return isinstance(name, str) and name.startswith(PREFIX)


@cache
def row(name: str) -> LossRow:
    """The row of a loss named ``pml:<ClassName>``.

    Raises
    ------
    CatalogError
        The package is not installed, it has no such class, or the class cannot be used.
    """
    peer = describe(name)
    return LossRow(
        name=name,
        title=f"{peer.name} (PML)",
        paper="As implemented in pytorch-metric-learning",
        year=2020,
        arxiv="",
        target=f"losses.pml:{peer.name}",
        kind="classifier" if peer.has_classes else "embedding",
        sampler="shuffled" if peer.has_classes else "balanced",
        hyperparameters=peer.arguments,
        recipe=(),
        stacked=False,
        notes="Keyword arguments and defaults of the class; not settable: "
        f"{', '.join(sorted({*_EXPERIMENT, *_OBJECTS}))}.",
    )


@cache
def describe(name: str) -> Peer:
    """Read one class; see `row` for what is raised."""
    class_name = name.removeprefix(PREFIX)
    if class_name in REFUSED:
        raise CatalogError.about("loss", name, f"cannot be used: {REFUSED[class_name]}")
    root = _package(name)
    known = _exported(root / "losses" / "__init__.py")
    if class_name not in known:
        usable = sorted(set(known) - set(REFUSED))
        problem = f"unknown{_nearest(class_name, usable)} (known: {', '.join(usable)})"
        raise CatalogError.about("loss", name, problem)
    chain = list(_chain(known[class_name], class_name))
    arguments: dict[str, Argument] = {}
    experiment: list[str] = []
    fixed: set[str] = set()
    for _, node in chain:
        init = _init(node)
        if init is None:
            continue
        for key, default in _signature(init):
            if key in _EXPERIMENT:
                # A default of None: optional, and the loss is none over class weights.
                if default is None and key not in experiment:
                    experiment.append(key)
            elif key not in _OBJECTS and key not in arguments and key not in fixed:
                arguments[key] = _argument(name, key, default)
        fixed |= _passed_on(init)
        if init.args.kwarg is None:
            break
    sources = {root / "__init__.py", *(path for path, _ in chain)}
    return Peer(class_name, tuple(arguments.values()), tuple(experiment), tuple(sorted(sources)))


def sources(name: str) -> tuple[Path, ...]:
    """The package's files that decide what a loss computes; none for a loss of our own."""
    return describe(name).sources if is_peer(name) else ()


def check_settable(name: str, key: str, value: object) -> None:
    """Raise the reason if a study cannot set this argument of a peer."""
    argument = str(key)
    if not is_peer(name):
        return
    if argument in _EXPERIMENT:
        problem = "comes from the experiment and cannot be set"
        raise CatalogError.about(f"{name}.{argument}", value, problem)
    if argument in _OBJECTS:
        problem = f"cannot be set: {_OBJECTS[argument]}"
        raise CatalogError.about(f"{name}.{argument}", value, problem)


def _package(name: str) -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        problem = f"needs pytorch-metric-learning, which is not installed; type: {INSTALL}"
        raise CatalogError.about("loss", name, problem)
    return Path(spec.origin).parent


def _nearest(name: str, allowed: Iterable[str]) -> str:
    spelled = {key.lower(): key for key in allowed}
    found = difflib.get_close_matches(name.lower(), list(spelled), n=1, cutoff=0.5)
    return f"; did you mean '{PREFIX}{spelled[found[0]]}'?" if found else ""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _exported(path: Path) -> dict[str, Path]:
    """The classes that a module imports from files of the package, each with the file."""
    found: dict[str, Path] = {}
    for node in _tree(path).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            base = folder.joinpath(*(node.module or "").split("."))
            for alias in node.names:
                for file in (base.with_suffix(".py"), base / "__init__.py"):
                    if file.is_file():
                        found[alias.asname or alias.name] = file
                        break
    return found


def _chain(
    path: Path, name: str, seen: set[str] | None = None
) -> Iterator[tuple[Path, ast.ClassDef]]:
    """A class and its bases, in the order in which Python calls their constructors."""
    seen = set() if seen is None else seen
    node = next(
        (item for item in _tree(path).body if isinstance(item, ast.ClassDef) and item.name == name),
        None,
    )
    if node is None:  # re-exported by a package's own file
        exported = _exported(path)
        if name in exported and exported[name] != path:
            yield from _chain(exported[name], name, seen)
        return
    if name in seen:
        return
    seen.add(name)
    yield path, node
    imported = _exported(path)
    for base in node.bases:
        if isinstance(base, ast.Name):
            yield from _chain(imported.get(base.id, path), base.id, seen)


def _init(node: ast.ClassDef) -> ast.FunctionDef | None:
    found = (
        item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"
    )
    return next(found, None)


def _signature(init: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None]]:
    """Names and defaults of the arguments, ``self`` apart."""
    positional = [*init.args.posonlyargs, *init.args.args][1:]
    missing = len(positional) - len(init.args.defaults)
    defaults = [None] * max(0, missing) + init.args.defaults[-len(positional) :]
    yield from zip((argument.arg for argument in positional), defaults, strict=False)
    yield from zip(
        (argument.arg for argument in init.args.kwonlyargs), init.args.kw_defaults, strict=True
    )


def _passed_on(init: ast.FunctionDef) -> set[str]:
    """Keyword arguments that the constructor hands to the next one itself."""
    return {
        keyword.arg
        for node in ast.walk(init)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "__init__"
        for keyword in node.keywords
        if keyword.arg is not None
    }


def _argument(loss: str, name: str, default: ast.expr | None) -> Argument:
    meaning = "keyword argument of the class"
    if default is None:
        return Argument(
            name, "argument", _REQUIRED, structural=True, meaning=meaning, required=True
        )
    value = ast.literal_eval(default)
    if value is not None and not isinstance(value, bool | int | float | str):
        raise CatalogError.about(
            "loss", loss, f"cannot be used: the default of {name} is no scalar"
        )
    shown: Value = NONE if value is None else value
    return Argument(name, "argument", shown, structural=True, meaning=meaning)
