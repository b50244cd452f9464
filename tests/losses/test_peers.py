"""The same losses in pytorch-metric-learning: values and gradients in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from losses.schema import Value
from tests.losses.stacks import batch, make

distances = pytest.importorskip("pytorch_metric_learning.distances")
from pytorch_metric_learning.losses import (  # noqa: E402
    ArcFaceLoss,
    CosFaceLoss,
    LargeMarginSoftmaxLoss,
    NormalizedSoftmaxLoss,
    SphereFaceLoss,
    TripletMarginLoss,
)
from pytorch_metric_learning.miners import BatchHardMiner  # noqa: E402
from pytorch_metric_learning.reducers import MeanReducer  # noqa: E402


def assert_equal(ours: Any, theirs: Any, embeddings: Tensor, labels: Tensor) -> None:
    """Loss, and its gradients to embeddings and class weights (theirs are (D, C))."""
    theirs = theirs.double()
    with torch.no_grad():
        theirs.W.copy_(ours.weight.T)
    results = []
    for loss in (ours, theirs):
        x = embeddings.clone().requires_grad_()
        value = loss(x, labels)
        value.backward()
        results.append((value.detach(), x.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(ours.weight.grad, theirs.W.grad.T, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("margin", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_cosface(margin: float, scale: float) -> None:
    ours = make("cosface", {"margin": margin, "scale": scale})
    assert_equal(ours, CosFaceLoss(5, 4, margin=margin, scale=scale), *batch(40))


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.2])
@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_arcface(margin: float, scale: float) -> None:
    """Its margin is in degrees; past pi - m it follows the rule ``linear`` too."""
    ours = make("arcface", {"margin": margin, "scale": scale, "rule": "linear"})
    embeddings, labels = batch(60)
    if margin > 1:
        assert ours.compute(embeddings, labels)[1]["past_limit"] > 0.1
    theirs = ArcFaceLoss(5, 4, margin=math.degrees(margin), scale=scale)
    assert_equal(ours, theirs, embeddings, labels)


def test_norm_softmax() -> None:
    """Its temperature is one over the scale; its embeddings are normalised outside."""
    embeddings, labels = batch(40)
    unit = torch.nn.functional.normalize(embeddings)
    theirs = NormalizedSoftmaxLoss(5, 4, temperature=1 / 16)
    assert_equal(make("norm_softmax", {"scale": 16.0}), theirs, unit, labels)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "peer"), [("l_softmax", LargeMarginSoftmaxLoss), ("sphereface", SphereFaceLoss)]
)
def test_multiplied_angle(name: str, peer: Any, margin: int) -> None:
    """Theirs has no annealing: lambda is 0 here."""
    ours = make(name, {"margin": margin, "base": 0.0, "lambda_min": 0.0})
    with torch.no_grad():  # lengths matter to L-Softmax
        ours.weight.mul_(torch.linspace(0.5, 2, 5).unsqueeze(1))
    assert_equal(ours, peer(5, 4, margin=margin, scale=1), *batch(40))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_batch_hard_triplet(soft: bool, squared: bool, normalize: bool) -> None:
    distance = distances.LpDistance(normalize_embeddings=normalize, p=2, power=2 if squared else 1)
    theirs = TripletMarginLoss(
        margin=0.0 if soft else 0.3, smooth_loss=soft, distance=distance, reducer=MeanReducer()
    )
    miner = BatchHardMiner(distance=distance)
    hyper: dict[str, Value] = {
        "soft_margin": soft,
        "distance": "squared" if squared else "euclidean",
        "normalize": normalize,
    }
    ours = make("triplet", hyper if soft else {**hyper, "margin": 0.3})
    embeddings, labels = batch(24)
    labels[-1] = 7  # an anchor without a positive is dropped by both

    x, x_theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    value = ours(x, labels)
    expected = theirs(x_theirs, labels, miner(x_theirs, labels))
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10)
    value.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, x_theirs.grad, rtol=1e-7, atol=1e-9)
