"""The pages of the losses: up to date, valid, and with curves that are the formulas."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import config as study_config
from losses import catalog, peers
from losses.build import build
from losses.catalog import CATALOG, CatalogError
from losses.heads import MarginHead
from reports import loss_curves, loss_pages
from reports.loss_curves import DEGREES, OTHER, OWN
from reports.loss_figures import caption, loss_figure, overview
from tests.conftest import ROOT

PAGES = ROOT / "docs" / "losses"
COMMAND = "run `make docs-losses` (python -m reports.loss_pages)"
THETA = np.radians(DEGREES)


def test_pages_are_those_of_the_catalog() -> None:
    wanted = loss_pages.pages()
    assert {path.name for path in PAGES.glob("*.md")} == set(wanted), COMMAND
    stale = [
        name for name, text in wanted.items() if (PAGES / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, f"{stale}: {COMMAND}"


def test_figures_are_those_with_curves() -> None:
    wanted = {f"{name}.svg" for name in CATALOG if caption(name)} | {"overview.svg"}
    found = {path.name: path for path in (PAGES / "figures").iterdir()}
    assert set(found) == wanted, COMMAND
    assert all(path.stat().st_size < 64 * 1024 for path in found.values())
    for name in CATALOG:
        text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        assert (f"(figures/{name}.svg)" in text) == (f"{name}.svg" in found)


@pytest.mark.parametrize("name", ["arcface", "adaface", "proxy_anchor"])
def test_figures_are_the_same_bytes_again(name: str) -> None:
    assert loss_figure(name) == loss_figure(name)
    assert (PAGES / "figures" / f"{name}.svg").read_text(encoding="utf-8") == loss_figure(name), (
        COMMAND
    )


@pytest.mark.slow
def test_the_command_writes_what_is_there_and_deletes_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("gone.md", "figures/gone.svg"):
        (tmp_path / name).touch()
    assert loss_pages.main(["--out", str(tmp_path)]) == 0
    written, committed = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path, PAGES)
    )
    assert written.keys() == committed.keys(), COMMAND
    assert not [name for name, data in written.items() if data != committed[name]], COMMAND


@pytest.mark.parametrize("name", CATALOG)
def test_settings_shown_are_valid(name: str, tmp_path: Path) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    file = tmp_path / "study.yaml"
    file.write_text("dataset: {name: glyphs}\n" + block, encoding="utf-8")
    points = list(study_config.loss_points(study_config.load(file)))
    assert {point[0] for point in points} == {name}
    assert yaml.safe_load(block)["losses"].keys() == {name}


def target(name: str, label: str) -> loss_curves.Curve:
    (curve,) = (curve for curve in loss_curves.target_curves(name) if curve.label == label)
    return curve


def test_target_curves_are_the_formulas() -> None:
    curve = target("cosface", "margin 0.35 (default)")
    np.testing.assert_allclose(curve.value, np.cos(THETA) - 0.35, atol=1e-9)
    np.testing.assert_allclose(curve.slope[1:-1], -np.sin(THETA)[1:-1], atol=1e-9)
    curve = target("arcface", "rule none")
    np.testing.assert_allclose(curve.value, np.cos(THETA + 0.5), atol=1e-9)
    np.testing.assert_allclose(curve.slope[2:-2], -np.sin(THETA + 0.5)[2:-2], atol=1e-6)
    default = target("arcface", "margin 0.5 (default)")
    past = np.cos(THETA) < -np.cos(0.5)
    np.testing.assert_allclose(default.value[~past], np.cos(THETA + 0.5)[~past], atol=1e-9)
    linear = np.cos(THETA) - 0.5 * np.sin(0.5)
    np.testing.assert_allclose(default.value[past], linear[past], atol=1e-9)
    straight = target("arcface", "gradient straight_through")
    np.testing.assert_allclose(straight.value, default.value, atol=1e-12)
    np.testing.assert_allclose(straight.slope[1:-1], -np.sin(THETA)[1:-1], atol=1e-9)


def test_sample_curves_are_those_of_the_papers() -> None:
    """AdaFace: quality 0 is CosFace with margin m; MagFace: cos(θ + m(a)) at both ends."""
    np.testing.assert_allclose(target("adaface", "quality 0").value, np.cos(THETA) - 0.4, atol=1e-9)
    for length, margin in ((10, 0.45), (110, 0.8)):
        curve = target("magface", f"‖x‖ = {length}")
        before = THETA + margin < np.pi
        np.testing.assert_allclose(curve.value[before], np.cos(THETA + margin)[before], atol=1e-9)


def test_similarity_curves_are_the_formulas() -> None:
    """Triplet: log(1 + exp(d_ap - d_an)) with d² = 2 - 2s; Proxy-Anchor at one sample."""
    curves = loss_curves.similarity_curves("triplet")
    for role, fixed in ((OWN, 0.0), (OTHER, 0.8)):
        curve = curves[role][0]
        own, other = (curve.x, fixed) if role == OWN else (fixed, curve.x)
        gap = np.sqrt(2 - 2 * own) - np.sqrt(2 - 2 * other)
        np.testing.assert_allclose(curve.value, np.log1p(np.exp(gap)), atol=1e-9)
        numeric = np.gradient(curve.value, curve.x)[2:-8]
        np.testing.assert_allclose(curve.slope[2:-8], numeric, rtol=2e-2, atol=2e-3)
    curve = loss_curves.similarity_curves("proxy_anchor")[OWN][0]
    pull = np.log1p(np.exp(-32 * (curve.x - 0.1)))
    push = 2 * np.log1p(np.exp(32 * (0 + 0.1))) / 3
    np.testing.assert_allclose(curve.value, pull + push, rtol=1e-6)


def test_every_margin_on_a_target_logit_has_a_curve() -> None:
    """Of all heads with a target logit only `norm_softmax` and `adacos` have no margin."""
    expected = {
        name
        for name in CATALOG
        if isinstance(build(name, num_classes=5, embedding_dim=4), MarginHead)
        and name not in {"norm_softmax", "adacos"}
    }
    found = {name for name in CATALOG if loss_curves.has_target(name)}
    assert found == expected | {"circle_class", "soft_triple"}


def test_the_overview_has_every_margin_loss() -> None:
    assert overview() == (PAGES / "figures" / "overview.svg").read_text(encoding="utf-8"), COMMAND
    names = [name for name in CATALOG if loss_curves.has_target(name)]
    assert {"arcface", "cosface", "sphereface", "adaface", "magface"} <= set(names)
    assert "softmax" not in names
    assert "norm_softmax" not in names


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a*b_cdef and `x*_y`", r"a\*b_cdef and `x*_y`"),
        ("‖_2 ≤ <m> [0, 1]", r"‖\_2 ≤ &lt;m> \[0, 1\]"),
        ("``a_b`` of\n   two lines", "`a_b` of two lines"),
    ],
)
def test_plain_text_stays_plain(words: str, expected: str) -> None:
    assert loss_pages.markdown(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("s·cosθ_y + λ_min, t_alpha", "s·cosθ<sub>y</sub> + λ<sub>min</sub>, t_alpha"),
        ("Σ_{j≠y} e^(r·(n_j + b)) >= 0", "Σ<sub>j≠y</sub> e<sup>r·(n<sub>j</sub> + b)</sup> ≥ 0"),
        ("(1 + γt)^-power, `x_y^2`", "(1 + γt)<sup>-power</sup>, `x_y^2`"),
        ("θ_{i,y_i}, head_conf.yaml", "θ<sub>i,y<sub>i</sub></sub>, head_conf.yaml"),
        ("see `losses.pairs.PairLoss`", "see [`losses.pairs.PairLoss`](../../losses/pairs.py)"),
    ],
)
def test_formulas_are_set(words: str, expected: str) -> None:
    assert loss_pages.markdown(words) == expected


def test_every_peer_is_compared() -> None:
    pytest.importorskip("pytorch_metric_learning")
    with pytest.raises(CatalogError, match="known: ") as error:
        peers.row("pml:NoSuchClass")
    known = set(str(error.value).partition("known: ")[2].rstrip(")").split(", "))
    text = (PAGES / loss_pages.PEERS).read_text(encoding="utf-8")
    compared = re.findall(
        r"^\| `(\w+)` \| \[`(\w+)`\]\(\2\.md\) \| (?:`(.*?)`)?", text, re.MULTILINE
    )
    assert {name for name, _, _ in compared} | set(loss_pages.NO_COUNTERPART) == known
    assert {name for name, _, _ in compared}.isdisjoint(loss_pages.NO_COUNTERPART)
    for _, loss, setting in compared:
        catalog.resolve(loss, yaml.safe_load(setting or "{}"))
    for name, reason in peers.REFUSED.items():
        assert (f"- `{name}`: {reason}" in text) == ("base class" not in reason)


def test_lists_and_formulas_of_docstrings() -> None:
    text = "One\nparagraph.\n\n- first\n  goes on\n- second\n\n    L = a*b\n      + c"
    expected = "One paragraph.\n\n- first goes on\n- second\n\n```text\nL = a*b\n  + c\n```"
    assert loss_pages.blocks(text) == expected
