"""Learned proxies of the classes."""

from __future__ import annotations

from losses.rows.common import cosine_margin, option, scale, temperature
from losses.schema import Hyperparameter, LossRow, Preset

ROWS = (
    LossRow(
        name="circle_class",
        title="Circle (class level)",
        paper="Sun et al., Circle loss: a unified perspective of pair similarity optimization",
        year=2020,
        arxiv="2002.10857",
        target="losses.circle_class:CircleClass",
        kind="classifier",
        unsampled=True,
        hyperparameters=(
            Hyperparameter(
                "margin",
                "cosine",
                0.25,
                low=0.0,
                high=1.0,
                search_low=0.0,
                search_high=0.6,
                meaning="m: own cosines are to pass 1 - m, others to stay below m",
            ),
            Hyperparameter(
                "scale",
                "scale",
                256.0,
                low=1e-3,
                high=1e5,
                search_low=16.0,
                search_high=512.0,
                log=True,
                meaning="gamma: logit per unit of weighted cosine",
            ),
            option(
                "detach", (True, False), "the weights of the cosines are constants in the gradient"
            ),
        ),
        notes="Defaults are the paper's for faces. Its weights are constants in the gradient.",
    ),
    LossRow(
        name="proxy_nca",
        title="Proxy-NCA",
        paper="Movshovitz-Attias et al., No fuss distance metric learning using proxies",
        year=2017,
        arxiv="1703.07464",
        target="losses.proxy_nca:ProxyNCA",
        kind="classifier",
        unsampled=True,
        recipe=("weight_norm",),
        hyperparameters=(
            Hyperparameter(
                "scale",
                "scale",
                1.0,
                low=1e-3,
                high=1e5,
                search_low=0.5,
                search_high=64.0,
                log=True,
                meaning="per unit of squared distance between unit vectors",
            ),
            option(
                "denominator",
                ("negatives", "all"),
                "proxies in the sum: of the other classes, or all",
            ),
        ),
        presets=(
            Preset(
                "pytorch_metric_learning",
                "pytorch-metric-learning, ProxyNCALoss",
                {"denominator": "all"},
            ),
            Preset(
                "proxy_anchor_baseline",
                "the Proxy-NCA of the authors of Proxy-Anchor, losses.py",
                {"scale": 32.0, "denominator": "all"},
            ),
        ),
        notes="The paper sums over the other classes' proxies, so the loss can be negative; most "
        "code sums over all. The paper has no scale. Its proxies learn at their own rate.",
    ),
    LossRow(
        name="proxy_anchor",
        title="Proxy-Anchor",
        paper="Kim et al., Proxy anchor loss for deep metric learning",
        year=2020,
        arxiv="2003.13911",
        target="losses.proxy_anchor:ProxyAnchor",
        kind="classifier",
        unsampled=True,
        recipe=("weight_norm",),
        hyperparameters=(
            scale(32.0, "alpha: logit per unit of cosine"),
            cosine_margin(
                0.1,
                "delta: own cosines are to pass it, others to stay below -delta",
                search_high=0.5,
            ),
        ),
        notes="The authors draw the proxies with kaiming_normal_ (fan out), Gaussian with variance "
        "2/C; here they have the length weight_norm. Their proxies learn at 100 times the "
        "rate of the network.",
    ),
    LossRow(
        name="soft_triple",
        title="SoftTriple",
        paper="Qian et al., SoftTriple loss: deep metric learning without triplet sampling",
        year=2019,
        arxiv="1909.05235",
        target="losses.soft_triple:SoftTriple",
        kind="classifier",
        unsampled=True,
        single_rows=False,
        hyperparameters=(
            Hyperparameter(
                "centers",
                "count",
                10,
                low=1,
                high=1000,
                structural=True,
                meaning="K: centers of each class",
            ),
            scale(20.0, "lambda: logit per unit of similarity"),
            temperature(0.1, "gamma: of the softmax over the centers of a class"),
            cosine_margin(
                0.01, "delta: taken from the similarity to the own class", search_high=0.5
            ),
            Hyperparameter(
                "regularization",
                "weight",
                0.2,
                low=0.0,
                high=1e3,
                search_low=0.01,
                search_high=10.0,
                log=True,
                meaning="tau: weight of the distances between the centers of a class",
            ),
            Hyperparameter(
                "epsilon",
                "squared distance",
                1e-5,
                low=0.0,
                high=1.0,
                meaning="added under the square root of these distances",
            ),
        ),
        presets=(
            Preset(
                "pytorch_metric_learning",
                "pytorch-metric-learning, SoftTripleLoss",
                {"regularization": 0.0},
            ),
        ),
        notes="epsilon is the authors' code's; the paper writes none, but then the slope is "
        "infinite where two centers meet, which the term is made for. pytorch-metric-learning "
        "has no such term. The authors' centers learn at 100 times the rate of the network.",
    ),
)
