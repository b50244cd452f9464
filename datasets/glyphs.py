"""Letters in the typefaces that matplotlib ships: a recognition data set that needs no download.

A class is a letter (Unicode category L), its images are that letter in up to 16 faces of the DejaVu
and STIX families. Letters that look alike (Latin A, Greek Α, Cyrillic А) would be one class with
several names; they are merged, and the one with the most drawings stands for all.

The identity of the data is that of the font files, checked by SHA-256, and of the drawing
parameters below. Which letters stay and which are merged is decided by drawings at one reference
size, so that it is the same for every image size, and is checked against a pinned checksum; single
grey levels may differ between versions of Pillow, and the checksum of the decoded content records
that.
"""

import hashlib
import importlib.util
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL import __version__ as pillow_version

from datasets.errors import DataError
from datasets.image_set import ImageSet, from_arrays
from datasets.registry import fixed_facts

MATPLOTLIB = "3.11.2"
FACES = {  # file without .ttf: SHA-256, in the order in which a class lists its images
    "DejaVuSans": "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22",
    "DejaVuSans-Bold": "b184b89e3c1075f22f6b71575b6fc20d4972b3cfd3b23322ca6fd596dcaef167",
    "DejaVuSans-Oblique": "ccdf74b350f11fd3dd5774de50e5e6346a1a5da1f5b7d5fb83590665e97a5213",
    "DejaVuSans-BoldOblique": "6edf0283160186af451cbee71e7b845f2e4cabf264bb992ce668c83c25465e6f",
    "DejaVuSansMono": "602ec86b8948cfcd956482fe64f94c36c867770149ef2f791d4613f443bcecb3",
    "DejaVuSansMono-Bold": "baada9a5172fe20886251aff0433fc38461912d5daf07287e7bee56620a8da96",
    "DejaVuSansMono-Oblique": "28052813f7a709fc89f52d192dc995ef4f0fdc5c3d7b73a49d6849b1916d0cd0",
    "DejaVuSansMono-BoldOblique": "a69081c15c76c827e0a27a5a7f5c74b6135c843499955495ffa8c20d3a98288b",
    "DejaVuSerif": "107244956e9962b9e96faccdc551825e0ae0898ae13737133e1b921a2fd35ffa",
    "DejaVuSerif-Bold": "c3753f2ed6bc673f15846dc45addbeb3b9c872f32fb18fd53a21f1bef1ed7676",
    "DejaVuSerif-Italic": "3e7994fbc54fa10ce3352a42d548fadd7d9cadb69cb1109bc9d960f6dac57f04",
    "DejaVuSerif-BoldItalic": "d93efec7a9d2e826768d1a2ee95b95870e15e29599a84f3484af1de1cec2e181",
    "STIXGeneral": "167378031e2dddc6216d67819c9260e9a06ffc4c478e4e23cb98a6fd44b183c2",
    "STIXGeneralBol": "e8533dc7083fa346bda1933d60ea4a83b67d0945bceaf1b3541f82b4a0e2c6a0",
    "STIXGeneralItalic": "6cfcb333d22b7c3c623bdfd40174f14c85c3d6731ca6166c1edc80140eae8527",
    "STIXGeneralBolIta": "98788fd4ba48dfbb2bd026c0e20a247a8b06c7372879628b7a6bb0d5bb09736c",
}
REFERENCE_SIZE = 28
FONT_SHARE = 6 / 7  # font size (the em) as a share of the image
BORDER = 1  # pixels that stay free around a letter
MIN_FACES = 12
ALIKE = 0.98  # correlation of mean images above which two letters are one class
CLASSES_CHECKSUM = "7762d84a3c1c2d40ccc995ab2a3435f51c23221aa3f343c96d135c2cfa435bdc"


def load(options: Mapping[str, Any], data_root: Path) -> ImageSet:
    """Draw the letters: white on black, centred, one grey channel; nothing is read from
    `data_root`.

    Classes stand in order of code point, named by character and Unicode name; the images of a class
    in the order of `FACES`. Every class has at least 12 images, no two of them equal at the
    reference size.

    Raises
    ------
    DataError
        If matplotlib's fonts are missing or of another version, or this Pillow draws so differently
        that other classes result.
    """
    folder = font_folder()
    has = np.array([_letters_of(folder / f"{face}.ttf") for face in FACES], dtype=object)
    count: dict[int, int] = {}
    for letters_of_face in has:
        for letter in letters_of_face:
            count[letter] = count.get(letter, 0) + 1
    letters = np.array(sorted(letter for letter, faces in count.items() if faces >= MIN_FACES))
    present = np.array([[letter in face for face in has] for letter in letters.tolist()])

    reference = _draw(folder, letters, present, REFERENCE_SIZE)
    present &= ~_repeated(reference, present)
    enough = present.sum(axis=1) >= MIN_FACES
    letters, present, reference = letters[enough], present[enough], reference[enough]
    chosen = _representatives(present.sum(axis=1), _alike(reference, present))
    letters, present, reference = letters[chosen], present[chosen], reference[chosen]
    _verify_classes(letters, present)

    drawn = reference
    if options["image_size"] != REFERENCE_SIZE:
        drawn = _draw(folder, letters, present, options["image_size"])
    labels, _ = np.nonzero(present)
    names = [f"{chr(letter)} {unicodedata.name(chr(letter))}" for letter in letters.tolist()]
    return from_arrays("glyphs", drawn[present][:, None], labels, names)


def font_folder() -> Path:
    """Where matplotlib keeps its TrueType fonts, found without importing it; files are checked.

    Raises
    ------
    DataError
        If matplotlib is not installed, a font is missing or it is not the expected version of it.
    """
    install = f"install matplotlib=={MATPLOTLIB}"
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"glyphs: matplotlib, whose fonts are drawn, is not installed; {install}")
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    for face, expected in FACES.items():
        file = folder / f"{face}.ttf"
        if not file.is_file():
            raise DataError(f"{file}: the font is missing; {install}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise DataError(f"{file}: another version of the font than expected; {install}")
    return folder


def source_checksum() -> str:
    """SHA-256 of everything that decides the drawings, but for the version of Pillow."""
    parameters = (FACES, REFERENCE_SIZE, FONT_SHARE, BORDER, MIN_FACES, ALIKE, CLASSES_CHECKSUM)
    return hashlib.sha256(repr(parameters).encode()).hexdigest()


def classes_checksum(letters: np.ndarray, present: np.ndarray) -> str:
    """SHA-256 of which letters are classes and which faces draw them."""
    faces = np.packbits(present, axis=1).tolist()
    return hashlib.sha256(repr((letters.tolist(), faces)).encode()).hexdigest()


def _letters_of(file: Path) -> set[int]:
    """Code points of the letters that a font has, from its character map."""
    from fontTools.ttLib import TTFont  # comes with matplotlib

    with TTFont(file, lazy=True) as font:
        mapped = font.getBestCmap()
    return {point for point in mapped if unicodedata.category(chr(point)).startswith("L")}


def _draw(folder: Path, letters: np.ndarray, present: np.ndarray, size: int) -> np.ndarray:
    """Drawings of every letter in every face that has it, uint8 (letters, faces, size, size)."""
    drawn = np.zeros((*present.shape, size, size), dtype=np.uint8)
    for column, face in enumerate(FACES):
        fonts = [
            ImageFont.truetype(
                str(folder / f"{face}.ttf"), points, layout_engine=ImageFont.Layout.BASIC
            )
            for points in range(round(size * FONT_SHARE), size // 3, -1)
        ]
        for line in np.flatnonzero(present[:, column]):
            drawn[line, column] = _drawing(chr(letters[line]), fonts, size)
    return drawn


def _drawing(letter: str, fonts: list[ImageFont.FreeTypeFont], size: int) -> np.ndarray:
    """The letter's ink, centred, in the largest of `fonts` in which it fits."""
    for font in fonts:
        canvas = Image.new("L", (3 * size, 3 * size))
        ImageDraw.Draw(canvas).text((size, size), letter, fill=255, font=font)
        # The ink's own box: the font's would include the space that it advances by.
        left, top, right, bottom = canvas.getbbox() or (0, 0, 0, 0)
        width, height = right - left, bottom - top
        if max(width, height) <= size - 2 * BORDER:
            break
    left, top = left - (size - width) // 2, top - (size - height) // 2
    return np.asarray(canvas.crop((left, top, left + size, top + size)))


def _repeated(drawn: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Where a face draws a letter exactly as an earlier face does, bool (letters, faces)."""
    repeated = np.zeros_like(present)
    for later in range(1, present.shape[1]):
        for earlier in range(later):
            same = (drawn[:, later] == drawn[:, earlier]).all(axis=(1, 2))
            repeated[:, later] |= same & present[:, later] & present[:, earlier]
    return repeated


def _representatives(faces: np.ndarray, alike: list[tuple[int, int]]) -> np.ndarray:
    """One letter for each group of letters that look alike, as sorted positions.

    The one with the most drawings, and among equals the first. Being alike is carried on: if A is
    like B and B like C, they are one group.
    """
    parent = list(range(len(faces)))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for first, second in alike:
        pair = root(first), root(second)
        best = min(pair, key=lambda node: (-faces[node], node))
        for node in pair:
            parent[node] = best
    return np.array([node for node in range(len(parent)) if parent[node] == node])


def _alike(drawn: np.ndarray, present: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of letters whose mean images over their common faces correlate above `ALIKE`.

    The DejaVu faces alone are compared: versions of Pillow draw them alike, the STIX ones not.
    """
    compared = [face.startswith("DejaVu") for face in FACES]
    drawn, present = drawn[:, compared], present[:, compared]
    pixels = drawn.reshape(*present.shape, -1)
    patterns, pattern_of = np.unique(present, axis=0, return_inverse=True)
    members = [np.flatnonzero(pattern_of.ravel() == pattern) for pattern in range(len(patterns))]
    pairs: list[tuple[int, int]] = []
    for one in range(len(patterns)):
        for other in range(one, len(patterns)):
            common = patterns[one] & patterns[other]
            if not common.any():
                continue
            left = _standardised(pixels[members[one]][:, common].mean(axis=1))
            right = _standardised(pixels[members[other]][:, common].mean(axis=1))
            rows, columns = np.nonzero(left @ right.T > ALIKE)
            found = zip(members[one][rows].tolist(), members[other][columns].tolist(), strict=True)
            pairs += [(min(pair), max(pair)) for pair in found if pair[0] != pair[1]]
    return sorted(set(pairs))


def _standardised(rows: np.ndarray) -> np.ndarray:
    """Rows of zero mean and unit length, so that products are correlations."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _verify_classes(letters: np.ndarray, present: np.ndarray) -> None:
    if classes_checksum(letters, present) != CLASSES_CHECKSUM:
        expected = fixed_facts("glyphs").classes
        raise DataError(
            f"glyphs: Pillow {pillow_version} draws the letters so differently that other classes "
            f"result ({len(letters)}, expected {expected}); install pillow==13.0.0"
        )
