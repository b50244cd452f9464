"""Losses of pairs against loops that read as the formulas do, and in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses.catalog import CATALOG, resolve
from losses.contrastive import given_pairs
from losses.pairs import (
    chord_angle,
    distances,
    log_one_plus_sum,
    masked_logsumexp,
    masked_mean,
    pair_masks,
)
from losses.schema import Value
from tests.losses.stacks import batch, make

Pairs = list[list[int]]
SHAPES = {"seed": st.integers(0, 10_000), "size": st.integers(1, 10), "classes": st.integers(1, 4)}


def draw(seed: int, size: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(size, 4)), generator.integers(0, classes, size)


def partners(y: np.ndarray) -> tuple[Pairs, Pairs]:
    """Positives and negatives of each anchor."""
    n = range(len(y))
    positives = [[j for j in n if y[j] == y[i] and j != i] for i in n]
    return positives, [[j for j in n if y[j] != y[i]] for i in n]


def cosines(x: np.ndarray) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def check(name: str, hyper: dict[str, Value], x: np.ndarray, y: np.ndarray, expected: float) -> Any:
    value, log = make(name, hyper).compute(torch.tensor(x), torch.tensor(y))
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    return log


@pytest.mark.parametrize("metric", ["euclidean", "unit", "cosine"])
@given(power=st.sampled_from([1, 2]), reduction=st.sampled_from(["mean", "pml"]), **SHAPES)
@settings(max_examples=40, deadline=None)
def test_contrastive(
    metric: str, power: int, reduction: str, seed: int, size: int, classes: int
) -> None:
    x, y = draw(seed, size, classes)
    near, far = 0.2, 1.1
    positive, negative = [], []
    for i in range(size):
        for j in range(i):
            cosine = cosines(x)[i, j]
            d = {
                "euclidean": math.dist(x[i], x[j]),
                "unit": math.sqrt(max(0, 2 - 2 * cosine)),
                "cosine": 1 - cosine,
            }[metric]
            factor = 0.5 if power == 2 else 1.0
            if y[i] == y[j]:
                positive.append(factor * max(0.0, d - near) ** power)
            else:
                negative.append(factor * max(0.0, far - d) ** power)
    if reduction == "mean":
        expected = mean(positive + negative)
    else:
        expected = sum(mean([t for t in terms if t > 0]) for terms in (positive, negative))
    hyper: dict[str, Value] = {
        "pos_margin": near,
        "neg_margin": far,
        "power": power,
        "reduction": reduction,
        "metric": "cosine" if metric == "cosine" else "euclidean",
    }
    if metric == "unit":
        hyper["normalize"] = True
    log = check("contrastive", hyper, x, y, expected)
    assert log["active"] == 2 * len(positive + negative)
    assert log["nonzero"] == 2 * sum(term > 0 for term in positive + negative)


@pytest.mark.parametrize(
    "hyper",
    [
        {},
        {"neg_margin": 3.0, "pos_margin": 0.5},
        {"power": 1, "normalize": True},
        {"halve": False},
        {"metric": "cosine"},
    ],
    ids=str,
)
def test_given_pairs_are_the_pairs_of_a_batch(hyper: dict[str, Any]) -> None:
    x, y = batch(9)
    i, j = torch.triu_indices(9, 9, 1)
    terms = given_pairs(x[i], x[j], y[i] == y[j], **hyper)
    torch.testing.assert_close(make("contrastive", hyper)(x, y), terms.mean())


def test_a_dissimilar_duplicate_stays_where_it_is() -> None:
    """At distance 0 the term is the whole margin, and there is no direction to go."""
    point = torch.tensor([[0.1, 0.7, -0.3]]).repeat(2, 1).requires_grad_()
    loss = make("contrastive", embedding_dim=3, dtype=torch.float32)
    value = loss(point, torch.tensor([0, 1]))
    value.backward()
    assert value == 0.5
    assert point.grad is not None
    assert (point.grad == 0).all()


@pytest.mark.parametrize("reduction", ["valid_mean", "all_mean", "batch"])
@given(**SHAPES)
@settings(max_examples=20, deadline=None)
def test_circle(reduction: str, seed: int, size: int, classes: int) -> None:
    x, y = draw(seed, size, classes)
    s, m, gamma = cosines(x), 0.3, 7.0
    positives, negatives = partners(y)

    def term(own: list[float], others: list[float]) -> list[float]:
        pull = sum(math.exp(-gamma * max(0, 1 + m - v) * (v - (1 - m))) for v in own)
        push = sum(math.exp(gamma * max(0, v + m) * (v - m)) for v in others)
        return [math.log(1 + pull * push)] if own and others else []

    if reduction == "batch":
        own = [s[i, j] for i in range(size) for j in positives[i] if i < j]
        others = [s[i, j] for i in range(size) for j in negatives[i] if i < j]
        expected = mean(term(own, others))
    else:
        terms = [
            value
            for i in range(size)
            for value in term([s[i, j] for j in positives[i]], [s[i, j] for j in negatives[i]])
        ]
        expected = mean(terms) if reduction == "valid_mean" else sum(terms) / size
    for detach in (True, False):  # no matter to the value
        hyper: dict[str, Value] = {
            "margin": m,
            "scale": gamma,
            "reduction": reduction,
            "detach": detach,
        }
        check("circle", hyper, x, y, expected)


def test_circle_decision_boundary() -> None:
    """Sun et al. 2020, eq. 8: s_n² + (1 - s_p)² = 2m² is where pull and push cancel."""
    m = 0.25
    for angle in np.linspace(0.1, 1.4, 5):
        s_p, s_n = 1 - math.sqrt(2) * m * math.cos(angle), math.sqrt(2) * m * math.sin(angle)
        matrix = torch.tensor([[1.0, s_p, s_n]], dtype=torch.float64)
        masks = torch.tensor([[False, True, False]]), torch.tensor([[False, False, True]])
        terms, _ = make("circle", {"margin": m, "scale": 50.0}).terms(matrix, *masks)
        assert terms.item() == pytest.approx(math.log(2))


def test_circle_detached_weights_are_constants() -> None:
    """The derivative by s_p is -γ·α_p times that of the softplus, with no part of α_p's own."""
    gamma, m = 8.0, 0.25
    matrix = torch.tensor([[1.0, 0.4, 0.1]], dtype=torch.float64)
    masks = torch.tensor([[False, True, False]]), torch.tensor([[False, False, True]])
    for detach in (True, False):
        s = matrix.clone().requires_grad_()
        loss = make("circle", {"margin": m, "scale": gamma, "detach": detach})
        terms, _ = loss.terms(s, *masks)
        terms.sum().backward()
        exponent = gamma * ((0.1 + m) * (0.1 - m) - (1 + m - 0.4) * (0.4 - 1 + m))
        share = 1 / (1 + math.exp(-exponent))
        slopes = [-gamma * (1 + m - 0.4), gamma * (0.1 + m)]
        if not detach:
            slopes = [slopes[0] + gamma * (0.4 - 1 + m), slopes[1] + gamma * (0.1 - m)]
        assert s.grad is not None
        assert s.grad[0].tolist() == pytest.approx([0, *(share * slope for slope in slopes)])


@pytest.mark.parametrize("mining", [False, True])
@given(**SHAPES)
@settings(max_examples=40, deadline=None)
def test_multi_similarity(mining: bool, seed: int, size: int, classes: int) -> None:
    x, y = draw(seed, size, classes)
    s, alpha, beta, base, epsilon = cosines(x), 2.0, 20.0, 0.4, 0.2
    positives, negatives = partners(y)
    terms, kept = [], np.zeros(2)
    for i in range(size):
        own, others = [s[i, j] for j in positives[i]], [s[i, j] for j in negatives[i]]
        if mining:
            lowest, highest = min(own, default=math.inf), max(others, default=-math.inf)
            own = [v for v in own if v < highest + epsilon]
            others = [v for v in others if v > lowest - epsilon]
        kept += [len(own), len(others)]
        terms.append(
            math.log(1 + sum(math.exp(-alpha * (v - base)) for v in own)) / alpha
            + math.log(1 + sum(math.exp(beta * (v - base)) for v in others)) / beta
        )
    hyper: dict[str, Value] = {"alpha": alpha, "beta": beta, "base": base, "mining": mining}
    log = check(
        "multi_similarity", hyper | ({"epsilon": epsilon} if mining else {}), x, y, mean(terms)
    )
    assert [log["positive_pairs"], log["negative_pairs"]] == kept.tolist()


def test_multi_similarity_mining_by_hand() -> None:
    """Cosines of the first anchor: positives 0.9 and 0.2, negatives 0.6, 0.15 and -0.5; ε = 0.1."""
    matrix = torch.tensor([[1.0, 0.9, 0.2, 0.6, 0.15, -0.5]], dtype=torch.float64)
    positive = torch.tensor([[False, True, True, False, False, False]])
    negative = torch.tensor([[False, False, False, True, True, True]])
    kept = make("multi_similarity").mine(matrix, positive, negative)
    assert kept[0][0].tolist() == [False, False, True, False, False, False]  # 0.9 > 0.6 + 0.1
    assert kept[1][0].tolist() == [False, False, False, True, True, False]  # -0.5 < 0.2 - 0.1


@pytest.mark.parametrize("variant", ["out", "in"])
@given(**SHAPES)
@settings(max_examples=20, deadline=None)
def test_supcon(variant: str, seed: int, size: int, classes: int) -> None:
    x, y = draw(seed, size, classes)
    e = np.exp(cosines(x) / 0.3)
    terms = []
    for i, own in enumerate(partners(y)[0]):
        total = sum(e[i, j] for j in range(size) if j != i)
        if own and variant == "out":
            terms.append(-mean([math.log(e[i, j] / total) for j in own]))
        elif own:
            terms.append(-math.log(mean([e[i, j] / total for j in own])))
    hyper: dict[str, Value] = {"temperature": 0.3, "variant": variant}
    log = check("supcon", hyper, x, y, mean(terms))
    assert log["active"] == len(terms)
    check("supcon", {**hyper, "reduction": "sum"}, x, y, sum(terms))


def test_supcon_in_is_never_above_out() -> None:
    """Jensen's inequality (section 3.2.1 of the paper); equal with one positive each."""
    x, y = batch(12)
    out, inside = (make("supcon", {"variant": variant}) for variant in ("out", "in"))
    assert inside(x, y) < out(x, y)
    pairs = torch.arange(12) // 2
    torch.testing.assert_close(inside(x, pairs), out(x, pairs))


@pytest.mark.parametrize("denominator", ["all_others", "pair_and_negatives"])
@given(**SHAPES)
@settings(max_examples=20, deadline=None)
def test_ntxent(denominator: str, seed: int, size: int, classes: int) -> None:
    x, y = draw(seed, size, classes)
    e = np.exp(cosines(x) / 0.3)
    positives, negatives = partners(y)
    terms = []
    for i in range(size):
        for j in positives[i]:
            below = [j, *negatives[i]]
            if denominator == "all_others":
                below = [*positives[i], *negatives[i]]
            terms.append(-math.log(e[i, j] / sum(e[i, k] for k in below)))
    log = check("ntxent", {"temperature": 0.3, "denominator": denominator}, x, y, mean(terms))
    assert log["active"] == len(terms)


def test_ntxent_is_supcon_where_classes_are_even() -> None:
    """With as many images of every class the mean over pairs is the mean over anchors."""
    x, _ = batch(12)
    for images in (2, 3, 4):
        labels = torch.arange(12) // images
        torch.testing.assert_close(make("ntxent")(x, labels), make("supcon")(x, labels))
    labels = torch.arange(12) // 2  # one positive: nothing to leave out
    other = make("ntxent", {"denominator": "pair_and_negatives"})
    torch.testing.assert_close(other(x, labels), make("ntxent")(x, labels))


@given(**SHAPES)
@settings(max_examples=40, deadline=None)
def test_n_pairs(seed: int, size: int, classes: int) -> None:
    x, y = draw(seed, size, classes)
    pairs = [found[:2] for c in range(classes) if len(found := np.flatnonzero(y == c)) >= 2]
    terms = [
        math.log(1 + sum(math.exp(x[a] @ x[q] - x[a] @ x[p]) for _, q in pairs if q != p))
        for a, p in pairs
    ]
    squares = [float(x[i] @ x[i]) for pair in pairs for i in pair]
    log = check("n_pairs", {"norm_weight": 0.1}, x, y, mean(terms) + 0.1 * mean(squares))
    assert log["active"] == len(terms)
    assert log["norm_term"].item() == pytest.approx(0.1 * mean(squares))


def test_n_pairs_is_a_cross_entropy() -> None:
    """Of the products of all anchors with all positives; more images of a class change nothing."""
    anchors, positives, more = batch(15)[0].reshape(3, 5, 4)
    expected = torch.nn.functional.cross_entropy(anchors @ positives.T, torch.arange(5))
    loss = make("n_pairs")
    two = torch.stack([anchors, positives], dim=1).reshape(10, 4)  # in blocks of a class
    torch.testing.assert_close(loss(two, torch.arange(10) // 2), expected)
    three = torch.cat([anchors, positives, more])
    torch.testing.assert_close(loss(three, torch.arange(15) % 5), expected)


def test_n_pairs_penalty_is_tensorflows() -> None:
    """reg_lambda/4·(mean ‖a‖² + mean ‖p‖²) with reg_lambda = 0.002."""
    anchors, positives = batch(10)[0].reshape(2, 5, 4)
    penalty = 0.25 * 0.002 * (anchors.square().sum(1).mean() + positives.square().sum(1).mean())
    loss = make("n_pairs", resolve("n_pairs", {"preset": "tensorflow"}))
    log = loss.compute(torch.cat([anchors, positives]), torch.arange(10) % 5)[1]
    torch.testing.assert_close(log["norm_term"], penalty)


@pytest.mark.parametrize(
    ("name", "pairs_count"),
    [("circle", 0), ("supcon", 0), ("ntxent", 0), ("n_pairs", 0), ("multi_similarity", 0)],
)
def test_singletons_cost_nothing(name: str, pairs_count: int) -> None:
    embeddings = batch(4)[0].requires_grad_()
    value, log = make(name).compute(embeddings, torch.arange(4))
    value.backward()
    assert value == 0
    assert log["active"] == pairs_count
    assert embeddings.grad is not None
    assert (embeddings.grad == 0).all()


@pytest.mark.parametrize("name", ["circle", "multi_similarity", "n_pairs", "contrastive"])
def test_one_class_in_closed_form(name: str) -> None:
    """Without negatives: nothing to tell apart, or only the positives' part."""
    embeddings = batch(4)[0]
    value = make(name)(embeddings, torch.zeros(4, dtype=torch.int64))
    apart = torch.pdist(embeddings)
    expected = apart.square().mean() / 2 if name == "contrastive" else torch.zeros(())
    torch.testing.assert_close(value, expected.to(value.dtype))


def test_one_class_is_a_uniform_guess_at_best() -> None:
    """Collapsed positives: each is one of B - 1 equal ones."""
    embeddings = torch.ones(5, 4, dtype=torch.float64)
    labels = torch.zeros(5, dtype=torch.int64)
    for name in ("supcon", "ntxent"):
        assert make(name)(embeddings, labels).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("name", ["supcon", "ntxent"])
def test_a_tiny_temperature(name: str) -> None:
    """Logits of 1e5 in float32: the loss tends to (largest - own cosine)/τ."""
    x, _ = batch(6, dtype=torch.float32)
    x.requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    value = make(name, {"temperature": 1e-5}, dtype=torch.float32)(x, labels)
    value.backward()
    s = cosines(x.detach().double().numpy())
    np.fill_diagonal(s, -2)
    gaps = [s[i].max() - s[i, i ^ 1] for i in range(6)]
    assert value.item() == pytest.approx(mean(gaps) / 1e-5, rel=1e-4)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        (name, preset.name)
        for name in ("contrastive", "n_pairs", "multi_similarity", "circle", "supcon", "ntxent")
        for preset in CATALOG[name].presets
    ],
)
def test_presets(name: str, preset: str) -> None:
    expected: dict[str, dict[str, Value]] = {
        "contrastive pml": {"normalize": True, "power": 1, "reduction": "pml", "neg_margin": 1.0},
        "n_pairs tensorflow": {"norm_weight": 0.001},
        "multi_similarity official": {"alpha": 2.0, "beta": 40.0, "base": 0.5, "epsilon": 0.1},
        "circle fine_grained": {"margin": 0.4, "scale": 80.0},
        "circle reid": {"margin": 0.25, "scale": 128.0},
        "circle layumi": {"margin": 0.25, "scale": 32.0, "reduction": "batch"},
        "supcon official": {"temperature": 0.07, "variant": "out", "reduction": "valid_mean"},
        "multi_similarity reality_check": {"alpha": 0.01, "beta": 50.6, "base": 0.56},
        "ntxent pml": {"temperature": 0.07, "denominator": "pair_and_negatives"},
        "ntxent reality_check": {"temperature": 0.009, "denominator": "pair_and_negatives"},
    }
    hyper = resolve(name, {"preset": preset})
    assert expected[f"{name} {preset}"].items() <= hyper.items()
    assert make(name, hyper)(*batch()) > 0


def test_pair_masks() -> None:
    positive, negative = pair_masks(torch.tensor([0, 1, 0]))
    assert positive.tolist() == [[False, False, True], [False] * 3, [True, False, False]]
    assert negative.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_sums_over_nothing() -> None:
    """Finite values and gradients, and the right ones where there is something."""
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    x = values.clone().requires_grad_()
    found, some = masked_logsumexp(x, mask)
    assert some.tolist() == [True, False]
    assert torch.isfinite(found).all()
    assert found[0].item() == pytest.approx(math.log(math.e + math.e**3))
    one = log_one_plus_sum(x, mask)
    assert one[0].item() == pytest.approx(math.log(1 + math.e + math.e**3))
    assert one[1] == 0
    average = masked_mean(x, mask)
    assert average == 2
    (found.sum() + one.sum() + average).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad[~mask] == 0).all()
    assert masked_mean(values, torch.zeros_like(mask)) == 0


def test_distances_of_duplicates_are_zero_in_float32() -> None:
    """Where inner products would say sqrt(eps)·length."""
    points = 100 + torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    twice = torch.cat([points, points])
    found = distances(twice, twice)
    assert (found.diagonal(20) == 0).all()
    torch.testing.assert_close(found, found.mT, rtol=0, atol=0)
    expected = (points[:, None].double() - points.double()).norm(dim=-1)
    torch.testing.assert_close(found[:20, :20].double(), expected, rtol=1e-5, atol=1e-5)


def test_chord_angle() -> None:
    theta = torch.linspace(0, math.pi, 1001, dtype=torch.float64)
    near, far = 2 * (theta / 2).sin(), 2 * (theta / 2).cos()
    torch.testing.assert_close(chord_angle(near, far), theta)
    assert chord_angle(torch.zeros(()), torch.zeros(())).item() == pytest.approx(math.pi / 2)
