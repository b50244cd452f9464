"""The stack: K experiments as one batched computation.

Backbones and losses are written for one model and run for K at once (`benchmarks.stacked`). Since no model's loss
depends on another's parameters, one backward pass through the sum of the losses gives each model its own gradient.
Losses of one kind run as one group; a group is a slice of the stack.

On a CPU one model keeps a core busy, and the kernels for one are faster than those for many. There the backbones run
one after the other, and the stack goes forward and backward in parts, so that what waits for the backward pass stays
small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function

from benchmarks.backbones import build_backbone
from benchmarks.data import TrainingData
from benchmarks.experiment import Experiment
from benchmarks.layers import Patches
from benchmarks.optim import Slot, StackedOptimizer
from benchmarks.seeds import stream_seed
from benchmarks.stacked import ALL, LoopedModule, Modules, StackedModule, State
from losses import catalog
from losses.base import Loss
from losses.build import build as build_loss

PART = 8  # models that go forward and backward together on a CPU


class LossGroup:
    """The members of a stack whose losses are equal but for their numbers; a slice of the stack."""

    def __init__(
        self,
        losses: list[Any],
        members: slice,
        device: torch.device,
        dtype: torch.dtype,
        *,
        stacked: bool = True,
    ) -> None:
        self.members, self.size = members, len(losses)
        for loss in losses:
            _check_parameters(loss)
        self.kind: str = losses[0].kind
        self.class_parameters: tuple[str, ...] = losses[0].class_parameters
        self.stacked: Modules = (StackedModule if stacked else LoopedModule)(losses, device, dtype)
        self.updates = type(losses[0]).after_step is not Loss.after_step
        self.waits: bool = losses[0].waits
        self.represents = type(losses[0]).represent is not Loss.represent
        self.logged: tuple[str, ...] = ()  # names that the loss logs, known after the first step
        # Where class weights stood at the start: a run whose weights do not move has lost its optimizer.
        self.initial = {name: self._watched(name).clone() for name in self.class_parameters}

    def weights_moved(self) -> Tensor | None:
        """How far the class weights are from where they began, relative to their norm then: (k,), None without any."""
        if not self.initial:
            return None
        moved = sum(
            (self._watched(name) - start).reshape(len(start), -1).square().sum(1)
            for name, start in self.initial.items()
        )
        began = sum(
            start.reshape(len(start), -1).square().sum(1) for start in self.initial.values()
        )
        return (torch.as_tensor(moved) / torch.as_tensor(began)).sqrt()

    def _watched(self, name: str) -> Tensor:
        """A class parameter, evenly spaced rows of it where classes are many: (k, at most 4,096, ...)."""
        tensor = self.stacked.parameters[name].detach()
        return tensor[:, :: -(-tensor.shape[1] // 4096)]


class Stack:
    """K experiments of one layout, ready to take steps together.

    Parameters
    ----------
    experiments : of one layout (`Experiment.layout`); kept in the order of their loss groups in the attribute
        `experiments`; `size` is their number.
    num_classes : C, the known classes.
    channels, image_size : of the images.
    device : where to compute.
    dtype : float32, or float64 for tests of exactness.
    looped : backbones one after the other, in parts of `PART` models; else all at once. None: the former on a CPU.
    """

    def __init__(
        self,
        experiments: list[Experiment],
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        looped: bool | None = None,
    ) -> None:
        self.experiments = sorted(experiments, key=lambda item: (str(item.loss_group), item.id))
        self.size = len(experiments)
        self.device, self.dtype = device, dtype
        first = self.experiments[0]
        self.recipe = first.recipe
        self.amp = first.recipe["precision"] == "bfloat16"
        options = dict(first.backbone)
        backbones = [
            build_backbone(
                options["name"],
                channels=channels,
                image_size=image_size,
                embedding_dim=options["embedding_dim"],
                embedding_norm=options["embedding_norm"],
                activation=options["activation"],
                generator=_generator("init", item.seed),
            )
            for item in self.experiments
        ]
        self.looped = device.type == "cpu" if looped is None else looped
        kind = LoopedModule if self.looped else StackedModule
        self.backbone: Modules = kind(backbones, device, dtype)
        self.streams = sorted({item.stream for item in self.experiments})
        self.stream_numbers = [self.streams.index(item.stream) for item in self.experiments]
        self.stream_of = torch.tensor(self.stream_numbers, device=device)
        self.class_shape = (num_classes, options["embedding_dim"])
        self.groups = self._groups(*self.class_shape)
        self.parts = self._parts()
        self.optimizer = self._optimizer()
        self._check_reached()

    @classmethod
    def for_data(cls, experiments: list[Experiment], data: TrainingData) -> Stack:
        """A stack for these images and known classes, where they lie."""
        _, channels, image_size, _ = data.images.shape
        return cls(
            experiments,
            num_classes=data.num_classes,
            channels=channels,
            image_size=image_size,
            device=data.device,
            dtype=data.dtype,
        )

    def _groups(self, num_classes: int, embedding_dim: int) -> list[LossGroup]:
        groups: list[LossGroup] = []
        start = 0
        for stop in range(1, len(self.experiments) + 1):
            if (
                stop < len(self.experiments)
                and self.experiments[stop].loss_group == self.experiments[start].loss_group
                and not (self.looped and stop - start == PART)
            ):
                continue
            losses = [
                build_loss(
                    item.loss["name"],
                    item.loss["hyperparameters"],
                    num_classes=num_classes,
                    embedding_dim=embedding_dim,
                    label_smoothing=item.recipe["label_smoothing"],
                    weight_norm=item.recipe["class_weight_norm"],
                    class_sampling=item.recipe["class_sampling"],
                    generator=_generator("head", item.seed, item.loss["name"]),
                )
                for item in self.experiments[start:stop]
            ]
            stacked = catalog.row(self.experiments[start].loss["name"]).stacked
            members = slice(start, stop)
            groups.append(LossGroup(losses, members, self.device, self.dtype, stacked=stacked))
            start = stop
        return groups

    def _parts(self) -> list[list[LossGroup]]:
        """The groups that go forward and backward together: on a CPU at most `PART` models, else all."""
        parts: list[list[LossGroup]] = []
        for group in self.groups:
            if not parts or (
                self.looped and group.members.stop - parts[-1][0].members.start > PART
            ):
                parts.append([])
            parts[-1].append(group)
        return parts

    def _optimizer(self) -> StackedOptimizer:
        everyone = slice(0, len(self.experiments))
        slots = [
            Slot(tensor, everyone, tensor.dim() > 2, False)
            for tensor in self.backbone.parameters.values()
        ]
        for group in self.groups:
            # Biases and scales (one-dimensional in one model) are not decayed.
            slots += [
                Slot(tensor, group.members, tensor.dim() > 2, name in group.class_parameters)
                for name, tensor in group.stacked.parameters.items()
            ]

        def each(key: str) -> Tensor:
            values = [float(item.recipe[key]) for item in self.experiments]
            return torch.tensor(values, device=self.device, dtype=self.dtype)

        clips = any(item.recipe["clip_norm"] > 0 for item in self.experiments)
        return StackedOptimizer(
            self.recipe["optimizer"],
            slots,
            learning_rate=each("learning_rate"),
            weight_decay=each("weight_decay"),
            class_learning_rate=each("class_learning_rate"),
            clip_norm=each("clip_norm") if clips else None,
            momentum=self.recipe["momentum"],
        )

    def _check_reached(self) -> None:
        """Every parameter of every backbone and loss is one that the optimizer moves."""
        reached = {id(slot.parameter) for slot in self.optimizer.slots}
        for stacked in [self.backbone, *(group.stacked for group in self.groups)]:
            for name, parameter in stacked.parameters.items():
                if id(parameter) not in reached or not parameter.requires_grad:
                    raise ValueError(
                        f"{stacked.name}.{name}: the optimizer does not have this parameter"
                    )

    def step(self, images: Tensor, labels: Tensor, factor: float | Tensor) -> dict[str, Tensor]:
        """One optimizer step of every member.

        Parameters
        ----------
        images : (S, B, C, H, W) in [0, 1], a batch for each of the S streams.
        labels : (S, B), positions in the known classes.
        factor : of the learning-rate schedule.

        Returns
        -------
        What is logged, by name, (K,) each, NaN for members whose loss does not have it; not synchronised with the host.
        """
        inputs, own_labels, logged = self.update(images, labels, factor)
        self.settle(inputs, own_labels)
        return logged

    def update(
        self, images: Tensor, labels: Tensor, factor: float | Tensor
    ) -> tuple[list[Tensor], Tensor, dict[str, Tensor]]:
        """All of a step that never waits for the device: each group's embeddings, the labels (K, B), what is logged."""
        self.backbone.template.train()
        with record_function("backbone forward"):
            patches = [self._patches(batch) for batch in images]
        own_labels = labels[self.stream_of]  # (K, B)
        inputs: list[Tensor] = []  # embeddings and labels of each group
        results: list[tuple[Tensor, dict[str, Tensor]]] = []
        for groups in self.parts:
            some = slice(groups[0].members.start, groups[-1].members.stop)
            with record_function("backbone forward"):
                embeddings = self._embed(patches, some)  # (k, B, D)
            with record_function("heads"):
                ends = embeddings.detach().requires_grad_()
                own = ends.split([group.size for group in groups])
                found = [
                    group.stacked.call(values, own_labels[group.members], method="compute")
                    for group, values in zip(groups, own, strict=True)
                ]
                torch.cat([loss for loss, _ in found]).sum().backward()
            with record_function("backbone backward"):
                assert ends.grad is not None
                # As `embeddings.backward(ends.grad)`, which imports SymPy first: half a second.
                (embeddings * ends.grad).sum().backward()
            inputs += [values.detach() for values in own]
            results += found
        with record_function("optimizer"):
            self.optimizer.step(factor)
        self._after_step(inputs, own_labels, waiting=False)
        losses = torch.cat([loss.detach() for loss, _ in results])
        logs = self._logs([log for _, log in results], losses)
        return inputs, own_labels, {"loss": losses, **logs}

    def rehearse(self, images: Tensor) -> None:
        """Forward and backward of the backbones alone; changes their running statistics and nothing else."""
        self.backbone.template.train()
        self._embed([self._patches(batch) for batch in images]).sum().backward()
        self.optimizer.drop_gradients()

    def settle(self, inputs: list[Tensor], own_labels: Tensor) -> None:
        """The end of a step: the `after_step` of losses whose own waits for the device, on what `update` returned."""
        self._after_step(inputs, own_labels, waiting=True)

    @torch.no_grad()
    def _after_step(self, inputs: list[Tensor], own_labels: Tensor, *, waiting: bool) -> None:
        for group, values in zip(self.groups, inputs, strict=True):
            if group.updates and group.waits == waiting:
                group.stacked.call(values, own_labels[group.members], method="after_step")

    def _patches(self, images: Tensor) -> Patches:
        """What backbones share of a batch (B, C, H, W)."""
        return self.backbone.first.patches(images)

    def _embed(self, patches: list[Patches], members: slice = ALL) -> Tensor:
        """The patches of each stream, or of all → embeddings of `members` (k, B, D), float32 or float64."""
        shared = len(patches) == 1
        each = [patches[0 if shared else stream] for stream in self.stream_numbers[members]]
        own = list(zip(*each, strict=True))  # what the models get, argument by argument
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            if isinstance(self.backbone, LoopedModule):
                embeddings = self.backbone.call(*own, method="embed", members=members)
            elif shared:
                embeddings = self.backbone.call(*patches[0], method="embed", shared=True)
            else:
                embeddings = self.backbone.call(*map(torch.stack, own), method="embed")
        return embeddings if embeddings.dtype == torch.float64 else embeddings.float()

    def _logs(self, logs: list[dict[str, Tensor]], losses: Tensor) -> dict[str, Tensor]:
        merged: dict[str, Tensor] = {"non_finite": (~torch.isfinite(losses)).to(losses.dtype)}
        for group, log in zip(self.groups, logs, strict=True):
            group.logged = tuple(log)
            for name, values in log.items():
                merged.setdefault(name, torch.full_like(losses, math.nan))[group.members] = (
                    values.detach().to(losses.dtype)
                )
        return merged

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """The backbones' embeddings of images (B, C, H, W), in evaluation mode: (K, B, D)."""
        self.backbone.template.eval()
        return self._embed([self._patches(images.to(self.dtype))])

    @torch.no_grad()
    def judged(self, embeddings: Tensor) -> Tensor:
        """The embeddings that are judged (K, B, D), from those of `embed`; they differ where a loss has a neck."""
        return torch.cat(
            [
                group.stacked.call(embeddings[group.members], method="represent")
                if group.represents
                else embeddings[group.members]
                for group in self.groups
            ]
        )

    @torch.no_grad()
    def logits(self, embeddings: Tensor) -> dict[int, Tensor]:
        """Margin-free scores (B, C) of each member that has a classifier, from `embed`'s embeddings (K, B, D)."""
        scores: dict[int, Tensor] = {}
        for group in self.groups:
            if group.kind != "embedding":
                found = group.stacked.call(embeddings[group.members], method="logits")
                scores.update(
                    zip(range(group.members.start, group.members.stop), found, strict=True)
                )
        return scores

    def class_weights(self) -> list[Tensor | None]:
        """Each member's class weights (C, D) in the space of the judged embeddings; None where it has none such.

        Several centers a class have no one direction. Behind a neck weights and judged embeddings are of one space.
        """
        weights: list[Tensor | None] = []
        for group in self.groups:
            count = group.members.stop - group.members.start
            tables = [group.stacked.parameters[name].detach() for name in group.class_parameters]
            tables = [table for table in tables if table.shape[1:] == self.class_shape]
            weights += list(tables[0]) if tables else [None] * count
        return weights

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs to go on exactly."""
        return {
            "backbone": self.backbone.state(),
            "losses": [group.stacked.state() for group in self.groups],
            "optimizer": self.optimizer.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.backbone.restore(state["backbone"])
        for group, stored in zip(self.groups, state["losses"], strict=True):
            group.stacked.restore(stored)
        self.optimizer.restore(state["optimizer"])

    def weights_moved(self) -> list[float | None]:
        """For each member how far its class weights moved (`LossGroup.weights_moved`), None without any."""
        moved: list[float | None] = []
        for group in self.groups:
            values = group.weights_moved()
            moved += (
                [None] * (group.members.stop - group.members.start)
                if values is None
                else values.tolist()
            )
        return moved

    def finite(self) -> list[bool]:
        """For each member whether all its parameters and buffers are finite."""
        count = len(self.experiments)
        good = torch.ones(count, dtype=torch.bool, device=self.device)
        for stacked, members in [
            (self.backbone, slice(0, count)),
            *((group.stacked, group.members) for group in self.groups),
        ]:
            for tensor in [*stacked.parameters.values(), *stacked.buffers.values()]:
                good[members] &= torch.isfinite(tensor.detach()).reshape(len(tensor), -1).all(1)
        return good.tolist()

    def member_state(self, index: int) -> State:
        """Parameters and buffers of one member, on the CPU: ``backbone.…`` and ``loss.…``."""
        return {
            f"{part}.{name}": tensor
            for part, stacked, place in self._modules_of(index)
            for name, tensor in stacked.one(place).items()
        }

    def training_state(self, index: int) -> dict[str, Any]:
        """All that one member needs to go on exactly in another stack; copies, on the CPU."""
        # Copied, since one member's tensors may be views, which are saved with all of the stack behind them.
        tensors = {name: tensor.clone() for name, tensor in self.member_state(index).items()}
        return {"tensors": tensors, "optimizer": self.optimizer.member_state(index)}

    @torch.no_grad()
    def restore_member(self, index: int, state: Mapping[str, Any]) -> None:
        """Inverse of `training_state`, of the same experiment."""
        for part, stacked, place in self._modules_of(index):
            for name, tensor in {**stacked.parameters, **stacked.buffers}.items():
                tensor[place].copy_(state["tensors"][f"{part}.{name}"])
        self.optimizer.restore_member(index, state["optimizer"])

    def _modules_of(self, index: int) -> list[tuple[str, Modules, int]]:
        """A member's backbone and loss, each with the member's place among the modules stacked there."""
        (group,) = (
            group for group in self.groups if group.members.start <= index < group.members.stop
        )
        return [
            ("backbone", self.backbone, index),
            ("loss", group.stacked, index - group.members.start),
        ]


def _check_parameters(loss: nn.Module) -> None:
    """Tensors that are to be learned, but in a place where no optimizer finds them, are an error."""
    known = {id(parameter) for parameter in loss.parameters()}
    for place, module in loss.named_modules():
        for name, value in vars(module).items():
            held = list(value.values()) if isinstance(value, dict) else value
            items = held if isinstance(held, list | tuple) else [held]
            if any(
                isinstance(item, Tensor) and item.requires_grad and id(item) not in known
                for item in items
            ):
                where = ".".join(filter(None, (type(loss).__name__, place, name)))
                raise ValueError(
                    f"{where}: wants a gradient but is no registered parameter, so the optimizer cannot move it"
                )


def _generator(stream: str, seed: int, *coordinates: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(stream, seed, *coordinates))
