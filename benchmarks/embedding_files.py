"""Anyone's embeddings: an npz or npy file, with labels and names in it or beside it."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.protocols.judged import PER_IMAGE, Judged
from datasets.splits import PART_CODES

OPTIONAL = tuple(
    field.name for field in fields(Judged) if field.name not in ("embeddings", "labels")
)
SHOWN = 3  # rows or names in a message
LARGEST = 1e100  # entries of embeddings; their squares must have sums in float64


@dataclass(frozen=True)
class EmbeddingFile:
    """What a file of embeddings holds.

    Attributes
    ----------
    judged : the arrays as protocols take them; without ``part`` in the file every image is
        "unknown_test".
    labelled : whether there are labels; without, those in `judged` are all 0 and mean nothing.
    names : of the images, (N,) texts; None where there are none.
    flipped : (N, D) embeddings of the mirror images, or None.
    """

    judged: Judged
    labelled: bool
    names: list[str] | None
    flipped: np.ndarray | None


def read_embeddings(
    path: Path, labels: Path | None = None, names: Path | None = None
) -> EmbeddingFile:
    """Read embeddings, and labels and names from files of their own where these are given.

    Parameters
    ----------
    path : npz with ``embeddings`` (N, D) and, all of them optional, ``labels`` (N,) whole numbers or
        texts, ``names`` (N,) texts, ``flipped`` (N, D), and the arrays of
        ``benchmarks.protocols.Judged``; or npy with (N, D).
    labels : npy, or text with one label a line.
    names : npy, or text with one name a line.

    Raises
    ------
    ProtocolError : a file is missing, damaged or of another kind, or an array is not as it should be.
    """
    arrays = _arrays(path)
    if labels is not None:
        arrays["labels"] = _column(labels)
    if names is not None:
        arrays["names"] = _column(names)
    embeddings = arrays["embeddings"]
    _check_embeddings(path, "embeddings", embeddings)
    count = len(embeddings)
    for name in (*PER_IMAGE, "names", "flipped"):
        if name in arrays and (arrays[name].ndim == 0 or len(arrays[name]) != count):
            raise ProtocolError(
                f"{labels if name == 'labels' and labels else path}: "
                f"{arrays[name].size if arrays[name].ndim < 2 else len(arrays[name])} {name} "
                f"for {count} embeddings; there must be one for each"
            )
    flipped = arrays.get("flipped")
    if flipped is not None:
        _check_embeddings(path, "flipped", flipped)
    found = {name: arrays[name] for name in OPTIONAL if name in arrays}
    _check_part(path, found.get("part"))
    _check_columns(path, arrays)
    found.setdefault("part", np.full(count, PART_CODES["unknown_test"], dtype=np.int8))
    numbers = _numbers(labels or path, arrays["labels"]) if "labels" in arrays else None
    ids = np.zeros(count, dtype=np.int64) if numbers is None else numbers
    if "known_classes" not in found:
        found["known_classes"] = np.unique(ids[found["part"] == PART_CODES["train"]])
    _check_classifier(path, arrays, (len(found["known_classes"]), embeddings.shape[1]))
    texts = arrays["names"].astype(str).tolist() if "names" in arrays else None
    try:
        judged = Judged(embeddings=embeddings, labels=ids, **found)
    except ProtocolError as error:
        raise ProtocolError(f"{path}: {error}") from error
    return EmbeddingFile(judged, numbers is not None, texts, flipped)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz by name; an npy is one, named ``embeddings``."""
    if path.is_dir():
        raise ProtocolError(f"{path}: is a folder; give an .npz or .npy file")
    try:
        # Pickles are refused: reading one may run any code.
        with path.open("rb") as file:
            kind = file.read(6)
        if not (kind.startswith(b"PK") or kind == b"\x93NUMPY"):
            raise ProtocolError(
                f"{path}: is neither an .npz nor an .npy file of NumPy; write one with "
                "np.savez('embeddings.npz', embeddings=…, labels=…)"
            )
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"embeddings": loaded}
        with loaded:
            if "embeddings" not in loaded.files:
                held = ", ".join(loaded.files) or "nothing"
                raise ProtocolError(f"{path}: has no array 'embeddings', (N, D); it holds {held}")
            wanted = {"embeddings", "labels", "names", "flipped", *OPTIONAL}
            return {name: loaded[name] for name in loaded.files if name in wanted}
    except ProtocolError:
        raise
    except OSError as error:
        raise ProtocolError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ProtocolError(
                f"{path}: holds Python objects, which only unpickling could read, and a pickle can run "
                "any code; save plain numbers and texts, as np.array(labels, dtype=str)"
            ) from error
        raise ProtocolError(f"{path}: damaged: {error}") from error
    except (EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ProtocolError(f"{path}: damaged: {error}") from error


def _check_embeddings(path: Path, name: str, array: np.ndarray) -> None:
    if array.dtype.kind != "f":
        cast = f"; cast them: {name}.astype('float32')" if array.dtype.kind in "iub" else ""
        raise ProtocolError(f"{path}: {name} must be floating, not {array.dtype}{cast}")
    if array.ndim != 2 or 0 in array.shape:
        raise ProtocolError(
            f"{path}: {name} must be (N, D), a row for each image, not {array.shape}"
        )
    broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(broken):
        rows = ", ".join(map(str, broken[:SHOWN])) + (" …" if len(broken) > SHOWN else "")
        raise ProtocolError(
            f"{path}: {len(broken)} of {len(array)} {name} hold NaN or infinity (rows {rows}); "
            "no score can be made of them: mend or leave out these images"
        )
    largest = max(float(array.max()), -float(array.min()))
    if largest > LARGEST:
        raise ProtocolError(
            f"{path}: {name} reach {largest:.3g}, too large to take lengths of; scale them down"
        )


def _check_columns(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Arrays of one value an image are (N,)."""
    for name in ("names", "part", "logsumexp", "cameras", "query"):
        if name in arrays and arrays[name].ndim != 1:
            raise ProtocolError(f"{path}: {name} must be (N,), not {arrays[name].shape}")


def _check_classifier(path: Path, arrays: dict[str, np.ndarray], weights: tuple[int, int]) -> None:
    """What a classifier said fits together; `weights`: the shape that its weights must have."""
    for name in ("known_classes", "top_classes"):
        kinds = {arrays[each].dtype.kind for each in (name, "labels") if each in arrays}
        if name in arrays and not kinds <= {"i", "u"}:
            raise ProtocolError(
                f"{path}: {name} are labels of classes; they and the labels must be whole numbers"
            )
    shapes = [arrays[name].shape for name in ("top_classes", "top_scores") if name in arrays]
    if shapes and (len(shapes) < 2 or len(shapes[0]) != 2 or shapes[0] != shapes[1]):
        raise ProtocolError(
            f"{path}: top_classes and top_scores must both be (N, k), the best k classes of each "
            f"image, not {' and '.join(map(str, shapes))}"
        )
    given = arrays["class_weights"].shape if "class_weights" in arrays else weights
    if given != weights:
        raise ProtocolError(
            f"{path}: class_weights must be {weights}, a row for each known class as long as an "
            f"embedding, not {given}"
        )


def _check_part(path: Path, part: np.ndarray | None) -> None:
    if part is None or (
        part.dtype.kind in "iu" and set(np.unique(part)) <= set(PART_CODES.values())
    ):
        return
    codes = ", ".join(f"{code} ({name})" for name, code in PART_CODES.items())
    raise ProtocolError(f"{path}: part must be whole numbers, the codes {codes}")


def _column(path: Path) -> np.ndarray:
    """One value an image: an npy, or the lines of a text."""
    if path.suffix == ".npy":
        return _arrays(path)["embeddings"]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ProtocolError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{path}: neither an .npy file nor a text (UTF-8)") from error
    while lines and not lines[-1].strip():
        lines.pop()
    values = [line.strip() for line in lines]
    empty = [number for number, value in enumerate(values, 1) if not value]
    if empty:
        raise ProtocolError(f"{path}: line {empty[0]} is empty; one value a line is needed")
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array(values, dtype=str)


def _numbers(path: Path, labels: np.ndarray) -> np.ndarray:
    """Labels as class ids (N,) int64; texts are numbered in their order."""
    if labels.ndim != 1:
        raise ProtocolError(f"{path}: labels must be (N,), not {labels.shape}")
    if labels.dtype.kind in "US":
        return np.unique(labels, return_inverse=True)[1].astype(np.int64)
    if labels.dtype.kind not in "iu":
        whole = labels.dtype.kind == "b" or (
            labels.dtype.kind == "f" and bool(np.all(labels == np.round(labels)))
        )
        hint = "; cast them: labels.astype('int64')" if whole else ""
        raise ProtocolError(
            f"{path}: labels must be whole numbers or texts, not {labels.dtype}{hint}"
        )
    return labels.astype(np.int64)
