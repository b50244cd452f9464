"""Fetch a data set where that is possible, and say what is needed where it is not."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from datasets.errors import DataError

TIMEOUT_SECONDS = 15.0


def fetched(
    name: str,
    *,
    ready: Callable[[], Path | None],
    download: Callable[[], object],
    missing: str,
    owner: str,
) -> Path:
    """The folder of a data set, downloaded first if it is absent and downloads are allowed.

    Parameters
    ----------
    name : str
    ready : callable
        Returns the folder once its files are there, None before.
    download : callable
        Fetches them. Not called where MARGINBENCH_OFFLINE is set to anything but "" or "0".
    missing, owner : str
        What must lie where, and who has it, for the error message.

    Raises
    ------
    DataError
        If the files are absent and cannot be downloaded.
    """
    folder = ready()
    if folder is not None:
        return folder
    if os.environ.get("MARGINBENCH_OFFLINE", "0") not in ("", "0"):
        reason = "MARGINBENCH_OFFLINE forbids downloads"
    else:
        reason = _attempt(download)
        folder = ready()
        if folder is not None:
            return folder
    raise DataError(f"{name}: {missing}; get it from {owner} ({reason})")


def _attempt(download: Callable[[], object]) -> str:
    """Run the download; the reason why it failed."""
    try:
        with _impatient():
            download()
    except ImportError as error:
        return f"cannot download: {error}"
    except (OSError, RuntimeError) as error:  # no network, no space, a wrong checksum
        return f"the download failed: {' '.join(str(error).split())}"
    return "the download brought other files"


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Let a silent server fail the download instead of hanging it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
