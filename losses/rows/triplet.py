"""The row of the triplet losses."""

from __future__ import annotations

from losses.rows.common import option
from losses.schema import Hyperparameter, LossRow, Preset

ROW = LossRow(
    name="triplet",
    title="Triplet",
    paper="Hermans et al., In defense of the triplet loss for person re-identification",
    year=2017,
    arxiv="1703.07737",
    target="losses.triplet:Triplet",
    kind="embedding",
    sampler="balanced",
    recipe=(),
    hyperparameters=(
        option(
            "mining",
            ("hard", "all", "semi_hard", "random"),
            "triplets of the batch that are used",
        ),
        option(
            "variant",
            ("nearest", "all"),
            "one semi-hard negative for each positive pair, or all",
            ("mining", ("semi_hard",)),
        ),
        option(
            "reduction",
            ("nonzero", "mean"),
            "mean over the terms above 0, or over all",
            ("mining", ("all",)),
        ),
        option("soft_margin", (True, False), "softplus in place of the hinge with a margin"),
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
        option(
            "distance",
            ("euclidean", "squared", "angular"),
            "Euclidean, squared Euclidean, or angle in radians",
        ),
        option(
            "normalize",
            (False, True),
            "embeddings scaled to length 1 first",
            ("distance", ("euclidean", "squared")),
        ),
    ),
    presets=(
        Preset(
            "facenet",
            "Schroff et al. 2015, FaceNet, section 3; mined as TensorFlow's triplet_semihard_loss",
            {
                "mining": "semi_hard",
                "soft_margin": False,
                "margin": 0.2,
                "distance": "squared",
                "normalize": True,
            },
        ),
        Preset(
            "bag_of_tricks",
            "Luo et al. 2019, Bag of tricks and a strong baseline for person "
            "re-identification; fast-reid without its weighting",
            {"soft_margin": False, "margin": 0.3},
        ),
        Preset(
            "reality_check",
            "Musgrave et al. 2020, tuned on CUB-200: all triplets of unit embeddings",
            {"mining": "all", "soft_margin": False, "margin": 0.096, "normalize": True},
        ),
        Preset("open_reid", "open-reid, TripletLoss", {"soft_margin": False, "margin": 0.0}),
        Preset(
            "arcface_paper",
            "Deng et al. 2019, ArcFace, section 2.3: arccos(pos) + m <= arccos(neg)",
            {"soft_margin": False, "margin": 0.35, "distance": "angular"},
        ),
    ),
    notes="Defaults are the paper's best: batch hard, soft margin, plain distance, no "
    "normalisation. FaceNet says which negatives are semi-hard, not which of them to take: "
    "variant nearest takes one, all takes each. The ArcFace paper does not say how it mines. "
    "losses.triplet.given_triplets takes given triplets.",
)
