"""The usual way: one experiment in one process, written as the tutorials of its libraries do.

A `DataLoader` with torchvision's transforms on PIL images, a loss of pytorch-metric-learning, torch.optim. The net, its
initial weights and those of the classes, the recipe and the split are those of the experiment, so that the quality can
be compared. Where a library is missing, plain PyTorch stands in for it, and `kind` says so.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.experiment import Experiment
from benchmarks.seeds import stream_seed
from benchmarks.speed.plain_net import plain_twin
from benchmarks.splitting import split_of
from datasets import augment
from datasets.image_set import ImageSet
from losses.build import build

PARTS = ("data and augmentation", "forward", "loss", "backward", "optimizer")
"""Of a step, in their order."""


def has(*libraries: str) -> bool:
    """Whether all of these can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in libraries)


def kind() -> str:
    """What the usual way is made of here."""
    images = "torchvision on PIL" if has("torchvision", "PIL") else "plain PyTorch, image by image"
    heads = "pytorch-metric-learning" if has("pytorch_metric_learning") else "this suite's, alone"
    return f"transforms: {images}; losses: {heads}"


class Usual:
    """One experiment, trained and embedded the usual way.

    Parameters
    ----------
    experiment : with a loss of `benchmarks.speed.task.settings`.
    workers : processes of the loader.
    timed : sum up the seconds of each of `PARTS`; on a GPU each part is then waited for.
    """

    def __init__(
        self, experiment: Experiment, images: ImageSet, device: torch.device, workers: int = 0, *, timed: bool = False
    ) -> None:  # fmt: skip
        self.recipe, self.device, self.timed = experiment.recipe, device, timed
        self.images, self.split = images, split_of(experiment, images)
        known = self.split.known_classes
        train = self.split.train
        labels = np.searchsorted(known, np.asarray(images.labels)[train])
        self.loader = DataLoader(
            Images(np.asarray(images.images)[train], labels, transform(experiment.augment)),
            self.recipe["batch_size"], shuffle=True, drop_last=True, num_workers=workers,
            persistent_workers=workers > 0, pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(experiment.seed),
        )  # fmt: skip
        torch.manual_seed(experiment.seed)  # what torchvision's transforms draw from
        _, channels, side, _ = images.images.shape
        self.backbone = plain_twin(experiment, channels, side).to(device)
        self.head = head_of(experiment, len(known)).to(device)
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def steps(self, epochs: int) -> Iterator[int]:
        """Train, and after each step give the number of its images."""
        decayed = [p for p in self.backbone.parameters() if p.dim() > 1]
        others = [p for p in self.backbone.parameters() if p.dim() <= 1]
        rate = self.recipe["learning_rate"]
        fast = rate * self.recipe["class_learning_rate"]
        centers = [p for p in self.head.parameters() if p.dim() > 1]
        biases = [p for p in self.head.parameters() if p.dim() <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": others, "weight_decay": 0},
            {"params": centers, "lr": fast},
            {"params": biases, "lr": fast, "weight_decay": 0},
        ]
        optimizer = torch.optim.SGD(
            [group for group in groups if group["params"]],
            lr=rate, momentum=self.recipe["momentum"], weight_decay=self.recipe["weight_decay"],
        )  # fmt: skip
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(self.loader))
        self.backbone.train()
        for _ in range(epochs):
            mark = self._clock()
            for batch, target in self.loader:
                images = batch.to(self.device, non_blocking=True)
                labels = target.to(self.device, non_blocking=True)
                mark = self._lap("data and augmentation", mark)
                optimizer.zero_grad()
                embeddings = self.backbone(images)
                mark = self._lap("forward", mark)
                loss = self.head(embeddings, labels)
                mark = self._lap("loss", mark)
                loss.backward()
                mark = self._lap("backward", mark)
                optimizer.step()
                scheduler.step()
                self._lap("optimizer", mark)
                yield len(labels)
                mark = self._clock()

    @torch.no_grad()
    def embed(self, rows: np.ndarray) -> Tensor:
        """Embeddings of the images at `rows` (N, D), on the CPU: the loader without what varies images."""
        self.backbone.eval()
        plain = Images(np.asarray(self.images.images)[rows], np.zeros(len(rows), np.int64), transform({}))  # fmt: skip
        batches = DataLoader(plain, 512)
        return torch.cat([self.backbone(images.to(self.device)).cpu() for images, _ in batches])

    @torch.no_grad()
    def closed_top1(self) -> float:
        """Share of the test images of known classes whose class scores highest, without a margin."""
        rows = self.split.known_test
        embeddings = self.embed(rows)
        weights = {name: value.detach().cpu() for name, value in self.head.named_parameters()}
        bias = weights.get("bias")
        # pytorch-metric-learning has it as (D, C).
        table = weights["W"].T if "W" in weights else weights["weight"]
        if bias is None:  # cosines
            embeddings, table = F.normalize(embeddings), F.normalize(table)
        scores = F.linear(embeddings, table, bias)
        found = self.split.known_classes[scores.argmax(1).numpy()]
        return float((found == np.asarray(self.images.labels)[rows]).mean())

    def _clock(self) -> float:
        if self.timed and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _lap(self, part: str, mark: float) -> float:
        now = self._clock()
        self.seconds[part] += now - mark
        return now


class Images(Dataset[tuple[Tensor, int]]):
    """Images one by one, each through a transform."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, change: Callable[[np.ndarray], Tensor]) -> None:  # fmt: skip
        self.pixels, self.labels, self.change = pixels, labels, change

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(self.pixels[index]), int(self.labels[index])


class Plain:
    """The affine map of one image in plain PyTorch, where torchvision is missing."""

    def __init__(self, spec: augment.AugmentSpec) -> None:
        self.spec = spec

    def __call__(self, pixels: np.ndarray) -> Tensor:
        seed = int(torch.randint(2**62, ()))  # of a loader's process: torch seeds each
        image = torch.from_numpy(pixels).float().div_(255)[None]
        return augment.apply(image, augment.draw(self.spec, 1, np.random.default_rng(seed)))[0]


def transform(amounts: dict[str, float]) -> Callable[[np.ndarray], Tensor]:
    """From pixels uint8 (C, H, W) to an image in [0, 1], varied by these amounts (`augment.AugmentSpec`)."""
    spec = augment.AugmentSpec(**amounts)
    if not has("torchvision", "PIL"):
        return Plain(spec)
    from PIL import Image
    from torchvision import transforms

    steps: list[Any] = [lambda pixels: Image.fromarray(pixels[0]), transforms.ToTensor()]
    if spec.moves:
        affine = transforms.RandomAffine(
            spec.rotate_degrees, (spec.translate, spec.translate), (1 - spec.scale, 1 + spec.scale), spec.shear_degrees,
            transforms.InterpolationMode.BILINEAR,
        )  # fmt: skip
        steps.insert(1, affine)
    return transforms.Compose(steps)


class SoftmaxHead(nn.Module):
    """A linear classifier with its cross-entropy."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(B, D), (B,) → scalar."""
        return F.cross_entropy(F.linear(embeddings, self.weight, self.bias), labels)


def head_of(experiment: Experiment, classes: int) -> nn.Module:
    """The loss of an experiment from pytorch-metric-learning, with the class weights that it has in the suite."""
    name, hyper = experiment.loss["name"], experiment.loss["hyperparameters"]
    dim = experiment.backbone["embedding_dim"]
    seed = stream_seed("head", experiment.seed, name)
    own: Any = build(
        name, hyper, num_classes=classes, embedding_dim=dim, weight_norm=experiment.recipe["class_weight_norm"],
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    head: Any
    if name == "softmax":
        return SoftmaxHead(own.weight.detach(), own.bias.detach())
    if not has("pytorch_metric_learning"):
        return own
    from pytorch_metric_learning import losses as peers

    if name == "norm_softmax":
        head = peers.NormalizedSoftmaxLoss(classes, dim, temperature=1 / hyper["scale"])
    elif name == "cosface":
        head = peers.CosFaceLoss(classes, dim, margin=hyper["margin"], scale=hyper["scale"])
    elif name == "arcface":
        degrees = math.degrees(hyper["margin"])
        head = peers.ArcFaceLoss(classes, dim, margin=degrees, scale=hyper["scale"])
    else:
        raise ValueError(f"{name}: the usual way has arcface, cosface, norm_softmax and softmax")
    with torch.no_grad():
        head.W.copy_(own.weight.T)
    return head
