"""OIM: its table, its queue and their updates, by loops in numpy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from losses.catalog import resolve
from tests.losses.stacks import Stack, make


def samples(size: int, seed: int, lowest: int = -1) -> tuple[Tensor, Tensor]:
    """Embeddings (size, 4) and labels lowest..4."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    return embeddings, torch.randint(lowest, 5, (size,), generator=generator)


class Reference:
    """The definition, a sample after the other."""

    def __init__(self, momentum: float, size: int, normalize: bool) -> None:
        self.lut, self.queue = np.zeros((5, 4)), np.zeros((size, 4))
        self.pointer, self.momentum, self.normalize = 0, momentum, normalize

    def points(self, embeddings: Tensor) -> np.ndarray:
        points = embeddings.numpy()
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        return points / np.where(lengths > 0, lengths, 1) if self.normalize else points

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        for point, label in zip(self.points(embeddings), labels.tolist(), strict=True):
            if label >= 0:
                moved = self.momentum * self.lut[label] + (1 - self.momentum) * point
                length = np.linalg.norm(moved)
                self.lut[label] = moved / length if length else moved
            elif len(self.queue):
                self.queue[self.pointer] = point
                self.pointer = (self.pointer + 1) % len(self.queue)

    def loss(self, embeddings: Tensor, labels: Tensor, temperature: float) -> float:
        logits = self.points(embeddings) @ np.concatenate([self.lut, self.queue]).T / temperature
        terms = [
            np.log(np.exp(row).sum()) - row[label]
            for row, label in zip(logits, labels.tolist(), strict=True)
            if label >= 0
        ]
        return float(np.mean(terms)) if terms else 0.0


@given(
    momentum=st.floats(0.001, 0.999) | st.sampled_from([0.0, 1.0]),
    size=st.sampled_from([0, 1, 3, 40]),
    normalize=st.booleans(),
    count=st.integers(1, 24),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_loss_and_state_over_steps(
    momentum: float, size: int, normalize: bool, count: int, seed: int
) -> None:
    """Labelled and unlabelled samples mixed, several of a class, more unlabelled than places."""
    hyper = {"momentum": momentum, "queue_size": size, "normalize": normalize}
    loss, reference = make("oim", hyper), Reference(momentum, size, normalize)
    for step in range(3):
        embeddings, labels = samples(count, seed + step)
        if step == 1:
            embeddings[0] = 0
        expected = reference.loss(embeddings, labels, 0.1)
        assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
        loss.after_step(embeddings, labels)
        reference.update(embeddings, labels)
        np.testing.assert_allclose(loss.lut.numpy(), reference.lut, atol=1e-12)
        if size:
            np.testing.assert_allclose(loss.queue.numpy(), reference.queue, atol=1e-12)
            assert loss.pointer.item() == reference.pointer


@pytest.mark.parametrize("size", [0, 3])
def test_a_stack_updates_each_of_its_tables(size: int) -> None:
    """One pass over the classes of all models, whose labels and momenta differ."""
    momenta = [0.1, 0.5, 0.9]
    losses = [make("oim", {"momentum": m, "queue_size": size}, seed=0) for m in momenta]
    stack = Stack(losses)
    references = [Reference(m, size, True) for m in momenta]
    for step in range(3):
        batches = [samples(10, 10 * step + k) for k in range(3)]
        arrays = [torch.stack(part) for part in zip(*batches, strict=True)]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error")  # vmap warns where it falls back to a loop
            stack.call("after_step", *arrays)
        for k, reference in enumerate(references):
            reference.update(*batches[k])
            got = stack.buffers["loss.lut"][k].numpy()
            np.testing.assert_allclose(got, reference.lut, atol=1e-12)
            if size:
                got = stack.buffers["loss.queue"][k].numpy()
                np.testing.assert_allclose(got, reference.queue, atol=1e-12)
                assert stack.buffers["loss.pointer"][k] == reference.pointer


def test_memory_is_constant_in_the_gradient() -> None:
    """∂/∂x of the raw form is (p - e_y)·[v; u]/τ; there is nothing else to differentiate."""
    loss: Any = make("oim", {"queue_size": 2, "normalize": False, "temperature": 0.5})
    loss.after_step(*samples(20, 1))
    embeddings, labels = samples(6, 2, lowest=0)
    loss(embeddings.requires_grad_(), labels).backward()
    memory = torch.cat([loss.lut, loss.queue])
    probability = (embeddings.detach() @ memory.T / 0.5).softmax(dim=1)
    probability[torch.arange(6), labels] -= 1
    assert embeddings.grad is not None
    torch.testing.assert_close(embeddings.grad, probability @ memory / 0.5 / 6)
    assert not list(loss.parameters())
    assert loss.class_parameters == ()


def test_unlabelled_samples_have_no_loss() -> None:
    loss = make("oim", {"queue_size": 4})
    loss.after_step(*samples(20, 1))
    embeddings, labels = samples(8, 3)
    labels[:2] = torch.tensor([-1, 2])
    value = loss(embeddings.requires_grad_(), labels)
    value.backward()
    assert embeddings.grad is not None
    assert (embeddings.grad[labels < 0] == 0).all()
    assert (embeddings.grad[labels >= 0] != 0).any()
    known = labels >= 0
    torch.testing.assert_close(value, loss(embeddings[known], labels[known]))
    none = loss(embeddings, torch.full_like(labels, -1))
    assert none == 0
    assert torch.autograd.grad(none, embeddings)[0].abs().sum() == 0


def test_zero_rows_stay_in_the_sum() -> None:
    """Before any update every logit is 0: ln(C + Q)."""
    for size in (0, 7):
        value = make("oim", {"queue_size": size})(*samples(5, 0, lowest=0))
        assert value.item() == pytest.approx(np.log(5 + size))


def test_update_takes_place_after_the_step_alone() -> None:
    loss = make("oim", {"queue_size": 3})
    before = {key: value.clone() for key, value in loss.state_dict().items()}
    embeddings, labels = samples(8, 0)
    loss(embeddings.requires_grad_(), labels).backward()
    assert all(torch.equal(value, before[key]) for key, value in loss.state_dict().items())


def test_log() -> None:
    loss = make("oim")
    embeddings, labels = torch.eye(4, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    loss.after_step(embeddings, labels)
    _, log = loss.compute(embeddings[[0, 1, 2]], torch.tensor([0, 1, -1]))
    assert log["accuracy"] == 1
    assert log["target_angle"] == 0
    assert log["seen"].item() == pytest.approx(4 / 5)
    _, log = loss.compute(embeddings[[0, 1]], torch.tensor([1, 1]))
    assert log["accuracy"] == 0.5
    assert log["target_angle"].item() == pytest.approx(np.pi / 4)


def test_presets() -> None:
    assert resolve("oim", {"preset": "paper"})["queue_size"] == 5000
    assert resolve("oim", {"preset": "open_reid"})["temperature"] == pytest.approx(1 / 30)
    assert resolve("oim", {"preset": "open_reid"})["queue_size"] == 0
