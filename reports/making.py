"""A study's report, whole or in part: results, tables, figures, page."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from reports.collect import collect, write_results
from reports.errors import ReportError
from reports.figures import Saved, draw_all
from reports.page.writing import write_page
from reports.selection import select
from reports.tables.render import write_table
from reports.tables.results import all_tables
from reports.tables.table import Table

Part = Literal["results", "tables", "figures"]
PARTS: tuple[Part, ...] = ("results", "tables", "figures")
# What a report leaves in its folders; files of other kinds are somebody else's.
_KINDS = (".csv", ".md", ".tex", ".png", ".pdf", ".svg", ".gif")


def make(plan: Path, runs: Path, out: Path, only: Part | None = None) -> list[Path]:
    """Write a report into `out`, and the table of all runs beside the plan.

    Parameters
    ----------
    plan : ``plan.json`` of a study, ``tuned.json`` of a tuned one.
    runs : the run store.
    out : ``index.html``, ``tables/`` and ``figures/`` go here; what an earlier report of another
        grid left there goes away.
    only : write this part alone.

    Returns
    -------
    What was written: files of results, folders of tables and figures, the page.

    Raises
    ------
    ReportError : a plan or a run that cannot be read, no run store.
    """
    if not runs.is_dir():  # a slip of the pen must not replace a report by an empty one
        raise ReportError(f"{runs}: no such folder; give the run store, results/runs")
    study = collect(plan, runs)
    selection = select(study)
    written: list[Path] = []
    if only in (None, "results"):
        written += write_results(study, plan.parent)
    tables: list[Table] = []
    figures: list[Saved] = []

    def write_tables() -> None:
        tables.extend(all_tables(study, selection))
        for table in tables:
            write_table(table, out / "tables")

    if only == "tables":
        write_tables()
    elif only == "figures":
        figures = draw_all(study, selection, out / "figures")
    elif only is None:  # tables are made while figures are drawn
        figures = draw_all(study, selection, out / "figures", write_tables)
    if only in (None, "tables"):
        names = {f"{table.name}.{end}" for table in tables for end in table.formats}
        written.append(_cleared(out / "tables", names))
    if only in (None, "figures"):
        names = {f"{figure.name}.{end}" for figure in figures for end in figure.suffixes}
        written.append(_cleared(out / "figures", names))
    if only is None:
        written.append(write_page(study, selection, tables, figures, out, command(plan, runs, out)))
    return written


def command(plan: Path, runs: Path, out: Path) -> str:
    """What to type to make a report again."""
    words = ["python", "-m", "reports", "make"]
    return shlex.join([*words, "--plan", str(plan), "--runs", str(runs), "--out", str(out)])


def _cleared(folder: Path, current: set[str]) -> Path:
    """Without what an earlier report left: a figure that the page does not have would mislead."""
    if folder.exists():
        for path in folder.iterdir():
            if path.suffix in _KINDS and path.name not in current:
                path.unlink()
    return folder
