"""Margins of several kinds on the target angle: curves written out, and what they reduce to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from losses.catalog import CATALOG, resolve
from losses.schema import Value
from tests.losses.stacks import batch, make

PI = math.pi
Hyper = dict[str, Value]


def curve(name: str, hyper: Hyper, theta: np.ndarray) -> np.ndarray:
    return make(name, hyper).target(torch.tensor(np.cos(theta))).detach().numpy()


def combined(m1: float, m2: float, m3: float, rule: str = "none") -> Hyper:
    return {"angle_factor": m1, "angle_margin": m2, "cosine_margin": m3, "rule": rule}


def target(theta: float, m1: float, m2: float, m3: float, rule: str) -> float:
    if rule == "none" or m1 * theta + m2 <= PI:
        return math.cos(m1 * theta + m2) - m3
    if rule == "clip":
        return -1 - m3
    e = PI - (PI - m2) / m1
    return math.cos(theta) - max(e * math.sin(e), 1 - math.cos(e)) - m3


@pytest.mark.parametrize("rule", ["linear", "none", "clip"])
@pytest.mark.parametrize("m1", [0.9, 1.0, 1.35, 3.0])
@pytest.mark.parametrize(("m2", "m3"), [(0.0, 0.0), (0.3, 0.2), (1.5, 0.0)])
def test_combined_curve(rule: str, m1: float, m2: float, m3: float) -> None:
    theta = np.linspace(0.002, PI - 0.002, 1000)
    expected = [target(t, m1, m2, m3, rule) for t in theta]
    np.testing.assert_allclose(
        curve("combined", combined(m1, m2, m3, rule), theta), expected, atol=1e-10
    )


def test_all_three_margins_act_together() -> None:
    """insightface's PyTorch code gives .300 and .350 at θ = π/3: m1 and m2 have no effect there."""
    one, third = np.array([1.0]), np.array([PI / 3])
    cm1, cm2 = (resolve("combined", {"preset": name}) for name in ("cm1", "cm2"))
    assert curve("combined", cm1, one)[0] == pytest.approx(math.cos(1.3) - 0.2)
    assert curve("combined", cm1, third)[0] == pytest.approx(0.022, abs=5e-4)
    assert curve("combined", cm2, third)[0] == pytest.approx(0.056 + 0.02, abs=5e-4)


@given(
    m1=st.floats(0.5, 4),
    m2=st.floats(0, PI / 2),
    m3=st.floats(0, 2),
    rule=st.sampled_from(["linear", "clip"]),
)
@settings(max_examples=60, deadline=None)
def test_combined_falls_over_the_whole_range(m1: float, m2: float, m3: float, rule: str) -> None:
    got = curve("combined", combined(m1, m2, m3, rule), np.linspace(0, PI, 10_001))
    assert (np.diff(got) <= 1e-9).all()


@given(m=st.floats(1, 4), rule=st.sampled_from(["psi", "clip"]))
@settings(max_examples=40, deadline=None)
def test_sphereface_r_falls_over_the_whole_range(m: float, rule: str) -> None:
    theta = np.linspace(0, PI, 10_001)
    got = curve("sphereface_r", {"margin": m, "rule": rule}, theta)
    assert (np.diff(got) <= 1e-9).all()
    assert (got <= np.cos(theta) + 1e-9).all()


@pytest.mark.parametrize("m", [1.0, 1.35, 1.7, 2.0, 4.0])
def test_sphereface_r_curve(m: float) -> None:
    theta = np.linspace(0.002, PI - 0.002, 1000)
    k = np.floor(m * theta / PI)
    expected = {
        "none": np.cos(m * theta),
        "clip": np.cos(np.minimum(m * theta, PI)),
        "psi": (-1) ** k * np.cos(m * theta) - 2 * k,
    }
    for rule, values in expected.items():
        got = curve("sphereface_r", {"margin": m, "rule": rule}, theta)
        np.testing.assert_allclose(got, values, atol=1e-10)


def test_sphereface_r_slope() -> None:
    """Exact: m·sin(mθ) / sinθ, zero where it is clipped; straight through: 1."""
    theta = torch.linspace(0.05, PI - 0.05, 50, dtype=torch.float64)
    slopes: dict[str, Tensor] = {}
    for gradient in ("exact", "straight_through"):
        cosine = theta.cos().requires_grad_()
        loss = make("sphereface_r", {"margin": 1.5, "gradient": gradient})
        (slopes[gradient],) = torch.autograd.grad(loss.target(cosine).sum(), cosine)
    inside = 1.5 * theta <= PI
    exact = torch.where(inside, 1.5 * (1.5 * theta).sin() / theta.sin(), torch.zeros_like(theta))
    torch.testing.assert_close(slopes["exact"], exact)
    torch.testing.assert_close(slopes["straight_through"], torch.ones_like(theta))


def results(name: str, hyper: Mapping[str, Value]) -> list[Tensor]:
    loss = make(name, hyper)
    embeddings, labels = batch(60)
    embeddings.requires_grad_()
    value = loss(embeddings, labels)
    value.backward()
    assert embeddings.grad is not None
    return [value.detach(), embeddings.grad, loss.weight.grad]


COSINE: Hyper = {"scale": 8.0}
REDUCTIONS: list[tuple[str, Mapping[str, Value], str, Mapping[str, Value]]] = [
    *(
        ("combined", {**combined(1, 0.6, 0, rule), **COSINE, "gradient": gradient},
         "arcface", {"margin": 0.6, "rule": rule, **COSINE, "gradient": gradient})
        for rule in ("linear", "none", "clip")
        for gradient in ("exact", "straight_through")
    ),
    *(
        ("combined", {**combined(1, 0, 0.4, rule), **COSINE}, "cosface", {"margin": 0.4, **COSINE})
        for rule in ("linear", "none", "clip")
    ),
    *(
        ("combined", {**combined(1.5, 0, 0, rule), **COSINE},
         "sphereface_r", {"margin": 1.5, "rule": rule, "gradient": "exact", **COSINE})
        for rule in ("none", "clip")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "hyper", "other", "other_hyper"), REDUCTIONS)
def test_combined_is_the_others(
    name: str, hyper: Mapping[str, Value], other: str, other_hyper: Mapping[str, Value]
) -> None:
    for got, expected in zip(results(name, hyper), results(other, other_hyper), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        *(("combined", combined(1, 0, 0, rule)) for rule in ("linear", "none", "clip")),
        *(
            ("sphereface_r", {"margin": 1.0, "rule": rule, "gradient": gradient})
            for rule in ("none", "clip", "psi")
            for gradient in ("exact", "straight_through")
        ),
        ("cosine_over_ten", {"margin": 0.0}),
    ],
)
def test_without_margin_exactly_norm_softmax(name: str, hyper: Hyper) -> None:
    for got, expected in zip(
        results(name, {**hyper, **COSINE}), results("norm_softmax", COSINE), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("margin", [0.01, 0.1, 1.0])
def test_cosine_over_ten_curve(margin: float) -> None:
    theta = np.linspace(0, PI, 10_001)
    got = curve("cosine_over_ten", {"margin": margin}, theta)
    np.testing.assert_allclose(got, 10 * np.cos(np.arccos(np.cos(theta) / 10) + margin), atol=1e-12)
    assert (np.diff(got) <= 0).all()


def test_cosine_over_ten_is_an_additive_cosine_margin() -> None:
    theta = np.linspace(0, PI, 101)
    tutorial = curve("cosine_over_ten", {}, theta)
    np.testing.assert_allclose(tutorial, curve("cosface", {"margin": 0.1}, theta), atol=6e-4)
    assert np.abs(tutorial - curve("arcface", {"margin": 0.1}, theta)).max() > 0.09


@pytest.mark.parametrize("name", ["combined", "sphereface_r"])
def test_past_limit_is_the_share_that_the_rule_decides(name: str) -> None:
    hyper: Hyper = {"margin": 1.5} if name == "sphereface_r" else combined(1.25, 0.5, 0.1, "linear")
    limit = PI / 1.5 if name == "sphereface_r" else (PI - 0.5) / 1.25
    loss: Any = make(name, hyper, num_classes=2, embedding_dim=2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    theta = torch.tensor([0.0, 1.0, limit - 0.01, limit + 0.01, 3.0], dtype=torch.float64)
    embeddings = torch.stack([theta.cos(), theta.sin()], dim=1)
    log = loss.compute(embeddings, torch.zeros(5, dtype=torch.int64))[1]
    assert log["past_limit"] == pytest.approx(2 / 5)


PRESETS: dict[tuple[str, str], Hyper] = {
    ("norm_softmax", "normface"): {"scale": 10.0, "learnable_scale": True},
    ("cosface", "am_softmax"): {"margin": 0.35, "scale": 30.0},
    ("arcface", "insightface"): {
        "margin": 0.5, "scale": 64.0, "rule": "none", "gradient": "straight_through"
    },
    ("arcface", "reality_check"): {
        "margin": 0.4049, "scale": 100.0, "rule": "linear", "gradient": "exact"
    },
    ("combined", "cm2"): {
        **combined(0.9, 0.4, 0.15, "linear"), "scale": 64.0, "gradient": "exact"
    },
    ("sphereface", "clcarwin"): {
        "margin": 4, "base": 1500.0, "gamma": 0.1, "power": 1.0, "lambda_min": 5.0,
        "gradient": "exact",
    },
    ("sphereface_r", "arcface_paper"): {
        "margin": 1.35, "scale": 64.0, "rule": "none", "gradient": "exact"
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets(name: str, preset: str) -> None:
    assert resolve(name, {"preset": preset}) == PRESETS[name, preset]


def test_reality_check_margin_is_its_degrees() -> None:
    (preset,) = (p for p in CATALOG["arcface"].presets if p.name == "reality_check")
    assert preset.values["margin"] == pytest.approx(math.radians(23.2), abs=5e-5)
