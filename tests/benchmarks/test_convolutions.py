"""Both ways to compute a convolution give the same numbers, and choosing between them leaves no trace."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional

from benchmarks.convolutions import choose, gpu_seconds
from benchmarks.layers import Convolution
from tests.benchmarks import tiny
from tests.benchmarks.test_stack import make

MODELS, BATCH = 3, 5


@pytest.mark.parametrize(
    ("size", "stride", "padding", "bias"), [(3, 1, 1, False), (3, 2, 1, False), (5, 1, 2, True), (1, 2, 0, False)]
)  # fmt: skip
def test_patches_against_torchs_convolution(
    size: int, stride: int, padding: int, bias: bool
) -> None:
    """Stacked, in float64: output and gradients."""
    layer = Convolution(4, 6, size, stride=stride, padding=padding, bias=bias).double()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(MODELS, BATCH, 4, 7, 7, dtype=torch.float64, generator=generator)
    weights = torch.randn(MODELS, 6, 4, size, size, dtype=torch.float64, generator=generator)
    biases = torch.randn(MODELS, 6, dtype=torch.float64, generator=generator)

    def ours(weight: torch.Tensor, shift: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        state = {"weight": weight, "bias": shift} if bias else {"weight": weight}
        return torch.func.functional_call(layer, state, (image,)).sin().sum()

    def theirs(weight: torch.Tensor, shift: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        shifted = shift if bias else None
        return functional.conv2d(image, weight, shifted, stride, padding).sin().sum()

    expected = [
        grad(theirs, argnums=(0, 1, 2))(weight, shift, image)
        for weight, shift, image in zip(weights, biases, images, strict=True)
    ]
    for layer.by_patches in (False, True):
        found = vmap(grad(ours, argnums=(0, 1, 2)))(weights, biases, images)
        for number, gradients in enumerate(expected):
            for one, other in zip(found, gradients, strict=True):
                assert torch.allclose(one[number], other, rtol=1e-12, atol=1e-12)
        values = vmap(ours)(weights, biases, images)
        single = [
            theirs(weight, shift, image)
            for weight, shift, image in zip(weights, biases, images, strict=True)
        ]
        assert torch.allclose(values, torch.stack(single), rtol=1e-12)


def test_the_faster_way_is_chosen_and_nothing_else_changes() -> None:
    """By a clock that finds patches faster in the second convolution alone."""
    stack, data = make(
        [tiny.experiment("softmax"), tiny.experiment("cosface", seed=1)], torch.float32
    )
    twin, _ = make([tiny.experiment("softmax"), tiny.experiment("cosface", seed=1)], torch.float32)
    layers = [item for item in stack.backbone.template.modules() if isinstance(item, Convolution)]
    images, labels = next(data.batches(stack.streams, 1))
    calls = []

    def clock(function: Callable[[], object], device: torch.device) -> float:
        function()
        calls.append([item.by_patches for item in layers])
        return 2.0 - calls[-1][1] + 3.0 * calls[-1][0]

    chosen = choose(stack, images, clock)
    assert len(calls) == 2 * len(layers)
    assert list(chosen.values()) == [item.by_patches for item in layers]
    assert [item.by_patches for item in layers[:2]] == [False, True]
    for tensors, others in (
        (stack.backbone.parameters, twin.backbone.parameters),
        (stack.backbone.buffers, twin.backbone.buffers),
    ):
        assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())
    assert all(slot.parameter.grad is None for slot in stack.optimizer.slots)
    ours, theirs = (one.step(images, labels, 1.0)["loss"] for one in (stack, twin))
    assert torch.allclose(ours, theirs, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_clock_measures_and_survives_a_lack_of_memory() -> None:
    device = torch.device("cuda")
    matrix, product = torch.rand(2, 2048, 2048, device=device)
    assert 0 < gpu_seconds(lambda: torch.mm(matrix, matrix, out=product), device) < 1

    def too_much() -> None:
        torch.empty(2**50, dtype=torch.uint8, device=device)

    assert gpu_seconds(too_much, device) == float("inf")
