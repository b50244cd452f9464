"""How many models of a stack a GPU holds: measured on a few of them, then counted out for all."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import TypeVar

import torch

from benchmarks.data import TrainingData
from benchmarks.experiment import Experiment
from benchmarks.stack import Stack
from datasets.image_set import ImageSet

log = logging.getLogger(__name__)
T = TypeVar("T")

SAMPLES = (
    4,
    16,
)  # models that are measured together; fewer than the larger number are not measured
USABLE = 0.9  # share of the free memory that is planned for: fragments and libraries take some


def parts(items: Sequence[T], limit: int) -> list[list[T]]:
    """`items` in their order, cut into the fewest parts of at most `limit` >= 1, of nearly equal size.

    Without its first parts the list is cut as before, so that a stopped training finds the checkpoint of its part.
    """
    cut, rest = [], list(items)
    while rest:
        count = -(-len(rest) // limit)
        size = -(-len(rest) // count)
        cut.append(rest[:size])
        rest = rest[size:]
    return cut


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` of `items`, evenly spaced; all where there are fewer."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def limit(free: int, needs: Sequence[tuple[int, int]]) -> int | None:
    """How many models fit into `free` bytes, at least 1.

    `needs` holds two pairs of a number of models and the bytes that they take together; memory is a constant (the
    data) and the same for every model more. None where the larger number did not take more.
    """
    (few, little), (many, much) = needs
    each = (much - little) / (many - few)
    if each <= 0:
        return None
    return max(1, int((USABLE * free - (little - few * each)) / each))


def parts_that_fit(
    experiments: list[Experiment], image_set: ImageSet, device: torch.device
) -> list[list[Experiment]]:
    """The experiments of one layout in stacks that the memory of `device` holds; on a CPU in one."""
    if device.type != "cuda" or len(experiments) <= max(SAMPLES):
        return [experiments]
    release(device)
    free, _ = torch.cuda.mem_get_info(device)
    ordered = sorted(experiments, key=lambda item: (str(item.loss_group), item.id))
    needs = []
    try:
        for count in SAMPLES:
            needs.append((count, _bytes(spread(ordered, count), image_set, device)))
            release(device)
    except Exception as error:  # training says better what is wrong, and with which experiment
        log.info("memory was not measured (%s)", error)
        return [experiments]
    most = limit(free, needs)
    cut = parts(experiments, len(experiments) if most is None else most)
    log.info("%d models fit into %.1f GiB; stacks: %d", most or -1, free / 2**30, len(cut))
    return cut


def _bytes(members: list[Experiment], image_set: ImageSet, device: torch.device) -> int:
    """What a stack takes at most, as if it were evaluated while a CUDA graph holds the memory of a step."""
    data = TrainingData(image_set, members, device)
    stack = Stack.for_data(members, data)
    batch = next(data.batches(stack.streams, 1))
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(2):  # gradients and moments are there from the first on
        stack.step(*batch, 1.0)
    step = torch.cuda.max_memory_allocated(device)
    lasting = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    stack.embed(next(data.images_at(data.all_rows())))
    return step + torch.cuda.max_memory_allocated(device) - lasting


def release(device: torch.device) -> None:
    """Give back the GPU memory of whatever is no longer used, a failed stack among it."""
    if device.type == "cuda":
        gc.collect()  # an error's traceback and the frames that it names may hold each other
        torch.cuda.empty_cache()
