"""What a step asks of a GPU, tested without one: it never waits for the device, and mixes no devices or precisions.

On torch's ``meta`` device tensors have shapes but no values. Whoever asks for one there, or for a size that depends
on values, would make the host wait on a GPU; and every operation shows where its operands lie.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.backbones import TRUNKS
from benchmarks.data import TrainingData
from benchmarks.experiment import Experiment
from benchmarks.graphs import GraphedStep
from benchmarks.history import EpochLog
from benchmarks.layers import BatchNorm1d, BatchNorm2d, Convolution
from benchmarks.stack import Stack
from losses import catalog
from losses.base import Loss
from tests.benchmarks import tiny
from tests.benchmarks.tape import waits

META = torch.device("meta")
STACKED = [name for name in catalog.CATALOG if catalog.row(name).stacked]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class OnDevice(TorchDispatchMode):
    """Fails where the host would have to wait, and where an array of the host takes part."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func, args) or func is torch.ops.aten.lift_fresh.default:
            raise AssertionError(f"{func}: the host and the device wait for each other")
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            # A number may come as a tensor without dimensions; it goes along with the kernel's launch.
            if isinstance(tensor, Tensor) and tensor.device != META and tensor.dim() > 0:
                raise AssertionError(f"{func}: {tuple(tensor.shape)} lies on {tensor.device}")
        return result


@pytest.fixture
def _autocast_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast does not know the device ``meta``; what it does to types is tested apart."""
    autocast = torch.autocast

    def known(device: str, *args: Any, **options: Any) -> Any:
        return autocast("cpu" if device == "meta" else device, *args, **options)

    monkeypatch.setattr(torch, "autocast", known)
    enabled = torch.is_autocast_enabled
    monkeypatch.setattr(
        torch, "is_autocast_enabled", lambda *kind: "meta" not in kind and enabled(*kind)
    )


def build(
    items: list[Experiment], device: torch.device, size: int = 12
) -> tuple[Stack, TrainingData]:
    data = TrainingData(tiny.images(size=size), items, device)
    return Stack.for_data(items, data), data


def take_steps(stack: Stack, data: TrainingData, mode: Any) -> None:
    """An epoch but for its first batch, with which its plan comes onto the device."""
    log, factor = EpochLog(), torch.ones((), dtype=torch.float64, device=stack.device)
    batches = data.batches(stack.streams, 1)
    next(batches)
    with mode:
        for images, labels in batches:
            _, _, logged = stack.update(images, labels, factor)
            log.add(logged)
    assert log.steps == data.steps_per_epoch - 1 > 0
    assert "loss" in log.sums


@pytest.mark.usefixtures("_autocast_on_meta")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_step_waits_for_the_device(optimizer: str) -> None:
    """Batches, augmentation, backbone, all losses, optimizer and logs."""
    changes: dict[str, Any] = {"optimizer": optimizer, "clip_norm": 1.0, "sampler": "balanced"}
    items = [
        tiny.experiment(name, seed=number % 2, **changes)
        for number, name in enumerate([*STACKED, "cosface+triplet"])
    ]
    stack, data = build(items, META)
    take_steps(stack, data, OnDevice())


@pytest.mark.usefixtures("_autocast_on_meta")
@pytest.mark.parametrize("name", TRUNKS)
def test_no_backbone_waits_for_the_device(name: str) -> None:
    backbone = {"name": name, "embedding_dim": 8, "embedding_norm": "batch", "activation": "prelu"}
    items = [tiny.experiment("softmax", seed=seed, backbone=backbone) for seed in (0, 1)]
    stack, data = build(items, META, size=28)
    take_steps(stack, data, OnDevice())


@pytest.mark.usefixtures("_autocast_on_meta")
def test_the_one_loss_that_waits_says_so() -> None:
    """What it does after a step is left out of CUDA graphs; a sum with it is left out, too."""
    waiting = {name for name in [*STACKED, "oim+triplet", "cosface+triplet"] if _waits(name)}
    assert waiting == {"oim", "oim+triplet"}
    stack, data = build([tiny.experiment("oim"), tiny.experiment("cosface")], META)
    images, labels = next(data.batches(stack.streams, 1))
    inputs, own_labels, _ = stack.update(images, labels, 1.0)
    with OnDevice(), pytest.raises(AssertionError, match="wait for each other"):
        stack.settle(inputs, own_labels)


def _waits(name: str) -> bool:
    stack, _ = build([tiny.experiment(name, sampler="balanced")], torch.device("cpu"))
    return stack.groups[0].waits


class _BackwardError(Exception):
    """Here the backward pass would begin, which torch does not run for tensors that only claim to be on a GPU."""


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="torch is built without CUDA")
@pytest.mark.parametrize("by_patches", [False, True])
@pytest.mark.parametrize("name", ["conv3", "lenet_plus_plus"])
def test_in_bfloat16_heads_and_batch_norm_are_float32(
    name: str, by_patches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rules of autocast for CUDA, on tensors that claim to lie there."""
    seen: dict[str, set[torch.dtype]] = {"heads": set(), "norms": set(), "products": set()}
    plain = Loss.compute

    def compute(self: Loss, embeddings: Tensor, labels: Tensor) -> Any:
        loss, logged = plain(self, embeddings, labels)
        arrays = [embeddings, loss, *logged.values()]
        seen["heads"].update(array.dtype for array in arrays)
        return loss, logged

    def note(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        norm = isinstance(module, BatchNorm1d | BatchNorm2d)
        seen["norms" if norm else "products"].add(output.dtype)

    def stop(*_: Any, **__: Any) -> None:
        raise _BackwardError

    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(Loss, "compute", compute)
    monkeypatch.setattr(Tensor, "backward", stop)
    monkeypatch.setattr(torch.autograd, "grad", stop)
    backbone = {"name": name, "embedding_dim": 8, "embedding_norm": "batch", "activation": "prelu"}
    items = [
        tiny.experiment(loss, precision="bfloat16", backbone=backbone)
        for loss in ("softmax", "arcface")
    ]
    stack, _ = build(items, META)
    for module in stack.backbone.template.modules():
        if isinstance(module, Convolution):
            module.by_patches = by_patches
        if isinstance(module, BatchNorm1d | BatchNorm2d | torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(note)
    with FakeTensorMode():
        claim_cuda(stack)
        images = torch.rand(1, 16, 1, 12, 12, device="cuda")
        labels = torch.zeros(1, 16, dtype=torch.int64, device="cuda")
        with pytest.raises(_BackwardError):
            stack.step(images, labels, 1.0)
    assert seen["products"] == {torch.bfloat16}
    assert seen["norms"] == {torch.float32}
    assert seen["heads"] == {torch.float32}
    assert {tensor.dtype for tensor in stack.backbone.parameters.values()} == {torch.float32}


def claim_cuda(stack: Stack) -> None:
    """Replace the tensors of a forward pass by some that claim to lie on a GPU."""
    stack.device = torch.device("cuda")
    stack.stream_of = torch.zeros(len(stack.stream_of), dtype=torch.int64, device="cuda")
    for stacked in [stack.backbone, *(group.stacked for group in stack.groups)]:
        for tensors in (stacked.parameters, stacked.buffers):
            for name, tensor in tensors.items():
                tensors[name] = torch.zeros(
                    tensor.shape,
                    dtype=tensor.dtype,
                    device="cuda",
                    requires_grad=tensor.requires_grad,
                )


@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_step_waits_for_the_gpu(precision: str) -> None:
    """As torch itself sees it."""
    changes: dict[str, Any] = {"optimizer": "adamw", "clip_norm": 1.0, "precision": precision}
    items = [tiny.experiment(name, **changes, sampler="balanced") for name in STACKED]
    stack, data = build(items, torch.device("cuda"))
    batch = next(data.batches(stack.streams, 1))
    stack.step(*batch, 1.0)  # libraries start
    torch.cuda.set_sync_debug_mode("error")
    try:
        stack.update(*batch, 1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert GraphedStep(stack).replay is None
