"""Class-level Circle loss, Proxy-NCA, Proxy-Anchor, SoftTriple: by hand and beside other code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losses.catalog import resolve
from losses.schema import Value
from tests.losses.stacks import batch, make

losses = pytest.importorskip("pytorch_metric_learning.losses")


def cosines(loss: Any, embeddings: Tensor) -> np.ndarray:
    """Cosines of every sample to every class vector, (B, C) or (B, C, K)."""
    rows = loss.weight.detach()
    x = embeddings.reshape(len(embeddings), *[1] * (rows.dim() - 1), -1)
    found: np.ndarray = torch.cosine_similarity(x, rows[None], dim=-1).numpy()
    return found


def compare(mine: Any, theirs: Any, parameter: Tensor, rows: Tensor, labels: Tensor) -> None:
    """Value and gradients of a loss of pytorch-metric-learning with the same class vectors."""
    x, _ = batch()
    gradients, values = [], []
    for loss, weight in ((mine, mine.weight), (theirs, parameter)):
        leaf = x.clone().requires_grad_()
        value = loss(leaf, labels)
        value.backward()
        values.append(value.detach())
        gradients.append((leaf.grad, weight.grad))
    torch.testing.assert_close(values[0], values[1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradients[0][0], gradients[1][0], rtol=1e-7, atol=1e-10)
    theirs_grad = gradients[1][1]
    assert theirs_grad is not None
    if theirs_grad.shape != rows.shape:
        theirs_grad = theirs_grad.T.reshape(rows.shape)
    torch.testing.assert_close(gradients[0][1], theirs_grad, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("detach", [True, False])
def test_circle_by_hand(detach: bool) -> None:
    m, gamma = 0.2, 6.0
    loss = make("circle_class", {"margin": m, "scale": gamma, "detach": detach})
    embeddings, labels = batch()
    values = []
    for row, y in zip(cosines(loss, embeddings), labels.tolist(), strict=True):
        negatives = sum(
            math.exp(gamma * max(0, s + m) * (s - m)) for j, s in enumerate(row) if j != y
        )
        positive = math.exp(-gamma * max(0, 1 + m - row[y]) * (row[y] - (1 - m)))
        values.append(math.log(1 + negatives * positive))
    assert loss(embeddings, labels).item() == pytest.approx(np.mean(values), rel=1e-12)


def test_circle_gradient_is_the_papers() -> None:
    """Eq. 10: each similarity's gradient is its share of the softmax times γ·α."""
    loss = make("circle_class", {"scale": 8.0})
    embeddings, labels = batch()
    similarity = torch.tensor(cosines(loss, embeddings))
    own = torch.nn.functional.one_hot(labels, 5).bool()
    pace = torch.where(own, 1.25 - similarity, similarity + 0.25).relu()
    logits = 8 * pace * torch.where(own, similarity - 0.75, similarity - 0.25)
    slope = (logits.softmax(dim=1) - own.double()) * 8 * pace / len(labels)
    x = embeddings.clone().requires_grad_()
    loss(x, labels).backward()
    y = embeddings.clone().requires_grad_()
    (
        torch.cosine_similarity(y[:, None], loss.weight.detach()[None], dim=-1) * slope
    ).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-13)


def test_circle_target_logit_falls_with_the_angle() -> None:
    """Where s_p <= 1 - its optimum: αₚ·(s_p - Δₚ) rises up to s_p = 1, its largest argument."""
    loss = make("circle_class")
    theta = torch.linspace(0, math.pi, 10_001, dtype=torch.float64)
    target = loss.target(theta.cos())
    assert (target.diff() <= 1e-12).all()
    assert target[0] > target[-1]


@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_proxy_nca_by_hand(denominator: str) -> None:
    loss = make("proxy_nca", {"scale": 1.5, "denominator": denominator})
    embeddings, labels = batch()
    values = []
    for row, y in zip(cosines(loss, embeddings), labels.tolist(), strict=True):
        weights = np.exp(-1.5 * (2 - 2 * row))
        kept = weights.sum() - (weights[y] if denominator == "negatives" else 0)
        values.append(-math.log(weights[y] / kept))
    assert loss(embeddings, labels).item() == pytest.approx(np.mean(values), rel=1e-12)


def test_proxy_nca_over_all_is_that_of_pytorch_metric_learning() -> None:
    """It has the own proxy in the denominator, so only ``all`` agrees."""
    labels = batch()[1]
    mine = make("proxy_nca", {"scale": 3.0, "denominator": "all"})
    theirs = losses.ProxyNCALoss(5, 4, softmax_scale=3.0).double()
    theirs.proxies.data.copy_(mine.weight.detach())
    compare(mine, theirs, theirs.proxies, mine.weight, labels)
    paper = make("proxy_nca", {"scale": 3.0})
    assert paper(batch()[0], labels) < mine(batch()[0], labels)


@pytest.mark.parametrize("labels", [None, [1] * 12, [0, 1, 2, 3] * 3])
def test_proxy_anchor_is_that_of_pytorch_metric_learning(labels: list[int] | None) -> None:
    mine = make("proxy_anchor", {"scale": 8.0, "margin": 0.15})
    theirs = losses.ProxyAnchorLoss(5, 4, margin=0.15, alpha=8).double()
    theirs.proxies.data.copy_(mine.weight.detach())
    chosen = batch()[1] if labels is None else torch.tensor(labels)
    compare(mine, theirs, theirs.proxies, mine.weight, chosen)


@pytest.mark.parametrize("classes", [2, 5])
def test_proxy_anchor_by_hand(classes: int) -> None:
    """C = 2 too, where the authors' label binarizer returns one column."""
    alpha, delta = 8.0, 0.15
    loss = make("proxy_anchor", {"scale": alpha, "margin": delta}, num_classes=classes)
    embeddings, labels = batch(classes=classes)
    found = cosines(loss, embeddings)
    positive, negative = [], []
    for c in range(classes):
        own = (labels == c).numpy()
        if own.any():
            positive.append(math.log(1 + np.exp(-alpha * (found[own, c] - delta)).sum()))
        negative.append(math.log(1 + np.exp(alpha * (found[~own, c] + delta)).sum()))
    value, log = loss.compute(embeddings, labels)
    assert log["positive"].item() == pytest.approx(np.mean(positive), rel=1e-12)
    assert log["negative"].item() == pytest.approx(np.mean(negative), rel=1e-12)
    assert value.item() == pytest.approx(np.mean(positive) + np.mean(negative), rel=1e-12)
    assert log["positive_proxies"] == len(positive)


def soft_triple(**hyper: Value) -> Any:
    return make("soft_triple", {"centers": 3, **hyper})


def test_soft_triple_is_that_of_pytorch_metric_learning() -> None:
    """Without the regulariser, which it does not have."""
    mine = soft_triple(regularization=0.0, scale=5.0, temperature=0.3, margin=0.05)
    theirs = losses.SoftTripleLoss(5, 4, centers_per_class=3, la=5, gamma=0.3, margin=0.05).double()
    theirs.fc.data.copy_(mine.weight.detach().reshape(15, 4).T)
    compare(mine, theirs, theirs.fc, mine.weight, batch()[1])


@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
def test_soft_triple_regularizer_by_hand(epsilon: float) -> None:
    """A quarter of the mean distance of two centers, here of pairs (j; 0, 1), (0, 2), (1, 2)."""
    loss = soft_triple(regularization=0.7, epsilon=epsilon)
    rows = loss.weight.detach().numpy()
    total = sum(
        math.sqrt(((rows[c, k] - rows[c, j]) ** 2).sum() + epsilon)
        for c in range(5)
        for k in range(3)
        for j in range(k)
    )
    value, log = loss.compute(*batch())
    assert log["regularizer"].item() == pytest.approx(0.7 * total / (5 * 3 * 2), rel=1e-6)
    plain = soft_triple(regularization=0.0)(*batch())
    assert (value - log["regularizer"]).item() == pytest.approx(plain.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_soft_triple_with_identical_centers(dtype: torch.dtype, epsilon: float) -> None:
    loss = make("soft_triple", {"centers": 3, "epsilon": epsilon}, dtype=dtype)
    with torch.no_grad():
        loss.weight[:, 1] = loss.weight[:, 0]
    value = loss(*batch(dtype=dtype))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(loss.weight.grad).all()
    # What the twins get from the root alone is the same: nothing tears them apart.
    torch.testing.assert_close(loss.weight.grad[:, 0], loss.weight.grad[:, 1], rtol=1e-3, atol=1e-3)


def test_soft_triple_with_one_center_is_cosface() -> None:
    loss = soft_triple(centers=1, scale=7.0, margin=0.1)
    cosface = make("cosface", {"scale": 7.0, "margin": 0.1})
    with torch.no_grad():
        cosface.weight.copy_(loss.weight[:, 0])
    embeddings, labels = batch()
    torch.testing.assert_close(loss(embeddings, labels), cosface(embeddings, labels))
    torch.testing.assert_close(loss.logits(embeddings), cosface.logits(embeddings))


def test_soft_triple_takes_the_nearest_center_as_the_temperature_falls() -> None:
    loss = soft_triple(scale=1.0, temperature=1e-4)
    embeddings, _ = batch()
    nearest = cosines(loss, embeddings).max(axis=2)
    np.testing.assert_allclose(loss.logits(embeddings).detach().numpy(), nearest, atol=1e-4)


def test_defaults() -> None:
    assert resolve("circle_class") == {"margin": 0.25, "scale": 256.0, "detach": True}
    assert resolve("proxy_nca") == {"scale": 1.0, "denominator": "negatives"}
    assert resolve("proxy_anchor") == {"scale": 32.0, "margin": 0.1}
    assert resolve("soft_triple") == {
        "centers": 10,
        "scale": 20.0,
        "temperature": 0.1,
        "margin": 0.01,
        "regularization": 0.2,
        "epsilon": 1e-5,
    }
    baseline = resolve("proxy_nca", {"preset": "proxy_anchor_baseline"})
    assert baseline == {"scale": 32.0, "denominator": "all"}
