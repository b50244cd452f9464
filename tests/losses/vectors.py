"""Reads the independent test vectors: cases (see their README) and the arrays that they name."""

from __future__ import annotations

import gzip
import json
import math
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

VARIABLE = "MARGINBENCH_VECTORS"
FOLDERS = (
    Path(__file__).resolve().parent / "data",
    Path(__file__).resolve().parents[3] / "shared" / "reference" / "vectors",
)
"""Where vectors are looked for, unless the environment names a folder."""

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
        rows = self.row["tol"][dtype]
        tolerance = rows.get(key, rows["loss"]) if key.startswith("info_") else rows[key]
        value = self.arrays[tolerance] if isinstance(tolerance, str) else np.asarray(tolerance)
        value = value + self.row.get("clamp_slack", {}).get(key, 0.0) * math.sqrt(2 * CLAMP)
        return value[:, None] if value.ndim == 1 and self.expected(key).ndim == 2 else value

    def errors(self, key: str, got: np.ndarray, dtype: str = "float64") -> tuple[float, float]:
        """Largest error where the case compares: absolute, and as a multiple of the tolerance."""
        expected = self.expected(key)
        assert np.size(got) == expected.size, f"{self.name}: {key} has shape {np.shape(got)}"
        error = np.abs(np.reshape(got, expected.shape) - expected)
        allowed = np.broadcast_to(self.tolerance(key, dtype), error.shape)
        exact = np.where(error == 0, 0.0, np.where(np.isnan(error), np.nan, np.inf))
        relative = np.divide(error, allowed, out=exact, where=allowed > 0)  # some allow no error
        mask = self.row.get("grad_mask", {}).get(key.removeprefix("grad_"))
        if mask is not None and key.startswith("grad_"):
            compared = self.arrays[mask]
            error, relative = np.where(compared, error, 0.0), np.where(compared, relative, 0.0)
        return float(error.max(initial=0.0)), float(relative.max(initial=0.0))

    def errors_nan(self, key: str, got: object) -> float:
        """Largest error as a multiple of the tolerance, in float64; an expected nan wants a nan or None."""
        expected = np.asarray(self.expected(key), dtype=float)
        values = np.asarray(got, dtype=float)  # None becomes nan
        assert values.size == expected.size, f"{self.name}: {key} has shape {values.shape}"
        values = values.reshape(expected.shape)
        same = (values == expected) | (np.isnan(values) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            error = np.where(same, 0.0, np.abs(values - expected))
        error = np.where(np.isnan(error), np.inf, error)
        return float((error / self.tolerance(key, "float64")).max(initial=0.0))

    def assert_equal(self, key: str, got: np.ndarray, dtype: str = "float64") -> None:
        """Finite everywhere, and within the tolerance where the case compares."""
        assert np.isfinite(got).all(), f"{self.name}: {key} is not finite"
        worst = self.errors(key, got, dtype)[1]
        assert worst <= 1, f"{self.name}: {key} is off by {worst:.3g} tolerances"


def folder() -> Path | None:
    """The folder of the vectors; None where there is none.

    Raises
    ------
    FileNotFoundError
        The environment names a folder without vectors.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not _indexes(Path(named)):
            raise FileNotFoundError(f"{VARIABLE} = {named!r}: no <split>.json with a <split>.npz")
        return Path(named)
    return next((path for path in FOLDERS if _indexes(path)), None)


def _indexes(path: Path) -> list[Path]:
    """Indexes of the splits in a folder, ``<split>.json`` or ``<split>.json.gz``."""
    found = sorted([*path.glob("*.json"), *path.glob("*.json.gz")])
    return [index for index in found if _arrays_of(index).is_file()]


def _arrays_of(index: Path) -> Path:
    return index.with_name(index.name.partition(".json")[0] + ".npz")


@cache
def read(path: Path) -> tuple[Case, ...]:
    """All cases of all splits in a folder."""
    found: list[Case] = []
    for index in _indexes(path):
        text = index.read_bytes()
        text = gzip.decompress(text) if index.suffix == ".gz" else text
        with np.load(_arrays_of(index)) as stored:
            arrays = dict(stored)
        found += [Case(row, arrays) for row in json.loads(text)["cases"]]
    return tuple(found)


def cases() -> tuple[Case, ...]:
    """All cases; none where there are no vectors."""
    path = folder()
    return () if path is None else read(path)
