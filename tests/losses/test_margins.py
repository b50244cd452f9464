"""Target-logit curves and losses against the formulas written out with angles, one sample at a
time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses.functional import COSINE_LIMIT, unit_rows
from losses.heads import MarginHead
from losses.schema import Value
from tests.losses.stacks import batch, make

PI = math.pi


def arc_target(theta: float, m: float, rule: str) -> float:
    if rule == "easy" and theta >= PI / 2:
        return math.cos(theta)
    if rule == "linear" and theta + m > PI:
        return math.cos(theta) - m * math.sin(m)
    return math.cos(min(theta + m, PI)) if rule == "clip" else math.cos(theta + m)


def psi(theta: float, m: int) -> float:
    k = min(math.floor(m * theta / PI), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def curve(loss: MarginHead, theta: np.ndarray) -> np.ndarray:
    return loss.target(torch.tensor(np.cos(theta))).detach().numpy()


@pytest.mark.parametrize("rule", ["linear", "easy", "none", "clip"])
@pytest.mark.parametrize("gradient", ["exact", "straight_through"])
@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5, 1.0, PI / 2])
def test_arcface_curve(rule: str, gradient: str, margin: float) -> None:
    loss = make("arcface", {"margin": margin, "rule": rule, "gradient": gradient})
    theta = np.linspace(0.002, PI - 0.002, 1000)  # misses the jumps at π/2
    expected = [arc_target(t, margin, rule) for t in theta]
    np.testing.assert_allclose(curve(loss, theta), expected, atol=1e-12)
    ends = curve(loss, np.array([0.0, PI]))  # where the clamp acts: off by at most sqrt(2e-6)
    np.testing.assert_allclose(ends, [arc_target(t, margin, rule) for t in (0.0, PI)], atol=1.5e-3)


@pytest.mark.parametrize(
    ("rule", "at_60_degrees", "past_the_limit"),
    [
        ("none", 0.0235965853, -0.9553364891),
        ("linear", 0.0235965853, -1.2197793472),
        ("easy", 0.0235965853, -0.9800665778),
        ("clip", 0.0235965853, -1.0),
    ],
)
def test_arcface_golden_values(rule: str, at_60_degrees: float, past_the_limit: float) -> None:
    loss = make("arcface", {"margin": 0.5, "rule": rule})
    got = curve(loss, np.array([PI / 3, PI - 0.2]))
    np.testing.assert_allclose(got, [at_60_degrees, past_the_limit], atol=1e-9)


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])
def test_sphereface_curve(margin: int) -> None:
    hyper: dict[str, Value] = {"margin": margin, "base": 0.0, "lambda_min": 0.0}
    theta = np.linspace(0, PI, 1001)
    got = curve(make("sphereface", hyper), theta)
    np.testing.assert_allclose(got, [psi(t, margin) for t in theta], atol=1e-12)
    assert got[-1] == pytest.approx(1 - 2 * margin)
    assert (np.diff(got) <= 0).all()
    blended = curve(make("sphereface", {**hyper, "lambda_min": 3.0}), theta)
    np.testing.assert_allclose(blended, (3 * np.cos(theta) + got) / 4, atol=1e-12)


def test_sphereface_golden_values() -> None:
    """m = 4 at 60 degrees: k = 1, -cos(240°) - 2 = -1.5; lambda starts at 1000 / 1.12."""
    loss = make("sphereface", {"base": 0.0, "lambda_min": 0.0})
    assert curve(loss, np.array([PI / 3]))[0] == pytest.approx(-1.5)
    annealed = make("sphereface")
    schedule = []
    for _ in range(1660):
        schedule.append(annealed.annealing().item())
        annealed.after_step(*batch())
    assert schedule[0] == pytest.approx(1000 / 1.12)
    assert schedule[99] == pytest.approx(1000 / 13)
    assert schedule[1657] > 5  # papers' lambda_min is first reached at t = 1,659
    assert schedule[1658] == 5


def test_cosface_curve_is_the_cosine_lowered() -> None:
    theta = np.linspace(0, PI, 101)
    got = curve(make("cosface", {"margin": 0.35}), theta)
    np.testing.assert_allclose(got, np.cos(theta) - 0.35, atol=1e-15)


MONOTONE = st.one_of(
    st.tuples(
        st.just("arcface"),
        st.fixed_dictionaries(
            {"margin": st.floats(0, PI / 2), "rule": st.sampled_from(["linear", "clip"])}
        ),
    ),
    st.tuples(st.just("cosface"), st.fixed_dictionaries({"margin": st.floats(0, 2)})),
    st.tuples(
        st.just("sphereface"),
        st.fixed_dictionaries(
            {"margin": st.integers(1, 5), "lambda_min": st.floats(0, 10), "base": st.just(0.0)}
        ),
    ),
)


@given(choice=MONOTONE)
@settings(max_examples=60, deadline=None)
def test_curves_fall_over_the_whole_range(choice: tuple[str, dict[str, Value]]) -> None:
    got = curve(make(*choice), np.linspace(0, PI, 2001))
    assert (np.diff(got) <= 1e-12).all()
    assert (got <= np.cos(np.linspace(0, PI, 2001)) + 1e-12).all()  # never easier than softmax


@pytest.mark.parametrize("rule", ["linear", "easy", "none", "clip"])
def test_arcface_slope(rule: str) -> None:
    """Exact: sin(θ + m) / sin θ; straight through: 1."""
    theta = torch.linspace(0.1, PI - 0.7, 50, dtype=torch.float64)
    slopes = {}
    for gradient in ("exact", "straight_through"):
        cosine = theta.cos().requires_grad_()
        loss = make("arcface", {"margin": 0.5, "rule": rule, "gradient": gradient})
        (slopes[gradient],) = torch.autograd.grad(loss.target(cosine).sum(), cosine)
    exact = (theta + 0.5).sin() / theta.sin()
    if rule == "easy":
        exact = torch.where(theta < PI / 2, exact, torch.ones_like(exact))
    torch.testing.assert_close(slopes["exact"], exact)
    torch.testing.assert_close(slopes["straight_through"], torch.ones_like(exact))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rule", ["linear", "easy", "none", "clip"])
def test_slope_is_finite_at_and_beyond_the_clamp(rule: str, dtype: torch.dtype) -> None:
    limit = torch.tensor(COSINE_LIMIT, dtype=dtype)
    one = torch.ones((), dtype=dtype)
    cosine = torch.stack([limit, -limit, one, -one, one + 1e-6, -one - 1e-6]).requires_grad_()
    loss = make("arcface", {"rule": rule})
    (slope,) = torch.autograd.grad(loss.target(cosine).sum(), cosine)
    assert limit < 1
    assert torch.isfinite(slope).all()
    assert slope.abs().max() <= 1 + 1 / math.sqrt(2e-6) / 0.99


NAIVE: dict[str, tuple[dict[str, Any], Callable[[float], float]]] = {
    "norm_softmax": ({"scale": 7.0}, math.cos),
    "cosface": ({"scale": 7.0, "margin": 0.2}, lambda t: math.cos(t) - 0.2),
    "arcface": ({"scale": 7.0, "margin": 0.4}, lambda t: arc_target(t, 0.4, "linear")),
    "sphereface": (
        {"margin": 3, "base": 11.2},
        lambda t: (10 * math.cos(t) + psi(t, 3)) / 11,
    ),
}


@pytest.mark.parametrize("name", NAIVE)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_loss_written_out(name: str, seed: int) -> None:
    hyper, target = NAIVE[name]
    loss = make(name, hyper, seed=seed)
    embeddings, labels = batch(6, seed=seed)
    x, w = embeddings.numpy(), loss.weight.detach().numpy()
    terms = []
    for i, y in enumerate(labels.tolist()):
        length = np.linalg.norm(x[i])
        radius = length if name == "sphereface" else hyper["scale"]
        cosines = [x[i] @ row / (length * np.linalg.norm(row)) for row in w]
        logits = [radius * c for c in cosines]
        logits[y] = radius * target(math.acos(cosines[y]))
        terms.append(math.log(sum(math.exp(z - logits[y]) for z in logits)))
    assert loss(embeddings, labels).item() == pytest.approx(np.mean(terms), rel=1e-10)


def test_past_limit_is_the_share_beyond_pi_minus_m() -> None:
    loss = make("arcface", {"margin": 0.5}, num_classes=2, embedding_dim=2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    theta = torch.tensor([0.0, 2.0, PI - 0.51, PI - 0.49, 3.0], dtype=torch.float64)
    embeddings = torch.stack([theta.cos(), theta.sin()], dim=1)
    log = loss.compute(embeddings, torch.zeros(5, dtype=torch.int64))[1]
    assert log["past_limit"] == pytest.approx(2 / 5)
    assert log["target_angle"] == pytest.approx(theta.mean().item())


def test_zero_vector_has_cosine_zero_and_no_gradient() -> None:
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1e-13, 0.0]], dtype=torch.float64)
    vectors.requires_grad_()
    directions, lengths = unit_rows(vectors)
    np.testing.assert_allclose(
        directions.detach(), np.array([[0, 0], [0.6, 0.8], [0, 0]]), atol=1e-15
    )
    assert lengths.tolist() == [0.0, 5.0, 1e-13]
    (grad,) = torch.autograd.grad((directions * torch.tensor([1.0, 2.0])).sum(), vectors)
    # (I - u uᵀ) g / length with u = (.6, .8), g = (1, 2)
    np.testing.assert_allclose(grad, np.array([[0, 0], [-0.064, 0.048], [0, 0]]), atol=1e-15)
