"""What the resamples of the identities gave for a study's runs, read from their ``replicates.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.collect import Study
from reports.errors import ReportError
from reports.intervals import Draws

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

    Order and shape are those of `Study.by_seed`.

    Raises
    ------
    ReportError : a file is damaged.
    """
    seeds = sorted(study.frame["seed"].unique())
    ids = dict(
        zip(
            zip(study.frame["cell"], study.frame["seed"], strict=True),
            study.frame["id"],
            strict=True,
        )
    )
    return [[_read(study, ids.get((cell, seed)), metric) for seed in seeds] for cell in cells]


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
        all(map(np.array_equal, first.identities, second.identities))
        and first.replicates.shape == second.replicates.shape
        and first.left_out.shape == second.left_out.shape
    )


def _read(study: Study, experiment: str | None, metric: str) -> RunDraws | None:
    if experiment is None:
        return None
    path = study.runs / experiment / "evaluations" / study.plan["evaluation"] / "replicates.npz"
    if not path.exists():
        return None
    worlds = WORLDS.get(metric.split("/")[0], ("unknown",))
    names = (f"replicates/{metric}", f"left_out/{metric}")
    needed = (*names, *(f"identities/{world}" for world in worlds))
    known = study.cache.setdefault(("stored", experiment), set())
    if known and not known.issuperset(needed):
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            known.update(stored.files)
            if not known.issuperset(needed):
                return None
            identities = tuple(stored[f"identities/{world}"] for world in worlds)
            return RunDraws(identities, *(stored[name] for name in names))
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ReportError(f"{path}: cannot be read ({error}); judge the study again") from error
