"""Training a stack: epochs, checkpoints, history, and at the end each member's run in the run store."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.angles import angle_histograms, watched_epochs
from benchmarks.checkpoint import Checkpoints
from benchmarks.data import TrainingData, load_images
from benchmarks.errors import TrainingError
from benchmarks.experiment import Experiment, content_hash
from benchmarks.history import EpochLog, Row, evaluation_arrays
from benchmarks.memory import keep_freed_memory
from benchmarks.optim import schedule
from benchmarks.provenance import provenance
from benchmarks.stack import Stack
from benchmarks.store import RunRecord, RunStore
from datasets.errors import DataError
from datasets.image_set import ImageSet

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a stack in training stands; what a checkpoint holds besides the tensors."""

    epoch: int  # epochs done
    seconds: float  # training time so far, over all processes that worked on it
    history: list[list[Row]]  # by member
    diverged: list[int]  # by member, the epoch it was found at; 0 for none
    unmoved: list[int]  # by member, the epoch that left its class weights as they began; 0 for none
    angles: list[list[Any]]  # by watched epoch: that epoch, and `angle_histograms` of it

    def stopped(self, index: int) -> int:
        """The epoch after which a member is given up; 0 for none."""
        return self.diverged[index] or self.unmoved[index]


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
    store = RunStore(results / "runs")
    torch.set_num_threads(experiments[0].recipe["threads"])
    keep_freed_memory()
    try:
        with _lock(results / "locks", experiments):
            pending = [item for item in experiments if not store.is_final(item.id)]
            if pending:
                _train_or_halve(
                    pending,
                    load_images(pending[0], results),
                    store,
                    results / "checkpoints",
                    device,
                )
    except OSError as error:
        where = error.filename or results
        raise TrainingError(
            f"{where}: cannot be written ({error.strerror or error}); finished runs are kept, run again to go on"
        ) from error
    statuses = {item.id: store.result(item.id) for item in experiments}
    return {
        name: "missing" if result is None else result["status"] for name, result in statuses.items()
    }


@contextmanager
def _lock(folder: Path, experiments: list[Experiment]) -> Iterator[None]:
    """Held for as long as this process lives; an orphan and its successor must not train the same stack."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / content_hash(sorted(item.id for item in experiments), 12)
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
    experiments: list[Experiment],
    image_set: ImageSet,
    store: RunStore,
    checkpoints: Path,
    device: torch.device,
) -> None:
    try:
        _train(experiments, image_set, store, checkpoints, device)
        return
    except (OSError, DataError, TrainingError):
        raise
    except Exception as error:
        out_of_memory = isinstance(
            error, torch.OutOfMemoryError | MemoryError
        ) or "can't allocate memory" in str(error)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        if len(experiments) == 1:
            log.error("%s failed: %s", experiments[0].id, reason, exc_info=not out_of_memory)
            status = "out_of_memory" if out_of_memory else "failed"
            facts = {
                "epochs": 0,
                "images": 0,
                "seconds": 0.0,
                "stack_size": 1,
                "provenance": provenance(device),
            }
            store.write(experiments[0], RunRecord(status, reason, [], facts))
            return
        log.warning(
            "a stack of %d could not be trained (%s); trying its halves", len(experiments), reason
        )
    if device.type == "cuda":
        torch.cuda.empty_cache()
    # In the order of the loss groups, so that a loss that fails is soon apart from those that do not.
    ordered = sorted(experiments, key=lambda item: (str(item.loss_group), item.id))
    middle = len(ordered) // 2
    for half in (ordered[:middle], ordered[middle:]):
        _train_or_halve(half, image_set, store, checkpoints, device)


def _train(
    experiments: list[Experiment],
    image_set: ImageSet,
    store: RunStore,
    checkpoints: Path,
    device: torch.device,
) -> None:
    data = TrainingData(image_set, experiments, device)
    _, channels, image_size, _ = image_set.images.shape
    stack = Stack(
        experiments,
        num_classes=data.num_classes,
        channels=channels,
        image_size=image_size,
        device=device,
    )
    saved = Checkpoints(checkpoints / content_hash(sorted(item.id for item in experiments), 12))
    progress = _restore(stack, saved, device)
    recipe, members = stack.recipe, len(stack.experiments)
    images_per_epoch = data.steps_per_epoch * recipe["batch_size"]
    with tqdm(
        desc=f"{len(experiments)} experiments",
        total=recipe["epochs"] * images_per_epoch * members,
        initial=progress.epoch * images_per_epoch * members,
        unit="img",
        unit_scale=True,
        mininterval=5,
    ) as bar:
        for epoch in range(progress.epoch + 1, recipe["epochs"] + 1):
            if all(map(progress.stopped, range(members))):
                break
            start = time.perf_counter()
            rows = _epoch(stack, data, epoch, bar)
            progress.seconds += time.perf_counter() - start
            progress.epoch = epoch
            _record(progress, stack, rows)
            if epoch in watched_epochs(recipe["epochs"]):
                progress.angles.append([epoch, angle_histograms(stack, data)])
            saved.save(
                {
                    "state": stack.state(),
                    "progress": vars(progress),
                    "members": [item.id for item in stack.experiments],
                }
            )
            bar.set_postfix_str(_summary(progress))
    _write_runs(stack, data, progress, store, device)
    saved.remove()


def _restore(stack: Stack, saved: Checkpoints, device: torch.device) -> Progress:
    members = [item.id for item in stack.experiments]
    checkpoint = saved.load(device)
    if checkpoint is None or checkpoint["members"] != members:
        return Progress(0, 0.0, [[] for _ in members], [0] * len(members), [0] * len(members), [])
    stack.restore(checkpoint["state"])
    progress = Progress(**checkpoint["progress"])
    log.info("going on after epoch %d", progress.epoch)
    return progress


def _epoch(stack: Stack, data: TrainingData, epoch: int, bar: Any) -> list[Row]:
    epoch_log, factors = EpochLog(), []
    for step, (images, labels) in enumerate(data.batches(stack.streams, epoch)):
        factors.append(
            schedule(stack.recipe, (epoch - 1) * data.steps_per_epoch + step, data.steps_per_epoch)
        )
        epoch_log.add(stack.step(images, labels, factors[-1]))
        bar.update(len(stack.experiments) * labels.shape[1])
    return epoch_log.rows(stack, epoch, factors)


def _record(progress: Progress, stack: Stack, rows: list[Row]) -> None:
    """Append the epoch's rows; a member that has diverged, or whose weights stand, keeps its history up to there."""
    finite = stack.finite()
    for index, row in enumerate(rows):
        if progress.stopped(index):
            continue
        progress.history[index].append(row)
        if not finite[index]:
            progress.diverged[index] = progress.epoch
            log.warning("%s diverged in epoch %d", stack.experiments[index].id, progress.epoch)
        elif row.get("weights_moved") == 0:
            progress.unmoved[index] = progress.epoch
            log.warning("%s: class weights did not move", stack.experiments[index].id)


def _summary(progress: Progress) -> str:
    losses = [
        rows[-1]["loss"]
        for index, rows in enumerate(progress.history)
        if not progress.stopped(index)
    ]
    shown = f"loss {min(losses):.2f}…{max(losses):.2f}" if losses and None not in losses else ""
    diverged = sum(map(bool, progress.diverged))
    return shown + (f", {diverged} diverged" if diverged else "")


def _write_runs(
    stack: Stack, data: TrainingData, progress: Progress, store: RunStore, device: torch.device
) -> None:
    embeddings, extras = _embed_all(stack, data)
    embeddings = embeddings.astype(stack.recipe["embeddings"])
    weights = stack.class_weights()
    stack_id = content_hash(sorted({item.id for item in stack.experiments}), 12)
    images = data.steps_per_epoch * stack.recipe["batch_size"]
    members = len({item.id for item in stack.experiments})  # a twin is no second experiment
    for index, experiment in enumerate(stack.experiments):
        split = data.splits[experiment.seed]
        epochs = progress.stopped(index) or progress.epoch
        facts = {
            "epochs": epochs,
            "images": epochs * images,
            "seconds": progress.seconds / members,
            "images_per_second": progress.epoch * images * members / progress.seconds,
            "stack": stack_id,
            "stack_size": members,
            "split": split.checksum,
            "provenance": provenance(device),
        }
        status, reason = _verdict(progress, index, embeddings[index])
        record = RunRecord(status, reason, progress.history[index], facts)
        if status == "finished":
            arrays = {
                "embeddings": embeddings[index],
                "labels": data.class_ids,
                "part": split.part(len(data.class_ids)),
                "known_classes": split.known_classes,
                **extras.get(index, {}),
                **_angles(progress, index),
            }
            weight = weights[index]
            if weight is not None:
                arrays["class_weights"] = weight.float().cpu().numpy()
            tensors = {name: tensor.numpy() for name, tensor in stack.member_state(index).items()}
            record = RunRecord(status, reason, progress.history[index], facts, arrays, tensors)
        store.write(experiment, record)


def _angles(progress: Progress, index: int) -> dict[str, np.ndarray]:
    """The angles over training as they are stored; empty for a member without class weights."""
    kept = [(epoch, found[index]) for epoch, found in progress.angles if found[index] is not None]
    if not kept:
        return {}
    return {
        "angle_epochs": np.array([epoch for epoch, _ in kept], dtype=np.int32),
        "target_angles": np.array([counts[0] for _, counts in kept], dtype=np.int32),
        "other_angles": np.array([counts[1] for _, counts in kept], dtype=np.int32),
    }


def _verdict(progress: Progress, index: int, embeddings: np.ndarray) -> tuple[str, str | None]:
    if progress.diverged[index]:
        return "diverged", f"parameters are not finite after epoch {progress.diverged[index]}"
    if not np.isfinite(embeddings).all():
        return "diverged", f"embeddings are not finite in {embeddings.dtype} at the end of training"
    if progress.unmoved[index]:
        return (
            "failed",
            f"the class weights did not move in epoch {progress.unmoved[index]}: they did not reach the optimizer, "
            "or their learning rate is 0",
        )
    return "finished", None


def _embed_all(
    stack: Stack, data: TrainingData
) -> tuple[np.ndarray, dict[int, dict[str, np.ndarray]]]:
    """Embeddings of every image as they are judged (K, N, D), and for each classifier its best classes."""
    blocks: list[Tensor] = []
    scored: dict[int, list[dict[str, Tensor]]] = {}
    known = [
        torch.from_numpy(data.splits[item.seed].known_classes).to(stack.device)
        for item in stack.experiments
    ]
    for images in data.all_images():
        embeddings = stack.embed(images)
        blocks.append(stack.judged(embeddings).cpu())
        for index, scores in stack.logits(embeddings).items():
            scored.setdefault(index, []).append(evaluation_arrays(scores, known[index]))
    extras = {
        index: {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
        for index, parts in scored.items()
    }
    return torch.cat(blocks, dim=1).numpy(), extras
