"""A reader never meets half a file, and an interrupted writer leaves what was there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.files import file_hash, new_folder, write_json, write_text


def test_write_text_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    assert write_text(path, "old") == path
    write_text(path, "newer")
    assert path.read_text() == "newer"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_interrupted_writing_leaves_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_text(tmp_path / "plan.json", "old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "a longer new text")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_that_no_other_reader_would_take_is_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "x.json", {"a": [1, None]})
    assert path.read_text() == '{\n "a": [\n  1,\n  null\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text().startswith('{\n "a": [')


def test_new_folder_appears_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    with new_folder(folder) as temporary:
        (temporary / "a").write_text("1")
        assert not folder.exists()
    assert (folder / "a").read_text() == "1"
    assert folder.stat().st_mode & 0o777 == 0o755
    with new_folder(folder) as temporary:
        (temporary / "b").write_text("2")
        assert (folder / "a").exists(), "the old one stands until the new one is whole"
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert list(folder.parent.iterdir()) == [folder]


def broken_off(folder: Path, error: type[BaseException]) -> None:
    with new_folder(folder) as temporary:
        (temporary / "a").write_text("new")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_new_folder_leaves_nothing_on_an_error(error: type[BaseException], tmp_path: Path) -> None:
    folder = tmp_path / "one"
    with pytest.raises(error):
        broken_off(folder, error)
    assert list(tmp_path.iterdir()) == []
    with new_folder(folder) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(error):
        broken_off(folder, error)
    assert (folder / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_file_hash(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "x").write_bytes(content)
    assert file_hash(tmp_path / "x") == hashlib.sha256(content).hexdigest()
