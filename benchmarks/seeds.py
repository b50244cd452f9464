"""Named random streams, derived with SHA-256 from an experiment's seed.

A stream depends on its name, the seed and its own coordinates (an epoch, say) and on nothing else: not on the
loss, the neighbours in a stack, the process or the order of calls. So losses that share a seed share their
split, initial backbone, batches and augmentations, and a resumed run draws what an uninterrupted one draws.
"""

from __future__ import annotations

import hashlib

import numpy as np

STREAMS = ("split", "init", "order", "augment", "head", "tune")


def stream_seed(stream: str, seed: int, *coordinates: str | int) -> int:
    """A 63-bit seed for one named stream.

    Parameters
    ----------
    stream : one of ``STREAMS``.
    seed : the experiment's seed (its repetition), >= 0.
    coordinates : what else tells this draw from others, for example the epoch.

    Raises
    ------
    ValueError : `stream` is not a known stream.
    """
    if stream not in STREAMS:
        raise ValueError(f"unknown random stream {stream!r}; allowed: {', '.join(STREAMS)}")
    text = "/".join(["marginbench", stream, str(seed), *map(str, coordinates)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(stream: str, seed: int, *coordinates: str | int) -> np.random.Generator:
    """A NumPy generator at the start of that stream."""
    return np.random.Generator(np.random.PCG64(stream_seed(stream, seed, *coordinates)))
