"""The history of a stack in training: one row an epoch for each member."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.stack import Stack

Row = dict[str, Any]


class EpochLog:
    """Sums what a stack logs over the steps of an epoch, on the device, without waiting for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = 0

    def add(self, logged: dict[str, Tensor]) -> None:
        """Add one step's values, (K,) each."""
        for name, values in logged.items():
            if name in self.sums:
                self.sums[name] += values
            else:
                self.sums[name] = values.to(torch.float64, copy=True)
        self.steps += 1

    def rows(self, stack: Stack, epoch: int, factors: Sequence[float]) -> list[Row]:
        """One row a member: means over the epoch (`non_finite`: steps), angles in degrees, None where not finite."""
        moved = stack.weights_moved()
        names: list[tuple[str, ...]] = []
        for group in stack.groups:
            names += [("loss", *group.logged)] * (group.members.stop - group.members.start)
        host = {name: values.tolist() for name, values in self.sums.items()}
        factor = sum(factors) / len(factors)
        rows = []
        for index, experiment in enumerate(stack.experiments):
            row: Row = {
                "epoch": epoch,
                "learning_rate": experiment.recipe["learning_rate"] * factor,
            }
            for name in names[index]:
                row[name] = host[name][index] / self.steps
            if "target_angle" in row:
                row["target_angle"] = math.degrees(row["target_angle"])
            row["non_finite"] = int(host["non_finite"][index])
            if moved[index] is not None:
                row["weights_moved"] = moved[index]
            rows.append(
                {name: value if math.isfinite(value) else None for name, value in row.items()}
            )
        return rows


def evaluation_arrays(scores: Tensor, known_classes: Tensor) -> dict[str, Tensor]:
    """Of scores (b, C): the best classes (b, <= 5) as ids of the data set, their scores, the log-sum-exp (b,)."""
    top = scores.topk(min(5, scores.shape[1]), dim=1)
    return {
        "top_classes": known_classes[top.indices].to(torch.int32),
        "top_scores": top.values.float(),
        "logsumexp": scores.logsumexp(1).float(),
    }
