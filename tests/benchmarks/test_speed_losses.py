"""The timing of the losses: what it computes and prints, not how fast it is."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed import losses as speed_losses
from benchmarks.speed.losses import PEERS, Result
from losses.build import build
from losses.catalog import CATALOG, row
from tests.conftest import ROOT

TINY = ["--batch", "16", "--dim", "8", "--classes", "12", "--repeats", "2", "--stack", "2"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.losses", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_table_and_csv(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "speed.csv"
    done = run(*TINY, "--losses", "arcface", "triplet", "--out", str(out))
    assert done.returncode == 0, done.stderr
    settings, empty, *table = done.stdout.splitlines()
    assert settings.startswith("batch 16, dim 8, classes 12, repeats 2, stack 2, device ")
    assert "threads 1, torch " in settings
    assert not empty
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert len({len(line) for line in cells}) == 1
    assert [line[0] for line in cells] == ["loss", "---", "arcface", "triplet"]
    assert "1/2 loss arcface" in done.stderr
    with out.open(newline="") as file:
        arcface, triplet = csv.DictReader(file)
    assert arcface["weight_rows"] == "12"
    assert arcface["classes"] == "12"
    assert arcface["torch"] == torch.__version__
    assert arcface["date"]
    assert arcface["device"]
    assert triplet["floor_ratio"] == triplet["weight_rows"] == ""
    for loss in (arcface, triplet):
        for name in ("floor", "peer", "stack"):
            ratio, low, high = (loss[f"{name}_ratio{part}"] for part in ("", "_q1", "_q3"))
            if loss is triplet and name == "floor":
                continue
            if name == "peer" and not loss["peer"]:  # not installed
                assert ratio == ""
                continue
            assert 0 < float(low) <= float(ratio) <= float(high) < math.inf


def test_every_loss_can_be_measured() -> None:
    options = speed_losses.arguments(TINY)
    assert options.losses == list(CATALOG)
    for name in options.losses:
        result = speed_losses.measure(name, options)
        wanted = {"ours", "after_step"} | ({"floor"} if row(name).kind != "embedding" else set())
        wanted |= {"stack", "single"} if row(name).stacked else set()
        assert result.rounds.keys() - {"peer"} == wanted, name
        assert all(len(times) == 2 for times in result.rounds.values()), name


def test_peers_are_in_the_catalog_and_in_the_package() -> None:
    package = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    assert PEERS.keys() <= CATALOG.keys()
    assert all(hasattr(package, peer.name) for peer in PEERS.values())
    assert all(hasattr(miners, peer.miner) for peer in PEERS.values() if peer.miner)


@pytest.mark.parametrize("name", ["norm_softmax", "softmax"])
def test_the_floor_computes_a_whole_loss(name: str) -> None:
    """Value and all gradients are those of a loss of the catalog."""
    hyper = {"scale": 16.0} if name == "norm_softmax" else {}
    generator = torch.Generator().manual_seed(0)
    loss = build(name, hyper, num_classes=7, embedding_dim=4, generator=generator)
    embeddings, labels = speed_losses.batch(9, 4, 7, torch.device("cpu"))
    inputs = [embeddings, *loss.parameters()]
    weight, *bias = loss.parameters()
    value = speed_losses.floor(embeddings, labels, weight, bias[0] if bias else None, 16.0)
    expected = loss(embeddings, labels)
    torch.testing.assert_close(value, expected)
    for got, wanted in zip(
        speed_losses.gradients(value, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("name", ["sphereface2", "uniface"])
def test_the_floor_of_a_binary_head_has_no_softmax(name: str) -> None:
    """Every class is a negative of every sample: by hand, with the weights of the floor's gradient."""
    loss = build(name, num_classes=7, embedding_dim=4)
    embeddings, labels = speed_losses.batch(9, 4, 7, torch.device("cpu"))
    torch.manual_seed(0)
    weight = torch.nn.functional.normalize(torch.randn(7, 4), dim=-1).requires_grad_()
    torch.manual_seed(0)
    way, rows = speed_losses.floor_of(loss, embeddings, labels)
    cosines = torch.nn.functional.cosine_similarity(embeddings[:, None], weight, dim=-1)
    expected = (1 + (16 * cosines).exp()).log().sum(dim=-1).mean()
    assert rows == 7
    torch.testing.assert_close(way(), torch.autograd.grad(expected, [embeddings, weight]))


def test_the_floor_differentiates_as_much_as_the_loss() -> None:
    embeddings, labels = speed_losses.batch(9, 4, 7, torch.device("cpu"))
    shapes = {}
    for name in ("arcface", "softmax", "center", "subcenter_arcface", "oim"):
        loss = build(name, num_classes=7, embedding_dim=4)
        way, rows = speed_losses.floor_of(loss, embeddings, labels)
        shapes[name] = (rows, [tuple(gradient.shape) for gradient in way()])
    assert shapes["arcface"] == (7, [(9, 4), (7, 4)])
    assert shapes["softmax"] == shapes["center"] == (7, [(9, 4), (7, 4), (7,)])
    assert shapes["subcenter_arcface"] == (21, [(9, 4), (21, 4)])
    assert shapes["oim"] == (7, [(9, 4)])  # its table is a constant


def test_the_peer_computes_the_same_kind_of_loss() -> None:
    pytest.importorskip("pytorch_metric_learning")
    embeddings, labels = speed_losses.batch(9, 4, 7, torch.device("cpu"))
    way = speed_losses.peer_of(PEERS["cosface"], 7, embeddings, labels, weights=True)
    assert way is not None
    assert [gradient.abs().sum() > 0 for gradient in way()] == [True, True]


def test_without_the_package_the_columns_of_the_peer_are_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    result = speed_losses.measure("cosface", speed_losses.arguments(TINY))
    assert "peer" not in result.rounds
    values = speed_losses.record(result)
    assert values["peer"] == values["peer_ratio"] == values["peer_ms"] == ""
    assert float(values["floor_ratio"]) > 0


def test_ratios_are_taken_within_a_round() -> None:
    result = Result("x", 0, "", {"ours": [2.0, 30.0, 8.0], "floor": [1.0, 10.0, 2.0], "peer": []})
    assert result.ratio("ours", "floor") == (3.0, 2.5, 3.5)
    assert result.ratio("ours", "peer") is None
    assert result.seconds("ours") == 8.0
    assert Result("x", 0, "", {"ours": [2.0], "floor": [1.0]}).ratio("ours", "floor") == (2, 2, 2)


def test_the_stack_computes_what_its_losses_compute_alone() -> None:
    ways = speed_losses.stack_ways("cosface", 3, torch.device("cpu"))
    together, alone = ways["stack"](), ways["single"]()
    assert len(alone) == 3
    for got, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(got, torch.stack(expected))


def test_batch_is_drawn_from_a_seed() -> None:
    first, second = (speed_losses.batch(5, 3, 4, torch.device("cpu")) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[0].requires_grad
    assert first[0].shape == (5, 3)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--losses", "arcfac"], "did you mean 'arcface'"),
        (["--repeats", "0"], "--repeats"),
        (["--classes", "1"], "--classes"),
    ],
)
def test_wrong_options(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        speed_losses.main(arguments)
    assert stopped.value.code == 2
    assert word in capsys.readouterr().err
