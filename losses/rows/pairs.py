"""Losses of pairs and triplets: no class weights."""

from __future__ import annotations

from losses.schema import Hyperparameter, LossRow

ROWS = (
    LossRow(
        name="triplet",
        title="Triplet (batch hard)",
        paper="Hermans et al., In defense of the triplet loss for person re-identification",
        year=2017,
        arxiv="1703.07737",
        target="losses.triplet:BatchHardTriplet",
        kind="embedding",
        sampler="balanced",
        recipe=(),
        hyperparameters=(
            Hyperparameter(
                "soft_margin",
                "option",
                True,
                structural=True,
                meaning="softplus in place of the hinge with a margin",
            ),
            Hyperparameter(
                "margin",
                "distance",
                0.2,
                low=0.0,
                high=1e4,
                search_low=0.05,
                search_high=2.0,
                log=True,
                meaning="hinge margin, in the distance used",
                only_if=("soft_margin", (False,)),
            ),
            Hyperparameter(
                "squared",
                "option",
                False,
                structural=True,
                meaning="squared Euclidean distance in place of Euclidean",
            ),
            Hyperparameter(
                "normalize",
                "option",
                False,
                structural=True,
                meaning="embeddings scaled to length 1 first",
            ),
        ),
        notes="Defaults are the paper's best: soft margin, plain distance, no normalisation.",
    ),
)
