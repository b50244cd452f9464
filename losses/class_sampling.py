"""Training on a sample of the classes (Partial FC)."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from losses.base import Loss
from losses.counters import counter_bits
from losses.heads import CosineHead

CANNOT = "{}: its logits cannot be computed for some classes alone (class_sampling)"


class SampledClasses(CosineHead):
    """A head that trains on some of the classes in each step. An et al. 2022, section 3.2.

    The classes of the batch take part, and others drawn uniformly without replacement up to a share
    of all; the logits are not corrected for it, as in the paper. Rows of the others get gradient 0
    (the authors also keep their momentum still). Which are drawn depends on a seed and the step
    alone, and both are state. In evaluation all classes count.

    To be mixed in before a head, see `sampled`.

    Parameters
    ----------
    share : float
        Of the classes, above 0; but never fewer classes than samples in the batch.

    Raises
    ------
    ValueError
        The head cannot do it.
    """

    sampling_seed: Tensor
    sampling_steps: Tensor

    def __init__(self, *arguments: Any, share: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not self.in_blocks:
            raise ValueError(CANNOT.format(type(self).__name__))
        self.share = share
        self.register_buffer("sampling_seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("sampling_steps", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """As the head, and then the seed of the sample; steps count from 0."""
        super().reset_parameters(generator)
        device = "cpu" if generator is None else generator.device
        self.sampling_seed.copy_(torch.randint(2**62, (), generator=generator, device=device))
        self.sampling_steps.zero_()

    def chosen_classes(self, labels: Tensor) -> Tensor:
        """The sample of this step, (M,), ascending."""
        count = min(self.num_classes, max(len(labels), round(self.share * self.num_classes), 2))
        # 62 bits, so that the classes of the batch can be above all others.
        draws = counter_bits(self.sampling_seed, self.sampling_steps, self.num_classes) & (
            2**62 - 1
        )
        return draws.scatter(-1, labels, 2**62).topk(count, sorted=False).indices.sort().values

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """As the head; the next step has another sample."""
        super().after_step(embeddings, labels)
        self.sampling_steps.add_(1)


@cache
def sampled(head: type[Loss]) -> type[Loss]:
    """A head's class with `SampledClasses` before it; a ValueError if it is no head over cosines."""
    if not issubclass(head, CosineHead):
        raise ValueError(CANNOT.format(head.__name__))
    return type(f"Sampled{head.__name__}", (SampledClasses, head), {"__doc__": head.__doc__})
