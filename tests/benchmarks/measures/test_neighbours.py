"""Order by float32 products with a bound: the same as by float64 products, whatever stands close together."""

import math

import numpy as np
import pytest

from benchmarks.measures import cosine_ranks, neighbours
from benchmarks.measures.cosine import product_error, unit_rows
from benchmarks.measures.neighbours import SingleBlocks, nearest
from benchmarks.measures.relevance import Relevance


def clusters(rng, images=500, classes=40, dimensions=16, noise=1.0):
    labels = rng.integers(0, classes, images)
    centres = rng.standard_normal((classes, dimensions))
    return centres[labels] + noise * rng.standard_normal((images, dimensions)), labels


def nearly_tied(rng, images):
    """Rows on a short arc: all cosines are closer to each other than float32 can tell, few as close as keys can."""
    angles = rng.uniform(0, 3e-3, images)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1), rng.integers(0, 9, images)


def collapsed(rng, images):
    rows = rng.standard_normal(12) + 1e-7 * rng.standard_normal((images, 12))
    return rows, rng.integers(0, 9, images)


def duplicates(rng, images):
    source = rng.integers(0, images // 4, images)
    return rng.standard_normal((images, 37))[source], rng.integers(0, 9, images)


SETS = {
    "clusters": clusters,
    "one class": lambda rng: clusters(rng, 60, 1),
    "pairs only": lambda rng: (rng.standard_normal((90, 5)), np.repeat(np.arange(45), 2)),
    "alone": lambda rng: (rng.standard_normal((90, 5)), np.arange(90)),
    "lattice": lambda rng: (rng.choice([-1.0, 1.0], (400, 9)), rng.integers(0, 30, 400)),
    "nearly tied": lambda rng: nearly_tied(rng, 300),
    "collapsed": lambda rng: collapsed(rng, 300),
    "duplicates": lambda rng: duplicates(rng, 300),
    "zero rows": lambda rng: (np.zeros((40, 6)), rng.integers(0, 4, 40)),
    "long and short rows": lambda rng: (
        rng.standard_normal((200, 8)) * 10.0 ** rng.integers(-200, 200, (200, 1)),
        rng.integers(0, 20, 200),
    ),
}


@pytest.mark.parametrize("width", [1, 2, 16, 64, 513])
def test_a_float32_product_is_within_its_bound(width):
    rng = np.random.default_rng(width)
    rows = np.concatenate(
        [
            rng.standard_normal((40, width)),
            rng.choice([-1.0, 1.0], (10, width)),  # the sum of absolute products is 1
            np.full((1, width), 1 / 3),
            10.0 ** rng.uniform(-30, 0, (10, width)),  # products below the range of float32
        ]
    )
    unit = unit_rows(rows, np.float64)
    found = np.concatenate([block for _, block in SingleBlocks(unit, unit)])
    exact = np.array([[math.fsum(left * right) for right in unit] for left in unit])
    assert np.abs(found - exact).max() <= product_error(width)


def ranks(unit, relevance, most_open, monkeypatch):
    """Of each query its ranks, falling."""
    monkeypatch.setattr(cosine_ranks, "MOST_OPEN", most_open)
    counts, found = relevance.counts(), {}
    for rows, block in cosine_ranks.cosine_ranks(*unit, relevance):
        found.update(
            {row: own[: counts[row]].tolist() for row, own in zip(rows, block, strict=True)}
        )
    assert list(found) == list(range(len(counts)))
    return list(found.values())


@pytest.mark.parametrize("rows_of_a_block", [7, 256])
@pytest.mark.parametrize("name", SETS)
def test_ranks_by_float32_are_those_by_float64(name, rows_of_a_block, monkeypatch):
    monkeypatch.setattr(neighbours, "MIN_ROWS", 1)
    monkeypatch.setattr(neighbours, "MAX_ROWS", rows_of_a_block)
    rows, labels = SETS[name](np.random.default_rng(3))
    unit, relevance = unit_rows(rows, np.float64), Relevance(labels, labels, True)
    single = ranks((unit, unit), relevance, np.inf, monkeypatch)
    assert single == ranks((unit, unit), relevance, -1, monkeypatch)
    assert all((np.diff(own) < 0).all() for own in single)


def test_removed_references_are_in_no_rank_by_float32(monkeypatch):
    rng = np.random.default_rng(4)
    rows, labels = clusters(rng, 300, 10, 6)
    unit, cameras = unit_rows(rows, np.float64), rng.integers(0, 3, 300)
    sides = unit[:80], unit[80:]
    relevance = Relevance(labels[:80], labels[80:], False, cameras[:80], cameras[80:])
    single = ranks(sides, relevance, np.inf, monkeypatch)
    assert single == ranks(sides, relevance, -1, monkeypatch)
    for query, own in enumerate(single):
        junk = (labels[80:] == labels[query]) & (cameras[80:] == cameras[query])
        assert max(own, default=1) <= 220 - junk.sum()


def float64_rows(monkeypatch, module):
    """The numbers of queries whose cosines are computed in float64, as they come."""
    asked, blocks = [], module.cosine_blocks

    def counted(queries, references):
        asked.append(len(queries))
        return blocks(queries, references)

    monkeypatch.setattr(module, "cosine_blocks", counted)
    return asked


def test_float32_is_enough_for_what_nets_embed(monkeypatch):
    rows, labels = clusters(np.random.default_rng(5), 2000, 100, 64)
    unit = unit_rows(rows, np.float64)
    asked = float64_rows(monkeypatch, cosine_ranks)
    list(cosine_ranks.cosine_ranks(unit, unit, Relevance(labels, labels, True)))
    assert asked == [0]
    asked = float64_rows(monkeypatch, neighbours)
    nearest(unit, unit, 5)
    assert asked == [0]


def test_float64_takes_over_where_float32_leaves_too_much_open(monkeypatch):
    monkeypatch.setattr(neighbours, "MIN_ROWS", 1)
    monkeypatch.setattr(neighbours, "MAX_ROWS", 50)
    rng = np.random.default_rng(6)
    apart, labels = clusters(rng, 1400, 70, 12)
    close, others = collapsed(rng, 600)
    unit = unit_rows(np.concatenate([apart, close]), np.float64)
    labels = np.concatenate([labels, others + 70])
    relevance = Relevance(labels, labels, True)
    expected = ranks((unit, unit), relevance, -1, monkeypatch)
    asked = float64_rows(monkeypatch, cosine_ranks)
    assert ranks((unit, unit), relevance, 8, monkeypatch) == expected
    assert 0 < asked[-1] <= 650


@pytest.mark.parametrize("of_a_class", [2, 5])
def test_small_classes_of_a_collapsed_net_are_left_to_float64(of_a_class, monkeypatch):
    # Few ranks are open, but each to all references: their pairs would fill the memory.
    rows, _ = collapsed(np.random.default_rng(7), 600)
    unit, labels = unit_rows(rows, np.float64), np.arange(600) // of_a_class
    asked = float64_rows(monkeypatch, cosine_ranks)
    list(cosine_ranks.cosine_ranks(unit, unit, Relevance(labels, labels, True)))
    assert asked == [600]


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("name", SETS)
def test_nearest_by_float32_are_those_by_float64(name, k, monkeypatch):
    rows, _ = SETS[name](np.random.default_rng(8))
    references = np.concatenate([rows] * (2000 // len(rows) + 1))  # and each of them again
    found = {}
    for most in (np.inf, 8, -1):
        monkeypatch.setattr(neighbours, "MOST_CANDIDATES", most)
        found[most] = nearest(rows, references, k)
    for position, level in (found[np.inf], found[8]):
        np.testing.assert_array_equal(position, found[-1][0])
        np.testing.assert_array_equal(level, found[-1][1])
