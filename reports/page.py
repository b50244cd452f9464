"""The report as one self-contained HTML file."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.collect import STATUSES, Study, value_text
from reports.details import by_protocol
from reports.figures import Saved
from reports.findings import findings
from reports.metrics import VALIDATION, metric
from reports.render import plain
from reports.selection import Selection
from reports.summary import Number
from reports.table import Table
from reports.tuning import objectives
from reports.tuning_tables import by_metric

_TEMPLATES = Path(__file__).resolve().parent / "templates"
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


def write_page(
    study: Study,
    selection: Selection,
    tables: Sequence[Table],
    figures: Sequence[Saved],
    out: Path,
    command: str,
) -> Path:
    """Write ``index.html`` into `out`; images are inlined, other files are linked relative to it.

    Parameters
    ----------
    tables, figures : as written to ``out/tables`` and ``out/figures``.
    command : what to type to make this report again.

    Returns
    -------
    The page.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["number"] = lambda entry: isinstance(entry, Number)
    environment.filters["plain"] = plain
    named = {table.name: table for table in tables}
    statuses = study.frame["status"].value_counts()
    shown: list[dict[str, Any]] = [
        {"saved": figure, "image": _inline(figure.path("png"))} for figure in figures
    ]
    html = environment.get_template("page.html.j2").render(
        title=study.plan.get("title") or study.plan["study"],
        name=study.plan["study"],
        findings=findings(study, selection),
        setup=_setup(study),
        counts=[
            (status.replace("_", " "), int(statuses[status]))
            for status in STATUSES
            if statuses.get(status, 0)
        ],
        total=len(study.frame),
        provenance=_provenance(study),
        tables=named,
        protocols=by_protocol(named["metrics"]),
        effects=by_metric(named["default_vs_tuned"]) if "default_vs_tuned" in named else [],
        figures=[each for each in shown if not _of_tuning(each["saved"])],
        tuning_figures=[each for each in shown if _of_tuning(each["saved"])],
        command=command,
        redraw=f"python -m reports redraw {shlex.quote(str(out / 'figures'))}",
    )
    path = out / "index.html"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8", newline="\n")
    return path


def _of_tuning(figure: Saved) -> bool:
    return figure.section == "Tuning"


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _setup(study: Study) -> list[tuple[str, str]]:
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
        f"{_lower(metric(goal.metric.removeprefix(VALIDATION)).title)}"
        for goal in goals
    )
    losses = len(dict.fromkeys(search["loss"] for search in tuning["searches"]))
    texts = [
        f"{losses} loss{'es' if losses > 1 else ''} × {_count(tuning['studies'], 'search', 'es')} of "
        f"{_count(tuning['trials'], 'trial')} in {_count(tuning['rounds'], 'round')} "
        f"({tuning['sampler']})",
        f"for {better} on validation images",
        f"{_count(tuning['epochs'], 'epoch')} and {_count(tuning['seeds_per_trial'], 'seed')} a trial",
    ]
    if halving := tuning["halving"]:
        texts.append(
            f"successive halving by {value_text(halving['factor'])} at {halving['rungs']} rungs"
        )
    if tuning["extend_bounds"]:
        texts.append("a range grows once where the best trial lies on its bound")
    return "; ".join(texts)


def _count(number: int, word: str, plural: str = "s") -> str:
    return f"{number:,} {word}{'' if number == 1 else plural}"


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]


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


def _provenance(study: Study) -> list[tuple[str, str]]:
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
