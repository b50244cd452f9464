"""The tables of docs/speed.md from reports/published/speed_*.csv; its prose stands in the file itself.

    python -m benchmarks.speed.page

A table stands between ``<!-- table: NAME -->`` and ``<!-- end: NAME -->``. What was not measured is called so.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.speed import tables
from benchmarks.speed.processes import ROOT
from benchmarks.speed.tables import Rows, read

PAGE = ROOT / "docs" / "speed.md"
PUBLISHED = ROOT / "reports" / "published"
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
_REGION = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)
    return 0


def filled(text: str, published: Path = PUBLISHED) -> str:
    """The page with its tables as the CSV files have them.

    Raises
    ------
    ValueError : a table without its place on the page, or the other way round.
    """
    places = [name for _, name, _ in _REGION.findall(text)]
    if sorted(places) != sorted(TABLES):
        raise ValueError(f"the page has the tables {places}, there are {list(TABLES)}")
    return _REGION.sub(lambda at: f"{at[1]}\n{TABLES[at[2]](published).strip()}\n\n{at[3]}", text)


def _each(name: str, shown: Callable[[Rows, Path, str], str]) -> Callable[[Path], str]:
    """A table for each kind of device."""

    def one(published: Path, kind: str) -> str:
        file = f"{name}_{kind}"
        rows = read(published, file)
        if not rows:
            return f"**{DEVICES[kind]}**: not measured."
        return f"**{DEVICES[kind]}**: {tables.source(rows, file)}\n\n{shown(rows, published, kind)}"

    return lambda published: "\n\n".join(one(published, kind) for kind in DEVICES)


def _other(name: str, module: str) -> Callable[[Path], str]:
    """A section whose module writes it: ``markdown(rows)``."""

    def make(published: Path) -> str:
        rows = [row for kind in DEVICES for row in read(published, f"{name}_{kind}")]
        if not rows:
            return "Not measured."
        text: str = importlib.import_module(f"benchmarks.speed.{module}").markdown(rows)
        return text

    return make


def _figure(published: Path) -> str:
    if not any(read(published, f"throughput_{kind}") for kind in DEVICES):
        return "Not measured."
    return "![Images a second against the size of the stack](images/speed_stack.png)"


TABLES: dict[str, Callable[[Path], str]] = {
    "throughput": _each("throughput", tables.throughput),
    "figure": _figure,
    "jobs": _each("jobs", tables.jobs),
    "quality": _each("quality", tables.quality),
    "phases": _each("phases", tables.phases),
    "floor": _each("floor", tables.floor),
    "variants": _each("variants", tables.variants),
    "classes": _other("classes", "classes"),
    "pipeline": _other("pipeline", "pipeline_page"),
}

if __name__ == "__main__":
    raise SystemExit(main())
