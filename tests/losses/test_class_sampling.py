"""Training on a sample of the classes."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from losses import catalog, class_walk
from losses.build import build
from losses.class_blocks import cross_entropy_in_blocks
from losses.schema import Value
from tests.losses.stacks import Stack, batch

CLASSES = 50


def sampled(name: str = "arcface", share: float = 0.4, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return build(
        name, num_classes=CLASSES, embedding_dim=6, class_sampling=share, generator=generator
    ).double()


def after(loss: Any, steps: int) -> Any:
    for _ in range(steps):
        with torch.no_grad():
            loss.after_step(*batch(8, 6, CLASSES))
    return loss


def test_the_batch_and_others_up_to_the_share() -> None:
    loss, labels = sampled(), torch.tensor([3, 3, 49, 0])
    chosen = loss.chosen_classes(labels)
    assert len(chosen) == 20
    assert len(chosen.unique()) == 20
    assert {0, 3, 49} <= set(chosen.tolist())
    assert torch.equal(chosen, chosen.sort().values)
    everyone = torch.arange(30)  # more samples than the share has classes
    assert torch.equal(sampled(share=0.1).chosen_classes(everyone), everyone)


def test_others_are_drawn_evenly() -> None:
    loss, counts, steps = sampled(), torch.zeros(CLASSES), 600
    for _ in range(steps):
        counts[loss.chosen_classes(torch.tensor([7]))] += 1
        after(loss, 1)
    assert counts[7] == steps
    others = torch.cat([counts[:7], counts[8:]])
    share = 19 / 49
    deviation = (steps * share * (1 - share)) ** 0.5
    assert (others - steps * share).abs().max() < 4.5 * deviation


def test_a_sample_is_decided_by_seed_and_step() -> None:
    labels = torch.tensor([1, 2])
    first, again, other = (sampled(seed=seed).chosen_classes(labels) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    third = after(sampled(), 2)
    resumed = sampled(seed=5)
    resumed.load_state_dict(third.state_dict())
    assert torch.equal(resumed.chosen_classes(labels), third.chosen_classes(labels))
    assert not torch.equal(third.chosen_classes(labels), first)


@pytest.mark.parametrize("name", ["arcface", "subcenter_arcface", "curricularface"])
def test_it_is_the_head_of_the_chosen_classes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A head that has no other classes gives the value and the gradients of these rows; the others get 0."""
    monkeypatch.setattr(class_walk, "BLOCK", 7 * 8)
    embeddings, labels = batch(8, 6, CLASSES)
    loss = sampled(name)
    chosen = loss.chosen_classes(labels)
    small = build(name, num_classes=len(chosen), embedding_dim=6).double()
    small.weight.data = loss.weight.detach()[chosen].clone()
    places = (chosen == labels.unsqueeze(-1)).to(torch.int64).argmax(dim=-1)
    x, z = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    value, log = loss.compute(x, labels)
    expected, expected_log = small.compute(z, places)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected)
    assert log.keys() == expected_log.keys()
    for key in log:
        torch.testing.assert_close(log[key], expected_log[key])
    torch.testing.assert_close(x.grad, z.grad)
    torch.testing.assert_close(loss.weight.grad[chosen], small.weight.grad)
    rest = torch.ones(CLASSES, dtype=torch.bool).index_fill_(0, chosen, False)
    assert loss.weight.grad[rest].abs().max() == 0


def test_neighbours_in_a_stack_change_nothing() -> None:
    losses = [sampled("elasticface", seed=seed) for seed in (0, 1)]
    stack = Stack(copy.deepcopy(losses))
    for step in range(3):
        drawn = [batch(8, 6, CLASSES, seed=10 * step + k) for k in (0, 1)]
        embeddings = torch.stack([each[0] for each in drawn])
        labels = torch.stack([each[1] for each in drawn])
        values, _ = stack.call("compute", embeddings, labels)
        alone = torch.stack([loss(*each) for loss, each in zip(losses, drawn, strict=True)])
        assert torch.equal(values, alone)
        with torch.no_grad():
            stack.call("after_step", embeddings, labels)
            for loss, each in zip(losses, drawn, strict=True):
                loss.after_step(*each)


def test_evaluation_knows_all_classes() -> None:
    assert sampled().logits(batch(8, 6, CLASSES)[0]).shape == (8, CLASSES)


UNUSUAL: list[tuple[str, dict[str, Value]]] = [
    ("curricularface", {"gradient": "exact"}),
    ("curricularface", {"update": "after"}),
    ("arcface+triplet", {}),
    ("softmax+triplet", {}),
    ("triplet+contrastive", {}),
    ("norm_softmax+intra", {}),
    ("triplet+curricularface", {"curricularface.gradient": "exact"}),
]


@pytest.mark.parametrize(("name", "hyper"), [*((name, {}) for name in catalog.CATALOG), *UNUSUAL])
def test_the_catalog_knows_what_cannot_be_sampled(name: str, hyper: dict[str, Value]) -> None:
    fails = pytest.raises(ValueError, match="class_sampling")
    with nullcontext() if catalog.can_sample(name, catalog.resolve(name, hyper)) else fails:
        build(name, hyper, num_classes=CLASSES, embedding_dim=6, class_sampling=0.4)


def test_a_share_is_a_share() -> None:
    for share in (0.0, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
            sampled(share=share)
    assert type(sampled(share=1.0)).__name__ == "ArcFace"
    build("triplet", num_classes=5, embedding_dim=4, class_sampling=0.5)  # has no class weights


def test_a_chosen_class_is_found_by_its_place() -> None:
    """Logits 0 and log 3 beside the own class's log 2: -log(2 / 6)."""
    weight = torch.eye(4, dtype=torch.float64)
    vectors = torch.tensor([[0.0, 9.0, 3.0, 0.0]], dtype=torch.float64).clamp_min(1).log()
    found = cross_entropy_in_blocks(
        vectors,
        weight,
        torch.tensor([3]),
        torch.tensor([2.0], dtype=torch.float64).log(),
        torch.tensor(0.0, dtype=torch.float64),
        chosen=torch.tensor([0, 2, 3]),
    )
    torch.testing.assert_close(found.losses, torch.tensor([3.0], dtype=torch.float64).log())
    torch.testing.assert_close(found.largest, torch.tensor([3.0], dtype=torch.float64).log())
