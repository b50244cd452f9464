"""One binary decision per class in place of a softmax."""

from __future__ import annotations

from losses.rows.common import cosine_margin, gradient, option, scale
from losses.schema import Hyperparameter, LossRow, Preset

ROWS = (
    LossRow(
        name="sphereface2",
        title="SphereFace2",
        paper="Wen et al., SphereFace2: binary classification is all you need for deep face "
        "recognition",
        year=2022,
        arxiv="2108.01513",
        target="losses.sphereface2:SphereFace2",
        kind="classifier",
        unsampled=True,
        recipe=("weight_norm",),
        hyperparameters=(
            option(
                "form",
                ("C", "A", "M"),
                "margin on the cosine, added to the angle, or multiplying it",
            ),
            Hyperparameter(
                "margin",
                "cosine",
                0.4,
                low=0.0,
                high=2.0,
                search_low=0.0,
                search_high=0.6,
                meaning="taken from the own similarity and added to the others",
                only_if=("form", ("C",)),
            ),
            Hyperparameter(
                "angular_margin",
                "radian",
                0.5,
                low=0.0,
                high=1.5707963267948966,
                search_low=0.0,
                search_high=0.8,
                meaning="added to the target angle",
                only_if=("form", ("A",)),
            ),
            Hyperparameter(
                "multiple",
                "factor",
                1.7,
                low=1.0,
                high=5.0,
                search_low=1.0,
                search_high=2.0,
                meaning="multiple of the target angle; 1 is no margin",
                only_if=("form", ("M",)),
            ),
            scale(40.0, "r: logit per unit of similarity"),
            Hyperparameter(
                "power",
                "exponent",
                3.0,
                low=1.0,
                high=10.0,
                search_low=1.0,
                search_high=5.0,
                meaning="t: exponent of the similarity ((cos + 1) / 2); 1 is the cosine",
            ),
            Hyperparameter(
                "positive_weight",
                "weight",
                0.7,
                low=0.001,
                high=0.999,
                search_low=0.5,
                search_high=0.99,
                meaning="lambda: weight of the own class, 1 - lambda of the others",
            ),
            Hyperparameter(
                "loss_weight",
                "weight",
                1.0,
                low=0.0,
                high=1e6,
                meaning="factor on the whole loss",
            ),
            gradient(
                "exact",
                "straight_through",
                meaning="derivative of the logits, or of the plain cosine",
            ),
        ),
        presets=(
            Preset(
                "opensphere",
                "opensphere, default of the class SphereFace2",
                {"loss_weight": 50.0, "gradient": "straight_through"},
            ),
            Preset(
                "opensphere_sfnet",
                "opensphere, vggface2_sfnet64_sphereface2.yml",
                {"loss_weight": 10.0, "gradient": "straight_through"},
            ),
            Preset(
                "opensphere_sfnet20",
                "opensphere, sec31/vggface2_sfnet20_sphereface2.yml",
                {
                    "margin": 0.3,
                    "scale": 30.0,
                    "loss_weight": 10.0,
                    "gradient": "straight_through",
                },
            ),
            Preset(
                "opensphere_a",
                "opensphere, vggface2_sfnet20_sphereface2a.yml",
                {"form": "A", "loss_weight": 10.0, "gradient": "straight_through"},
            ),
            Preset(
                "opensphere_m",
                "opensphere, vggface2_sfnet20_sphereface2m.yml",
                {"form": "M", "loss_weight": 10.0, "gradient": "straight_through"},
            ),
            Preset(
                "opensphere_ms1m",
                "opensphere, ms1m_iresnet100_sphereface2.yml",
                {
                    "margin": 0.5,
                    "scale": 64.0,
                    "positive_weight": 0.8,
                    "loss_weight": 50.0,
                    "gradient": "straight_through",
                },
            ),
        ),
        notes="The paper's formula has no weight of the loss; the authors' code multiplies it by "
        "50, in its configurations by 10 or 50. Only form C has a margin on the other classes.",
    ),
    LossRow(
        name="uniface",
        title="UniFace",
        paper="Zhou et al., UniFace: unified cross-entropy loss for deep face recognition",
        year=2023,
        arxiv="",
        target="losses.uniface:UniFace",
        kind="classifier",
        unsampled=True,
        recipe=("weight_norm",),
        hyperparameters=(
            cosine_margin(0.4, "taken from the target cosine"),
            scale(64.0),
            Hyperparameter(
                "negative_weight",
                "weight",
                1.0,
                low=0.0,
                high=1e3,
                search_low=0.1,
                search_high=10.0,
                log=True,
                meaning="lambda: weight of the other classes",
            ),
        ),
        notes="The logits are not clamped; the authors' code clamps them to plus and minus scale, "
        "which changes the loss and stops the gradient beyond. The sampling of other classes "
        "(r in the paper) is left out: all are used.",
    ),
)
