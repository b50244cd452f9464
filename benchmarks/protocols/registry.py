"""The table of protocols, and the one call that judges a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from benchmarks.protocols.closed_set import closed_set
from benchmarks.protocols.judged import Judged, Outcome, ProtocolError
from benchmarks.protocols.retrieval import retrieval
from benchmarks.protocols.verification import verification


@dataclass(frozen=True)
class Protocol:
    """A way of judging embeddings.

    Attributes
    ----------
    name : as in study files; its metrics and curves begin with ``name/``.
    classes : "known" or "unknown": whose held-out images it judges.
    function : ``(judged, part, fars) -> Outcome``; `part` is ``<classes>_validation`` or
        ``<classes>_test``, `fars` are the false accept rates of the study (for protocols with
        operating points).
    meaning : one line for readers.
    """

    name: str
    classes: str
    function: Callable[[Judged, str, Sequence[float]], Outcome]
    meaning: str


PROTOCOLS: dict[str, Protocol] = {
    row.name: row
    for row in (
        Protocol(
            "closed_set",
            "known",
            closed_set,
            "Which known class is this image of? By the classifier and by the nearest class mean.",
        ),
        Protocol(
            "verification",
            "unknown",
            verification,
            "Are two images of one class? All pairs of images of classes never seen in training.",
        ),
        Protocol(
            "retrieval",
            "unknown",
            retrieval,
            "Is the nearest other image of the same class? Classes never seen in training.",
        ),
    )
}


def judge(
    run: Judged, protocols: Sequence[str], fars: Sequence[float]
) -> tuple[dict[str, float | None], dict[str, str], dict[str, np.ndarray]]:
    """Judge one run by `protocols` (keys of ``PROTOCOLS``) at the false accept rates `fars`.

    Returns
    -------
    metrics : value by name, None where not defined; test images under the plain name, validation
        images under ``validation/<name>`` where the split has any.
    notes : for every None its reason.
    curves : arrays named ``<test|validation>/<protocol>/<curve>``.

    Raises
    ------
    ProtocolError : unknown protocol, or a rate outside [0, 1].
    """
    for name in protocols:
        if name not in PROTOCOLS:
            close = get_close_matches(name, PROTOCOLS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ProtocolError(f"unknown protocol {name!r}; allowed: {', '.join(PROTOCOLS)}{hint}")
    for far in fars:
        if not 0.0 <= far <= 1.0:
            raise ProtocolError(f"false accept rate {far}: must be in [0, 1]")
    metrics: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    curves: dict[str, np.ndarray] = {}
    for name in protocols:
        row = PROTOCOLS[name]
        for side, prefix in (("test", ""), ("validation", "validation/")):
            part = f"{row.classes}_{side}"
            if side == "validation" and len(run.rows(part)) == 0:
                continue
            outcome = row.function(run, part, fars)
            metrics.update({prefix + key: value for key, value in outcome.metrics.items()})
            notes.update({prefix + key: note for key, note in outcome.notes.items()})
            curves.update({f"{side}/{key}": curve for key, curve in outcome.curves.items()})
    return metrics, notes, curves
