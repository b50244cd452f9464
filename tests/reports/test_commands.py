"""The command line: subcommands, their help, and words for wrong use."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from reports.__main__ import main, parser
from reports.commands import COMMANDS
from tests.reports.fake_results import write_tree


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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("make --plan {study}/plan.json --runs {nope} --out {out}", "{nope}: no such folder"),
        ("make --plan {nope}/plan.json --runs {runs} --out {out}", "{nope}/plan.json: cannot be"),
        ("make --plan {study}/plan.json --runs {runs} --out {file}", "{file}/"),
        ("redraw {study}", "give the figures folder of a report"),
        ("verdict {study}", "is not a verdict"),
        ("across {study} {nope} --out {out}", "{nope}: is no folder of a study"),
        ("tuners {study} {nope} --out {out}", "is no folder of a study"),
        ("compare {study} {nope} --out {out}", "{nope}: is no folder of a study"),
        ("export {nope} --to {out}", "{nope}: is no folder of a study"),
        ("export {study} --to {study}", "holds other things"),
        ("gallery --take {nope} --to {out}", "has no report of a study"),
    ],
)
def test_a_slip_is_one_line(
    given: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    places = {
        "study": tree.plan.parent,
        "runs": tree.runs,
        "out": tmp_path / "out",
        "nope": tmp_path / "nope",
        "file": tmp_path / "file",
    }
    places["file"].touch()
    (tree.plan.parent / "results.csv").write_text("id\n")
    caplog.set_level("INFO", logger="reports")
    assert main(given.format(**places).split()) == 2
    assert len(caplog.messages) == 1
    assert said.format(**places) in caplog.messages[0]
    assert "\n" not in caplog.messages[0]
    assert not places["out"].exists()
