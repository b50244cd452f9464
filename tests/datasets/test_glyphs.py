"""Letters in typefaces: exact cover by the fonts, homoglyphs merged, one drawing per face."""

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager, ft2font

from datasets import glyphs
from datasets.errors import DataError
from datasets.image_set import ImageSet
from datasets.registry import describe


@pytest.fixture(scope="module")
def letters() -> ImageSet:
    return glyphs.load({"image_size": 28}, Path("nowhere"))


def test_it_is_as_the_table_says(letters):
    facts = describe("glyphs", None, Path("nowhere"))
    sizes = np.bincount(letters.labels)
    assert (len(letters.class_names), len(letters.labels), sizes.min()) == (
        facts.classes,
        facts.images,
        facts.smallest_class,
    )
    assert sizes.max() <= 16
    assert letters.images.shape[1:] == (1, 28, 28)
    assert len(set(letters.class_names)) == len(letters.class_names)


def test_classes_are_letters_that_enough_faces_have(letters):
    folder = Path(font_manager.__file__).parent / "mpl-data" / "fonts" / "ttf"
    # matplotlib's own reader of the same character maps
    faces = [ft2font.FT2Font(str(folder / f"{face}.ttf")).get_charmap() for face in glyphs.FACES]
    sizes = np.bincount(letters.labels)
    for name, size in zip(letters.class_names, sizes, strict=True):
        letter, _, title = name.partition(" ")
        assert unicodedata.name(letter) == title
        assert unicodedata.category(letter)[0] == "L"
        assert 12 <= size <= sum(ord(letter) in face for face in faces)
    # letters that are like no other, of four scripts
    assert set("ЖшΞծRz") <= {name[0] for name in letters.class_names}


def test_letters_that_look_alike_are_one_class(letters):
    found = Counter(name[0] for name in letters.class_names)
    for group in ("AΑА", "OΟОՕ", "cϲс", "µμ", "XΧХ", "hһհ"):
        assert sum(found[letter] for letter in group) == 1, group
    for pair in ("Oo", "ЖШ", "ij", "EF", "nm"):
        assert sum(found[letter] for letter in pair) == 2, pair


def test_no_two_classes_look_alike_and_no_drawing_stands_twice(letters):
    drawings = letters.images.reshape(len(letters.labels), -1)
    classes = np.split(drawings, np.flatnonzero(np.diff(letters.labels)) + 1)
    assert len(classes) == len(letters.class_names)
    for own in classes:
        assert len({drawing.tobytes() for drawing in own}) == len(own)
    # Classes that have the twelve DejaVu faces alone share all their faces.
    means = np.array([own.mean(0) for own in classes if len(own) == 12])
    correlation = np.corrcoef(means) - np.eye(len(means))
    assert 0.9 < correlation.max() <= glyphs.ALIKE


def test_letters_are_white_centred_and_inside(letters):
    assert letters.images.max() == 255
    ink = letters.images[:, 0] > 0
    assert ink.any((1, 2)).all()
    assert not ink[:, [0, -1]].any()
    assert not ink[:, :, [0, -1]].any()
    for axis in (1, 2):
        used = ink.any(3 - axis)
        before, after = used.argmax(1), used[:, ::-1].argmax(1)
        assert np.abs(before - after).max() <= 1


def test_a_drawing_is_what_pillow_draws(letters):
    from PIL import Image, ImageDraw, ImageFont

    (label,) = (i for i, name in enumerate(letters.class_names) if name.startswith("R "))
    file = glyphs.font_folder() / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(file), 24, layout_engine=ImageFont.Layout.BASIC)
    canvas = Image.new("L", (60, 60))
    ImageDraw.Draw(canvas).text((20, 20), "R", fill=255, font=font)
    expected = np.asarray(canvas.crop(canvas.getbbox()))
    drawn = letters.images[letters.labels == label][0, 0]
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    cut = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (cut == expected).all()


def test_another_size_has_the_same_classes(letters):
    large = glyphs.load({"image_size": 32}, Path("nowhere"))
    assert large.images.shape[2:] == (32, 32)
    assert large.class_names == letters.class_names
    assert (large.labels == letters.labels).all()


def test_groups_are_found_and_best_covered_letter_stands_for_them():
    generator = np.random.default_rng(0)
    base = generator.integers(0, 256, (3, 16, 6, 6)).astype(np.uint8)
    drawn = base[[0, 1, 0, 2, 1]]  # 0 is like 2, 1 like 4
    present = np.ones((5, 16), dtype=bool)
    present[0, 3] = False  # 2 has a face more than 0
    drawn[~present] = 0
    alike = glyphs._alike(drawn, present)
    assert alike == [(0, 2), (1, 4)]
    assert glyphs._representatives(present.sum(1), alike).tolist() == [1, 2, 3]
    # alike is carried on, whatever the order of the pairs
    assert glyphs._representatives(np.full(5, 12), [(3, 4), (0, 1), (1, 3)]).tolist() == [0, 2]


def test_equal_drawings_of_later_faces_are_left_out():
    drawn = np.zeros((1, 4, 2, 2), np.uint8)
    drawn[0, 1] = drawn[0, 3] = 7
    present = np.array([[True, True, True, True]])
    assert glyphs._repeated(drawn, present).tolist() == [[False, False, True, True]]
    present[0, 0] = False
    assert glyphs._repeated(drawn, present).tolist() == [[False, False, False, True]]


def test_another_font_file_is_refused(monkeypatch):
    monkeypatch.setitem(glyphs.FACES, "DejaVuSerif", "0" * 64)
    with pytest.raises(DataError, match=r"DejaVuSerif\.ttf: another version.*matplotlib==3\.11\.2"):
        glyphs.font_folder()


def test_a_missing_font_or_matplotlib_is_told(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(glyphs.FACES, "NoSuchFace", "0" * 64)
        with pytest.raises(DataError, match=r"NoSuchFace\.ttf: the font is missing"):
            glyphs.font_folder()
    monkeypatch.setattr(glyphs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed; install matplotlib"):
        glyphs.font_folder()


def test_other_classes_than_expected_name_pillow(monkeypatch):
    monkeypatch.setattr(glyphs, "CLASSES_CHECKSUM", "0" * 64)
    with pytest.raises(DataError, match=r"Pillow \d.*install pillow==13"):
        glyphs._verify_classes(np.array([65, 66]), np.ones((2, 16), dtype=bool))
