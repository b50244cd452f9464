"""A study file as it is written: YAML, overrides merged into it, and its ``quick`` form."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import ConfigError

# The grid of a study is replaced, not mixed with another.
WHOLE = ("losses", "vary")


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


def read(path: Path) -> dict[str, Any]:
    """The content of a study file; ``study`` is the file's name where it says none.

    Raises
    ------
    ConfigError : the file is missing, not YAML, or no mapping.
    """
    try:
        content = yaml.load(path.read_text(), _Loader)  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a study file is a mapping of keys; see config/README.md")
    return {"study": path.stem, **content}


def quick_form(content: Mapping[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    """A study with its ``quick`` block applied, under a name of its own.

    >>> quick_form({"study": "a", "seeds": 5}, {"seeds": 1})
    {'study': 'a_quick', 'seeds': 1}
    """
    return merged({**content, "study": f"{content['study']}_quick"}, block)


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `overrides`: mappings key by key, anything else and the grid as a whole.

    ``tune: null`` is a study that is not tuned.
    """
    config = _merged(base, overrides, WHOLE)
    if config.get("tune", {}) is None:
        del config["tune"]
    return config


def _merged(
    base: Mapping[str, Any], overrides: Mapping[str, Any], whole: tuple[str, ...] = ()
) -> dict[str, Any]:
    found = copy.deepcopy(dict(base))
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(found.get(key), Mapping) and key not in whole:
            found[key] = _merged(found[key], value)
        else:
            found[key] = copy.deepcopy(value)
    return found


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
