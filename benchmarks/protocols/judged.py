"""What a protocol is given (the arrays of ``embeddings.npz``) and what it gives back."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from benchmarks.errors import ProtocolError
from datasets.splits import PART_CODES

SIDES = ("test", "validation")


@dataclass(frozen=True)
class Settings:
    """What a study may choose about judging.

    Attributes
    ----------
    fars : false accept rates at which verification reports its TAR, each in (0, 1).
    fpirs : false positive identification rates of identification and open-set recognition, in (0, 1).
    galleries : draws of the gallery's identities in identification, at least 1.
    resamples : bootstrap resamples of the identities; 0: no intervals over identities.
    device : where the all-pairs scores are computed, as torch names it.

    Raises
    ------
    ProtocolError : a rate outside (0, 1), no rate at all, fewer than one gallery.
    """

    fars: tuple[float, ...] = (0.1, 0.01, 0.001, 0.0001)
    fpirs: tuple[float, ...] = (0.1, 0.01, 0.001)
    galleries: int = 5
    resamples: int = 1000
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("fars", "fpirs"):
            rates = tuple(float(rate) for rate in getattr(self, name))
            object.__setattr__(self, name, rates)
            if not rates:
                raise ProtocolError(f"{name}: the list is empty; give at least one rate, as 0.001")
            for rate in rates:
                if not 0.0 < rate < 1.0:
                    raise ProtocolError(f"{name}: {rate:g} is not a rate in (0, 1)")
        if self.galleries < 1:
            raise ProtocolError(f"galleries: {self.galleries}; at least 1 is needed")
        if self.resamples < 0:
            raise ProtocolError(f"resamples: {self.resamples}; 0 or more are needed")


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
    class_weights : (C, D) float, a row for each of `known_classes`, in the space of the embeddings; None where the
        loss has no such weights.
    angle_epochs : (E,) int, epochs of training whose angles were kept; None without class weights.
    target_angles, other_angles : (E, 180) int, training images by their angle to their own class's weight, and
        to the other classes' weights, in bins of one degree; None likewise.
    cameras : (N,) int, who took the image; None where unknown.
    query : (N,) bool, queries of a query/gallery split, the others are its gallery; None: every image is both.

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
    class_weights: np.ndarray | None = None
    angle_epochs: np.ndarray | None = None
    target_angles: np.ndarray | None = None
    other_angles: np.ndarray | None = None
    cameras: np.ndarray | None = None
    query: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise ProtocolError(f"embeddings must be (N, D), not {self.embeddings.shape}")
        if self.embeddings.dtype.kind != "f":
            raise ProtocolError(f"embeddings must be floating, not {self.embeddings.dtype}")
        if self.labels.dtype.kind not in "iu":
            raise ProtocolError(f"labels must be whole numbers, not {self.labels.dtype}")
        for name in PER_IMAGE:
            array = getattr(self, name)
            if array is not None and len(array) != len(self.embeddings):
                raise ProtocolError(f"{len(array)} {name} for {len(self.embeddings)} embeddings")

    def only(self, side: str) -> Judged:
        """Without the images of the other side (test or validation): their labels are not in it.

        What tunes or selects is given ``only("validation")``, so that no test label can reach it.
        """
        (other,) = set(SIDES) - {side}
        hidden = [PART_CODES[f"{world}_{other}"] for world in ("known", "unknown")]
        kept = np.flatnonzero(~np.isin(self.part, hidden))
        arrays = {name: getattr(self, name) for name in PER_IMAGE}
        return replace(self, **{name: a[kept] for name, a in arrays.items() if a is not None})

    def rows(self, part: str) -> np.ndarray:
        """Positions of the images of `part` (a key of ``PART_CODES``): int64 (n,)."""
        return np.flatnonzero(self.part == PART_CODES[part])


PER_IMAGE = (
    "embeddings",
    "labels",
    "part",
    "top_classes",
    "top_scores",
    "logsumexp",
    "cameras",
    "query",
)


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
    replicates : for the metrics that depend on the draw of identities, their values (R,) under the resamples of
        ``benchmarks.measures.resampling``; NaN where a resample does not define it.
    left_out : for the same metrics their values (U,) without each identity.
    identities : class ids judged, by world ("known", "unknown"); equal arrays mean equal resamples.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    replicates: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, np.ndarray] = field(default_factory=dict)
    identities: dict[str, np.ndarray] = field(default_factory=dict)

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
