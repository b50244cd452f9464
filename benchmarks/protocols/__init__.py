"""Ways of judging the embeddings of a run; no training code.

A protocol is one function ``(judged, side, settings) -> Outcome`` and one row of
``registry.PROTOCOLS``; ``judge`` applies protocols to one run's embeddings. The maths is in
``benchmarks.measures`` and can be used on any scores.
"""

from benchmarks.errors import ProtocolError
from benchmarks.protocols.judged import Judged, Outcome, Settings, read_judged
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
