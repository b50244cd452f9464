"""Softmax and its normalised forms."""

from __future__ import annotations

from losses.rows.common import option, scale
from losses.schema import LossRow, Preset

ROWS = (
    LossRow(
        name="softmax",
        title="Softmax",
        paper="Cross-entropy over W·x + b",
        year=1989,
        arxiv="",
        target="losses.softmax:Softmax",
        kind="classifier",
        unsampled=True,
    ),
    LossRow(
        name="norm_softmax",
        title="NormFace",
        paper="Wang et al., NormFace: L2 hypersphere embedding for face verification",
        year=2017,
        arxiv="1704.06369",
        target="losses.norm_softmax:NormSoftmax",
        kind="classifier",
        hyperparameters=(
            scale(20.0, "logit per unit of cosine; the initial one where it is learnable"),
            option("learnable_scale", (False, True), "learn the scale with the model"),
        ),
        presets=(
            Preset(
                "normface",
                "the authors' code: scale learned from 10",
                {"scale": 10.0, "learnable_scale": True},
            ),
            Preset("arcface_paper", "Deng et al. 2019, Norm-Softmax of table 2", {"scale": 64.0}),
            Preset(
                "reality_check",
                "Musgrave et al. 2020, tuned on CUB-200: temperature 0.109",
                {"scale": 9.174},
            ),
            Preset("opensphere", "OpenSphere, NormFace of SFNet-20", {"scale": 30.0}),
        ),
        notes="The paper learns the scale; it is fixed by default, so that it can be an axis, at the 20 "
        "with which Deng et al. compare in the journal version of ArcFace (64 in the first).",
    ),
    LossRow(
        name="adacos",
        title="AdaCos",
        paper="Zhang et al., AdaCos: adaptively scaling cosine logits for effectively learning "
        "deep face representations",
        year=2019,
        arxiv="1905.00292",
        target="losses.adacos:AdaCos",
        kind="classifier",
        unsampled=True,
        hyperparameters=(
            option(
                "mode",
                ("dynamic", "fixed"),
                "scale from each batch, or from the number of classes alone",
            ),
            option(
                "median",
                ("mean", "lower"),
                "of an even number of angles: mean of the middle two, or the lower one",
                ("mode", ("dynamic",)),
            ),
        ),
        presets=(
            Preset(
                "torch_median",
                "4uiiurz1/pytorch-adacos, where torch.median takes the lower angle",
                {"median": "lower"},
            ),
        ),
        notes="The paper does not say which median it takes of an even number of angles; mean is "
        "the usual one. With 2 classes the scale is 0 and nothing is learned; with few classes it "
        "may become negative. The dynamic scale can run away: once cosines to other classes pass "
        "about 0.7, each step's scale is larger than the last (seen from 13 to 330 in two epochs of "
        "config/catalogue.yaml); a smaller learning rate or mode fixed avoids it.",
    ),
)
