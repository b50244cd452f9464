"""The detection cost function of the NIST speaker recognition evaluations.

At a threshold the expected cost of a decision is C_miss · P · FRR + C_fa · (1 - P) · FAR, where P is
the prior probability of a genuine pair. It is divided by the cost of the better of the two
decisions that look at no score (accept all, reject all), so that 1 is worthless and 0 perfect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.roc import Roc


@dataclass(frozen=True)
class Costs:
    """What errors cost; the defaults are those of NIST's evaluations of 2016 and later.

    Attributes
    ----------
    prior : prior probability of a genuine pair, in (0, 1).
    miss, false_accept : cost of a rejected genuine and of an accepted impostor pair, above 0.

    Raises
    ------
    ProtocolError : a prior outside (0, 1) or a cost that is not above 0.
    """

    prior: float = 0.01
    miss: float = 1.0
    false_accept: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.prior < 1.0:
            raise ProtocolError(f"prior {self.prior:g}: must be in (0, 1)")
        if not (self.miss > 0.0 and self.false_accept > 0.0):
            raise ProtocolError("the costs of errors must be above 0")

    def of(self, far: np.ndarray, tar: np.ndarray) -> np.ndarray:
        """Normalised costs at points of a ROC, any shape."""
        miss, false_accept = self.miss * self.prior, self.false_accept * (1.0 - self.prior)
        return (miss * (1.0 - tar) + false_accept * far) / min(miss, false_accept)


def min_dcf(curve: Roc, costs: Costs | None = None) -> float:
    """The least normalised cost over all thresholds of the ROC, in [0, 1]."""
    return float((costs or Costs()).of(curve.far, curve.tar).min())
