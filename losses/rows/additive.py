"""Margins added to the angle or taken from the cosine."""

from __future__ import annotations

from losses.rows.common import angular_margin, cosine_margin, gradient, rule, scale
from losses.schema import Hyperparameter, LossRow, Preset

ROWS = (
    LossRow(
        name="cosface",
        title="CosFace",
        paper="Wang et al., CosFace: large margin cosine loss for deep face recognition",
        year=2018,
        arxiv="1801.09414",
        target="losses.cosface:CosFace",
        kind="classifier",
        hyperparameters=(
            cosine_margin(0.35, "taken from the target cosine"),
            scale(64.0),
        ),
        presets=(
            Preset(
                "am_softmax",
                "Wang et al. 2018, Additive margin softmax (arXiv 1801.05599)",
                {"margin": 0.35, "scale": 30.0},
            ),
            Preset("insightface", "insightface and TFace", {"margin": 0.4, "scale": 64.0}),
            Preset("facex_zoo", "FaceX-Zoo, head_conf.yaml", {"margin": 0.35, "scale": 32.0}),
            Preset("tutorial", "ronghuaiyang/arcface-pytorch", {"margin": 0.4, "scale": 30.0}),
            Preset(
                "reality_check",
                "Musgrave et al. 2020, tuned on CUB-200",
                {"margin": 0.618, "scale": 100.0},
            ),
        ),
    ),
    LossRow(
        name="arcface",
        title="ArcFace",
        paper="Deng et al., ArcFace: additive angular margin loss for deep face recognition",
        year=2019,
        arxiv="1801.07698",
        target="losses.arcface:ArcFace",
        kind="classifier",
        hyperparameters=(
            angular_margin(0.5, "added to the target angle"),
            scale(64.0),
            rule("linear", "easy", "none", "clip"),
            gradient("exact", "straight_through"),
        ),
        presets=(
            Preset(
                "insightface",
                "insightface, arcface_torch/losses.py",
                {"rule": "none", "gradient": "straight_through"},
            ),
            Preset(
                "opensphere",
                "OpenSphere, ArcFace of SFNet-20",
                {"scale": 30.0, "rule": "clip", "gradient": "straight_through"},
            ),
            Preset("easy_margin", "easy_margin of the usual PyTorch codes", {"rule": "easy"}),
            Preset(
                "facex_zoo",
                "FaceX-Zoo, head_conf.yaml (margin and scale; past pi - m its code takes the "
                "margin away, which is no rule here)",
                {"margin": 0.35, "scale": 32.0},
            ),
            Preset(
                "revisiting",
                "Roth et al. 2020, Revisiting deep metric learning (margin and scale)",
                {"margin": 0.5, "scale": 16.0},
            ),
            Preset(
                "reality_check",
                "Musgrave et al. 2020, tuned on CUB-200: 23.2 degrees",
                {"margin": 0.4049, "scale": 100.0},
            ),
        ),
        notes="insightface's PyTorch code is rule none with gradient straight_through.",
    ),
    LossRow(
        name="combined",
        title="Combined margin",
        paper="Deng et al., ArcFace: additive angular margin loss for deep face recognition",
        year=2019,
        arxiv="1801.07698",
        target="losses.combined:CombinedMargin",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "angle_factor",
                "factor",
                1.0,
                low=0.5,
                high=4.0,
                search_low=0.8,
                search_high=1.5,
                meaning="m1: multiple of the target angle",
            ),
            angular_margin(
                0.3, "m2: added to the target angle", name="angle_margin", search_high=0.6
            ),
            cosine_margin(
                0.2, "m3: taken from the target cosine", name="cosine_margin", search_high=0.4
            ),
            scale(64.0),
            rule("linear", "none", "clip", meaning="target logit where the moved angle passes pi"),
            gradient("exact", "straight_through"),
        ),
        presets=(
            Preset(
                "cm1",
                "Deng et al. 2019, CM1 of table 2",
                {"angle_factor": 1.0, "angle_margin": 0.3, "cosine_margin": 0.2},
            ),
            Preset(
                "cm2",
                "Deng et al. 2019, CM2 of table 2",
                {"angle_factor": 0.9, "angle_margin": 0.4, "cosine_margin": 0.15},
            ),
            Preset(
                "insightface_sum",
                "insightface, table of combined margins, 2019",
                {"angle_factor": 1.2, "angle_margin": 0.4, "cosine_margin": 0.0},
            ),
            Preset(
                "insightface_cosine",
                "insightface, table of combined margins, 2019",
                {"angle_factor": 1.1, "angle_margin": 0.0, "cosine_margin": 0.35},
            ),
        ),
        notes="The defaults are CM1 of the paper's table 2. All three margins act together, where "
        "insightface's PyTorch code drops the first two as soon as there is a third. Rule linear "
        "is known for a factor of 1 only; for others it is continued as the class says.",
    ),
    LossRow(
        name="cosine_over_ten",
        title="Cosine over ten",
        paper="Tutorial code, there called ArcFace; no paper",
        year=2019,
        arxiv="",
        target="losses.cosine_over_ten:CosineOverTen",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "margin",
                "radian",
                0.01,
                low=0.0,
                high=1.0,
                search_low=0.0,
                search_high=0.06,
                meaning="added to the arc cosine of a tenth of the target cosine",
            ),
            scale(1.0),
        ),
        notes="Not ArcFace: an additive cosine margin of about 10·sin(margin). The tutorials have "
        "a scale of 1, which is too small to learn from; it is listed so that their results can be "
        "placed.",
    ),
)
