"""What each metric is called, shown as, and which way is better: the one table of metrics of the
report.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

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
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def unit(self) -> str:
        """``"%"`` of a fraction shown in per cent, ``"°"`` of an angle, else nothing."""
        return "%" if self.percent else "°" if self.name in _DEGREES else ""

    @property
    def protocol(self) -> str:
        """The protocol that it belongs to."""
        return self.name.removeprefix(VALIDATION).split("/")[0]

    @property
    def few_accepts(self) -> bool:
        """Whether a few false accepts set its threshold (`reports.statistics.intervals.identity_variance`)."""
        # Other rates at a threshold weigh images, not pairs: nothing there is peculiar to pairs.
        return "/tar_at_far" in self.name


# Pattern of the name; title, short, higher is better, per cent. {0}, {1} are what the groups found,
# rates and scores as text. The first row that fits counts; the order is that of the tables.
_ROWS: tuple[tuple[str, str, str, bool | None, bool], ...] = (
    ("closed_set/top1", "Closed-set top-1 (classifier)", "Top-1", True, True),
    ("closed_set/top5", "Closed-set top-5 (classifier)", "Top-5", True, True),
    ("closed_set/ncm_top1", "Closed-set top-1 (nearest mean)", "NCM top-1", True, True),
    ("closed_set/knn_top1", "Closed-set top-1 (nearest neighbours)", "kNN top-1", True, True),
    ("closed_set/macro_recall", "Closed-set mean recall per class", "Macro recall", True, True),
    (
        "closed_set/ncm_macro_recall",
        "Closed-set mean recall per class (nearest mean)",
        "NCM macro recall",
        True,
        True,
    ),
    ("closed_set/worst_recall", "Least recall of a known class", "Worst recall", True, True),
    (
        "closed_set/ncm_worst_recall",
        "Least recall of a known class (nearest mean)",
        "NCM worst recall",
        True,
        True,
    ),
    ("closed_set/ece", "Expected calibration error", "ECE", False, True),
    ("closed_set/ece_equal_mass", "Calibration error, equal bins", "ECE equal mass", False, True),
    ("verification/eer", "Open-set EER", "EER", False, True),
    ("verification/tar_at_far_(RATE)", "Open-set TAR at FAR = {0}", "TAR@{0}", True, True),
    ("verification/achieved_far_(RATE)", "Achieved FAR at {0}", "FAR@{0}", None, True),
    ("verification/auc", "Open-set ROC AUC", "AUC", True, True),
    ("verification/min_dcf.*", "Least detection cost", "minDCF", False, False),
    ("verification/genuine_pairs", "Genuine pairs", "Genuine pairs", None, False),
    ("verification/impostor_pairs", "Impostor pairs", "Impostor pairs", None, False),
    ("identification/rank_(\\d+)", "Open-set rank-{0} identification", "Rank-{0}", True, True),
    (
        "identification/tpir_at_fpir_(RATE)",
        "Open-set TPIR at FPIR = {0}",
        "TPIR@{0}",
        True,
        True,
    ),
    ("identification/achieved_fpir_(RATE)", "Achieved FPIR at {0}", "FPIR@{0}", None, True),
    (
        "identification/rank_(\\d+)_gallery_sd",
        "Rank-{0} identification: sd over galleries",
        "Rank-{0} sd",
        None,
        True,
    ),
    (
        "identification/tpir_at_fpir_(RATE)_gallery_sd",
        "TPIR at FPIR = {0}: sd over galleries",
        "TPIR@{0} sd",
        None,
        True,
    ),
    (
        "open_set_recognition/oscr_(SCORE)",
        "Open-set recognition OSCR ({0})",
        "OSCR {0}",
        True,
        True,
    ),
    (
        "open_set_recognition/auroc_(SCORE)",
        "Known against unknown AUROC ({0})",
        "AUROC {0}",
        True,
        True,
    ),
    (
        "open_set_recognition/accuracy_(SCORE)",
        "Accuracy on known classes ({0})",
        "Accuracy {0}",
        True,
        True,
    ),
    (
        "open_set_recognition/achieved_fpr_(SCORE)_(RATE)",
        "Achieved FPR at {1} ({0})",
        "FPR@{1} {0}",
        None,
        True,
    ),
    (
        "open_set_recognition/ccr_at_fpr_(SCORE)_(RATE)",
        "CCR at FPR = {1} ({0})",
        "CCR@{1} {0}",
        True,
        True,
    ),
    ("retrieval/recall_at_(\\d+)", "Open-set recall@{0}", "R@{0}", True, True),
    ("retrieval/map_at_r", "Open-set MAP@R", "MAP@R", True, True),
    ("retrieval/r_precision", "Open-set R-precision", "R-precision", True, True),
    ("retrieval/map", "Open-set mean average precision", "mAP", True, True),
    ("retrieval/minp", "Open-set mean inverse negative penalty", "mINP", True, True),
    # Geometry has no direction: a small angle within classes is good only beside a large one
    # between them.
    ("geometry/w_ec", "Class weight to its class's mean, W-EC", "W-EC", None, False),
    ("geometry/w_inter", "Class weight to the nearest other, W-Inter", "W-Inter", None, False),
    ("geometry/intra", "Unknown images to their class's mean, Intra", "Intra", None, False),
    (
        "geometry/inter",
        "Mean of an unknown class to the nearest other, Inter",
        "Inter",
        None,
        False,
    ),
    ("geometry/angular_fisher_score", "Angular Fisher score, AFS", "AFS", None, False),
    ("geometry/train_intra", "Training images to their class's mean", "Train Intra", None, False),
    (
        "geometry/train_inter",
        "Mean of a known class to the nearest other",
        "Train Inter",
        None,
        False,
    ),
    ("geometry/norm_mean", "Mean length of embeddings", "Mean norm", None, False),
    ("geometry/norm_sd", "SD of the length of embeddings", "Norm SD", None, False),
    (
        "geometry/norm_q(\\d+)",
        "Quantile 0.{0} of the length of embeddings",
        "Norm q{0}",
        None,
        False,
    ),
    ("geometry/effective_rank", "Effective rank of embeddings", "Effective rank", None, False),
    ("geometry/spectral_decay", "Spectral decay", "Spectral decay", None, False),
    ("geometry/alignment", "Alignment", "Alignment", None, False),
    ("geometry/uniformity", "Uniformity", "Uniformity", None, False),
)
_DEGREES = {
    f"geometry/{name}"
    for name in ("w_ec", "w_inter", "intra", "inter", "train_intra", "train_inter")
}
_PATTERNS = [
    re.compile(row[0].replace("RATE", r"[0-9.]+(?:e[+-]?[0-9]+)?").replace("SCORE", "[a-z_]+"))
    for row in _ROWS
]
_PROTOCOLS = (
    "closed_set",
    "verification",
    "identification",
    "open_set_recognition",
    "retrieval",
    "geometry",
)


def metric(name: str) -> Metric:
    """The row of a metric, with or without the prefix ``validation/``; an unlisted one is shown
    under its own name.

    >>> metric("verification/tar_at_far_1e-03").short
    'TAR@1e-3'
    >>> metric("validation/verification/eer").title
    'Validation: open-set EER'
    >>> metric("open_set_recognition/ccr_at_fpr_max_logit_1e-02").short
    'CCR@1e-2 max logit'
    """
    if name.startswith(VALIDATION):
        row = metric(name.removeprefix(VALIDATION))
        title = row.title[0].lower() + row.title[1:]
        return replace(row, name=name, title=f"Validation: {title}", short=f"val. {row.short}")
    for pattern, (_, title, short, higher, percent) in zip(_PATTERNS, _ROWS, strict=True):
        if found := pattern.fullmatch(name):
            parts = [_text(part) for part in found.groups()]
            return Metric(name, title.format(*parts), short.format(*parts), higher, percent)
    short = (name.partition("/")[2] or name).replace("_", " ")
    return Metric(name, name, short[0].upper() + short[1:] if short else name)


def of_test(names: Iterable[str]) -> list[str]:
    """Of these metric names those of the test side, in the order of the tables."""
    return sorted((name for name in names if not name.startswith(VALIDATION)), key=_place)


def scores(names: Iterable[str]) -> list[str]:
    """Of these metric names the test scores that have a direction, in the order of the tables."""
    return [name for name in of_test(names) if metric(name).higher_is_better is not None]


def main_scores(names: Iterable[str], measured: Collection[str]) -> list[str]:
    """The columns of the comparison: of each protocol what its field asks first.

    Parameters
    ----------
    names : of all metrics.
    measured : those with a value in any run. Of the TARs the two smallest FARs among them stand in
        the comparison (of none measured, the largest FAR, refused); of open-set recognition OSCR
        by the nearest mean, else AUROC by it.
    """
    every = scores(names)
    tars = [name for name in every if name.startswith("verification/tar_at_far_")]
    kept = {
        "closed_set/top1",
        "closed_set/ncm_top1",
        "verification/eer",
        "identification/tpir_at_fpir_1e-02",
        "retrieval/recall_at_1",
        "retrieval/map_at_r",
        *([name for name in tars if name in measured][-2:] or tars[:1]),
    }
    osr = [f"open_set_recognition/{kind}_nearest_mean" for kind in ("oscr", "auroc")]
    kept |= set([name for name in osr if name in measured][:1])
    return [name for name in every if name in kept]


def _place(name: str) -> tuple[int, int, float, str]:
    """Order: protocol, row, easy rates before hard ones."""
    row = metric(name)
    place = _PROTOCOLS.index(row.protocol) if row.protocol in _PROTOCOLS else len(_PROTOCOLS)
    fits = [i for i, pattern in enumerate(_PATTERNS) if pattern.fullmatch(name)]
    number = re.search(r"_([0-9.]+(?:e[+-]?[0-9]+)?)(_gallery_sd)?$", name)
    value = float(number[1]) if number else 0.0
    # Rates fall, ranks and numbers of neighbours rise.
    return place, fits[0] if fits else len(_ROWS), value if value >= 1 else -value, name


def _text(part: str) -> str:
    """A rate or the name of a score as a reader writes it: 1e-03 -> 1e-3, max_logit -> max logit."""
    rate = re.sub(r"e([+-])0*(\d)", lambda m: f"e{'' if m[1] == '+' else '-'}{m[2]}", part)
    return rate.replace("_", " ")
