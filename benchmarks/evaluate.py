"""Judging finished runs: protocols read saved embeddings, so that changing a metric never retrains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files import new_folder, write_json
from benchmarks.protocols import PROTOCOLS, Outcome, Settings, judge, read_judged
from benchmarks.store import RunStore


def evaluate_run(
    store: RunStore,
    experiment_id: str,
    evaluation: str,
    settings: Mapping[str, Any],
    device: str = "cpu",
) -> Path | None:
    """Judge one run, once: writes ``evaluations/<evaluation>/`` in its folder.

    ``metrics.json`` (metrics, notes, versions of the protocols), ``curves.npz``, and ``replicates.npz`` with the
    metrics under the resamples of the identities (``replicates/<metric>``) and without each of them
    (``left_out/<metric>``) and the class ids judged (``identities/<world>``).

    Parameters
    ----------
    evaluation : id of the settings and of the protocols' code.
    settings : the study's ``evaluate``.
    device : where all-pairs scores are computed.

    Returns
    -------
    The folder of the verdicts; None where the run is not finished and has nothing to judge.

    Raises
    ------
    benchmarks.protocols.ProtocolError : the run's embeddings are missing or damaged.
    """
    result = store.result(experiment_id)
    if result is None or result["status"] != "finished":
        return None
    folder = store.folder(experiment_id) / "evaluations" / evaluation
    if not folder.exists():
        judged = read_judged(store.folder(experiment_id) / "embeddings.npz")
        verdict = judge(judged, settings["protocols"], study_settings(settings, device))
        with new_folder(folder) as temporary:
            write_verdict(verdict, temporary, settings["protocols"], {"evaluation": evaluation})
    return folder


def validation_metrics(
    store: RunStore, experiment_id: str, settings: Mapping[str, Any], device: str = "cpu"
) -> dict[str, float | None]:
    """The validation metrics of a finished run, by their name in its verdict: what tuning may see.

    Images of the test parts, and their labels, are dropped before any protocol is called.

    Raises
    ------
    benchmarks.protocols.ProtocolError : the run's embeddings are missing or damaged.
    """
    judged = read_judged(store.folder(experiment_id) / "embeddings.npz").only("validation")
    chosen = study_settings(settings, device)
    return judge(judged, settings["protocols"], chosen, sides=("validation",)).metrics


def study_settings(evaluate: Mapping[str, Any], device: str = "cpu") -> Settings:
    """The protocols' settings out of a study's ``evaluate``."""
    chosen = {key: value for key, value in evaluate.items() if key != "protocols"}
    return Settings(**chosen, device=device)


def write_verdict(
    verdict: Outcome, folder: Path, protocols: list[str], facts: Mapping[str, Any]
) -> None:
    """Write ``metrics.json``, ``curves.npz`` and ``replicates.npz`` into `folder`."""
    content = {
        **facts,
        "protocols": {name: PROTOCOLS[name].version for name in protocols},
        "metrics": verdict.metrics,
        "notes": verdict.notes,
    }
    write_json(folder / "metrics.json", content)
    np.savez(folder / "curves.npz", allow_pickle=False, **verdict.curves)
    arrays = {f"replicates/{name}": item for name, item in verdict.replicates.items()}
    arrays.update({f"left_out/{name}": item for name, item in verdict.left_out.items()})
    arrays.update({f"identities/{world}": item for world, item in verdict.identities.items()})
    np.savez(folder / "replicates.npz", allow_pickle=False, **arrays)
