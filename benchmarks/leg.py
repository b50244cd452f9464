"""A leg of training: from which epoch to which, and into which folders its results go.

A run is trained in one leg. A trial of the tuner may be trained in several: at a rung, an epoch at which trials are
compared, it leaves a folder of its own with its training state, from which the next leg goes on if it is chosen.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.errors import TrainingError
from benchmarks.experiment import Experiment, content_hash
from benchmarks.files import file_hash
from benchmarks.store import STATE, RunStore, trial_name


@dataclass(frozen=True)
class Leg:
    """What experiments of one layout are trained for.

    Attributes
    ----------
    results : the results folder.
    trial : whether these are trials: kept in ``trials/`` instead of ``runs/``, without the images of the test parts
        and without the model.
    since : the rung that they go on from; None: from the start.
    until : the rung at which they end; None: the end of their training.
    """

    results: Path
    trial: bool = False
    since: int | None = None
    until: int | None = None

    @property
    def store(self) -> RunStore:
        """Where the results go."""
        return RunStore(self.results / ("trials" if self.trial else "runs"))

    def name(self, experiment: Experiment) -> str:
        """The folder of an experiment's result in the store."""
        return trial_name(experiment.id, self.until)

    def key(self, experiments: Iterable[Experiment]) -> str:
        """Name of a stack's lock and checkpoints: by its members, the store and the epoch at which it ends."""
        key = content_hash(sorted({self.name(item) for item in experiments}), 12)
        return f"trials-{key}" if self.trial else key

    def done(self, experiment: Experiment) -> bool:
        """Whether the experiment needs no further try."""
        return self.store.is_final(self.name(experiment))

    def trained_before(self, experiment: Experiment) -> dict[str, Any]:
        """Epochs, images and seconds of the legs before this one."""
        before = {"epochs": 0, "images": 0, "seconds": 0.0}
        result = self.store.result(trial_name(experiment.id, self.since)) if self.since else None
        return before if result is None else {name: result[name] for name in before}

    def start(self, experiment: Experiment) -> dict[str, Any]:
        """The training state of an experiment at the rung `since`, on the CPU.

        Raises
        ------
        TrainingError : it is missing or damaged.
        """
        name = trial_name(experiment.id, self.since)
        folder, result = self.store.folder(name), self.store.result(name)
        path = folder / STATE
        if result is None:
            raise TrainingError(
                f"{folder}: has no result, so training cannot go on from epoch {self.since}; "
                f"train this trial until epoch {self.since} first"
            )
        try:
            if file_hash(path) == result["files"].get(STATE):
                return torch.load(path, map_location="cpu", weights_only=True)
            problem = "damaged (its SHA-256 is not the one in result.json)"
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error})"
        raise TrainingError(f"{path}: {problem}; delete {folder} to train it again")


def state_bytes(state: dict[str, Any]) -> bytes:
    """A training state as the content of ``state.pt``; inverse of what `Leg.start` does."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()
