"""The stacked engine against the usual way, side by side in one run.

The usual way: one process an experiment, a DataLoader with torchvision transforms on PIL images, a loss of
pytorch-metric-learning, torch.optim. Same backbone, batch size, augmentation and number of images as the stack.

    python -m benchmarks.speed                       # CPU; prints a table, and CSV with --csv
    python -m benchmarks.speed --device cuda --stack 64
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOSSES = ("softmax", "norm_softmax", "cosface", "arcface")
HYPER: dict[str, dict[str, float]] = {
    "norm_softmax": {"scale": 16},
    "cosface": {"margin": 0.2, "scale": 30},
    "arcface": {"margin": 0.3, "scale": 30},
}
RECIPE: dict[str, Any] = {
    "epochs": 1, "batch_size": 256, "sampler": "shuffled", "images_per_class": 4, "optimizer": "sgd",
    "momentum": 0.9, "learning_rate": 0.1, "weight_decay": 5e-4, "schedule": "cosine", "milestones": [0.5],
    "decay": 0.1, "warmup_epochs": 0, "clip_norm": 0, "class_learning_rate": 10, "class_weight_norm": 1,
    "label_smoothing": 0, "precision": "float32", "embeddings": "float32", "snapshots": [], "threads": 1,
}  # fmt: skip
AUGMENT = {
    "rotate_degrees": 10, "translate": 0.1, "scale": 0.1, "shear_degrees": 10, "flip": 0, "erase": 0, "erase_area": 0.1,
}  # fmt: skip
BACKBONE = {"name": "conv3", "embedding_dim": 64, "embedding_norm": "batch", "activation": "relu"}


def main() -> int:
    """Run the comparison, or (with ``--worker``) one of its processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--dataset", default="glyphs", help="data set to train on (default: glyphs)"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--experiments", type=int, default=16, help="experiments of the grid (default: 16)"
    )
    parser.add_argument("--stack", type=int, default=8, help="experiments a stack (default: 8)")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of the data cache"
    )
    parser.add_argument("--csv", type=Path, help="also write the table there")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(_worker(options, json.loads(options.worker))))
        return 0
    rows = _compare(options)
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    return 0


def _compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The ways in turn, `repeats` times, after the data is in the cache; medians, and ratios to the first way."""
    cores = os.cpu_count() or 1
    grid = [
        (LOSSES[number % len(LOSSES)], number // len(LOSSES))
        for number in range(options.experiments)
    ]
    stacks = [grid[start : start + options.stack] for start in range(0, len(grid), options.stack)]
    ways: dict[str, tuple[list[dict[str, Any]], int]] = {
        "usual, one after the other, default threads": (
            [{"usual": item, "threads": 0} for item in grid],
            1,
        ),
        f"usual, {cores} processes, one thread each": (
            [{"usual": item, "threads": 1} for item in grid],
            cores,
        ),
        f"stacks of {options.stack}, {cores} processes, one thread each": (
            [{"stack": part} for part in stacks],
            cores,
        ),
    }
    alone = [{"stack": part, "threads": 0} for part in stacks]
    ways[f"stacks of {options.stack}, one after the other, default threads"] = (alone, 1)
    _run(options, [{"stack": grid[:1], "prepare": True}], 1)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _, (name, (jobs, parallel)) in itertools.product(range(options.repeats), ways.items()):
        measured[name].append(_run(options, jobs, parallel))
        print(f"{name}: {measured[name][-1]['wall']:.1f} s", file=sys.stderr)
    rows = []
    best = None
    for name, runs in measured.items():
        wall, rate = (statistics.median(run[key] for run in runs) for key in ("wall", "rate"))
        best = best or (wall, rate)
        rows.append({
            "way": name, "experiments": len(grid), "images": len(grid) * runs[0]["images"], "wall_seconds": round(wall, 1),
            "images_per_second_of_the_grid": round(rate), "whole_job_ratio": round(best[0] / wall, 2),
            "training_ratio": round(rate / best[1], 2),
        })  # fmt: skip
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    return rows


def _run(
    options: argparse.Namespace, jobs: list[dict[str, Any]], parallel: int
) -> dict[str, float]:
    """Run `jobs` as processes, `parallel` at a time: wall seconds, and training throughput (start-up left out)."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed",
        "--dataset",
        options.dataset,
        "--device",
        options.device,
    ]
    command += ["--epochs", str(options.epochs), "--results", str(options.results), "--worker"]

    def one(job: dict[str, Any]) -> dict[str, float]:
        done = subprocess.run(
            [*command, json.dumps(job)], stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])

    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        results = list(pool.map(one, jobs))
    wall = time.perf_counter() - start
    images = sum(result["images"] for result in results)
    busy = sum(result["training"] for result in results) / min(parallel, len(jobs))
    return {
        "wall": wall,
        "rate": images / busy,
        "images": images / sum(result["experiments"] for result in results),
    }


def _worker(options: argparse.Namespace, job: dict[str, Any]) -> dict[str, float]:
    import torch

    from benchmarks.data import TrainingData, load_images
    from benchmarks.experiment import Experiment
    from losses import catalog

    def experiment(loss: str, seed: int) -> Experiment:
        return Experiment.create(
            dataset={"name": options.dataset, "options": {}}, data_checksum="", backbone=BACKBONE, augment=AUGMENT,
            split={"classes": "random", "images": "random", "unknown_validation": 0, "unknown_test": 0.25,
                   "known_validation": 0, "known_test": 0.2, "seed": "experiment"},
            recipe={**RECIPE, "epochs": options.epochs}, seed=seed, fingerprint="",
            loss={"name": loss, "hyperparameters": catalog.resolve(loss, HYPER.get(loss, {}))},
        )  # fmt: skip

    device = torch.device(options.device)
    members = [experiment(loss, seed) for loss, seed in job.get("stack") or [job["usual"]]]
    from datasets import registry

    options_of = registry.resolve_options(options.dataset, {})
    for member in members:
        member.dataset["options"] = options_of
    image_set = load_images(members[0], options.results)
    if job.get("prepare"):
        return {"images": 0.0, "training": 1.0, "experiments": 1}
    data = TrainingData(image_set, members, torch.device("cpu") if "usual" in job else device)
    train = _usual if "usual" in job else _stack
    images, seconds = train(members, data, device, job.get("threads", 1))
    return {"images": images, "training": seconds, "experiments": len(members)}


def _stack(members: list[Any], data: Any, device: Any, threads: int) -> tuple[int, float]:
    import torch

    from benchmarks.memory import keep_freed_memory
    from benchmarks.stack import Stack

    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    _, channels, size, _ = data.images.shape
    stack = Stack(
        members, num_classes=data.num_classes, channels=channels, image_size=size, device=device
    )
    start, images = time.perf_counter(), 0
    for epoch in range(1, stack.recipe["epochs"] + 1):
        for batch, labels in data.batches(stack.streams, epoch):
            stack.step(batch, labels, 1.0)
            images += labels.shape[1] * len(members)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return images, time.perf_counter() - start


def _usual(members: list[Any], data: Any, device: Any, threads: int) -> tuple[int, float]:
    """The usual way, written as its libraries' tutorials do."""
    import torch
    from PIL import Image
    from pytorch_metric_learning import losses as peers
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from benchmarks.backbones import build_backbone

    if threads:
        torch.set_num_threads(threads)
    item = members[0]
    split, labels = data.splits[item.seed], data.labels[item.seed]
    pixels = data.images[split.train].numpy()
    augment = transforms.Compose([
        transforms.RandomAffine(10, (0.1, 0.1), (0.9, 1.1), 10, transforms.InterpolationMode.BILINEAR),
        transforms.ToTensor(),
    ])  # fmt: skip

    class Images(Dataset):
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return augment(Image.fromarray(pixels[index, 0])), int(labels[index])

    backbone = build_backbone(
        channels=1,
        image_size=pixels.shape[-1],
        generator=torch.Generator().manual_seed(item.seed),
        **item.backbone,
    ).to(device)
    hyper, classes, dim = (
        item.loss["hyperparameters"],
        data.num_classes,
        item.backbone["embedding_dim"],
    )
    if item.loss["name"] == "softmax":
        head: Any = torch.nn.Linear(dim, classes)

        def loss(embeddings: Any, target: Any) -> Any:
            return torch.nn.functional.cross_entropy(head(embeddings), target)

    elif item.loss["name"] == "norm_softmax":
        head = loss = peers.NormalizedSoftmaxLoss(classes, dim, temperature=1 / hyper["scale"])
    else:
        kind, unit = (
            (peers.CosFaceLoss, 1.0)
            if item.loss["name"] == "cosface"
            else (peers.ArcFaceLoss, 57.29577951)
        )
        head = loss = kind(classes, dim, margin=hyper["margin"] * unit, scale=hyper["scale"])
    head.to(device)
    optimizer = torch.optim.SGD(
        [*backbone.parameters(), *head.parameters()], lr=0.1, momentum=0.9, weight_decay=5e-4
    )
    loader = DataLoader(Images(), item.recipe["batch_size"], shuffle=True, drop_last=True)
    start, images = time.perf_counter(), 0
    for _ in range(item.recipe["epochs"]):
        for batch, target in loader:
            optimizer.zero_grad()
            loss(backbone(batch.to(device)), target.to(device)).backward()
            optimizer.step()
            images += len(batch)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return images, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
