"""Galleries drawn from a set of images, and the search of them by cosine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.measures.classifiers import class_means
from benchmarks.measures.cosine import unit_rows
from benchmarks.measures.neighbours import LEVELS_PER_UNIT
from benchmarks.measures.resampling import generator
from benchmarks.measures.search import Searches, searches

MAX_TEMPLATE_IMAGES = 5
BLOCK_SCORES = 2**20  # scores held at a time: 8 MB
MAX_ROWS = 2**12  # embeddings copied at a time

# Adding it to a float64 of size below 2**11 leaves whole levels of the grid of ``neighbours``.
_ROUNDER = 1.5 * 2.0**52 / LEVELS_PER_UNIT


class Gallery(NamedTuple):
    """One draw: positions of the images that make the templates (M,), and of the probes (P,)."""

    images: np.ndarray
    probes: np.ndarray


def draw_gallery(labels: np.ndarray, number: int) -> Gallery:
    """Draw the gallery `number` (0, 1, ...) of the images with `labels` (N,) int.

    Half of the identities (rounded up) are enrolled, chosen at random among those with at least two images: an identity
    with one image is never enrolled, since it could not be searched for. Of an enrolled identity with n images
    min(5, n // 2), chosen at random, make its template; its others are mated probes. All images of all other identities
    are non-mated probes. The draw depends on the labels alone and is the same for all runs.
    """
    identities, position, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rng = generator(f"gallery {number}", labels)
    candidates = rng.permutation(len(identities))
    candidates = candidates[sizes[candidates] > 1]
    wanted = np.zeros(len(identities), dtype=np.int64)
    chosen = candidates[: (len(identities) + 1) // 2]
    wanted[chosen] = np.minimum(MAX_TEMPLATE_IMAGES, sizes[chosen] // 2)
    # Images of each identity in random order: the first are its template.
    shuffled = np.lexsort((rng.random(len(labels)), position))
    place = np.arange(len(labels)) - (np.cumsum(sizes) - sizes)[position[shuffled]]
    in_template = np.zeros(len(labels), dtype=bool)
    in_template[shuffled] = place < wanted[position[shuffled]]
    return Gallery(np.flatnonzero(in_template), np.flatnonzero(~in_template))


def templates(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Identities (G,) in rising order and their templates (G, D) float64.

    A template is the mean of the identity's embeddings, each first brought to length 1, again brought to length 1: the
    average that the IJB protocols use.

    Parameters
    ----------
    embeddings : (M, D) finite, M >= 1.
    labels : (M,) int.
    """
    identities, means = class_means(unit_rows(embeddings, np.float64), labels)
    return identities, unit_rows(means, np.float64)


def search_gallery(embeddings: np.ndarray, labels: np.ndarray, gallery: Gallery) -> Searches:
    """Search the templates of `gallery` (not empty) for its probes, by cosine; ties are pessimistic.

    Cosines are in float64 on the grid of ``neighbours``, so that pairs that are equal in exact arithmetic tie however
    the product was blocked. Memory: the templates and one block of scores, whatever the number of probes.

    Parameters
    ----------
    embeddings : (N, D) finite.
    labels : (N,) int.
    """
    enrolled, vectors = templates(embeddings[gallery.images], labels[gallery.images])
    ranks = np.empty(len(gallery.probes), dtype=np.int64)
    scores = np.empty(len(gallery.probes))
    step = min(MAX_ROWS, max(1, BLOCK_SCORES // len(enrolled)))
    for start in range(0, len(ranks), step):
        probes = gallery.probes[start : start + step]
        cosines = unit_rows(embeddings[probes], np.float64) @ vectors.T
        cosines += _ROUNDER
        cosines -= _ROUNDER
        found = searches(cosines, labels[probes], enrolled)
        ranks[start : start + step], scores[start : start + step] = found.ranks, found.scores
    return Searches(ranks, scores)
