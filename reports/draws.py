"""What the resamples of the identities gave for a study's runs, read from their ``replicates.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reports.collect import Study
from reports.errors import ReportError
from reports.npz import Npz
from reports.statistics.intervals import Draws

# Whose identities a protocol's metrics depend on; of the others it is the unknown ones.
WORLDS = {"closed_set": ("known",), "open_set_recognition": ("known", "unknown")}


@dataclass(frozen=True)
class RunDraws:
    """One run's metric under the resamples of the identities.

    Attributes
    ----------
    identities : class ids judged, of each world; runs with equal ones share their resamples.
    replicates : (R,) under each resample.
    left_out : (U,) without each identity.
    """

    identities: tuple[NDArray[np.int64], ...]
    replicates: NDArray[np.float64]
    left_out: NDArray[np.float64]


Cell = list[RunDraws | None]  # of each seed, in order


def cell_draws(study: Study, metric: str, cells: Sequence[str]) -> list[Cell]:
    """Of each cell and seed what its run stored for `metric`; None where it stored nothing.

    Order and shape are those of `Study.by_seed`. What was read is kept: tables, figures and words
    ask for the same.

    Raises
    ------
    ReportError : a file is damaged.
    """
    found = []
    for cell in cells:
        key = ("draws", metric, cell)
        if key not in study.cache:
            runs = study.runs_of(cell)
            study.cache[key] = [_read(study, runs.get(seed), metric) for seed in study.seeds]
        found.append(study.cache[key])
    return found


def joined(runs: Sequence[RunDraws | None]) -> tuple[Draws | None, bool]:
    """The draws of several runs side by side.

    Returns
    -------
    draws : of all runs, or None where one has none or they judged different identities.
    own : whether they judged different identities.
    """
    found = [run for run in runs if run is not None]
    if not found or len(found) < len(runs):
        return None, False
    if not all(same_identities(run, found[0]) for run in found):
        return None, True
    replicates = np.array([run.replicates for run in found])
    return Draws(replicates, np.array([run.left_out for run in found])), False


def same_identities(first: RunDraws, second: RunDraws) -> bool:
    """Whether replicate r is the same draw of identities in both."""
    return (
        len(first.identities) == len(second.identities)
        and all(
            one is two or np.array_equal(one, two)
            for one, two in zip(first.identities, second.identities, strict=True)
        )
        and first.replicates.shape == second.replicates.shape
        and first.left_out.shape == second.left_out.shape
    )


def _read(study: Study, experiment: str | None, metric: str) -> RunDraws | None:
    if experiment is None:
        return None
    key = ("stored", experiment)
    names = (f"replicates/{metric}", f"left_out/{metric}")
    worlds = [f"identities/{world}" for world in WORLDS.get(metric.split("/")[0], ("unknown",))]
    try:
        if key not in study.cache:
            path = _path(study, experiment)
            study.cache[key] = Npz(path) if path.exists() else None
        stored = study.cache[key]
        if stored is None or not all(name in stored for name in (*names, *worlds)):
            return None
        replicates, left_out = stored.read(*names)
        identities = tuple(_identities(study, experiment, stored, world) for world in worlds)
        return RunDraws(identities, replicates, left_out)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        path = _path(study, experiment)
        raise ReportError(f"{path}: cannot be read ({error}); judge the study again") from error


def _path(study: Study, experiment: str) -> Path:
    return study.runs / experiment / "evaluations" / study.plan["evaluation"] / "replicates.npz"


def _identities(study: Study, experiment: str, stored: Npz, world: str) -> NDArray[np.int64]:
    """The classes that a run judged; of equal ones always the same array."""
    key = ("identities", experiment, world)
    if key not in study.cache:
        (array,) = stored.read(world)
        study.cache[key] = study.cache.setdefault(("identities", array.tobytes()), array)
    found: NDArray[np.int64] = study.cache[key]
    return found
