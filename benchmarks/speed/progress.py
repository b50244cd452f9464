"""What is being measured, and about how long the rest will take: lines on standard error. Imports no torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def say(line: str) -> None:
    """To standard error, at once."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Steps known before the first begins; a step of a name is guessed to take what the last of that name took.

    Parameters
    ----------
    steps : name and guessed seconds of each step, in their order.
    """

    def __init__(self, steps: Sequence[tuple[str, float]]) -> None:
        self.names = [name for name, _ in steps]
        self.seconds = dict(steps)
        self.done = 0

    @property
    def left(self) -> float:
        """Seconds, roughly, of the steps that have not ended."""
        return sum(self.seconds[name] for name in self.names[self.done :])

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The next step.

        Raises
        ------
        ValueError : another one should be next.
        """
        if name != self.names[self.done]:
            raise ValueError(f"{name!r} is measured where {self.names[self.done]!r} was planned")
        left = f"{self.left / 60:.0f} min" if self.left >= 90 else f"{self.left:.0f} s"
        say(f"[{self.done + 1}/{len(self.names)}] {name} (about {left} left)")
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.done += 1
