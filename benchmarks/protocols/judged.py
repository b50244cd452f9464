"""What a protocol is given (the arrays of ``embeddings.npz``) and what it gives back."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from datasets.splits import PART_CODES


class ProtocolError(ValueError):
    """Embeddings, scores or settings that cannot be judged; the message says which and why."""


@dataclass(frozen=True)
class Judged:
    """The embeddings of one run.

    Attributes
    ----------
    embeddings : (N, D) float, any length; protocols use their directions.
    labels : (N,) int, class ids of the data set.
    part : (N,) int, codes of ``datasets.splits.PART_CODES``.
    known_classes : (C,) int, the class ids seen in training.
    top_classes : (N, 5) int, class ids in order of falling score; None for a loss without
        classifier.
    top_scores : (N, 5) float, their scores (no margin); None likewise.
    logsumexp : (N,) float over all class scores; None likewise.

    Raises
    ------
    ProtocolError : arrays whose shapes do not fit together.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    part: np.ndarray
    known_classes: np.ndarray
    top_classes: np.ndarray | None = None
    top_scores: np.ndarray | None = None
    logsumexp: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise ProtocolError(f"embeddings must be (N, D), not {self.embeddings.shape}")
        for name in ("labels", "part", "top_classes", "top_scores", "logsumexp"):
            array = getattr(self, name)
            if array is not None and len(array) != len(self.embeddings):
                raise ProtocolError(f"{len(array)} {name} for {len(self.embeddings)} embeddings")

    def rows(self, part: str) -> np.ndarray:
        """Positions of the images of `part` (a key of ``PART_CODES``): int64 (n,)."""
        return np.flatnonzero(self.part == PART_CODES[part])


def read_judged(path: Path) -> Judged:
    """Read a run's ``embeddings.npz``.

    Raises
    ------
    ProtocolError : the file is missing, damaged or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [row.name for row in fields(Judged) if row.name in file.files]
            return Judged(**{name: file[name] for name in names})
    except (OSError, EOFError, zipfile.BadZipFile, ValueError, TypeError) as error:
        raise ProtocolError(f"{path}: cannot be judged: {error}") from error


@dataclass(frozen=True)
class Outcome:
    """What one protocol says of one part.

    Attributes
    ----------
    metrics : value by name; None where the number is not defined or not supported by the data.
    notes : for every None its reason, under the same name.
    curves : arrays for drawing, by name.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)

    def refuse(self, names: Iterable[str], reason: str) -> None:
        """Record that the metrics `names` have no value, and why."""
        for name in names:
            self.metrics[name] = None
            self.notes[name] = reason


def embedding_problem(embeddings: np.ndarray) -> str | None:
    """Why these embeddings cannot be compared, or None."""
    if len(embeddings) == 0:
        return "the split has no such images"
    broken = int((~np.isfinite(embeddings).all(axis=1)).sum())
    return f"{broken} of {len(embeddings)} embeddings are not finite" if broken else None
