"""Losses of pytorch-metric-learning as losses of a study."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from losses import catalog, peers
from losses.catalog import CatalogError, resolve, row
from losses.schema import Value
from tests.losses.stacks import batch, make

pml: Any = pytest.importorskip("pytorch_metric_learning.losses")

REQUIRED: dict[str, dict[str, Value]] = {"RankedListLoss": {"margin": 0.4, "Tn": 1}}
OPTIONS: list[tuple[str, dict[str, Value]]] = [
    ("HistogramLoss", {"n_bins": 20}),
    ("MarginLoss", {"learn_beta": True, "nu": 0.1}),
    ("PNPLoss", {"variant": "Dq"}),
    ("SoftTripleLoss", {"centers_per_class": 2}),
    ("SubCenterArcFaceLoss", {"sub_centers": 2}),
    ("TripletMarginLoss", {"margin": 0.2, "swap": True, "smooth_loss": True}),
]
CLASSES = sorted(name for name in vars(pml) if isinstance(getattr(pml, name), type))
USABLE = [name for name in CLASSES if name not in peers.REFUSED]
each = pytest.mark.parametrize(
    ("name", "hyper"), [*((name, REQUIRED.get(name, {})) for name in USABLE), *OPTIONS]
)
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")


def balanced(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    return batch(16, dtype=dtype)[0], torch.arange(16) % 4


def theirs(name: str, hyper: dict[str, Value], num_classes: int = 5) -> Any:
    """Their class with the same arguments, by hand."""
    given = dict.fromkeys(("num_classes", "embedding_size", "descriptors_dim"), 4)
    given["num_classes"] = num_classes
    experiment = peers.describe(f"pml:{name}").experiment
    return getattr(pml, name)(**{key: given[key] for key in experiment}, **hyper)


def test_all_classes_are_usable_or_refused() -> None:
    assert len(USABLE) == 32
    assert set(peers.REFUSED) < set(CLASSES)
    for name in peers.REFUSED:
        with pytest.raises(CatalogError, match="cannot be used: it"):
            row(f"pml:{name}")


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_value_and_gradients_are_theirs(
    name: str, hyper: dict[str, Value], dtype: torch.dtype
) -> None:
    loss = make(f"pml:{name}", hyper, dtype=dtype)
    reference = theirs(name, hyper).to(dtype)
    with torch.no_grad():
        pairs = zip(reference.parameters(), loss.parameters(), strict=True)
        for target, source in pairs:
            target.copy_(source)
    embeddings, labels = balanced(dtype)
    if name == "SmoothAPLoss":  # theirs wants the classes in blocks
        embeddings, labels = embeddings[labels.argsort(stable=True)], labels.sort().values
    x, y = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    drawn = torch.random.get_rng_state()
    value, log = loss.compute(x, labels)
    value.backward()
    # A run that goes on from a checkpoint could not draw the same again.
    assert torch.equal(torch.random.get_rng_state(), drawn)
    expected = reference(y, labels)
    expected.backward()
    assert value.dtype == dtype
    assert value.shape == ()
    assert torch.equal(value.detach(), expected.detach().reshape(()).to(dtype))
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    torch.testing.assert_close(x.grad, y.grad, rtol=0, atol=0)
    for own, other in zip(loss.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=0, atol=0)
    keys = {"accuracy", "target_angle"} if loss.kind == "classifier" else {"active"}
    assert log.keys() == keys | {"embedding_norm"}
    assert all(item.shape == () and not item.requires_grad for item in log.values())
    torch.testing.assert_close(loss.compute(x, labels)[0], value, rtol=1e-6, atol=1e-6)


@each
def test_scores(name: str, hyper: dict[str, Value]) -> None:
    """Highest where an embedding stands on a row of the class."""
    loss = make(f"pml:{name}", hyper)
    if loss.kind == "embedding":
        assert loss.logits(balanced()[0]) is None
        assert loss.class_parameters == ()
        return
    rows = loss.class_rows(torch.zeros(1, 4, dtype=torch.float64))
    scores = loss.logits(rows[:, 0])
    assert scores.shape == (5, 5)
    # The former's score is a mean over the centers, the latter's has the length of the weights.
    if name not in ("SoftTripleLoss", "LargeMarginSoftmaxLoss"):
        assert torch.equal(scores.argmax(dim=1), torch.arange(5))
    _, log = loss.compute(rows[:, 0].clone(), torch.arange(5))
    assert log["target_angle"] < 1e-3
    assert {*loss.class_parameters} == {name for name, _ in loss.named_parameters()}


@each
def test_few_valid_pairs(name: str, hyper: dict[str, Value]) -> None:
    """One class, singletons: a value that has a gradient, finite or what theirs gives."""
    loss = make(f"pml:{name}", hyper)
    for labels in (torch.zeros(4, dtype=torch.int64), torch.arange(4)):
        x = balanced()[0][:4].clone().requires_grad_()
        loss(x, labels).backward()
        assert x.grad is not None


def test_parameters_come_from_the_generator() -> None:
    state = torch.random.get_rng_state()
    one, same, other = (make("pml:ProxyAnchorLoss", seed=seed).theirs.proxies for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_arguments() -> None:
    assert resolve("pml:TripletMarginLoss", {"margin": 1}) == {
        "margin": 1.0,
        "swap": False,
        "smooth_loss": False,
    }
    assert resolve("pml:SoftTripleLoss", {"centers_per_class": 4.0})["centers_per_class"] == 4
    hyper = resolve("pml:HistogramLoss", {"n_bins": 50})
    assert hyper == {"n_bins": 50, "delta": "none"}
    assert resolve("pml:HistogramLoss", hyper) == hyper
    assert make("pml:HistogramLoss", hyper).theirs.delta == 2 / 50
    assert catalog.group_key("pml:NCALoss", {"softmax_scale": 2}) == (
        "pml:NCALoss",
        ("softmax_scale", 2),
    )
    assert catalog.search_space("pml:NCALoss") == ()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("pml:TripletMarginLos", {}, r"did you mean 'pml:TripletMarginLoss'\?"),
        ("pml:CosFaceLoss", {"margn": 1}, r"no such hyper-parameter; did you mean 'margin'\?"),
        ("pml:CosFaceLoss", {"num_classes": 3}, "comes from the experiment"),
        ("pml:P2SGradLoss", {"descriptors_dim": 3}, "comes from the experiment"),
        ("pml:CosFaceLoss", {"distance": "cosine"}, "cannot be set: it takes an object"),
        ("pml:TripletMarginLoss", {"triplets_per_anchor": 5}, "cannot be set: triplets would"),
        ("pml:RankedListLoss", {}, "RankedListLoss.margin: must be given"),
        ("pml:RankedListLoss", {"margin": "much", "Tn": 1}, "'much': must be one number"),
        ("pml:CosFaceLoss", {"margin": True}, "must be one number"),
        ("pml:CosFaceLoss", {"margin": float("inf")}, "must be finite"),
        ("pml:CosFaceLoss", {"margin": 10**400}, "must be finite"),
        ("pml:CosFaceLoss", {"margin": [1]}, "must be one number"),
        ("pml:TripletMarginLoss", {"swap": 1}, "must be true or false"),
        ("pml:PNPLoss", {"variant": 3}, "must be one word"),
    ],
)
def test_errors(name: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        resolve(name, given)


def test_what_the_class_itself_refuses() -> None:
    with pytest.raises(CatalogError, match=r"pml:PNPLoss\(.*variant='X'.*must be one of"):
        make("pml:PNPLoss", {"variant": "X"})


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    peers.describe.cache_clear()
    peers.row.cache_clear()
    with pytest.raises(CatalogError, match=r"pip install pytorch-metric-learning==2\.9\.0"):
        row("pml:TripletMarginLoss")


def test_the_pinned_version_is_the_one_to_install() -> None:
    requirements = Path(__file__).parents[2] / "requirements.txt"
    assert peers.INSTALL.removeprefix("pip install ") in requirements.read_text().splitlines()


def test_sources_hold_the_version_and_the_bases() -> None:
    files = [Path(name) for name in catalog.source_modules("pml:SubCenterArcFaceLoss")]
    names = {"/".join(path.parts[-2:]) for path in files}
    assert {
        "losses/pml.py",
        "losses/base.py",
        "losses/subcenter_arcface_loss.py",
        "losses/arcface_loss.py",
        "losses/large_margin_softmax_loss.py",
        "pytorch_metric_learning/__init__.py",
    } <= names
    origin = importlib.util.find_spec("pytorch_metric_learning")
    assert origin is not None
    assert origin.origin is not None
    assert "__version__" in Path(origin.origin).read_text()
    assert not any("site-packages" in name for name in catalog.source_modules("cosface"))


def test_signatures_agree_with_python() -> None:
    """What the sources say is what the classes take: every argument by itself is accepted."""
    for name in USABLE:
        for argument in peers.describe(f"pml:{name}").arguments:
            hyper = {**REQUIRED.get(name, {})}
            if argument.default not in (peers.NONE, "required"):
                hyper[argument.name] = argument.default
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs(name, hyper)
