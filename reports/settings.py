"""What varies in a study: the hyper-parameters and recipe keys of a plan's experiments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.tuning.plan import GRID, on_axes

# Columns of a frame that are no settings: the epochs that a run was trained, for one.
_OTHERS = {"cell", "epochs", "id", "loss", "metric", "reason", "seed", "stack", "status"}
_SECTIONS = ("recipe", "backbone", "augment", "split", "dataset")


def varying(
    experiments: Sequence[Mapping[str, Any]],
    planned: Mapping[str, Sequence[str]],
    reasons: Mapping[str, Sequence[str]],
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Of each experiment its hyper-parameters and what else varies in the study; of each loss what
    varies in it, apart from what tuning alone asked for (`reasons`: arms by experiment).
    """
    hyper = [dict(item["loss"]["hyperparameters"]) for item in experiments]
    taken = _OTHERS | {key for own in hyper for key in own}
    rest = [dict(_flatten(item, taken)) for item in experiments]
    shared = {
        key
        for key in {key for own in rest for key in own}
        if len({_key(own.get(key)) for own in rest}) == 1
    }
    settings = [
        {**own, **{key: value for key, value in other.items() if key not in shared}}
        for own, other in zip(hyper, rest, strict=True)
    ]
    axes: dict[str, list[str]] = {}
    for loss in dict.fromkeys(item["loss"]["name"] for item in experiments):
        mine = [
            own
            for item, own in zip(experiments, settings, strict=True)
            if item["loss"]["name"] == loss and on_axes(reasons.get(item["id"], (GRID,)))
        ]
        names = list(dict.fromkeys(key for own in mine for key in own))
        varying = [key for key in names if len({_key(own.get(key)) for own in mine}) > 1]
        varying += [key for key in planned.get(loss, []) if key in names and key not in varying]
        axes[loss] = [key for key in varying if not _follows(key, mine)]
    return settings, axes


def _follows(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a key of the backbone says nothing beside its name: each backbone has its own value of it."""
    if key not in ("embedding_dim", "embedding_norm", "activation"):
        return False
    pairs = {(_key(own.get("backbone")), _key(own.get(key))) for own in settings}
    return 1 < len(pairs) == len({name for name, _ in pairs})


def _flatten(experiment: Mapping[str, Any], taken: set[str]) -> Iterator[tuple[str, Any]]:
    if "embedding_dim" in experiment:
        yield "embedding_dim", experiment["embedding_dim"]
    for section in _SECTIONS:
        content = experiment.get(section, {})
        for key, value in content.items() if isinstance(content, Mapping) else [("name", content)]:
            if isinstance(value, Mapping):
                yield from ((f"{section}.{inner}", item) for inner, item in value.items())
            elif section in ("recipe", "backbone") and key != "name" and key not in taken:
                yield key, value
            else:
                yield (section if key == "name" else f"{section}.{key}"), value


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
