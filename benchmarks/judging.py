"""``python -m benchmarks judge``: the verdict on anyone's embeddings, without any training."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embedding_files import EmbeddingFile, read_embeddings
from benchmarks.files import file_hash
from benchmarks.measures.kfold import contiguous_folds
from benchmarks.measures.pair_lists import FoundPairs, find_images, read_pairs
from benchmarks.protocols import PROTOCOLS, Outcome, ProtocolError, Settings, judge
from benchmarks.protocols.listed_pairs import VERSION, fuse, listed_pairs
from benchmarks.verdict_folder import check_out, write_folder

PAIRS = "pairs"  # beside the names of PROTOCOLS: the list of --pairs


@dataclass(frozen=True)
class Question:
    """What to judge, and how.

    Attributes
    ----------
    file, labels, names, pairs : paths as in `read_embeddings` and `read_pairs`.
    missing : "fail" or "skip", for pairs whose images have no embeddings.
    folds : a list without folds is cut into so many, in its order; 0: it has none.
    score, flip : as in `benchmarks.protocols.listed_pairs`.
    protocols : names of `PROTOCOLS`, and "pairs"; None: all that apply.
    """

    file: Path
    labels: Path | None = None
    names: Path | None = None
    pairs: Path | None = None
    missing: str = "fail"
    folds: int = 0
    score: str = "cosine"
    flip: str = "none"
    protocols: Sequence[str] | None = None


def judge_file(question: Question, settings: Settings, out: Path) -> dict[str, Any]:
    """Judge a file of embeddings and write the folder of its verdict, `out`.

    ``verdict.json`` (facts, settings, metrics, intervals, notes), ``metrics.csv``, and ``curves.npz``
    and ``replicates.npz`` as of a run. Intervals hold 95 % of the metrics under the resamples of the
    identities.

    Returns
    -------
    The content of ``verdict.json``.

    Raises
    ------
    ProtocolError : input that cannot be judged; `out` exists and is not a verdict.
    """
    started = time.monotonic()
    check_out(out)
    wanted = _wanted(question)
    given = read_embeddings(question.file, question.labels, question.names)
    given = _fused(given, question.flip)
    pairs = _pairs(question, question.pairs, given) if question.pairs else None
    chosen, left_out = _applicable(question, given, [name for name in wanted if name != PAIRS])
    if pairs is None and not chosen:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ProtocolError(f"{question.file}: no protocol applies: {reasons}")
    verdict = judge(given.judged, chosen, settings, sides=("test",))
    if pairs is not None:
        _add(verdict, _judge_pairs(question, given, pairs, settings))
    facts = {
        **_facts(question, given, settings),
        **(_pair_facts(question.pairs, given, pairs) if question.pairs and pairs else {}),
        "not_applicable": left_out,
        "seconds": round(time.monotonic() - started, 2),
    }
    return write_folder(verdict, out, chosen, facts)


def _wanted(question: Question) -> list[str]:
    allowed = [*PROTOCOLS, PAIRS]
    if question.pairs is None:
        _check_of_pairs(question)
    if question.protocols is None:
        return allowed if question.pairs else list(PROTOCOLS)
    for name in question.protocols:
        if name not in allowed:
            close = get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ProtocolError(f"unknown protocol {name!r}; allowed: {', '.join(allowed)}{hint}")
    if not question.protocols:
        raise ProtocolError(f"protocols: the list is empty; allowed: {', '.join(allowed)}")
    if PAIRS in question.protocols and not question.pairs:
        raise ProtocolError("the protocol 'pairs' needs a list: --pairs FILE")
    listed = [PAIRS] if question.pairs else []
    return list(dict.fromkeys([*question.protocols, *listed]))


def _check_of_pairs(question: Question) -> None:
    """Options of the listed pairs are not passed over in silence where there is no list."""
    for name, default in (("missing", "fail"), ("folds", 0), ("score", "cosine")):
        value = getattr(question, name)
        if value != default:
            raise ProtocolError(f"--{name} {value} is of listed pairs: give --pairs FILE as well")


def _fused(given: EmbeddingFile, flip: str) -> EmbeddingFile:
    fused = fuse(given.judged.embeddings, given.flipped, flip)
    weights = None if flip == "concat" else given.judged.class_weights  # of another width
    return replace(given, judged=replace(given.judged, embeddings=fused, class_weights=weights))


def _pairs(question: Question, path: Path, given: EmbeddingFile) -> FoundPairs:
    listed = read_pairs(path)
    if question.folds:
        if listed.folds is not None:
            raise ProtocolError(f"{path}: has folds of its own; leave out --folds")
        listed = replace(listed, folds=contiguous_folds(len(listed.left), question.folds))
    return find_images(listed, given.names, len(given.judged.labels), question.missing)


def _applicable(
    question: Question, given: EmbeddingFile, names: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """The protocols that can be applied, and for the others the reason.

    Raises
    ------
    ProtocolError : protocols are asked for by name, and the labels support none of any kind.
    """
    if not given.labelled:
        if question.pairs is None:
            raise ProtocolError(
                f"{question.file}: has no labels; give --labels FILE (npy, or a label a line), "
                "or --pairs FILE to judge listed pairs"
            )
        return [], dict.fromkeys(names, "there are no labels")
    labels = given.judged.labels
    classes = len(np.unique(labels))
    if question.pairs is None and classes == 1:
        raise ProtocolError(f"all {len(labels)} labels are of one class: there are no impostors")
    if question.pairs is None and classes == len(labels):
        raise ProtocolError(f"all {classes} labels differ: there are no genuine pairs")
    chosen, left_out = [], {}
    for name in names:
        empty = [w for w in PROTOCOLS[name].worlds if not len(given.judged.rows(f"{w}_test"))]
        if empty:
            left_out[name] = f"no image is marked as {empty[0]}_test by 'part'"
        else:
            chosen.append(name)
    return chosen, left_out


def _judge_pairs(
    question: Question, given: EmbeddingFile, pairs: FoundPairs, settings: Settings
) -> Outcome:
    labels = given.judged.labels if given.labelled else None
    return listed_pairs(given.judged.embeddings, pairs, settings, question.score, labels)


def _add(verdict: Outcome, other: Outcome) -> None:
    """Into the verdict, as `judge` adds those of the test side."""
    for kind in ("metrics", "notes", "replicates", "left_out", "identities"):
        getattr(verdict, kind).update(getattr(other, kind))
    verdict.curves.update({f"test/{name}": curve for name, curve in other.curves.items()})


def _facts(question: Question, given: EmbeddingFile, settings: Settings) -> dict[str, Any]:
    judged = given.judged
    return {
        "file": str(question.file),
        "sha256": file_hash(question.file),
        "images": len(judged.labels),
        "dimension": judged.embeddings.shape[1],
        "dtype": str(judged.embeddings.dtype),
        "classes": len(np.unique(judged.labels)) if given.labelled else None,
        "score": question.score,
        "flip": question.flip,
        "settings": {
            "fars": list(settings.fars),
            "fpirs": list(settings.fpirs),
            "galleries": settings.galleries,
            "resamples": settings.resamples,
            "device": settings.device,
        },
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }


def _pair_facts(path: Path, given: EmbeddingFile, pairs: FoundPairs) -> dict[str, Any]:
    labels = given.judged.labels
    conflicts = (labels[pairs.left] == labels[pairs.right]) != pairs.same
    return {
        PAIRS: {
            "file": str(path),
            "sha256": file_hash(path),
            "version": VERSION,
            "listed": pairs.listed,
            "judged": len(pairs.same),
            "folds": 0 if pairs.folds is None else len(np.unique(pairs.folds)),
            "skipped": list(pairs.skipped[:20]),
            "skipped_count": len(pairs.skipped),
            # Where the list says genuine and the labels differ, or the other way round.
            "label_conflicts": int(conflicts.sum()) if given.labelled else 0,
        }
    }
