"""The figures of a report: a family is one module with ``gather`` (results to frames) and ``draw``
(frame to figure); `registry` lists them, `saving` writes them.

What is drawn is exactly what stands in the CSV beside the figure, so a figure can be drawn again
from it alone.
"""

from reports.figures.registry import FIGURES, SECTIONS, Family
from reports.figures.saving import Saved, draw_all, index, redraw, save

__all__ = ["FIGURES", "SECTIONS", "Family", "Saved", "draw_all", "index", "redraw", "save"]
