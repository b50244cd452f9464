"""The check of the losses finds what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losses.adacos import AdaCos
from losses.cosface import CosFace
from tests.losses import check, vectors
from tests.losses.hard import clamp_slope

RIGHT = CosFace.shift


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str], str]:
    """Exit status, the line of the first loss by column, and the whole text."""
    status = check.main(["--losses", *arguments])
    text = capsys.readouterr().out
    head, _, line = text.splitlines()[:3]
    keys, values = (
        [cell.strip() for cell in each.strip("|").split(" | ")] for each in (head, line)
    )
    return status, dict(zip(keys, values, strict=True)), text


def test_a_correct_loss(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "folder" / "check.md"
    status, line, text = run(capsys, "cosface", "--out", str(out))
    assert status == 0
    assert line["loss"] == "cosface"
    assert int(line["cases"]) >= 6
    passed, done = map(int, line["hard cases"].split(" / "))
    assert passed == done > 10
    assert float(line["stack of 4: difference"]) < 1e-5
    assert line["resume"] == "exact"
    for key in ("float64 value", "float64 gradients", "float32 value", "float32 gradients"):
        error, multiple = map(float, line[f"{key}: error, × tolerance"].split(", "))
        assert error > 0
        assert 0 < multiple < 1
    assert out.read_text() == text
    assert "All within tolerance" in text


def test_a_wrong_value(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CosFace, "shift", lambda self, cosine: 1.001 * RIGHT(self, cosine))
    status, line, text = run(capsys, "cosface")
    assert status == 1
    assert float(line["float64 value: error, × tolerance"].split(", ")[1]) > 1
    assert "cosface.random (float64): loss is off by" in text


def test_a_wrong_gradient(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shift(self: CosFace, cosine: Tensor) -> Tensor:
        return RIGHT(self, cosine) + 1e-3 * (cosine - cosine.detach())

    monkeypatch.setattr(CosFace, "shift", shift)
    status, line, text = run(capsys, "cosface")
    assert status == 1
    assert float(line["float64 value: error, × tolerance"].split(", ")[1]) < 1
    assert float(line["float64 gradients: error, × tolerance"].split(", ")[1]) > 1
    assert "grad_X is off by" in text


def test_an_infinite_slope(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """arccos at cosine ±1."""
    monkeypatch.setattr(
        CosFace, "shift", lambda self, cosine: RIGHT(self, cosine) + 0 * cosine.acos()
    )
    status, line, text = run(capsys, "cosface")
    assert status == 1
    passed, done = map(int, line["hard cases"].split(" / "))
    assert 0 < passed < done
    assert "hard batch at scale 64: not finite or missing" in text


def test_state_outside_of_the_buffers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_step(self: Any, embeddings: Tensor, labels: Tensor) -> None:
        self.count = getattr(self, "count", 0) + 1

    def shift(self: Any, cosine: Tensor) -> Tensor:
        return RIGHT(self, cosine) * (1 + getattr(self, "count", 0))

    monkeypatch.setattr(CosFace, "after_step", after_step)
    monkeypatch.setattr(CosFace, "shift", shift)
    status, line, text = run(capsys, "cosface")
    assert status == 1
    assert line["resume"] == "DIFFERS"
    assert "cosface: does not resume exactly" in text


def test_what_a_stack_cannot_compute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shift(self: CosFace, cosine: Tensor) -> Tensor:
        return RIGHT(self, cosine) if self.margin.item() < 9 else cosine

    monkeypatch.setattr(CosFace, "shift", shift)
    status, _, text = run(capsys, "cosface")
    assert status == 1
    assert "cosface, check_stack: RuntimeError" in text


def test_models_of_a_stack_that_share_state(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale of the first model in all of them."""
    call = check.Stack.call

    def first(self: Any, *arguments: Any) -> Any:
        self.buffers["loss.scale"][:] = self.buffers["loss.scale"][0].clone()
        return call(self, *arguments)

    monkeypatch.setattr(check.Stack, "call", first)
    status, line, text = run(capsys, "adacos")
    assert AdaCos.__name__ in str(type(check.make("adacos")))
    assert status == 1
    assert float(line["stack of 4: difference"]) > 1e-3
    assert "adacos-mode=dynamic-median=mean: stack differs by" in text


def test_without_vectors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(vectors.VARIABLE, raising=False)
    monkeypatch.setattr(vectors, "FOLDERS", (tmp_path,))
    status, line, text = run(capsys, "cosface")
    assert status == 0
    assert line["cases"] == line["float64 gradients: error, × tolerance"] == "no vectors"
    assert "No vectors" in text


def test_the_named_folder_comes_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All splits in it are read; one whose cases we cannot compute is seen."""
    monkeypatch.setattr(vectors, "FOLDERS", (Path(__file__).parent / "data",))
    chosen = [case for case in vectors.read(vectors.FOLDERS[0]) if case.name == "cosface.random"]
    keys = {**chosen[0].row["inputs"], **chosen[0].row["expected"]}.values()
    tolerances = [key for key in chosen[0].arrays if key.startswith("cosface.random/tol")]
    for split, factor in (("one", 1.0), ("two", 1.0 + 1e-6)):
        arrays: dict[str, Any] = {key: chosen[0].arrays[key] for key in [*keys, *tolerances]}
        arrays["cosface.random/expected_loss"] = factor * arrays["cosface.random/expected_loss"]
        row = {**chosen[0].row, "name": split}
        (tmp_path / f"{split}.json").write_text(json.dumps({"cases": [row]}))
        np.savez(tmp_path / f"{split}.npz", **arrays)
    monkeypatch.setenv(vectors.VARIABLE, str(tmp_path))
    assert [case.name for case in vectors.cases()] == ["one", "two"]
    status, line, text = run(capsys, "cosface")
    assert status == 1
    assert line["cases"] == "2"
    assert "two (float64): loss is off by" in text
    assert "one (float64)" not in text
    monkeypatch.setenv(vectors.VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(SystemExit):
        check.main(["--losses", "cosface"])
    assert "nothing" in capsys.readouterr().err


def test_speeds_are_read_where_they_were_measured_at_the_full_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured = tmp_path / "speed.csv"
    measured.write_text(
        "loss,floor_ratio,peer_ratio,batch,dim,classes\n"
        "cosface,1.052,0.7,512,128,10000\n"
        "triplet,,0.5,512,128,10000\n"
        "arcface,9,9,8,4,10\n"
    )
    monkeypatch.setattr(check, "SPEED", (tmp_path / "absent.csv", measured))
    assert check.speeds() == {"cosface": "1.05 × floor, 0.70 × PML", "triplet": "0.50 × PML"}


def test_an_unknown_loss_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check.main(["--losses", "cosfac"])
    assert "did you mean 'cosface'" in capsys.readouterr().err


@pytest.mark.parametrize(("inclusive", "slope"), [(False, 0.0), (True, 1.0)])
def test_clamp_slope(inclusive: bool, slope: float) -> None:
    clamp = Tensor.clamp
    with clamp_slope(inclusive):
        x = torch.tensor([0.0, 0.5, 1.0, 2.0], requires_grad=True)
        x.clamp(0, 1).sum().backward()
        assert torch.tensor([1, 5]).clamp(max=3).tolist() == [1, 3]
    assert x.grad is not None
    assert x.grad.tolist() == [slope, 1.0, slope, 0.0]
    assert Tensor.clamp is clamp
