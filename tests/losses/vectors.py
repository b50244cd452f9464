"""Reads the independent test vectors: cases (see their README) and the arrays that they name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference" / "vectors"
CLAMP = 1e-6  # the losses clamp target cosines to ±(1 - CLAMP)


@dataclass(frozen=True)
class Case:
    """One case of the index; arrays are looked up by their short name."""

    row: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.row["name"])

    def param(self, key: str) -> Any:
        return self.row["params"][key]["value"]

    def input(self, key: str) -> np.ndarray:
        return self.arrays[self.row["inputs"][key]]

    def expected(self, key: str) -> np.ndarray:
        return self.arrays[self.row["expected"][key]]

    def tolerance(self, key: str, dtype: str) -> np.ndarray:
        """Allowed absolute error; for gradients one value per row, as a column."""
        tolerance = self.row["tol"][dtype][key]
        value = self.arrays[tolerance] if isinstance(tolerance, str) else np.asarray(tolerance)
        value = value + self.row.get("clamp_slack", {}).get(key, 0.0) * math.sqrt(2 * CLAMP)
        return value[:, None] if value.ndim == 1 and self.expected(key).ndim == 2 else value

    def assert_equal(self, key: str, got: np.ndarray, dtype: str = "float64") -> None:
        """Finite everywhere, and within the tolerance where the case compares."""
        assert np.isfinite(got).all(), f"{self.name}: {key} is not finite"
        expected = self.expected(key)
        error = np.abs(got - expected) / self.tolerance(key, dtype)
        masks = self.row.get("grad_mask", {})
        mask = masks.get(key.removeprefix("grad_"))
        if mask is not None and key.startswith("grad_"):
            error = np.where(self.arrays[mask], error, 0.0)
        worst = error.max(initial=0.0)
        assert worst <= 1, f"{self.name}: {key} is off by {worst:.3g} tolerances"


@cache
def cases() -> tuple[Case, ...]:
    """All public cases; none where the vectors are not beside the checkout."""
    index = FOLDER / "public.json"
    if not index.is_file():
        return ()
    with np.load(FOLDER / "public.npz") as stored:
        arrays = dict(stored)
    return tuple(Case(row, arrays) for row in json.loads(index.read_text())["cases"])
