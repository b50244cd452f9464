"""The run store: one folder a run, written once, whole; the truth that everything else is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from benchmarks.experiment import Experiment
from benchmarks.files import file_hash, new_folder, write_json

# A run with one of these has its result; the others are tried again whenever their stack is.
FINAL = ("finished", "diverged")
STATUSES = (*FINAL, "failed", "out_of_memory")
STATE = (
    "state.pt"  # the one file of a folder that may be deleted when no training will go on from it
)


@dataclass(frozen=True)
class RunRecord:
    """What is kept of an experiment that was carried out.

    Attributes
    ----------
    status : one of ``STATUSES``.
    reason : why it is not ``finished``; None if it is.
    history : one row an epoch.
    facts : epochs, images, seconds, images_per_second, stack, stack_size, peak_memory, provenance.
    arrays : content of ``embeddings.npz``; None unless finished.
    tensors : content of ``model.safetensors``, by name; None unless finished, and for trials.
    state : content of ``state.pt``, from which training goes on; None but for trials at a rung.
    """

    status: str
    reason: str | None
    history: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] | None = None
    tensors: Mapping[str, np.ndarray] | None = None
    state: bytes | None = None


class RunStore:
    """The folder ``results/runs``, or ``results/trials`` with what the tuner tried."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, experiment_id: str) -> Path:
        """The folder of one run, whether it exists or not."""
        return self.root / experiment_id

    def result(self, experiment_id: str) -> dict[str, Any] | None:
        """The content of ``result.json``; None if the run is not there or cannot be read."""
        try:
            content = json.loads((self.folder(experiment_id) / "result.json").read_text())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) and content.get("status") in STATUSES else None

    def is_final(self, experiment_id: str) -> bool:
        """Whether the run needs no further try."""
        result = self.result(experiment_id)
        return result is not None and result["status"] in FINAL

    def write(self, experiment: Experiment, record: RunRecord, name: str | None = None) -> Path:
        """Write a run's folder whole; an earlier failed try is replaced, a final run is left as it is.

        `name` of the folder: the experiment's id if None.
        """
        name = name or experiment.id
        folder = self.folder(name)
        if self.is_final(name):
            return folder
        with new_folder(folder) as temporary:
            write_json(temporary / "experiment.json", experiment.to_json())
            lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in record.history)
            (temporary / "history.jsonl").write_text(lines)
            if record.arrays is not None:
                np.savez(temporary / "embeddings.npz", allow_pickle=False, **record.arrays)
            if record.tensors is not None:
                # Not save_file: on a full disk it raises an error that is no OSError.
                (temporary / "model.safetensors").write_bytes(save(dict(record.tensors)))
            if record.state is not None:
                (temporary / STATE).write_bytes(record.state)
            files = {path.name: file_hash(path) for path in sorted(temporary.iterdir())}
            content = {
                "id": experiment.id,
                "status": record.status,
                "reason": record.reason,
                **record.facts,
                "files": files,
            }
            write_json(temporary / "result.json", content)
        return folder


def trial_name(experiment_id: str, epoch: int | None) -> str:
    """Folder of a trial in the trial store: ``<id>`` at the end of its training, ``<id>.epoch-3`` at a rung."""
    return experiment_id if epoch is None else f"{experiment_id}.epoch-{epoch}"
