"""What a model becomes does not depend on its neighbours, and is what a plain training loop makes of it."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from benchmarks import data as data_module
from benchmarks.backbones import build_backbone
from benchmarks.data import TrainingData
from benchmarks.experiment import Experiment
from benchmarks.optim import Slot, StackedOptimizer, schedule
from benchmarks.seeds import stream_seed
from benchmarks.stack import Stack
from benchmarks.stacked import LoopedModule, StackedModule
from datasets.errors import DataError
from losses.build import build
from losses.softmax import Softmax
from tests.benchmarks import tiny

CPU = torch.device("cpu")
STEPS = 20


def make(
    experiments: list[Experiment], dtype: torch.dtype, looped: bool | None = None
) -> tuple[Stack, TrainingData]:
    image_set = tiny.images()
    data = TrainingData(image_set, experiments, CPU, dtype)
    size = image_set.images.shape[-1]
    stack = Stack(
        experiments,
        num_classes=data.num_classes,
        channels=1,
        image_size=size,
        device=CPU,
        dtype=dtype,
        looped=looped,
    )
    return stack, data


def steps(stack: Stack, data: TrainingData, count: int = STEPS) -> None:
    done, epoch = 0, 0
    while done < count:
        epoch += 1
        for images, labels in data.batches(stack.streams, epoch):
            stack.step(images, labels, 1.0)
            done += 1
            if done == count:
                return


def states(stack: Stack) -> dict[str, dict[str, torch.Tensor]]:
    return {item.id: stack.member_state(index) for index, item in enumerate(stack.experiments)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alone_and_in_a_stack_of_nine_different_neighbours(dtype: torch.dtype) -> None:
    """Equal to the bit on a CPU, where 1e-5 (float32) and 1e-10 (float64) are asked for."""
    stack, data = make(tiny.neighbours(), dtype)
    steps(stack, data)
    together = states(stack)
    for members in [*([item] for item in tiny.neighbours()), tiny.neighbours()[2:6]]:
        alone, own_data = make(members, dtype)
        steps(alone, own_data)
        for item in members:
            for name, tensor in states(alone)[item.id].items():
                assert torch.equal(tensor, together[item.id][name]), (len(members), item.id, name)


def test_one_after_the_other_equals_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of three that cut through a group and a stream; the vmapped backbones of a GPU, on a CPU in float64."""
    monkeypatch.setattr("benchmarks.stack.PART", 3)
    looped, data = make(tiny.neighbours(), torch.float64)
    together, _ = make(tiny.neighbours(), torch.float64, looped=False)
    assert len(looped.parts) > 3 > len(together.parts) == 1
    assert max(group.size for group in looped.groups) <= 3
    for images, labels in data.batches(looped.streams, 1):
        first, second = (stack.step(images, labels, 0.5) for stack in (looped, together))
        assert first.keys() == second.keys()
        for name, values in first.items():
            torch.testing.assert_close(second[name], values, rtol=1e-9, atol=1e-11, equal_nan=True)
    images = next(data.images_at(data.all_rows()))
    torch.testing.assert_close(together.embed(images), looped.embed(images), rtol=1e-8, atol=1e-10)
    for identity, tensors in states(looped).items():
        for name, tensor in tensors.items():
            found = states(together)[identity][name]
            torch.testing.assert_close(found, tensor, rtol=1e-8, atol=1e-10, msg=name)


def test_a_diverging_neighbour_leaves_the_others_untouched() -> None:
    items = tiny.neighbours()
    stack, data = make(items, torch.float32)
    bad = next(
        index for index, item in enumerate(stack.experiments) if item.loss["name"] == "cosface"
    )
    steps(stack, data)
    clean = states(stack)

    poisoned, data = make(items, torch.float32)
    with torch.no_grad():
        poisoned.backbone.parameters["embedding.weight"][bad] = torch.nan
    steps(poisoned, data)
    assert poisoned.finite() == [index != bad for index in range(len(items))]
    for index, item in enumerate(poisoned.experiments):
        if index != bad:
            for name, tensor in poisoned.member_state(index).items():
                assert torch.equal(tensor, clean[item.id][name]), (item.id, name)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_equals_a_plain_training_loop(optimizer: str) -> None:
    """The same experiment with an ordinary module, torch.optim and autograd."""
    item = tiny.experiment(
        "cosface",
        {"margin": 0.2, "scale": 16},
        optimizer=optimizer,
        learning_rate=0.01,
        clip_norm=0.7,
    )
    stack, data = make([item], torch.float64)
    generator = torch.Generator().manual_seed(stream_seed("init", item.seed))
    backbone = build_backbone(
        channels=1, image_size=12, generator=generator, **item.backbone
    ).double()
    head = torch.Generator().manual_seed(stream_seed("head", item.seed, "cosface"))
    loss = build(
        "cosface",
        item.loss["hyperparameters"],
        num_classes=data.num_classes,
        embedding_dim=8,
        generator=head,
    ).double()

    decay = [parameter for parameter in backbone.parameters() if parameter.dim() > 1]
    plain = [parameter for parameter in backbone.parameters() if parameter.dim() <= 1]
    rate, weight_decay = item.recipe["learning_rate"], item.recipe["weight_decay"]
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
        {
            "params": list(loss.parameters()),
            "weight_decay": weight_decay,
            "lr": rate * item.recipe["class_learning_rate"],
        },
    ]
    if optimizer == "sgd":
        reference: torch.optim.Optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    else:
        reference = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999))
    base = [group["lr"] for group in reference.param_groups]
    for step, (images, labels) in enumerate(data.batches(stack.streams, 1)):
        factor = schedule(item.recipe, step, data.steps_per_epoch)
        stack.step(images, labels, factor)
        for group, value in zip(reference.param_groups, base, strict=True):
            group["lr"] = value * factor
        reference.zero_grad()
        value = loss(backbone(images[0]), labels[0])
        value.backward()
        torch.nn.utils.clip_grad_norm_([*backbone.parameters(), *loss.parameters()], 0.7)
        reference.step()
    expected = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    expected |= {f"loss.{name}": tensor for name, tensor in loss.state_dict().items()}
    found = stack.member_state(0)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-9, atol=1e-12, msg=name)


def test_state_goes_on_exactly() -> None:
    """k steps, state, restore into a fresh stack, n - k steps: the same bits as n steps."""
    stack, data = make(tiny.neighbours(), torch.float32)
    for images, labels in data.batches(stack.streams, 1):
        stack.step(images, labels, 1.0)
    kept = copy.deepcopy(stack.state())
    other, _ = make(tiny.neighbours(), torch.float32)
    other.restore(kept)
    for images, labels in data.batches(stack.streams, 2):
        stack.step(images, labels, 0.5)
        other.step(images, labels, 0.5)
    for name, tensors in states(stack).items():
        for key, tensor in tensors.items():
            assert torch.equal(tensor, states(other)[name][key]), (name, key)


def test_bfloat16_keeps_heads_in_float32() -> None:
    items = [
        tiny.experiment("arcface", {"margin": 0.3, "scale": 16}, precision="bfloat16"),
        tiny.experiment("softmax", precision="bfloat16"),
    ]
    stack, data = make(items, torch.float32)
    images, labels = next(iter(data.batches(stack.streams, 1)))
    logged = stack.step(images, labels, 1.0)
    assert logged["loss"].dtype == torch.float32
    assert torch.isfinite(logged["loss"]).all()
    assert all(tensor.dtype == torch.float32 for tensor in stack.backbone.parameters.values())


def test_losses_of_one_seed_share_backbone_batches_and_augmentation() -> None:
    stack, data = make(
        [
            tiny.experiment("softmax"),
            tiny.experiment("arcface"),
            tiny.experiment("softmax", seed=1),
        ],
        torch.float32,
    )
    weights = {
        (item.loss["name"], item.seed): stack.member_state(index)["backbone.embedding.weight"]
        for index, item in enumerate(stack.experiments)
    }
    assert torch.equal(weights["softmax", 0], weights["arcface", 0])
    assert not torch.equal(weights["softmax", 0], weights["softmax", 1])
    assert stack.streams == [(0, "shuffled"), (1, "shuffled")]
    first, _ = next(iter(data.batches(stack.streams, 1)))
    again, _ = next(iter(data.batches(stack.streams, 1)))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])


def test_peers_in_a_stack_and_alone() -> None:
    """Model by model, and the same bits whoever the neighbours are."""
    pytest.importorskip("pytorch_metric_learning")
    stack, data = make(tiny.peers(), torch.float32)
    assert sum(isinstance(group.stacked, LoopedModule) for group in stack.groups) == 4
    steps(stack, data)
    together = states(stack)
    assert all(moved is None or moved > 0 for moved in stack.weights_moved())
    for members in [*([item] for item in tiny.peers()), tiny.peers()[1:4]]:
        alone, own_data = make(members, torch.float32)
        steps(alone, own_data)
        for item in members:
            for name, tensor in states(alone)[item.id].items():
                assert torch.equal(tensor, together[item.id][name]), (item.id, name)


def test_peers_go_on_exactly() -> None:
    pytest.importorskip("pytorch_metric_learning")
    stack, data = make(tiny.peers(), torch.float32)
    for images, labels in data.batches(stack.streams, 1):
        stack.step(images, labels, 1.0)
    kept = copy.deepcopy(stack.state())
    other, _ = make(tiny.peers(), torch.float32)
    other.restore(kept)
    for images, labels in data.batches(stack.streams, 2):
        stack.step(images, labels, 0.5)
        other.step(images, labels, 0.5)
    for name, tensors in states(stack).items():
        for key, tensor in tensors.items():
            assert torch.equal(tensor, states(other)[name][key]), (name, key)


def test_model_by_model_equals_stacked() -> None:
    """A loss with parameters, numbers and moving state, both ways."""
    hyper = [{"center_weight": 0.1}, {"center_weight": 1.0, "center_rate": 0.1}]
    losses = [
        build(
            "center",
            given,
            num_classes=5,
            embedding_dim=4,
            generator=torch.Generator().manual_seed(index),
        )
        for index, given in enumerate(hyper)
    ]
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 12, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 12), generator=generator)
    found = []
    for kind in (StackedModule, LoopedModule):
        stacked = kind(losses, CPU, torch.float64)
        x = embeddings.clone().requires_grad_()
        value, log = stacked.call(x, labels, method="compute")
        value.sum().backward()
        with torch.no_grad():
            nothing = stacked.call(embeddings, labels, method="after_step")
        assert nothing == ()
        scores = stacked.call(embeddings, method="logits")
        if isinstance(stacked, StackedModule):
            shared = stacked.call(embeddings[0], method="logits", shared=True)
            assert torch.equal(shared[0], scores[0])
        gradients = {name: item.grad for name, item in stacked.parameters.items()}
        found.append({"value": value, "x": x.grad, "scores": scores, **log, **gradients})
        found[-1] |= {f"state {name}": item for name, item in stacked.buffers.items()}
    assert found[0].keys() == found[1].keys()
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-12, atol=1e-14, msg=name)


def test_weights_that_a_peer_rewrites_stay_in_the_stack() -> None:
    """P2SGrad scales its class weights to length 1 in every forward pass."""
    pytest.importorskip("pytorch_metric_learning")
    losses = [build("pml:P2SGradLoss", num_classes=5, embedding_dim=4) for _ in range(2)]
    stacked = LoopedModule(losses, CPU, torch.float64)
    with torch.no_grad():
        stacked.parameters["theirs.weight"].mul_(3)
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 6), generator=generator)
    stacked.call(embeddings, labels, method="compute")[0].sum().backward()
    weight = stacked.parameters["theirs.weight"]
    torch.testing.assert_close(weight.detach().norm(dim=1), torch.ones_like(weight[:, 0]))
    assert weight.grad is not None
    assert (weight.grad.reshape(2, -1).norm(dim=1) > 0).all()


class Forgetful(Softmax):
    """Keeps a tensor that is to be learned where no optimizer looks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rows = [torch.zeros(self.embedding_dim, requires_grad=True)]


def test_a_forgotten_parameter_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "benchmarks.stack.build_loss",
        lambda *_, num_classes, embedding_dim, **__: Forgetful(num_classes, embedding_dim),
    )
    with pytest.raises(ValueError, match=r"Forgetful\.rows: .* the optimizer cannot move it"):
        make([tiny.experiment("softmax")], torch.float32)


def test_a_parameter_without_a_slot_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(StackedOptimizer):
        def __init__(self, kind: str, slots: list[Slot], **options: Any) -> None:
            super().__init__(kind, slots[:-1], **options)

    monkeypatch.setattr("benchmarks.stack.StackedOptimizer", Careless)
    with pytest.raises(ValueError, match=r"Softmax\.bias: the optimizer does not have this"):
        make([tiny.experiment("softmax")], torch.float32)


def sums() -> list[Experiment]:
    reid = "softmax+triplet+center"
    hinge = {"triplet.soft_margin": False, "triplet.margin": 0.2}
    return [
        tiny.experiment(reid, {**hinge, "center.weight": 0.01}),
        tiny.experiment(reid, {**hinge, "center.weight": 0.5, "center.rate": 0.1}, seed=1),
        tiny.experiment("bag_of_tricks", label_smoothing=0.1),
        tiny.experiment("bag_of_tricks", {"center.weight": 0.01}, seed=1),
        tiny.experiment("arcface+intra+inter", {"arcface.scale": 16}),
        tiny.experiment("oim"),
        tiny.experiment("oim", {"momentum": 0.1, "temperature": 0.2}, seed=1),
        tiny.experiment("oim", {"queue_size": 3}),
        tiny.experiment("center", {"update": "gradient", "center_weight": 0.5}),
    ]


def test_sums_and_memories_in_a_stack_and_alone() -> None:
    """To the bit, whoever the neighbours are; OIM has no parameters, and class weights move."""
    stack, data = make(sums(), torch.float32)
    steps(stack, data)
    together = states(stack)
    assert all(stack.finite())
    for item, moved in zip(stack.experiments, stack.weights_moved(), strict=True):
        assert (moved is None) == (item.loss["name"] == "oim")
        assert moved is None or moved > 0
    for members in [*([item] for item in sums()), sums()[1:6]]:
        alone, own_data = make(members, torch.float32)
        steps(alone, own_data)
        for item in members:
            for name, tensor in states(alone)[item.id].items():
                assert torch.equal(tensor, together[item.id][name]), (item.id, name)


def test_a_neck_changes_what_is_judged_and_is_not_applied_twice() -> None:
    stack, data = make(sums(), torch.float32)
    steps(stack, data, 3)
    (images,) = list(data.images_at(data.all_rows()))[:1]
    embeddings = stack.embed(images)
    judged, scores = stack.judged(embeddings), stack.logits(embeddings)
    for index, item in enumerate(stack.experiments):
        state = stack.member_state(index)
        if item.loss["name"] != "bag_of_tricks":
            assert torch.equal(judged[index], embeddings[index])
            continue
        mean, variance, gain = (
            state[f"loss.batch_norm.{name}"] for name in ("mean", "variance", "gain")
        )
        expected = (embeddings[index] - mean) / (variance + 1e-5).sqrt() * gain
        torch.testing.assert_close(judged[index], expected)
        weight, bias = (state[f"loss.softmax.{name}"] for name in ("weight", "bias"))
        torch.testing.assert_close(scores[index], expected @ weight.T + bias)


def test_images_of_unknown_classes_are_no_training_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would silently get the label of a neighbour."""
    whole = data_module.split_of

    def spoiled(*arguments: Any) -> Any:
        split = whole(*arguments)
        return dataclasses.replace(split, known_classes=split.known_classes[1:])

    monkeypatch.setattr(data_module, "split_of", spoiled)
    with pytest.raises(DataError, match=r"training images of classes .*not known classes"):
        make([tiny.experiment("softmax")], torch.float32)
