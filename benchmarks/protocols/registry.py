"""The table of protocols, and the one call that judges a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.protocols.closed_set import closed_set
from benchmarks.protocols.geometry import geometry
from benchmarks.protocols.identification import identification
from benchmarks.protocols.judged import SIDES, Judged, Outcome, Settings
from benchmarks.protocols.open_set_recognition import open_set_recognition
from benchmarks.protocols.retrieval import retrieval
from benchmarks.protocols.verification import verification


@dataclass(frozen=True)
class Protocol:
    """A way of judging embeddings.

    Attributes
    ----------
    name : as in study files; its metrics and curves begin with ``name/``.
    worlds : "known", "unknown" or both: whose held-out images it judges.
    function : ``(judged, side, settings) -> Outcome``; `side` is "test" or "validation", so that the images are those
        of the parts ``<world>_<side>``.
    version : raised whenever the meaning of one of its numbers changes.
    meaning : one line for readers.
    """

    name: str
    worlds: tuple[str, ...]
    function: Callable[[Judged, str, Settings], Outcome]
    version: int
    meaning: str


PROTOCOLS: dict[str, Protocol] = {
    row.name: row
    for row in (
        Protocol(
            "closed_set",
            ("known",),
            closed_set,
            2,
            "Which known class is this image of? By the classifier, by class means, by neighbours.",
        ),
        Protocol(
            "verification",
            ("unknown",),
            verification,
            3,
            "Are two images of one class? All pairs of images of classes never seen in training.",
        ),
        Protocol(
            "identification",
            ("unknown",),
            identification,
            1,
            "Who of the gallery is this, or nobody? Half of the unknown classes enrolled, half not.",
        ),
        Protocol(
            "open_set_recognition",
            ("known", "unknown"),
            open_set_recognition,
            1,
            "Is this of a known class, and of which? Known classes against classes never seen in training.",
        ),
        Protocol(
            "retrieval",
            ("unknown",),
            retrieval,
            2,
            "Does an image find the others of its class? Classes never seen in training.",
        ),
        Protocol(
            "geometry",
            ("unknown",),
            geometry,
            1,
            "How do classes and images lie? Angles, lengths and spread, with training images and class weights.",
        ),
    )
}


def judge(
    run: Judged, protocols: Sequence[str], settings: Settings, sides: Sequence[str] = SIDES
) -> Outcome:
    """Judge one run by `protocols` (keys of ``PROTOCOLS``).

    Parameters
    ----------
    sides : "test", "validation" or both.

    Returns
    -------
    One outcome. Test metrics, notes, replicates and left-out values stand under the plain name, those of
    validation under ``validation/<name>`` where the split has such images (there without replicates: nothing is
    claimed of them); curves under ``test/<name>`` and ``validation/<name>``.

    Raises
    ------
    ProtocolError : an unknown protocol or side.
    """
    for name in protocols:
        if name not in PROTOCOLS:
            close = get_close_matches(name, PROTOCOLS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ProtocolError(f"unknown protocol {name!r}; allowed: {', '.join(PROTOCOLS)}{hint}")
    for side in sides:
        if side not in SIDES:
            raise ProtocolError(f"unknown side {side!r}; allowed: {', '.join(SIDES)}")
    verdict = Outcome()
    if "test" in sides:
        for world in sorted({world for name in protocols for world in PROTOCOLS[name].worlds}):
            verdict.identities[world] = np.unique(run.labels[run.rows(f"{world}_test")])
    for name in protocols:
        row = PROTOCOLS[name]
        for side in sides:
            if side == "test":
                outcome, prefix = row.function(run, side, settings), ""
            elif all(len(run.rows(f"{world}_{side}")) for world in row.worlds):
                outcome = row.function(run, side, replace(settings, resamples=0))
                prefix = "validation/"
            else:
                continue
            for kind in ("metrics", "notes", "replicates", "left_out"):
                found = getattr(outcome, kind)
                getattr(verdict, kind).update({prefix + key: item for key, item in found.items()})
            verdict.curves.update({f"{side}/{key}": item for key, item in outcome.curves.items()})
    return verdict
