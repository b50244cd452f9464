"""Backbones: images (B, C, H, W) in [0, 1] → embeddings (B, D). Each is written for one model and is stackable.

Convolutions followed by batch norm have no bias (it would have no effect). Initial values come from a generator,
never from torch's global state.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

STEM_CHANNELS = 3  # images, not feature maps


class Backbone(nn.Module):
    """A trunk of convolutions, a linear embedding and, as an option, batch norm on the embedding.

    Parameters
    ----------
    trunk : images (B, C, H, W) → features (B, F).
    features : F.
    embedding_dim : D >= 1.
    embedding_norm : ``batch`` (batch norm with scale and shift on the embedding) or ``none``.
    """

    def __init__(
        self, trunk: nn.Module, features: int, embedding_dim: int, embedding_norm: str
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.embedding = nn.Linear(features, embedding_dim, bias=embedding_norm == "none")
        self.norm = BatchNorm1d(embedding_dim) if embedding_norm == "batch" else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D)."""
        return self.norm(self.embedding(self.trunk(images)))


class PatchConv2d(nn.Conv2d):
    """A convolution of images with few channels, as a matrix product over their patches.

    The stem of every backbone. For one channel it is faster on a CPU than a grouped convolution over the stack, and,
    unlike oneDNN's kernels for so few channels, it gives one model the same bits whatever the size of the stack.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, O, H', W')."""
        size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        patches = functional.unfold(
            images, size, padding=padding, stride=stride
        )  # (B, C size size, H' W')
        found = self.weight.flatten(1) @ patches  # (B, O, H' W')
        if self.bias is not None:
            found = found + self.bias[:, None]
        height, width = ((side + 2 * padding - size) // stride + 1 for side in images.shape[-2:])
        return found.unflatten(-1, (height, width))


def _full_precision(values: Tensor) -> Tensor:
    return values.float() if values.dtype == torch.bfloat16 else values


class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm that keeps its statistics in float32 under autocast."""

    def forward(self, values: Tensor) -> Tensor:
        """(B, C) → (B, C)."""
        return super().forward(_full_precision(values))


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that keeps its statistics in float32 under autocast."""

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return super().forward(_full_precision(values))


def _activation(name: str, channels: int) -> nn.Module:
    return nn.PReLU(channels) if name == "prelu" else nn.ReLU()


def _block(inputs: int, outputs: int, activation: str, *, stride: int = 1) -> list[nn.Module]:
    kind = PatchConv2d if inputs <= STEM_CHANNELS else nn.Conv2d
    convolution = kind(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, BatchNorm2d(outputs), _activation(activation, outputs)]


def conv3(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """Three 3x3 convolutions of stride 2 (16, 32, 64 filters): the default on a CPU, 0.6 M multiply-adds at 28x28."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, 16), (16, 32), (32, 64)):
        layers += _block(inputs, outputs, activation, stride=2)
        image_size = -(-image_size // 2)
    return nn.Sequential(*layers, nn.Flatten()), 64 * image_size**2


def conv4(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """The few-shot net: four 3x3 convolutions with 64 filters and 2x2 max pooling each (Vinyals et al. 2016)."""
    layers: list[nn.Module] = []
    for inputs in (channels, 64, 64, 64):
        layers += [*_block(inputs, 64, activation), nn.MaxPool2d(2)]
        image_size //= 2
    return nn.Sequential(*layers, nn.Flatten()), 64 * image_size**2


def lenet_plus_plus(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """LeNets++ (Wen et al. 2016, Table 1): pairs of 5x5 convolutions with 32, 64, 128 filters, no batch norm."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, 32), (32, 64), (64, 128)):
        stem = PatchConv2d if inputs <= STEM_CHANNELS else nn.Conv2d
        layers += [stem(inputs, outputs, 5, padding=2), _activation(activation, outputs)]
        layers += [
            nn.Conv2d(outputs, outputs, 5, padding=2),
            _activation(activation, outputs),
            nn.MaxPool2d(2),
        ]
        image_size //= 2
    return nn.Sequential(*layers, nn.Flatten()), 128 * image_size**2


class Residual(nn.Module):
    """The basic block of ResNet-18: two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(inputs, outputs, activation, stride=stride),
            *_block(outputs, outputs, activation)[:2],
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), BatchNorm2d(outputs)
            )
        self.activation = _activation(activation, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        return self.activation(self.body(images) + self.shortcut(images))


def resnet18(channels: int, image_size: int, activation: str) -> tuple[nn.Module, int]:
    """ResNet-18 with the CIFAR stem (one 3x3 convolution, no pooling) and global average pooling."""
    layers: list[nn.Module] = _block(channels, 64, activation)
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
    "resnet18": resnet18,
}


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
        backbone = Backbone(trunk, features, embedding_dim, embedding_norm)
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
