"""Any loss of pytorch-metric-learning as one of ours: ``losses.pml:TripletMarginLoss``.

The classes are made when they are asked for; `losses.peers` says which there are.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import torch
from pytorch_metric_learning import losses
from torch import Tensor

from losses.base import Log, Loss
from losses.functional import unit_rows
from losses.peers import NONE, PREFIX, Peer, describe
from losses.schema import CatalogError, Value

# Parameters with a row a class, or several, and the axis of the embedding.
_WEIGHTS = {"W": 0, "fc": 0, "weight": 0, "proxies": 1}


def __getattr__(name: str) -> type[PMLLoss]:
    """The class of one loss of the package."""
    try:
        return _make(name)
    except CatalogError as error:
        raise AttributeError(str(error)) from error


@cache
def _make(name: str) -> type[PMLLoss]:
    peer = describe(PREFIX + name)
    base = PMLClassifier if peer.has_classes else PMLLoss
    return type(name, (base,), {"peer": peer, "__doc__": f"{name} of pytorch-metric-learning."})


class PMLLoss(Loss):
    """A loss of pytorch-metric-learning over pairs or triplets, with its own reduction.

    No miner: all pairs or triplets of the batch, as the class takes them. ``active`` counts the
    samples that have both another of their class and one of another class in the batch.

    Parameters
    ----------
    num_classes, embedding_dim : int
    values : of the keyword arguments; ``"none"`` where one is to be None.
    """

    kind: ClassVar[str] = "embedding"
    peer: ClassVar[Peer]

    def __init__(self, num_classes: int, embedding_dim: int, **values: Value) -> None:
        super().__init__(num_classes, embedding_dim)
        given: dict[str, Any] = {
            "num_classes": num_classes,
            "embedding_size": embedding_dim,
            "descriptors_dim": embedding_dim,
        }
        self.arguments = {key: given[key] for key in self.peer.experiment} | {
            key: None if value == NONE else value for key, value in values.items()
        }
        self.theirs: Any = self._build(0)

    def _build(self, seed: int) -> Any:
        """Their loss with parameters drawn from a seed; the global generator is left as it was.

        Raises
        ------
        CatalogError
            The class does not take these arguments.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            try:
                return getattr(losses, self.peer.name)(**self.arguments)
            except (AssertionError, TypeError, ValueError, ArithmeticError) as error:
                shown = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
                name = PREFIX + self.peer.name
                problem = f"{name}({shown}): {error or type(error).__name__}"
                raise CatalogError(problem, key="loss", value=name) from error

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters as the class does, from a seed that the generator gives."""
        device = "cpu" if generator is None else generator.device
        seed = torch.randint(2**62, (), generator=generator, device=device)
        fresh = self._build(int(seed))
        for own, new in zip(self.theirs.parameters(), fresh.parameters(), strict=True):
            own.copy_(new)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        if self.peer.name == "SmoothAPLoss":  # it wants the classes in blocks
            order = labels.argsort(stable=True)
            value = self.theirs(embeddings[order], labels[order])
        else:
            value = self.theirs(embeddings, labels)
        # Some of them return a sum of one element, or of none, in other shapes.
        return value.reshape(()).to(embeddings.dtype), self.log(embeddings.detach(), labels)

    @torch.no_grad()
    def log(self, embeddings: Tensor, labels: Tensor) -> Log:
        """What to log about a batch."""
        same = labels.unsqueeze(1) == labels
        active = ((same.sum(dim=1) > 1) & (~same).any(dim=1)).to(embeddings.dtype).sum()
        return {"active": active, "embedding_norm": unit_rows(embeddings)[1].mean()}


class PMLClassifier(PMLLoss):
    """A loss of pytorch-metric-learning with class weights or proxies.

    Parameters
    ----------
    num_classes, embedding_dim : int
    values : of the keyword arguments; ``"none"`` where one is to be None.
    """

    kind: ClassVar[str] = "classifier"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        example = cls(2, 3, **{item.name: item.default for item in cls.peer.arguments})
        cls.class_parameters = tuple(name for name, _ in example.named_parameters())

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        name = self.class_parameters[0].removeprefix("theirs.")
        own = getattr(self.theirs, name).data
        result = super().evaluate(embeddings, labels)
        # P2SGrad scales its weights anew in the forward pass, by putting another tensor in place of
        # their data; in a stack the weights are a slice, which has to follow and stay in place.
        weight = getattr(self.theirs, name)
        if weight.data_ptr() != own.data_ptr():
            own.copy_(weight.data)
            weight.data = own
        return result

    @torch.no_grad()
    def log(self, embeddings: Tensor, labels: Tensor) -> Log:
        """What to log about a batch; the angle is the one to the nearest row of the own class."""
        directions, lengths = unit_rows(embeddings)
        own = self.class_rows(embeddings)[labels]  # (B, K, D)
        cosine = (own @ directions.unsqueeze(-1)).squeeze(-1).amax(dim=-1)
        hits = self.scores(embeddings).argmax(dim=-1) == labels
        return {
            "accuracy": hits.to(embeddings.dtype).mean(),
            "target_angle": cosine.clamp(-1, 1).acos().mean(),
            "embedding_norm": lengths.mean(),
        }

    def class_rows(self, embeddings: Tensor) -> Tensor:
        """Directions of the class weights or proxies, (C, K, D)."""
        name = self.class_parameters[0].removeprefix("theirs.")
        weight = getattr(self.theirs, name).to(embeddings.dtype)
        rows = weight.mT if _WEIGHTS[name] == 0 else weight
        return unit_rows(rows.reshape(self.num_classes, -1, self.embedding_dim))[0]

    def scores(self, embeddings: Tensor) -> Tensor:
        """Their ``get_logits``; cosines where the class has none. Greater is nearer."""
        if not hasattr(self.theirs, "get_logits"):
            return unit_rows(embeddings)[0] @ self.class_rows(embeddings).amax(dim=1).mT
        found: Tensor = self.theirs.get_logits(embeddings)
        # Proxy-NCA returns distances there.
        return -found if self.peer.name == "ProxyNCALoss" else found
