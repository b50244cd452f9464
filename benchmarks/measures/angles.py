"""Angles between embeddings, the centres of their classes and the weights of the classifier, in degrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.classifiers import class_means
from benchmarks.measures.cosine import unit_rows
from benchmarks.measures.neighbours import nearest


@dataclass(frozen=True)
class ClassAngles:
    """Angles of ArcFace's Table 3 (Deng et al. 2019), in degrees.

    Attributes
    ----------
    intra : (N,) of each image to the centre of its class; their mean is Intra.
    inter : (C,) of each class centre to the nearest other one, NaN with a single class; their mean is Inter.
    classes : (C,) ids in rising order.
    centres : (C, D) unit rows, the mean direction of the images at length 1; zero where the directions cancel.
    """

    intra: np.ndarray
    inter: np.ndarray
    classes: np.ndarray
    centres: np.ndarray


def class_angles(embeddings: np.ndarray, labels: np.ndarray) -> ClassAngles:
    """Spread of the classes and distance between them.

    The centre of a class is the mean of its embeddings, each first brought to length 1; a zero vector stands at 90
    degrees to everything.

    Parameters
    ----------
    embeddings : (N, D) finite, N >= 1.
    labels : (N,) int.

    Raises
    ------
    ProtocolError : no embedding, values that are not finite, or lengths that differ.
    """
    _check(embeddings, labels)
    unit = unit_rows(embeddings, np.float64)
    classes, means = class_means(unit, labels)
    centres = unit_rows(means, np.float64)
    own = centres[np.searchsorted(classes, labels)]
    return ClassAngles(angles(unit, own), nearest_angles(centres), classes, centres)


def nearest_angles(directions: np.ndarray) -> np.ndarray:
    """Angle of each row of `directions` (C, D) to the nearest other one: (C,) degrees, NaN where there is none.

    Of the rows of class weights the mean is W-Inter.
    """
    unit = unit_rows(directions, np.float64)
    if len(unit) < 2:
        return np.full(len(unit), np.nan)
    # The nearest of all but for oneself; a duplicate may stand before oneself, or a zero row's neighbours do.
    position = nearest(unit, unit, 2)[0]
    other = np.where(position[:, 0] == np.arange(len(unit)), position[:, 1], position[:, 0])
    return angles(unit, unit[other])


def angles(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Angles between rows (N, D) and rows (N, D), any length, in degrees (N,); 90 where one is zero.

    From the chord and its complement (Kahan 2006), exact to a few 1e-14 degrees; an arc cosine loses half of the digits
    of small angles.
    """
    left, right = unit_rows(left, np.float64), unit_rows(right, np.float64)
    chord = np.linalg.norm(left - right, axis=1)
    complement = np.linalg.norm(left + right, axis=1)
    found = np.degrees(2.0 * np.arctan2(chord, complement))
    return np.where(left.any(axis=1) & right.any(axis=1), found, 90.0)


@dataclass(frozen=True)
class AngularFisher:
    """Angular Fisher score of SphereFace (Liu et al. 2017): within / between, smaller is better.

    Attributes
    ----------
    within : sum over the images of 1 - cos(image, mean of its class).
    between : sum over the images of 1 - cos(mean of its class, mean of all images).
    score : within / between; NaN where all class means have one direction.
    """

    within: float
    between: float

    @property
    def score(self) -> float:
        return self.within / self.between if self.between > 0 else float("nan")


def angular_fisher(embeddings: np.ndarray, labels: np.ndarray) -> AngularFisher:
    """Scatter of the angles within and between classes; means are those of the embeddings as they are, not of directions.

    Parameters
    ----------
    embeddings : (N, D) finite, N >= 1.
    labels : (N,) int.

    Raises
    ------
    ProtocolError : no embedding, values that are not finite, or lengths that differ.
    """
    _check(embeddings, labels)
    rows = np.asarray(embeddings, dtype=np.float64)
    classes, means = class_means(rows, labels)
    own = means[np.searchsorted(classes, labels)]
    overall = np.broadcast_to(rows.mean(axis=0), own.shape)
    return AngularFisher(
        float(_cosine_gap(rows, own).sum()), float(_cosine_gap(own, overall).sum())
    )


def _cosine_gap(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1 - cosine of rows, without cancellation: half of the squared chord; 1 where one is zero."""
    left, right = unit_rows(left, np.float64), unit_rows(right, np.float64)
    gap = ((left - right) ** 2).sum(axis=1) / 2
    return np.where(left.any(axis=1) & right.any(axis=1), gap, 1.0)


def _check(embeddings: np.ndarray, labels: np.ndarray) -> None:
    if len(embeddings) != len(labels) or not len(labels):
        raise ProtocolError(f"{len(labels)} labels for {len(embeddings)} embeddings")
    if not np.isfinite(embeddings).all():
        raise ProtocolError("embeddings are not finite")
