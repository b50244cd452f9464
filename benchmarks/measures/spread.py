"""How embeddings fill their space: singular values, alignment, uniformity."""

from __future__ import annotations

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import unit_rows

BLOCK_ROWS = 256
BLOCK_COLUMNS = 1024  # 2 MB of distances; fixed, so that the sums depend on the embeddings alone


def singular_values(embeddings: np.ndarray) -> np.ndarray:
    """Singular values (min(N, D),) of the unit rows of `embeddings` (N, D), not centred, falling.

    From the triangular factors of blocks of rows: memory for one block, whatever N is. Values that are rounding error
    alone (below float64 epsilon × max(N, D) × the largest) are 0.

    Raises
    ------
    ProtocolError : no embedding, or values that are not finite.
    """
    if not embeddings.size or not np.isfinite(embeddings).all():
        raise ProtocolError("embeddings are not finite, or there are none")
    factor = np.empty((0, embeddings.shape[1]))
    step = max(BLOCK_ROWS, 8 * embeddings.shape[1])
    for start in range(0, len(embeddings), step):
        block = unit_rows(embeddings[start : start + step], np.float64)
        factor = np.asarray(np.linalg.qr(np.concatenate([factor, block]), mode="r"))
    found = np.linalg.svd(factor, compute_uv=False)
    noise = np.finfo(np.float64).eps * max(embeddings.shape) * found[0]
    return np.where(found > noise, found, 0.0)


def spectral_decay(spectrum: np.ndarray) -> float:
    """rho = KL(uniform ‖ spectrum) of singular values (K,) divided by their sum, in nats (Roth et al. 2020).

    ``-log K - mean(log p)``: 0 where all directions are used alike, larger the fewer carry the embeddings, infinite where
    a direction is not used at all.

    Raises
    ------
    ProtocolError : not one value above 0.
    """
    p = _shares(spectrum)
    if (p == 0).any():
        return float("inf")
    return float(max(-np.log(len(p)) - np.log(p).mean(), 0.0))


def effective_rank(spectrum: np.ndarray) -> float:
    """exp of the entropy of singular values (K,) divided by their sum, in [1, K] (Roy and Vetterli 2007).

    Raises
    ------
    ProtocolError : not one value above 0.
    """
    p = _shares(spectrum)
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def alignment(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances between images of one class, at length 1 (Wang and Isola 2020, alpha = 2).

    Parameters
    ----------
    embeddings : (N, D) finite.
    labels : (N,) int.

    Returns
    -------
    Classes in rising order: the sum of |x - y|² over all unordered pairs of different images (C,), in [0, 4] a pair,
    and the number of pairs (C,) float64. The sum of the first over the sum of the second is the alignment: 0 where
    every class is a point.
    """
    unit = unit_rows(embeddings, np.float64)
    classes, position, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    # Over the pairs of a class |x - y|² sums up to n · (sum of |x - mean|²).
    means = np.zeros((len(classes), unit.shape[1]))
    np.add.at(means, position, unit)
    means /= sizes[:, None]
    scatter = ((unit - means[position]) ** 2).sum(axis=1)
    sums = sizes * np.bincount(position, weights=scatter, minlength=len(classes))
    return sums, sizes * (sizes - 1) / 2.0


def uniformity(embeddings: np.ndarray) -> float:
    """log of the mean of exp(-2 |x - y|²) over all unordered pairs, at length 1 (Wang and Isola 2020, t = 2).

    In [-8, 0]; smaller is more uniform, 0 where all embeddings are one direction. All pairs, in blocks.

    Parameters
    ----------
    embeddings : (N, D) finite, N >= 2.

    Raises
    ------
    ProtocolError : fewer than two embeddings.
    """
    import torch  # its exp is vectorised in float64 on every machine, NumPy's only with AVX-512

    if len(embeddings) < 2:
        raise ProtocolError("uniformity needs two embeddings")
    unit = torch.from_numpy(unit_rows(embeddings, np.float64))
    squares = unit.square().sum(1, keepdim=True)  # 1, or 0 of a zero row
    one = torch.ones_like(squares)
    # Inner products of these rows are the exponents, 4 xy - 2 xx - 2 yy.
    left = torch.cat([4.0 * unit, -2.0 * squares, one], dim=1)
    right = torch.cat([unit, one, -2.0 * squares], dim=1)
    total = 0.0
    for top in range(0, len(unit), BLOCK_ROWS):
        for start in range(top, len(unit), BLOCK_COLUMNS):
            kernel = left[top : top + BLOCK_ROWS] @ right[start : start + BLOCK_COLUMNS].T
            kernel.exp_()
            if start == top:  # the diagonal and what is below it are no pairs of their own
                kernel.triu_(1)
            total += float(kernel.sum())
    return float(np.log(total / (len(unit) * (len(unit) - 1) / 2)))


def _shares(spectrum: np.ndarray) -> np.ndarray:
    if not (spectrum >= 0).all() or not spectrum.sum() > 0:
        raise ProtocolError("there is no singular value above 0")
    return np.asarray(spectrum / spectrum.sum())
