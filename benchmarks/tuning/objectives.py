"""What a search may aim at: validation metrics, which way is better, and the order they put trials in. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from benchmarks.errors import ConfigError
from losses import catalog

PREFIX = "validation/"

Direction = Literal["minimize", "maximize"]

# Metric without its prefix and direction. Those that end in a slash take a rate of the study's `evaluate`.
OBJECTIVES: dict[str, Direction] = {
    "closed_set/top1": "maximize",
    "closed_set/ncm_top1": "maximize",
    "closed_set/knn_top1": "maximize",
    "verification/eer": "minimize",
    "verification/auc": "maximize",
    "verification/min_dcf": "minimize",
    "verification/tar_at_far_": "maximize",
    "identification/rank_1": "maximize",
    "identification/tpir_at_fpir_": "maximize",
    "open_set_recognition/oscr_nearest_mean": "maximize",
    "open_set_recognition/auroc_nearest_mean": "maximize",
    "retrieval/recall_at_1": "maximize",
    "retrieval/map_at_r": "maximize",
}
RATES = {"verification/tar_at_far_": "fars", "identification/tpir_at_fpir_": "fpirs"}

# From this many unseen classes on, a true accept rate at FAR = 1e-2 is the default aim; with fewer its threshold
# hangs on a handful of classes, and the equal error rate is.
MANY_CLASSES = 20
DEFAULT_FAR = 0.01


def names(evaluate: Mapping[str, Any]) -> list[str]:
    """The objectives that a study's `evaluate` gives, without the prefix ``validation/``."""
    found = []
    for name in OBJECTIVES:
        if name.partition("/")[0] in evaluate["protocols"]:
            rates = evaluate[RATES[name]] if name in RATES else [None]
            found += [name if rate is None else f"{name}{rate:.0e}" for rate in rates]
    return found


def direction(name: str) -> Direction:
    """``minimize`` or ``maximize``, for an objective with or without its prefix."""
    short = name.removeprefix(PREFIX)
    return next(
        way
        for stem, way in OBJECTIVES.items()
        if short == stem or (stem in RATES and short.startswith(stem))
    )


def resolve(
    wanted: str | Sequence[str],
    evaluate: Mapping[str, Any],
    losses: Sequence[str],
    *,
    unknown_classes: int,
    known_images: bool,
) -> list[str]:
    """The metrics that the searches of a study aim at, with their prefix.

    Parameters
    ----------
    wanted : ``auto``, one name or several.
    losses : that are tuned.
    unknown_classes : unseen validation classes.
    known_images : whether known classes have validation images.

    Raises
    ------
    ConfigError : a name that the study's protocols do not produce on its validation images, or not for every loss.
    """
    allowed = names(evaluate)
    if wanted == "auto":
        tar = f"verification/tar_at_far_{DEFAULT_FAR:.0e}"
        order = [tar] if unknown_classes >= MANY_CLASSES else []
        order += ["verification/eer"] if unknown_classes else []
        order += ["closed_set/ncm_top1"] if known_images else []
        wanted = next((name for name in order if name in allowed), "")
        if not wanted:
            raise ConfigError(
                "tune.objective: 'auto' finds nothing to aim at: the split has no validation images, or `evaluate.protocols` "
                "neither verification nor closed_set; set split.unknown_validation or split.known_validation above 0"
            )
    chosen = [wanted] if isinstance(wanted, str) else list(wanted)
    problems = [
        problem
        for name in chosen
        for problem in _problems(name, allowed, losses, unknown_classes, known_images)
    ]
    full = [PREFIX + name.removeprefix(PREFIX) for name in chosen]
    problems += [f"tune.objective: {name!r} stands twice" for name in full if full.count(name) > 1][
        :1
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return full


def _problems(
    name: str,
    allowed: Sequence[str],
    losses: Sequence[str],
    unknown_classes: int,
    known_images: bool,
) -> Iterator[str]:
    short = name.removeprefix(PREFIX)
    if short not in allowed:
        near = difflib.get_close_matches(short, allowed, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        yield (
            f"tune.objective: {name!r} is no metric that a search can aim at in this study{hint} "
            f"(allowed: auto, {', '.join(allowed)}; those of other protocols and rates need them in `evaluate`)"
        )
        return
    protocol = short.partition("/")[0]
    if protocol != "closed_set" and not unknown_classes:
        yield (
            f"tune.objective: {name!r} needs validation classes that training does not see; "
            "set split.unknown_validation above 0"
        )
    if protocol in ("closed_set", "open_set_recognition") and not known_images:
        yield (
            f"tune.objective: {name!r} needs validation images of known classes; set split.known_validation above 0"
        )
    if short == "closed_set/top1":
        without = [loss for loss in losses if catalog.row(loss).kind == "embedding"]
        if without:
            yield (
                f"tune.objective: {name!r} needs a classifier, which {', '.join(without)} has not; "
                "'closed_set/ncm_top1' (nearest class mean) is the same question for every loss"
            )


def fronts(values: Sequence[Sequence[float] | None], directions: Sequence[str]) -> list[list[int]]:
    """Positions of `values` sorted by dominance: the non-dominated ones, those that only they dominate, and so on.

    Positions without values (None) are in no front.
    """
    signs = [1 if way == "minimize" else -1 for way in directions]
    costs = {
        place: [sign * value for sign, value in zip(signs, own, strict=True)]
        for place, own in enumerate(values)
        if own is not None
    }

    def dominates(one: int, other: int) -> bool:
        pairs = list(zip(costs[one], costs[other], strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    left, found = sorted(costs), []
    while left:
        front = [own for own in left if not any(dominates(other, own) for other in left)]
        found.append(front)
        left = [place for place in left if place not in front]
    return found


def best_first(values: Sequence[Sequence[float] | None], directions: Sequence[str]) -> list[int]:
    """Positions of `values` from best to worst: by front, within one by the mean rank over objectives, then in order.

    With one objective that is its order. Positions without values (None) are left out.
    """
    known = [place for place, own in enumerate(values) if own is not None]
    mean_rank = dict.fromkeys(known, 0.0)
    for objective, way in enumerate(directions):
        sign = 1 if way == "minimize" else -1
        column = {place: sign * (values[place] or ())[objective] for place in known}
        for place in known:
            mean_rank[place] += sum(other < column[place] for other in column.values())
    order = [
        sorted(front, key=lambda place: (mean_rank[place], place))
        for front in fronts(values, directions)
    ]
    return [place for front in order for place in front]
