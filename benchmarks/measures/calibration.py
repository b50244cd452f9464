"""Does a classifier that is 90 % sure turn out right in 90 % of the cases?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.resampling import Resamples

BINS = 15
MASSES = ("equal_width", "equal_mass")


@dataclass(frozen=True)
class Reliability:
    """Images by the confidence of their prediction.

    Attributes
    ----------
    bins : (N,) int, the bin of each image, 0..M-1.
    excess : (N,) float, right (1 or 0) minus confidence.
    count : (M,) int, images of each bin.
    confidence, accuracy : (M,) means over the bin, in [0, 1]; NaN in an empty bin.
    """

    bins: np.ndarray
    excess: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: |accuracy - confidence| of the bins, weighted by their images, in [0, 1]."""
        gaps = np.bincount(self.bins, weights=self.excess, minlength=len(self.count))
        return float(np.abs(gaps).sum() / self.count.sum())

    def resampled_error(self, drawn: Resamples) -> tuple[np.ndarray, np.ndarray]:
        """The error under each draw (R,), and without each unit (U,); the bins stay. NaN where no image is left."""
        units, bins = drawn.counts.shape[1], len(self.count)
        cell = drawn.units * bins + self.bins
        gaps = np.bincount(cell, weights=self.excess, minlength=units * bins).reshape(units, bins)
        sizes = np.bincount(drawn.units, minlength=units).astype(np.float64)
        with np.errstate(invalid="ignore"):
            replicates = np.abs(drawn.counts @ gaps).sum(axis=1) / (drawn.counts @ sizes)
            left_out = np.abs(gaps.sum(axis=0) - gaps).sum(axis=1) / (sizes.sum() - sizes)
        return replicates, left_out


def reliability(
    confidence: np.ndarray, correct: np.ndarray, bins: int = BINS, mass: str = "equal_width"
) -> Reliability:
    """Put predictions into bins of confidence.

    Parameters
    ----------
    confidence : (N,) in [0, 1], the probability that the classifier gives to the class it names.
    correct : (N,) bool, whether that class is right.
    bins : how many, M >= 1.
    mass : "equal_width": bin m (from 1) holds (m-1)/M < confidence <= m/M, and 0 falls into the first bin (Guo et al.
        2017); "equal_mass": bin m holds the confidences with (m-1)/M <= F < m/M, F the share of strictly lower ones, so
        that equal confidences share a bin (Nguyen and O'Connor 2015).

    Raises
    ------
    ProtocolError : no prediction, lengths that differ, a confidence outside [0, 1], no bin, an unknown `mass`.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(correct, dtype=np.float64)
    if confidence.shape != correct.shape or confidence.ndim != 1 or not len(confidence):
        raise ProtocolError(f"{confidence.shape} confidences for {correct.shape} predictions")
    outside = ~((confidence >= 0) & (confidence <= 1))  # NaN too
    if outside.any():
        raise ProtocolError(f"{int(outside.sum())} confidences are not in [0, 1]")
    if bins < 1:
        raise ProtocolError(f"bins: {bins}; at least 1 is needed")
    if mass == "equal_width":
        upper = np.arange(1, bins + 1) / bins
        bin_ = np.searchsorted(upper, confidence, side="left")
    elif mass == "equal_mass":
        lower = np.searchsorted(np.sort(confidence), confidence, side="left")
        bin_ = lower * bins // len(confidence)
    else:
        raise ProtocolError(f"mass: {mass!r}; allowed: {', '.join(MASSES)}")
    count = np.bincount(bin_, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [
            np.bincount(bin_, weights=w, minlength=bins) / count for w in (confidence, correct)
        ]
    return Reliability(bin_, correct - confidence, count, *means)
