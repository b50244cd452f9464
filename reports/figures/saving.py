"""Figures to files and back: PNG, PDF and SVG beside the CSV that they were drawn from."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import imsave
from PIL import Image

from reports.collect import Study
from reports.errors import ReportError
from reports.figures.registry import FIGURES, SECTIONS, family_of
from reports.figures.style import styled
from reports.selection import Selection

DPI = 200
NO_VERSION: dict[str, Any] = {"Software": None}
FRAME_MS, LAST_FRAME_MS = 500, 2000  # of an animation
# Columns that may be empty, which CSV cannot tell from "no value".
TEXTS = ("series", "fixed", "label", "lost")
INDEX = "figures.json"


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


def draw_all(
    study: Study,
    selection: Selection,
    folder: Path,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Saved]:
    """Gather, draw and save every figure that the study has data for, on all cores; list them in
    ``figures.json``.

    `meanwhile`: what this process does while others draw.
    """
    jobs = (
        (name, frame, folder)
        for family in FIGURES
        for name, frame in family.gather(study, selection)
    )
    saved = _saved(save, jobs, meanwhile)
    folder.mkdir(parents=True, exist_ok=True)
    _write_index(saved, folder)
    return saved


def redraw(folder: Path, only: str | None = None, to: Path | None = None) -> list[Saved]:
    """Draw the figures of a folder again from the CSVs in it.

    Parameters
    ----------
    only : the name of one figure; all of them if None.
    to : where they go; into the folder itself if None.

    Raises
    ------
    ReportError : the folder has no such CSV, or one that no family of figures owns or can draw.
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
    target = to or folder
    saved = _saved(_drawn_again, ((path, target) for path in paths))
    _write_index(_with_old(saved, target), target)
    return saved


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
    _write_csv(frame, folder / f"{name}.csv")
    suffixes: tuple[str, ...] = ("png", "pdf", "svg", "csv")
    with styled():
        drawing = family.draw(frame)
        figure = drawing.figure
        _write_formats(figure, drawing.title, folder / name)
        if family.animate is not None and write_gif(family.animate(frame), folder / f"{name}.gif"):
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


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read(path: Path) -> pd.DataFrame:
    """The frame of a figure from its CSV."""
    frame = pd.read_csv(path, float_precision="round_trip")
    texts = [name for name in TEXTS if name in frame]
    return frame.fillna(dict.fromkeys(texts, "")).astype(dict.fromkeys(texts, str))


def _saved(
    work: Callable[..., Saved],
    jobs: Iterable[tuple[object, ...]],
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Saved]:
    """Save figures side by side, a call of `work` for each job; in the order of the page."""
    with ProcessPoolExecutor(cores(), initializer=_leave_interrupts) as pool:
        try:
            running = [pool.submit(work, *job) for job in jobs]
            meanwhile()
            saved = [each.result() for each in running]
        except BaseException:  # after a full disk or Ctrl-C the rest need not be drawn
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(saved, key=lambda each: SECTIONS.index(each.section))


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the first of them ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _drawn_again(path: Path, folder: Path) -> Saved:
    try:
        return save(path.stem, read(path), folder)
    except OSError:
        raise
    except Exception as error:  # whatever an edited file does to the code that draws
        raise ReportError(
            f"{path}: cannot be drawn ({type(error).__name__}: {error}); an edit may change values and "
            "leave out rows, but must keep the columns; make the report again to have it as it was"
        ) from error


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Whole or not at all: what stands there may be somebody's edit."""
    part = path.with_name(f"{path.name}.part")
    try:
        frame.to_csv(part, index=False, lineterminator="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_index(saved: Iterable[Saved], folder: Path) -> None:
    rows = [_row(each) for each in saved]
    (folder / INDEX).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _with_old(saved: list[Saved], folder: Path) -> list[Saved]:
    """One figure drawn again leaves the others of its folder listed, in their places."""
    old = index(folder) if (folder / INDEX).exists() else []
    places = {each.name: place for place, each in enumerate(old)}
    new = {each.name for each in saved}
    kept = [each for each in old if each.name not in new and each.path("csv").exists()]
    return sorted(saved + kept, key=lambda each: places.get(each.name, len(places)))


def _row(saved: Saved) -> dict[str, object]:
    row = asdict(replace(saved, folder=Path()))
    del row["folder"]
    return row


def _write_formats(figure: Figure, title: str, path: Path) -> None:
    """PNG, PDF and SVG, each from one drawing: `Figure.savefig` would draw the figure twice for
    each. The layout is made with the PNG. No date, no version: equal inputs, equal bytes.
    """
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    png = path.with_name(f"{path.name}.png")
    imsave(png, canvas.buffer_rgba(), dpi=DPI, metadata=NO_VERSION)
    figure.set_layout_engine("none")
    FigureCanvasPdf(figure).print_pdf(
        path.with_name(f"{path.name}.pdf"), metadata={"CreationDate": None, "Title": title}
    )
    figure.set_dpi(DPI)  # of what is rasterized; the PDF has left its own
    FigureCanvasSVG(figure).print_svg(
        path.with_name(f"{path.name}.svg"), metadata={"Date": None, "Creator": None}
    )


def write_gif(figures: Iterator[Figure], path: Path) -> bool:
    """Whether there was anything to animate."""
    images = []
    for figure in figures:
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(DPI / 2)
        canvas.draw()
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    if len(images) < 2:
        return False
    times = [FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS]
    images[0].save(path, save_all=True, append_images=images[1:], duration=times, loop=0)
    return True
