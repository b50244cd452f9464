"""Training what the tuner tries: in legs from rung to rung, judged without the images that test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from benchmarks.experiment import Experiment
from benchmarks.leg import Leg
from benchmarks.store import STATE, RunStore
from benchmarks.train import train_leg


def trial_store(results: Path) -> RunStore:
    """The store of the trials of a results folder."""
    return Leg(results, trial=True).store


def train_trials(
    experiments: list[Experiment],
    *,
    results: Path,
    device: torch.device,
    until: int | None = None,
    since: int | None = None,
) -> dict[str, str]:
    """Train those of `experiments` that have no final result yet as trials, together, into ``trials/``.

    What is kept of a trial has no image of a test part in it, and no model. Crashes and failures cost what they cost
    in `benchmarks.train.train_stack`. On a CPU a trial ends with the same bits in however many legs and with
    whatever neighbours it was trained.

    Parameters
    ----------
    experiments : of one layout, and with one test part.
    until : the epoch to stop at, a rung; None, or the recipe's epochs: the end.
    since : the rung that all of them go on from; None: from the start.

    Returns
    -------
    The status at `until` of each experiment by id.

    Raises
    ------
    TrainingError : a rung's training state is missing or damaged, the seeds have different test parts, the results
        cannot be written, or another process trains the same stack.
    datasets.errors.DataError : missing or corrupt data.
    ValueError : not 0 < since < until <= epochs.
    """
    if not experiments:
        return {}
    epochs = experiments[0].recipe["epochs"]
    last = epochs if until is None else until
    if not (0 if since is None else since) < last <= epochs or since == 0:
        raise ValueError(
            f"since={since}, until={until}: 0 < since < until <= {epochs} epochs is needed"
        )
    leg = Leg(results, trial=True, since=since, until=last if last < epochs else None)
    return train_leg(list(dict.fromkeys(experiments)), leg, device)


def drop_states(results: Path, experiment_ids: Iterable[str]) -> None:
    """Delete the training states that these trials left at their rungs: no training will go on from there."""
    chosen = set(experiment_ids)
    for path in trial_store(results).root.glob(f"*.epoch-*/{STATE}"):
        if path.parent.name.rpartition(".epoch-")[0] in chosen:
            path.unlink(missing_ok=True)
