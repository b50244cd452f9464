"""The independent metric vectors, where the folder that holds them is present."""

import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "reference" / "vectors"


def cases(*prefixes):
    """One pytest parameter per vector whose name begins with one of `prefixes`, or a skip."""
    if not (FOLDER / "public.json").exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no test vectors in {FOLDER}"))]
    index = json.loads((FOLDER / "public.json").read_text())["cases"]
    chosen = [case for case in index if case["name"].startswith(prefixes)]
    assert chosen, prefixes
    return [pytest.param(case, id=case["name"]) for case in chosen]


def arrays(case):
    """Inputs and expected values of a vector, by name."""
    with np.load(FOLDER / "public.npz") as file:
        return tuple(
            {name: file[key] for name, key in case[kind].items()} for kind in ("inputs", "expected")
        )
