"""Command line of the report."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.across import write_across
from reports.collect import collect, write_results
from reports.errors import ReportError
from reports.figures import draw_all, redraw
from reports.page import write_page
from reports.render import write_table
from reports.selection import select
from reports.tables import all_tables
from reports.tuners import write_tuners
from reports.verdict import write_verdict_page

log = logging.getLogger("reports")

_DESCRIPTION = """\
Make the report of a study from its plan and the run store.

Writes into OUT: index.html (self-contained), tables/*.{csv,md,tex} and figures/*.{png,pdf,csv};
beside the plan: results.parquet and results.csv, one row per experiment.
Equal inputs give equal tables, byte for byte. Runs that failed, diverged or are missing are shown
and counted."""

_EXAMPLES = """\
examples:
  python -m reports --plan results/toy/plan.json --runs results/runs --out results/toy/report
  python -m reports --plan ... --runs ... --out ... --only tables
  python -m reports --redraw results/toy/report/figures
  python -m reports --verdict embeddings.verdict
  python -m reports --across results/a results/b --metric verification/eer --out results/across
  python -m reports --tuners results/tuners_tpe results/tuners_halving --out results/tuners"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, or 2 for inputs that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="plan.json of the study; tuned.json of a tuned one",
    )
    parser.add_argument("--runs", type=Path, metavar="DIR", help="the run store")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the report; replaced file by file"
    )
    parser.add_argument(
        "--only",
        choices=("results", "tables", "figures"),
        help="write this part alone (default: all, and the page)",
    )
    parser.add_argument(
        "--redraw",
        type=Path,
        metavar="DIR",
        help="draw the figures of this folder again from their CSVs; nothing else",
    )
    parser.add_argument(
        "--verdict",
        type=Path,
        metavar="DIR",
        help="make the page of a verdict (python -m benchmarks judge); nothing else",
    )
    parser.add_argument(
        "--across",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders of studies on several data sets: a table of losses by data set with mean ranks "
        "in OUT; nothing else (RUNS: the folder runs beside each, unless given)",
    )
    parser.add_argument(
        "--tuners",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders of tuned studies that differ in their `tune` alone: a table of what each way of tuning "
        "found at which cost, in OUT; nothing else",
    )
    parser.add_argument(
        "--metric", default="verification/eer", help="of --across (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)  # this command, not the libraries that it uses
    if given.out is None and (given.across is not None or given.tuners is not None):
        parser.error("--across and --tuners need --out")
    if (
        given.redraw is None
        and given.verdict is None
        and given.across is None
        and given.tuners is None
        and None in (given.plan, given.runs, given.out)
    ):
        parser.error(
            "--plan, --runs and --out are needed (or --redraw, --verdict, --across or --tuners)"
        )
    try:
        if given.verdict is not None:
            log.info("%s", write_verdict_page(given.verdict))
        elif given.across is not None:
            for path in write_across(given.across, given.runs, given.metric, given.out):
                log.info("%s", path)
        elif given.tuners is not None:
            for path in write_tuners(given.tuners, given.runs, given.out):
                log.info("%s", path)
        elif given.redraw is not None:
            log.info("%s: %d figures", given.redraw, len(redraw(given.redraw)))
        else:
            _report(given.plan, given.runs, given.out, given.only)
    except ReportError as error:
        log.error("%s", error)
        return 2
    except OSError as error:
        log.error("%s: %s", error.filename or "file system", error.strerror or error)
        return 2
    return 0


def _report(plan: Path, runs: Path, out: Path, only: str | None) -> None:
    study = collect(plan, runs)
    selection = select(study)
    if only in (None, "results"):
        for path in write_results(study, plan.parent):
            log.info("%s", path)
    tables, figures = [], []
    if only in (None, "tables"):
        tables = all_tables(study, selection)
        _clear(
            out / "tables",
            {f"{table.name}.{suffix}" for table in tables for suffix in table.formats},
        )
        for table in tables:
            write_table(table, out / "tables")
        log.info("%s: %d tables", out / "tables", len(tables))
    if only in (None, "figures"):
        figures = draw_all(study, selection, out / "figures")
        _clear(
            out / "figures",
            {f"{figure.name}.{suffix}" for figure in figures for suffix in figure.suffixes},
        )
        log.info("%s: %d figures", out / "figures", len(figures))
    if only is None:
        command = shlex.join(
            ["python", "-m", "reports", "--plan", str(plan), "--runs", str(runs), "--out", str(out)]
        )
        log.info("%s", write_page(study, selection, tables, figures, out, command))


def _clear(folder: Path, current: set[str]) -> None:
    """Remove what an earlier report of another grid left: a figure that the page does not have
    would mislead.
    """
    if folder.exists():
        for path in folder.iterdir():
            if (
                path.suffix in (".csv", ".md", ".tex", ".png", ".pdf", ".svg", ".gif")
                and path.name not in current
            ):
                path.unlink()


if __name__ == "__main__":
    sys.exit(main())
