"""Any folder of images, one subfolder a class, with or without ``train/ val/ test/`` above them."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from datasets.errors import DataError
from datasets.image_set import TEST, TRAIN, VALIDATION, ImageSet, first_parts, from_arrays
from datasets.progress import progress
from datasets.registry import Description, identity

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
PARTS = {
    "train": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
}
RECIPE = 1  # version of `decode`; whoever changes its pixels raises it
HASHES = "folder-hashes.json"


@dataclass(frozen=True)
class Listing:
    """The images of a folder: sorted by class, then part, then path; arrays are (images,)."""

    root: Path
    files: tuple[Path, ...]
    labels: np.ndarray
    parts: np.ndarray
    class_names: tuple[str, ...]


def load(options: Mapping[str, Any], data_root: Path) -> ImageSet:
    """Decode the folder.

    Raises
    ------
    DataError
        As `list_images` and `decode`.
    """
    listing = list_images(_root(options, data_root))
    size, channels = options["image_size"], options["channels"]
    images = np.empty((len(listing.files), channels, size, size), dtype=np.uint8)
    for position, file in enumerate(progress(listing.files, "folder")):
        images[position] = decode(file, size, channels)
    return from_arrays("folder", images, listing.labels, listing.class_names, listing.parts)


def describe(options: Mapping[str, Any], data_root: Path, cache_root: Path) -> Description:
    """Describe the folder from its listing and the SHA-256 of its files.

    Hashes are kept in ``<cache_root>/folder-hashes.json`` by path, size and time of change. The
    checksum covers paths relative to the folder, so that a folder may be moved.
    """
    listing = list_images(_root(options, data_root))
    hashes = _hashes(listing.files, cache_root / HASHES)
    digest = hashlib.sha256()
    for file, content in zip(listing.files, hashes, strict=True):
        digest.update(f"{file.relative_to(listing.root).as_posix()}\0{content}\n".encode())
    given = None
    if (listing.parts != TRAIN).any():
        roles = first_parts(listing.labels, listing.parts, len(listing.class_names))
        known, validation, test = np.bincount(roles, minlength=3).tolist()
        given = (known, validation, test)
    decoding = {key: value for key, value in options.items() if key != "path"}
    return Description(
        classes=len(listing.class_names),
        images=len(listing.files),
        smallest_class=int(np.bincount(listing.labels).min()),
        channels=options["channels"],
        image_size=options["image_size"],
        given_classes=given,
        checksum=identity("folder", digest.hexdigest(), RECIPE, decoding),
    )


def list_images(root: Path) -> Listing:
    """List a folder of classes.

    A class is a subfolder, its images all image files in it, at any depth. If the top level holds
    ``train`` and perhaps ``val`` (``valid``, ``validation``) and ``test``, classes stand below
    these and the parts are given; a class that a part does not have is simply absent from it.
    Hidden files and folders are passed over; other files that are no images are reported in a
    warning.

    Raises
    ------
    DataError
        If the folder is missing, has fewer than two classes, a class without images, or mixes part
        folders and class folders.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give its path, one subfolder a class")
    strangers: list[Path] = [path for path in _visible(root) if not path.is_dir()]
    found: list[tuple[str, int, str, Path]] = []
    for part, folder in _part_folders(root):
        for class_folder in _subfolders(folder):
            images = [file for file in _walk(class_folder) if file.suffix.lower() in SUFFIXES]
            strangers += [
                file for file in _walk(class_folder) if file.suffix.lower() not in SUFFIXES
            ]
            if not images:
                raise DataError(f"{class_folder}: a class without images; fill or remove it")
            found += [
                (class_folder.name, part, file.relative_to(class_folder).as_posix(), file)
                for file in images
            ]
    names = sorted({entry[0] for entry in found})
    if len(names) < 2:
        raise DataError(
            f"{root}: {len(found)} images in {len(names)} classes; there must be one subfolder for "
            "each of at least two classes"
        )
    if strangers:
        shown = ", ".join(str(file.relative_to(root)) for file in strangers[:5])
        log.warning("%s: %d files are no images and left out: %s", root, len(strangers), shown)
    found.sort(key=lambda entry: entry[:3])
    number = {name: label for label, name in enumerate(names)}
    return Listing(
        root=root,
        files=tuple(entry[3] for entry in found),
        labels=np.array([number[entry[0]] for entry in found], dtype=np.int64),
        parts=np.array([entry[1] for entry in found], dtype=np.int8),
        class_names=tuple(names),
    )


def decode(file: Path, size: int, channels: int) -> np.ndarray:
    """Decode an image to uint8 (channels, size, size).

    It is turned upright (EXIF), its shorter side resized to `size` (bilinear, antialiased) and its
    centre cut out. 16-bit images keep their upper eight bits; transparency is ignored.

    Raises
    ------
    DataError
        If the file is corrupt or no image; names file and reason.
    """
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits of grey, which convert() would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("RGB" if channels == 3 else "L")
            square = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: not a readable image ({error}); replace or remove it") from error
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)


def _root(options: Mapping[str, Any], data_root: Path) -> Path:
    return data_root / Path(options["path"]).expanduser()


def _part_folders(root: Path) -> list[tuple[int, Path]]:
    """The folders that hold class folders, with their parts."""
    top = _subfolders(root)
    parts = [folder for folder in top if folder.name in PARTS and _subfolders(folder)]
    if not parts:
        return [(TRAIN, root)]
    others = [folder.name for folder in top if folder not in parts]
    if others:
        raise DataError(f"{root}: {others[0]!r} stands beside {parts[0].name!r}, but is no part")
    codes = [PARTS[folder.name] for folder in parts]
    if TRAIN not in codes or len(set(codes)) < len(codes):
        names = ", ".join(folder.name for folder in parts)
        raise DataError(f"{root}: parts must be train and, once each, val and test; it has {names}")
    return list(zip(codes, parts, strict=True))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _walk(folder: Path) -> list[Path]:
    """Every visible file below `folder`."""
    files: list[Path] = []
    for path in _visible(folder):
        files += _walk(path) if path.is_dir() else [path]
    return files


def _hashes(files: tuple[Path, ...], memo_file: Path) -> list[str]:
    """SHA-256 of each file, read again only where path, size or time of change is new."""
    try:
        memo = json.loads(memo_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        memo = {}
    hashes: list[str] = []
    fresh = False
    for file in files:
        state = file.stat()
        key = [state.st_size, state.st_mtime_ns]
        known = memo.get(str(file.absolute()))
        if not known or known[:2] != key:
            known = [*key, hashlib.sha256(file.read_bytes()).hexdigest()]
            memo[str(file.absolute())] = known
            fresh = True
        hashes.append(known[2])
    if fresh:
        memo_file.parent.mkdir(parents=True, exist_ok=True)
        temporary = memo_file.with_name(f".{memo_file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(memo), encoding="utf-8")
        temporary.replace(memo_file)
    return hashes
