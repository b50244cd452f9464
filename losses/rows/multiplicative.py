"""Margins that multiply the angle."""

from __future__ import annotations

from losses.rows.common import gradient, rule, scale
from losses.schema import Hyperparameter, LossRow, Preset


def _annealing(
    base: float, gamma: float, power: float, lambda_min: float
) -> tuple[Hyperparameter, ...]:
    """The schedule of λ, the weight of the plain logit; λ_min is what is worth tuning."""
    return (
        Hyperparameter(
            "base", "weight", base, low=0.0, high=1e6, meaning="weight of the plain logit at step 0"
        ),
        Hyperparameter(
            "gamma", "per step", gamma, low=0.0, high=1e3, meaning="decay of the weight"
        ),
        Hyperparameter(
            "power", "exponent", power, low=0.0, high=100.0, meaning="exponent of the decay"
        ),
        Hyperparameter(
            "lambda_min",
            "weight",
            lambda_min,
            low=0.0,
            high=1e6,
            search_low=0.5,
            search_high=50.0,
            log=True,
            meaning="smallest weight of the plain logit",
        ),
    )


ROWS = (
    LossRow(
        name="l_softmax",
        title="L-Softmax",
        paper="Liu et al., Large-margin softmax loss for convolutional neural networks",
        year=2016,
        arxiv="1612.02295",
        target="losses.l_softmax:LSoftmax",
        kind="classifier",
        unsampled=True,
        hyperparameters=(
            Hyperparameter(
                "margin", "factor", 4, choices=(1, 2, 3, 4), meaning="multiple of the target angle"
            ),
            *_annealing(1000.0, 2.5e-5, 35.0, 0.0),
        ),
        presets=(
            Preset(
                "mnist",
                "the authors' MNIST example",
                {"margin": 4, "base": 1000.0, "gamma": 2.5e-5, "power": 35.0, "lambda_min": 0.0},
            ),
            Preset(
                "cifar10",
                "the authors' CIFAR-10 example",
                {"margin": 2, "base": 1000.0, "gamma": 2e-5, "power": 45.0, "lambda_min": 0.0},
            ),
            Preset(
                "cifar10_plus",
                "the authors' CIFAR-10 example with augmentation",
                {"margin": 2, "base": 1000.0, "gamma": 1e-5, "power": 45.0, "lambda_min": 0.0},
            ),
            Preset("plain", "the paper's formula without annealing", {"base": 0.0}),
        ),
        notes="The paper anneals but gives no numbers; the defaults are those of the authors' "
        "MNIST example. Step 1 is the first forward pass.",
    ),
    LossRow(
        name="sphereface",
        title="SphereFace",
        paper="Liu et al., SphereFace: deep hypersphere embedding for face recognition",
        year=2017,
        arxiv="1704.08063",
        target="losses.sphereface:SphereFace",
        kind="classifier",
        unsampled=True,
        hyperparameters=(
            Hyperparameter(
                "margin",
                "factor",
                4,
                choices=(1, 2, 3, 4, 5),
                meaning="multiple of the target angle",
            ),
            *_annealing(1000.0, 0.12, 1.0, 5.0),
            gradient(
                "exact",
                "caffe",
                meaning="derivative of the loss, or the one with unit coefficients of the "
                "authors' code",
            ),
        ),
        presets=(
            Preset(
                "caffe", "wy1iu/sphereface, the authors' layer and example", {"gradient": "caffe"}
            ),
            Preset(
                "clcarwin",
                "clcarwin/sphereface_pytorch",
                {"base": 1500.0, "gamma": 0.1, "lambda_min": 5.0},
            ),
            Preset(
                "plain",
                "the paper's formula without annealing",
                {"base": 0.0, "lambda_min": 0.0},
            ),
        ),
        notes="Annealed as in the authors' code; step 1 is the first forward pass. gradient = "
        "caffe follows the authors' layer but for the part of a weight row's gradient along the "
        "row, which that layer removes by scaling the rows to length 1 before each step.",
    ),
    LossRow(
        name="sphereface_r",
        title="SphereFace-R",
        paper="Liu et al., SphereFace revived: unifying hyperspherical face recognition",
        year=2022,
        arxiv="2109.05565",
        target="losses.sphereface_r:SphereFaceR",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "margin",
                "factor",
                1.5,
                low=1.0,
                high=4.0,
                search_low=1.0,
                search_high=2.0,
                meaning="multiple of the target angle",
            ),
            scale(30.0),
            rule(
                "clip",
                "psi",
                "none",
                meaning="target logit where the multiple of the angle passes pi",
            ),
            gradient(
                "straight_through",
                "exact",
                meaning="derivative of the plain cosine, or of the target logit",
            ),
        ),
        presets=(
            Preset(
                "opensphere",
                "OpenSphere, SphereFace of SFNet-20: the curve of the first paper",
                {"margin": 1.5, "scale": 30.0, "rule": "psi", "gradient": "straight_through"},
            ),
            Preset(
                "opensphere_ms1m",
                "OpenSphere, SphereFace on MS1M",
                {"margin": 1.7, "scale": 30.0, "rule": "psi", "gradient": "straight_through"},
            ),
            Preset(
                "arcface_paper",
                "Deng et al. 2019, SphereFace of table 2 (CASIA)",
                {"margin": 1.35, "scale": 64.0, "rule": "none", "gradient": "exact"},
            ),
        ),
        notes="Margin and scale are those of the authors' SFNet-20 configuration. clip is "
        "version 1 of the paper, psi (version 0 of its code) the curve of SphereFace, none "
        "cos(m·θ) as the ArcFace paper compares it. The paper trains with straight_through; the "
        "exact gradient of clip is zero past pi / m.",
    ),
)
