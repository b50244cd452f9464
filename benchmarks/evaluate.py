"""Judging finished runs: protocols read saved embeddings, so that changing a metric never retrains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files import new_folder, write_json
from benchmarks.protocols import PROTOCOLS, Judged, Outcome, Settings, judge, read_judged
from benchmarks.store import RunStore
from datasets.splits import Split


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


def unsupported(
    metrics: Sequence[str], split: Split, labels: np.ndarray, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Those of the validation `metrics` that this split cannot carry whatever the embeddings, with the reason.

    Judged are random embeddings and random scores: what is refused for these is refused for all.

    Parameters
    ----------
    metrics : names as `validation_metrics` gives them.
    labels : class ids of all images.
    settings : the study's ``evaluate``.
    """
    rng, known = np.random.default_rng(0), np.asarray(split.known_classes)
    shown = min(5, len(known))
    judged = Judged(
        rng.normal(size=(len(labels), 4)),
        labels,
        split.part(len(labels)),
        known,
        top_classes=known[rng.permuted(np.tile(np.arange(shown), (len(labels), 1)), axis=1)],
        top_scores=-np.sort(rng.random((len(labels), shown)), axis=1),
        logsumexp=np.full(len(labels), np.log(len(known)) + 1),
    ).only("validation")
    protocols = sorted({name.removeprefix("validation/").partition("/")[0] for name in metrics})
    found = judge(judged, protocols, study_settings(settings), sides=("validation",))
    return {
        name: found.notes.get(name, "the split has no such images")
        for name in metrics
        if found.metrics.get(name) is None
    }


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
