"""Judging finished runs: protocols read saved embeddings, so that changing a metric never retrains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files import new_folder, write_json
from benchmarks.protocols import judge, read_judged
from benchmarks.store import RunStore


def evaluate_run(
    store: RunStore, experiment_id: str, evaluation: str, settings: Mapping[str, Any]
) -> Path | None:
    """Judge one run, once: writes ``evaluations/<evaluation>/metrics.json`` and ``curves.npz`` in its folder.

    Parameters
    ----------
    evaluation : id of the settings and of the protocols' code.
    settings : ``protocols`` and ``fars`` of the study.

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
        metrics, notes, curves = judge(judged, settings["protocols"], settings["fars"])
        with new_folder(folder) as temporary:
            write_json(
                temporary / "metrics.json",
                {"evaluation": evaluation, "metrics": metrics, "notes": notes},
            )
            np.savez(temporary / "curves.npz", allow_pickle=False, **curves)
    return folder
