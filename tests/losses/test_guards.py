"""Wrong arrays and settings: one clear error that names the loss and the value."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from losses.base import Loss
from losses.catalog import CATALOG, CatalogError
from tests.losses.stacks import batch, make

X, LABELS = batch(12, dtype=torch.float32)
each = pytest.mark.parametrize("name", list(CATALOG))


@each
@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (X[0], LABELS, r"embeddings of shape \(4,\); \(batch, 4\) is needed"),
        (X[:, :3], LABELS, r"embeddings of shape \(12, 3\); \(batch, 4\) is needed"),
        (X, LABELS[:5], r"labels of shape \(5,\) for 12 embeddings"),
        (X, LABELS.unsqueeze(1), r"labels of shape \(12, 1\) for 12 embeddings"),
        (X, LABELS.int(), "labels of type torch.int32; torch.int64 is needed"),
        (X, LABELS.float(), "labels of type torch.float32; torch.int64 is needed"),
        (X.long(), LABELS, "embeddings of type torch.int64; a floating type is needed"),
    ],
)
def test_arrays(name: str, embeddings: Tensor, labels: Tensor, message: str) -> None:
    loss = make(name)
    with pytest.raises(ValueError, match=f"^{type(loss).__name__}: {message}"):
        loss.compute(embeddings, labels)


@each
@pytest.mark.parametrize("wrong", [-2, 5, 1000])
def test_labels_out_of_range(name: str, wrong: int) -> None:
    loss = make(name, dtype=torch.float32)
    labels = LABELS.clone()
    labels[3] = wrong
    if loss.kind == "embedding":  # which only compares labels
        loss.compute(X, labels)
        return
    message = (
        rf"{type(loss).__name__}: label {wrong} is out of range; it has 5 classes, labels -?\d"
    )
    with pytest.raises(ValueError, match=message):
        loss.compute(X, labels)


def test_embeddings_of_another_size_have_no_logits() -> None:
    with pytest.raises(ValueError, match=r"CosFace: embeddings of shape \(12, 3\)"):
        make("cosface").logits(X[:, :3])


def test_an_empty_batch_is_no_label_out_of_range() -> None:
    make("cosface", dtype=torch.float32).compute(X[:0], LABELS[:0])


@pytest.mark.parametrize("stacked_labels", [False, True])
def test_inside_a_transform_no_value_is_looked_at(stacked_labels: bool) -> None:
    loss: Loss = make("cosface", dtype=torch.float32)
    labels = LABELS.expand(3, -1) if stacked_labels else LABELS
    axes = (0, 0 if stacked_labels else None)
    values = vmap(lambda x, y: loss(x, y), in_dims=axes)(X.expand(3, -1, -1), labels)
    torch.testing.assert_close(values, loss(X, LABELS).expand(3))
    with pytest.raises(ValueError, match=r"CosFace: labels of shape \(4,\) for 12"):
        vmap(lambda x, y: loss(x, y))(X.expand(3, -1, -1), LABELS[:4].expand(3, -1))


@pytest.mark.parametrize(
    ("name", "hyper", "message"),
    [
        (
            "arcface",
            {"margin": 28.6},
            r"arcface\.margin = 28\.6: .*if that is degrees, write 0\.499",
        ),
        ("arcface", {"margin": -0.1}, r"arcface\.margin = -0\.1: must be in"),
        ("cosface", {"margin": 20}, r"cosface\.margin = 20: must be in \[0, 2\] \(cosine\)"),
        ("cosface", {"scale": 0}, r"cosface\.scale = 0: must be in"),
    ],
)
def test_numbers_reach_build_checked(name: str, hyper: dict[str, float], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        make(name, hyper)
