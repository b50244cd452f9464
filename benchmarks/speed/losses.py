"""Forward and backward time of every loss, beside its own floor and pytorch-metric-learning.

The floor of a loss with class weights is the least that any such loss has to do, in plain PyTorch: normalise
embeddings and weights, three matrix products (one forward, two backward), log-softmax cross-entropy. For the losses
on plain inner products it does not normalise and has a bias; for several centers a class it has as many times the
rows; for the binary heads (SphereFace2, UniFace), which have no softmax, a sum of softplus is in the place of the
cross-entropy. Losses of pairs have no floor here.

Floor, loss and peer are timed in turn, round after round, and every ratio is taken within a round: another load on
the machine then meets all of them. The time of a loss contains what it logs, and all gradients: to the embeddings
and to every parameter. All run with freed memory kept, as in training.

    python -m benchmarks.speed.losses                       # CPU: Markdown on stdout, CSV in results/
    python -m benchmarks.speed.losses --losses arcface triplet --repeats 50 --threads 2
    python -m benchmarks.speed.losses --device cuda
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.memory import keep_freed_memory
from benchmarks.provenance import provenance
from benchmarks.stacked import StackedModule
from losses.base import Loss
from losses.binary import BinaryHead
from losses.build import build
from losses.catalog import CATALOG, CatalogError, row
from losses.softmax import Softmax

Way = Callable[[], Any]
Rounds = dict[str, list[float]]

WARM_UP = 2
PER_CLASS = 4
SMALL = {"batch": 64, "dim": 64, "classes": 200}
"""Sizes of the experiments of the stack."""


@dataclass(frozen=True)
class Peer:
    """The counterpart of a loss in pytorch-metric-learning.

    Attributes
    ----------
    name : class of ``pytorch_metric_learning.losses``.
    miner : class of ``pytorch_metric_learning.miners`` that chooses its triplets, if any.
    per_class : samples of a class in a batch for losses of pairs.
    """

    name: str
    miner: str = ""
    per_class: int = PER_CLASS


PEERS = {
    "norm_softmax": Peer("NormalizedSoftmaxLoss"),
    "cosface": Peer("CosFaceLoss"),
    "arcface": Peer("ArcFaceLoss"),
    "sphereface": Peer("SphereFaceLoss"),
    "l_softmax": Peer("LargeMarginSoftmaxLoss"),
    "subcenter_arcface": Peer("SubCenterArcFaceLoss"),
    "proxy_nca": Peer("ProxyNCALoss"),
    "proxy_anchor": Peer("ProxyAnchorLoss"),
    "soft_triple": Peer("SoftTripleLoss"),
    "triplet": Peer("TripletMarginLoss", miner="BatchHardMiner"),
    "contrastive": Peer("ContrastiveLoss"),
    "circle": Peer("CircleLoss"),
    "multi_similarity": Peer("MultiSimilarityLoss"),
    "supcon": Peer("SupConLoss"),
    # Its table of positive times negative pairs takes 10 GB with four samples of a class.
    "ntxent": Peer("NTXentLoss", per_class=2),
}


@dataclass
class Result:
    """The rounds of one loss; a list is empty where there is nothing to compare with."""

    loss: str
    rows: int
    peer: str
    rounds: Rounds = field(default_factory=dict)

    def seconds(self, way: str) -> float | None:
        """Median time."""
        times = self.rounds.get(way)
        return statistics.median(times) if times else None

    def ratio(self, way: str, other: str) -> tuple[float, float, float] | None:
        """Median and quartiles of the time of one way over that of another, within each round."""
        if not self.rounds.get(way) or not self.rounds.get(other):
            return None
        ratios = [a / b for a, b in zip(self.rounds[way], self.rounds[other], strict=True)]
        if len(ratios) == 1:
            return ratios[0], ratios[0], ratios[0]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return median, low, high


def floor(
    embeddings: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None, scale: float
) -> Tensor:
    """The least that a loss with class weights has to do; with a bias: without normalising."""
    if bias is not None:
        return F.cross_entropy(F.linear(embeddings, weight, bias), labels)
    return F.cross_entropy(floor_logits(embeddings, weight, scale), labels)


def binary_floor(embeddings: Tensor, labels: Tensor, weight: Tensor, scale: float) -> Tensor:
    """The least that a binary head has to do: one decision per class, each taken as a negative.

    A sum of `torch.nn.functional.softplus`, the fastest form in plain PyTorch.
    """
    return F.softplus(floor_logits(embeddings, weight, scale)).sum() / len(labels)


def floor_logits(embeddings: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Scaled cosines."""
    return (scale * F.normalize(embeddings, dim=-1)) @ F.normalize(weight, dim=-1).mT


def floor_of(
    loss: Loss, embeddings: Tensor, labels: Tensor, scale: float = 16.0
) -> tuple[Way, int]:
    """The floor of a loss: its value and gradients as a function, and the rows of its weights."""
    dim, device = embeddings.shape[-1], embeddings.device
    learned = [p for p in loss.parameters() if p.dim() > 1 and p.shape[-1] == dim]
    rows = max((p.numel() // dim for p in learned), default=loss.num_classes)
    weight = F.normalize(torch.randn(rows, dim, device=device), dim=-1)
    plain = any(isinstance(module, Softmax) for module in loss.modules())
    bias = torch.zeros(rows, device=device, requires_grad=True) if plain else None
    inputs = [embeddings, *([weight.requires_grad_()] if learned else [])]
    inputs += [] if bias is None else [bias]
    if any(isinstance(module, BinaryHead) for module in loss.modules()):
        return lambda: gradients(binary_floor(embeddings, labels, weight, scale), inputs), rows
    return lambda: gradients(floor(embeddings, labels, weight, bias, scale), inputs), rows


def gradients(value: Tensor, inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The backward pass, without sums into ``grad``."""
    return torch.autograd.grad(value, list(inputs), allow_unused=True)


def peer_of(
    peer: Peer, classes: int, embeddings: Tensor, labels: Tensor, *, weights: bool
) -> Way | None:
    """The peer's forward and backward pass; None where the package is not installed."""
    try:
        from pytorch_metric_learning import losses, miners
    except ModuleNotFoundError:
        return None
    sizes = {"num_classes": classes, "embedding_size": embeddings.shape[-1]} if weights else {}
    loss = getattr(losses, peer.name)(**sizes).to(embeddings.device)
    miner = getattr(miners, peer.miner)() if peer.miner else None
    inputs = [embeddings, *loss.parameters()]

    def run() -> tuple[Tensor, ...]:
        chosen = () if miner is None else (miner(embeddings, labels),)
        return gradients(loss(embeddings, labels, *chosen), inputs)

    return run


def seconds(way: Way, device: torch.device) -> float:
    """Time of one call."""
    if device.type != "cuda":
        start = time.perf_counter()
        way()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before.record()
    way()
    after.record()
    torch.cuda.synchronize()
    return before.elapsed_time(after) / 1000


def timed(ways: dict[str, Way], repeats: int, device: torch.device) -> Rounds:
    """The ways in turn, `repeats` times, after a warm-up of each."""
    for way in ways.values():
        for _ in range(WARM_UP):
            way()
    rounds: Rounds = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            rounds[name].append(seconds(way, device))
    return rounds


def batch(size: int, dim: int, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Embeddings with gradient, and labels."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(size, dim, generator=generator)
    labels = torch.randint(0, classes, (size,), generator=generator)
    return embeddings.to(device).requires_grad_(), labels.to(device)


def measure(name: str, options: argparse.Namespace) -> Result:
    """All rounds of one loss."""
    device = torch.device(options.device)
    peer, weights = PEERS.get(name), row(name).kind != "embedding"
    classes = options.classes
    embeddings, labels = batch(options.batch, options.dim, classes, device)
    if not weights:
        per_class = peer.per_class if peer else PER_CLASS
        labels = torch.arange(options.batch, device=device) // per_class
        classes = max(2, int(labels.max()) + 1)
    loss = build(name, num_classes=classes, embedding_dim=options.dim).to(device)
    inputs = [embeddings, *loss.parameters()]
    ways: dict[str, Way] = {}
    rows = 0
    if weights:
        ways["floor"], rows = floor_of(loss, embeddings, labels)
    ways["ours"] = lambda: gradients(loss.compute(embeddings, labels)[0], inputs)
    other = peer_of(peer, classes, embeddings, labels, weights=weights) if peer else None
    if other is not None:
        ways["peer"] = other

    def after_step() -> None:
        with torch.no_grad():
            loss.after_step(embeddings.detach(), labels)

    ways["after_step"] = after_step
    rounds = timed(ways, options.repeats, device)
    if options.stack and row(name).stacked:
        rounds |= timed(stack_ways(name, options.stack, device), options.repeats, device)
    return Result(name, rows, peer.name if peer and other else "", rounds)


def stack_ways(name: str, count: int, device: torch.device) -> dict[str, Way]:
    """Losses of small experiments as one computation, and one after the other."""
    pairs = row(name).kind == "embedding"
    classes = max(2, SMALL["batch"] // PER_CLASS) if pairs else SMALL["classes"]
    embeddings, labels = batch(SMALL["batch"] * count, SMALL["dim"], classes, device)
    if pairs:
        labels = torch.arange(SMALL["batch"], device=device).repeat(count) // PER_CLASS
    embeddings = embeddings.detach().reshape(count, -1, SMALL["dim"]).requires_grad_()
    labels = labels.reshape(count, -1)
    losses = [
        build(name, num_classes=classes, embedding_dim=SMALL["dim"]).to(device)
        for _ in range(count)
    ]
    stacked = StackedModule(losses, device, torch.float32)
    singles = [each.detach().clone().requires_grad_() for each in embeddings]

    def stack() -> tuple[Tensor, ...]:
        value = stacked.call(embeddings, labels, method="compute")[0].sum()
        return gradients(value, [embeddings, *stacked.parameters.values()])

    def single() -> list[tuple[Tensor, ...]]:
        return [
            gradients(loss.compute(x, y)[0], [x, *loss.parameters()])
            for loss, x, y in zip(losses, singles, labels, strict=True)
        ]

    return {"stack": stack, "single": single}


COMPARISONS = {"floor": ("ours", "floor"), "peer": ("ours", "peer"), "stack": ("stack", "single")}


def record(result: Result) -> dict[str, Any]:
    """A row of the CSV."""
    values: dict[str, Any] = {"loss": result.loss, "weight_rows": result.rows or ""}
    for way in ("floor", "ours", "peer", "after_step"):
        time_of = result.seconds(way)
        values[f"{way}_ms"] = "" if time_of is None else f"{1000 * time_of:.4g}"
    values["peer"] = result.peer
    for name, (way, other) in COMPARISONS.items():
        ratio = result.ratio(way, other)
        for part, number in zip(("", "_q1", "_q3"), ratio or ("", "", ""), strict=True):
            values[f"{name}_ratio{part}"] = "" if number == "" else f"{number:.4g}"
    return values


def table(results: list[Result], count: int) -> str:
    """Markdown; ratios are medians with the quartiles, below 1: ours is faster."""

    def cell(result: Result, name: str) -> str:
        ratio = result.ratio(*COMPARISONS[name])
        return "" if ratio is None else "{:.2f} [{:.2f}, {:.2f}]".format(*ratio)

    def time_of(result: Result, way: str) -> str:
        value = result.seconds(way)
        return "" if value is None else f"{1000 * value:.3g}"

    head = ["loss", "floor ms", "ours ms", "ours / floor", "peer", "peer ms", "ours / peer"]
    head += ["after_step ms", f"stack of {count} / {count} single" if count else "stack"]
    lines = [head, ["---"] * len(head)]
    for result in results:
        times = [time_of(result, way) for way in ("floor", "ours", "peer", "after_step")]
        lines.append([
            result.loss, times[0], times[1], cell(result, "floor"), result.peer, times[2],
            cell(result, "peer"), times[3], cell(result, "stack"),
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.losses", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=15, help="rounds (default: 15)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--losses", nargs="+", metavar="LOSS", help="default: the whole catalog")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--stack", type=int, default=16, help="losses a stack; 0: no stack")
    parser.add_argument("--out", type=Path, default=Path("results/speed_losses.csv"))
    options = parser.parse_args(argv)
    if min(options.batch, options.dim, options.repeats, options.threads) < 1:
        parser.error("--batch, --dim, --repeats and --threads must be at least 1")
    if options.classes < 2 or options.stack < 0:
        parser.error("--classes must be at least 2, --stack not negative")
    options.losses = options.losses or list(CATALOG)
    try:
        for name in options.losses:
            row(name)
    except CatalogError as error:
        parser.error(str(error))
    return options


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write the CSV."""
    options = arguments(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    origin = provenance(torch.device(options.device))
    shape = {key: getattr(options, key) for key in ("batch", "dim", "classes", "repeats", "stack")}
    device = origin["cpu"] if options.device == "cpu" else origin["device"]
    shared = {
        **shape,
        "device": device,
        **{key: origin[key] for key in ("threads", "torch", "date")},
    }
    results: list[Result] = []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*record(Result("", 0, "")), *shared])
        writer.writeheader()
        for number, name in enumerate(options.losses, 1):
            results.append(measure(name, options))
            values = record(results[-1])
            writer.writerow({**values, **shared})
            file.flush()
            shown = ", ".join(f"{key} {value}" for key, value in values.items() if value)
            print(f"{number}/{len(options.losses)} {shown}", file=sys.stderr, flush=True)
    print(", ".join(f"{key} {value}" for key, value in shared.items()), end="\n\n")
    print(table(results, options.stack))
    return 0


if __name__ == "__main__":
    sys.exit(main())
