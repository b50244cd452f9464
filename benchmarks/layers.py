"""The layers that backbones are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Patches = tuple[Tensor, ...]  # what a `Stem` reads of the images: see `Stem.patches`


class Stem(nn.Conv2d):
    """The first convolution of a net with its batch norm, where it has one, as one thin matrix product.

    Images have few channels, so the arithmetic is small and the passes over the output, the largest of the net, are
    what costs: batch norm alone makes five. Two facts save them. Models that see the same images share their patches.
    And the moments of a convolution follow from those of the patches: for centred patches p of covariance S the output
    w·p has mean 0 and variance w' S w. So batch norm is a factor on w and a shift, and no pass over the output is left,
    neither forward nor backward.

    Parameters
    ----------
    inputs, outputs : channels.
    size : side of the kernel, odd; the image is padded by half of it.
    stride : of the kernel.
    norm : batch norm, in place of a bias.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, *, stride: int = 1, norm: bool = True
    ) -> None:
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=not norm)
        self.norm = FoldedNorm(outputs) if norm else None

    @torch.no_grad()
    def patches(self, images: Tensor) -> Patches:
        """What the models that see these images share; it depends on no weight.

        Parameters
        ----------
        images : (B, C, H, W).

        Returns
        -------
        The patches (P + 1, B, H', W') with P = C size size; the last entry of each is 1. If batch norm is in training
        they are centred, and their mean (P,) and covariance (P, P) over the batch and all places follow.
        """
        size, stride = self.kernel_size[0], self.stride[0]
        padded = functional.pad(images, [size // 2] * 4).transpose(0, 1)  # (C, B, H + 2 p, W + 2 p)
        height, width = ((side - size) // stride + 1 for side in padded.shape[-2:])
        columns = images.new_ones(self.weight.shape[1:].numel() + 1, len(images), height, width)
        kernel = columns[:-1].unflatten(0, self.weight.shape[1:])  # (C, size, size, B, H', W')
        for down in range(size):
            for across in range(size):
                kernel[:, down, across] = padded[
                    :,
                    :,
                    down : down + stride * height : stride,
                    across : across + stride * width : stride,
                ]
        if self.norm is None or not self.training:
            return (columns,)
        flat = columns[:-1].flatten(1)  # (P, B H' W'), a view
        mean = flat.mean(1)
        flat -= mean[:, None]
        with torch.autocast(images.device.type, enabled=False):
            return columns, mean, flat @ flat.mT / flat.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, O, H', W')."""
        return self.convolve(*self.patches(images))

    def convolve(self, columns: Tensor, *moments: Tensor) -> Tensor:
        """What `patches` returned → (B, O, H', W'), channels last in memory."""
        kernel = self.weight.flatten(1).mT  # (P, O)
        with torch.autocast(columns.device.type, enabled=False):
            if self.norm is None:
                shift = self.bias
            else:
                kernel, shift = self.norm.folded(kernel, *moments, places=columns[0].numel())
            assert shift is not None
            kernel = torch.cat([kernel, shift[None]])
        found = columns.flatten(1).mT @ kernel  # (B H' W', O)
        return found.unflatten(0, columns.shape[1:]).permute(0, 3, 1, 2)


class FoldedNorm(nn.BatchNorm2d):
    """Batch norm after a convolution, as another kernel and a shift of it."""

    def folded(self, kernel: Tensor, *moments: Tensor, places: int) -> tuple[Tensor, Tensor]:
        """Fold batch norm into a convolution, and keep the running moments as `nn.BatchNorm2d` does.

        Parameters
        ----------
        kernel : (P, O), applied to patches as rows.
        moments : in training the mean (P,) and the covariance (P, P) of the patches, which are centred; else none.
        places : number of patches.

        Returns
        -------
        Kernel (P, O) and shift (O,) that give the normalised output.
        """
        mean, variance = self.running_mean, self.running_var
        assert mean is not None
        assert variance is not None
        assert self.num_batches_tracked is not None
        if not moments:
            factor = self.weight * (variance + self.eps).rsqrt()
            return kernel * factor, self.bias - mean * factor
        centre, covariance = moments
        found = (kernel * (covariance @ kernel)).sum(0)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            _follow(mean, centre @ kernel)
            _follow(variance, found * (places / (places - 1)))
        return kernel * (self.weight * (found + self.eps).rsqrt()), self.bias


def _follow(running: Tensor, found: Tensor, momentum: float = 0.1) -> None:  # torch's default
    running.mul_(1 - momentum).add_(found, alpha=momentum)


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


class Convolution(nn.Conv2d):
    """A convolution that can be computed in two ways; on a GPU a measurement chooses (`benchmarks.convolutions`).

    Over a stack `vmap` makes it one grouped convolution, for which libraries do not always have fast kernels. The
    other way is a matrix product over patches, which takes more memory.
    """

    by_patches = False

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, O, H', W')."""
        weight, bias, kind = self.weight, self.bias, images.device.type
        if torch.is_autocast_enabled(kind):
            # Autocast itself passes over a stacked convolution with bias, and over patches.
            precision = torch.get_autocast_dtype(kind)
            images, weight = images.to(precision), weight.to(precision)
            bias = None if bias is None else bias.to(precision)
        if not self.by_patches:
            return self._conv_forward(images, weight, bias)
        size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        patches = functional.unfold(images, size, padding=padding, stride=stride)  # (B, P, H' W')
        found = weight.flatten(1) @ patches
        if bias is not None:
            found = found + bias[:, None]
        height, width = ((side + 2 * padding - size) // stride + 1 for side in images.shape[-2:])
        return found.unflatten(-1, (height, width))


class Flatten(nn.Module):
    """(B, C, H, W) → (B, H W C): a view of what lies channels last in memory, as convolutions on a CPU leave it."""

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) → (B, H W C)."""
        return values.permute(0, 2, 3, 1).flatten(1)


class PReLU(nn.PReLU):
    """One slope a channel, in the type of the values; in a stack autocast does not see to it."""

    def forward(self, values: Tensor) -> Tensor:
        """(B, C) or (B, C, H, W) → the same."""
        return functional.prelu(values, self.weight.to(values.dtype))


def activation_of(name: str, channels: int) -> nn.Module:
    """``relu`` or ``prelu``, which has one slope a channel; after (B, C) or (B, C, H, W)."""
    return PReLU(channels) if name == "prelu" else nn.ReLU()


def block(inputs: int, outputs: int, activation: str, *, stride: int = 1) -> list[nn.Module]:
    """A 3x3 convolution, batch norm, activation: (B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
    convolution = Convolution(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, BatchNorm2d(outputs), activation_of(activation, outputs)]
