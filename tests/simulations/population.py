"""Synthetic embeddings whose true error rates are known: identities that differ in difficulty and in where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FARS = (1e-2, 1e-3)
DIMENSION = 32


@dataclass(frozen=True)
class Population:
    """A law of identities, images and models.

    An identity has a direction (of a Gaussian with unequal axes, so that some identities have many
    look-alikes) and a spread of its images (lognormal, so that some are harder than others). A
    model moves every identity's direction a little and scales the spreads.

    Attributes
    ----------
    spread : median length of an image's deviation from its identity's direction of length 1.
    spread_sd : standard deviation of the logarithm of the spread over identities.
    decay : power by which the axes of the directions shrink; 0: uniform on the sphere.
    shared : share of an image's deviation that is the same in all models, in [0, 1].
    seed_sd : standard deviation over seeds of the logarithm of a model's factor on the spreads.
    moved : length by which a model moves an identity's direction.
    """

    spread: float = 0.95
    spread_sd: float = 0.25
    decay: float = 0.35
    shared: float = 0.7
    seed_sd: float = 0.03
    moved: float = 0.2

    def directions(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Directions of `count` identities, float32 (count, D)."""
        axes = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -self.decay
        return _unit(rng.standard_normal((count, DIMENSION), dtype=np.float32) * axes)

    def spreads(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Spreads of `count` identities, float32 (count, 1)."""
        factor = np.exp(self.spread_sd * rng.standard_normal((count, 1), dtype=np.float32))
        return self.spread * factor

    def moving(self, rng: np.random.Generator, directions: np.ndarray) -> np.ndarray:
        """The directions as one model sees them (count, D)."""
        noise = rng.standard_normal(directions.shape, dtype=np.float32) / np.sqrt(DIMENSION)
        return _unit(directions + np.float32(self.moved) * noise)

    def study(
        self,
        rng: np.random.Generator,
        classes: int,
        images: int,
        factors: np.ndarray,
    ) -> np.ndarray:
        """Embeddings of the same images by several models.

        Parameters
        ----------
        factors : (S, L) factor on the spreads of the model of seed s and loss l. The models of one
            seed move the directions alike (they share their start), and all share part of each
            image's deviation.

        Returns
        -------
        float32 (S, L, classes · images, D), unit rows, images of a class next to each other.
        """
        direction = self.directions(rng, classes)
        spread = np.repeat(self.spreads(rng, classes), images, axis=0)
        shape = (classes * images, DIMENSION)
        common = rng.standard_normal(shape, dtype=np.float32)
        result = np.empty((*factors.shape, *shape), dtype=np.float32)
        for s, own in enumerate(factors):
            moved = np.repeat(self.moving(rng, direction), images, axis=0)
            for loss, factor in enumerate(own):
                noise = rng.standard_normal(shape, dtype=np.float32)
                noise = np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * noise
                noise *= np.float32(factor / np.sqrt(DIMENSION)) * spread
                result[s, loss] = _unit(moved + noise)
        return result

    def truth(self, seed: int, factor: float, pairs: int) -> dict[str, float]:
        """The rates of a model with this factor, from `pairs` genuine pairs.

        Genuine pairs are of fresh identities each; impostor pairs join every identity with eight
        others. Equal `seed`s share their draws: differences between factors have little noise.
        """
        rng = np.random.default_rng(seed)
        genuine, impostor = [], []
        block = min(pairs, 50_000)
        for _ in range(0, pairs, block):
            place = self.moving(rng, self.directions(rng, block))
            spread = self.spreads(rng, block) * np.float32(factor / np.sqrt(DIMENSION))
            one, two = (
                _unit(place + spread * rng.standard_normal(place.shape, dtype=np.float32))
                for _ in range(2)
            )
            genuine.append(np.einsum("nd,nd->n", one, two))
            impostor += [np.einsum("nd,nd->n", one, np.roll(two, k, axis=0)) for k in range(1, 9)]
        return rates(np.sort(np.concatenate(genuine)), np.sort(np.concatenate(impostor)))


def rates(genuine: np.ndarray, impostor: np.ndarray) -> dict[str, float]:
    """EER, AUC and TAR at `FARS` of rising scores (G,) and (I,)."""
    far = 1.0 - np.arange(len(impostor)) / len(impostor)  # at the threshold impostor[k]
    below = np.searchsorted(genuine, impostor) / len(genuine)  # FRR there
    crossing = int(np.argmax(below >= far))
    found = {"eer": float(far[crossing] + below[crossing]) / 2, "auc": 1.0 - float(below.mean())}
    for target in FARS:
        threshold = impostor[int(np.ceil(len(impostor) * (1 - target)))]
        found[f"tar_at_far_{target:.0e}"] = 1 - float(np.searchsorted(genuine, threshold)) / len(
            genuine
        )
    return found


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
