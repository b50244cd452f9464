"""Decode a data set once; afterwards every process maps the same file.

A cache entry is written to a temporary folder and renamed, so that it is either whole or absent,
and two processes that decode the same data at once do not meet.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import DataError
from datasets.image_set import ImageSet
from datasets.registry import Description, describe, resolve_options, row, target

log = logging.getLogger(__name__)

ARRAYS = ("images", "labels", "parts")
MANIFEST = "manifest.json"


def load(
    name: str, options: Mapping[str, Any] | None, *, data_root: Path, cache_root: Path
) -> ImageSet:
    """The data set with these options: decoded on first use, mapped from the cache later.

    Parameters
    ----------
    name, options
        As in `datasets.registry.DATASETS`.
    data_root : Path
        Where data sets lie.
    cache_root : Path
        Holds ``<name>-<checksum[:12]>/`` with ``images.npy``, ``labels.npy``, ``parts.npy`` and
        ``manifest.json``. Anything in it may be deleted at any time.

    Raises
    ------
    DataError
        If the data is missing, corrupt, or not what the table of data sets says it is.
    """
    options = resolve_options(name, options)
    description = describe(name, options, data_root, cache_root)
    folder = Path(cache_root) / f"{name}-{description.checksum[:12]}"
    cached = _open(folder, description)
    if cached is None:
        decoded = target(row(name).loader)(options, Path(data_root))
        _compare(decoded, description)
        _write(decoded, folder, description)
        cached = _open(folder, description)
    # Another process may have put its own copy in place just now; ours is as good.
    return cached if cached is not None else decoded


def _open(folder: Path, description: Description) -> ImageSet | None:
    """The cached data set, or None if it is absent or damaged."""
    if not (folder / MANIFEST).exists():  # the folder alone may have been made by a scheduler
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["source_checksum"] != description.checksum:
            raise ValueError("another checksum in the manifest")
        for file, size in manifest["bytes"].items():
            if (folder / file).stat().st_size != size:
                raise ValueError(f"{file} is not {size} bytes long")
        images, labels, parts = (
            np.load(folder / f"{array}.npy", mmap_mode="r", allow_pickle=False) for array in ARRAYS
        )
        names = tuple(manifest["class_names"])
        if len({len(images), len(labels), len(parts), manifest["images"]}) != 1:
            raise ValueError("arrays of different lengths")
        return ImageSet(manifest["name"], images, labels, names, parts, manifest["checksum"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: damaged cache (%s); decoding again", folder, error)
        return None


def _write(image_set: ImageSet, folder: Path, description: Description) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for array in ARRAYS:
            np.save(temporary / f"{array}.npy", getattr(image_set, array))
        manifest = {
            "name": image_set.name,
            "images": len(image_set.labels),
            "checksum": image_set.checksum,
            "source_checksum": description.checksum,
            "bytes": {
                f"{array}.npy": (temporary / f"{array}.npy").stat().st_size for array in ARRAYS
            },
            "class_names": image_set.class_names,
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        _put(temporary, folder, description)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: Path, description: Description) -> None:
    """Rename into place, clearing away a damaged entry; a sound one is left as it is."""
    try:
        temporary.rename(folder)
        return
    except OSError:
        if _open(folder, description) is not None:
            return
    damaged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        folder.rename(damaged)
        temporary.rename(folder)
    except OSError as error:
        if _open(folder, description) is None:
            raise DataError(f"{folder}: cannot write the cache: {error}") from error
    finally:
        shutil.rmtree(damaged, ignore_errors=True)


def _compare(decoded: ImageSet, description: Description) -> None:
    """Raise unless the decoded set is as described."""
    count, channels, height, _ = decoded.images.shape
    smallest = int(np.bincount(decoded.labels, minlength=len(decoded.class_names)).min())
    found = {
        "classes": len(decoded.class_names),
        "images": count,
        "smallest_class": smallest,
        "channels": channels,
        "image_size": height,
    }
    for key, value in found.items():
        expected = getattr(description, key)
        if value != expected:
            raise DataError(f"{decoded.name}: decoded {key} is {value}, expected {expected}")
