"""The order that objectives put trials in, and the names that the protocols really produce."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.protocols import PROTOCOLS, Judged, Settings, judge
from benchmarks.tuning.objectives import (
    OBJECTIVES,
    best_first,
    direction,
    fronts,
    names,
)
from datasets.splits import PART_CODES
from reports.metrics import metric

EVALUATE = {"protocols": list(PROTOCOLS), "fars": [0.1, 0.01], "fpirs": [0.5]}

VALUES = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 4), st.integers(0, 4))), max_size=9)
WAYS = st.tuples(*[st.sampled_from(["minimize", "maximize"])] * 2)


def verdict() -> dict[str, float | None]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 12)
    part = np.full(len(labels), PART_CODES["train"])
    part[labels >= 20] = PART_CODES["unknown_validation"]
    part[(labels < 20) & (np.arange(len(labels)) % 12 >= 9)] = PART_CODES["known_validation"]
    embeddings = rng.normal(size=(40, 8))[labels] + 0.5 * rng.normal(size=(len(labels), 8))
    top = np.argsort(rng.random((len(labels), 20)), axis=1)[:, :5]
    scores = -np.sort(-rng.random((len(labels), 5)), axis=1)
    judged = Judged(
        embeddings, labels, part, np.arange(20), top, scores, np.log(np.exp(scores).sum(1)) + 1
    )
    settings = Settings(fars=(0.1, 0.01), fpirs=(0.5,), resamples=0)
    return judge(judged, list(PROTOCOLS), settings, sides=("validation",)).metrics


def test_the_protocols_produce_every_objective() -> None:
    found = verdict()
    for name in names(EVALUATE):
        assert found[f"validation/{name}"] is not None, name


def test_the_report_agrees_which_way_is_better() -> None:
    assert len(names(EVALUATE)) == len(OBJECTIVES) + 1  # two false accept rates
    for name in names(EVALUATE):
        assert metric(name).higher_is_better == (direction(name) == "maximize"), name
        assert direction(f"validation/{name}") == direction(name)


def dominated(one: tuple[int, int], other: tuple[int, int], ways: tuple[str, str]) -> bool:
    """By the definition: `other` is nowhere worse and somewhere better."""
    better = [
        b < a if way == "minimize" else b > a for a, b, way in zip(one, other, ways, strict=True)
    ]
    worse = [
        b > a if way == "minimize" else b < a for a, b, way in zip(one, other, ways, strict=True)
    ]
    return any(better) and not any(worse)


@given(VALUES, WAYS)
def test_fronts_by_brute_force(values: list[tuple[int, int] | None], ways: tuple[str, str]) -> None:
    known = {place: own for place, own in enumerate(values) if own is not None}
    found = fronts(values, ways)
    assert sorted(itertools.chain(*found)) == sorted(known)
    left = dict(known)
    for front in found:
        expected = [
            place
            for place, own in left.items()
            if not any(dominated(own, other, ways) for other in left.values())
        ]
        assert front == expected
        for place in front:
            del left[place]
    order = best_first(values, ways)
    assert sorted(order) == sorted(known)
    rank = {place: number for number, front in enumerate(found) for place in front}
    assert [rank[place] for place in order] == sorted(rank.values())


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=9),
    st.sampled_from(["minimize", "maximize"]),
)
def test_one_objective_is_a_stable_sort(values: list[int | None], way: str) -> None:
    known = [place for place, own in enumerate(values) if own is not None]
    expected = sorted(known, key=lambda place: values[place] * (1 if way == "minimize" else -1))
    assert best_first([None if own is None else (own,) for own in values], [way]) == expected


def test_within_a_front_the_compromise_comes_first() -> None:
    # The ends of the front are best in one objective and worst in the other.
    values = [(0.0, 3.0), (3.0, 0.0), (1.0, 1.0), (2.0, 2.0)]
    order = best_first(values, ["minimize", "minimize"])
    assert order[0] == 2
    assert order[-1] == 3


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_protocol_that_is_not_asked_for_gives_no_objective(protocol: str) -> None:
    less = {**EVALUATE, "protocols": [name for name in PROTOCOLS if name != protocol]}
    assert not any(name.startswith(f"{protocol}/") for name in names(less))
