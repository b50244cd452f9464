"""The whole job the usual way, in a worker: train one experiment, embed, judge with scikit-learn and its like, write."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.experiment import Experiment
from benchmarks.speed.processes import Job
from benchmarks.speed.protocols import all_scores, neighbours, own_measures
from benchmarks.speed.task import Task
from benchmarks.speed.usual import Usual, has
from benchmarks.speed.windows import wait


def job(content: Job) -> dict[str, Any]:
    """Seconds of each part, and the metrics by the suite's names."""
    task = Task.from_json(content["task"])
    if content["threads"]:
        torch.set_num_threads(content["threads"])
    experiment, images = Experiment.from_json(content["members"][0]), task.images()
    way = Usual(experiment, images, torch.device(task.device), content.get("workers", 0))
    steps, done = way.steps(task.epochs), 0
    startup = time.time() - content["launched"]
    trained = time.perf_counter()
    for count in steps:
        done += count
    wait(way.device)
    embedded = time.perf_counter()
    rows = way.split.unknown_test
    embeddings = way.embed(rows).numpy()
    top1 = way.closed_top1()
    judged = time.perf_counter()
    metrics = {"closed_set/top1": top1, **judge(embeddings, np.asarray(images.labels)[rows])}
    written = time.perf_counter()
    folder = Path(content["out"]) / experiment.id
    folder.mkdir(parents=True)
    np.savez(folder / "embeddings.npz", embeddings=embeddings, labels=np.asarray(images.labels)[rows])  # fmt: skip
    torch.save({"backbone": way.backbone.state_dict(), "head": way.head.state_dict()}, folder / "model.pt")  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    end = time.perf_counter()
    return {
        "images": done,
        "startup_seconds": startup,
        "training_seconds": embedded - trained,
        "embedding_seconds": judged - embedded,
        "judging_seconds": written - judged,
        "writing_seconds": end - written,
        "metrics": {experiment.id: metrics},
    }


def judge(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Verification over all pairs and retrieval: scikit-learn and pytorch-metric-learning, or the suite's own."""
    if has("sklearn", "pytorch_metric_learning"):
        found = {**all_scores(embeddings, labels), **neighbours(embeddings, labels)}
    else:
        found = own_measures(embeddings, labels)
    return {
        "verification/eer": found["EER"],
        "verification/tar_at_far_1e-03": found["TAR@1e-3"],
        "retrieval/recall_at_1": found["R@1"],
        "retrieval/map_at_r": found["MAP@R"],
    }
