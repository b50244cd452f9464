"""The comparison over many classes: its floor, its ways, its table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from benchmarks.speed import classes
from losses import heads

CPU = torch.device("cpu")


def test_three_products_are_those_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "PRODUCT_BLOCK", 4)
    x, weight = torch.randn(3, 5), torch.randn(10, 5)
    logits = x @ weight.T
    of_x, of_weight = classes.three_products(x, weight)
    torch.testing.assert_close(of_x, logits @ weight)
    torch.testing.assert_close(of_weight, logits.T @ x)


def test_ways_of_one_head_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and tables give the same gradients; the engine takes its step."""
    monkeypatch.setattr(heads, "LARGEST_TABLE", heads.LARGEST_TABLE)  # put back at the end
    found = []
    for way in (classes.BLOCKS, classes.TABLES):
        torch.manual_seed(0)
        found.append(classes.step_of(way, 50, 8, 6, CPU)())
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected)
    classes.step_of(classes.ENGINE, 50, 8, 6, CPU)()


def test_what_would_not_fit_is_left_out() -> None:
    assert classes.fits(classes.BLOCKS, 10**6, 512, 512, 0.1)
    assert not classes.fits(classes.PEER, 10**6, 512, 512, 10)
    assert classes.fits(classes.PEER, 500_000, 128, 256, 10)


def test_a_measurement_in_its_own_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(classes, "QUICK", ((200, 8, 16),))
    out = tmp_path / "classes.csv"
    ways = [classes.PRODUCTS, classes.TABLES]
    arguments = ["--quick", "--threads", "1", "--out", str(out), "--ways", *ways]
    monkeypatch.setattr(classes, "fits", lambda way, *_: way == classes.PRODUCTS)
    assert classes.main(arguments) == 0
    with out.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["seconds"]) >= float(first["least_seconds"]) > 0
    assert second["seconds"] == second["mebibytes"] == ""
    assert {"date", "machine", "device", "torch", "threads"} <= first.keys()
    assert "| 200 | 8 | 16 |" in capsys.readouterr().out


def test_the_table_has_ratios_to_the_bare_products() -> None:
    shared = {
        "dim": "8", "batch": "16", "date": "2026-01-02T03:04", "machine": "CPU", "device": "cpu",
        "threads": "2", "torch": "2",
    }  # fmt: skip
    rows = [
        {"classes": count, "way": way, "seconds": "9", "least_seconds": least, "mebibytes": "1234.4", **shared}
        for count, way, least in (
            ("1000", classes.BLOCKS, "3"), ("1000", classes.PRODUCTS, "2"), ("2000", classes.BLOCKS, "5"),
        )
    ]  # fmt: skip
    text = classes.markdown(rows)
    assert "| 1,000 | 8 | 16 | 3 s (1.50), 1,234 MiB | 2 s, 1,234 MiB |" in text
    assert "| 2,000 | 8 | 16 | 5 s, 1,234 MiB | not measured |" in text
    assert "2026-01-02, CPU, device cpu, 2 threads, torch 2" in text
