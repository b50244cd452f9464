"""Triplets counted by hand and by loops, in every mining."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from losses.catalog import CATALOG, group_key, resolve
from losses.schema import Value
from losses.triplet import given_triplets, nearest_beyond, pick
from tests.losses.stacks import Stack, batch, make, varied

POINTS = torch.tensor([[0.0], [1.0], [3.0], [4.5], [9.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1, 2])
GAPS = np.array([1 - 3, 1 - 2, 1.5 - 2, 1.5 - 3.5])  # hardest positive minus hardest negative
SQUARED_GAPS = np.array([1 - 9, 1 - 4, 2.25 - 4, 2.25 - 12.25])

HINGE: dict[str, Value] = {"soft_margin": False, "margin": 0.3}
# What the contract tests do not combine: they take each option alone.
RARE: list[dict[str, Value]] = [
    {"mining": "semi_hard", "variant": "all"},
    {"mining": "semi_hard", "variant": "all", **HINGE},
    {"mining": "semi_hard", "variant": "nearest", **HINGE},
    {"mining": "semi_hard", "variant": "nearest", "distance": "angular"},
    {"mining": "all", "reduction": "mean", **HINGE},
    {"mining": "all", "reduction": "nonzero", **HINGE, "distance": "angular"},
    {"mining": "random", **HINGE, "distance": "squared", "normalize": True},
]
each_mining = pytest.mark.parametrize("hyper", [{}, HINGE, *RARE], ids=str)


@pytest.mark.parametrize(
    ("hyper", "expected"),
    [
        ({"soft_margin": False, "margin": 1.0}, np.maximum(GAPS + 1, 0)),
        ({"soft_margin": False, "margin": 1.75}, np.maximum(GAPS + 1.75, 0)),
        (
            {"soft_margin": False, "margin": 3.5, "distance": "squared"},
            np.maximum(SQUARED_GAPS + 3.5, 0),
        ),
        ({"soft_margin": True}, np.log1p(np.exp(GAPS))),
        ({"soft_margin": True, "distance": "squared"}, np.log1p(np.exp(SQUARED_GAPS))),
    ],
)
def test_batch_hard_by_hand(hyper: dict[str, Value], expected: np.ndarray) -> None:
    """Four anchors; the fifth sample is alone in its class and no anchor, but a negative."""
    value, log = make("triplet", hyper, embedding_dim=1).compute(POINTS, LABELS)
    assert value.item() == pytest.approx(expected.mean(), rel=1e-12)
    assert log["active"] == 4
    assert log["nonzero"] == (expected > 0).sum()
    assert log["embedding_norm"] == pytest.approx(3.5)
    power = 2 if hyper.get("distance") == "squared" else 1
    positive, negative = np.array([1, 1.5]), np.array([3, 4.5, 9, 2, 3.5, 8, 6, 4.5])  # each once
    assert log["positive_distance"] == pytest.approx((positive**power).mean())
    assert log["negative_distance"] == pytest.approx((negative**power).mean())


def test_semi_hard_by_hand() -> None:
    """Squared distances on a line: from 0 the positive is at 1, the negatives at 0.81, 2.25 and 9.

    The nearest beyond the positive is 2.25. From 1 the negatives are at 0.01, 0.25 and 4: it is 4.
    """
    points = torch.tensor([[0.0], [1.0], [0.9], [1.5], [3.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2, 3])
    base: dict[str, Value] = {
        "mining": "semi_hard",
        "soft_margin": False,
        "distance": "squared",
        "margin": 2.0,
    }
    value, log = make("triplet", base, embedding_dim=1).compute(points, labels)
    assert value.item() == pytest.approx((max(0, 1 - 2.25 + 2) + max(0, 1 - 4 + 2)) / 2)
    assert log["active"] == 2
    assert log["nonzero"] == 1
    value, log = make("triplet", {**base, "variant": "all"}, embedding_dim=1).compute(
        points, labels
    )
    assert value.item() == pytest.approx(0.75)  # 9 and 4 are beyond the margin
    assert log["active"] == 1


def test_semi_hard_falls_back_to_the_farthest_negative() -> None:
    points = torch.tensor([[0.0], [4.0], [1.0], [2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2])
    hyper: dict[str, Value] = {"mining": "semi_hard", "soft_margin": False, "margin": 1.0}
    # All negatives are nearer than the positive: at 1, 2 from the first, at 3, 2 from the second.
    value = make("triplet", hyper, embedding_dim=1)(points, labels)
    assert value.item() == pytest.approx((5 - 2 + 5 - 3) / 2)
    value, log = make("triplet", {**hyper, "variant": "all"}, embedding_dim=1).compute(
        points, labels
    )
    assert value == 0
    assert log["active"] == 0


def distance(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    if kind == "angular":
        return math.acos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1))
    length = math.dist(x, y)
    return length**2 if kind == "squared" else length


def by_loops(x: np.ndarray, y: np.ndarray, hyper: dict[str, Any]) -> tuple[float, int]:
    """Mean and number of the terms, written as the definitions read."""
    size, margin = len(x), hyper["margin"]
    d = [[distance(a, b, hyper["distance"]) for b in x] for a in x]
    positives = [[j for j in range(size) if y[j] == y[i] and j != i] for i in range(size)]
    negatives = [[j for j in range(size) if y[j] != y[i]] for i in range(size)]
    gaps = []
    for a in range(size):
        pairs = [(d[a][p], d[a][n]) for p, n in itertools.product(positives[a], negatives[a])]
        if not pairs:
            continue
        if hyper["mining"] == "hard":
            pairs = [(max(p for p, _ in pairs), min(n for _, n in pairs))]
        elif hyper["mining"] == "semi_hard" and hyper["variant"] == "all":
            pairs = [(p, n) for p, n in pairs if p < n < p + margin]
        elif hyper["mining"] == "semi_hard":
            far = [d[a][n] for n in negatives[a]]
            own = [d[a][p] for p in positives[a]]
            pairs = [(p, min([n for n in far if n > p], default=max(far))) for p in own]
        gaps += [p - n for p, n in pairs]
    terms = [max(0.0, gap + margin) for gap in gaps]
    if hyper["mining"] == "all" and hyper["reduction"] == "nonzero":
        terms = [term for term in terms if term > 0]
    return float(np.mean(terms)) if terms else 0.0, len(gaps)


@pytest.mark.parametrize(
    "mining",
    [
        {"mining": "hard"},
        {"mining": "all", "reduction": "nonzero"},
        {"mining": "all", "reduction": "mean"},
        {"mining": "semi_hard", "variant": "all"},
        {"mining": "semi_hard", "variant": "nearest"},
    ],
    ids=str,
)
@given(
    kind=st.sampled_from(["euclidean", "squared", "angular"]),
    seed=st.integers(0, 10_000),
    size=st.integers(1, 11),
    classes=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_against_loops(
    mining: dict[str, Value], kind: str, seed: int, size: int, classes: int
) -> None:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, 4)) + (0 if kind == "angular" else 10)  # an offset is nothing
    y = generator.integers(0, classes, size)
    hyper: dict[str, Any] = {**mining, "distance": kind, "soft_margin": False, "margin": 0.5}
    value, log = make("triplet", hyper).compute(torch.tensor(x), torch.tensor(y))
    expected, count = by_loops(x, y, hyper)
    assert value.item() == pytest.approx(expected, abs=1e-9)
    assert log["active"] == count


@each_mining
@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [1, 1, 1]], ids=["one", "singletons", "class"])
def test_without_triplets_there_is_nothing(hyper: dict[str, Value], labels: list[int]) -> None:
    embeddings = batch(len(labels))[0].requires_grad_()
    value, log = make("triplet", hyper).compute(embeddings, torch.tensor(labels))
    value.backward()
    assert value == 0
    assert log["active"] == log["nonzero"] == 0
    assert embeddings.grad is not None
    assert (embeddings.grad == 0).all()


@pytest.mark.parametrize("hyper", RARE, ids=str)
def test_a_stack_is_its_models(hyper: dict[str, Value]) -> None:
    losses = [
        make("triplet", values, seed=k) for k, values in enumerate(varied("triplet", hyper, 3))
    ]
    batches = [batch(seed=k) for k in range(3)]
    embeddings = torch.stack([b[0] for b in batches]).requires_grad_()
    values, logs = Stack(losses).call("compute", embeddings, torch.stack([b[1] for b in batches]))
    values.sum().backward()
    assert embeddings.grad is not None
    for k, (loss, (alone, labels)) in enumerate(zip(losses, batches, strict=True)):
        value, log = loss.compute(alone.requires_grad_(), labels)
        value.backward()
        assert value > 0
        torch.testing.assert_close(values[k], value)
        torch.testing.assert_close(embeddings.grad[k], alone.grad)
        assert {key: log[key].item() for key in log} == pytest.approx(
            {key: entry[k].item() for key, entry in logs.items()}
        )


@pytest.mark.parametrize("hyper", RARE, ids=str)
def test_gradient_is_the_derivative(hyper: dict[str, Value]) -> None:
    embeddings, labels = batch(7)
    loss = make("triplet", hyper)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (embeddings.requires_grad_(),))


@each_mining
def test_collapsed_embeddings(hyper: dict[str, Value]) -> None:
    """All distances are 0 exactly: every term is the margin, without a slope."""
    points = (torch.ones(6, 4) / 3).requires_grad_()
    loss = make("triplet", hyper, dtype=torch.float32)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    value, log = loss.compute(points, labels)
    value.backward()
    if log["active"] > 0:  # none is semi-hard where all are equal
        soft = resolve("triplet", hyper)["soft_margin"]
        assert value.item() == pytest.approx(math.log(2) if soft else 0.3)
    assert log["positive_distance"] == log["negative_distance"] == 0
    assert points.grad is not None
    assert (points.grad == 0).all()


def test_normalized_embeddings_ignore_length() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    lengths = torch.rand(6, 1, generator=generator, dtype=torch.float64) + 0.5
    for hyper in ({"normalize": True}, {"distance": "angular"}):
        loss = make("triplet", hyper)
        torch.testing.assert_close(loss(points * lengths, labels), loss(points, labels))


def test_mining_survives_a_common_offset_in_float32() -> None:
    """Far from the origin the ranking must not drown in the rounding of large squares."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(-64, 64, (16, 4), generator=generator) / 64
    labels = torch.arange(16) % 4
    loss = make("triplet", dtype=torch.float32)
    near, far = loss(points, labels), loss(points + 4096, labels)  # both exact in float32
    torch.testing.assert_close(far, near, rtol=1e-6, atol=1e-6)


def test_soft_margin_does_not_overflow() -> None:
    points = torch.tensor([[0.0], [500.0], [1.0], [501.0]], requires_grad=True)
    loss = make("triplet", embedding_dim=1, dtype=torch.float32)
    value = loss(points, torch.tensor([0, 0, 1, 1]))
    assert value.item() == pytest.approx(499.0)
    value.backward()
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()


def test_angles_are_exact_at_both_ends() -> None:
    """Duplicates and opposites in float32: 0 and π, where acos of the product is off by 3e-4."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(64, 16, generator=generator)
    loss = make("triplet", {"distance": "angular"}, dtype=torch.float32)
    unit = torch.nn.functional.normalize(points)
    angles = loss.comparisons(torch.cat([unit, -unit]))
    assert (angles.diagonal() == 0).all()
    assert (angles.diagonal(64) == torch.tensor(math.pi)).all()
    cosine = (unit.double() @ unit.double().mT).clamp(-1, 1)
    off = ~torch.eye(64, dtype=torch.bool)
    torch.testing.assert_close(
        angles[:64, :64][off].double(), cosine.acos()[off], rtol=1e-6, atol=1e-6
    )


def test_a_zero_vector_is_at_right_angles() -> None:
    points = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    loss = make("triplet", {"distance": "angular"}, embedding_dim=2, dtype=torch.float32)
    right = torch.full((4,), math.pi / 2)
    torch.testing.assert_close(loss.comparisons(points)[0], right)
    loss(points, torch.tensor([0, 0, 1, 1])).backward()
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
    assert (points.grad[:2] == 0).all()


@pytest.mark.parametrize("kind", ["euclidean", "squared", "angular"])
@pytest.mark.parametrize("soft", [False, True])
def test_given_triplets(kind: str, soft: bool) -> None:
    """Term by term, and as batch hard: each anchor's own triplet."""
    x, _ = batch(15)
    anchors, positives, negatives = x.reshape(3, 5, 4)
    got = given_triplets(anchors, positives, negatives, margin=0.4, soft_margin=soft, distance=kind)
    for i, rows in enumerate(
        zip(anchors.numpy(), positives.numpy(), negatives.numpy(), strict=True)
    ):
        a, p, n = rows
        gap = distance(a, p, kind) - distance(a, n, kind)
        expected = math.log1p(math.exp(gap)) if soft else max(0.0, gap + 0.4)
        assert got[i].item() == pytest.approx(expected)

    hyper: dict[str, Value] = {"distance": kind, "soft_margin": soft}
    loss = make("triplet", hyper if soft else {**hyper, "margin": 0.4})
    labels = torch.arange(15) % 4
    matrix = loss.comparisons(torch.nn.functional.normalize(x) if kind == "angular" else x)
    same = labels[:, None] == labels
    own = ~torch.eye(15, dtype=torch.bool)
    chosen = loss.chosen(matrix, same & own, ~same).unbind(1)
    terms = given_triplets(
        x, *(x[index] for index in chosen), margin=0.4, soft_margin=soft, distance=kind
    )
    torch.testing.assert_close(loss(x, labels), terms.mean())


def test_given_triplets_are_normalized_on_demand() -> None:
    x, _ = batch(15)
    unit = torch.nn.functional.normalize(x).reshape(3, 5, 4)
    torch.testing.assert_close(
        given_triplets(*x.reshape(3, 5, 4), normalize=True), given_triplets(*unit)
    )


def test_random_triplets_are_drawn_evenly() -> None:
    """Each positive and each negative of an anchor equally often, within six standard errors."""
    loss = make("triplet", {"mining": "random"})
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    positive = (labels[:, None] == labels) & ~torch.eye(6, dtype=torch.bool)
    negative = labels[:, None] != labels
    counts = torch.zeros(2, 6, 6)
    steps = 1000
    for _ in range(steps):
        for kind, columns in enumerate(loss.chosen(torch.zeros(6, 6), positive, negative).T):
            counts[kind, torch.arange(6), columns] += 1
        loss.after_step(torch.zeros(6, 2), labels)
    for found, mask in zip(counts, (positive, negative), strict=True):
        anchors = mask.any(dim=1)
        share = mask[anchors] / mask[anchors].sum(dim=1, keepdim=True)
        error = (share * (1 - share) / steps).sqrt()
        assert ((found[anchors] / steps - share).abs() <= 6 * error).all()
    assert loss.steps == steps


def test_random_triplets_follow_seed_and_step() -> None:
    embeddings, labels = batch(12)

    def values(seed: int, steps: int) -> list[float]:
        loss = make("triplet", {"mining": "random"}, seed=seed)
        found = []
        for _ in range(steps):
            found.append(loss(embeddings, labels).item())
            assert loss(embeddings, labels).item() == found[-1]  # nothing moves within a step
            loss.after_step(embeddings, labels)
        return found

    first = values(seed=1, steps=4)
    assert len(set(first)) == 4
    assert values(seed=1, steps=4) == first
    assert set(values(seed=2, steps=4)).isdisjoint(first)
    assert list(make("triplet").state_dict()) == ["margin"]  # the others have no state


@given(size=st.integers(1, 9), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_pick_returns_a_true_column(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(size, size, generator=generator) < 0.5
    for uniform in (torch.rand(size, generator=generator, dtype=torch.float64), torch.ones(size)):
        columns = pick(mask, uniform.clamp_min(1e-300))
        some = mask.any(dim=1)
        assert mask.gather(1, columns[:, None])[some].all()


def test_nearest_beyond_ignores_ties() -> None:
    """A negative at the positive's own distance is not beyond it."""
    matrix = torch.tensor([[0.0, 1.0, 1.0, 2.0]]).repeat(4, 1)
    negative = torch.tensor([[False, False, True, True]]).repeat(4, 1)
    assert nearest_beyond(matrix, negative)[0].tolist() == [2, 3, 3, 3]


@pytest.mark.parametrize("preset", [preset.name for preset in CATALOG["triplet"].presets])
def test_presets(preset: str) -> None:
    hyper = resolve("triplet", {"preset": preset})
    expected: dict[str, dict[str, Value]] = {
        "facenet": {
            "mining": "semi_hard",
            "variant": "nearest",
            "soft_margin": False,
            "margin": 0.2,
            "distance": "squared",
            "normalize": True,
        },
        "bag_of_tricks": {
            "mining": "hard",
            "soft_margin": False,
            "margin": 0.3,
            "distance": "euclidean",
            "normalize": False,
        },
        "reality_check": {
            "mining": "all",
            "reduction": "nonzero",
            "soft_margin": False,
            "margin": 0.096,
            "distance": "euclidean",
            "normalize": True,
        },
        "open_reid": {
            "mining": "hard",
            "soft_margin": False,
            "margin": 0.0,
            "distance": "euclidean",
            "normalize": False,
        },
        "arcface_paper": {
            "mining": "hard",
            "soft_margin": False,
            "margin": 0.35,
            "distance": "angular",
        },
    }
    assert hyper == expected[preset]
    x, y = batch(10)
    assert make("triplet", hyper)(x, y).item() == pytest.approx(
        by_loops(
            (torch.nn.functional.normalize(x) if hyper.get("normalize") else x).numpy(),
            y.numpy(),
            {"reduction": "mean", **hyper},
        )[0]
    )


def test_settings_without_effect_are_refused() -> None:
    bad: list[dict[str, object]] = [
        {"variant": "all"},
        {"reduction": "mean"},
        {"distance": "angular", "normalize": True},
        {"mining": "semi_hard", "margin": 0.2},
    ]
    for given_ in bad:
        with pytest.raises(ValueError, match="has an effect only with"):
            resolve("triplet", given_)


def test_what_has_no_effect_does_not_split_stacks() -> None:
    keys = {
        group_key("triplet", resolve("triplet", hyper))
        for hyper in ({}, {"mining": "hard"}, {"mining": "all"}, {"mining": "semi_hard"})
    }
    assert len(keys) == 3


def test_the_whole_batch_of_a_stack_fits() -> None:
    """Batch all of 4 models of 64 images: a few B³ arrays each, not D times as much."""
    loss = make("triplet", {"mining": "all"}, embedding_dim=32, dtype=torch.float32)
    points = torch.randn(4, 64, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = (torch.arange(64) // 4).expand(4, 64)
    largest = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = Stack([loss] * 4).call("compute", points, labels)[0]
    assert torch.isfinite(value).all()
    assert largest <= 4 * 64**3
