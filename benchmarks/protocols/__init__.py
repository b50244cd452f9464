"""Ways of judging embeddings: plain functions on arrays, no training code, NumPy only.

A protocol is one function ``(judged, side, settings) -> Outcome`` and one row of
``registry.PROTOCOLS``. ``judge`` applies protocols to one run's embeddings; the score-level
functions (``roc``, ``closed_set``, ``retrieval``) know nothing of runs and can be used on any
scores.
"""

from benchmarks.protocols.judged import Judged, Outcome, ProtocolError, Settings, read_judged
from benchmarks.protocols.registry import PROTOCOLS, Protocol, judge

__all__ = [
    "PROTOCOLS",
    "Judged",
    "Outcome",
    "Protocol",
    "ProtocolError",
    "Settings",
    "judge",
    "read_judged",
]
