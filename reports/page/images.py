"""Figures as they stand in the page: inlined, small, with their size."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from reports.figures import Saved

BUDGET = 6_000_000  # bytes of all stills, as characters; beyond it they lose a little quality
GIF_INLINE = 1_000_000  # bytes; a larger animation is linked
GIFS_INLINE = 2_000_000  # of all animations


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes
    ----------
    still : data URI of the image.
    width, height : of the image, in pixels.
    moving : data URI, or address relative to the page, of the animation; empty without one.
    """

    saved: Saved
    still: str
    width: int
    height: int
    moving: str = ""


def pictures(figures: Sequence[Saved]) -> list[Picture]:
    """Every figure, its PNG as lossless WebP: half the bytes, the same pixels.

    Where all of them together would pass `BUDGET`, they are compressed with loss instead; the files
    beside the page stay as they are.
    """
    with ThreadPoolExecutor() as pool:  # Pillow works outside of Python's lock
        stills = list(pool.map(_lossless, figures))
        if sum(len(still) for still, _, _ in stills) > BUDGET:
            stills = list(pool.map(_lossy, figures))
    found, left = [], GIFS_INLINE
    for saved, (still, width, height) in zip(figures, stills, strict=True):
        moving = ""
        if "gif" in saved.suffixes:
            path = saved.path("gif")
            size = path.stat().st_size
            moving = f"figures/{saved.name}.gif"
            if size <= min(GIF_INLINE, left):
                left -= size
                moving = _uri("gif", path.read_bytes())
        found.append(Picture(saved, still, width, height, moving))
    return found


def _lossless(saved: Saved) -> tuple[str, int, int]:
    # The fastest setting: slower ones save two per cent.
    return _webp(saved.path("png"), lossless=True, quality=0, method=1)


def _lossy(saved: Saved) -> tuple[str, int, int]:
    return _webp(saved.path("png"), lossless=False, quality=80, method=2)


def _webp(path: Path, *, lossless: bool, quality: int, method: int) -> tuple[str, int, int]:
    with Image.open(path) as image:
        out = io.BytesIO()
        opaque = image.convert("RGB")
        opaque.save(out, "WEBP", lossless=lossless, quality=quality, method=method)
        return _uri("webp", out.getvalue()), image.width, image.height


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
