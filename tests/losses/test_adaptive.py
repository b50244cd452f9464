"""Adaptive margins: formulas by hand, limits that are other losses, state over steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from losses.catalog import CATALOG, resolve
from losses.schema import Value
from tests.losses.stacks import Stack, batch, make

NAMES = (
    "subcenter_arcface",
    "curricularface",
    "mv_softmax",
    "magface",
    "adaface",
    "elasticface",
)
FALLING = torch.linspace(0, math.pi, 10_001, dtype=torch.float64).cos()


def results(loss: Any, embeddings: Tensor, labels: Tensor) -> list[Tensor]:
    """Loss and gradients."""
    x = embeddings.clone().requires_grad_()
    loss.zero_grad()
    value = loss(x, labels)
    value.backward()
    assert x.grad is not None
    return [value.detach(), x.grad, loss.weight.grad.reshape(-1, x.shape[1])]


def cosines(loss: Any, embeddings: Tensor) -> np.ndarray:
    rows = loss.weight.detach().numpy()
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    x = embeddings.numpy() / np.linalg.norm(embeddings.numpy(), axis=1, keepdims=True)
    found: np.ndarray = np.einsum("bd,...d->b...", x, rows)
    return found


def entropy(logits: np.ndarray, labels: Tensor) -> float:
    """Mean cross-entropy, sample by sample."""
    terms = [
        np.log(np.exp(row - row.max()).sum()) + row.max() - row[label]
        for row, label in zip(logits, labels.tolist(), strict=True)
    ]
    return float(np.mean(terms))


@pytest.mark.parametrize("name", NAMES)
def test_presets_can_be_built_and_differ(name: str) -> None:
    embeddings, labels = batch()
    for preset in CATALOG[name].presets:
        assert resolve(name, {"preset": preset.name}) != resolve(name)
        assert torch.isfinite(make(name, {"preset": preset.name})(embeddings, labels))


@pytest.mark.parametrize(
    ("name", "hyper", "other", "other_hyper"),
    [
        ("subcenter_arcface", {"sub_centers": 1}, "arcface", {}),
        ("subcenter_arcface", {"sub_centers": 1, "margin": 0.0}, "norm_softmax", {"scale": 64.0}),
        ("mv_softmax", {"t": 0.0}, "cosface", {"scale": 32.0}),
        ("mv_softmax", {"t": 0.0, "emphasis": "fixed"}, "cosface", {"scale": 32.0}),
        ("mv_softmax", {"t": 0.0, "kind": "arc"}, "arcface", {"margin": 0.35, "scale": 32.0}),
        ("mv_softmax", {"t": 0.0, "margin": 0.0}, "norm_softmax", {"scale": 32.0}),
        ("magface", {"l_m": 0.5, "u_m": 0.5, "lambda_g": 0.0}, "arcface", {}),
        ("magface", {"l_m": 0.0, "u_m": 0.0, "lambda_g": 0.0}, "norm_softmax", {"scale": 64.0}),
        ("adaface", {"margin": 0.0}, "norm_softmax", {"scale": 64.0}),
        ("adaface", {"h": 1e-3, "t_alpha": 0.0}, "cosface", {"margin": 0.4}),
        ("elasticface", {"deviation": 0.0}, "arcface", {}),
        ("elasticface", {"deviation": 0.0, "plus": True}, "arcface", {}),
        ("elasticface", {"deviation": 0.0, "kind": "cos"}, "cosface", {"margin": 0.5}),
        ("elasticface", {"deviation": 0.0, "margin": 0.0}, "norm_softmax", {"scale": 64.0}),
    ],
)
def test_limits_are_other_losses(
    name: str, hyper: dict[str, Value], other: str, other_hyper: dict[str, Value]
) -> None:
    embeddings, labels = batch(40)
    loss, reference = make(name, hyper), make(other, other_hyper)
    if name == "adaface":
        loss.norm_mean.fill_(0.0)
        loss.norm_deviation.fill_(1e12)  # every length is average
    tolerance = 1e-9 if name == "adaface" else 1e-12
    for got, expected in zip(
        results(loss, embeddings, labels), results(reference, embeddings, labels), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sub_centers", [2, 5])
def test_subcenter_takes_the_nearest(sub_centers: int) -> None:
    loss = make("subcenter_arcface", {"sub_centers": sub_centers, "scale": 8.0, "rule": "none"})
    embeddings, labels = batch(30)
    nearest = cosines(loss, embeddings).max(axis=-1)
    rows = np.arange(30)
    logits = 8 * nearest
    logits[rows, labels] = 8 * np.cos(np.arccos(nearest[rows, labels]) + 0.5)
    assert loss(embeddings, labels).item() == pytest.approx(entropy(logits, labels), rel=1e-12)
    np.testing.assert_allclose(loss.logits(embeddings).detach(), 8 * nearest, rtol=1e-12)


def test_subcenter_is_that_of_pytorch_metric_learning() -> None:
    """Its margin is in degrees; past pi - m it follows the rule ``linear`` too."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    ours = make("subcenter_arcface", {"scale": 16.0})
    theirs = losses.SubCenterArcFaceLoss(
        num_classes=5, embedding_size=4, margin=math.degrees(0.5), scale=16, sub_centers=3
    ).double()
    embeddings, labels = batch(40)
    with torch.no_grad():
        theirs.W.copy_(ours.weight.reshape(15, 4).T)
    x = embeddings.clone().requires_grad_()
    value = theirs(x, labels)
    value.backward()
    expected = [value.detach(), x.grad, theirs.W.grad.T]
    for got, wanted in zip(results(ours, embeddings, labels), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-10)


def test_subcenter_gives_each_sample_to_one_center() -> None:
    """Without other samples, a center that is nowhere nearest does not move."""
    loss = make("subcenter_arcface")
    embeddings, labels = batch(1)
    loss(embeddings, labels).backward()
    moved = loss.weight.grad.norm(dim=-1) > 0
    assert (moved.sum(dim=1) == 1).all()
    nearest = torch.tensor(cosines(loss, embeddings)[0].argmax(axis=-1))
    assert torch.equal(moved.int().argmax(dim=1), nearest)


@pytest.mark.parametrize("update", ["first", "after"])
def test_curricularface_over_steps(update: str) -> None:
    """Loss and t of three steps, the class weights moving between them."""
    loss = make("curricularface", {"scale": 6.0, "t_rate": 0.3, "rule": "none", "update": update})
    t = 0.0
    for step in range(3):
        embeddings, labels = batch(30, seed=step)
        cosine = cosines(loss, embeddings)
        own = cosine[np.arange(30), labels]
        moved = 0.7 * t + 0.3 * own.mean()
        used = moved if update == "first" else t
        target = np.cos(np.arccos(own) + 0.5)
        hard = cosine > target[:, None]
        hard[np.arange(30), labels] = False
        logits = 6 * np.where(hard, cosine * (used + cosine), cosine)
        logits[np.arange(30), labels] = 6 * target
        value, log = loss.compute(embeddings, labels)
        assert value.item() == pytest.approx(entropy(logits, labels), rel=1e-12)
        assert log["t"].item() == pytest.approx(used, rel=1e-12)
        assert log["hard_share"].item() == pytest.approx(hard.sum() / (30 * 4))
        assert 0 < hard.sum() < 30 * 4
        with torch.no_grad():
            loss.weight.add_(0.1)
            loss.after_step(embeddings, labels)
        t = moved
        assert loss.t.item() == pytest.approx(t, rel=1e-12)


@pytest.mark.parametrize(("reference", "hard"), [("target", 5), ("raw", 2)])
def test_curricularface_hardness_past_pi(reference: str, hard: int) -> None:
    """θ_y = π - 0.2: the linear target is -1.22, cos(θ_y + m) is -0.955."""
    cosine = torch.tensor([math.cos(math.pi - 0.2), -0.99, -0.97, -0.96, -0.95, -0.5])
    loss = make("curricularface", {"hard_reference": reference}, num_classes=6, embedding_dim=2)
    with torch.no_grad():
        loss.weight.copy_(torch.stack([cosine, (1 - cosine**2).sqrt()], dim=1))
    x = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    log = loss.compute(x, torch.tensor([0]))[1]
    assert log["hard_share"].item() == pytest.approx(hard / 5)


@pytest.mark.parametrize("kind", ["am", "arc"])
@pytest.mark.parametrize("emphasis", ["adaptive", "fixed"])
@pytest.mark.parametrize("rule", ["none", "easy"])
def test_mv_softmax_by_hand(kind: str, emphasis: str, rule: str) -> None:
    """As the authors' layer: emphasis above the plain margin's target, then the easy margin."""
    scale, margin, t = 5.0, 0.4, 0.3
    hyper: dict[str, Value] = {"scale": scale, "margin": margin, "t": t}
    loss = make("mv_softmax", {**hyper, "kind": kind, "emphasis": emphasis, "rule": rule})
    embeddings, labels = batch(30)
    logits = cosines(loss, embeddings)
    hard_count = 0
    for row, label in zip(logits, labels.tolist(), strict=True):
        own = row[label]
        target = own - margin if kind == "am" else math.cos(math.acos(own) + margin)
        for j in range(5):
            if row[j] > target and j != label:
                hard_count += 1
                row[j] = (t + 1) * row[j] + t if emphasis == "adaptive" else row[j] + t
        row[label] = own if rule == "easy" and own <= 0 else target
    value, log = loss.compute(embeddings, labels)
    assert value.item() == pytest.approx(entropy(scale * logits, labels), rel=1e-12)
    assert log["hard_share"].item() == pytest.approx(hard_count / (30 * 4))
    assert hard_count > 0


def test_magface_by_hand() -> None:
    hyper: dict[str, Value] = {"scale": 7.0, "l_a": 1.5, "u_a": 3.0, "lambda_g": 2.0}
    loss = make("magface", {**hyper, "rule": "none"})
    embeddings, labels = batch(30)
    lengths = np.linalg.norm(embeddings.numpy(), axis=1).clip(1.5, 3.0)
    assert {1.5, 3.0} < set(lengths)
    margins = 0.45 + 0.35 * (lengths - 1.5) / 1.5
    logits = cosines(loss, embeddings)
    own = logits[np.arange(30), labels]
    logits[np.arange(30), labels] = np.cos(np.arccos(own) + margins)
    penalty = np.mean(lengths / 9.0 + 1 / lengths)
    value, log = loss.compute(embeddings, labels)
    assert value.item() == pytest.approx(entropy(7 * logits, labels) + 2 * penalty, rel=1e-12)
    assert log["margin"].item() == pytest.approx(margins.mean())
    assert log["length_penalty"].item() == pytest.approx(penalty)


def test_magface_lengthens_embeddings_up_to_u_a() -> None:
    """g is smallest at u_a; a longer or shorter embedding than the bounds has no radial slope."""
    loss = make("magface", {"l_a": 2.0, "u_a": 4.0, "l_m": 0.0, "u_m": 0.0})
    embeddings, labels = batch(1)
    slopes = []
    for length in (1.0, 3.0, 3.9, 5.0):
        x = (embeddings / embeddings.norm() * length).requires_grad_()
        loss(x, labels).backward()
        assert x.grad is not None
        slopes.append((x.grad * x.detach()).sum().item() / length)
    expected = [0.0, 35 * (1 / 16 - 1 / 9), 35 * (1 / 16 - 1 / 3.9**2), 0.0]
    np.testing.assert_allclose(slopes, expected, atol=1e-12)


def test_adaface_by_hand_over_steps() -> None:
    """The batch counts in the statistics it is used with; the deviation is unbiased."""
    loss = make("adaface", {"scale": 7.0, "t_alpha": 0.4, "rule": "none"})
    mean, deviation = 20.0, 100.0
    for step in range(3):
        embeddings, labels = batch(30, seed=step)
        embeddings = embeddings * 20
        lengths = np.linalg.norm(embeddings.numpy(), axis=1)
        mean = 0.6 * mean + 0.4 * lengths.mean()
        deviation = 0.6 * deviation + 0.4 * lengths.std(ddof=1)
        quality = (0.333 * (lengths - mean) / deviation).clip(-1, 1)
        logits = cosines(loss, embeddings)
        own = logits[np.arange(30), labels]
        moved = np.cos(np.arccos(own) - 0.4 * quality) - (0.4 * quality + 0.4)
        logits[np.arange(30), labels] = moved
        value, log = loss.compute(embeddings, labels)
        assert value.item() == pytest.approx(entropy(7 * logits, labels), rel=1e-12)
        assert log["quality"].item() == pytest.approx(quality.mean())
        with torch.no_grad():
            loss.after_step(embeddings, labels)
        assert loss.norm_mean.item() == pytest.approx(mean)
        assert loss.norm_deviation.item() == pytest.approx(deviation)


def test_adaface_is_arcface_for_the_short_and_a_shifted_cosface_for_the_long() -> None:
    loss = make("adaface", {"rule": "none"})
    arcface = make("arcface", {"margin": 0.4, "rule": "none"})
    short, long = (torch.tensor(q, dtype=torch.float64) for q in (-1.0, 1.0))
    torch.testing.assert_close(loss.quality_target(FALLING, short), arcface.target(FALLING))
    expected = (FALLING.acos() - 0.4).cos() - 0.8
    torch.testing.assert_close(loss.quality_target(FALLING, long), expected)


def test_adaface_with_one_sample_keeps_the_deviation() -> None:
    loss = make("adaface", {"t_alpha": 0.5})
    loss.after_step(torch.full((1, 4), 5.0, dtype=torch.float64), torch.tensor([0]))
    assert loss.norm_mean == 15.0
    assert loss.norm_deviation == 100.0


def test_margins_of_each_sample_keep_the_target_logit_falling() -> None:
    """The default rules, for every quality, length and margin that can occur."""
    adaface, magface, elastic = (make(name) for name in ("adaface", "magface", "elasticface"))
    curves = [
        adaface.quality_target(FALLING, torch.tensor(quality, dtype=torch.float64))
        for quality in np.linspace(-1, 1, 9)
    ]
    for length in (1.0, 10.0, 40.0, 110.0, 200.0):
        lengths = torch.full_like(FALLING, length)
        curves.append(FALLING + magface.sample_shift(FALLING, lengths))
    for margin in (0.0, 0.3, 0.8):
        curves.append(elastic.margin_target(FALLING, torch.tensor(margin, dtype=torch.float64)))
    for curve in curves:
        assert (curve.diff() <= 1e-12).all()
        assert curve[0] > curve[-1]


def test_elasticface_margins_follow_the_law() -> None:
    loss = make("elasticface", {"margin": 0.4, "deviation": 0.1})
    drawn = []
    for _ in range(40):
        drawn.append(loss.draw(100))
        loss.after_step(*batch())
    margins = torch.stack(drawn).numpy()
    assert stats.kstest(margins.ravel(), "norm", args=(0.4, 0.1)).pvalue > 1e-3
    assert len(np.unique(margins)) == margins.size
    loss.reset_parameters(torch.Generator().manual_seed(0))
    assert torch.equal(loss.draw(100), drawn[0])
    loss.reset_parameters(torch.Generator().manual_seed(1))
    assert not torch.equal(loss.draw(100), drawn[0])


@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_elasticface_by_hand(kind: str) -> None:
    loss = make("elasticface", {"scale": 7.0, "kind": kind, "deviation": 0.2})
    embeddings, labels = batch(30)
    margins = loss.draw(30).numpy()
    logits = cosines(loss, embeddings)
    rows = np.arange(30)
    own = logits[rows, labels]
    past = np.arccos(own) + margins > math.pi
    arc = np.where(past, own - margins * np.sin(margins), np.cos(np.arccos(own) + margins))
    logits[rows, labels] = arc if kind == "arc" else own - margins
    value, log = loss.compute(embeddings, labels)
    assert value.item() == pytest.approx(entropy(7 * logits, labels), rel=1e-12)
    assert log["margin"].item() == pytest.approx(margins.mean())


def test_elasticface_plus_gives_the_largest_margin_to_the_hardest() -> None:
    loss = make("elasticface", {"plus": True})
    cosine = torch.tensor([0.3, -0.2, 0.9, 0.1, 0.5], dtype=torch.float64)
    margins = loss.margins(cosine)
    assert torch.equal(margins.sort().values, loss.draw(5).sort().values)
    assert stats.spearmanr(margins, cosine).statistic == pytest.approx(-1)
    order = cosine.argsort()
    assert not torch.equal(order[order], torch.arange(5))  # else the inverse would not matter


def test_elasticface_models_of_a_stack_draw_their_own_margins() -> None:
    losses = [make("elasticface", seed=seed) for seed in (1, 2, 1)]
    embeddings, labels = (torch.stack([part] * 3) for part in batch())
    _, log = Stack(losses).call("compute", embeddings, labels)
    margin: Tensor = log["margin"]
    assert margin[0] == margin[2]
    assert margin[0] != margin[1]
