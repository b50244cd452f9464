"""Margins that follow the sample or the progress of training."""

from __future__ import annotations

from losses.rows.common import angular_margin, option, rule, scale
from losses.schema import Hyperparameter, LossRow, Preset


def _rate(name: str, meaning: str) -> Hyperparameter:
    return Hyperparameter(
        name,
        "per step",
        0.01,
        low=0.0,
        high=1.0,
        search_low=1e-3,
        search_high=1.0,
        log=True,
        meaning=meaning,
    )


ROWS = (
    LossRow(
        name="subcenter_arcface",
        title="Sub-center ArcFace",
        paper="Deng et al., Sub-center ArcFace: boosting face recognition by large-scale noisy web "
        "faces",
        year=2020,
        arxiv="",
        target="losses.subcenter_arcface:SubcenterArcFace",
        kind="classifier",
        single_rows=False,
        hyperparameters=(
            angular_margin(0.5, "added to the angle to the nearest sub-center of the own class"),
            scale(64.0),
            Hyperparameter(
                "sub_centers",
                "count",
                3,
                low=1,
                high=100,
                structural=True,
                meaning="centers a class; its cosine is the largest of theirs",
            ),
            rule("linear", "easy", "none", "clip"),
        ),
        notes="Dropping samples far from the dominant sub-center and training again with one "
        "center is left to the user.",
    ),
    LossRow(
        name="curricularface",
        title="CurricularFace",
        paper="Huang et al., CurricularFace: adaptive curriculum learning loss for deep face "
        "recognition",
        year=2020,
        arxiv="2004.00288",
        target="losses.curricularface:CurricularFace",
        kind="classifier",
        unsampled=("gradient", "exact"),
        hyperparameters=(
            angular_margin(0.5, "added to the target angle"),
            scale(64.0),
            _rate("t_rate", "weight of the new batch's mean target cosine in t"),
            rule("linear", "none"),
            option(
                "hard_reference",
                ("target", "raw"),
                "a negative is hard above the target logit, or above cos(angle + margin)",
            ),
            option("update", ("first", "after"), "t counts the batch it is used on, or not"),
            option(
                "gradient",
                ("t_detached", "exact"),
                "t is constant, or depends on the batch",
                only_if=("update", ("first",)),
            ),
        ),
        presets=(
            Preset(
                "official", "HuangYG123/CurricularFace, head/metrics.py", {"hard_reference": "raw"}
            ),
            Preset("tface", "Tencent/TFace", {"hard_reference": "raw", "t_rate": 0.1}),
            Preset(
                "as_printed", "the paper's text: alpha = 0.99 weighs the batch", {"t_rate": 0.99}
            ),
        ),
        notes="The paper prints t = alpha r + (1 - alpha) t with alpha = 0.99 and calls alpha the "
        "momentum; the authors' code gives the new batch r the weight 0.01, which is the default. "
        "The code moves t before the loss (update first); after is the other reading. Past pi - m "
        "the code tests hardness against cos(angle + m) (hard_reference raw).",
    ),
    LossRow(
        name="mv_softmax",
        title="MV-Softmax",
        paper="Wang et al., Mis-classified vector guided softmax loss for face recognition",
        year=2020,
        arxiv="1912.00833",
        target="losses.mv_softmax:MVSoftmax",
        kind="classifier",
        hyperparameters=(
            angular_margin(
                0.35, "taken from the target cosine, or added to its angle", unit="cosine or radian"
            ),
            scale(32.0),
            Hyperparameter(
                "t",
                "cosine",
                0.2,
                low=0.0,
                high=10.0,
                search_low=0.0,
                search_high=0.5,
                meaning="emphasis on classes above the target logit",
            ),
            option("kind", ("am", "arc"), "cosine margin (MV-AM) or angular margin (MV-Arc)"),
            option("emphasis", ("adaptive", "fixed"), "t (cos + 1) or t is added to these cosines"),
            rule("linear", "easy", "none"),
        ),
        presets=(
            Preset("mv_arc", "Wang et al. 2020, MV-Arc-Softmax", {"kind": "arc", "margin": 0.5}),
            Preset("official", "the authors' FC layer, easy margin on", {"rule": "easy"}),
            Preset(
                "facex_zoo",
                "JDAI-CV/FaceX-Zoo, head/MV_Softmax.py: mv_weight 1.12 (its target has the margin only "
                "above a cosine of m or 0)",
                {"t": 0.12},
            ),
        ),
        notes="Formula and defaults as in the authors' FC layer, with which FaceX-Zoo's head agrees "
        "on the other classes (mv_weight = 1 + t). Easy margin is on in that layer and not in the "
        "formula; what happens past pi - m with kind arc the paper does not say, linear is our choice; "
        "rule linear and none are the same with kind am.",
    ),
    LossRow(
        name="magface",
        title="MagFace",
        paper="Meng et al., MagFace: a universal representation for face recognition and quality "
        "assessment",
        year=2021,
        arxiv="2103.06627",
        target="losses.magface:MagFace",
        kind="classifier",
        hyperparameters=(
            scale(64.0),
            Hyperparameter(
                "l_a",
                "norm",
                10.0,
                low=1e-3,
                high=1e6,
                meaning="shorter embeddings count as this",
                below="u_a",
            ),
            Hyperparameter(
                "u_a", "norm", 110.0, low=1e-3, high=1e6, meaning="longer embeddings count as this"
            ),
            angular_margin(0.45, "margin at length l_a", name="l_m", search_high=0.6),
            angular_margin(
                0.8, "margin at length u_a", name="u_m", search_low=0.2, search_high=1.2
            ),
            Hyperparameter(
                "lambda_g",
                "weight",
                35.0,
                low=0.0,
                high=1e6,
                search_low=1.0,
                search_high=100.0,
                log=True,
                meaning="weight of the term that lengthens embeddings",
            ),
            rule("linear", "easy", "none"),
            option(
                "gradient",
                ("exact", "margin_detached"),
                "the margin depends on the length, or is constant",
            ),
        ),
        presets=(
            Preset("official", "IrvingMeng/MagFace, run.sh: easy margin", {"rule": "easy"}),
            Preset("facex_zoo", "JDAI-CV/FaceX-Zoo, head_conf.yaml", {"lambda_g": 20.0}),
        ),
        notes="The paper gives no rule past pi; the authors' code uses easy, which is not monotone. "
        "Outside [l_a, u_a] the length has no gradient, as in the authors' code.",
    ),
    LossRow(
        name="adaface",
        title="AdaFace",
        paper="Kim et al., AdaFace: quality adaptive margin for face recognition",
        year=2022,
        arxiv="2204.00964",
        target="losses.adaface:AdaFace",
        kind="classifier",
        hyperparameters=(
            angular_margin(
                0.4, "m of the angular and of the additive part", unit="radian and cosine"
            ),
            scale(64.0),
            Hyperparameter(
                "h",
                "factor",
                0.333,
                low=1e-3,
                high=1e3,
                search_low=0.1,
                search_high=1.0,
                log=True,
                meaning="concentration: standard deviations of length that fill [-1, 1]",
            ),
            _rate("t_alpha", "weight of the new batch in the statistics of lengths"),
            option("rule", ("clip", "none"), "angle with its margin is held in [0, pi], or not"),
            option(
                "gradient",
                ("norm_detached", "norm_attached"),
                "the quality is constant, or depends on the length",
            ),
        ),
        presets=(
            Preset("code_default", "mk-minchul/AdaFace, head.py: t_alpha = 1", {"t_alpha": 1.0}),
        ),
        notes="Statistics count the batch before they are used, as in the authors' code, with the "
        "unbiased standard deviation. That code adds 0.001 to it, clips lengths to [0.001, 100] "
        "and angles to [0.001, pi - 0.001]; none of these is done here.",
    ),
    LossRow(
        name="elasticface",
        title="ElasticFace",
        paper="Boutros et al., ElasticFace: elastic margin loss for deep face recognition",
        year=2022,
        arxiv="2109.09416",
        target="losses.elasticface:ElasticFace",
        kind="classifier",
        hyperparameters=(
            angular_margin(0.5, "mean of the margins", unit="radian or cosine"),
            Hyperparameter(
                "deviation",
                "radian or cosine",
                0.05,
                low=0.0,
                high=1.0,
                search_low=0.005,
                search_high=0.2,
                log=True,
                meaning="standard deviation of the margins",
            ),
            scale(64.0),
            option("kind", ("arc", "cos"), "margins added to the angle or taken from the cosine"),
            option(
                "plus",
                (False, True),
                "the largest margin to the smallest target cosine (ElasticFace+)",
            ),
            rule("linear", "clip", "none", only_if=("kind", ("arc",))),
        ),
        presets=(
            Preset(
                "arc_plus", "fdbtrs/ElasticFace, config.py", {"plus": True, "deviation": 0.0175}
            ),
            Preset("cos", "fdbtrs/ElasticFace, config.py", {"kind": "cos", "margin": 0.35}),
            Preset(
                "cos_plus",
                "fdbtrs/ElasticFace, config.py",
                {"kind": "cos", "margin": 0.35, "plus": True, "deviation": 0.02},
            ),
        ),
        notes="The authors' code has no rule past pi. With plus it indexes the sorted margins with "
        "the sorting permutation in place of its inverse, so that margin and difficulty hardly "
        "correlate; here the largest margin goes to the smallest target cosine.",
    ),
)
