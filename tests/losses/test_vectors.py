"""The losses against values and gradients that were computed independently from the papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.losses.adapters import ADAPTERS
from tests.losses.vectors import Case, cases

DTYPES = {"float64": torch.float64, "float32": torch.float32}


def params() -> list[Any]:
    """(case, dtype) of every case of a loss; metrics are tested elsewhere."""
    found = [
        pytest.param(case, dtype, id=f"{case.name}-{dtype}")
        for case in cases()
        if case.row["kind"] != "metric"
        for dtype in case.row["tol"]
    ]
    absent = pytest.mark.skip(reason="the vectors are not there")
    return found or [pytest.param(None, None, id="absent", marks=absent)]


@pytest.mark.parametrize(("case", "dtype"), params())
def test_vectors(case: Case, dtype: str) -> None:
    adapter = ADAPTERS[case.row["oracle"]]
    got = adapter.run(case, DTYPES[dtype])
    for key in case.row["expected"]:
        if key in got:
            case.assert_equal(key, got[key], dtype)
        else:
            assert key in adapter.without, f"{case.name}: {key} is not computed"
            assert key == "per" or key.startswith("info_")
