"""The subcommands of ``python -m reports``: what each takes and does."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from reports import gallery
from reports.across import write_across
from reports.compare import write_comparison
from reports.export import export
from reports.figures import redraw
from reports.making import PARTS, make
from reports.tuning.tuners import write_tuners
from reports.verdict import write_verdict_page


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes
    ----------
    help : one line.
    about : what ``--help`` says of it.
    examples : command lines without ``python -m reports``.
    arguments : declares its arguments.
    run : carries it out; returns a line for each thing that it made.
    """

    name: str
    help: str
    about: str
    examples: tuple[str, ...]
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], Iterable[object]]


def _make_arguments(parser: ArgumentParser) -> None:
    _folder(parser, "--plan", "plan.json of the study; tuned.json of a tuned one", metavar="FILE")
    _folder(parser, "--runs", "the run store")
    _folder(parser, "--out", "folder of the report; replaced file by file")
    parser.add_argument("--only", choices=PARTS, help="this part alone (default: all and the page)")


def _redraw_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="figures of a report, with their CSVs")
    parser.add_argument("--only", metavar="NAME", help="this figure alone (default: every one)")
    parser.add_argument("--to", type=Path, metavar="DIR", help="draw into DIR (default: FOLDER)")


def _verdict_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a verdict of `python -m benchmarks judge`")


def _across_arguments(parser: ArgumentParser) -> None:
    _studies(parser)
    parser.add_argument("--metric", default="verification/eer", help="(default: %(default)s)")


def _gallery_arguments(parser: ArgumentParser) -> None:
    docs = gallery.ROOT / "docs"
    parser.add_argument(
        "--to", type=Path, metavar="DIR", default=docs, help="gallery.md and images/gallery go here"
    )
    parser.add_argument(
        "--take", type=Path, metavar="RESULTS", help="first renew the tables from these studies"
    )


def _gallery(given: Namespace) -> Iterable[object]:
    return [*(gallery.take(given.take) if given.take else []), *gallery.write(given.to)]


def _export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("study", type=Path, help="folder of the study")
    _folder(parser, "--to", "a new folder, or one with an earlier export")
    _folder(parser, "--runs", "the run store (default: runs beside the study)", required=False)


def _compare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("first", type=Path, help="folder of a study")
    parser.add_argument("second", type=Path, help="folder of another one")
    _folder(parser, "--out", "folder of the page, the table and the figure")
    _folder(parser, "--runs", "the run store (default: runs beside each study)", required=False)


def _studies(parser: ArgumentParser) -> None:
    parser.add_argument("studies", type=Path, nargs="+", help="folders of studies")
    _folder(parser, "--out", "folder of the tables")
    _folder(parser, "--runs", "the run store (default: runs beside each study)", required=False)


def _folder(
    parser: ArgumentParser, flag: str, text: str, *, required: bool = True, metavar: str = "DIR"
) -> None:
    parser.add_argument(flag, type=Path, metavar=metavar, required=required, help=text)


COMMANDS = (
    Command(
        "make",
        "make the report of a study",
        "Make the report of a study from its plan and the run store.\n\n"
        "Writes into OUT: index.html (self-contained), tables/*.{csv,md,tex} and\n"
        "figures/*.{png,pdf,svg,csv}; beside the plan: results.parquet and results.csv, one row\n"
        "per experiment. Equal inputs give equal tables, byte for byte. Runs that failed,\n"
        "diverged or are missing are shown and counted.",
        (
            "make --plan results/toy/plan.json --runs results/runs --out results/toy/report",
            "make --plan results/toy/tuned.json --runs results/runs --out toy-report --only tables",
        ),
        _make_arguments,
        lambda given: make(given.plan, given.runs, given.out, given.only),
    ),
    Command(
        "redraw",
        "draw figures again from the CSVs beside them",
        "Draw the figures of a folder again from the CSVs in it: after an edit of a CSV, of the\n"
        "style, or of the code that draws. No run is read.",
        (
            "redraw results/toy/report/figures",
            "redraw results/toy/report/figures --only roc --to paper",
        ),
        _redraw_arguments,
        lambda given: (each.path("pdf") for each in redraw(given.folder, given.only, given.to)),
    ),
    Command(
        "verdict",
        "make the page of a verdict on anyone's embeddings",
        "Make the page of a verdict that `python -m benchmarks judge` wrote.",
        ("verdict embeddings.verdict",),
        _verdict_arguments,
        lambda given: [write_verdict_page(given.folder)],
    ),
    Command(
        "across",
        "rank losses over several data sets",
        "A table of losses by data set with mean ranks, Friedman's test and interquartile means.",
        ("across results/a results/b --metric verification/eer --out results/across",),
        _across_arguments,
        lambda given: write_across(given.studies, given.runs, given.metric, given.out),
    ),
    Command(
        "tuners",
        "compare ways of tuning",
        "A table of what each way of tuning found at which cost, from tuned studies that differ in\n"
        "their `tune` alone.",
        ("tuners results/tuners_tpe results/tuners_halving --out results/tuners",),
        _studies,
        lambda given: write_tuners(given.studies, given.runs, given.out),
    ),
    Command(
        "gallery",
        "draw the gallery of the documentation",
        "Draw an example of every family of figures from the tables in reports/gallery, and write\n"
        "docs/gallery.md. Reads no results, unless asked to renew the tables.",
        ("gallery", "gallery --take results"),
        _gallery_arguments,
        _gallery,
    ),
    Command(
        "compare",
        "two studies side by side",
        "Two studies of the same data side by side: settings that both have, with their paired\n"
        "differences, and what differs in configuration, code and machines.",
        ("compare results/before results/after --out results/before_after",),
        _compare_arguments,
        lambda given: write_comparison(given.first, given.second, given.runs, given.out),
    ),
    Command(
        "export",
        "all that a paper's supplement needs",
        "Write tables, figures, page, configuration, environment, provenance, results of every run\n"
        "and checksums into one folder without paths of this machine.",
        ("export results/omniglot_cpu --to supplement",),
        _export_arguments,
        lambda given: export(given.study, given.runs, given.to),
    ),
)
