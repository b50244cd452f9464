"""``python -m benchmarks plan``: when it writes, and what it says of wrong arguments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from tests.benchmarks.study_file import write


def plan(config: Path, out: Path, *more: str) -> int:
    return main(["plan", "--config", str(config), "--out", str(out), *more])


def test_an_equal_plan_keeps_its_date_and_another_one_is_written(tmp_path: Path) -> None:
    config, out = write(tmp_path), tmp_path / "plan.json"
    assert plan(config, out) == 0
    before = out.read_bytes()
    os.utime(out, (1000, 1000))
    assert plan(config, out) == 0
    assert (out.read_bytes(), out.stat().st_mtime) == (before, 1000)
    assert plan(config, out, "--overrides", '{"seeds": 2}') == 0
    assert out.read_bytes() != before


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_plan_is_written_anew(tmp_path: Path, damaged: bytes) -> None:
    """Commands that cannot read a plan tell the user to write it anew with this one."""
    config, out = write(tmp_path), tmp_path / "plan.json"
    assert plan(config, out) == 0
    whole = out.read_bytes()
    out.write_bytes(damaged)
    assert plan(config, out) == 0
    assert out.read_bytes() == whole


@pytest.mark.parametrize(("text", "words"), [("{", "not JSON"), ("[1]", "must be an object")])
def test_wrong_overrides_are_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    out = tmp_path / "plan.json"
    assert plan(write(tmp_path), out, "--overrides", text) == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"error: --overrides: {words}")
    assert not out.exists()
