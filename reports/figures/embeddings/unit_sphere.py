"""The unit sphere: angles between its points, and how an eye from far away sees it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

STEP = 3  # degrees of a bin
IMAGES = 1000  # whose pairs are formed, at most
ELEVATION, AZIMUTH = np.radians(20), np.radians(35)  # where the eye is


def pair_angles(
    embeddings: NDArray[np.floating], labels: NDArray[np.integer]
) -> dict[str, NDArray[np.int64]]:
    """Pairs of images (N, D) of one class (positive) and of two (negative) by angle: counts in bins
    of `STEP` degrees; of more than `IMAGES` images that many, evenly spaced.
    """
    rows = np.unique(np.linspace(0, len(labels) - 1, IMAGES).astype(int))[: len(labels)]
    unit = embeddings[rows].astype(float)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    one, other = np.triu_indices(len(rows), k=1)
    degrees = np.degrees(np.arccos(np.clip((unit @ unit.T)[one, other], -1, 1)))
    same = labels[rows][one] == labels[rows][other]
    edges = np.arange(0, 180 + STEP, STEP)
    return {
        "positive": np.histogram(degrees[same], edges)[0],
        "negative": np.histogram(degrees[~same], edges)[0],
    }


def projected(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Directions of points (N, 3) as an eye from far away sees them: right, up, towards it."""
    a, e = AZIMUTH, ELEVATION
    axes = np.array(
        [
            [-np.sin(a), np.cos(a), 0],
            [-np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a), np.cos(e)],
            [np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)],
        ]
    )
    lengths = np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    return np.asarray(points / lengths @ axes.T, dtype=float)


def graticule() -> Iterator[NDArray[np.float64]]:
    """Circles of latitude and longitude, 30° apart: lines (91, 3)."""
    turn = np.linspace(0, 2 * np.pi, 91)
    for latitude in np.radians([-60, -30, 0, 30, 60]):
        ring = np.cos(latitude) * np.array([np.cos(turn), np.sin(turn)])
        yield np.vstack([ring, np.full((1, 91), np.sin(latitude))]).T
    for longitude in np.radians(np.arange(0, 180, 30)):
        yield np.array(
            [np.cos(turn) * np.cos(longitude), np.cos(turn) * np.sin(longitude), np.sin(turn)]
        ).T
