"""The cache: decoded once, read-only, rebuilt when damaged, safe between processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import cache, folder
from datasets.errors import DataError
from datasets.image_set import content_checksum

OPTIONS = {"path": "toy", "image_size": 8, "channels": 1}


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    for index, name in enumerate(("a", "b")):
        (tmp_path / "toy" / name).mkdir(parents=True)
        for image in range(3):
            pixels = np.full((8, 8), 50 * index + image, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "toy" / name / f"{image}.png")
    return {"data_root": tmp_path, "cache_root": tmp_path / "cache"}


def entry(roots: dict[str, Path]) -> Path:
    (found,) = roots["cache_root"].glob("folder-????????????")
    return found


def test_content_survives_the_cache(roots):
    found = cache.load("folder", OPTIONS, **roots)
    assert found.images.shape == (6, 1, 8, 8)
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 50, 51, 52]
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.labels.dtype == np.int64
    assert found.parts.tolist() == [0] * 6
    assert found.parts.dtype == np.int8
    assert found.class_names == ("a", "b")
    fields = (found.images, found.labels, found.class_names, found.parts)
    assert found.checksum == content_checksum(*fields)


def test_arrays_are_read_only_maps(roots):
    found = cache.load("folder", OPTIONS, **roots)
    assert isinstance(found.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.images[0] = 0


def test_decoded_once(roots, monkeypatch):
    first = cache.load("folder", OPTIONS, **roots)

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folder, "load", never)
    assert cache.load("folder", OPTIONS, **roots).checksum == first.checksum
    assert not list(roots["cache_root"].glob(".*"))


def truncate(folder: Path) -> None:
    file = folder / "images.npy"
    file.write_bytes(file.read_bytes()[:-5])


def swap_header(folder: Path) -> None:
    file = folder / "labels.npy"
    file.write_bytes(b"x" * file.stat().st_size)


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def lose(folder: Path) -> None:
    (folder / "parts.npy").unlink()


def shift(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["source_checksum"] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "damage", [truncate, swap_header, break_manifest, empty_manifest, lose, shift]
)
def test_a_damaged_cache_is_rebuilt(roots, damage, caplog):
    whole = cache.load("folder", OPTIONS, **roots)
    images = np.array(whole.images)
    damage(entry(roots))
    again = cache.load("folder", OPTIONS, **roots)
    assert "damaged cache" in caplog.text
    assert (again.images == images).all()
    assert again.checksum == whole.checksum
    caplog.clear()
    cache.load("folder", OPTIONS, **roots)
    assert not caplog.text
    assert len(list(roots["cache_root"].glob(".*"))) == 0


def test_changed_content_is_another_entry(roots):
    first = cache.load("folder", OPTIONS, **roots)
    Image.new("L", (8, 8), 200).save(roots["data_root"] / "toy" / "a" / "0.png")
    second = cache.load("folder", OPTIONS, **roots)
    assert second.images[0, 0, 0, 0] == 200
    assert second.checksum != first.checksum
    assert len(list(roots["cache_root"].glob("folder-????????????"))) == 2


def test_a_loader_that_breaks_its_promise_is_refused(roots, monkeypatch):
    honest = folder.describe

    def lie(*arguments):
        found = honest(*arguments)
        return type(found)(**{**vars(found), "classes": 3})

    monkeypatch.setattr(folder, "describe", lie)
    with pytest.raises(DataError, match="classes is 2, expected 3"):
        cache.load("folder", OPTIONS, **roots)
    assert not list(roots["cache_root"].glob("folder-????????????"))


def test_processes_that_race_agree(roots):
    code = (
        "import sys; from pathlib import Path; from datasets import cache; "
        "d = cache.load('folder', {'path': 'toy', 'image_size': 8, 'channels': 1}, "
        "data_root=Path(sys.argv[1]), cache_root=Path(sys.argv[1]) / 'cache'); "
        "print(d.checksum, int(d.images.sum()))"
    )
    command = [sys.executable, "-c", code, str(roots["data_root"])]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], answers
    found = cache.load("folder", OPTIONS, **roots)
    expected = f"{found.checksum} {int(found.images.sum())}\n"
    assert [out for out, _ in answers] == [expected] * 3
    assert not list(roots["cache_root"].glob(".folder-????????????-*"))


def test_a_late_writer_leaves_a_sound_entry_alone(roots):
    found = cache.load("folder", OPTIONS, **roots)
    before = (entry(roots) / "images.npy").stat().st_ino
    description = folder.describe(OPTIONS, roots["data_root"], roots["cache_root"])
    cache._write(found, entry(roots), description)
    assert (entry(roots) / "images.npy").stat().st_ino == before
