"""Fingerprints of source code: what the code says, whatever its comments, docstrings and layout.

An experiment's identity holds the fingerprint of the training engine and of its own loss, so that editing
CosFace re-runs CosFace, and a comment re-runs nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from losses import catalog

ROOT = Path(__file__).resolve().parent.parent

# What decides the numbers of a trained model, the loss itself apart. Loaders are covered by the data's checksum.
ENGINE = (
    "benchmarks/angles.py",
    "benchmarks/backbones.py",
    "benchmarks/convolutions.py",
    "benchmarks/data.py",
    "benchmarks/graphs.py",
    "benchmarks/history.py",
    "benchmarks/layers.py",
    "benchmarks/optim.py",
    "benchmarks/outcome.py",
    "benchmarks/progress.py",
    "benchmarks/seeds.py",
    "benchmarks/snapshots.py",
    "benchmarks/splitting.py",
    "benchmarks/stack.py",
    "benchmarks/stacked.py",
    "benchmarks/train.py",
    "datasets/augment.py",
    "datasets/batches.py",
    "datasets/splits.py",
    "losses/build.py",
    "losses/class_sampling.py",
)
JUDGING = ("benchmarks/measures", "benchmarks/protocols")
# What decides which trials a search makes and which of them wins.
TUNING = (
    "benchmarks/evaluate.py",
    "benchmarks/tuning/objectives.py",
    "benchmarks/tuning/optuna_studies.py",
    "benchmarks/tuning/rounds.py",
    "benchmarks/tuning/searches.py",
    "benchmarks/tuning/settings.py",
    "benchmarks/tuning/space.py",
)


def _strip_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def source_fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the code of `paths`, without docstrings, comments and formatting.

    `ast.unparse` and not `ast.dump` is hashed: its text is the same on every Python version we support.
    """
    digest = hashlib.sha256()
    # Folder and name, not the whole path: the same order wherever a package is installed.
    for path in sorted(paths, key=lambda item: item.parts[-2:]):
        digest.update(f"{path.name}\0{_code(path.read_text())}\0".encode())
    return digest.hexdigest()


@cache
def _code(text: str) -> str:
    """A module's code alone; kept, since most losses share their modules."""
    return ast.unparse(_strip_docstrings(ast.parse(text)))


@cache
def engine_fingerprint() -> str:
    """Fingerprint of the training engine."""
    return source_fingerprint(ROOT / path for path in ENGINE)


@cache
def loss_fingerprint(loss: str) -> str:
    """Fingerprint of one loss: its module and the modules of ``losses/`` that it imports."""
    return source_fingerprint(Path(path) for path in catalog.source_modules(loss))


@cache
def protocols_fingerprint() -> str:
    """Fingerprint of the judging of embeddings."""
    return source_fingerprint(path for folder in JUDGING for path in (ROOT / folder).glob("*.py"))


@cache
def tuning_fingerprint() -> str:
    """Fingerprint of how searches proceed."""
    return source_fingerprint(ROOT / path for path in TUNING)
