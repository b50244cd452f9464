"""What was run, in terms and texts: data, recipe, tuning, code and machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.collect import Study, value_text
from reports.metrics import VALIDATION
from reports.tuning.plan import objectives
from reports.words.grammar import counted, in_sentence

_DATASHEET = (
    "git_commit",
    "dirty",
    "python",
    "torch",
    "numpy",
    "platform",
    "cpu",
    "device",
    "threads",
)
_NAMES = {
    "git_commit": "Git commit",
    "dirty": "Uncommitted changes",
    "cpu": "CPU",
    "torch": "PyTorch",
    "numpy": "NumPy",
}


def setup(study: Study) -> list[tuple[str, str]]:
    """What was run, as (term, text)."""
    first = study.plan["experiments"][0]
    frame = study.frame
    varying = set(study.settings)
    seeds = sorted(int(seed) for seed in frame["seed"].unique())
    done = frame.dropna(subset=["seconds"])
    seconds = float(done["seconds"].sum())
    rows = [
        (
            "Data set",
            _listed({"name": first["dataset"]["name"], **first["dataset"].get("options", {})}),
        ),
        (
            "Data checksum",
            ", ".join(sorted({item["data_checksum"] for item in study.plan["experiments"]})),
        ),
        ("Split", _listed(first["split"])),
        ("Backbone", _listed(_named(first, varying))),
        ("Recipe", _listed({k: v for k, v in first["recipe"].items() if k not in varying})),
        (
            "Augmentation",
            _listed({k: v for k, v in first.get("augment", {}).items() if v}) or "none",
        ),
        (
            "Grid" if study.tuning is None else "Settings",
            f"{len(study.cells)} settings of {len(study.losses)} losses × {len(seeds)} seeds "
            f"({', '.join(map(str, seeds))})",
        ),
        ("Tuning", _tuning(study)),
    ]
    if len(done):
        rate = f", {done['images'].sum() / seconds:,.0f} images per second" if seconds > 0 else ""
        stacks = done["stack"].nunique()
        text = (
            f"{_duration(seconds)} in {stacks} stack{'s' if stacks > 1 else ''} of models "
            f"trained together{rate}"
        )
        rows.append(("Training time", text))
    return [(term, text) for term, text in rows if text]


def _tuning(study: Study) -> str:
    """How the searches went about it, in one line; empty without tuning."""
    if study.tuning is None:
        return ""
    tuning, goals = study.tuning, objectives(study.tuning)
    better = " and ".join(
        f"{'higher' if goal.higher_is_better else 'lower'} "
        f"{in_sentence(goal.metric.removeprefix(VALIDATION))}"
        for goal in goals
    )
    losses = len(dict.fromkeys(search["loss"] for search in tuning["searches"]))
    texts = [
        f"{losses} loss{'es' if losses > 1 else ''} × {counted(tuning['studies'], 'search', 'es')} of "
        f"{counted(tuning['trials'], 'trial')} in {counted(tuning['rounds'], 'round')} "
        f"({tuning['sampler']})",
        f"for {better} on validation images",
        f"{counted(tuning['epochs'], 'epoch')} and {counted(tuning['seeds_per_trial'], 'seed')} a trial",
    ]
    if halving := tuning["halving"]:
        texts.append(
            f"successive halving by {value_text(halving['factor'])} at {halving['rungs']} rungs"
        )
    if tuning["extend_bounds"]:
        texts.append("a range grows once where the best trial lies on its bound")
    return "; ".join(texts)


def _named(experiment: Mapping[str, Any], varying: set[str]) -> dict[str, Any]:
    backbone = experiment["backbone"]
    content = dict(backbone) if isinstance(backbone, Mapping) else {"name": backbone}
    if "embedding_dim" in experiment:
        content["embedding_dim"] = experiment["embedding_dim"]
    return {key: value for key, value in content.items() if key not in varying}


def _listed(content: Mapping[str, Any]) -> str:
    texts = [
        value_text(value) if key == "name" else f"{key.replace('_', ' ')} {_text(value)}"
        for key, value in content.items()
        if value is not None
    ]
    return ", ".join(texts)


def _text(value: Any) -> str:
    return (
        "/".join(map(value_text, value)) if isinstance(value, list | tuple) else value_text(value)
    )


def provenance(study: Study) -> list[tuple[str, str]]:
    """Code, versions and machines of the runs; every distinct value, most frequent first."""
    rows = []
    for key in _DATASHEET:
        if key in study.provenance:
            values = study.provenance[key].dropna()
            values = values.map(
                lambda value: "yes" if value is True else "no" if value is False else str(value)
            )
            counts = values.value_counts()
            texts = [
                f"{value} ({count} runs)" if len(counts) > 1 else str(value)
                for value, count in counts.items()
            ]
            if texts:
                rows.append((_NAMES.get(key, key.capitalize()), ", ".join(texts)))
    return rows


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
