"""Plan and run store to one tidy frame: a row per experiment, whatever became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.errors import ReportError
from reports.npz import Npz
from reports.settings import varying
from reports.tuning.plan import AROUND, DEFAULT, GRID, arm_order, arms_of, on_axes, tuning_of

JOIN = " = "  # between the arms of one cell: a winner that is the default is "default = tuned 1"
SHORT = {"margin": "m", "scale": "s", "learning_rate": "lr", "embedding_dim": "d"}
# Columns whose name is no word for readers.
WORDS = {"split.known_classes": "classes", "recipe.epochs": "epochs", "backbone": "net"}
STATUSES = ("finished", "diverged", "failed", "out_of_memory", "missing")
_RUN_COLUMNS = (
    "status",
    "reason",
    "seconds",
    "images",
    "epochs",
    "stack",
    "stack_size",
    "images_per_second",
    "peak_memory",
)


@dataclass(frozen=True)
class Study:
    """All that a report is made of.

    Attributes
    ----------
    plan : dict
        The content of ``plan.json``, or of ``tuned.json`` in a tuned study.
    runs : Path
        The run store.
    frame : DataFrame
        One row per experiment in the order of the plan (in a tuned study by loss and arm):
        ``id, cell, loss``, in a tuned study ``arm``, settings, ``seed``, what became of the
        run, every metric (fractions in [0, 1]; NaN where there is none).
    settings : tuple of str
        The columns that hold hyper-parameters and whatever else varies.
    metrics : tuple of str
        The columns that hold metrics.
    axes : dict of str to list of str
        For each loss the settings that take more than one value; in a tuned study among its cells
        of the grid and around an optimum, so that a loss without such cells has none.
    notes : DataFrame
        ``id, metric, note``: why a value was refused.
    provenance : DataFrame
        One row per run that was carried out: git commit, versions, machine.
    arms : dict of (str, str) to str
        (loss, arm) to cell, arm being "default" or "tuned 1", …; two arms may share a cell.
    cache : dict
        Comparisons already made; they are shown in several places.
    """

    plan: Mapping[str, Any]
    runs: Path
    frame: pd.DataFrame
    settings: tuple[str, ...]
    metrics: tuple[str, ...]
    axes: dict[str, list[str]]
    notes: pd.DataFrame
    provenance: pd.DataFrame
    arms: dict[tuple[str, str], str] = field(default_factory=dict)
    cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def losses(self) -> list[str]:
        """The losses in the order of the plan."""
        return list(self.axes)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell: cell, loss, settings; in the order of the plan. Not to be changed."""
        columns = ["cell", "loss", *self.settings]
        return self.frame[columns].drop_duplicates("cell").reset_index(drop=True)

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        return {row["cell"]: row for row in self.cells.to_dict("records")}

    def cell(self, cell: str) -> Mapping[str, Any]:
        """Loss and settings of a cell; NaN where it has no such setting."""
        return self._rows[cell]

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds of all runs; they rise."""
        return sorted(int(seed) for seed in self.frame["seed"].unique())

    @cached_property
    def _ids(self) -> dict[str, dict[int, str]]:
        found: dict[str, dict[int, str]] = {}
        columns = (self.frame[name] for name in ("cell", "seed", "id"))
        for cell, seed, experiment in zip(*columns, strict=True):
            found.setdefault(cell, {})[int(seed)] = experiment
        return found

    def runs_of(self, cell: str) -> Mapping[int, str]:
        """Seed to experiment of a cell's runs."""
        return self._ids[cell]

    @property
    def tuning(self) -> Mapping[str, Any] | None:
        """The tuning block of the plan; None in a study without tuning."""
        return tuning_of(self.plan)

    def tuned_cells(self, loss: str) -> list[str]:
        """The cells that the searches of a loss found, each once; none where every search failed."""
        own = [cell for (name, arm), cell in self.arms.items() if name == loss and arm != DEFAULT]
        return list(dict.fromkeys(own))

    def swept(self, loss: str) -> pd.DataFrame:
        """The rows of a loss that its axes speak of: all but what tuning alone asked for; in the
        order of the plan.
        """
        mine = self.frame[self.frame["loss"] == loss]
        if "arm" not in mine:
            return mine
        places = {item["id"]: place for place, item in enumerate(self.plan["experiments"])}
        swept = mine[mine["arm"].str.split(JOIN).map(on_axes)]
        return swept.sort_values("id", key=lambda ids: ids.map(places), kind="stable")

    def by_seed(self, metric: str, cells: Sequence[str]) -> NDArray[np.float64]:
        """Values of a metric as (cells, seeds), NaN where a run has none; seeds rise."""
        seeds = self.seeds
        found = np.full((len(cells), len(seeds)), np.nan)
        if metric not in self.frame:
            return found
        if ("values", metric) not in self.cache:
            self.cache["values", metric] = dict(
                zip(self.frame["id"], self.frame[metric].to_numpy(dtype=float), strict=True)
            )
        values = self.cache["values", metric]
        for row, cell in zip(found, cells, strict=True):
            runs = self._ids.get(cell, {})
            row[:] = [values[runs[seed]] if seed in runs else np.nan for seed in seeds]
        return found

    def measured(self, metric: str) -> bool:
        """Whether any run has a value of this metric."""
        return metric in self.frame and bool(self.frame[metric].notna().any())

    def curves(self, experiment: str) -> Mapping[str, NDArray[Any]]:
        """The arrays of a run's ``curves.npz``, each read when it is asked for; empty where the run
        has none.
        """
        key = ("curves", experiment)
        if key not in self.cache:
            path = self.runs / experiment / "evaluations" / self.plan["evaluation"] / "curves.npz"
            self.cache[key] = Npz(path) if path.exists() else {}
        found: Mapping[str, NDArray[Any]] = self.cache[key]
        return found

    def history(self, experiment: str) -> list[dict[str, Any]]:
        """The epochs of a run; empty where the run has none."""
        path = self.runs / experiment / "history.jsonl"
        if not path.exists():
            return []
        with _explained(path):
            return [json.loads(line) for line in path.read_text().splitlines() if line]


def collect(plan_path: Path, runs: Path) -> Study:
    """Read a plan and what its experiments left in the run store.

    Parameters
    ----------
    plan_path : ``results/<study>/plan.json``, of a tuned study ``tuned.json``.
    runs : the run store; runs that are not there appear with status "missing".

    Raises
    ------
    ReportError : the plan cannot be read or has no experiments, or a file of a run is damaged.
    """
    plan = _read(plan_path)
    experiments = plan.get("experiments")
    if not experiments:
        raise ReportError(
            f"{plan_path}: has no experiments; write it again with the study's config"
        )
    tuned = plan.get("searches") or tuning_of(plan) is not None
    if tuned and "arms" not in (tuning_of(plan) or {}):
        raise ReportError(
            f"{plan_path}: the plan before tuning; give tuned.json beside it, the plan with what "
            "the searches found"
        )
    reasons = arms_of(plan)
    experiments = _by_loss_and_arm(experiments, reasons)
    settings, axes = varying(experiments, plan.get("axes", {}), reasons)
    rows, notes, provenance = [], [], []
    for experiment, own in zip(experiments, settings, strict=True):
        loss = experiment["loss"]["name"]
        result = _result(runs / experiment["id"])
        metrics, refused = _evaluation(
            runs / experiment["id"], plan["evaluation"], result["status"]
        )
        arms = reasons.get(experiment["id"], ())
        rows.append(
            {
                "id": experiment["id"],
                "cell": _cell(loss, {key: own[key] for key in axes[loss] if key in own}, arms),
                "loss": loss,
                **({"arm": JOIN.join(arms)} if arms else {}),
                **own,
                "seed": int(experiment["seed"]),
                **{key: result.get(key) for key in _RUN_COLUMNS},
                **metrics,
            }
        )
        if result["status"] == "finished" and not metrics:
            rows[-1]["reason"] = f"not evaluated: no metrics of evaluation {plan['evaluation']}"
        notes += [
            {"id": experiment["id"], "metric": name, "note": note} for name, note in refused.items()
        ]
        if result.get("provenance"):
            provenance.append({"id": experiment["id"], **result["provenance"]})
    names = list(dict.fromkeys(key for own in settings for key in own))
    head = ["id", "cell", "loss", *(["arm"] if reasons else [])]
    metric_names = sorted(
        {key for row in rows for key in row} - {*head, *names, "seed", *_RUN_COLUMNS}
    )
    columns = [*head, *names, "seed", *_RUN_COLUMNS, *metric_names]
    return Study(
        plan=plan,
        runs=runs,
        frame=_typed(pd.DataFrame(rows, columns=columns), names, metric_names),
        settings=tuple(names),
        metrics=tuple(metric_names),
        axes=axes,
        notes=pd.DataFrame(notes, columns=["id", "metric", "note"]),
        provenance=pd.DataFrame(provenance),
        arms={
            (row["loss"], arm): row["cell"]
            for row in rows
            for arm in reasons.get(row["id"], ())
            if arm not in (GRID, AROUND)
        },
    )


def write_results(study: Study, folder: Path) -> tuple[Path, Path]:
    """Write the frame as ``results.parquet`` and ``results.csv`` into a folder; equal frames give
    equal CSV bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parquet, csv = folder / "results.parquet", folder / "results.csv"
    study.frame.to_parquet(parquet, index=False)
    study.frame.to_csv(csv, index=False, lineterminator="\n")
    return parquet, csv


def cell_label(loss: str, settings: Mapping[str, Any]) -> str:
    """A readable name of a cell, of the settings that vary.

    >>> cell_label("arcface", {"margin": 0.5, "scale": 32.0})
    'arcface m=0.5 s=32'
    """
    return " ".join(
        [loss, *(f"{SHORT.get(key, key)}={value_text(value)}" for key, value in settings.items())]
    )


def value_text(value: Any, digits: int = 6) -> str:
    """A setting as text: 32.0 -> "32", True -> "true"; numbers to so many significant digits."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return f"{value:.{digits}g}" if isinstance(value, int | float | np.number) else str(value)


def _cell(loss: str, settings: Mapping[str, Any], arms: Sequence[str]) -> str:
    """The name of a cell: of what tuning chose the arm, of all others the settings that vary."""
    chosen = [arm for arm in arms if arm not in (GRID, AROUND)]
    if chosen:
        return f"{loss} {JOIN.join(chosen)}"
    return cell_label(f"{loss} {AROUND}" if arms == (AROUND,) else loss, settings)


def _by_loss_and_arm(
    experiments: Sequence[Mapping[str, Any]], reasons: Mapping[str, Sequence[str]]
) -> list[Mapping[str, Any]]:
    """In a tuned study by loss and arm: the plan has first the grid of all losses, then the rest."""
    places = {
        loss: place
        for place, loss in enumerate(dict.fromkeys(item["loss"]["name"] for item in experiments))
    }
    return (
        sorted(
            experiments,
            key=lambda item: (places[item["loss"]["name"]], arm_order(reasons[item["id"]][0])),
        )
        if reasons
        else list(experiments)
    )


def _result(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    if not path.exists():
        return {"status": "missing", "reason": "the run was not carried out"}
    result = _read(path)
    if result.get("status") not in STATUSES:
        raise ReportError(
            f"{path}: status {result.get('status')!r} is not one of {', '.join(STATUSES)}"
        )
    return result


def _evaluation(
    folder: Path, evaluation: str, status: str
) -> tuple[dict[str, float], dict[str, str]]:
    path = folder / "evaluations" / evaluation / "metrics.json"
    if status != "finished" or not path.exists():
        return {}, {}
    content = _read(path)
    metrics = {
        key: float("nan") if value is None else float(value)
        for key, value in content["metrics"].items()
    }
    return metrics, dict(content.get("notes", {}))


def _read(path: Path) -> dict[str, Any]:
    with _explained(path):
        content: dict[str, Any] = json.loads(path.read_text())
    return content


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise a ReportError where the file of that name cannot be read, or is no JSON."""
    try:
        yield
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ReportError(
            f"{path}: not JSON ({error}); delete it and run the study again"
        ) from error


def _typed(frame: pd.DataFrame, settings: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Numbers as float; settings that mix kinds as text, so that every column has one type."""
    typed = {}
    for name in settings:
        values = frame[name].dropna()
        numeric = len(values) > 0 and all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in values
        )
        typed[name] = (
            frame[name].astype(float)
            if numeric
            else frame[name].map(value_text, na_action="ignore")
        )
    numbers = ("seconds", "images", "epochs", "stack_size", "images_per_second", "peak_memory")
    for name in (*metrics, *numbers):
        typed[name] = frame[name].astype(float)
    for name in ("status", "reason", "stack"):
        typed[name] = frame[name].astype("str")
    # All at once: a frame that gains its columns one by one is slow, and says so.
    return frame.assign(**typed).copy()
