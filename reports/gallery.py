"""The gallery of the documentation: an example of every family of figures, each drawn from a small
CSV of a real study in ``reports/gallery``. Nothing is trained, no results are needed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from reports.errors import ReportError
from reports.figures.registry import FIGURES, SECTIONS, family_of
from reports.figures.saving import cores, read, write_gif
from reports.figures.style import styled

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "reports" / "gallery"
SOURCES = DATA.with_suffix(".csv")
PAGE, IMAGES = "gallery.md", "images/gallery"
DPI, COLORS = 160, 128
DIGITS = 4  # significant, in the CSVs
POINTS = 1500  # images of a scatter, about, in a CSV
_IMAGES = ("train", "test", "unknown")  # kinds of rows that are an image

HEAD = """# Gallery

One example of every figure that a report draws where a study has data for it. `make gallery` draws them from the small
tables in [reports/gallery](../reports/gallery/README.md) and writes this page; in a report each figure lies beside its
own table. PNG, PDF and SVG of one of them, after an edit of its table or of the style:

```bash
python -m reports redraw reports/gallery --only {first} --to figures
```
"""


@dataclass(frozen=True)
class Source:
    """Where the data of a figure comes from.

    Attributes
    ----------
    name : the figure in the gallery.
    study : a study of ``config``, ``A+B`` for a comparison of two, or words for another.
    figure : its name in the report of that study.
    """

    name: str
    study: str
    figure: str


@dataclass(frozen=True)
class Picture:
    """A figure of the page, drawn."""

    source: Source
    title: str
    caption: str
    alt: str
    animated: bool


def sources() -> list[Source]:
    """The figures of the gallery, in the order of the report's page."""
    with SOURCES.open(encoding="utf-8", newline="") as file:
        found = [Source(**row) for row in csv.DictReader(file)]
    families = list(FIGURES)
    return sorted(found, key=lambda source: families.index(family_of(source.name)))


def write(docs: Path) -> list[Path]:
    """Draw the gallery, on all cores: ``images/gallery`` and ``gallery.md`` below a folder. Equal
    tables give equal bytes; images of figures that are gone are deleted.
    """
    images = docs / IMAGES
    images.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(cores()) as pool:
        running = [pool.submit(paint, source, images) for source in sources()]
        pictures = [each.result() for each in running]
    current = {f"{each.source.name}{end}" for each in pictures for end in _suffixes(each)}
    for path in images.iterdir():
        if path.name not in current:
            path.unlink()
    (docs / PAGE).write_text(page(pictures), encoding="utf-8")
    return [docs / PAGE, images]


def take(results: Path) -> list[Path]:
    """Renew the tables from the reports below a folder of results, where the study has a report;
    numbers are rounded, and of many images in a scatter some are kept.

    Raises
    ------
    ReportError : a report lacks a figure that the gallery shows, or no study has one.
    """
    taken = []
    for source in sources():
        own = results / source.study
        folders = [own / "figures", own / "report" / "figures"]
        folder = next((each for each in folders if each.is_dir()), None)
        if folder is None:
            continue
        path = folder / f"{source.figure}.csv"
        if not path.exists():
            raise ReportError(f"{folder}: has no {path.name}; mend {SOURCES.name} or make it again")
        target = DATA / f"{source.name}.csv"
        small(read(path)).to_csv(target, index=False, lineterminator="\n")
        taken.append(target)
    if not taken:
        raise ReportError(f"{results}: has no report of a study that the gallery shows")
    return taken


def small(frame: pd.DataFrame) -> pd.DataFrame:
    """A figure's table in fewer bytes, for the eye the same."""
    if "kind" in frame:
        image = frame["kind"].isin(_IMAGES)
        every = -(-int(image.sum()) // POINTS) or 1
        frame = frame[~image | (image.cumsum() % every == 0)]
    floats = frame.select_dtypes("float")
    rounded = floats.map(lambda x: x if x == x // 1 else float(f"{x:.{DIGITS}g}"))
    return frame.assign(**rounded)


def paint(source: Source, folder: Path) -> Picture:
    """Draw one figure: a PNG of few colours, and its animation if it has one."""
    family, frame = family_of(source.name), read(DATA / f"{source.name}.csv")
    with styled():
        drawing = family.draw(frame)
        canvas = FigureCanvasAgg(drawing.figure)
        drawing.figure.set_dpi(DPI)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        few = image.quantize(COLORS, dither=Image.Dither.NONE)
        few.save(folder / f"{source.name}.png", optimize=True)
        moving = family.animate is not None and write_gif(
            family.animate(frame), folder / f"{source.name}.gif"
        )
    return Picture(source, drawing.title, drawing.caption, drawing.alt, moving)


def page(pictures: list[Picture]) -> str:
    """The page in Markdown."""
    parts = [HEAD.format(first=pictures[0].source.name)]
    for section in SECTIONS:
        own = [each for each in pictures if family_of(each.source.name).section == section]
        if own:
            parts += [f"## {section}\n", *(_entry(each) for each in own)]
    return "\n".join(parts)


def _entry(picture: Picture) -> str:
    name = picture.source.name
    return "\n\n".join(
        [
            f"### {_plain(picture.title)}",
            *(f"![{_alt(picture.alt)}]({IMAGES}/{name}{suffix})" for suffix in _suffixes(picture)),
            _plain(picture.caption),
            f"From {_study(picture.source.study)}: [{name}.csv](../reports/gallery/{name}.csv)\n",
        ]
    )


def _suffixes(picture: Picture) -> Iterator[str]:
    yield ".png"
    if picture.animated:
        yield ".gif"


def _study(names: str) -> str:
    links = [
        f"[{name}](../config/{file})"
        for name in names.split("+")
        if (ROOT / "config" / (file := f"{name.removesuffix('_quick')}.yaml")).exists()
    ]
    if not links:
        return f"a study of {names}"
    return f"the stud{'ies' if len(links) > 1 else 'y'} {' and '.join(links)}"


def _plain(text: str) -> str:
    """Text in which Markdown finds nothing."""
    return re.sub(r"([\\`*_<\[\]])", r"\\\1", " ".join(text.split()))


def _alt(text: str) -> str:
    return " ".join(text.replace("[", "(").replace("]", ")").split())
