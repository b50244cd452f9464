"""What is drawn in a figure, as a table: not its pixels, which differ by machine and library.

python -m tests.reports.gallery_data --write    # renew tests/reports/golden/gallery
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from reports import gallery
from reports.figures.registry import family_of
from reports.figures.saving import read
from reports.figures.style import styled

GOLDEN = Path(__file__).parent / "golden" / "gallery"
PLACES = ("low", "mean", "high", "late")  # late: mean that counts the later points more
NUMBERS = ["artists", "points", *(f"{axis}_{place}" for axis in "xy" for place in PLACES)]
Points = NDArray[np.float64]


def drawn(figure: Figure) -> pd.DataFrame:
    """Rows of the panels of a figure: each text in its own row; of what is drawn one row per label
    and kind (unlabelled artists of a kind together) with the extent and two means of its points.
    """
    rows = [{"panel": -1, "kind": "text", "text": text} for text in _texts(figure)]
    for panel, ax in enumerate(figure.axes):
        rows += [{"panel": panel, "kind": kind, "text": text} for kind, text in _words(ax)]
        rows += [{"panel": panel, **row} for row in _shapes(ax)]
    return pd.DataFrame(rows, columns=["panel", "kind", "text", *NUMBERS])


def of_gallery(name: str) -> pd.DataFrame:
    """What is drawn in a figure of the gallery."""
    with styled():
        return drawn(family_of(name).draw(read(gallery.DATA / f"{name}.csv")).figure)


def golden(name: str) -> pd.DataFrame:
    """What was drawn when the golden tables were written."""
    found = pd.read_csv(GOLDEN / f"{name}.csv", dtype=str, keep_default_na=False)
    return found.assign(**{number: pd.to_numeric(found[number]) for number in NUMBERS})


def difference(now: pd.DataFrame, then: pd.DataFrame) -> str:
    """What differs between two tables of `drawn`, a line each; empty if nothing does."""
    lines = []
    keys = ["panel", "kind", "text"]
    a, b = (frame[keys].astype(str).agg(" | ".join, axis=1) for frame in (now, then))
    lines += [f"gone: {key}" for key in b[~b.isin(a)]] + [f"new: {key}" for key in a[~a.isin(b)]]
    if lines or list(a) != list(b):
        return "\n".join(lines or ["the order of panels, labels or artists differs"])
    new, old = now[NUMBERS].to_numpy(float), then[NUMBERS].to_numpy(float)
    size = np.maximum(np.abs(new), np.abs(old))
    off = ~np.isclose(new, old, rtol=2e-3, atol=1e-9, equal_nan=True) & ~(size < 1e-9)
    for row, column in np.argwhere(off):
        lines.append(
            f"{a.iloc[row]}: {NUMBERS[column]} is {new[row, column]:g}, was {old[row, column]:g}"
        )
    return "\n".join(lines)


def _texts(artist: Figure | Axes) -> Iterator[str]:
    texts = [*artist.texts]  # a figure's title is one of them
    for legend in artist.legends if isinstance(artist, Figure) else [artist.get_legend()]:
        if legend is not None:
            texts += [legend.get_title(), *legend.get_texts()]
    yield from (_line(text.get_text()) for text in texts if text.get_text().strip())


def _words(ax: Axes) -> Iterator[tuple[str, str]]:
    for side in ("left", "center", "right"):
        if ax.get_title(side):
            yield "title", _line(ax.get_title(side))
    for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        if axis.label.get_text():
            yield f"{name} label", _line(axis.label.get_text())
        low, high = axis.get_view_interval()
        turned = ", reversed" if low > high else ""
        yield f"{name} scale", f"{axis.get_scale()}{turned}"
        places = axis.get_major_locator()
        if isinstance(places, FixedLocator):
            words = axis.get_major_formatter().format_ticks(list(places()))
            yield f"{name} ticks", " · ".join(map(_line, words))
    texts = list(_texts(ax))
    if texts:
        yield "text", " · ".join(texts)


def _shapes(ax: Axes) -> list[dict[str, object]]:
    groups: dict[tuple[str, str], list[Points]] = {}
    for artist in (*ax.lines, *ax.collections, *ax.patches, *ax.images):
        points = _points(artist)
        if artist.get_visible() and len(points):
            label = str(artist.get_label())
            key = type(artist).__name__, "" if label.startswith("_") else _line(label)
            groups.setdefault(key, []).append(points)
    return [
        {"kind": kind, "text": label, **_summary(points)}
        for (kind, label), points in groups.items()
    ]


def _points(artist: Artist) -> Points:
    """What an artist is made of, (N, 2); of coloured cells their values, as x and y."""
    if isinstance(artist, Line2D):
        found = np.asarray(artist.get_xydata(), dtype=float)
    elif isinstance(artist, QuadMesh | AxesImage):
        cells: Points = np.ma.asarray(artist.get_array(), dtype=float).filled(np.nan)
        values = cells.ravel()
        found = np.column_stack([np.arange(len(values)), values])
    elif isinstance(artist, PathCollection):
        found = np.ma.filled(np.ma.asarray(artist.get_offsets(), dtype=float), np.nan)
    elif isinstance(artist, LineCollection):
        found = np.vstack([np.empty((0, 2)), *artist.get_segments()])
    elif isinstance(artist, Collection):
        found = np.vstack([np.empty((0, 2)), *(path.vertices for path in artist.get_paths())])
    elif isinstance(artist, Patch):
        found = artist.get_patch_transform().transform(artist.get_path().vertices)
    else:
        found = np.empty((0, 2))
    return found


def _summary(groups: list[Points]) -> dict[str, float]:
    points = np.vstack(groups)
    row: dict[str, float] = {"artists": len(groups), "points": len(points)}
    for name, values in zip("xy", points.T, strict=True):
        finite = values[np.isfinite(values)]
        if len(finite):
            late = (finite * np.linspace(0, 2, len(finite))).mean()
            found = (finite.min(), finite.mean(), finite.max(), late)
            row |= dict(zip([f"{name}_{place}" for place in PLACES], found, strict=True))
    return row


def _line(text: str) -> str:
    return " ".join(text.split())


def main(arguments: list[str]) -> int:
    """Write the golden tables; those of figures that are gone are deleted."""
    if arguments != ["--write"]:
        print(__doc__)
        return 2
    GOLDEN.mkdir(parents=True, exist_ok=True)
    names = [source.name for source in gallery.sources()]
    for name in names:
        frame = of_gallery(name)
        frame.to_csv(GOLDEN / f"{name}.csv", index=False, float_format="%.4g", lineterminator="\n")
    for path in GOLDEN.glob("*.csv"):
        if path.stem not in names:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
