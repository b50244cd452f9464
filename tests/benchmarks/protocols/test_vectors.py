"""Every independent metric vector, within its own tolerance."""

import pytest

from tests.benchmarks.protocols.adapters import ADAPTERS
from tests.losses.vectors import cases

CASES = [case for case in cases() if case.row["kind"] == "metric"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vector(case):
    got = ADAPTERS[case.row["oracle"]][1](case)
    assert set(got) == set(case.row["expected"])
    for key, value in got.items():
        worst = case.errors_nan(key, value)
        assert worst <= 1, f"{case.name}: {key} is off by {worst:.3g} tolerances"


def test_every_oracle_has_its_adapter():
    assert {case.row["oracle"] for case in CASES} == set(ADAPTERS)
    assert len(CASES) >= 194
