"""SphereFace2 and UniFace: their formulas by hand, the bias at the start, numbers out of range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losses.binary import exclude_target, softplus_of_others, softplus_sum
from losses.catalog import CATALOG, resolve
from losses.schema import Value
from losses.uniface import add
from tests.losses.stacks import batch, make

Array = np.ndarray
FORMS: list[dict[str, Value]] = [
    {"form": "C", "margin": 0.3},
    {"form": "A", "angular_margin": 0.4},
    {"form": "M", "multiple": 1.6},
]
each_form = pytest.mark.parametrize("hyper", FORMS, ids=["C", "A", "M"])


def angles(loss: Any, embeddings: Tensor) -> Array:
    """θ of every sample to every class, (B, C)."""
    x, w = embeddings.numpy(), loss.weight.detach().numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    w = w / np.linalg.norm(w, axis=1, keepdims=True)
    return np.arccos(x @ w.T)


@each_form
def test_sphereface2_by_hand(hyper: dict[str, Value]) -> None:
    r, t, weight, factor, b = 7.0, 2.5, 0.6, 3.0, -0.8
    numbers = {"scale": r, "power": t, "positive_weight": weight, "loss_weight": factor}
    loss = make("sphereface2", {**hyper, **numbers})
    with torch.no_grad():
        loss.bias.fill_(b)
    embeddings, labels = batch()
    form, m = hyper.values()
    assert isinstance(m, float)

    def g(x: float) -> float:
        return 2 * ((x + 1) / 2) ** t - 1

    values = []
    for i, row in enumerate(angles(loss, embeddings)):
        value = 0.0
        for j, theta in enumerate(row):
            if j != labels[i]:
                negative = g(math.cos(theta)) + (m if form == "C" else 0)
                value += (1 - weight) / r * math.log(1 + math.exp(r * negative + b))
                continue
            positive = {
                "C": g(math.cos(theta)) - m,
                "A": g(math.cos(min(theta + m, math.pi))),
                "M": g(math.cos(min(theta * m, math.pi))),
            }[str(form)]
            value += weight / r * math.log(1 + math.exp(-r * positive - b))
        values.append(factor * value)
    got, log = loss.compute(embeddings, labels)
    assert got.item() == pytest.approx(np.mean(values), rel=1e-12)
    assert (log["positive"] + log["negative"]).item() == pytest.approx(got.item(), rel=1e-12)


def test_uniface_by_hand() -> None:
    s, m, weight = 9.0, 0.3, 0.5
    loss = make("uniface", {"scale": s, "margin": m, "negative_weight": weight})
    b = math.log(10 * 5)
    assert loss.bias.item() == pytest.approx(b, rel=1e-7)
    with torch.no_grad():
        loss.bias.fill_(b)
    embeddings, labels = batch()
    values = []
    for i, row in enumerate(np.cos(angles(loss, embeddings))):
        own = math.log(1 + math.exp(-s * (row[labels[i]] - m) + b))
        rest = [math.log(1 + math.exp(s * c - b)) for j, c in enumerate(row) if j != labels[i]]
        values.append(own + weight * sum(rest))
    assert loss(embeddings, labels).item() == pytest.approx(np.mean(values), rel=1e-12)


def test_uniface_does_not_clamp_its_logits() -> None:
    """As the authors' code does, to ±s: a sample opposite to its class would get no gradient."""
    loss = make("uniface", {"scale": 64.0}, num_classes=100)
    weight = loss.weight.detach()
    x = (-weight[:1] + 0.1 * weight[1:2]).requires_grad_()
    value = loss(x, torch.tensor([0]))
    value.backward()
    assert value > 64 * 1.4
    assert x.grad is not None
    assert x.grad.norm() > 1


@each_form
@pytest.mark.parametrize("classes", [2, 3, 10, 100_000])
@pytest.mark.parametrize("scale", [0.5, 40.0, 1e4])
def test_bias_starts_where_its_gradient_is_zero(
    hyper: dict[str, Value], classes: int, scale: float
) -> None:
    """At zero cosines; C = 2 is where the usual closed form cancels."""
    loss = make("sphereface2", {**hyper, "scale": scale}, num_classes=classes)
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    initial = loss.initial_bias()
    assert loss.bias.item() == pytest.approx(initial, rel=1e-6)

    def slope(bias: float) -> float:
        loss.zero_grad()
        with torch.no_grad():
            loss.bias.fill_(bias)
        loss(zeros, torch.tensor([0])).backward()
        return float(loss.bias.grad) * scale

    step = 1e-6 * max(1.0, abs(initial))
    assert slope(initial - step) <= slope(initial) <= slope(initial + step)
    assert abs(slope(initial)) < 1e-9


def test_initial_bias_where_the_roots_parts_are_equal_or_nothing() -> None:
    """λ = ½ and C = 2: u² = e^(-a⁺ - a⁻), also where the exponential underflows."""
    for scale in (1.0, 1e4):
        loss = make("sphereface2", {"positive_weight": 0.5, "scale": scale}, num_classes=2)
        assert loss.initial_bias() == pytest.approx(0.75 * scale, rel=1e-12)


def test_power_1_without_margin_is_a_logistic_regression_on_cosines() -> None:
    loss = make("sphereface2", {"power": 1.0, "margin": 0.0, "scale": 5.0})
    embeddings, labels = batch()
    logits = loss.logits(embeddings)
    targets = torch.nn.functional.one_hot(labels, 5).double()
    weights = (0.3 + 0.4 * targets) / 5.0
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = entropy(logits, targets, weights, reduction="sum") / len(labels)
    torch.testing.assert_close(loss(embeddings, labels), expected, rtol=1e-12, atol=0)
    cosines = torch.cosine_similarity(embeddings[:, None], loss.weight[None], dim=-1)
    torch.testing.assert_close(logits, 5 * cosines + loss.bias)


@each_form
def test_straight_through_changes_the_gradient_only(hyper: dict[str, Value]) -> None:
    """To that of logits r·cosθ + b of the same values."""
    embeddings, labels = batch()
    exact = make("sphereface2", hyper)
    loss = make("sphereface2", {**hyper, "gradient": "straight_through"})
    torch.testing.assert_close(
        loss(embeddings, labels), exact(embeddings, labels), rtol=1e-14, atol=0
    )
    x = embeddings.clone().requires_grad_()
    loss(x, labels).backward()
    y = embeddings.clone().requires_grad_()
    cosines = torch.cosine_similarity(y[:, None], loss.weight.detach()[None], dim=-1)
    with torch.no_grad():
        own = cosines.gather(1, labels[:, None])[:, 0]
        targets = torch.nn.functional.one_hot(labels, 5).double()
        others = loss.plain(cosines) + 40 * loss.other_margin(cosines.dtype)
        logits = torch.where(targets == 1, loss.target(own)[:, None], others)
        slope = (logits.sigmoid() - targets) * (0.3 + 0.4 * targets) / len(labels)
    (cosines * slope).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-14)


@each_form
@pytest.mark.parametrize("scale", [40.0, 1e4])
def test_target_logit_falls_with_the_angle(hyper: dict[str, Value], scale: float) -> None:
    loss = make("sphereface2", {**hyper, "scale": scale})
    theta = torch.linspace(0, math.pi, 10_001, dtype=torch.float64)
    target = loss.target(theta.cos()).detach()
    assert (target.diff() <= 1e-9).all()
    assert target[0] > target[-1]


def of_others(vectors: Tensor, weight: Tensor, labels: Tensor, offset: Tensor) -> Tensor:
    with torch.no_grad():
        products = vectors @ weight.mT
    return softplus_of_others(products, vectors, weight, labels, add, (offset,))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_sum_of_softplus_is_torchs(dtype: torch.dtype, rtol: float) -> None:
    """Values and gradients, also past where e^z overflows; the own class, 2e4, does not count."""
    z = torch.tensor([[2e4, -1e4, -50, -1, 0, 1, 39.9, 40.1, 80, 1e4]], dtype=dtype)
    mine, torchs = z.mT.clone().requires_grad_(), z.clone().requires_grad_()
    own, zero = torch.tensor([0]), torch.zeros((), dtype=dtype)
    value = of_others(torch.ones(1, 1, dtype=dtype), mine, own, zero)
    expected = torch.logaddexp(torchs, torch.zeros_like(torchs))[:, 1:].sum(dim=-1)
    torch.testing.assert_close(value, expected, rtol=rtol, atol=0)
    value.sum().backward()
    expected.sum().backward()
    assert mine.grad is not None
    torch.testing.assert_close(mine.grad.mT, torchs.grad, rtol=rtol, atol=1e-30)


def test_sum_of_softplus_has_the_gradients_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors, weight = (
        torch.randn(rows, 3, generator=generator, dtype=torch.float64).requires_grad_()
        for rows in (4, 5)
    )
    offset = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 4, 2, 2])
    assert torch.autograd.gradcheck(
        lambda *inputs: of_others(*inputs[:2], labels, inputs[2]), (vectors, weight, offset)
    )


def test_there_is_no_second_derivative_to_be_wrong() -> None:
    weight = torch.ones(2, 1, requires_grad=True)
    value = of_others(torch.ones(1, 1), weight, torch.tensor([0]), torch.zeros(()))
    (slope,) = torch.autograd.grad(value.pow(2).sum(), weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_excluded_logits_do_not_count() -> None:
    logits = torch.tensor([[3.0, 1.0], [5.0, 2.0]])
    changed = exclude_target(logits.clone(), torch.tensor([0, 1]))
    assert softplus_sum(changed).tolist() == pytest.approx(
        [math.log1p(math.e), math.log1p(math.exp(5))]
    )
    assert changed.logsumexp(dim=1).tolist() == [1.0, 5.0]


def test_hard_examples_weigh_as_the_power_says() -> None:
    """A larger t lowers the logits of all cosines but 1 and -1."""
    cosines = torch.linspace(-0.99, 0.99, 50, dtype=torch.float64)
    mild, strong = (make("sphereface2", {"power": t}) for t in (2.0, 4.0))
    assert (strong.adjust(cosines) < mild.adjust(cosines)).all()
    ends = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(strong.adjust(ends), ends)


@pytest.mark.parametrize("name", ["sphereface2", "uniface"])
def test_bias_is_no_class_parameter(name: str) -> None:
    loss = make(name)
    assert loss.class_parameters == ("weight",)
    assert loss.bias.shape == ()


def test_defaults_and_presets() -> None:
    assert resolve("uniface") == {"margin": 0.4, "scale": 64.0, "negative_weight": 1.0}
    assert resolve("sphereface2") == {
        "form": "C",
        "margin": 0.4,
        "scale": 40.0,
        "power": 3.0,
        "positive_weight": 0.7,
        "loss_weight": 1.0,
        "gradient": "exact",
    }
    presets = [preset.name for preset in CATALOG["sphereface2"].presets]
    resolved = {name: resolve("sphereface2", {"preset": name}) for name in presets}
    assert {values["gradient"] for values in resolved.values()} == {"straight_through"}
    assert resolved["opensphere"]["loss_weight"] == 50.0
    assert resolved["opensphere_a"]["angular_margin"] == 0.5
    assert resolved["opensphere_m"]["multiple"] == 1.7
    assert resolved["opensphere_ms1m"]["positive_weight"] == 0.8
    assert resolved["opensphere_sfnet20"]["scale"] == 30.0
