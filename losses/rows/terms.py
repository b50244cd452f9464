"""Terms that exist only inside a sum: they need the other parts, or have no use alone."""

from __future__ import annotations

from dataclasses import dataclass

from losses.rows.memory import REDUCTION, UPDATE, center_rate, center_weight
from losses.schema import Hyperparameter, LossRow


@dataclass(frozen=True)
class Term:
    """A part of sums.

    Attributes
    ----------
    row : LossRow
    weight : Hyperparameter
        ``weight``: what the term is multiplied by, with the default of its paper.
    of_classes : bool
        It is made of the class weights of the sum's classifier.
    example : str
        A sum with it, for messages.
    """

    row: LossRow
    weight: Hyperparameter
    of_classes: bool
    example: str


def weight(default: float = 1.0) -> Hyperparameter:
    """What a part of a sum is multiplied by."""
    return Hyperparameter(
        "weight",
        "weight",
        default,
        low=0.0,
        high=1e4,
        search_low=1e-3,
        search_high=10.0,
        log=True,
        meaning="what this part is multiplied by in the sum",
    )


ARCFACE = "Deng et al., ArcFace: additive angular margin loss for deep face recognition"

TERMS: dict[str, Term] = {
    "center": Term(
        row=LossRow(
            name="center",
            title="center term",
            paper="Wen et al., A discriminative feature learning approach for deep face "
            "recognition",
            year=2016,
            arxiv="",
            target="losses.center:CenterTerm",
            kind="embedding",
            recipe=(),
            hyperparameters=(center_rate("rate"), REDUCTION, UPDATE),
        ),
        weight=center_weight("weight"),
        of_classes=False,
        example="softmax+center",
    ),
    "intra": Term(
        row=LossRow(
            name="intra",
            title="intra term",
            paper=ARCFACE,
            year=2019,
            arxiv="1801.07698",
            target="losses.class_terms:Intra",
            kind="embedding",
            recipe=(),
        ),
        weight=weight(),
        of_classes=True,
        example="norm_softmax+intra",
    ),
    "inter": Term(
        row=LossRow(
            name="inter",
            title="inter term",
            paper=ARCFACE,
            year=2019,
            arxiv="1801.07698",
            target="losses.class_terms:Inter",
            kind="embedding",
            recipe=(),
        ),
        weight=weight(),
        of_classes=True,
        example="norm_softmax+inter",
    ),
}
"""By their name in a sum. ``center`` alone is the row of the joint loss."""
