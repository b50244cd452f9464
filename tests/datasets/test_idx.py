"""IDX files and the two data sets that come in them, against torchvision's own reader."""

import gzip
import os
import socket
import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torchvision

from datasets import download, mnist
from datasets.errors import DataError
from datasets.idx import DTYPES, read_idx
from datasets.image_set import TEST, TRAIN
from datasets.registry import data_root


def idx(array: np.ndarray) -> bytes:
    code = {np.dtype(value).str[1:]: key for key, value in DTYPES.items()}[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_type_is_read(tmp_path, dtype, packed):
    array = (np.arange(24) * 3 - 5).astype(dtype).reshape(2, 3, 4)
    file = tmp_path / "x"
    file.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    found = read_idx(file)
    assert found.dtype == np.dtype(dtype)
    assert (found == array).all()


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file, it begins with nothing"),
        (b"\x89PNG....", "not an IDX file, it begins with 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\x01x", "not an IDX file"),
        (GOOD[:9], r"truncated within its header \(9 of 12 bytes\)"),
        (GOOD[:-1], r"truncated: 23 bytes, 24 expected for \(3, 4\)"),
        (GOOD + b"x", "longer than its header says: 25 bytes, 24 expected"),
        (gzip.compress(GOOD)[:-9], "cannot be read"),
        (gzip.compress(GOOD)[:20] + b"garbage" * 4, "cannot be read"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, content, reason):
    file = tmp_path / "train-images"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"train-images: {reason}"):
        read_idx(file)


def test_an_absent_file(tmp_path):
    with pytest.raises(DataError, match="gone: cannot be read"):
        read_idx(tmp_path / "gone")


def toy(folder: Path, packed: bool) -> mnist.Source:
    """Write a small data set of this family; what its source would be."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    checksums = []
    for file, count in zip(mnist.FILES, (6, 6, 3, 3), strict=True):
        shape = (count, 28, 28) if "images" in file else (count,)
        payload = idx(generator.integers(0, 10, shape).astype(np.uint8))
        checksums.append(sha256(payload).hexdigest())
        name = f"{file}.gz" if packed else file
        (folder / name).write_bytes(gzip.compress(payload) if packed else payload)
    return replace(mnist.MNIST, checksums=tuple(checksums))


@pytest.mark.parametrize("packed", [False, True])
def test_parts_and_order_as_torchvision_reads_them(tmp_path, monkeypatch, packed):
    folder = tmp_path / "MNIST" / "raw"
    monkeypatch.setattr(mnist, "MNIST", toy(folder, packed))
    found = mnist.load_mnist({}, tmp_path)
    if packed:  # torchvision reads unpacked files alone
        for file in folder.glob("*.gz"):
            file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
    for train, part in ((True, TRAIN), (False, TEST)):
        peer = torchvision.datasets.MNIST(str(tmp_path), train=train)
        assert (found.images[found.parts == part, 0] == peer.data.numpy()).all()
        assert (found.labels[found.parts == part] == peer.targets.numpy()).all()


def test_the_system_folder_comes_second(tmp_path, monkeypatch):
    source = toy(tmp_path / "system", packed=True)
    source = replace(source, torchvision="FashionMNIST", system_folder=tmp_path / "system")
    monkeypatch.setattr(mnist, "FASHION_MNIST", source)
    assert len(mnist.load_fashion_mnist({}, tmp_path / "data").labels) == 9
    own = tmp_path / "data" / "FashionMNIST" / "raw"
    toy(own, packed=False)
    (own / mnist.FILES[1]).write_bytes(b"broken")
    with pytest.raises(DataError, match="FashionMNIST/raw/train-labels-idx1-ubyte: not an IDX"):
        mnist.load_fashion_mnist({}, tmp_path / "data")


def test_a_sound_file_that_is_not_the_published_one(tmp_path):
    toy(tmp_path / "MNIST" / "raw", packed=False)
    with pytest.raises(DataError, match="train-images-idx3-ubyte: a sound IDX file, but not"):
        mnist.load_mnist({}, tmp_path)


def test_offline_says_what_is_missing_and_who_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MARGINBENCH_OFFLINE", "1")
    source = replace(mnist.FASHION_MNIST, system_folder=tmp_path / "absent")
    monkeypatch.setattr(mnist, "FASHION_MNIST", source)
    with pytest.raises(DataError) as caught:
        mnist.load_fashion_mnist({}, tmp_path)
    for word in ("FashionMNIST/raw", *mnist.FILES, "dataset-fashion-mnist", "MARGINBENCH_OFFLINE"):
        assert word in str(caught.value)


def test_a_failed_download_is_told_and_the_timeout_restored(tmp_path, monkeypatch):
    monkeypatch.delenv("MARGINBENCH_OFFLINE", raising=False)
    seen = []

    class NoNetwork:
        def __init__(self, root, download):
            seen.append((root, download, socket.getdefaulttimeout()))
            raise RuntimeError("no mirror answers")

    monkeypatch.setattr(torchvision.datasets, "MNIST", NoNetwork)
    with pytest.raises(DataError, match="the download failed: no mirror answers"):
        mnist.load_mnist({}, tmp_path)
    assert seen == [(str(tmp_path), True, download.TIMEOUT_SECONDS)]
    assert socket.getdefaulttimeout() is None


def test_what_a_download_brings_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("MARGINBENCH_OFFLINE", raising=False)
    sources = []

    def fetch(root, download):
        sources.append(toy(Path(root) / "MNIST" / "raw", packed=True))

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    with pytest.raises(DataError, match="not the published one"):
        mnist.load_mnist({}, tmp_path)
    assert len(sources) == 1


@pytest.mark.skipif(
    not (data_root() / "MNIST" / "raw").is_dir() or "MARGINBENCH_DATA" not in os.environ,
    reason="MARGINBENCH_DATA names no folder with MNIST",
)
def test_real_mnist_equals_torchvision():
    found = mnist.load_mnist({}, data_root())
    assert found.images.shape == (70000, 1, 28, 28)
    for train, part in ((True, TRAIN), (False, TEST)):
        peer = torchvision.datasets.MNIST(str(data_root()), train=train)
        assert (found.images[found.parts == part, 0] == peer.data.numpy()).all()
        assert (found.labels[found.parts == part] == peer.targets.numpy()).all()
