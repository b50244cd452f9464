"""A margin head over very many classes: time and memory of one forward and backward pass.

Ways: the head in blocks of classes, the same head with whole tables, both in this suite; ArcFaceLoss of
pytorch-metric-learning; the three matrix products that any such loss needs, bare and in blocks; and the head on a
sample of a tenth of the classes (Partial FC). Each measurement is a process of its own; memory is the highest
resident size (on a GPU: allocated) above what stood before the first step, the gradient of the class weights included.
A way is left out where its tables would take more than `--memory`. The row `engine` is a whole step of the stacked
engine's parts, class weights, gradient, momentum and decay: its memory is that of the whole process.

    python -m benchmarks.speed.classes                        # 10³ to 10⁶ classes, CSV in results/
    python -m benchmarks.speed.classes --quick                # seconds
    python -m benchmarks.speed.classes --device cuda
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.memory import forget_peak, peak_memory
from benchmarks.speed.machine import facts

BLOCKS, TABLES, PEER, PRODUCTS, SAMPLED, ENGINE = (
    "blocks", "tables", "pytorch-metric-learning", "three products", "a tenth of the classes", "engine",
)  # fmt: skip
WAYS = (BLOCKS, TABLES, PEER, PRODUCTS, SAMPLED)
HELD = {
    TABLES: 3,
    PEER: 4,
}  # tables (B, C) and (C, D) at a time, of either kind; a little more than was seen
SIZES = (
    (1_000, 512, 512), (10_000, 512, 512), (100_000, 512, 512), (1_000_000, 512, 512), (500_000, 128, 256),
)  # fmt: skip
QUICK = ((1_000, 32, 64), (20_000, 32, 64))
PRODUCT_BLOCK = 8192
Step = Callable[[], Any]


def draw(classes: int, dim: int, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Embeddings (B, D) with gradient, and labels (B,)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, dim, generator=generator)
    y = torch.randint(0, classes, (batch,), generator=generator)
    return x.to(device).requires_grad_(), y.to(device)


def three_products(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of a block of classes, and what the gradients of both sides need of them."""
    of_weight, of_x = torch.empty_like(weight), torch.zeros_like(x)
    for start in range(0, len(weight), PRODUCT_BLOCK):
        rows = weight[start : start + PRODUCT_BLOCK]
        logits = x @ rows.T
        of_x.addmm_(logits, rows)
        torch.mm(logits.T, x, out=of_weight[start : start + PRODUCT_BLOCK])
    return of_x, of_weight


def step_of(way: str, classes: int, dim: int, batch: int, device: torch.device) -> Step:
    """One forward and backward pass as a function."""
    x, y = draw(classes, dim, batch, device)
    if way == PRODUCTS:
        weight = torch.randn(classes, dim, device=device)
        return lambda: three_products(x.detach(), weight)
    if way == PEER:
        from pytorch_metric_learning.losses import ArcFaceLoss

        peer = ArcFaceLoss(num_classes=classes, embedding_size=dim).to(device)
        return lambda: torch.autograd.grad(peer(x, y), [x, *peer.parameters()])
    from losses import heads
    from losses.build import build

    heads.LARGEST_TABLE = 10**12 if way == TABLES else 0
    if way == ENGINE:
        return engine_step(x, y, device, classes)
    share = 0.1 if way == SAMPLED else 1.0
    loss = build("arcface", num_classes=classes, embedding_dim=dim, class_sampling=share)
    loss = loss.to(device)
    return lambda: torch.autograd.grad(loss(x, y), [x, *loss.parameters()])


def engine_step(x: Tensor, y: Tensor, device: torch.device, classes: int) -> Step:
    """A step of a stack of one: the stacked loss, backward, SGD with momentum and decay."""
    from benchmarks.optim import Slot, StackedOptimizer
    from benchmarks.stacked import StackedModule
    from losses.build import build

    loss = build("arcface", num_classes=classes, embedding_dim=x.shape[1])
    stacked = StackedModule([loss], device, torch.float32)
    del loss  # the engine drops it, too
    one = torch.ones(1, device=device)
    optimizer = StackedOptimizer(
        "sgd",
        [Slot(each, slice(0, 1), True, True) for each in stacked.parameters.values()],
        learning_rate=0.1 * one,
        weight_decay=5e-4 * one,
        class_learning_rate=one,
        clip_norm=0 * one,
        momentum=0.9,
    )

    def step() -> None:
        value, _ = stacked.call(x.unsqueeze(0), y.unsqueeze(0), method="compute")
        value.sum().backward()
        optimizer.step(1.0)

    return step


def measure(job: dict[str, Any]) -> dict[str, float]:
    """Median and least seconds, and MiB: extra (of the engine: all) at the highest."""
    device = torch.device(job["device"])
    torch.set_num_threads(job["threads"])
    step = step_of(job["way"], job["classes"], job["dim"], job["batch"], device)
    if job["way"] != ENGINE:
        step_of(job["way"], 512, job["dim"], job["batch"], device)()  # libraries take workspaces
    before = 0 if job["way"] == ENGINE else peak_memory(device)
    if device.type == "cuda":
        before = 0 if job["way"] == ENGINE else torch.cuda.memory_allocated()
        forget_peak(device)
    times = []
    for _ in range(job["repeats"]):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    highest = peak_memory(device)
    # The first step maps its memory.
    later = times[1:] or times
    return {
        "seconds": statistics.median(later),
        "least_seconds": min(later),
        "mebibytes": (highest - before) / 2**20,
    }


def run(job: dict[str, Any]) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.classes", "--worker", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def fits(way: str, classes: int, dim: int, batch: int, gibibytes: float) -> bool:
    """Whether the tables of a way, in float32, are no more than this."""
    return HELD.get(way, 0) * 4 * classes * (batch + dim) <= gibibytes * 2**30


def markdown(rows: list[dict[str, str]]) -> str:
    """The section of docs/speed.md, from the rows of the CSV files: a table a device."""
    parts = [
        "Forward and backward pass of ArcFace over very many classes: least seconds of the rounds (in brackets over "
        "the three bare products, in blocks), and the highest memory above what stood before, the gradient of the "
        "class weights included. `blocks` and `tables` are this suite's head; `engine` is a whole step with momentum "
        "and decay, and the memory of its whole process. How it works: [many classes](many-classes.md)."
    ]
    for device in dict.fromkeys(row["device"] for row in rows):
        own = [row for row in rows if row["device"] == device]
        origin = own[0]
        parts.append(
            f"{origin['date'][:10]}, {origin['machine']}, device {device}, {origin['threads']} threads, "
            f"torch {origin['torch']}; –: its tables do not fit."
        )
        parts.append(_table(own))
    return "\n\n".join(parts)


def _table(rows: list[dict[str, str]]) -> str:
    ways = list(dict.fromkeys(row["way"] for row in rows))
    sizes = dict.fromkeys((row["classes"], row["dim"], row["batch"]) for row in rows)
    cells = {(row["classes"], row["dim"], row["batch"], row["way"]): row for row in rows}
    lines = [["classes", "D", "B", *ways], ["---:"] * (3 + len(ways))]
    for size in sizes:
        floor = cells.get((*size, PRODUCTS))
        line = [f"{int(size[0]):,}", *size[1:]]
        line += [_cell(cells.get((*size, way)), None if way == PRODUCTS else floor) for way in ways]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: dict[str, str] | None, floor: dict[str, str] | None) -> str:
    if row is None or not row["seconds"]:
        return "not measured" if row is None else "–"
    seconds = float(row["least_seconds"])
    ratio = f" ({seconds / float(floor['least_seconds']):.2f})" if floor else ""
    return f"{seconds:.3g} s{ratio}, {float(row['mebibytes']):,.0f} MiB"


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.classes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="20,000 small classes at most")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=4, help="passes; the first does not count")
    parser.add_argument("--ways", nargs="+", default=[*WAYS, ENGINE], choices=[*WAYS, ENGINE])
    parser.add_argument("--classes", type=int, nargs="+", help="only these sizes")
    parser.add_argument("--memory", type=float, default=10.0, help="GiB for whole tables")
    parser.add_argument("--out", type=Path, default=Path("results/speed_classes.csv"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure every way at every size, print the table, write the CSV."""
    options = arguments(argv)
    if options.worker:
        print(json.dumps(measure(json.loads(options.worker))))
        return 0
    torch.set_num_threads(options.threads)
    origin, rows = facts(options.device), list[dict[str, str]]()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for classes, dim, batch in QUICK if options.quick else SIZES:
        if options.classes and classes not in options.classes:
            continue
        for way in options.ways:
            size = {"classes": classes, "dim": dim, "batch": batch, "way": way}
            row = {**size, "seconds": "", "least_seconds": "", "mebibytes": ""}
            if fits(way, classes, dim, batch, options.memory):
                job = {key: getattr(options, key) for key in ("device", "threads", "repeats")}
                row |= {key: f"{value:.5g}" for key, value in run({**size, **job}).items()}
            rows.append({key: str(value) for key, value in {**row, **origin}.items()})
            print(", ".join(f"{key} {row[key]}" for key in row), file=sys.stderr, flush=True)
            with options.out.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
