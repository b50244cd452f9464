"""The font of the figures: DejaVu Sans with the letters that figures use, and no others.

Each PDF holds a subset of its fonts. To cut one out of the whole DejaVu Sans takes longer than to
draw the figure; out of this small one it takes a tenth. Its licence asks that a changed font has
another name. Signs that it lacks come from DejaVu Sans itself.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import matplotlib
from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib import font_manager

NAME = "Report Sans"
# Latin with accents, Greek, punctuation, sub- and superscripts, arrows, signs of mathematics.
RANGES = ((0x20, 0x17F), (0x370, 0x3FF), (0x2010, 0x209F), (0x2190, 0x2193), (0x2200, 0x226F))


@cache
def families() -> list[str]:
    """What to draw text with, the first first; made once for each user, then kept."""
    own, fonts = Path(matplotlib.get_data_path(), "fonts", "ttf"), font_manager.fontManager
    _own_first(own, fonts)
    folder = Path(matplotlib.get_cachedir())
    for weight, name in (("normal", "DejaVuSans"), ("bold", "DejaVuSans-Bold")):
        path = folder / f"report-sans-{matplotlib.__version__}-{weight}.ttf"
        if not path.exists():
            _write_small(own / f"{name}.ttf", path)
        fonts.addfont(path)
    return [NAME, "DejaVu Sans"]


def _own_first(own: Path, fonts: font_manager.FontManager) -> None:
    """Matplotlib's DejaVu Sans before the system's, another version, which it may have found first,
    or alone: figures, and mathematics in them, would differ between machines.
    """
    known = {font.fname for font in fonts.ttflist}
    for path in sorted(own.glob("DejaVuSans*.ttf")):
        if str(path) not in known:
            fonts.addfont(path)
    fonts.ttflist.sort(key=lambda font: Path(font.fname).parent != own)


def _write_small(source: Path, path: Path) -> None:
    font = TTFont(source)
    options = subset.Options(layout_features=[], notdef_outline=True)
    options.drop_tables += ["FFTM", "MATH"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[sign for low, high in RANGES for sign in range(low, high + 1)])
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 3, 4, 6, 16):
            text = str(record.toUnicode()).replace("DejaVu", "Report")
            record.string = text.replace(" ", "") if record.nameID == 6 else text
    # Several processes may make it at once; each sees a whole file.
    temporary = path.with_suffix(f".{os.getpid()}")
    font.save(temporary)
    temporary.replace(path)
