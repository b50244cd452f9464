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
    STEM_CHANNELS,
    BatchNorm1d,
    BatchNorm2d,
    PatchConv2d,
    activation_of,
    block,
)


class Backbone(nn.Module):
    """A trunk of convolutions, a linear embedding and, as options, batch norm on it and an activation after it.

    Parameters
    ----------
    trunk : images (B, C, H, W) → features (B, F).
    features : F.
    embedding_dim : D >= 1.
    embedding_norm : ``batch`` (batch norm with scale and shift on the embedding) or ``none``.
    activation : what ends the net (B, D) → (B, D); None: nothing, the embedding is any vector.
    """

    def __init__(
        self,
        trunk: nn.Module,
        features: int,
        embedding_dim: int,
        embedding_norm: str,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.embedding = nn.Linear(features, embedding_dim, bias=embedding_norm == "none")
        self.norm = BatchNorm1d(embedding_dim) if embedding_norm == "batch" else nn.Identity()
        self.activation = activation or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D)."""
        return self.activation(self.norm(self.embedding(self.trunk(images))))


def conv3(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """Three 3x3 convolutions of stride 2 (16, 32, 64 filters): the default on a CPU, 0.6 M multiply-adds at 28x28."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, 16), (16, 32), (32, 64)):
        layers += block(inputs, outputs, activation, stride=2)
        image_size = -(-image_size // 2)
    return nn.Sequential(*layers, nn.Flatten()), 64 * image_size**2


def conv4(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """The few-shot net: four 3x3 convolutions with 64 filters and 2x2 max pooling each (Vinyals et al. 2016)."""
    layers: list[nn.Module] = []
    for inputs in (channels, 64, 64, 64):
        layers += [*block(inputs, 64, activation), nn.MaxPool2d(2)]
        image_size //= 2
    return nn.Sequential(*layers, nn.Flatten()), 64 * image_size**2


def lenet_plus_plus(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """LeNets++ (Wen et al. 2016, Table 1): pairs of 5x5 convolutions with 32, 64, 128 filters, no batch norm."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, 32), (32, 64), (64, 128)):
        stem = PatchConv2d if inputs <= STEM_CHANNELS else nn.Conv2d
        layers += [stem(inputs, outputs, 5, padding=2), activation_of(activation, outputs)]
        layers += [
            nn.Conv2d(outputs, outputs, 5, padding=2),
            activation_of(activation, outputs),
            nn.MaxPool2d(2),
        ]
        image_size //= 2
    return nn.Sequential(*layers, nn.Flatten()), 128 * image_size**2


def _pooled_blocks(
    channels: int,
    image_size: int,
    activation: str,
    blocks: Sequence[tuple[int, int]],
    *,
    round_up: bool = False,
) -> tuple[nn.Module, int]:
    """One 3x3 convolution with 64 filters, then `blocks` (filters, convolutions), each with 2x2 max pooling behind it.

    `round_up`: an odd side is padded before it is halved; else its last row and column are left out.
    """
    layers, inputs = block(channels, 64, activation), 64
    for outputs, convolutions in blocks:
        for _ in range(convolutions):
            layers += block(inputs, outputs, activation)
            inputs = outputs
        layers.append(nn.MaxPool2d(2, ceil_mode=round_up))
        image_size = (image_size + round_up) // 2
    return nn.Sequential(*layers, nn.Flatten()), inputs * image_size**2


def lsoftmax_paper(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """The MNIST net of L-Softmax as its readers built it from the paper's Table 1 (Liu et al. 2016).

    64 filters throughout, in blocks of 3, 4 and 3 convolutions (readers disagree on the last; so has it
    amirhfarzaneh/lsoftmax-pytorch), PReLU, and an embedding of 256 dimensions with batch norm. Unlike there, batch
    norm stands before the activation, and the image has none.
    """
    return _pooled_blocks(channels, image_size, activation, ((64, 3), (64, 4), (64, 3)))


def lsoftmax_repo(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
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
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), BatchNorm2d(outputs)
            )
        self.activation = activation_of(activation, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        return self.activation(self.body(images) + self.shortcut(images))


def resnet18(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """ResNet-18 with the CIFAR stem (one 3x3 convolution, no pooling) and global average pooling."""
    layers: list[nn.Module] = block(channels, 64, activation)
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [
            Residual(inputs, outputs, stride, activation),
            Residual(outputs, outputs, 1, activation),
        ]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512


TRUNKS: dict[str, Callable[[int, int, str], tuple[nn.Module, int]]] = {
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
    with torch.device("meta"):
        trunk, features = TRUNKS[name](channels, image_size, activation)
        last = activation_of(activation, embedding_dim) if name in RECTIFIED else None
        backbone = Backbone(trunk, features, embedding_dim, embedding_norm, last)
    backbone.to_empty(device="cpu")
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
