"""A user's folder: layouts, decoding against Pillow, and every way in which it may be wrong."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import folder
from datasets.errors import DataError
from datasets.image_set import TEST, TRAIN, VALIDATION
from datasets.registry import describe


def options(size: int = 16, channels: int = 3) -> dict[str, object]:
    return {"path": "photos", "image_size": size, "channels": channels}


def write(root: Path, *names: str) -> Path:
    """Write an image of a colour of its own for each name; the folder of all."""
    for number, name in enumerate(names):
        file = root / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16), (number + 1, 2 * number, 255 - number)).save(file)
    return root / "photos"


def test_one_subfolder_a_class(tmp_path, caplog):
    root = write(tmp_path, "b/2.png", "b/1.PNG", "a/x.bmp", "a/deep/y.png", ".git/z.png")
    (root / "notes.txt").write_text("hello")
    (root / "a" / "x.csv").write_text("hello")
    (root / "a" / ".hidden.png").write_text("no image")
    found = folder.load(options(), tmp_path)
    assert found.class_names == ("a", "b")
    assert found.labels.tolist() == [0, 0, 1, 1]
    # listing order: a/deep/y, a/x, b/1, b/2, coloured by the order above
    assert found.images[:, 0, 8, 8].tolist() == [4, 3, 2, 1]
    assert found.images[:, 2, 8, 8].tolist() == [252, 253, 254, 255]
    assert found.parts.tolist() == [TRAIN] * 4
    assert "2 files are no images" in caplog.text
    assert "notes.txt" in caplog.text


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_given_parts(tmp_path, validation):
    write(tmp_path, "train/a/1.png", "train/b/1.png", f"{validation}/a/1.png", "test/c/1.png",
          f"{validation}/d/1.png", "test/a/0.png")  # fmt: skip
    found = folder.load(options(), tmp_path)
    assert found.class_names == ("a", "b", "c", "d")
    assert found.labels.tolist() == [0, 0, 0, 1, 2, 3]
    assert found.parts.tolist() == [TRAIN, VALIDATION, TEST, TRAIN, TEST, VALIDATION]
    description = describe("folder", options(), tmp_path, tmp_path / "cache")
    assert description.given_classes == (2, 1, 1)
    assert (description.classes, description.images, description.smallest_class) == (4, 6, 1)


def test_colours_and_crop_equal_pillow(tmp_path):
    write(tmp_path, "a/1.png", "b/1.png")
    file = tmp_path / "photos" / "a" / "wide.png"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    small = Image.fromarray(pixels).resize((32, 16), Image.Resampling.BILINEAR)
    expected = np.asarray(small)[:, 8:24].transpose(2, 0, 1)
    assert (folder.decode(file, 16, 3) == expected).all()
    grey = Image.fromarray(pixels).convert("L").resize((32, 16), Image.Resampling.BILINEAR)
    assert (folder.decode(file, 16, 1)[0] == np.asarray(grey)[:, 8:24]).all()
    tall = file.with_name("tall.png")
    Image.fromarray(pixels.transpose(1, 0, 2)).save(tall)
    assert (folder.decode(tall, 16, 3) == expected.transpose(0, 2, 1)).all()


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    file = tmp_path / "deep.png"
    Image.fromarray(np.full((8, 8), 0x8040, np.uint16)).save(file)
    assert (folder.decode(file, 8, 1) == 0x80).all()


def test_photos_are_turned_upright(tmp_path):
    file = tmp_path / "turned.jpg"
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255  # bright above, as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: bright to the right
    Image.fromarray(pixels).save(file, exif=exif)
    decoded = folder.decode(file, 16, 1)[0]
    assert decoded[:, 12:].min() > 240
    assert decoded[:, :4].max() < 15


def test_checksum_follows_content_and_options_but_not_the_place(tmp_path):
    write(tmp_path, "a/1.png", "b/1.png")
    cache = tmp_path / "cache"
    first = describe("folder", options(), tmp_path, cache)
    assert describe("folder", options(), tmp_path, cache) == first
    assert describe("folder", options(size=24), tmp_path, cache).checksum != first.checksum
    (tmp_path / "photos").rename(tmp_path / "moved")
    moved = describe("folder", {**options(), "path": str(tmp_path / "moved")}, Path("x"), cache)
    assert moved == first
    (tmp_path / "moved" / "a" / "1.png").rename(tmp_path / "moved" / "a" / "2.png")
    renamed = describe("folder", {**options(), "path": "moved"}, tmp_path, cache)
    assert renamed.checksum != first.checksum


def test_hashes_are_kept_and_renewed(tmp_path, monkeypatch):
    root = write(tmp_path, "a/1.png", "b/1.png")
    cache = tmp_path / "cache"
    first = describe("folder", options(), tmp_path, cache)
    read = []
    honest = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read.append(file.name) or honest(file))
    assert describe("folder", options(), tmp_path, cache) == first
    assert read == []
    state = (root / "a" / "1.png").stat()
    os.utime(root / "a" / "1.png", ns=(0, state.st_mtime_ns + 1))
    assert describe("folder", options(), tmp_path, cache) == first
    assert read == ["1.png"]
    (cache / folder.HASHES).write_text("not json")
    assert describe("folder", options(), tmp_path, cache) == first
    assert len(json.loads((cache / folder.HASHES).read_text())) == 2


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"photos: no such folder"):
        folder.load(options(), tmp_path)


def test_fewer_than_two_classes(tmp_path):
    write(tmp_path, "a/1.png", "a/2.png")
    with pytest.raises(DataError, match="2 images in 1 classes"):
        folder.load(options(), tmp_path)


def test_images_without_class_folders(tmp_path):
    write(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match="0 images in 0 classes"):
        folder.load(options(), tmp_path)


def test_an_empty_class(tmp_path):
    (write(tmp_path, "a/1.png", "b/2.png") / "empty").mkdir()
    with pytest.raises(DataError, match="empty: a class without images"):
        folder.load(options(), tmp_path)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("train/a/1.png", "train/b/1.png", "dogs/1.png"), "'dogs' stands beside 'train'"),
        (("test/a/1.png", "val/b/1.png"), "must be train"),
        (("train/a/1.png", "val/a/1.png", "valid/b/1.png"), "once each"),
    ],
)
def test_mixed_layouts(tmp_path, names, reason):
    write(tmp_path, *names)
    with pytest.raises(DataError, match=reason):
        folder.load(options(), tmp_path)


def test_a_class_may_be_called_test(tmp_path):
    write(tmp_path, "test/1.png", "exam/1.png")
    assert folder.load(options(), tmp_path).class_names == ("exam", "test")


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_corrupt_image_is_named(tmp_path, content):
    root = write(tmp_path, "a/1.png", "b/2.png")
    file = root / "b" / "2.png"
    file.write_bytes(file.read_bytes()[:-30] if content is None else content)
    with pytest.raises(DataError, match=r"2\.png: not a readable image \("):
        folder.load(options(), tmp_path)
