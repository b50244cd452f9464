"""Whether two ways of training reach the same quality, as far as the seeds can tell. NumPy alone.

Both ways train the same experiments: pairs with one loss, one seed, one split and the same initial weights. Of each
metric the mean difference is compared with its own noise, Student's interval over the pairs, and with a tolerance below
which no difference matters. A comparison whose interval is wider than `Rule.widest` says nothing and does not pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
FEWEST_SEEDS = 3


class QualityError(ValueError):
    """The two ways cannot be compared."""


@dataclass(frozen=True)
class Rule:
    """How far a metric's mean may differ in any case, and how wide its interval may be for the comparison to count."""

    tolerance: float
    widest: float


# About one standard deviation of a run, and four (conv3 on Omniglot, 10 epochs: EER 0.25 %, R@1 1.1 %, top-1 1.6 %).
RULES = {
    "verification/eer": Rule(0.003, 0.02),
    "retrieval/recall_at_1": Rule(0.01, 0.05),
    "closed_set/top1": Rule(0.015, 0.065),
}

# For runs in seconds, of which a run's noise is several times that.
LENIENT = {name: Rule(rule.tolerance, 4 * rule.widest) for name, rule in RULES.items()}


@dataclass(frozen=True)
class Verdict:
    """Of one metric: means of both ways, mean difference (suite - usual) with its interval, and how it was judged."""

    metric: str
    pairs: int
    usual: float
    suite: float
    difference: float
    low: float
    high: float
    tolerance: float
    status: str  # equal | differs | cannot tell

    def text(self) -> str:
        """One line for a reader."""
        return (
            f"{self.metric}: usual {self.usual:.4f}, suite {self.suite:.4f}, difference {self.difference:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}] over {self.pairs} pairs: {self.status}"
        )


def judge(
    usual: Mapping[tuple[str, int], Mapping[str, float]],
    suite: Mapping[tuple[str, int], Mapping[str, float]],
    rules: Mapping[str, Rule] = RULES,
) -> list[Verdict]:
    """Compare the metrics of both ways, by loss and seed.

    Raises
    ------
    QualityError : not the same experiments, fewer than three seeds of a loss or than two losses, a metric that is
        missing or not finite.
    """
    if usual.keys() != suite.keys():
        raise QualityError(f"the ways trained different experiments: {sorted(usual.keys() ^ suite.keys())}")  # fmt: skip
    names = sorted(usual)
    losses = {loss for loss, _ in names}
    seeds = min((sum(name == loss for name, _ in names) for loss in losses), default=0)
    if len(losses) < 2 or seeds < FEWEST_SEEDS:
        raise QualityError(
            f"{len(losses)} losses with {seeds} seeds: at least 2 and {FEWEST_SEEDS} are needed"
        )
    return [_verdict(metric, names, usual, suite, rule) for metric, rule in rules.items()]


def _verdict(
    metric: str,
    names: Sequence[tuple[str, int]],
    usual: Mapping[tuple[str, int], Mapping[str, float]],
    suite: Mapping[tuple[str, int], Mapping[str, float]],
    rule: Rule,
) -> Verdict:
    columns = []
    for way, found in (("usual", usual), ("suite", suite)):
        values = np.array([_value(found[name].get(metric)) for name in names])
        if not np.isfinite(values).all():
            raise QualityError(f"{metric} of the {way} way is missing or not finite: {values}")
        columns.append(values)
    theirs, ours = columns
    gaps = ours - theirs
    mean, reach = float(gaps.mean()), half_width(gaps)
    status = "equal" if reach <= rule.widest else "cannot tell"
    if abs(mean) > max(rule.tolerance, reach):
        status = "differs"
    return Verdict(
        metric=metric, pairs=len(names), usual=float(theirs.mean()), suite=float(ours.mean()), difference=mean,
        low=mean - reach, high=mean + reach, tolerance=rule.tolerance, status=status,
    )  # fmt: skip


def _value(value: float | None) -> float:
    return math.nan if value is None else float(value)


def half_width(values: np.ndarray, confidence: float = CONFIDENCE) -> float:
    """Half the width of Student's interval of the mean of at least two values."""
    count = len(values)
    return student_quantile((1 + confidence) / 2, count - 1) * float(
        values.std(ddof=1) / math.sqrt(count)
    )


def student_quantile(probability: float, degrees: int) -> float:
    """Where Student's distribution function reaches a probability in (0.5, 1), to about 1e-6."""
    low, high = 0.0, 1e4
    while high - low > 1e-7 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (low, middle) if _student(middle, degrees) > probability else (middle, high)
    return (low + high) / 2


def _student(value: float, degrees: int) -> float:
    """Student's distribution function at `value` >= 0.

    With t = sqrt(n) tan(a) its density is cos(a)^(n-1) up to a factor, smooth on a finite interval: Simpson's rule.
    """
    steps = 2000
    angles = np.linspace(0.0, math.atan(value / math.sqrt(degrees)), steps + 1)
    weights = np.full(steps + 1, 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    area = float((weights * np.cos(angles) ** (degrees - 1)).sum()) * (angles[1] - angles[0]) / 3
    log_factor = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    return 0.5 + math.exp(log_factor) / math.sqrt(math.pi) * area
