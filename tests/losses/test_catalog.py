"""The table of losses: what it allows, what it says, and that it agrees with the classes."""

from __future__ import annotations

import importlib
import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from losses import catalog
from losses.base import Loss
from losses.build import build
from losses.catalog import CATALOG, CatalogError

ROOT = Path(catalog.__file__).resolve().parents[1]
each_loss = pytest.mark.parametrize("name", CATALOG)


def loss_class(name: str) -> type[Loss]:
    module, _, attribute = CATALOG[name].target.partition(":")
    found: type[Loss] = getattr(importlib.import_module(module), attribute)
    return found


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("arcfase", {}, ["loss = 'arcfase'", "did you mean 'arcface'", "known: softmax"]),
        ("CosFace", {}, ["did you mean 'cosface'"]),
        (3, {}, ["loss = 3"]),
        ("arcface", {"marign": 0.5}, ["did you mean 'margin'", "it has: margin, scale, rule"]),
        ("softmax", {"margin": 0.5}, ["softmax has no such hyper-parameter", "it has: none"]),
        ("arcface", {"margin": 28.6}, ["(radian); if that is degrees, write 0.4992"]),
        ("arcface", {"margin": -0.1}, ["must be in [0, 1.5708] (radian)"]),
        ("cosface", {"margin": 2.5}, ["must be in [0, 2] (cosine)"]),
        ("cosface", {"scale": 0}, ["cosface.scale = 0", "must be in [0.001"]),
        ("cosface", {"scale": -64.0}, ["must be in"]),
        ("cosface", {"scale": "64"}, ["scale = '64'", "must be one number (scale), not str"]),
        ("cosface", {"scale": [32, 64]}, ["must be one number (scale), not list"]),
        ("cosface", {"margin": None}, ["margin = null", "not null"]),
        ("cosface", {"margin": True}, ["must be one number (cosine), not bool"]),
        ("cosface", {"margin": math.nan}, ["must be finite"]),
        ("cosface", {"scale": math.inf}, ["must be finite"]),
        ("cosface", {"scale": 10**400}, ["must be finite"]),
        ("magface", {"l_a": 110}, ["magface.l_a = 110.0: must be below u_a = 110.0"]),
        ("norm_softmax", {"learnable_scale": 1}, ["must be true or false"]),
        ("norm_softmax", {"learnable_scale": "yes"}, ["must be true or false"]),
        ("arcface", {"rule": "linaer"}, ["did you mean 'linear'", "linear, easy, none, clip"]),
        ("arcface", {"rule": 1}, ["must be one of"]),
        ("sphereface", {"margin": 6}, ["must be one of 1, 2, 3, 4, 5 (factor)"]),
        ("sphereface", {"margin": 1.5}, ["must be one of"]),
        ("triplet", {"margin": 0.3}, ["has an effect only with soft_margin: false"]),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(name: str, given: dict[str, object], words: list[str]) -> None:
    with pytest.raises(CatalogError) as caught:
        catalog.resolve(name, given)
    for word in words:
        assert word in str(caught.value)
    key = f"{name}.{next(iter(given))}" if given else "loss"
    assert caught.value.key == key
    assert isinstance(caught.value, ValueError)


def test_resolve_completes_and_converts() -> None:
    assert catalog.resolve("arcface", {"scale": 30}) == {
        "margin": 0.5,
        "scale": 30.0,
        "rule": "linear",
        "gradient": "exact",
    }
    scale = catalog.resolve("cosface", {"scale": 30})["scale"]
    assert type(scale) is float
    assert type(catalog.resolve("cosface", {"scale": np.float32(32)})["scale"]) is float
    margin = catalog.resolve("sphereface", {"margin": 3.0})["margin"]
    assert margin == 3
    assert type(margin) is int
    assert "margin" not in catalog.resolve("triplet")
    assert catalog.resolve("triplet", {"soft_margin": False})["margin"] == 0.2


PAPER = {
    "softmax": {},
    "norm_softmax": {"scale": 20.0, "learnable_scale": False},
    "adacos": {"mode": "dynamic", "median": "mean"},
    "l_softmax": {"margin": 4, "base": 1000.0, "gamma": 2.5e-5, "power": 35.0, "lambda_min": 0.0},
    "sphereface": {
        "margin": 4,
        "base": 1000.0,
        "gamma": 0.12,
        "power": 1.0,
        "lambda_min": 5.0,
        "gradient": "exact",
    },
    "sphereface_r": {
        "margin": 1.5,
        "scale": 30.0,
        "rule": "clip",
        "gradient": "straight_through",
    },
    "cosface": {"margin": 0.35, "scale": 64.0},
    "arcface": {"margin": 0.5, "scale": 64.0, "rule": "linear", "gradient": "exact"},
    "combined": {
        "angle_factor": 1.0,
        "angle_margin": 0.3,
        "cosine_margin": 0.2,
        "scale": 64.0,
        "rule": "linear",
        "gradient": "exact",
    },
    "cosine_over_ten": {"margin": 0.01, "scale": 1.0},
    "contrastive": {
        "pos_margin": 0.0,
        "neg_margin": 1.0,
        "metric": "euclidean",
        "normalize": False,
        "power": 2,
        "halve": True,
        "reduction": "mean",
    },
    "triplet": {
        "mining": "hard",
        "soft_margin": True,
        "distance": "euclidean",
        "normalize": False,
    },
    "n_pairs": {"norm_weight": 0.0},
    "multi_similarity": {
        "alpha": 2.0,
        "beta": 50.0,
        "base": 0.5,
        "mining": True,
        "epsilon": 0.1,
    },
    "circle": {"margin": 0.4, "scale": 80.0, "reduction": "valid_mean", "detach": True},
    "supcon": {"temperature": 0.1, "variant": "out", "reduction": "valid_mean"},
    "ntxent": {"temperature": 0.1, "denominator": "all_others"},
    "center": {
        "center_weight": 0.003,
        "center_rate": 0.5,
        "reduction": "mean",
        "update": "paper",
    },
    "oim": {"temperature": 0.1, "momentum": 0.5, "queue_size": 0, "normalize": True},
    "bag_of_tricks": {
        "triplet.mining": "hard",
        "triplet.soft_margin": False,
        "triplet.margin": 0.3,
        "triplet.distance": "euclidean",
        "triplet.normalize": False,
        "triplet.weight": 1.0,
        "center.rate": 0.5,
        "center.reduction": "sum",
        "center.update": "paper",
        "center.weight": 5e-4,
        "neck": "batch_norm",
    },
}


@pytest.mark.parametrize("name", PAPER)
def test_defaults_are_the_papers(name: str) -> None:
    assert catalog.resolve(name) == PAPER[name]


@each_loss
def test_resolving_twice_changes_nothing(name: str) -> None:
    once = catalog.resolve(name)
    assert catalog.resolve(name, once) == once


@pytest.mark.parametrize("name", [name for name, row in CATALOG.items() if not row.parts])
def test_row_agrees_with_the_class(name: str) -> None:
    """Kind, constructor arguments and their defaults; numbers are buffers, structure is not."""
    row, cls = CATALOG[name], loss_class(name)
    assert row.name == name
    assert row.kind == cls.kind
    arguments = inspect.signature(cls.__init__).parameters
    names = [parameter.name for parameter in row.hyperparameters]
    assert list(arguments) == ["self", "num_classes", "embedding_dim", *names, *row.recipe]
    state = {**build(name, num_classes=3, embedding_dim=2).state_dict()}
    for parameter in row.hyperparameters:
        assert arguments[parameter.name].default == parameter.default
        assert (parameter.name in state) == (not parameter.structural)
        if not parameter.structural:
            assert state[parameter.name].item() == pytest.approx(parameter.default)


@each_loss
def test_hyperparameters_are_well_formed(name: str) -> None:
    for parameter in CATALOG[name].hyperparameters:
        key = f"{name}.{parameter.name}"
        assert parameter.unit, key
        assert parameter.meaning, key
        assert parameter.check(name, parameter.default) == parameter.default, key
        number = not isinstance(parameter.default, bool | str)
        whole = isinstance(parameter.default, int)
        assert parameter.structural or number, key
        assert not parameter.structural or not number or whole, key
        if number and not parameter.choices:
            assert parameter.low is not None, key
            assert parameter.high is not None, key
        if parameter.search_low is not None:
            assert parameter.search_high is not None, key
            ends = [parameter.low, parameter.search_low, parameter.search_high, parameter.high]
            assert ends == sorted(ends), key  # type: ignore[type-var]  # none is None here
            assert parameter.search_low < parameter.search_high, key
            assert not parameter.log or parameter.search_low > 0, key
        if parameter.below is not None:
            (above,) = [p for p in CATALOG[name].hyperparameters if p.name == parameter.below]
            # Neither is in effect without the other, and neither is tuned without it.
            assert parameter.only_if == above.only_if, key
            assert parameter.search_low is None, key
            assert above.search_low is None, key


@each_loss
def test_docstring_names_its_source(name: str) -> None:
    cls = loss_class(name)
    assert cls.__doc__ is not None
    if CATALOG[name].arxiv:
        # An equation or a section; a name of the formula where the number is not known.
        assert f" {CATALOG[name].year}, " in cls.__doc__.partition("\n\n")[0]


@given(value=st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_accepted_exactly_in_its_range(value: float) -> None:
    parameter = CATALOG["arcface"].hyperparameters[0]
    if math.isfinite(value) and 0 <= value <= math.pi / 2:
        assert parameter.check("arcface", value) == value
    else:
        with pytest.raises(CatalogError):
            parameter.check("arcface", value)


def test_group_key_holds_structure_only() -> None:
    def key(**given: object) -> tuple[object, ...]:
        return catalog.group_key("arcface", catalog.resolve("arcface", given))

    assert key(margin=0.1, scale=8) == key(margin=0.7)
    assert len({key(rule=rule) for rule in ("linear", "easy", "none", "clip")}) == 4
    assert key(gradient="exact") != key(gradient="straight_through")
    assert key()[0] == "arcface"
    hash(key())


def test_search_space_is_what_is_free_and_in_effect() -> None:
    def free(name: str, **fixed: object) -> list[str]:
        return [parameter.name for parameter in catalog.search_space(name, fixed)]

    assert free("softmax") == []
    assert free("arcface") == ["margin", "scale"]
    assert free("arcface", scale=32.0) == ["margin"]
    assert free("triplet") == []
    assert free("triplet", soft_margin=False) == ["margin"]


def test_source_modules_follow_imports() -> None:
    def files(name: str) -> list[str]:
        return [str(Path(path).relative_to(ROOT)) for path in catalog.source_modules(name)]

    shared = [
        "losses/base.py",
        "losses/blocks.py",
        "losses/class_blocks.py",
        "losses/class_table.py",
        "losses/class_walk.py",
        "losses/cross_entropy.py",
        "losses/functional.py",
        "losses/heads.py",
        "losses/large_tables.py",
        "losses/stacked_function.py",
    ]
    assert files("arcface") == ["losses/arcface.py", *shared]
    assert files("triplet") == [
        "losses/base.py",
        "losses/counters.py",
        "losses/functional.py",
        "losses/pairs.py",
        "losses/triplet.py",
    ]
    assert "losses/softmax.py" in files("center")
    assert "losses/catalog.py" not in files("center")


def test_import_is_free_of_torch() -> None:
    script = (
        "import sys, losses; losses.resolve('arcface'); losses.source_modules('center');"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"num_classes": 1}, "num_classes = 1"),
        ({"embedding_dim": 0}, "embedding_dim = 0"),
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing = -0.1"),
        ({"weight_norm": 0.0}, "weight_norm = 0.0"),
        ({"weight_norm": math.nan}, "weight_norm = nan"),
    ],
)
def test_build_rejects(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word.replace(".", r"\.")):
        build("cosface", **{"num_classes": 3, "embedding_dim": 2, **arguments})


def test_build_passes_everything_on() -> None:
    loss: Any = build(
        "arcface",
        {"margin": 0.35, "rule": "clip"},
        num_classes=6,
        embedding_dim=3,
        label_smoothing=0.1,
        weight_norm=2.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert loss.margin.double().item() == 0.35  # not the float32 next to it
    assert loss.label_smoothing.item() == 0.1
    assert loss.rule == "clip"
    assert loss.weight.shape == (6, 3)
    torch.testing.assert_close(loss.weight.norm(dim=1).detach(), torch.full((6,), 2.0))
