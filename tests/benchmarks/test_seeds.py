"""Random streams depend on their name, the seed and their coordinates, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from benchmarks.seeds import STREAMS, rng, stream_seed


def test_a_stream_is_the_sha256_of_its_name_and_coordinates() -> None:
    digest = hashlib.sha256(b"marginbench/order/3/balanced/7").hexdigest()
    assert stream_seed("order", 3, "balanced", 7) == int(digest[:16], 16) // 2


def test_streams_never_change() -> None:
    """A published result names its seed; these numbers are what it meant then."""
    assert stream_seed("split", 0) == 8817485997924287737
    assert stream_seed("head", 1, "cosface") == 179732746906384626
    assert rng("augment", 2, 1).integers(0, 1000, 4).tolist() == [435, 484, 856, 132]


def test_all_streams_differ() -> None:
    seeds = [
        stream_seed(stream, seed, *coordinates)
        for stream in STREAMS
        for seed in range(20)
        for coordinates in [(), (1,), (1, 2), (12,), ("1", "x")]
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_order_of_calls_does_not_matter() -> None:
    first = rng("order", 0, 1).random(5)
    rng("order", 0, 2).random(100)
    np.random.default_rng().random(3)
    assert np.array_equal(rng("order", 0, 1).random(5), first)


def test_an_unknown_stream() -> None:
    with pytest.raises(ValueError, match=r"'shuffle'; allowed: split, init, order, augment, head"):
        stream_seed("shuffle", 0)
