"""Every run of a study in a row: what became of it, its headline values, where its files are."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from reports import metrics
from reports.collect import Study
from reports.page.links import Links, run_anchor
from reports.page.mlflow_links import Mirror
from reports.selection import Selection
from reports.summary import full_setting, headline_metrics, loss_title
from reports.words.recommend import strict_tar

FILES = (
    ("config", "experiment.json"),
    ("history", "history.jsonl"),
    ("result", "result.json"),
    ("metrics", "evaluations/{evaluation}/metrics.json"),
)


@dataclass(frozen=True)
class Value:
    """A value as shown, and raw (a fraction; NaN where there is none)."""

    text: str
    raw: float


@dataclass(frozen=True)
class Run:
    """A row.

    Attributes
    ----------
    anchor, setting_anchor : ids in the page; the first row of a setting carries both.
    first : whether it is the first row of its setting.
    values : of `Experiments.columns`.
    files : (label, address relative to the page) of those that exist.
    mlflow_run, mlflow_link : MLflow's id of the run and its address; empty where unknown.
    """

    id: str
    anchor: str
    setting_anchor: str
    first: bool
    loss: str
    setting: str
    seed: int
    status: str
    reason: str
    values: list[Value]
    files: list[tuple[str, str]]
    mlflow_run: str
    mlflow_link: str


@dataclass(frozen=True)
class Experiments:
    """The table; `columns`: (short, title) of its metrics; `linked`: whether rows lead to files of
    their runs and to MLflow; `note`: on the links to MLflow.
    """

    columns: list[tuple[str, str]]
    runs: list[Run]
    linked: bool
    note: str


def experiments(
    study: Study, selection: Selection, links: Links, mirror: Mirror, out: Path | None
) -> Experiments:
    """Every run in the order of the study; `out`: folder of the page, None of one that leaves this
    machine, where neither the run store nor MLflow would be found.
    """
    mirror = Mirror() if out is None else mirror
    strict = strict_tar(study, selection.cells)
    names = [*headline_metrics(study), *([strict] if strict is not None else [])]
    settings = {cell: full_setting(study, cell) for cell in links.settings}
    store = "" if out is None else os.path.relpath(study.runs.resolve(), out.resolve())
    store = quote(store.replace(os.sep, "/"))
    runs, seen = [], set()
    order = {cell: place for place, cell in enumerate(links.settings)}
    frame = study.frame.sort_values("cell", key=lambda own: own.map(order), kind="stable")
    for row in frame.to_dict("records"):
        cell, own = str(row["cell"]), str(row["id"])
        runs.append(
            Run(
                id=own,
                anchor=run_anchor(own),
                setting_anchor=links.settings[cell],
                first=cell not in seen,
                loss=loss_title(str(row["loss"])),
                setting=settings[cell],
                seed=int(row["seed"]),
                status=str(row["status"]).replace("_", " "),
                reason="" if row["reason"] != row["reason"] else str(row["reason"] or ""),
                values=_values(names, [float(row[name]) for name in names]),
                files=_files(study, own, store) if store else [],
                mlflow_run=mirror.runs.get(own, ""),
                mlflow_link=mirror.link(own),
            )
        )
        seen.add(cell)
    rows = [metrics.metric(name) for name in names]
    columns = [(f"{row.short}{' (%)' if row.percent else ''}", row.title) for row in rows]
    return Experiments(columns, runs, out is not None, mirror.note)


def _values(names: Sequence[str], raw: Sequence[float]) -> list[Value]:
    found = []
    for name, value in zip(names, raw, strict=True):
        shown = f"{100 * value:.2f}" if metrics.metric(name).percent else f"{value:.3f}"
        found.append(Value("–" if math.isnan(value) else shown, value))
    return found


def _files(study: Study, experiment: str, store: str) -> list[tuple[str, str]]:
    folder = study.runs / experiment
    found = []
    for label, pattern in FILES:
        path = pattern.format(evaluation=study.plan["evaluation"])
        if (folder / path).exists():
            found.append((label, f"{store}/{quote(experiment)}/{quote(path)}"))
    return found
