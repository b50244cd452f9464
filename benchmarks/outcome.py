"""What a stack leaves at the end of a leg of training: each member's folder in the store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.data import TrainingData
from benchmarks.experiment import content_hash
from benchmarks.history import evaluation_arrays
from benchmarks.leg import Leg, state_bytes
from benchmarks.memory import peak_memory
from benchmarks.progress import Progress, Standing
from benchmarks.provenance import provenance
from benchmarks.snapshots import Snapshots
from benchmarks.stack import Stack
from benchmarks.store import RunRecord


def write_outcomes(
    stack: Stack,
    data: TrainingData,
    progress: Progress,
    snapshots: Snapshots,
    leg: Leg,
    rows: np.ndarray,
) -> None:
    """Write every member's result; `rows`: positions (sorted) of the images whose embeddings are kept."""
    embeddings, extras = _embed(stack, data, rows)
    embeddings = embeddings.astype(stack.recipe["embeddings"])
    weights = stack.class_weights()
    stack_id = content_hash(sorted({item.id for item in stack.experiments}), 12)
    images = data.steps_per_epoch * stack.recipe["batch_size"]
    peak = peak_memory(stack.device)
    for index, experiment in enumerate(stack.experiments):
        standing, split = progress.members[index], data.splits[experiment.seed]
        epochs = standing.stopped or progress.epoch
        facts = {
            "epochs": epochs,
            "images": epochs * images,
            "seconds": standing.seconds,
            "images_per_second": progress.epoch * images / standing.seconds,
            "stack": stack_id,
            "stack_size": stack.size,
            "peak_memory": peak,
            "split": split.checksum,
            "provenance": provenance(stack.device),
        }
        status, reason = _verdict(standing, embeddings[index])
        arrays, tensors, state = None, None, None
        if status == "finished":
            arrays = {
                "embeddings": embeddings[index],
                "labels": data.class_ids[rows],
                "part": split.part(len(data.class_ids))[rows],
                "known_classes": split.known_classes,
                **extras.get(index, {}),
                **_angles(standing),
                **snapshots.arrays(index),
            }
            weight = weights[index]
            if weight is not None:
                arrays["class_weights"] = weight.float().cpu().numpy()
            if not leg.trial:
                own = stack.member_state(index)
                tensors = {name: tensor.numpy() for name, tensor in own.items()}
        if leg.until is not None:
            # A member given up has one too, so that it may go on in every stack and end as if it had not stopped here.
            state = state_bytes(_state(stack, index, standing))
        record = RunRecord(status, reason, standing.history, facts, arrays, tensors, state)
        leg.store.write(experiment, record, leg.name(experiment))


def _state(stack: Stack, index: int, standing: Standing) -> dict[str, Any]:
    """What `Leg.start` gives back to the leg that goes on."""
    return {"member": stack.training_state(index), "standing": asdict(standing)}


def _angles(standing: Standing) -> dict[str, np.ndarray]:
    """The angles over training as they are stored; empty for a member without class weights."""
    if not standing.angles:
        return {}
    return {
        "angle_epochs": np.array([epoch for epoch, _ in standing.angles], dtype=np.int32),
        "target_angles": np.array([counts[0] for _, counts in standing.angles], dtype=np.int32),
        "other_angles": np.array([counts[1] for _, counts in standing.angles], dtype=np.int32),
    }


def _verdict(standing: Standing, embeddings: np.ndarray) -> tuple[str, str | None]:
    if standing.diverged:
        return "diverged", f"parameters are not finite after epoch {standing.diverged}"
    if not np.isfinite(embeddings).all():
        return "diverged", f"embeddings are not finite in {embeddings.dtype} at the end of training"
    if standing.unmoved:
        return (
            "failed",
            f"the class weights did not move in epoch {standing.unmoved}: they did not reach the optimizer, "
            "or their learning rate is 0",
        )
    return "finished", None


def _embed(
    stack: Stack, data: TrainingData, rows: np.ndarray
) -> tuple[np.ndarray, dict[int, dict[str, np.ndarray]]]:
    """Embeddings of images as they are judged (K, N, D), and for each classifier its best classes."""
    blocks: list[Tensor] = []
    scored: dict[int, list[dict[str, Tensor]]] = {}
    known = [
        torch.from_numpy(data.splits[item.seed].known_classes).to(stack.device)
        for item in stack.experiments
    ]
    for images in data.images_at(rows):
        embeddings = stack.embed(images)
        blocks.append(stack.judged(embeddings).cpu())
        for index, scores in stack.logits(embeddings).items():
            scored.setdefault(index, []).append(evaluation_arrays(scores, known[index]))
    extras = {
        index: {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
        for index, parts in scored.items()
    }
    return torch.cat(blocks, dim=1).numpy(), extras
