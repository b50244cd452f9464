"""The one table of what a loss is, read by configs, tuner, axis labels, docs and tests. No torch.

Adding a loss is one class in its own module and one row here.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from losses.schema import CatalogError, Hyperparameter, LossRow, Value, nearest

__all__ = [
    "CATALOG",
    "CatalogError",
    "Hyperparameter",
    "LossRow",
    "group_key",
    "names",
    "resolve",
    "row",
    "search_space",
    "source_modules",
]


def _scale(default: float, meaning: str = "logit per unit of cosine") -> Hyperparameter:
    return Hyperparameter(
        "scale",
        "scale",
        default,
        low=1e-3,
        high=1e5,
        search_low=4.0,
        search_high=128.0,
        log=True,
        meaning=meaning,
    )


_ROWS = (
    LossRow(
        name="softmax",
        title="Softmax",
        paper="Cross-entropy over W·x + b",
        year=1989,
        arxiv="",
        target="losses.softmax:Softmax",
        kind="classifier",
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
            _scale(16.0, "logit per unit of cosine; the initial one where it is learnable"),
            Hyperparameter(
                "learnable_scale",
                "option",
                False,
                structural=True,
                meaning="learn the scale with the model",
            ),
        ),
        notes="The paper learns the scale; it is fixed by default, so that it can be an axis.",
    ),
    LossRow(
        name="sphereface",
        title="SphereFace",
        paper="Liu et al., SphereFace: deep hypersphere embedding for face recognition",
        year=2017,
        arxiv="1704.08063",
        target="losses.sphereface:SphereFace",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "margin",
                "factor",
                4,
                choices=(1, 2, 3, 4, 5),
                meaning="multiple of the target angle",
            ),
            Hyperparameter(
                "base",
                "weight",
                1000.0,
                low=0.0,
                high=1e6,
                meaning="weight of the plain logit at step 0",
            ),
            Hyperparameter(
                "gamma", "per step", 0.12, low=0.0, high=1e3, meaning="decay of the weight"
            ),
            Hyperparameter(
                "power", "exponent", 1.0, low=0.0, high=100.0, meaning="exponent of the decay"
            ),
            Hyperparameter(
                "lambda_min",
                "weight",
                5.0,
                low=0.0,
                high=1e6,
                search_low=0.5,
                search_high=50.0,
                log=True,
                meaning="smallest weight of the plain logit",
            ),
        ),
        notes="Annealed as in the authors' code; step 1 is the first forward pass.",
    ),
    LossRow(
        name="cosface",
        title="CosFace",
        paper="Wang et al., CosFace: large margin cosine loss for deep face recognition",
        year=2018,
        arxiv="1801.09414",
        target="losses.cosface:CosFace",
        kind="classifier",
        hyperparameters=(
            Hyperparameter(
                "margin",
                "cosine",
                0.35,
                low=0.0,
                high=2.0,
                search_low=0.0,
                search_high=0.6,
                meaning="taken from the target cosine",
            ),
            _scale(64.0),
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
            Hyperparameter(
                "margin",
                "radian",
                0.5,
                low=0.0,
                high=1.5707963267948966,
                search_low=0.0,
                search_high=0.8,
                meaning="added to the target angle",
            ),
            _scale(64.0),
            Hyperparameter(
                "rule",
                "option",
                "linear",
                choices=("linear", "easy", "none", "clip"),
                structural=True,
                meaning="target logit where angle + margin passes pi",
            ),
            Hyperparameter(
                "gradient",
                "option",
                "exact",
                choices=("exact", "straight_through"),
                structural=True,
                meaning="derivative of the target logit, or of the plain cosine",
            ),
        ),
        notes="insightface's PyTorch code is rule none with gradient straight_through.",
    ),
    LossRow(
        name="triplet",
        title="Triplet (batch hard)",
        paper="Hermans et al., In defense of the triplet loss for person re-identification",
        year=2017,
        arxiv="1703.07737",
        target="losses.triplet:BatchHardTriplet",
        kind="embedding",
        sampler="balanced",
        hyperparameters=(
            Hyperparameter(
                "soft_margin",
                "option",
                True,
                structural=True,
                meaning="softplus in place of the hinge with a margin",
            ),
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
                only_if=("soft_margin", False),
            ),
            Hyperparameter(
                "squared",
                "option",
                False,
                structural=True,
                meaning="squared Euclidean distance in place of Euclidean",
            ),
            Hyperparameter(
                "normalize",
                "option",
                False,
                structural=True,
                meaning="embeddings scaled to length 1 first",
            ),
        ),
        notes="Defaults are the paper's best: soft margin, plain distance, no normalisation.",
    ),
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

CATALOG: dict[str, LossRow] = {entry.name: entry for entry in _ROWS}


def names() -> tuple[str, ...]:
    """Names of all losses, in the order of the catalog."""
    return tuple(CATALOG)


def row(name: str) -> LossRow:
    """The catalog's row of a loss; CatalogError with the nearest spelling where there is none."""
    if isinstance(name, str) and name in CATALOG:
        return CATALOG[name]
    problem = f"unknown{nearest(name, CATALOG)} (known: {', '.join(CATALOG)})"
    raise CatalogError.about("loss", name, problem)


def resolve(name: str, given: Mapping[str, object] | None = None) -> dict[str, Value]:
    """All hyper-parameters of a loss: those given, checked, and the defaults of the others.

    A hyper-parameter without effect beside the others (``only_if``) is left out, and an error if
    it was given. Resolving a resolved dict returns it unchanged.

    Raises
    ------
    CatalogError
        Unknown loss or key (with the nearest spelling), wrong type, not finite, out of the legal
        range, without effect.
    """
    parameters = {parameter.name: parameter for parameter in row(name).hyperparameters}
    given = given or {}
    for key, value in given.items():
        if key not in parameters:
            has = ", ".join(parameters) or "none"
            problem = (
                f"{name} has no such hyper-parameter{nearest(key, parameters)} (it has: {has})"
            )
            raise CatalogError.about(f"{name}.{key}", value, problem)
    checked = {
        key: parameter.check(name, given.get(key, parameter.default))
        for key, parameter in parameters.items()
    }
    resolved = {}
    for key, parameter in parameters.items():
        if parameter.only_if is None or checked[parameter.only_if[0]] == parameter.only_if[1]:
            resolved[key] = checked[key]
        elif key in given:
            other, needed = parameter.only_if
            problem = f"has an effect only with {other} = {needed!r}"
            raise CatalogError.about(f"{name}.{key}", given[key], problem)
    return resolved


def search_space(
    name: str, fixed: Mapping[str, object] | None = None
) -> tuple[Hyperparameter, ...]:
    """Hyper-parameters to tune beside the fixed ones: in effect, free, with a search range."""
    fixed = fixed or {}
    resolved = resolve(name, fixed)
    return tuple(
        parameter
        for parameter in row(name).hyperparameters
        if parameter.name in resolved
        and parameter.name not in fixed
        and parameter.search_low is not None
    )


def group_key(name: str, hyper: Mapping[str, Value]) -> tuple[object, ...]:
    """Name and structural values: what must be equal for experiments to be stacked."""
    structural = [parameter.name for parameter in row(name).hyperparameters if parameter.structural]
    return (name, *((key, hyper[key]) for key in structural))


def source_modules(name: str) -> list[str]:
    """Files that decide what a loss computes, sorted.

    Its module and all modules of this package that it imports, found without importing them.
    """
    package = Path(__file__).resolve().parent
    waiting = [row(name).target.partition(":")[0]]
    found: set[Path] = set()
    while waiting:
        path = package.parent.joinpath(*waiting.pop().split(".")).with_suffix(".py")
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.partition(".")[0] == package.name
            ):
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [
                    alias.name
                    for alias in node.names
                    if alias.name.partition(".")[0] == package.name
                ]
    return [str(path) for path in sorted(found)]
