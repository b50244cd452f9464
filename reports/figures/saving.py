"""Figures to files and back: PNG, PDF and SVG beside the CSV that they were drawn from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from reports.collect import Study
from reports.errors import ReportError
from reports.figures.registry import FIGURES, SECTIONS, family_of
from reports.figures.style import styled
from reports.selection import Selection

DPI = 200
FRAME_MS, LAST_FRAME_MS = 500, 2000  # of an animation
# Columns that may be empty, which CSV cannot tell from "no value".
TEXTS = ("series", "fixed", "label", "lost")
INDEX = "figures.json"

Job = tuple[str, pd.DataFrame, Path]  # name, frame, folder


@dataclass(frozen=True)
class Saved:
    """A figure on disk: ``<folder>/<name>.<suffix>``; `width` in inches, in print."""

    name: str
    folder: Path
    section: str
    title: str
    caption: str
    alt: str
    width: float
    suffixes: tuple[str, ...]

    def path(self, suffix: str) -> Path:
        """The file of one kind."""
        return self.folder / f"{self.name}.{suffix}"

    @property
    def redraw(self) -> str:
        """The command that draws it again from its CSV."""
        return f"python -m reports redraw {self.folder} --only {self.name}"


def draw_all(study: Study, selection: Selection, folder: Path) -> list[Saved]:
    """Gather, draw and save every figure that the study has data for, on all cores."""
    return _saved(
        (name, frame, folder)
        for family in FIGURES
        for name, frame in family.gather(study, selection)
    )


def redraw(folder: Path, only: str | None = None, to: Path | None = None) -> list[Saved]:
    """Draw the figures of a folder again from the CSVs in it.

    Parameters
    ----------
    only : the name of one figure; all of them if None.
    to : where they go; into the folder itself if None.

    Raises
    ------
    ReportError : the folder has no such CSV, or one that no family of figures owns.
    """
    paths = sorted(folder.glob(f"{only or '*'}.csv"))
    if not paths:
        has = ", ".join(sorted(path.stem for path in folder.glob("*.csv"))) or "none"
        wanted = f"no {only}.csv" if only else "no CSV of a figure"
        raise ReportError(
            f"{folder}: has {wanted}; give the figures folder of a report (it has: {has})"
        )
    for path in paths:
        family_of(path.stem)
    return _saved((path.stem, read(path), to or folder) for path in paths)


def index(folder: Path) -> list[Saved]:
    """The figures of a folder as its ``figures.json`` lists them, in the order of the page.

    Raises
    ------
    ReportError : there is no such file.
    """
    try:
        rows = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{folder}: has no {INDEX}; make the report first") from error
    return [Saved(**{**row, "folder": folder, "suffixes": tuple(row["suffixes"])}) for row in rows]


def save(name: str, frame: pd.DataFrame, folder: Path) -> Saved:
    """Write the CSV, and the figure drawn from it: PNG (200 dpi), PDF, SVG, an animation as GIF."""
    family = family_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    suffixes: tuple[str, ...] = ("png", "pdf", "svg", "csv")
    with styled():
        drawing = family.draw(frame)
        figure = drawing.figure
        FigureCanvasAgg(figure).draw()
        figure.set_layout_engine("none")  # once is enough for all formats
        # No date, no version: equal inputs, equal bytes.
        figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
        dateless = {"CreationDate": None, "Title": drawing.title}
        figure.savefig(folder / f"{name}.pdf", metadata=dateless)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
        if family.animate is not None and _write_gif(family.animate(frame), folder / f"{name}.gif"):
            suffixes += ("gif",)
    return Saved(
        name,
        folder,
        family.section,
        drawing.title,
        drawing.caption,
        drawing.alt,
        float(figure.get_figwidth()),
        suffixes,
    )


def read(path: Path) -> pd.DataFrame:
    """The frame of a figure from its CSV."""
    frame = pd.read_csv(path, float_precision="round_trip")
    texts = [name for name in TEXTS if name in frame]
    return frame.fillna(dict.fromkeys(texts, "")).astype(dict.fromkeys(texts, str))


def _saved(jobs: Iterable[Job]) -> list[Saved]:
    """Save figures side by side; their index goes into the folder that they share."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(workers) as pool:
        running = [pool.submit(save, *job) for job in jobs]
        saved = [each.result() for each in running]
    saved.sort(key=lambda each: SECTIONS.index(each.section))
    for folder in {each.folder for each in saved}:
        own = [_row(each) for each in saved if each.folder == folder]
        known = {row["name"] for row in own}
        if (folder / INDEX).exists():  # one figure drawn again leaves the others listed
            old = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            kept = [
                row
                for row in old
                if row["name"] not in known and (folder / f"{row['name']}.csv").exists()
            ]
            places = {row["name"]: place for place, row in enumerate(old)}
            own = sorted(own + kept, key=lambda row: places.get(row["name"], len(places)))
        (folder / INDEX).write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")
    return saved


def _row(saved: Saved) -> dict[str, object]:
    row = asdict(replace(saved, folder=Path()))
    del row["folder"]
    return row


def _write_gif(figures: Iterator[Figure], path: Path) -> bool:
    """Whether there was anything to animate."""
    images = []
    for figure in figures:
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(DPI / 2)
        canvas.draw()
        images.append(Image.fromarray(canvas.buffer_rgba(), "RGBA").convert("RGB"))
    if len(images) < 2:
        return False
    times = [FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS]
    images[0].save(path, save_all=True, append_images=images[1:], duration=times, loop=0)
    return True
