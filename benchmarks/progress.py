"""Where a stack in training stands, besides its tensors: plain content, so that a checkpoint can hold it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.history import Row
from benchmarks.stack import Stack

log = logging.getLogger(__name__)

Histograms = tuple[list[int], list[int]]  # counts of angles to the own class and to the others


@dataclass
class Standing:
    """Where one member stands.

    Attributes
    ----------
    history : one row an epoch, up to the one it is given up at.
    seconds : its share of the training time so far, over all stacks and processes that worked on it.
    diverged : the epoch it was found at; 0 for none.
    unmoved : the epoch that left its class weights as they began; 0 for none.
    angles : for each watched epoch (that epoch, `angle_histograms` of it); empty without class weights.
    """

    history: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    diverged: int = 0
    unmoved: int = 0
    angles: list[tuple[int, Histograms]] = field(default_factory=list)

    @property
    def stopped(self) -> int:
        """The epoch after which the member is given up; 0 for none."""
        return self.diverged or self.unmoved


@dataclass
class Progress:
    """Where a stack stands: epochs done, and each member's standing in the order of ``Stack.experiments``."""

    epoch: int
    members: list[Standing]

    @property
    def stopped(self) -> list[bool]:
        """For each member whether it is given up."""
        return [bool(member.stopped) for member in self.members]

    @property
    def over(self) -> bool:
        """Whether every member is given up."""
        return all(self.stopped)

    def record(self, stack: Stack, epoch: int, rows: list[Row], seconds: float) -> None:
        """Note down an epoch that took `seconds`; a member given up keeps its history up to there."""
        self.epoch = epoch
        share = seconds / stack.size
        for experiment, member, row, finite in zip(
            stack.experiments, self.members, rows, stack.finite(), strict=True
        ):
            member.seconds += share
            if member.stopped:
                continue
            member.history.append(row)
            if not finite:
                member.diverged = epoch
                log.warning("%s diverged in epoch %d", experiment.id, epoch)
            elif row.get("weights_moved") == 0:
                member.unmoved = epoch
                log.warning("%s: class weights did not move", experiment.id)

    def watch(self, epoch: int, histograms: list[Histograms | None]) -> None:
        """Keep the angles of a watched epoch."""
        for member, found in zip(self.members, histograms, strict=True):
            if found is not None:
                member.angles.append((epoch, found))

    def summary(self) -> str:
        """A few words for the progress bar."""
        losses = [member.history[-1]["loss"] for member in self.members if not member.stopped]
        shown = f"loss {min(losses):.2f}…{max(losses):.2f}" if losses and None not in losses else ""
        diverged = sum(bool(member.diverged) for member in self.members)
        return shown + (f", {diverged} diverged" if diverged else "")

    def content(self) -> dict[str, Any]:
        """As plain content, not shared with this object."""
        return asdict(self)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Progress:
        """Inverse of `content`."""
        return cls(content["epoch"], [Standing(**member) for member in content["members"]])
