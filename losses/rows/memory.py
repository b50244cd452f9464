"""Losses with a memory of each class."""

from __future__ import annotations

from losses.rows.common import option, temperature
from losses.schema import Hyperparameter, LossRow, Preset

UPDATE = option(
    "update",
    ("paper", "gradient"),
    "centers moved by the paper's rule, or as parameters by the optimizer",
)

REDUCTION = option(
    "reduction",
    ("mean", "sum", "elements"),
    "half squared distances averaged or summed over the batch, or averaged over its elements",
)


def center_rate(name: str) -> Hyperparameter:
    """α of the center loss."""
    return Hyperparameter(
        name,
        "rate",
        0.5,
        low=0.0,
        high=1.0,
        meaning="alpha: step of the centers towards their class's embeddings",
        only_if=("update", ("paper",)),
    )


def center_weight(name: str) -> Hyperparameter:
    """λ of the center loss."""
    return Hyperparameter(
        name,
        "weight",
        0.003,
        low=0.0,
        high=1e3,
        search_low=1e-4,
        search_high=1.0,
        log=True,
        meaning="lambda: weight of the center term",
    )


ROWS = (
    LossRow(
        name="center",
        title="Center loss",
        paper="Wen et al., A discriminative feature learning approach for deep face recognition",
        year=2016,
        arxiv="",
        target="losses.center:CenterLoss",
        kind="joint",
        unsampled=True,
        hyperparameters=(
            center_weight("center_weight"),
            center_rate("center_rate"),
            REDUCTION,
            UPDATE,
        ),
        presets=(
            Preset("caffe_face", "ydwen/caffe-face, face_example", {"center_weight": 0.008}),
            Preset("caffe_mnist", "ydwen/caffe-face, mnist_example", {"center_weight": 0.01}),
            Preset(
                "kaiyangzhou",
                "KaiyangZhou/pytorch-center-loss, main.py (weight 1 of a term without the half)",
                {"center_weight": 2.0, "update": "gradient"},
            ),
            Preset(
                "tensorflow",
                "TensorFlow tutorials: 0.5 * reduce_mean over samples and dimensions",
                {"reduction": "elements"},
            ),
            Preset(
                "bag_of_tricks",
                "Luo et al. 2019 (beta of a summed term)",
                {"center_weight": 5e-4, "reduction": "sum"},
            ),
        ),
        notes="The paper sums both terms over the batch; mean divides both by its size. "
        "sum adds the paper's summed center term to the mean cross-entropy. "
        "KaiyangZhou's code averages squared distances without the half, twice mean here, clamps "
        "them to [1e-12, 1e12] (no effect here), and moves the centers by an optimizer of their "
        "own whose gradient it divides by the weight; with update gradient here they move with "
        "the gradient of the weighted loss, at the class learning rate, and weight decay acts on them.",
    ),
    LossRow(
        name="oim",
        title="OIM",
        paper="Xiao et al., Joint detection and identification feature learning for person search",
        year=2017,
        arxiv="1604.01850",
        target="losses.oim:OIM",
        kind="classifier",
        recipe=(),
        hyperparameters=(
            temperature(0.1, "tau: divides the similarities; 1 / scale"),
            Hyperparameter(
                "momentum",
                "weight",
                0.5,
                low=0.0,
                high=1.0,
                search_low=0.0,
                search_high=0.95,
                meaning="gamma: weight of the old class vector in its update",
            ),
            Hyperparameter(
                "queue_size",
                "rows",
                0,
                low=0,
                high=1_000_000,
                structural=True,
                meaning="places for embeddings of unlabelled samples (label -1)",
            ),
            option("normalize", (True, False), "embeddings scaled to length 1 first"),
        ),
        presets=(
            Preset("paper", "Xiao et al. 2017: a queue of 5,000", {"queue_size": 5000}),
            Preset("open_reid", "open-reid, OIMLoss example: scalar 30", {"temperature": 1 / 30}),
            Preset(
                "open_reid_market", "open-reid on Market-1501: scalar 20", {"temperature": 1 / 20}
            ),
        ),
        notes="Without a queue by default: the data sets here have no unlabelled identities, and "
        "each row that stays zero adds a constant 1 to the softmax's sum. gamma is read as the "
        "weight of the old vector (v = gamma v + (1 - gamma) x), then the vector is scaled to "
        "length 1. Class vectors start at zero.",
    ),
)
