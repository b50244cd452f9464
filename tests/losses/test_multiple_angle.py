"""L-Softmax and SphereFace: losses written out, and the gradient of the Caffe layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from losses.catalog import resolve
from losses.multiple_angle import monotone_multiple_angle
from tests.losses.stacks import batch, make

PI = math.pi


def psi(theta: float, m: int) -> float:
    k = min(math.floor(m * theta / PI), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_slope_is_the_derivative_of_the_curve(m: int) -> None:
    cosine = torch.linspace(-1, 1, 997, dtype=torch.float64).requires_grad_()
    value, slope = monotone_multiple_angle(cosine, torch.tensor(m))
    (expected,) = torch.autograd.grad(value.sum(), cosine)
    torch.testing.assert_close(slope, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        value.detach(), [psi(math.acos(c), m) for c in cosine.tolist()], atol=1e-12
    )


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("weight", [0.0, 4.0])
def test_l_softmax_written_out(m: int, weight: float) -> None:
    loss = make("l_softmax", {"margin": m, "base": 0.0, "lambda_min": weight})
    with torch.no_grad():
        loss.weight.mul_(torch.linspace(0.5, 2, 5).unsqueeze(1))
    embeddings, labels = batch(9)
    x, w = embeddings.numpy(), loss.weight.detach().numpy()
    terms = []
    for i, y in enumerate(labels.tolist()):
        logits = [x[i] @ row for row in w]
        product = np.linalg.norm(x[i]) * np.linalg.norm(w[y])
        theta = math.acos(logits[y] / product)
        logits[y] = product * (weight * math.cos(theta) + psi(theta, m)) / (1 + weight)
        terms.append(math.log(sum(math.exp(z - logits[y]) for z in logits)))
    assert loss(embeddings, labels).item() == pytest.approx(np.mean(terms), rel=1e-10)


def test_l_softmax_without_margin_is_softmax_without_bias() -> None:
    loss, plain = make("l_softmax", {"margin": 1}, seed=1), make("softmax", seed=1)
    embeddings, labels = batch()
    for scale in (1.0, 3.0):
        with torch.no_grad():
            loss.weight.mul_(scale)
            plain.weight.mul_(scale)
        assert loss(embeddings, labels) == plain(embeddings, labels)
        assert torch.equal(loss.logits(embeddings), plain.logits(embeddings))


def test_l_softmax_with_unit_weights_is_sphereface() -> None:
    hyper = resolve("l_softmax", {"margin": 3})
    embeddings, labels = batch()
    expected = make("sphereface", hyper, seed=1)(embeddings, labels)
    torch.testing.assert_close(make("l_softmax", hyper, seed=1)(embeddings, labels), expected)


@pytest.mark.parametrize(
    ("preset", "step", "weight"),
    [("mnist", 1_000, 421), ("mnist", 5_000, 16.2), ("mnist", 10_000, 0.41), ("mnist", 20_000, 7e-4),
     ("cifar10", 10_000, 0.27), ("cifar10_plus", 10_000, 13.7), ("cifar10_plus", 30_000, 0.0075)],
)  # fmt: skip
def test_l_softmax_schedules(preset: str, step: int, weight: float) -> None:
    loss = make("l_softmax", {"preset": preset})
    loss.steps.fill_(step - 1)
    log = loss.compute(*batch())[1]
    assert log["lambda"].item() == pytest.approx(weight, rel=0.05)


def caffe_layer(
    x: np.ndarray, w: np.ndarray, y: list[int], m: int, lam: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and the two gradients of MarginInnerProduct and SoftmaxWithLoss in wy1iu/sphereface.

    Its formulas, case by case; the rows of ``w`` have length 1.
    """
    lengths = np.linalg.norm(x, axis=1)
    logits = x @ w.T
    ways = np.empty_like(x)  # what the layer takes for the slope of the target logit
    for i, label in enumerate(y):
        c = logits[i, label] / lengths[i]
        zero, half = np.sign(c), np.sign(abs(c) - 0.5)
        two = zero * (1 + half) - 2
        three = zero * np.sign(2 * c**2 - 1)
        four = 2 * zero + three - 3
        curve, along_w, along_x = {
            1: (c, 1.0, 0.0),
            2: (2 * zero * c**2 - 1, 4 * zero * c, 2 * zero * c**2 + 1),
            3: (half * (4 * c**3 - 3 * c) + two, half * (12 * c**2 - 3), 8 * half * c**3 - two),
            4: (
                three * (8 * c**4 - 8 * c**2 + 1) + four,
                three * (32 * c**3 - 16 * c),
                three * (24 * c**4 - 8 * c**2 - 1) - four,
            ),
        }[m]
        along_x = -along_x / lengths[i]
        norm = math.hypot(along_w, along_x)
        ways[i] = (along_w * w[label] + along_x * x[i]) / norm / (1 + lam)
        ways[i] += lam / (1 + lam) * w[label]
        logits[i, label] = (lam * logits[i, label] + lengths[i] * curve) / (1 + lam)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    value, slopes = -logits[np.arange(len(y)), y].mean(), np.exp(logits)
    slopes[np.arange(len(y)), y] -= 1
    slopes /= len(y)
    to_x = slopes @ w
    for i, label in enumerate(y):
        to_x[i] += slopes[i, label] * (ways[i] - w[label])
    return value, to_x, slopes.T @ x


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("lam", [0.0, 5.0])
@pytest.mark.parametrize("length", [1.0, 1e-3, 1e3])
def test_gradient_of_the_caffe_layer(m: int, lam: float, length: float) -> None:
    hyper: dict[str, Any] = {"margin": m, "base": 0.0, "lambda_min": lam, "gradient": "caffe"}
    loss = make("sphereface", hyper)
    embeddings, labels = batch(40, seed=3)
    embeddings = (embeddings * length).requires_grad_()
    value = loss(embeddings, labels)
    value.backward()
    with torch.no_grad():  # of float32 rows, length 1 to 1e-7
        rows = (loss.weight / loss.weight.norm(dim=1, keepdim=True)).numpy()
    assert embeddings.grad is not None
    x = embeddings.detach().numpy()
    expected, to_x, to_w = caffe_layer(x, rows, labels.tolist(), m, lam)
    assert value.item() == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(embeddings.grad, to_x, rtol=1e-9, atol=1e-12)
    across = to_w - (to_w * rows).sum(axis=1, keepdims=True) * rows
    np.testing.assert_allclose(loss.weight.grad, across, rtol=1e-6, atol=1e-12 * length)


def test_gradient_of_the_caffe_layer_is_not_the_derivative() -> None:
    """Same value, and with margin 1 the same gradient."""
    embeddings, labels = batch()
    for m in (1, 2, 5):
        results = []
        for gradient in ("exact", "caffe"):
            loss = make("sphereface", {"margin": m, "gradient": gradient})
            x = embeddings.clone().requires_grad_()
            value = loss(x, labels)
            value.backward()
            results.append((value.item(), x.grad, loss.weight.grad))
        assert results[0][0] == pytest.approx(results[1][0], rel=1e-14)
        for exact, caffe in zip(results[0][1:], results[1][1:], strict=True):
            assert torch.allclose(exact, caffe, rtol=1e-10, atol=1e-14) == (m == 1)


def test_margin_of_l_softmax_ends_at_4() -> None:
    with pytest.raises(ValueError, match="must be one of 1, 2, 3, 4"):
        make("l_softmax", {"margin": 5})
