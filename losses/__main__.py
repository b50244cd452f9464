"""Command line of the catalog: which losses there are, and what each is."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from losses import describe
from losses.catalog import FAMILIES, CatalogError, resolve, row
from losses.schema import LossRow

_DESCRIPTION = """\
The catalog of losses: what each computes, from which paper, and what it can be set to.

  list          all losses by family, with the defaults of their hyper-parameters
  show NAME     formula, hyper-parameters, presets, notes and curves of one"""

_EXAMPLES = """\
examples:
  python -m losses list
  python -m losses show arcface
  python -m losses show softmax+triplet+center     a weighted sum of losses
  python -m losses show pml:TripletMarginLoss      a loss of pytorch-metric-learning

The same as pages with figures: docs/losses/index.md. How to write a loss into a study:
config/README.md."""

Table = list[tuple[str, ...]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, or 2 for a name that there is not."""
    parser = argparse.ArgumentParser(
        prog="python -m losses",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{list,show}")
    commands.add_parser("list", help="all losses, a line each")
    show = commands.add_parser("show", help="everything about one loss")
    show.add_argument("name", help="a name of the list, a sum a+b, or pml:<ClassName>")
    options = parser.parse_args(arguments)
    try:
        lines = listing() if options.command == "list" else about(row(options.name))
        text = "\n".join(lines)
    except CatalogError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        print(text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:  # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def listing() -> Iterator[str]:
    """The table of all losses."""
    head = ("name", "title", "year", "kind", "sampler", "hyper-parameters (defaults)")
    families = {title: [_line(entry) for entry in rows] for title, rows in FAMILIES.items() if rows}
    lines = [line for rows in families.values() for line in rows]
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    yield from _table([head], widths)
    for title, rows in families.items():
        yield f"\n{title}"
        yield from _table(rows, widths)
    yield ""
    yield from textwrap.wrap(
        "Also: sums of a classifier and embedding losses, such as softmax+triplet, and losses of "
        "pytorch-metric-learning, such as pml:TripletMarginLoss. "
        "Everything about one: python -m losses show NAME.",
        _width(),
    )


def _line(entry: LossRow) -> tuple[str, ...]:
    values = ", ".join(f"{key} {describe.shown(v)}" for key, v in resolve(entry.name).items())
    return (entry.name, entry.title, str(entry.year), entry.kind, entry.sampler, values)


def about(entry: LossRow) -> Iterator[str]:
    """Everything about one loss."""
    words = describe.describe(entry)
    yield f"{entry.name}: {entry.title} ({describe.family(entry)})"
    link = f", arXiv:{entry.arxiv}" if entry.arxiv else ""
    yield from textwrap.wrap(f"{entry.paper} ({entry.year}){link}", _width())

    yield "\nFormula"
    yield from textwrap.wrap(words.summary, _width(), initial_indent="  ", subsequent_indent="  ")
    if words.body:
        yield ""
        yield textwrap.indent(words.body, "  ")
    if entry.parts:
        yield "\nParts"
        yield from _table(list(describe.parts(entry).items()))
    for title, text in words.sections.items():
        yield f"\n{title}"
        yield textwrap.indent(text, "  ")

    yield "\nHyper-parameters"
    if entry.hyperparameters:
        head = ("name", "unit", "default", "allowed", "searched", "meaning")
        lines: Table = [head]
        lines += [
            (
                parameter.name,
                parameter.unit,
                describe.shown(parameter.default),
                describe.legal(parameter),
                describe.searched(parameter) or "-",
                describe.meaning(parameter),
            )
            for parameter in entry.hyperparameters
        ]
        yield from _table(lines)
    else:
        yield "  none"
    for name, text in describe.rules(entry).items():
        yield f"\nOf {name}"
        yield from textwrap.wrap(
            " ".join(text.split()), _width(), initial_indent="  ", subsequent_indent="  "
        )
    if entry.presets:
        yield "\nPresets"
        yield from _table(
            [
                (preset.name, describe.setting(preset.values), preset.source)
                for preset in entry.presets
            ]
        )
    if entry.notes:
        yield "\nNotes"
        yield from textwrap.wrap(entry.notes, _width(), initial_indent="  ", subsequent_indent="  ")

    yield "\nTraining"
    recipe = ", ".join(entry.recipe) or "nothing"
    facts: Table = [
        ("kind", entry.kind),
        ("sampler", entry.sampler),
        ("of the recipe", recipe),
        ("in a stack", "one batched computation" if entry.stacked else "model by model, in a loop"),
        ("code", str(describe.source_file(entry).relative_to(describe.PACKAGE.parent))),
    ]
    for title, path in (("page", describe.page(entry)), ("curves", describe.figure(entry))):
        if path:
            facts.append((title, path.as_posix()))
    yield from _table(facts)


def _width() -> int:
    """Columns of the terminal; 120 where there is none."""
    return max(72, shutil.get_terminal_size((120, 24)).columns)


def _table(lines: Sequence[tuple[str, ...]], widths: Sequence[int] | None = None) -> Iterator[str]:
    """Aligned columns, the last one wrapped."""
    widths = widths or [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        head = "  " + "".join(
            cell.ljust(width + 2) for cell, width in zip(line[:-1], widths, strict=False)
        )
        room = max(24, _width() - len(head))
        first, *rest = textwrap.wrap(line[-1], room) or [""]
        yield (head + first).rstrip()
        yield from (" " * len(head) + part for part in rest)


if __name__ == "__main__":
    raise SystemExit(main())
