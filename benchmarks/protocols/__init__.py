"""Ways of judging embeddings: plain functions on arrays, no training code, NumPy only.

A protocol is one function ``(judged, part, fars) -> Outcome`` and one row of
``registry.PROTOCOLS``. ``judge`` applies protocols to one run's embeddings; the score-level
functions (``roc``, ``closed_set``, ``retrieval``) know nothing of runs and can be used on any
scores.
"""

from benchmarks.protocols.judged import Judged, Outcome, ProtocolError, read_judged
from benchmarks.protocols.registry import PROTOCOLS, Protocol, judge

__all__ = [
    "PROTOCOLS",
    "Judged",
    "Outcome",
    "Protocol",
    "ProtocolError",
    "judge",
    "read_judged",
]
