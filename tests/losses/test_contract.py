"""What every loss of the catalog keeps, in every combination of its structural hyper-parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from losses import heads
from losses.base import Loss
from losses.build import build
from losses.catalog import CATALOG, resolve
from losses.class_blocks import Found
from losses.class_table import cross_entropy_in_table
from losses.cross_entropy import (
    HardRule,
    cross_entropy,
    hard_negatives,
)
from losses.heads import MarginHead
from losses.schema import Value
from tests.losses.hard import clamp_slope, hard_cases, has_scale, not_finite, some_classes
from tests.losses.stacks import Stack, batch, class_rows, make, structure_id, structures, varied

Structure = tuple[str, dict[str, Value]]
each_structure = pytest.mark.parametrize("structure", structures(), ids=structure_id)

# Where a constant stands in the gradient for something that moves, the gradient is no derivative.
CONSTANTS: dict[str, set[Value]] = {
    "gradient": {
        "straight_through",
        "caffe",
        "t_detached",
        "margin_detached",
        "norm_detached",
        "norm_attached",
    },
    "mode": {"dynamic"},
    "detach": {True},
}
# Their cross-entropy is that of a part.
SUMS = {name for name, row in CATALOG.items() if row.parts}
# The place in the batch is part of the definition.
ORDERED: dict[str, dict[str, Value]] = {
    "triplet": {"mining": "random"},
    "elasticface": {"plus": False},
    "n_pairs": {},
    "bag_of_tricks": {"triplet.mining": "random"},
}


def each(keep: Callable[[str, dict[str, Value]], bool]) -> pytest.MarkDecorator:
    """Every structure that is to be kept."""
    return pytest.mark.parametrize(
        "structure", [found for found in structures() if keep(*found)], ids=structure_id
    )


def is_derivative(name: str, hyper: dict[str, Value]) -> bool:
    chosen = resolve(name, hyper)
    return not any(chosen.get(key) in values for key, values in CONSTANTS.items())


def is_ordered(name: str, hyper: dict[str, Value]) -> bool:
    chosen = resolve(name, hyper)
    return name in ORDERED and all(chosen[key] == value for key, value in ORDERED[name].items())


def takes(argument: str) -> Callable[[str, dict[str, Value]], bool]:
    return lambda name, hyper: argument in CATALOG[name].recipe


each_exact = each(is_derivative)


@each_structure
@pytest.mark.parametrize("inclusive", [False, True], ids=["clamp slope 0", "clamp slope 1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_hard_cases_are_finite(structure: Structure, dtype: torch.dtype, inclusive: bool) -> None:
    """Under both conventions that torch has had for the gradient of clamp at its bound."""
    with clamp_slope(inclusive=inclusive):
        for case in hard_cases(*structure, dtype):
            assert not not_finite(case.loss, case.embeddings, case.labels), case.name


@each_structure
def test_a_hundred_thousand_classes_are_finite(structure: Structure) -> None:
    case = some_classes(*structure, torch.float32, 100_000)
    assert not not_finite(case.loss, case.embeddings, case.labels)


@each(lambda name, hyper: CATALOG[name].kind == "embedding")
def test_a_batch_of_one(structure: Structure) -> None:
    """Without any pair a loss of pairs is 0, and has a gradient of 0."""
    loss = make(*structure)
    embeddings, _ = batch(1)
    value, log = loss.compute(embeddings.requires_grad_(), torch.tensor([0]))
    value.backward()
    assert value == 0
    assert log["active"] == 0
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


@each_structure
def test_every_parameter_gets_a_gradient(structure: Structure) -> None:
    loss = make(*structure)
    embeddings, labels = batch()
    loss(embeddings.requires_grad_(), labels).backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert set(loss.class_parameters) <= dict(loss.named_parameters()).keys()
    for name in loss.class_parameters:
        assert loss.get_parameter(name).shape[0] == loss.num_classes


@each_exact
def test_gradient_is_the_derivative(structure: Structure) -> None:
    name, hyper = structure
    loss = make(name, {**hyper, "scale": 4.0} if has_scale(name) else hyper)
    embeddings, labels = batch(7)

    def value(embeddings: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(dict(loss.named_parameters()), parameters, strict=True))
        result: Tensor = torch.func.functional_call(loss, named, (embeddings, labels))
        return result

    parameters = [parameter.detach().requires_grad_() for parameter in loss.parameters()]
    inputs = (embeddings.requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)  # along a random direction


@pytest.mark.filterwarnings("error:There is a performance drop")
@each_structure
def test_stack_equals_loop(structure: Structure) -> None:
    """Three models with other numbers, weights and batches; two steps of loss, log and state."""
    name, hyper = structure
    losses = [make(name, h, seed=k) for k, h in enumerate(varied(name, hyper, 3))]
    stack = Stack(losses)
    for step in range(2):
        batches = [batch(seed=10 * step + k) for k in range(3)]
        embeddings = torch.stack([b[0] for b in batches]).requires_grad_()
        labels = torch.stack([b[1] for b in batches])
        for tensor in stack.parameters.values():
            tensor.grad = None
        values, logs = stack.call("compute", embeddings, labels)
        values.sum().backward()
        stack.call("after_step", embeddings.detach(), labels)
        for k, loss in enumerate(losses):
            alone = batches[k][0].clone().requires_grad_()
            loss.zero_grad()
            value, log = loss.compute(alone, labels[k])
            value.backward()
            with torch.no_grad():
                loss.after_step(alone, labels[k])
            assert embeddings.grad is not None
            pairs = {"loss": (values[k], value), "embeddings": (embeddings.grad[k], alone.grad)}
            pairs |= {key: (logs[key][k], log[key]) for key in log}
            for key, parameter in loss.named_parameters():
                pairs[key] = (stack.parameters[f"loss.{key}"].grad[k], parameter.grad)
            for key, buffer in loss.named_buffers():
                pairs[f"buffer {key}"] = (stack.buffers[f"loss.{key}"][k], buffer)
            for key, (got, expected) in pairs.items():
                torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12, msg=key)


@each_structure
def test_stack_of_four_in_float32(structure: Structure) -> None:
    """As the engine computes: gradients to 1e-6 of their own length."""
    name, hyper = structure
    losses = [
        make(name, h, seed=k, dtype=torch.float32) for k, h in enumerate(varied(name, hyper, 4))
    ]
    stack = Stack(losses)
    batches = [batch(seed=k, dtype=torch.float32) for k in range(4)]
    embeddings = torch.stack([b[0] for b in batches]).requires_grad_()
    values, _ = stack.call("compute", embeddings, torch.stack([b[1] for b in batches]))
    values.sum().backward()
    for k, loss in enumerate(losses):
        alone = batches[k][0].clone().requires_grad_()
        loss(alone, batches[k][1]).backward()
        assert embeddings.grad is not None
        pairs = [(embeddings.grad[k], alone.grad)]
        pairs += [
            (stack.parameters[f"loss.{key}"].grad[k], parameter.grad)
            for key, parameter in loss.named_parameters()
        ]
        for got, expected in pairs:
            # The terms of a shared bias cancel: it is held to the size of the embeddings'.
            size = expected.norm() if expected.dim() else pairs[0][1].norm()
            assert (got - expected).norm() <= 1e-6 * size


@each_structure
def test_embeddings_in_bfloat16_cost_at_most_two_percent(structure: Structure) -> None:
    """Rounding the embeddings to 8 bits is all that autocast does to a loss."""
    loss = make(*structure, dtype=torch.float32)
    embeddings, labels = batch(dtype=torch.float32)
    exact = loss(embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss(embeddings.bfloat16(), labels)
    assert abs(rounded - exact) <= 2e-2 * abs(exact)


@pytest.mark.parametrize("name", [n for n in CATALOG if isinstance(make(n), MarginHead)])
def test_target_logit_falls_with_the_angle(name: str) -> None:
    """The default rule, on 10,001 points of [0, π]."""
    loss = make(name)
    theta = torch.linspace(0, torch.pi, 10_001, dtype=torch.float64)
    target = loss.target(theta.cos())
    assert (target.diff() <= 1e-12).all()
    assert target[0] > target[-1]


@each_structure
def test_computing_twice_changes_nothing(structure: Structure) -> None:
    """Only `after_step` moves the state."""
    loss = make(*structure)
    embeddings, labels = batch()
    first, again = (loss(embeddings, labels) for _ in range(2))
    assert first == again


@each_structure
def test_state_resumes_exactly(structure: Structure) -> None:
    """Two steps, save, load into another loss, two steps: the same as four steps."""
    name, hyper = structure

    def advance(loss: Loss, steps: range) -> list[float]:
        values = []
        for step in steps:
            embeddings, labels = batch(seed=step)
            values.append(loss(embeddings, labels).item())
            with torch.no_grad():
                loss.after_step(embeddings, labels)
        return values

    first = make(name, varied(name, hyper, 2)[1], seed=1)
    advance(first, range(2))
    resumed = make(name, hyper, seed=2)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    assert advance(resumed, range(2, 4)) == advance(first, range(2, 4))


@each_structure
def test_log_holds_scalars_without_gradient(structure: Structure) -> None:
    loss = make(*structure)
    embeddings, labels = batch()
    log = loss.compute(embeddings.requires_grad_(), labels)[1]
    for name, value in log.items():
        assert value.shape == (), name
        assert not value.requires_grad, name
    torch.testing.assert_close(log["embedding_norm"], embeddings.norm(dim=1).mean().detach())
    if loss.kind != "embedding":
        scores = loss.logits(embeddings)
        right = (scores.argmax(1) == labels) & (scores.amax(1) > scores.amin(1))  # an empty memory
        assert log["accuracy"] == right.double().mean()
        rows = class_rows(loss)
        if rows is not None:
            nearest = torch.cosine_similarity(embeddings[:, None], rows[labels], dim=-1).amax(1)
            torch.testing.assert_close(log["target_angle"], nearest.acos().mean().detach())


@each(lambda name, hyper: not is_ordered(name, hyper))
def test_order_of_the_batch_does_not_matter(structure: Structure) -> None:
    loss = make(*structure)
    embeddings, labels = batch()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(embeddings[order], labels[order]), loss(embeddings, labels))


@each_structure
def test_half_precision_is_computed_in_float32(structure: Structure) -> None:
    loss = make(*structure, dtype=torch.float32)
    embeddings, labels = batch(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(embeddings, labels)
        scores = loss.logits(embeddings)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(embeddings.float(), labels), rtol=0, atol=0)
    if scores is not None:
        torch.testing.assert_close(scores, loss.logits(embeddings.float()), rtol=0, atol=0)


@each_structure
def test_initialisation_is_the_generators(structure: Structure) -> None:
    first, same, other = (make(*structure, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], same[key]) for key in first)
    if "weight_norm" in CATALOG[structure[0]].recipe:
        assert any(not torch.equal(first[key], other[key]) for key in first)


@each_structure
def test_reset_returns_to_the_start(structure: Structure) -> None:
    loss = make(*structure, seed=3)
    start = copy.deepcopy(loss.state_dict())
    with torch.no_grad():
        loss.after_step(*batch())
        for parameter in loss.parameters():
            parameter.add_(1.0)
    loss.reset_parameters(torch.Generator().manual_seed(3))
    for key, value in loss.state_dict().items():
        torch.testing.assert_close(value, start[key], rtol=1e-6, atol=1e-6, msg=key)


@each(takes("weight_norm"))
def test_initial_weight_rows_have_the_given_length(structure: Structure) -> None:
    generator = torch.Generator().manual_seed(0)
    loss: Any = build(
        *structure, num_classes=7, embedding_dim=3, weight_norm=2.5, generator=generator
    )
    (rows,) = [value for key, value in loss.named_parameters() if key.endswith("weight")]
    lengths = rows.norm(dim=-1).detach()
    torch.testing.assert_close(lengths, torch.full_like(lengths, 2.5))
    assert torch.linalg.matrix_rank(rows.reshape(-1, 3)) == 3


@each(lambda name, hyper: "label_smoothing" in CATALOG[name].recipe and name not in SUMS)
@given(smoothing=st.floats(0.0, 0.99), seed=st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_label_smoothing_is_torchs(structure: Structure, smoothing: float, seed: int) -> None:
    """On the logits with margin: what smoothing adds is what it adds in torch."""
    name, hyper = structure
    sharp, smooth = (make(name, hyper, label_smoothing=e) for e in (0.0, smoothing))
    embeddings, labels = batch(seed=seed)
    seen: list[Tensor] = []

    def plain(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
        seen.append(logits.clone())  # the cross-entropy changes its logits
        return cross_entropy(logits, labels, smoothing)

    def in_table(
        vectors: Tensor,
        directions: Tensor,
        labels: Tensor,
        target: Tensor,
        smoothing: Tensor,
        *,
        rule: HardRule | None,
    ) -> Found:
        logits = smooth.class_logits(vectors.detach(), directions.detach())
        logits.scatter_(-1, labels.unsqueeze(-1), target.detach().unsqueeze(-1))
        if rule is not None:
            hard = hard_negatives(logits, labels, rule.threshold)
            rule.change(logits, hard, *rule.numbers)
        seen.append(logits)
        return cross_entropy_in_table(vectors, directions, labels, target, smoothing, rule=rule)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "cross_entropy", plain)
        patch.setattr(heads, "cross_entropy_in_table", in_table)
        got = smooth(embeddings, labels) - sharp(embeddings, labels)
    logits = seen[0]
    reference = torch.nn.functional.cross_entropy
    expected = reference(logits, labels, label_smoothing=smoothing) - reference(logits, labels)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "hyper", "reference"),
    [
        ("cosface", {"margin": 0.0, "scale": 8.0}, "norm_softmax"),
        *(
            (
                "arcface",
                {"margin": 0.0, "scale": 8.0, "rule": rule, "gradient": mode},
                "norm_softmax",
            )
            for rule in ("linear", "easy", "none", "clip")
            for mode in ("exact", "straight_through")
        ),
        ("center", {"center_weight": 0.0}, "softmax"),
    ],
)
def test_without_margin(name: str, hyper: dict[str, Value], reference: str) -> None:
    loss = make(name, hyper)
    plain = make(reference, {"scale": 8.0} if reference == "norm_softmax" else {})
    embeddings, labels = batch()
    results = []
    for each in (loss, plain):
        x = embeddings.clone().requires_grad_()
        value = each(x, labels)
        value.backward()
        results.append((value.detach(), x.grad, each.weight.grad, each.logits(embeddings).detach()))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-12)


def test_sphereface_with_margin_1_is_softmax_with_unit_weights_and_no_bias() -> None:
    loss, plain = make("sphereface", {"margin": 1}), make("softmax")
    embeddings, labels = batch()
    torch.testing.assert_close(loss(embeddings, labels), plain(embeddings, labels))
    torch.testing.assert_close(loss.logits(embeddings), plain.logits(embeddings))
