"""Losses with a memory of each class."""

from __future__ import annotations

from losses.schema import Hyperparameter, LossRow

ROWS = (
    LossRow(
        name="center",
        title="Center loss",
        paper="Wen et al., A discriminative feature learning approach for deep face recognition",
        year=2016,
        arxiv="",
        target="losses.center:CenterLoss",
        kind="joint",
        hyperparameters=(
            Hyperparameter(
                "center_weight",
                "weight",
                0.003,
                low=0.0,
                high=1e3,
                search_low=1e-4,
                search_high=1.0,
                log=True,
                meaning="lambda: weight of the center term",
            ),
            Hyperparameter(
                "center_rate",
                "rate",
                0.5,
                low=0.0,
                high=1.0,
                meaning="alpha: step of the centers towards their class's embeddings",
            ),
            Hyperparameter(
                "reduction",
                "option",
                "mean",
                choices=("mean", "sum"),
                structural=True,
                meaning="half squared distances averaged or summed over the batch",
            ),
        ),
        notes="The paper sums both terms over the batch; mean divides both by its size. "
        "sum adds the paper's summed center term to the mean cross-entropy.",
    ),
)
