"""Training a stack: epochs, checkpoints, history, and what to do when it fails."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.angles import angle_histograms, watched_epochs
from benchmarks.capacity import parts_that_fit, release
from benchmarks.checkpoint import Checkpoints
from benchmarks.data import TrainingData
from benchmarks.devices import claim_gpu
from benchmarks.errors import TrainingError
from benchmarks.experiment import Experiment
from benchmarks.graphs import Step, fastest_step
from benchmarks.history import EpochLog, Row
from benchmarks.leg import Leg
from benchmarks.memory import forget_peak, keep_freed_memory, peak_memory
from benchmarks.optim import schedule
from benchmarks.outcome import write_outcomes
from benchmarks.progress import Progress, Standing
from benchmarks.provenance import provenance
from benchmarks.snapshots import Snapshots
from benchmarks.splitting import load_images
from benchmarks.stack import Stack
from benchmarks.store import RunRecord
from datasets.errors import DataError
from datasets.image_set import ImageSet

log = logging.getLogger(__name__)


def train_stack(
    experiments: list[Experiment], *, results: Path, device: torch.device
) -> dict[str, str]:
    """Train those of `experiments` that have no final result yet, together, and write their runs.

    A stack that stops (killed, Ctrl-C, full disk) goes on from its last epoch when it is called again. Where the
    computation itself fails, the stack is halved until the experiment that cannot run is alone; that one is
    recorded as ``failed`` or ``out_of_memory`` with the reason, and the others are trained.

    Returns
    -------
    The status of each experiment by id.

    Raises
    ------
    TrainingError : the results cannot be written, or another process trains the same stack.
    datasets.errors.DataError : missing or corrupt data.
    """
    return train_leg(experiments, Leg(results), device)


def train_leg(experiments: list[Experiment], leg: Leg, device: torch.device) -> dict[str, str]:
    """Train one leg of `experiments`, where it has no final result yet; see `train_stack`."""
    torch.set_num_threads(experiments[0].recipe["threads"])
    keep_freed_memory()
    try:
        device = _own(device, leg)
        with _lock(leg.results / "locks" / leg.key(experiments)):
            pending = [item for item in experiments if not leg.done(item)]
            if pending:
                image_set = load_images(pending[0], leg.results)
                for part in parts_that_fit(pending, image_set, device):
                    _train_or_halve(part, image_set, leg, device)
    except OSError as error:
        where = error.filename or leg.results
        raise TrainingError(
            f"{where}: cannot be written ({error.strerror or error}); finished runs are kept, run again to go on"
        ) from error
    found = {item.id: leg.store.result(leg.name(item)) for item in experiments}
    return {
        name: "missing" if result is None else result["status"] for name, result in found.items()
    }


def _own(device: torch.device, leg: Leg) -> torch.device:
    """`device`, or a GPU that no other training of these results uses where it is ``cuda`` without a number."""
    if device.type != "cuda":
        return device
    if device.index is None:
        device = torch.device("cuda", claim_gpu(leg.results / "locks"))
    torch.cuda.set_device(device)
    return device


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held for as long as this process lives; an orphan and its successor must not train the same stack."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read() or "unknown"
            raise TrainingError(
                f"this stack is being trained by another process (pid {owner}), perhaps left over from an interrupted call; "
                "wait for it or end it, then run again"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _train_or_halve(
    experiments: list[Experiment], image_set: ImageSet, leg: Leg, device: torch.device
) -> None:
    release(device)  # of the stack before
    try:
        _train(experiments, image_set, leg, device)
        return
    except (OSError, DataError, TrainingError):
        raise
    except Exception as error:
        out_of_memory = isinstance(
            error, torch.OutOfMemoryError | MemoryError
        ) or "can't allocate memory" in str(error)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        if len(experiments) == 1:
            (only,) = experiments
            log.error("%s failed: %s", only.id, reason, exc_info=not out_of_memory)
            status = "out_of_memory" if out_of_memory else "failed"
            facts = {
                **leg.trained_before(only),
                "stack_size": 1,
                "peak_memory": peak_memory(device),
                "provenance": provenance(device),
            }
            leg.store.write(only, RunRecord(status, reason, [], facts), leg.name(only))
            return
        log.warning(
            "a stack of %d could not be trained (%s); trying its halves", len(experiments), reason
        )
    # In the order of the loss groups, so that a loss that fails is soon apart from those that do not.
    ordered = sorted(experiments, key=lambda item: (str(item.loss_group), item.id))
    middle = len(ordered) // 2
    for half in (ordered[:middle], ordered[middle:]):
        _train_or_halve(half, image_set, leg, device)


def _train(
    experiments: list[Experiment], image_set: ImageSet, leg: Leg, device: torch.device
) -> None:
    forget_peak(device)
    data = TrainingData(image_set, experiments, device)
    rows = data.untested_rows() if leg.trial else data.all_rows()
    stack = Stack.for_data(experiments, data)
    saved = Checkpoints(leg.results / "checkpoints" / leg.key(experiments))
    # Trials are not looked at.
    snapshots = Snapshots(stack, data, [] if leg.trial else stack.recipe["snapshots"])
    progress = _restore(stack, saved, leg, snapshots)
    epochs: int = stack.recipe["epochs"]
    last = epochs if leg.until is None else leg.until
    images_per_epoch = data.steps_per_epoch * stack.recipe["batch_size"] * stack.size
    step = fastest_step(stack, data)
    with tqdm(
        desc=f"{stack.size} {'trials' if leg.trial else 'experiments'}",
        total=last * images_per_epoch,
        initial=progress.epoch * images_per_epoch,
        unit="img",
        unit_scale=True,
        mininterval=5,
    ) as bar:
        if progress.epoch == 0:
            snapshots.take(0, progress.stopped)
        for epoch in range(progress.epoch + 1, last + 1):
            if progress.over:
                break
            start = time.perf_counter()
            logged = _epoch(stack, data, epoch, bar, step)
            progress.record(stack, epoch, logged, time.perf_counter() - start)
            if epoch in watched_epochs(epochs):
                progress.watch(epoch, angle_histograms(stack, data))
            snapshots.take(epoch, progress.stopped)
            saved.save(
                {
                    "state": stack.state(),
                    "progress": progress.content(),
                    "snapshots": snapshots.content(),
                    "members": [item.id for item in stack.experiments],
                }
            )
            bar.set_postfix_str(progress.summary())
    del step  # and with it the memory of a CUDA graph
    write_outcomes(stack, data, progress, snapshots, leg, rows)
    saved.remove()


def _restore(stack: Stack, saved: Checkpoints, leg: Leg, snapshots: Snapshots) -> Progress:
    """Where the stack stands: as in its last checkpoint, or as its members were at their rung, or at the start."""
    members = stack.experiments
    checkpoint = saved.load(stack.device)
    if checkpoint is not None and checkpoint["members"] == [item.id for item in members]:
        stack.restore(checkpoint["state"])
        snapshots.restore(checkpoint["snapshots"])
        progress = Progress.from_content(checkpoint["progress"])
        log.info("going on after epoch %d", progress.epoch)
        return progress
    if leg.since is None:
        return Progress(0, [Standing() for _ in members])
    states = [leg.start(item) for item in members]
    for index, state in enumerate(states):
        stack.restore_member(index, state["member"])
    return Progress(leg.since, [Standing(**state["standing"]) for state in states])


def _epoch(stack: Stack, data: TrainingData, epoch: int, bar: Any, step: Step) -> list[Row]:
    epoch_log, factors = EpochLog(), []
    for number, (images, labels) in enumerate(data.batches(stack.streams, epoch)):
        done = (epoch - 1) * data.steps_per_epoch + number
        factors.append(schedule(stack.recipe, done, data.steps_per_epoch))
        epoch_log.add(step(images, labels, factors[-1]))
        bar.update(stack.size * labels.shape[1])
    return epoch_log.rows(stack, epoch, factors)
