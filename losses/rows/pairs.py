"""Losses of pairs and triplets: no class weights."""

from __future__ import annotations

from losses.rows import triplet
from losses.rows.common import option, scale, temperature
from losses.schema import Hyperparameter, LossRow, Preset

ROWS = (
    LossRow(
        name="contrastive",
        title="Contrastive",
        paper="Hadsell et al., Dimensionality reduction by learning an invariant mapping",
        year=2006,
        arxiv="",
        target="losses.contrastive:Contrastive",
        kind="embedding",
        sampler="balanced",
        recipe=(),
        hyperparameters=(
            Hyperparameter(
                "pos_margin",
                "distance",
                0.0,
                low=0.0,
                high=1e4,
                meaning="positive pairs nearer than this cost nothing",
            ),
            Hyperparameter(
                "neg_margin",
                "distance",
                1.0,
                low=0.0,
                high=1e4,
                search_low=0.1,
                search_high=2.0,
                log=True,
                meaning="negative pairs farther than this cost nothing",
            ),
            option("metric", ("euclidean", "cosine"), "Euclidean distance, or 1 - cosine (0 to 2)"),
            option(
                "normalize",
                (False, True),
                "embeddings scaled to length 1 first",
                ("metric", ("euclidean",)),
            ),
            option("power", (2, 1), "exponent of what exceeds the margin", unit="exponent"),
            option("halve", (True, False), "factor 1/2 of the squares", ("power", (2,))),
            option(
                "reduction",
                ("mean", "pml"),
                "mean over all pairs, or mean of the positive plus mean of the negative terms "
                "above 0",
            ),
        ),
        presets=(
            Preset(
                "pml",
                "pytorch-metric-learning, ContrastiveLoss",
                {"normalize": True, "power": 1, "reduction": "pml"},
            ),
        ),
        notes="The paper takes given pairs; here every pair of the batch is one, and "
        "losses.contrastive.given_pairs takes given pairs. With metric cosine a margin is "
        "1 - cosine, so a limit of cosine 0.4 is neg_margin 0.6.",
    ),
    triplet.ROW,
    LossRow(
        name="n_pairs",
        title="N-pair",
        paper="Sohn, Improved deep metric learning with multi-class N-pair loss objective",
        year=2016,
        arxiv="",
        target="losses.n_pairs:NPairs",
        kind="embedding",
        sampler="balanced",
        recipe=(),
        hyperparameters=(
            Hyperparameter(
                "norm_weight",
                "weight",
                0.0,
                low=0.0,
                high=1e3,
                meaning="penalty on the mean squared length of the embeddings used",
            ),
        ),
        presets=(
            Preset(
                "tensorflow", "TensorFlow, npairs_loss: reg_lambda 0.002 / 2", {"norm_weight": 1e-3}
            ),
        ),
        notes="One pair of each class: the first two images of it in the batch; the anchor is the "
        "first. The paper's penalty on the lengths is off by default, as its weight could not be "
        "verified; inner products grow without it.",
    ),
    LossRow(
        name="multi_similarity",
        title="Multi-similarity",
        paper="Wang et al., Multi-similarity loss with general pair weighting for deep metric "
        "learning",
        year=2019,
        arxiv="1904.06627",
        target="losses.multi_similarity:MultiSimilarity",
        kind="embedding",
        sampler="balanced",
        recipe=(),
        hyperparameters=(
            Hyperparameter(
                "alpha",
                "scale",
                2.0,
                low=1e-3,
                high=1e5,
                search_low=0.1,
                search_high=20.0,
                log=True,
                meaning="sharpness over the positives",
            ),
            Hyperparameter(
                "beta",
                "scale",
                50.0,
                low=1e-3,
                high=1e5,
                search_low=10.0,
                search_high=100.0,
                log=True,
                meaning="sharpness over the negatives",
            ),
            Hyperparameter(
                "base",
                "cosine",
                0.5,
                low=-1.0,
                high=1.0,
                search_low=0.0,
                search_high=1.0,
                meaning="lambda: where pairs begin to count",
            ),
            option("mining", (True, False), "keep the informative pairs only"),
            Hyperparameter(
                "epsilon",
                "cosine",
                0.1,
                low=0.0,
                high=2.0,
                meaning="slack of the mining",
                only_if=("mining", (True,)),
            ),
        ),
        presets=(
            Preset("official", "MalongTech/research-ms-loss, defaults", {"beta": 40.0}),
            Preset(
                "reality_check",
                "Musgrave et al. 2020, tuned on CUB-200, without mining",
                {"alpha": 0.01, "beta": 50.6, "base": 0.56, "mining": False},
            ),
        ),
        notes="The authors' code drops pairs of cosine above 1 - 1e-5, duplicates among them; here "
        "all pairs but a sample with itself are kept. Both average over all anchors.",
    ),
    LossRow(
        name="circle",
        title="Circle",
        paper="Sun et al., Circle loss: a unified perspective of pair similarity optimization",
        year=2020,
        arxiv="2002.10857",
        target="losses.circle:Circle",
        kind="embedding",
        sampler="balanced",
        recipe=(),
        hyperparameters=(
            Hyperparameter(
                "margin",
                "cosine",
                0.4,
                low=0.0,
                high=1.0,
                search_low=0.05,
                search_high=0.6,
                meaning="m: positives go to cosine 1 - m and above, negatives to m and below",
            ),
            scale(80.0, "gamma: sharpness"),
            option(
                "reduction",
                ("valid_mean", "all_mean", "batch"),
                "mean over the anchors with positives and negatives, their sum over the batch "
                "size, or one logarithm over the batch",
            ),
            option("detach", (True, False), "the weights are constants in the gradient"),
        ),
        presets=(
            Preset("fine_grained", "the paper's image retrieval", {"margin": 0.4, "scale": 80.0}),
            Preset(
                "reid",
                "the paper's person re-identification; fast-reid, which takes all_mean",
                {"margin": 0.25, "scale": 128.0},
            ),
            Preset(
                "layumi",
                "layumi/Person_reID_baseline_pytorch",
                {"margin": 0.25, "scale": 32.0, "reduction": "batch"},
            ),
        ),
        notes="The form with pair labels, which the paper uses for image retrieval (its setting is "
        "the default). Published code averages over the anchors that count, over all of them, or "
        "takes one logarithm over the batch: reduction names the three.",
    ),
    LossRow(
        name="supcon",
        title="SupCon",
        paper="Khosla et al., Supervised contrastive learning",
        year=2020,
        arxiv="2004.11362",
        target="losses.supcon:SupCon",
        kind="embedding",
        sampler="balanced",
        recipe=(),
        hyperparameters=(
            temperature(0.1, "cosines are divided by it"),
            option(
                "variant", ("out", "in"), "mean over the positives outside or inside the logarithm"
            ),
            option(
                "reduction",
                ("valid_mean", "sum"),
                "mean over the anchors with a positive, or their sum",
            ),
        ),
        presets=(
            Preset(
                "official",
                "HobbitLong/SupContrast, the default of SupConLoss",
                {"temperature": 0.07},
            ),
        ),
        notes="The paper sums over the anchors; the mean over those with a positive is the default, "
        "so that the step does not grow with the batch. The authors' code averages and multiplies "
        "by temperature / 0.07.",
    ),
    LossRow(
        name="ntxent",
        title="NT-Xent",
        paper="Chen et al., A simple framework for contrastive learning of visual representations",
        year=2020,
        arxiv="2002.05709",
        target="losses.ntxent:NTXent",
        kind="embedding",
        sampler="balanced",
        recipe=(),
        hyperparameters=(
            temperature(0.1, "cosines are divided by it"),
            option(
                "denominator",
                ("all_others", "pair_and_negatives"),
                "all other samples, or this positive and the negatives",
            ),
        ),
        presets=(
            Preset(
                "pml",
                "pytorch-metric-learning, NTXentLoss",
                {"temperature": 0.07, "denominator": "pair_and_negatives"},
            ),
            Preset(
                "reality_check",
                "Musgrave et al. 2020, tuned on CUB-200",
                {"temperature": 0.009, "denominator": "pair_and_negatives"},
            ),
        ),
        notes="The paper has one positive for each anchor. Where there are more, its denominator "
        "holds all other samples (all_others) or leaves out the other positives. With as many "
        "images of each class in a batch, all_others is supcon with its defaults.",
    ),
)
