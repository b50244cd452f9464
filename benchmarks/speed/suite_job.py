"""A step of the pipeline in a worker: the command that the Snakefile calls, with a clock at its first batch and last step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.speed.processes import Job, WorkerError

if TYPE_CHECKING:
    from benchmarks.data import Stream


def job(content: Job) -> dict[str, Any]:
    """Carry out ``python -m benchmarks COMMAND …``: its seconds, and for ``train`` those of its parts."""
    arguments: list[str] = content["arguments"]
    marks = _watch_steps() if arguments[0] == "train" else []
    from benchmarks.__main__ import main

    status = main(arguments)
    if status:
        raise WorkerError(f"python -m benchmarks {' '.join(arguments)}: status {status}")
    end, launched = time.time(), content["launched"]
    found = {"command": arguments[0], "seconds": end - launched}
    if marks:
        parts = {"startup": marks[0] - launched, "training": marks[-1] - marks[0], "after": end - marks[-1]}  # fmt: skip
        found.update({f"{name}_seconds": seconds for name, seconds in parts.items()})
    return found


def _watch_steps() -> list[float]:
    """The times of the first batch and of the end of the last step, as far as the training has gone."""
    from benchmarks.data import TrainingData

    batches = TrainingData.batches
    marks: list[float] = []

    def watched(self: TrainingData, streams: list[Stream], epoch: int) -> Iterator[Any]:
        if not marks:
            marks.extend([time.time()] * 2)
        for batch in batches(self, streams, epoch):
            yield batch
            marks[1] = time.time()  # the trainer has come back from its step

    TrainingData.batches = watched  # type: ignore[method-assign]
    return marks
