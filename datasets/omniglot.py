"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by the same 20 people.

Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program
induction", Science 2015. Folders as torchvision lays them out:
``omniglot-py/images_{background,evaluation}/<alphabet>/<character>/<number>_<drawer>.png``.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasets.download import fetched
from datasets.errors import DataError
from datasets.image_set import TEST, TRAIN, ImageSet, from_arrays
from datasets.progress import progress
from datasets.registry import fixed_facts

SIDE = 105
DRAWERS = 20
PARTS = {"images_background": (TRAIN, 964), "images_evaluation": (TEST, 659)}


def load(options: Mapping[str, Any], data_root: Path) -> ImageSet:
    """Decode Omniglot: ink 255 on 0, background classes in TRAIN, evaluation classes in TEST.

    Classes are named "Alphabet/character01" and stand in order of part, alphabet, character; the
    images of a class in order of drawer. Each output pixel is the mean ink over its area in the 105
    × 105 original, computed in whole numbers: the same on every machine.

    Raises
    ------
    DataError
        If the folders are missing, not complete, or an image is corrupt or not the published one.
    """
    root = _folder(data_root)
    names, files, parts = _listing(root)
    ink = np.empty((len(files), SIDE, SIDE), dtype=bool)
    for position, file in enumerate(progress(files, "omniglot")):
        ink[position] = _decode(file)
    _verify(root, files, ink)
    images = area_resize(ink, options["image_size"])[:, None]
    labels = np.repeat(np.arange(len(names)), DRAWERS)
    return from_arrays("omniglot", images, labels, names, np.repeat(parts, DRAWERS))


def source_checksum(names: list[str], ink: np.ndarray) -> str:
    """SHA-256 of file names and binary drawings, whatever PNG compression holds them."""
    digest = hashlib.sha256("\n".join(names).encode())
    digest.update(np.packbits(ink).tobytes())
    return digest.hexdigest()


def area_resize(ink: np.ndarray, side: int) -> np.ndarray:
    """Shrink binary drawings by exact area averaging.

    Parameters
    ----------
    ink : bool (N, S, S)
    side : int
        At most S.

    Returns
    -------
    uint8 (N, side, side)
        255 × the share of ink in each pixel's area, rounded half up.
    """
    source = ink.shape[-1]
    # In units of 1 / (source · side) of the side both grids have whole-numbered edges.
    target_start, source_start = np.arange(side)[:, None] * source, np.arange(source) * side
    overlap_end = np.minimum(target_start + source, source_start + side)
    overlap = overlap_end - np.maximum(target_start, source_start)
    weights = np.maximum(overlap, 0).astype(np.float32)  # (side, source)
    resized = np.empty((len(ink), side, side), dtype=np.uint8)
    for start in range(0, len(ink), 512):
        # Sums stay below source² = 11,025 and products below 2²⁴: float32 holds them exactly.
        area = weights @ ink[start : start + 512].astype(np.float32) @ weights.T
        resized[start : start + 512] = (area.astype(np.int64) * 510 + source**2) // (2 * source**2)
    return resized


def _folder(data_root: Path) -> Path:
    root = data_root / "omniglot-py"

    def download() -> None:
        from torchvision.datasets import Omniglot

        for background in (True, False):
            Omniglot(str(data_root), background=background, download=True)

    return fetched(
        "omniglot",
        ready=lambda: root if all((root / part).is_dir() for part in PARTS) else None,
        download=download,
        missing=f"{root} must hold the folders {' and '.join(PARTS)}, unpacked from "
        "images_background.zip and images_evaluation.zip",
        owner="brendenlake/omniglot on GitHub, or torchvision.datasets.Omniglot on a machine with "
        "network access",
    )


def _listing(root: Path) -> tuple[list[str], list[Path], np.ndarray]:
    """Class names, all files in order, and the part of each class."""
    names: list[str] = []
    files: list[Path] = []
    parts: list[int] = []
    for folder, (part, expected) in PARTS.items():
        characters = sorted(path for path in (root / folder).glob("*/*") if path.is_dir())
        if len(characters) != expected:
            raise DataError(
                f"{root / folder}: {len(characters)} characters, expected {expected}; unpack "
                f"{folder}.zip again"
            )
        for character in characters:
            drawings = sorted(character.glob("*.png"))
            drawers = [file.stem.rpartition("_")[2] for file in drawings]
            if drawers != [f"{drawer:02d}" for drawer in range(1, DRAWERS + 1)]:
                raise DataError(
                    f"{character}: {len(drawings)} drawings, expected one by each of the drawers "
                    f"01 … {DRAWERS}; unpack {folder}.zip again"
                )
            names.append(f"{character.parent.name}/{character.name}")
            files.extend(drawings)
            parts.append(part)
    return names, files, np.array(parts)


def _decode(file: Path) -> np.ndarray:
    """Where the ink is, bool (105, 105)."""
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{file}: not a readable PNG ({error}); unpack it again") from error
    if pixels.shape != (SIDE, SIDE):
        raise DataError(
            f"{file}: {pixels.shape[1]} × {pixels.shape[0]} pixels, expected {SIDE} × {SIDE}"
        )
    return pixels < 128


def _verify(root: Path, files: list[Path], ink: np.ndarray) -> None:
    names = [file.relative_to(root).as_posix() for file in files]
    if source_checksum(names, ink) != fixed_facts("omniglot").source:
        raise DataError(
            f"{root}: complete, but not the published drawings; unpack both archives again"
        )
