"""The stem is torch's convolution and batch norm, in values, gradients and running moments."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.layers import Flatten, Stem


def pair(
    channels: int, size: int, stride: int, norm: bool, dtype: torch.dtype = torch.float64
) -> tuple[Stem, nn.Sequential]:
    """A stem and torch's layers with the same weights, none of them at its initial value."""
    torch.manual_seed(size)
    stem = Stem(channels, 4, size, stride=stride, norm=norm).to(dtype)
    plain = nn.Sequential(
        nn.Conv2d(channels, 4, size, stride=stride, padding=size // 2, bias=not norm)
    )
    if norm:
        plain.append(nn.BatchNorm2d(4))
    plain.to(dtype)
    with torch.no_grad():
        for own, theirs in zip(stem.parameters(), plain.parameters(), strict=True):
            theirs.copy_(own.uniform_(-1, 1))
    return stem, plain


CASES = [
    (channels, size, stride, norm)
    for channels in (1, 3)
    for size, stride in ((3, 1), (3, 2), (5, 1), (5, 3))
    for norm in (True, False)
]


@pytest.mark.parametrize(("channels", "size", "stride", "norm"), CASES)
def test_stem_is_a_convolution_and_batch_norm(
    channels: int, size: int, stride: int, norm: bool
) -> None:
    stem, plain = pair(channels, size, stride, norm)
    for seed in range(3):  # running moments move on
        images = torch.rand(6, channels, 10, 10, dtype=torch.float64) * (seed + 1)
        found, expected = stem(images), plain(images)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)
        weights = torch.randn_like(expected)
        ours = torch.autograd.grad((found.tanh() * weights).sum(), list(stem.parameters()))
        theirs = torch.autograd.grad((expected.tanh() * weights).sum(), list(plain.parameters()))
        for own, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-8, atol=1e-9)
    for own, other in zip(stem.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-12)
    stem.eval()
    plain.eval()
    torch.testing.assert_close(stem(images), plain(images), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("brightness", [0.0, 100.0])
def test_stem_in_float32_is_as_exact_as_torch(brightness: float) -> None:
    """Also on bright images of little contrast, where E[x²] - E[x]² would cancel."""
    stem, plain = pair(1, 3, 2, True, torch.float32)
    exact = pair(1, 3, 2, True)[1]
    images = torch.rand(64, 1, 28, 28) + brightness
    expected = exact(images.double())
    ours = (stem(images) - expected).abs().max()
    theirs = (plain(images) - expected).abs().max()
    assert ours <= 4 * theirs + 1e-5


def test_images_of_one_colour_have_no_variance() -> None:
    """Batch norm divides by the root of epsilon; nothing may become infinite."""
    stem, _ = pair(1, 3, 1, True)
    found = stem(torch.zeros(4, 1, 8, 8, dtype=torch.float64))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in stem.parameters())


def test_statistics_stay_in_float32_under_autocast() -> None:
    stem, plain = pair(1, 3, 2, True, torch.float32)
    images = torch.rand(64, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        found = stem(images)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plain(images), rtol=0.05, atol=0.05)
    for own, other in zip(stem.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_flatten_does_not_copy_channels_last() -> None:
    values = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    found = Flatten()(values)
    assert found.data_ptr() == values.data_ptr()
    assert torch.equal(found[1].reshape(4, 5, 3).permute(2, 0, 1), values[1])
