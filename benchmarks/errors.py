"""Errors that a user can act on; the command line prints their message without a traceback."""

from __future__ import annotations


class ConfigError(Exception):
    """A study file that cannot be run: every problem, one a line."""


class TrainingError(Exception):
    """A stack that could not be trained for a reason outside the experiments (disk, device, lock)."""


class ProtocolError(ValueError):
    """Embeddings, scores or settings that cannot be judged; the message says which and why."""
