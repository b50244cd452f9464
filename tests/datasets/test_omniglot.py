"""Omniglot: decoding against Pillow, complete or refused."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import omniglot
from datasets.errors import DataError
from datasets.image_set import TEST, TRAIN
from datasets.registry import data_root, fixed_facts


def drawing(seed: int) -> np.ndarray:
    """A binary drawing, True for ink."""
    ink = np.zeros((105, 105), dtype=bool)
    for corner in np.random.default_rng(seed).integers(5, 80, (4, 2)):
        ink[corner[0] : corner[0] + 3, corner[1] : corner[1] + 20] = True
    return ink


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three background characters, one evaluation character, pinned as if published."""
    names, ink = [], []
    for part, characters in (
        ("images_background", ("Greek/character01", "Greek/character02", "Angelic/character01")),
        ("images_evaluation", ("Keble/character01",)),
    ):
        for character in sorted(characters):
            folder = tmp_path / "omniglot-py" / part / character
            folder.mkdir(parents=True)
            for drawer in range(1, 21):
                ink.append(drawing(len(ink)))
                Image.fromarray(~ink[-1]).save(folder / f"0123_{drawer:02d}.png")
                names.append(f"{part}/{character}/0123_{drawer:02d}.png")
    monkeypatch.setattr(
        omniglot, "PARTS", {"images_background": (TRAIN, 3), "images_evaluation": (TEST, 1)}
    )
    facts = replace(fixed_facts("omniglot"), source=omniglot.source_checksum(names, np.array(ink)))
    monkeypatch.setattr(omniglot, "fixed_facts", lambda name: facts)
    monkeypatch.setenv("MARGINBENCH_OFFLINE", "1")
    return tmp_path


def test_classes_parts_and_order(toy):
    found = omniglot.load({"image_size": 105}, toy)
    assert found.class_names == (
        "Angelic/character01",
        "Greek/character01",
        "Greek/character02",
        "Keble/character01",
    )
    assert found.labels.tolist() == np.repeat(range(4), 20).tolist()
    assert found.parts.tolist() == [TRAIN] * 60 + [TEST] * 20
    # At the original size nothing is resized: ink 255 on 0, in the order written.
    for position in (0, 25, 79):
        assert (found.images[position, 0] == drawing(position) * 255).all()


@pytest.mark.parametrize("side", [8, 28, 32])
def test_shrinking_is_the_mean_over_each_area(side):
    ink = np.stack([drawing(seed) for seed in range(5)])
    # Blow every pixel up to side × side, so that whole blocks of 105 × 105 are averaged.
    large = np.kron(ink, np.ones((1, side, side)))
    mean = large.reshape(5, side, 105, side, 105).mean(axis=(2, 4))
    found = omniglot.area_resize(ink, side)
    assert found.shape == (5, side, side)
    assert np.abs(found - 255 * mean).max() <= 0.5 + 1e-6
    assert np.abs(found.mean() - 255 * ink.mean()) < 0.3


def test_shrinking_does_not_depend_on_the_block():
    ink = np.stack([drawing(seed) for seed in range(600)])
    whole = omniglot.area_resize(ink, 28)
    assert (omniglot.area_resize(ink[510:515], 28) == whole[510:515]).all()


def one_drawing(root: Path) -> Path:
    return root / "omniglot-py/images_background/Greek/character02/0123_07.png"


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_a_corrupt_drawing_is_named(toy, content):
    file = one_drawing(toy)
    file.write_bytes(file.read_bytes()[:-40] if content is None else content)
    with pytest.raises(DataError, match=r"character02/0123_07\.png: not a readable PNG \("):
        omniglot.load({"image_size": 28}, toy)


def test_a_drawing_of_another_size_is_named(toy):
    Image.new("1", (104, 105)).save(one_drawing(toy))
    with pytest.raises(DataError, match=r"0123_07\.png: 104 × 105 pixels, expected 105 × 105"):
        omniglot.load({"image_size": 28}, toy)


def test_another_drawing_than_published(toy):
    Image.fromarray(~drawing(999)).save(one_drawing(toy))
    with pytest.raises(DataError, match="complete, but not the published drawings"):
        omniglot.load({"image_size": 28}, toy)


def test_a_missing_drawing_names_its_character(toy):
    one_drawing(toy).unlink()
    with pytest.raises(DataError, match="Greek/character02: 19 drawings"):
        omniglot.load({"image_size": 28}, toy)


def test_a_missing_character_names_its_part(toy):
    shutil.rmtree(one_drawing(toy).parent)
    with pytest.raises(DataError, match="images_background: 2 characters, expected 3"):
        omniglot.load({"image_size": 28}, toy)


def test_an_absent_part_says_what_is_needed(toy):
    shutil.rmtree(toy / "omniglot-py" / "images_evaluation")
    with pytest.raises(DataError, match=r"images_evaluation\.zip.*brendenlake.*OFFLINE"):
        omniglot.load({"image_size": 28}, toy)


@pytest.mark.slow
@pytest.mark.skipif(
    not (data_root() / "omniglot-py").is_dir() or "MARGINBENCH_DATA" not in os.environ,
    reason="MARGINBENCH_DATA names no folder with Omniglot",
)
def test_real_omniglot_equals_torchvision(monkeypatch):
    from torchvision.datasets import Omniglot

    # torchvision wants to see the archives beside the unpacked folders
    monkeypatch.setattr(Omniglot, "_check_integrity", lambda _: True)
    found = omniglot.load({"image_size": 105}, data_root())
    assert (found.parts == TRAIN).sum() == 964 * 20
    assert (found.parts == TEST).sum() == 659 * 20
    for background, part in ((True, TRAIN), (False, TEST)):
        peer = Omniglot(str(data_root()), background=background)
        for position in range(0, len(peer), 997):
            image, _ = peer[position]  # its classes stand in the order of the file system
            file, character = peer._flat_character_images[position]
            label = found.class_names.index(peer._characters[character])
            own = np.flatnonzero(found.labels == label)
            assert (found.parts[own] == part).all()
            drawer = int(file.removesuffix(".png").split("_")[1])
            assert (found.images[own[drawer - 1], 0] == 255 - np.asarray(image)).all()
