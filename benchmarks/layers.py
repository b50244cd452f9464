"""The layers that backbones are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STEM_CHANNELS = 3  # images, not feature maps


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


def activation_of(name: str, channels: int) -> nn.Module:
    """``relu`` or ``prelu``, which has one slope a channel; after (B, C) or (B, C, H, W)."""
    return nn.PReLU(channels) if name == "prelu" else nn.ReLU()


def block(inputs: int, outputs: int, activation: str, *, stride: int = 1) -> list[nn.Module]:
    """A 3x3 convolution, batch norm, activation: (B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
    kind = PatchConv2d if inputs <= STEM_CHANNELS else nn.Conv2d
    convolution = kind(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, BatchNorm2d(outputs), activation_of(activation, outputs)]
