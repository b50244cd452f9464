"""Reader of IDX, the file format of MNIST and its kin, plain or gzipped.

A big-endian header (two zero bytes, a type code, the number of dimensions, then each dimension as
four bytes) is followed by the values in row order.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from datasets.errors import DataError

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(file: Path) -> np.ndarray:
    """Read an IDX file.

    Returns
    -------
    array
        Of the file's shape and type, in native byte order.

    Raises
    ------
    DataError
        If the file cannot be read or unpacked, is no IDX file, or is shorter or longer than its
        header says; names file and reason.
    """
    return parse_idx(read_payload(file), file)


def read_payload(file: Path) -> bytes:
    """The file's bytes, unpacked if they are gzipped, whatever the file is called."""
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}); fetch it again") from error


def parse_idx(payload: bytes, file: Path) -> np.ndarray:
    """The array that IDX bytes hold; `file` is named in errors."""
    code = payload[2] if len(payload) >= 4 else None
    if code not in DTYPES or payload[:2] != b"\0\0" or payload[3] == 0:
        raise DataError(
            f"{file}: not an IDX file, it begins with {payload[:4].hex(' ') or 'nothing'}"
        )
    dtype, dimensions = np.dtype(DTYPES[code]), payload[3]
    start = 4 + 4 * dimensions
    if len(payload) < start:
        raise DataError(f"{file}: truncated within its header ({len(payload)} of {start} bytes)")
    shape = tuple(np.frombuffer(payload, ">u4", dimensions, offset=4).tolist())
    expected = start + math.prod(shape) * dtype.itemsize
    if len(payload) != expected:
        state = "truncated" if len(payload) < expected else "longer than its header says"
        raise DataError(f"{file}: {state}: {len(payload)} bytes, {expected} expected for {shape}")
    values = np.frombuffer(payload, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
