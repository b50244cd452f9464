"""Weighted sums of losses: their rows, their values, their neck, and a stack of them."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d

from losses import catalog
from losses.catalog import CATALOG, CatalogError, resolve, row
from losses.rows.terms import TERMS
from losses.schema import Value
from losses.sum import Sum
from tests.losses.stacks import Stack, batch, make, varied

REID = "softmax+triplet+center"
HARD: dict[str, Value] = {"triplet.soft_margin": False, "triplet.margin": 0.3}
SUMS: list[tuple[str, dict[str, Value]]] = [
    (REID, {**HARD, "neck": "none"}),
    (REID, {**HARD, "neck": "batch_norm"}),
    ("arcface+intra+inter", {"arcface.scale": 8.0, "neck": "batch_norm"}),
    ("norm_softmax+contrastive", {}),
    ("triplet+center", {}),
    ("oim+triplet", {"oim.queue_size": 3, "neck": "batch_norm"}),
    ("softmax+arcface", {"arcface.weight": 0.5}),
]
each_sum = pytest.mark.parametrize(
    ("name", "hyper"), SUMS, ids=[f"{n}-{h.get('neck')}" for n, h in SUMS]
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("softmax+trplet", ["unknown part 'trplet'", "did you mean 'triplet'", "known: softmax"]),
        ("softmax+softmax", ["has the part 'softmax' twice"]),
        ("softmax + triplet", ["losses with a + between them and nothing else"]),
        ("softmax+", ["losses with a + between them"]),
        ("center+triplet", ["'center' is a term and cannot be the first part", "softmax+center"]),
        ("intra", ["a term of sums, no loss alone", "write 'norm_softmax+intra'"]),
        ("triplet+inter", ["inter needs a part with one class weight row per class"]),
        ("soft_triple+inter", ["inter needs a part with one class weight row per class"]),
        ("softmax+bag_of_tricks", ["is itself a sum", "softmax+triplet+center"]),
    ],
)
def test_errors_of_names(name: str, words: list[str]) -> None:
    with pytest.raises(CatalogError) as caught:
        row(name)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.key == "loss"


@pytest.mark.parametrize(
    ("given", "key", "word"),
    [
        ({"triplet.margn": 0.3}, "softmax+triplet.triplet.margn", "did you mean 'triplet.margin'"),
        ({"margin": 0.3}, "softmax+triplet.margin", "did you mean 'triplet.margin'"),
        ({"softmax.weight": 2.0}, "softmax+triplet.softmax.weight", "no such"),
        ({"triplet.weight": -1.0}, "softmax+triplet.triplet.weight", "must be in [0, 10000]"),
        ({"neck": "batchnorm"}, "softmax+triplet.neck", "did you mean 'batch_norm'"),
        (
            {"triplet.margin": 0.3},
            "softmax+triplet.triplet.margin",
            "has an effect only with triplet.soft_margin: false",
        ),
    ],
)
def test_errors_of_hyperparameters(given: dict[str, object], key: str, word: str) -> None:
    with pytest.raises(CatalogError) as caught:
        resolve("softmax+triplet", given)
    assert caught.value.key == key
    assert word in str(caught.value)


def test_a_part_keeps_the_order_of_its_numbers() -> None:
    with pytest.raises(
        CatalogError, match=r"magface\.l_a = 9\.0: must be below magface\.u_a = 5\.0"
    ):
        resolve("magface+triplet", {"magface.l_a": 9, "magface.u_a": 5})


def test_row_is_made_of_the_parts() -> None:
    entry = row(REID)
    assert entry.parts == ("softmax", "triplet", "center")
    assert (entry.kind, entry.sampler, entry.stacked) == ("joint", "balanced", True)
    assert entry.recipe == ("label_smoothing", "weight_norm")
    assert row("triplet+center").recipe == ()
    assert row("triplet+center").kind == "embedding"
    assert "neck" not in resolve("triplet+center")
    assert row("softmax+center").sampler == "shuffled"
    values = resolve(REID)
    assert values["center.weight"] == TERMS["center"].weight.default
    assert values["triplet.weight"] == 1.0
    assert "softmax.weight" not in values
    assert {key: values[f"triplet.{key}"] for key in resolve("triplet")} == resolve("triplet")
    assert [entry.name for entry in catalog.search_space(REID, HARD)] == [
        "triplet.weight",
        "center.weight",
    ]
    key = catalog.group_key(REID, values)
    assert key == catalog.group_key(REID, resolve(REID, {"center.weight": 0.1}))
    assert key != catalog.group_key(REID, resolve(REID, {"neck": "batch_norm"}))


def test_no_name_of_the_catalog_gets_in_the_way() -> None:
    """Of ``<part>.weight``, ``neck`` and the ``+`` and ``.`` of sums."""
    for entry in [*CATALOG.values(), *(term.row for term in TERMS.values())]:
        assert "+" not in entry.name
        assert "." not in entry.name
        if not entry.parts:
            names = {parameter.name for parameter in entry.hyperparameters}
            assert not {"weight", "neck"} & names
            assert not any("." in name for name in names)


def test_sources_are_those_of_the_parts() -> None:
    def files(name: str) -> set[str]:
        return {Path(path).name for path in catalog.source_modules(name)}

    for name, parts in {REID: ("softmax", "triplet", "center"), "bag_of_tricks": ()}.items():
        assert {"sum.py", "neck.py", "class_terms.py", "center.py"} <= files(name)
        assert all(files(part) <= files(name) for part in parts)
    assert "triplet.py" not in files("softmax+center")


def test_numbers_of_the_row_are_buffers() -> None:
    for name in ("bag_of_tricks", REID, "softmax+triplet+center+contrastive"):
        state = make(name).state_dict()
        for parameter in row(name).hyperparameters:
            part, _, own = parameter.name.partition(".")
            key = f"{part}_weight" if own == "weight" else parameter.name
            assert (key in state) == (not parameter.structural)
            if not parameter.structural and parameter.name in resolve(name):
                assert state[key].item() == parameter.default


def test_value_is_the_weighted_sum() -> None:
    """On the same embeddings, with the parts' own state; the log has each part's loss."""
    embeddings, labels = batch()
    total = make(REID, {**HARD, "triplet.weight": 0.7, "center.weight": 0.02}, seed=3)
    value, log = total.compute(embeddings.requires_grad_(), labels)
    softmax = make("softmax")
    softmax.load_state_dict(total.softmax.state_dict())
    triplet = make("triplet", {"soft_margin": False, "margin": 0.3})
    centers = total.center.centers
    terms = {
        "softmax": softmax(embeddings, labels),
        "triplet": triplet(embeddings, labels),
        "center": (embeddings - centers[labels]).square().sum(dim=1).mean() / 2,
    }
    expected = terms["softmax"] + 0.7 * terms["triplet"] + 0.02 * terms["center"]
    torch.testing.assert_close(value, expected)
    for name, term in terms.items():
        torch.testing.assert_close(log[f"{name}_loss"], term.detach())
    gradients = [torch.autograd.grad(each, embeddings)[0] for each in (value, expected)]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(total.logits(embeddings), softmax.logits(embeddings))
    assert log["accuracy"] == softmax.compute(embeddings, labels)[1]["accuracy"]
    assert log["active"] == triplet.compute(embeddings, labels)[1]["active"]
    assert total.class_parameters == ("softmax.weight", "softmax.bias")


def test_parts_draw_in_their_order() -> None:
    """The classifier starts as it does alone."""
    assert torch.equal(make(REID, seed=5).softmax.weight, make("softmax", seed=5).weight)
    first, second = make("softmax+center", seed=5), make("center", seed=5)
    assert torch.equal(first.center.centers, second.centers)


def test_state_of_the_parts_moves() -> None:
    total, alone = make(REID, seed=2), make("center", seed=2)
    embeddings, labels = batch()
    total.after_step(embeddings, labels)
    alone.after_step(embeddings, labels)
    torch.testing.assert_close(total.center.centers, alone.centers)


def test_intra_and_inter_by_hand() -> None:
    """Deng et al. 2019, eq. 5 and 6, in loops; the duplicate class weight is at angle 0."""
    total = make("norm_softmax+intra+inter")
    with torch.no_grad():
        total.norm_softmax.weight[3] = total.norm_softmax.weight[1]
    embeddings, labels = batch()
    _, log = total.compute(embeddings, labels)
    points, weight = embeddings.numpy(), total.norm_softmax.weight.detach().numpy()

    def angle(first: np.ndarray, second: np.ndarray) -> float:
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        return math.acos(min(1.0, max(-1.0, cosine)))

    count, classes = len(labels), 5
    intra = sum(angle(points[i], weight[labels[i]]) for i in range(count)) / (math.pi * count)
    inter = sum(
        angle(weight[labels[i]], weight[j])
        for i in range(count)
        for j in range(classes)
        if j != labels[i]
    ) / (math.pi * count * (classes - 1))
    assert log["intra_loss"].item() == pytest.approx(intra, abs=1e-7)
    assert log["inter_loss"].item() == pytest.approx(-inter, abs=1e-7)


@pytest.mark.parametrize("name", ["intra", "inter"])
def test_gradient_of_a_term_is_the_derivative(name: str) -> None:
    total = make(f"norm_softmax+{name}")
    embeddings, labels = batch(6)
    weight = total.norm_softmax.weight.detach().requires_grad_()
    arrays = (embeddings.requires_grad_(), labels, weight)
    assert torch.autograd.gradcheck(total.part(name).measure, arrays)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_terms_are_finite_on_and_opposite_to_the_weights(dtype: torch.dtype) -> None:
    total = make("arcface+intra+inter", dtype=dtype)
    weight = total.arcface.weight
    with torch.no_grad():
        weight[1], weight[2] = weight[0], -weight[0]
    embeddings = torch.stack([weight[0], -weight[0], 0 * weight[0], weight[3]]).detach()
    value = total(embeddings.requires_grad_(), torch.tensor([0, 1, 2, 3]))
    value.backward()
    assert torch.isfinite(value)
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()
    assert torch.isfinite(weight.grad).all()


def test_terms_need_one_weight_row_per_class() -> None:
    with pytest.raises(ValueError, match="needs a part with one class weight row per class"):
        make("soft_triple+inter")


def test_neck_is_torchs_batch_norm() -> None:
    """In training, in evaluation, and over steps; the triplet part sees the plain embeddings."""
    total = make(REID, {**HARD, "neck": "batch_norm"})
    norm = BatchNorm1d(4).double()
    softmax, triplet = make("softmax"), make("triplet", {"soft_margin": False, "margin": 0.3})
    with torch.no_grad():
        total.batch_norm.gain.copy_(torch.tensor([0.5, 1.0, 2.0, 3.0]))
        norm.weight.copy_(total.batch_norm.gain)
        softmax.load_state_dict(total.softmax.state_dict())
    for step in range(3):
        embeddings, labels = batch(seed=step)
        _, log = total.compute(embeddings, labels)
        torch.testing.assert_close(log["softmax_loss"], softmax(norm(embeddings), labels).detach())
        torch.testing.assert_close(log["triplet_loss"], triplet(embeddings, labels).detach())
        torch.testing.assert_close(log["embedding_norm"], embeddings.norm(dim=1).mean())
        with torch.no_grad():
            total.after_step(embeddings, labels)
        norm.eval()
        torch.testing.assert_close(total.represent(embeddings), norm(embeddings))
        torch.testing.assert_close(total.logits(embeddings), softmax.logits(norm(embeddings)))
        norm.train()


def test_parts_after_the_neck_see_the_same_batch_after_the_step() -> None:
    """Although the optimizer has moved the neck's gain in between."""
    total = make("oim+triplet", {"neck": "batch_norm", "oim.normalize": False})
    embeddings, labels = batch()
    total.compute(embeddings, labels)
    with torch.no_grad():
        total.batch_norm.gain.add_(torch.arange(4))
        total.after_step(embeddings, labels)
    alone = make("oim", {"normalize": False})
    alone.after_step(BatchNorm1d(4).double()(embeddings).detach(), labels)
    torch.testing.assert_close(total.oim.lut, alone.lut)


def test_without_a_neck_embeddings_are_judged_as_they_are() -> None:
    embeddings, _ = batch()
    for name in ("softmax", REID):
        assert make(name).represent(embeddings) is embeddings


@each_sum
def test_stack_equals_loop(name: str, hyper: dict[str, Value]) -> None:
    """Three models with other weights and numbers: loss, log, gradients, state, judged embeddings."""
    losses = [make(name, h, seed=k) for k, h in enumerate(_varied(name, hyper, 3))]
    stack = Stack(losses)
    for step in range(2):
        batches = [batch(seed=10 * step + k) for k in range(3)]
        embeddings = torch.stack([b[0] for b in batches]).requires_grad_()
        labels = torch.stack([b[1] for b in batches])
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # vmap warns where it falls back to a loop
            values, logs = stack.call("compute", embeddings, labels)
            assert isinstance(values, Tensor)
            values.sum().backward()
            with torch.no_grad():
                stack.call("after_step", embeddings.detach(), labels)
        judged = stack.call("represent", embeddings.detach())
        for k, loss in enumerate(losses):
            alone = batches[k][0].clone().requires_grad_()
            value, log = loss.compute(alone, labels[k])
            value.backward()
            with torch.no_grad():
                loss.after_step(alone.detach(), labels[k])
            torch.testing.assert_close(values[k], value)
            assert embeddings.grad is not None
            torch.testing.assert_close(embeddings.grad[k], alone.grad)
            torch.testing.assert_close(judged[k], loss.represent(alone.detach()))
            for key in log:
                torch.testing.assert_close(logs[key][k], log[key], msg=key)
            for key, parameter in loss.named_parameters():
                torch.testing.assert_close(
                    stack.parameters[f"loss.{key}"].grad[k] / (step + 1),
                    parameter.grad / (step + 1),
                    msg=key,
                )
            for key, buffer in loss.named_buffers():
                torch.testing.assert_close(stack.buffers[f"loss.{key}"][k], buffer, msg=key)


def _varied(name: str, hyper: dict[str, Value], count: int) -> list[dict[str, Value]]:
    """As `varied`, for a sum that the catalog does not list."""
    stack = []
    for k in range(count):
        values = resolve(name, hyper)
        for parameter in row(name).hyperparameters:
            if not parameter.structural and parameter.name in values and not parameter.choices:
                values[parameter.name] = float(values[parameter.name]) * (1 - 0.2 * k)
        stack.append(resolve(name, values))
    return stack


@each_sum
def test_state_resumes_exactly(name: str, hyper: dict[str, Value]) -> None:
    first = make(name, hyper, seed=1)

    def advance(loss: Sum, seed: int) -> Tensor:
        embeddings, labels = batch(seed=seed)
        value: Tensor = loss(embeddings, labels)
        with torch.no_grad():
            loss.after_step(embeddings, labels)
        return value.detach()

    advance(first, 0)
    second = make(name, hyper, seed=2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in (1, 2):
        assert torch.equal(advance(first, seed), advance(second, seed))


def test_bag_of_tricks_is_the_sum_with_its_settings() -> None:
    given = {**HARD, "center.reduction": "sum", "center.weight": 5e-4, "neck": "batch_norm"}
    assert resolve("bag_of_tricks") == resolve(REID, given)
    embeddings, labels = batch()
    values = [
        make(name, resolve(REID, given))(embeddings, labels) for name in (REID, "bag_of_tricks")
    ]
    assert values[0] == values[1]
    code = resolve("bag_of_tricks", {"preset": "code"})
    assert (code["center.update"], code["center.weight"]) == ("gradient", 1e-3)
    assert set(varied("bag_of_tricks", {}, 2)[1]) == set(resolve("bag_of_tricks"))
