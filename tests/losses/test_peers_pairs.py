"""The pair losses in pytorch-metric-learning: values and gradients in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from losses.schema import Value
from tests.losses.stacks import batch, make

distances = pytest.importorskip("pytorch_metric_learning.distances")
from pytorch_metric_learning import losses as pml  # noqa: E402
from pytorch_metric_learning.miners import (  # noqa: E402
    MultiSimilarityMiner,
    TripletMarginMiner,
)
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer  # noqa: E402


def assert_equal(
    name: str, hyper: dict[str, Value], theirs: Any, miner: Any = None, seed: int = 0
) -> None:
    """Loss and gradient on a batch with a singleton."""
    embeddings, labels = batch(20, seed=seed)
    labels[-1] = 9
    results: list[tuple[Tensor, Tensor | None]] = []
    for ours in (True, False):
        x = embeddings.clone().requires_grad_()
        extra = [miner(x, labels)] if miner and not ours else []
        value = (make(name, hyper) if ours else theirs)(x, labels, *extra)
        value.backward()
        results.append((value.detach(), x.grad))
    assert results[0][0] > 0
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("normalize", [False, True])
def test_contrastive(power: int, normalize: bool) -> None:
    """Its power stands in the distance, before the margin; ours after. They agree for 1."""
    distance = distances.LpDistance(normalize_embeddings=normalize)
    theirs = pml.ContrastiveLoss(pos_margin=0.1, neg_margin=1.2, distance=distance)
    hyper: dict[str, Value] = {
        "pos_margin": 0.1,
        "neg_margin": 1.2,
        "power": power,
        "normalize": normalize,
        "reduction": "pml",
    }
    if power == 1:
        assert_equal("contrastive", hyper, theirs)
        return
    squared = distances.LpDistance(normalize_embeddings=normalize, power=2)
    theirs = pml.ContrastiveLoss(pos_margin=0.0, neg_margin=0.0, distance=squared)
    assert_equal(
        "contrastive", {**hyper, "pos_margin": 0.0, "neg_margin": 0.0, "halve": False}, theirs
    )


def test_contrastive_of_cosines() -> None:
    """Its margins are cosines, ours 1 - cosine."""
    theirs = pml.ContrastiveLoss(
        pos_margin=0.9, neg_margin=0.3, distance=distances.CosineSimilarity()
    )
    hyper: dict[str, Value] = {
        "metric": "cosine",
        "pos_margin": 0.1,
        "neg_margin": 0.7,
        "power": 1,
        "reduction": "pml",
    }
    assert_equal("contrastive", hyper, theirs)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reduction", ["nonzero", "mean"])
def test_batch_all(soft: bool, reduction: str) -> None:
    distance = distances.LpDistance(normalize_embeddings=False)
    theirs = pml.TripletMarginLoss(
        margin=0.0 if soft else 0.3,
        smooth_loss=soft,
        distance=distance,
        reducer=AvgNonZeroReducer() if reduction == "nonzero" else MeanReducer(),
    )
    hyper: dict[str, Value] = {"mining": "all", "reduction": reduction, "soft_margin": soft}
    assert_equal("triplet", hyper if soft else {**hyper, "margin": 0.3}, theirs)


@pytest.mark.parametrize("squared", [False, True])
def test_semi_hard(squared: bool) -> None:
    """It has every semi-hard triplet, not the nearest with a fall-back."""
    distance = distances.LpDistance(power=2 if squared else 1)
    theirs = pml.TripletMarginLoss(margin=0.3, distance=distance, reducer=MeanReducer())
    miner = TripletMarginMiner(margin=0.3, type_of_triplets="semihard", distance=distance)
    hyper: dict[str, Value] = {
        "mining": "semi_hard",
        "variant": "all",
        "soft_margin": False,
        "margin": 0.3,
        "distance": "squared" if squared else "euclidean",
        "normalize": True,
    }
    assert_equal("triplet", hyper, theirs, miner)


@pytest.mark.parametrize(("margin", "scale"), [(0.4, 80.0), (0.25, 128.0), (0.0, 4.0)])
def test_circle(margin: float, scale: float) -> None:
    """Its mean is over losses above 0: the anchors that count, as long as none underflows."""
    theirs = pml.CircleLoss(m=margin, gamma=scale)
    assert_equal("circle", {"margin": margin, "scale": scale}, theirs)


@pytest.mark.parametrize("mining", [False, True])
def test_multi_similarity(mining: bool) -> None:
    theirs = pml.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)
    hyper: dict[str, Value] = {"mining": mining}
    assert_equal("multi_similarity", hyper, theirs, MultiSimilarityMiner(0.1) if mining else None)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_supcon(temperature: float) -> None:
    assert_equal("supcon", {"temperature": temperature}, pml.SupConLoss(temperature))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_ntxent(temperature: float) -> None:
    """It leaves the other positives out of the denominator."""
    hyper: dict[str, Value] = {
        "temperature": temperature,
        "denominator": "pair_and_negatives",
    }
    assert_equal("ntxent", hyper, pml.NTXentLoss(temperature))


def test_n_pairs() -> None:
    theirs = pml.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    assert_equal("n_pairs", {}, theirs)


@pytest.mark.parametrize("name", ["supcon", "ntxent"])
def test_one_class_in_the_batch(name: str) -> None:
    """It returns 0 without negatives; the formulas are defined, and their losses are not 0."""
    embeddings, labels = batch(5)[0], torch.zeros(5, dtype=torch.int64)
    theirs = {"supcon": pml.SupConLoss(), "ntxent": pml.NTXentLoss()}[name]
    assert theirs(embeddings, labels) == 0
    assert make(name)(embeddings, labels) > 0


def test_losses_that_underflow() -> None:
    """It averages over the losses above 0: a perfect anchor is dropped from SupCon's mean."""
    unit = torch.nn.functional.normalize(batch(6)[0])
    embeddings = torch.cat([unit[:1], unit[:1], -unit[:1], unit[1:4]])
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = make("supcon", {"temperature": 1e-4})
    terms, counted = loss.unreduced(embeddings, labels)
    zero = (terms < 1e-12).sum()
    assert 0 < zero < 6
    torch.testing.assert_close(
        loss(embeddings, labels) * counted.sum() / (counted.sum() - zero),
        pml.SupConLoss(1e-4)(embeddings, labels),
    )
