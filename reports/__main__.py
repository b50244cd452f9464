"""Command line of the report."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Sequence

from reports.commands import COMMANDS
from reports.errors import ReportError

log = logging.getLogger("reports")


def parser() -> argparse.ArgumentParser:
    """The parser of all subcommands (`reports.commands.COMMANDS`)."""
    top = argparse.ArgumentParser(
        prog="python -m reports",
        description="Results to tables, figures and pages. COMMAND --help says more of each.",
        epilog=_listed(line for command in COMMANDS for line in command.examples[:1]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = commands.add_parser(
            command.name,
            help=command.help,
            description=command.about,
            epilog=_listed(command.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(own)
        own.set_defaults(run=command.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, 2 for what cannot be read or written, 130 when interrupted."""
    given = parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)  # this command, not the libraries that it uses
    try:
        for line in given.run(given):
            log.info("%s", line)
    except ReportError as error:
        log.error("%s", error)
        return 2
    except OSError as error:
        where, what = error.filename or "an output file", error.strerror or error
        log.error("%s: %s; no run is changed: mend that and give the command again", where, what)
        return 2
    except KeyboardInterrupt:
        log.error("interrupted; no run is changed: give the command again")
        return 130
    return 0


def _listed(examples: Iterable[str]) -> str:
    return "\n".join(["examples:", *(f"  python -m reports {line}" for line in examples)])


if __name__ == "__main__":
    sys.exit(main())
