"""The rows of weighted sums, made from the rows of their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from losses.rows import memory, pairs, softmax
from losses.rows.common import option
from losses.rows.terms import TERMS, weight
from losses.schema import Hyperparameter, LossRow, Preset, Value

NECK = option(
    "neck",
    ("none", "batch_norm"),
    "batch norm before the class weights; the judged embeddings are then those after it",
)


def sum_row(name: str, parts: Mapping[str, LossRow]) -> LossRow:
    """The row of a sum.

    Its hyper-parameters are those of the parts as ``<part>.<name>``, ``<part>.weight`` of every
    part but the first, and ``neck`` where a part has class weights.

    Parameters
    ----------
    name : str
    parts : dict of str to LossRow
        In the order of the sum; a `losses.rows.terms.Term` by its row.
    """
    rows = list(parts.values())
    first = rows[0].name
    classifies = any(row.kind != "embedding" for row in rows)
    hyper: list[Hyperparameter] = []
    for part, row in parts.items():
        hyper += [_prefixed(part, parameter) for parameter in row.hyperparameters]
        if part != first:
            own = TERMS[part].weight if part in TERMS else weight()
            hyper.append(_prefixed(part, own))
    recipe = [
        key for key in ("label_smoothing", "weight_norm") if any(key in r.recipe for r in rows)
    ]
    return LossRow(
        name=name,
        title=" + ".join(row.title for row in rows),
        paper="; ".join(dict.fromkeys(row.paper for row in rows)),
        year=max(row.year for row in rows),
        arxiv="",
        target="losses.sum:Sum",
        kind="joint" if classifies else "embedding",
        sampler="balanced" if any(row.sampler == "balanced" for row in rows) else "shuffled",
        hyperparameters=(*hyper, NECK) if classifies else tuple(hyper),
        recipe=tuple(recipe),
        stacked=all(row.stacked for row in rows),
        notes=" ".join(f"{part}: {row.notes}" for part, row in parts.items() if row.notes),
        parts=tuple(parts),
    )


def _prefixed(part: str, parameter: Hyperparameter) -> Hyperparameter:
    only_if, below = parameter.only_if, parameter.below
    return replace(
        parameter,
        name=f"{part}.{parameter.name}",
        only_if=None if only_if is None else (f"{part}.{only_if[0]}", only_if[1]),
        below=None if below is None else f"{part}.{below}",
    )


def _with_defaults(row: LossRow, defaults: Mapping[str, Value]) -> LossRow:
    changed = tuple(
        replace(parameter, default=defaults.get(parameter.name, parameter.default))
        for parameter in row.hyperparameters
    )
    return replace(row, hyperparameters=changed)


def _bag_of_tricks() -> LossRow:
    named = {row.name: row for row in (*softmax.ROWS, *pairs.ROWS, *memory.ROWS)}
    row = sum_row(
        "bag_of_tricks",
        {
            "softmax": named["softmax"],
            "triplet": named["triplet"],
            "center": TERMS["center"].row,
        },
    )
    row = _with_defaults(
        row,
        {
            "triplet.soft_margin": False,
            "triplet.margin": 0.3,
            "center.reduction": "sum",
            "center.weight": 5e-4,
            "neck": "batch_norm",
        },
    )
    return replace(
        row,
        title="Bag of tricks",
        paper="Luo et al., Bag of tricks and a strong baseline for deep person re-identification",
        year=2019,
        presets=(
            Preset(
                "code",
                "michuanhaohao/reid-strong-baseline: squared distances averaged without the half, "
                "centers by gradient",
                {
                    "center.reduction": "mean",
                    "center.weight": 1e-3,
                    "center.update": "gradient",
                },
            ),
        ),
        notes="The paper also smooths the labels by 0.1: recipe label_smoothing: 0.1. Its classifier "
        "has no bias; the one here has. The center term is the paper's summed one; with the mean "
        "of the code it is as many times weaker as there are samples.",
    )


ROWS = (_bag_of_tricks(),)
