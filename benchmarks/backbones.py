"""Backbones: images (B, C, H, W) in [0, 1] → embeddings (B, D). Each is written for one model and is stackable.

Convolutions followed by batch norm have no bias (it would have no effect). Initial values come from a generator,
never from torch's global state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Convolution,
    Flatten,
    Patches,
    Stem,
    activation_of,
    block,
)

Trunk = tuple[
    Stem, list[nn.Module], int
]  # the stem, what follows it, and the features (B, F) that come out


class Backbone(nn.Module):
    """A stem, a trunk of layers, a linear embedding and, as options, batch norm on it and an activation after it.

    Parameters
    ----------
    stem : images (B, C, H, W) → (B, C', H', W').
    trunk : the stem's output → features (B, F).
    features : F.
    embedding_dim : D >= 1.
    embedding_norm : ``batch`` (batch norm with scale and shift on the embedding) or ``none``.
    activation : what ends the net (B, D) → (B, D); None: nothing, the embedding is any vector.
    """

    def __init__(
        self,
        stem: Stem,
        trunk: nn.Module,
        features: int,
        embedding_dim: int,
        embedding_norm: str,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.trunk = trunk
        self.embedding = nn.Linear(features, embedding_dim, bias=embedding_norm == "none")
        self.norm = BatchNorm1d(embedding_dim) if embedding_norm == "batch" else nn.Identity()
        self.activation = activation or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D)."""
        return self.embed(*self.patches(images))

    def patches(self, images: Tensor) -> Patches:
        """What all backbones that see these images (B, C, H, W) share: see `Stem.patches`."""
        return self.stem.patches(images)

    def embed(self, *patches: Tensor) -> Tensor:
        """What `patches` returned → (B, D)."""
        features = self.trunk(self.stem.convolve(*patches))
        return self.activation(self.norm(self.embedding(features)))


def conv3(channels: int, image_size: int, activation: str) -> Trunk:
    """Three 3x3 convolutions of stride 2 (16, 32, 64 filters): the default on a CPU, 0.6 M multiply-adds at 28x28."""
    stem = Stem(channels, 16, 3, stride=2)
    layers = [activation_of(activation, 16)]
    for inputs, outputs in ((16, 32), (32, 64)):
        layers += block(inputs, outputs, activation, stride=2)
    for _ in range(3):
        image_size = -(-image_size // 2)
    return stem, layers, 64 * image_size**2


def conv4(channels: int, image_size: int, activation: str) -> Trunk:
    """The few-shot net: four 3x3 convolutions with 64 filters and 2x2 max pooling each (Vinyals et al. 2016)."""
    layers = [activation_of(activation, 64), nn.MaxPool2d(2)]
    for _ in range(3):
        layers += [*block(64, 64, activation), nn.MaxPool2d(2)]
    return Stem(channels, 64, 3), layers, 64 * (image_size // 16) ** 2


def lenet_plus_plus(channels: int, image_size: int, activation: str) -> Trunk:
    """LeNets++ (Wen et al. 2016, Table 1): pairs of 5x5 convolutions with 32, 64, 128 filters, no batch norm."""
    layers = [activation_of(activation, 32)]
    for inputs, outputs in ((32, 32), (32, 64), (64, 64), (64, 128), (128, 128)):
        layers += [Convolution(inputs, outputs, 5, padding=2), activation_of(activation, outputs)]
        if inputs == outputs:
            layers.append(nn.MaxPool2d(2))
    return Stem(channels, 32, 5, norm=False), layers, 128 * (image_size // 8) ** 2


def _pooled_blocks(
    channels: int,
    image_size: int,
    activation: str,
    blocks: Sequence[tuple[int, int]],
    *,
    round_up: bool = False,
) -> Trunk:
    """One 3x3 convolution with 64 filters, then `blocks` (filters, convolutions), each with 2x2 max pooling behind it.

    `round_up`: an odd side is padded before it is halved; else its last row and column are left out.
    """
    layers, inputs = [activation_of(activation, 64)], 64
    for outputs, convolutions in blocks:
        for _ in range(convolutions):
            layers += block(inputs, outputs, activation)
            inputs = outputs
        layers.append(nn.MaxPool2d(2, ceil_mode=round_up))
        image_size = (image_size + round_up) // 2
    return Stem(channels, 64, 3), layers, inputs * image_size**2


def lsoftmax_paper(channels: int, image_size: int, activation: str) -> Trunk:
    """The MNIST net of L-Softmax as its readers built it from the paper's Table 1 (Liu et al. 2016).

    64 filters throughout, in blocks of 3, 4 and 3 convolutions (readers disagree on the last; so has it
    amirhfarzaneh/lsoftmax-pytorch), PReLU, and an embedding of 256 dimensions with batch norm. Unlike there, batch
    norm stands before the activation, and the image has none.
    """
    return _pooled_blocks(channels, image_size, activation, ((64, 3), (64, 4), (64, 3)))


def lsoftmax_repo(channels: int, image_size: int, activation: str) -> Trunk:
    """The MNIST net that the authors of L-Softmax released, which is not the paper's (wy1iu/LargeMargin_Softmax_Loss).

    Blocks of 3 convolutions with 64, 128 and 256 filters; pooling rounds up, as Caffe's does. The embedding, of 512
    dimensions there, ends in batch norm and the activation (`RECTIFIED`): with ReLU no entry is negative, and no two
    embeddings are more than 90 degrees apart. Unlike there, images are in [0, 1], not in [-127.5, 127.5].
    """
    blocks = ((64, 3), (128, 3), (256, 3))
    return _pooled_blocks(channels, image_size, activation, blocks, round_up=True)


class Residual(nn.Module):
    """The basic block of ResNet-18: two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *block(inputs, outputs, activation, stride=stride),
            *block(outputs, outputs, activation)[:2],
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                Convolution(inputs, outputs, 1, stride=stride, bias=False), BatchNorm2d(outputs)
            )
        self.activation = activation_of(activation, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        return self.activation(self.body(images) + self.shortcut(images))


def resnet18(channels: int, image_size: int, activation: str) -> Trunk:
    """ResNet-18 with the CIFAR stem (one 3x3 convolution, no pooling) and global average pooling."""
    layers = [activation_of(activation, 64)]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [
            Residual(inputs, outputs, stride, activation),
            Residual(outputs, outputs, 1, activation),
        ]
        inputs = outputs
    return Stem(channels, 64, 3), [*layers, nn.AdaptiveAvgPool2d(1)], 512


TRUNKS: dict[str, Callable[[int, int, str], Trunk]] = {
    "conv3": conv3,
    "conv4": conv4,
    "lenet_plus_plus": lenet_plus_plus,
    "lsoftmax_paper": lsoftmax_paper,
    "lsoftmax_repo": lsoftmax_repo,
    "resnet18": resnet18,
}
RECTIFIED = ("lsoftmax_repo",)  # their embedding ends in the activation


def build_backbone(
    name: str,
    *,
    channels: int,
    image_size: int,
    embedding_dim: int,
    embedding_norm: str,
    activation: str,
    generator: torch.Generator,
) -> Backbone:
    """Build a backbone with initial values drawn from `generator` alone.

    Parameters
    ----------
    name : a key of ``TRUNKS``.
    channels, image_size : of the images, (C, image_size, image_size).
    embedding_dim : D.
    embedding_norm : ``batch`` or ``none``.
    activation : ``relu`` or ``prelu`` (one slope a channel, initially 0.25).
    generator : the experiment's ``init`` stream, on the CPU.
    """
    # What modules draw when they are made is overwritten; torch's global state is left as it was.
    with torch.random.fork_rng(devices=[]):
        stem, layers, features = TRUNKS[name](channels, image_size, activation)
        trunk = nn.Sequential(*layers, Flatten())
        last = activation_of(activation, embedding_dim) if name in RECTIFIED else None
        backbone = Backbone(stem, trunk, features, embedding_dim, embedding_norm, last)
    for module in backbone.modules():
        _initialise(module, generator)
    return backbone


def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He et al. 2015 for convolutions (fan out), LeCun uniform for the linear embedding, identity for norms."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(
            module.weight, mode="fan_out", nonlinearity="relu", generator=generator
        )
    elif isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.in_features)
        nn.init.uniform_(module.weight, -bound, bound, generator=generator)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        module.reset_parameters()
        module.reset_running_stats()
    elif isinstance(module, nn.PReLU):
        nn.init.constant_(module.weight, 0.25)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
