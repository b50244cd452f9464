"""MNIST and Fashion-MNIST, from the IDX files in torchvision's layout.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998;
Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.download import fetched
from datasets.errors import DataError
from datasets.idx import parse_idx, read_payload
from datasets.image_set import TEST, TRAIN, ImageSet, from_arrays

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Source:
    """Where a data set of this family comes from.

    ``checksums`` are the SHA-256 of the unpacked bytes of `FILES`, which may lie there with ``.gz``
    behind their names. ``system_folder`` is looked into after the data root; ``torchvision`` names
    the class that downloads.
    """

    torchvision: str
    class_names: tuple[str, ...]
    checksums: tuple[str, ...]
    owner: str
    system_folder: Path | None = None


MNIST = Source(
    torchvision="MNIST",
    class_names=tuple("0123456789"),
    checksums=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    owner="torchvision.datasets.MNIST on a machine with network access; mnist5k needs no download",
)

FASHION_MNIST = Source(
    torchvision="FashionMNIST",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    checksums=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    owner="Debian's package dataset-fashion-mnist, zalandoresearch/fashion-mnist on GitHub, or "
    "torchvision.datasets.FashionMNIST on a machine with network access",
    system_folder=Path("/usr/share/datasets/fashion-mnist"),
)


def load_mnist(options: Mapping[str, Any], data_root: Path) -> ImageSet:
    """Decode MNIST: 60,000 digits in TRAIN, 10,000 in TEST, ink 255 on 0, 28 × 28, file order."""
    return _load("mnist", MNIST, data_root)


def load_fashion_mnist(options: Mapping[str, Any], data_root: Path) -> ImageSet:
    """Decode Fashion-MNIST: 60,000 images in TRAIN, 10,000 in TEST, 28 × 28, file order."""
    return _load("fashion_mnist", FASHION_MNIST, data_root)


def source_checksum(source: Source) -> str:
    """SHA-256 of the four files' checksums."""
    return hashlib.sha256("\n".join(source.checksums).encode()).hexdigest()


def _load(name: str, source: Source, data_root: Path) -> ImageSet:
    folder = _folder(name, source, data_root)
    arrays = [
        _read(folder, file, checksum)
        for file, checksum in zip(FILES, source.checksums, strict=True)
    ]
    images = np.concatenate(arrays[0::2])[:, None]
    labels = np.concatenate(arrays[1::2])
    parts = np.repeat([TRAIN, TEST], [len(arrays[1]), len(arrays[3])])
    return from_arrays(name, images, labels, source.class_names, parts)


def _folder(name: str, source: Source, data_root: Path) -> Path:
    """The folder that holds all four files; MNIST is downloaded into the data root if none does."""
    own = data_root / source.torchvision / "raw"

    def ready() -> Path | None:
        for folder in filter(None, (own, source.system_folder)):
            if all(_find(folder, file) for file in FILES):
                return folder
        return None

    def download() -> None:
        from torchvision import datasets

        getattr(datasets, source.torchvision)(str(data_root), download=True)

    places = f"{own}" + (f" or {source.system_folder}" if source.system_folder else "")
    files = ", ".join(FILES)
    return fetched(
        name,
        ready=ready,
        download=download,
        missing=f"{places} must hold the files {files} (plain or .gz)",
        owner=source.owner,
    )


def _find(folder: Path, file: str) -> Path | None:
    for candidate in (folder / file, folder / f"{file}.gz"):
        if candidate.is_file():
            return candidate
    return None


def _read(folder: Path, name: str, checksum: str) -> np.ndarray:
    """One file's array, after checking that it is the published one."""
    file = _find(folder, name) or folder / name
    payload = read_payload(file)
    array = parse_idx(payload, file)
    if hashlib.sha256(payload).hexdigest() != checksum:
        raise DataError(f"{file}: a sound IDX file, but not the published one; fetch it again")
    return array
