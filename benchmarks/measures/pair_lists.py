"""Lists of pairs to verify: LFW's ``pairs.txt``, its View 1 lists, and plain lists of two names.

A list names images. `read_pairs` reads one, `find_images` finds its images among those that have
embeddings.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.errors import ProtocolError

FLAGS = {"0": False, "1": True}
FLAG_HEADERS = ("same", "issame", "is_same", "label")
SHOWN = 3  # missing names in a message


@dataclass(frozen=True)
class PairList:
    """Pairs of image names.

    Attributes
    ----------
    source : file, for messages.
    left, right : the names of each pair's two images, P of them.
    same : (P,) bool, genuine pairs.
    folds : (P,) int from 0; None where the list has none.
    lines : (P,) int, line of each pair in the file, from 1.
    """

    source: Path
    left: tuple[str, ...]
    right: tuple[str, ...]
    same: np.ndarray
    folds: np.ndarray | None
    lines: np.ndarray


@dataclass(frozen=True)
class FoundPairs:
    """The pairs of a list whose images have embeddings.

    Attributes
    ----------
    left, right : (P,) int, positions of the images.
    same : (P,) bool.
    folds : (P,) int, or None.
    listed : number of pairs in the list.
    skipped : for each pair left out, "line 585: no image Betsy_Coffin_0001".
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    folds: np.ndarray | None
    listed: int
    skipped: tuple[str, ...]


def read_pairs(path: Path) -> PairList:
    """Read a list of pairs; its kind is seen from its first line.

    ===================  ============================================================================
    first line           what follows
    ===================  ============================================================================
    ``10  300``          LFW View 2 (``pairs.txt``): ten times 300 lines ``name i j`` (genuine) and 300
                         lines ``name i name j`` (impostor); image j of a name is ``name_000j``
    ``500``              LFW View 1 (``pairsDevTest.txt``): once 500 and 500 such lines, no folds
    ``a b 1``, ``1 a b``  two names and 0 or 1, in this or the other order (insightface's ``.lst``);
                         between them white space, tabs or commas; a line ``a,b,same`` may stand first
    ===================  ============================================================================

    Empty lines are passed over.

    Raises
    ------
    ProtocolError : the file cannot be read, or a line is not as it should be: file, line, reason.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file (UTF-8)"
        raise ProtocolError(f"{path}: {reason}") from error
    rows = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not rows:
        raise ProtocolError(f"{path}: the file is empty")
    head = rows[0][1].split()
    if len(head) <= 2 and all(token.isdecimal() for token in head):
        folds, pairs = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
        return _lfw(path, rows, folds, pairs)
    return _plain(path, rows)


def find_images(
    pairs: PairList, names: Sequence[str] | None, images: int, missing: str = "fail"
) -> FoundPairs:
    """Find the images of a list among those that have embeddings.

    A name is looked for as it stands, then without the extension of an image file, then without
    folders as well; the last two count only where they mean a single image.

    Parameters
    ----------
    names : of the images in order; None: their positions "0", "1", … are their names.
    images : their number.
    missing : "fail", or "skip" to leave out and count the pairs whose images are missing.

    Raises
    ------
    ProtocolError : images missing that may not be, a name of several images, no pair left.
    """
    if missing not in ("fail", "skip"):
        raise ProtocolError(f"missing: {missing!r}; allowed: fail, skip")
    tables = _tables(names if names is not None else [str(place) for place in range(images)])
    places = np.full((len(pairs.left), 2), -1)
    skipped: list[str] = []
    for row, (both, line) in enumerate(
        zip(zip(pairs.left, pairs.right, strict=True), pairs.lines, strict=True)
    ):
        found = [_look_up(name, tables, f"{pairs.source}: line {line}") for name in both]
        lost = [name for name, place in zip(both, found, strict=True) if place is None]
        if lost:
            skipped.append(f"line {line}: no image {' nor '.join(dict.fromkeys(lost))}")
        else:
            places[row] = found
    if skipped and missing == "fail":
        more = f" … ({len(skipped)} pairs in all)" if len(skipped) > SHOWN else ""
        hint = (
            "--missing skip leaves such pairs out"
            if names is not None
            else f"the embeddings have no names, so that only positions 0 to {images - 1} are found"
        )
        raise ProtocolError(f"{pairs.source}: {'; '.join(skipped[:SHOWN])}{more}; {hint}")
    kept = places[:, 0] >= 0
    if not kept.any():
        raise ProtocolError(f"{pairs.source}: none of its {len(kept)} pairs has both images here")
    folds = None if pairs.folds is None else pairs.folds[kept]
    left, right = places[kept].T
    return FoundPairs(left, right, pairs.same[kept], folds, len(kept), tuple(skipped))


def _lfw(path: Path, rows: list[tuple[int, str]], folds: int, pairs: int) -> PairList:
    """`folds` times `pairs` genuine and `pairs` impostor lines after the first line."""
    expected = 2 * folds * pairs
    if expected == 0 or len(rows) - 1 != expected:
        raise ProtocolError(
            f"{path}: line {rows[0][0]} promises {expected} pairs, {len(rows) - 1} lines follow"
        )
    left: list[str] = []
    right: list[str] = []
    same: list[bool] = []
    for place, (number, line) in enumerate(rows[1:]):
        fields = line.split("\t") if "\t" in line else line.split()
        genuine = place % (2 * pairs) < pairs
        if genuine and len(fields) == 3:
            fields.insert(2, fields[0])
        elif genuine or len(fields) != 4:
            wanted = "name i j" if genuine else "name i name j"
            kind = "a genuine" if genuine else "an impostor"
            raise ProtocolError(
                f"{path}: line {number}: {kind} pair must read {wanted!r}: {line!r}"
            )
        for names, (name, index) in ((left, fields[:2]), (right, fields[2:])):
            if not index.strip().isdecimal():
                raise ProtocolError(f"{path}: line {number}: {index!r} is not an image number")
            names.append(f"{name.strip()}_{int(index):04d}")
        same.append(genuine)
    fold = np.repeat(np.arange(folds), 2 * pairs) if folds > 1 else None
    lines = np.array([number for number, _ in rows[1:]])
    return PairList(path, tuple(left), tuple(right), np.array(same), fold, lines)


def _plain(path: Path, rows: list[tuple[int, str]]) -> PairList:
    """Lines of two names and a flag."""
    separator = next((sign for sign in (",", "\t") if sign in rows[0][1]), None)
    split = [
        (number, [field.strip() for field in _fields(line, separator)]) for number, line in rows
    ]
    for number, fields in split:
        if len(fields) != 3:
            raise ProtocolError(
                f"{path}: line {number}: must be two names and 0 or 1, as 'a b 1' or '1 a b' "
                f"({len(fields)} fields): {', '.join(fields)[:80]!r}"
            )
    column = next((c for c in (2, 0) if split[0][1][c].lower() in FLAG_HEADERS), None)
    if column is not None:
        split = split[1:]
    else:
        # Where both ends are flags all the way (names "0" and "1"), the last one is the flag.
        column = 2 if all(fields[2] in FLAGS for _, fields in split) else 0
        if column == 0 and split[0][1][0] not in FLAGS:
            column = 2
    for number, fields in split:
        if fields[column] not in FLAGS:
            place = "last" if column else "first"
            raise ProtocolError(
                f"{path}: line {number}: the {place} field must be 0 or 1, not {fields[column]!r}"
            )
    if not split:
        raise ProtocolError(f"{path}: has a header and no pairs")
    names = [[field for c, field in enumerate(fields) if c != column] for _, fields in split]
    return PairList(
        path,
        tuple(a for a, _ in names),
        tuple(b for _, b in names),
        np.array([FLAGS[fields[column]] for _, fields in split]),
        None,
        np.array([number for number, _ in split]),
    )


def _fields(line: str, separator: str | None) -> list[str]:
    return next(csv.reader([line])) if separator == "," else line.split(separator)


_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|gif|webp|tiff?|p[gpbn]m|npy)$", re.IGNORECASE)


def _forms(name: str) -> tuple[str, str, str]:
    """A name as it stands, without extension, and without folders as well."""
    bare = _EXTENSION.sub("", name.replace("\\", "/"))
    return name, bare, bare.rpartition("/")[2]


def _tables(names: Sequence[str]) -> list[dict[str, int]]:
    """For each of the three forms the image of each name; -1 where several share it."""
    tables: list[dict[str, int]] = [{}, {}, {}]
    for place, name in enumerate(names):
        for table, form in zip(tables, _forms(name), strict=True):
            table[form] = -1 if form in table else place
    return tables


def _look_up(name: str, tables: list[dict[str, int]], where: str) -> int | None:
    for table, form in zip(tables, _forms(name), strict=True):
        place = table.get(form)
        if place == -1:
            raise ProtocolError(f"{where}: {name!r} is the name of several images")
        if place is not None:
            return place
    return None
