"""The command line: subcommands, their help, and words for wrong use."""

from __future__ import annotations

import shlex

import pytest

from reports.__main__ import main, parser
from reports.commands import COMMANDS


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_are_such_as_the_command_takes(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in command.examples:
        assert parser().parse_args(shlex.split(line)).command == command.name
    with pytest.raises(SystemExit) as done:
        main([command.name, "--help"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert command.about.splitlines()[0] in shown
    assert all(f"python -m reports {line}" in shown for line in command.examples)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {command.name} " in shown for command in COMMANDS)


@pytest.mark.parametrize("given", [[], ["--plan", "x"], ["--redraw", "x"], ["make", "--plan", "x"]])
def test_wrong_use(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(given)
    assert done.value.code == 2
    assert "usage: python -m reports" in capsys.readouterr().err
