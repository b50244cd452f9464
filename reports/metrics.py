"""What each metric is called, shown as, and which way is better: the one table of metrics of the
report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

VALIDATION = "validation/"


@dataclass(frozen=True)
class Metric:
    """One row of the table of metrics; `higher_is_better` is None for a quantity that is not a
    score.
    """

    name: str
    title: str  # in a caption or on an axis
    short: str  # in a table header
    higher_is_better: bool | None = None
    percent: bool = False  # a fraction in [0, 1], shown in per cent

    @property
    def axis(self) -> str:
        """Axis label with the unit."""
        return f"{self.title} (%)" if self.percent else self.title


_KNOWN = {
    row.name: row
    for row in (
        Metric("closed_set/top1", "Closed-set top-1 (classifier)", "Top-1", True, True),
        Metric("closed_set/ncm_top1", "Closed-set top-1 (nearest mean)", "NCM top-1", True, True),
        Metric("verification/eer", "Open-set EER", "EER", False, True),
        Metric("verification/auc", "Open-set ROC AUC", "AUC", True, True),
        Metric("retrieval/recall_at_1", "Open-set recall@1", "R@1", True, True),
        Metric("verification/genuine_pairs", "Genuine pairs", "Genuine pairs"),
        Metric("verification/impostor_pairs", "Impostor pairs", "Impostor pairs"),
    )
}
_TAR = re.compile(r"verification/tar_at_far_(?P<far>[0-9.e+-]+)$")
_ACHIEVED = re.compile(r"verification/achieved_far_(?P<far>[0-9.e+-]+)$")
_ORDER = ("closed_set/", "verification/eer", "verification/tar", "retrieval/", "")


def metric(name: str) -> Metric:
    """The row of a metric, with or without the prefix ``validation/``; an unlisted one is shown
    under its own name.

    >>> metric("verification/tar_at_far_1e-03").short
    'TAR@1e-3'
    >>> metric("validation/verification/eer").title
    'Validation: open-set EER'
    """
    if name.startswith(VALIDATION):
        row = metric(name.removeprefix(VALIDATION))
        title = row.title[0].lower() + row.title[1:]
        return Metric(
            name, f"Validation: {title}", f"val. {row.short}", row.higher_is_better, row.percent
        )
    if name in _KNOWN:
        return _KNOWN[name]
    if found := _TAR.match(name):
        far = _far_text(found["far"])
        return Metric(name, f"Open-set TAR at FAR = {far}", f"TAR@{far}", True, True)
    if found := _ACHIEVED.match(name):
        return Metric(
            name,
            f"Achieved FAR at {_far_text(found['far'])}",
            f"FAR@{_far_text(found['far'])}",
            None,
            True,
        )
    return Metric(name, name, name)


def scores(names: Iterable[str]) -> list[str]:
    """Of these metric names the test scores that have a direction, in the order of the tables'
    columns.
    """
    found = [
        n for n in names if not n.startswith(VALIDATION) and metric(n).higher_is_better is not None
    ]

    def place(name: str) -> tuple[int, float, str]:
        group = next(i for i, prefix in enumerate(_ORDER) if name.startswith(prefix))
        far = _TAR.match(name)
        # Classifier top-1 before the nearest class mean, easy rates before hard ones.
        return group, -float(far["far"]) if far else 0.0, "" if name == "closed_set/top1" else name

    return sorted(found, key=place)


def _far_text(text: str) -> str:
    return re.sub(r"e([+-])0*(\d)", lambda m: f"e{'' if m[1] == '+' else '-'}{m[2]}", text)
