"""English for numbers and names: lists, plurals, p-values, correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports.metrics import metric
from reports.statistics.correlation import Correlation
from reports.statistics.intervals import LEVEL
from reports.summary import Probability

NAMED = 6  # names in one sentence; beyond that they are counted


def joined(names: Sequence[str], named: int = NAMED) -> str:
    """Names as a list, the ones beyond `named` counted.

    >>> joined(["A", "B", "C"])
    'A, B and C'
    >>> joined(["A", "B", "C", "D"], named=2)
    'A, B and 2 more'
    """
    shown = list(names)
    if len(names) > named:
        shown = [*names[:named], f"{len(names) - named} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def counted(number: int, word: str, plural: str = "s") -> str:
    """A number with its noun.

    >>> counted(1, "loss", "es"), counted(1200, "run")
    ('1 loss', '1,200 runs')
    """
    return f"{number:,} {word}{'' if number == 1 else plural}"


def capital(text: str) -> str:
    """With a capital first letter; the others as they are."""
    return text[:1].upper() + text[1:]


def in_sentence(name: str) -> str:
    """The title of a metric within a sentence.

    >>> in_sentence("verification/eer")
    'open-set EER'
    """
    title = metric(name).title
    return title if title[:2].isupper() else title[0].lower() + title[1:]


def p_text(p: float) -> str:
    """``"p = 0.043"``, ``"p < 0.001"``; what is just below 5 % is not rounded up to it.

    >>> p_text(0.0499), p_text(0.0501)
    ('p < 0.05', 'p = 0.050')
    """
    if 0.0495 <= p < 1 - LEVEL:
        return "p < 0.05"
    text = Probability(p).text
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def rho_text(found: Correlation) -> str:
    """``"ρ = 0.62 [0.10, 0.88]"``; without an interval where there is none.

    >>> rho_text(Correlation(0.5, float("nan"), float("nan"), 4))
    'ρ = 0.50'
    """
    interval = "" if math.isnan(found.low) else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"ρ = {found.rho:.2f}{interval}".replace("-", "−")
