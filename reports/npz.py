"""Single arrays out of large npz files, fast."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_LOCAL_HEADER = 30  # bytes before a member's name; its last four are the lengths of name and extra


class Npz(Mapping[str, NDArray[Any]]):
    """The arrays of an npz file by name, found once and read one by one.

    A report asks hundreds of files of about a hundred arrays each for one metric after another.
    `numpy.load` would go through the whole directory of a file every time.

    Parameters
    ----------
    path : written by `numpy.savez` or `numpy.savez_compressed`.

    Raises
    ------
    OSError, zipfile.BadZipFile : the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as stored:
            self._members = {
                each.filename.removesuffix(".npy"): (
                    each.header_offset,
                    each.compress_size,
                    each.compress_type,
                    each.CRC,
                )
                for each in stored.infolist()
            }
        self._path = path

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the array
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._members:
            raise KeyError(name)
        return self.read(name)[0]

    def read(self, *names: str) -> list[NDArray[Any]]:
        """These arrays.

        Raises
        ------
        ValueError : a damaged or truncated array, or one of Python objects.
        """
        with self._path.open("rb") as file:
            return [self._array(file, name) for name in names]

    def _array(self, file: io.BufferedReader, name: str) -> NDArray[Any]:
        offset, size, compression, crc = self._members[name]
        file.seek(offset)
        header = file.read(_LOCAL_HEADER)
        file.seek(sum(int.from_bytes(header[end - 2 : end], "little") for end in (28, 30)), 1)
        content = file.read(size)
        try:
            if compression == zipfile.ZIP_DEFLATED:
                content = zlib.decompress(content, -zlib.MAX_WBITS)
        except zlib.error as error:
            raise ValueError(f"{name}: {error}") from error
        if zlib.crc32(content) != crc:
            raise ValueError(f"{name}: damaged")
        # The header ends with the first line break.
        start = content.index(b"\n", npy.MAGIC_LEN) + 1
        shape, in_columns, dtype = _described(content[:start])
        array = np.frombuffer(content, dtype, offset=start)
        return array.reshape(shape[::-1]).T if in_columns else array.reshape(shape)


@lru_cache(maxsize=256)
def _described(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file = io.BytesIO(header)
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    if found[2].hasobject:
        raise ValueError("an array of Python objects")
    return found
