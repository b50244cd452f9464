"""The command line of the catalog."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from losses import catalog
from losses.__main__ import main
from losses.catalog import CATALOG
from losses.schema import LossRow
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are wrapped at the same column in every terminal."""
    monkeypatch.setenv("COLUMNS", "120")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "losses", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_list_has_a_line_for_each_loss(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for row in CATALOG.values():
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [row.name])
        assert row.title in line
        assert f" {row.year} " in line
        assert row.sampler in line
    for family in catalog.FAMILIES:
        assert f"\n{family}\n" in out
    words = " ".join(out.split())
    assert "margin 0.5, scale 64, rule linear, gradient exact" in words  # of arcface
    assert "soft_margin true, distance" in words  # of triplet: its margin has no effect


@pytest.mark.parametrize("row", CATALOG.values(), ids=lambda row: row.name)
def test_show_says_everything(row: LossRow, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", row.name]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (row.title, row.paper, str(row.year), row.arxiv, row.notes, row.sampler):
        assert " ".join(words.split()) in out
    for item in row.hyperparameters:
        assert f" {item.name} {item.unit} " in out
    for preset in row.presets:
        assert f" {preset.name} {{" in out
    assert f"docs/losses/{row.name}.md" in out
    assert "Formula" in out


def test_show_prints_formula_and_table_of_arcface(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "arcface"])
    out = capsys.readouterr().out
    assert "Target logit s·cos(θ_y + m), others s·cosθ_j." in out
    assert "Deng et al. 2019, eq. 3" in out
    margin = next(line for line in out.splitlines() if line.startswith("  margin "))
    words = ("margin", "radian", "0.5", "0 … 1.5708", "0 … 0.8", "added to the target angle")
    assert re.split(r" {2,}", margin.strip()) == list(words)
    assert "docs/losses/figures/arcface.svg" in out


def test_show_says_what_the_rules_are(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "arcface"])
    out = " ".join(capsys.readouterr().out.split())
    assert "Of rule ``none``: as it is, rising again past π - m." in out
    main(["show", "cosface"])
    assert "Of rule" not in capsys.readouterr().out


def test_show_knows_names_made_on_the_fly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "softmax+triplet"]) == 0
    out = capsys.readouterr().out
    assert "triplet.weight" in out
    assert "Hermans et al. 2017" in out
    assert "docs/losses/softmax+triplet.md" not in out
    assert main(["show", "pml:TripletMarginLoss"]) == 0
    assert "swap" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("arcfase", "did you mean 'arcface'?"),
        ("AM-Softmax", "here it is 'cosface'"),
        ("softmax+tripplet", "did you mean 'triplet'?"),
        ("pml:TripletMargin", "did you mean 'pml:TripletMarginLoss'?"),
    ],
)
def test_unknown_names_get_the_nearest_and_exit_code_2(name: str, words: str) -> None:
    done = run("show", name)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_help_helps() -> None:
    done = run("--help")
    assert done.returncode == 0
    for words in ("list", "show", "python -m losses show arcface", "docs/losses/index.md"):
        assert words in done.stdout
    assert run().returncode == 2


def test_other_names_are_of_losses_and_are_none_themselves() -> None:
    assert set(catalog.OTHER_NAMES.values()) <= CATALOG.keys()
    assert not catalog.OTHER_NAMES.keys() & CATALOG.keys()


def test_no_torch_is_imported() -> None:
    program = (
        "import sys; from losses.__main__ import main; main(['list']); main(['show', 'arcface']);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL)
    assert done.returncode == 0


def test_output_fits_any_terminal() -> None:
    """ASCII alone, and a reader that stops early."""
    program = f"{sys.executable} -m losses"
    for command in (f"{program} show arcface", f"{program} list | head -1"):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
        assert not done.stderr
