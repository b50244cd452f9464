"""Checkpoints of a stack in training: one an epoch, the last two kept, never half a file."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import torch

log = logging.getLogger(__name__)


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # torch hides the reason, a full disk say, behind an error of its own.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


class Checkpoints:
    """The folder of one stack's checkpoints, outside all declared outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current, self.previous = folder / "current.pt", folder / "previous.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors, numbers, strings, lists, dictionaries); the one before stays as ``previous.pt``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".writing.{os.getpid()}"
        try:
            with temporary.open("wb") as file:
                _save(state, file)
                file.flush()
                os.fsync(file.fileno())
            if self.current.exists():
                self.current.replace(self.previous)
            temporary.replace(self.current)
        finally:
            temporary.unlink(missing_ok=True)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None; a damaged one is named and passed over."""
        for path in (self.current, self.previous):
            if not path.exists():
                continue
            try:
                return torch.load(path, map_location=device, weights_only=True)
            except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
                log.warning(
                    "%s: damaged checkpoint (%s); going on without it",
                    path,
                    str(error).splitlines()[0] if str(error) else error,
                )
        return None

    def remove(self) -> None:
        """Delete the checkpoints: the runs they led to are in the run store."""
        shutil.rmtree(self.folder, ignore_errors=True)
