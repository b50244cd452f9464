"""Rates of one simulated study under weights on its identities, from all its pairs."""

from __future__ import annotations

import numpy as np

from tests.simulations.population import FARS

# FARs between which the ROC is a straight line here; most on the part that is read off.
_GRID = np.concatenate([np.linspace(1.0, 0.35, 8)[1:], np.geomspace(0.3, 4e-4, 30)])


def weighted_rates(
    embeddings: np.ndarray, classes: int, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """EER, AUC, TAR at the supported `FARS` and recall@1 under each row of weights.

    Parameters
    ----------
    embeddings : (classes · n, D) unit rows, the n images of a class next to each other.
    weights : (W, classes): a genuine pair of class c counts w_c, an impostor pair w_c · w_d, a
        query w_c.

    Returns
    -------
    (W,) each.
    """
    images = len(embeddings) // classes
    cosine = embeddings @ embeddings.T
    block = cosine.reshape(classes, images, classes, images).transpose(0, 2, 1, 3)
    first, second = np.triu_indices(classes, 1)
    left, right = np.triu_indices(images, 1)
    impostor = block[first, second].reshape(len(first), -1)
    genuine = block[np.arange(classes), np.arange(classes)][:, left, right]
    # Where the thresholds lie is of no account, so that some of the scores will do.
    edges = np.quantile(impostor.ravel()[:: 1 + impostor.size // 200_000], 1 - _GRID)
    impostors = _accepted(impostor, edges).astype(np.float32)
    accepted = np.empty((len(weights), impostors.shape[1]))
    narrow = weights.astype(np.float32)
    table = np.zeros((classes, classes), dtype=np.float32)
    for place in range(accepted.shape[1]):
        table[first, second] = impostors[:, place]
        accepted[:, place] = np.einsum("wc,wc->w", narrow @ table, narrow)
    far = accepted / accepted[:, -1:]
    matched = weights @ _accepted(genuine, edges)
    tar = matched / matched[:, -1:]
    rates = {"auc": (np.diff(far, axis=1) * (tar[:, 1:] + tar[:, :-1]) / 2).sum(axis=1)}
    rates["eer"] = _crossing(far, tar)
    for target in FARS:
        if target * impostor.size >= 10:
            rates[f"tar_at_far_{target:.0e}"] = np.array(
                [np.interp(target, *row) for row in zip(far, tar, strict=True)]
            )
    rates["recall_at_1"] = weights @ recall(cosine, classes) / weights.sum(axis=1)
    return rates


def recall(cosine: np.ndarray, classes: int) -> np.ndarray:
    """Share of each class's images whose nearest other image is of the class: (classes,).

    `cosine` (N, N) is of images in order of class; its diagonal is overwritten.
    """
    np.fill_diagonal(cosine, -2)
    label = np.repeat(np.arange(classes), len(cosine) // classes)
    hit = label[cosine.argmax(axis=1)] == label
    return hit.reshape(classes, -1).mean(axis=1)


def _accepted(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Of each row of scores (rows, n) how many reach +inf, each edge from the strictest, -inf."""
    rows, places = len(scores), len(edges) + 1
    place = (
        np.searchsorted(edges.astype(scores.dtype), scores, side="right")
        + places * np.arange(rows)[:, None]
    )
    counts = np.bincount(place.ravel(), minlength=rows * places).reshape(rows, places)
    accepted = np.cumsum(counts[:, ::-1], axis=1)
    return np.concatenate([np.zeros((rows, 1), dtype=accepted.dtype), accepted], axis=1)


def _crossing(far: np.ndarray, tar: np.ndarray) -> np.ndarray:
    excess = far - (1 - tar)
    after = np.argmax(excess >= 0, axis=1)
    row = np.arange(len(far))
    share = -excess[row, after - 1] / (excess[row, after] - excess[row, after - 1])
    return far[row, after - 1] + share * (far[row, after] - far[row, after - 1])
