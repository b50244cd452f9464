"""The documentation says what the code does: keys and defaults, links, commands, examples."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import __main__ as command_line
from benchmarks import config as study_config
from benchmarks import schema_docs
from benchmarks.protocols import PROTOCOLS
from datasets.registry import DATASETS
from losses import __main__ as catalog_command_line
from losses import describe
from losses.catalog import CATALOG, FAMILIES
from reports import __main__ as report_command_line

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".venv", "data", "results", "node_modules"}  # and whatever begins with a dot
SCHEMA = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text(encoding="utf-8"))


def documents() -> list[Path]:
    """Every Markdown file of the checkout."""
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(
            part in SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts[:-1]
        )
    )


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_document = pytest.mark.parametrize("path", documents(), ids=name_of)


# --- tables against the schema, the catalog and the registries ---------------------------------


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(path: Path) -> set[tuple[str, ...]]:
    """The rows of all tables of a document."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {tuple(cells(line)) for line in lines if line.startswith("|")}


def test_the_tables_of_keys_are_those_of_the_schema() -> None:
    guide = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert schema_docs.filled(guide) == guide, "`make docs-config` was not run"
    keys = [row[0].strip("`") for row in map(cells, guide.splitlines()) if len(row) == 4]
    for key in ("seeds", "dataset.name", "tune.halving.rungs"):
        assert keys.count(key) == 1


def test_every_key_of_a_study_file_is_explained() -> None:
    explained = dict(schema_docs.keys(SCHEMA))
    short = [key for key, row in explained.items() if len(cells(row)[3]) < 15]
    assert len(explained) > 70
    assert not short
    broken = [key for key, row in explained.items() if len(cells(row)) != 4]
    assert not broken, f"a | in an explanation would end its cell: {broken}"


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ("{type: integer, minimum: 1, default: 5}", "| `5` | whole number, ≥ 1 |"),
        (
            "{type: [number, 'null'], exclusiveMinimum: 0, default: null}",
            "| `null` | number, > 0; or `null` |",
        ),
        ("{enum: [cpu, cuda], default: cpu}", "| `cpu` | `cpu`, `cuda` |"),
        (
            "{anyOf: [{const: auto}, {type: number, maximum: 9}], default: auto}",
            "| `auto` | `auto`; or number, ≤ 9 |",
        ),
        (
            "{type: array, items: {type: string}, default: [a, b]}",
            '| `["a", "b"]` | list of: text |',
        ),
        ("{type: string, pattern: '^x$'}", "| – | text like `^x$` |"),
        ("{type: boolean, default: false}", "| `false` | `true`, `false` |"),
    ],
)
def test_rules_of_the_schema_in_words(rule: str, row: str) -> None:
    schema = {"properties": {"key": {**yaml.safe_load(rule), "description": "Why."}}}
    assert dict(schema_docs.keys(schema)) == {"key": f"| `key` {row} Why. |"}
    [(_, required)] = schema_docs.keys({**schema, "required": ["key"]})
    assert cells(required)[1] == "required"


def test_a_section_without_its_place_in_the_guide_is_an_error() -> None:
    guide = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="tables"):
        schema_docs.filled(guide.replace("<!-- keys: tune -->", ""))
    changed = guide.replace("| `augment.flip` | `0` |", "| `augment.flip` | `1` |")
    assert changed != guide
    assert schema_docs.filled(changed) == guide


def test_every_loss_and_hyperparameter_stands_on_its_page_as_in_the_catalog() -> None:
    pages = ROOT / "docs" / "losses"
    listed = {row[0] for row in rows(pages / "index.md")}
    for loss in CATALOG.values():
        assert f"[`{loss.name}`]({loss.name}.md)" in listed
        found = {row[:4] for row in rows(pages / f"{loss.name}.md") if len(row) == 6}
        for item in loss.hyperparameters:
            expected = (
                f"`{item.name}`",
                item.unit,
                f"`{describe.shown(item.default)}`",
                describe.legal(item),
            )
            assert expected in found, f"{loss.name}: `make docs-losses` was not run"
        presets = {row[:2] for row in rows(pages / f"{loss.name}.md") if len(row) == 3}
        for preset in loss.presets:
            assert (f"`{preset.name}`", f"`{describe.setting(preset.values)}`") in presets


def test_the_guide_points_at_the_pages_of_the_losses() -> None:
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n### losses")[2].partition("\n### ")[0]
    for words in ("](../docs/losses/index.md)", "preset:", "pml:", "a+b"):
        assert words in section


def test_presets_are_what_the_guide_says(tmp_path: Path) -> None:
    """Their values stand for the defaults, what is beside them goes first, a list is an axis."""
    file = tmp_path / "presets.yaml"
    file.write_text(
        "dataset: {name: glyphs}\n"
        "losses: {cosface: [{preset: [am_softmax, insightface], margin: 0.2}, {preset: am_softmax}]}"
    )
    points = [hyper for _, hyper, _ in study_config.loss_points(study_config.load(file))]
    presets = {preset.name: preset.values for preset in CATALOG["cosface"].presets}
    assert points[0] == {"scale": 64.0, **presets["am_softmax"], "margin": 0.2}
    assert points[1] == {"scale": 64.0, **presets["insightface"], "margin": 0.2}
    assert points[2] == {"margin": 0.35, "scale": 64.0, **presets["am_softmax"]}
    assert len({str(point) for point in points}) == 3


def test_the_readme_names_every_loss() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for family, losses in FAMILIES.items():
        names = ", ".join(f"`{loss.name}`" for loss in losses)
        assert f"| {family} | {names} |" in text


def test_every_data_set_stands_in_the_guide_as_in_the_registry() -> None:
    path = ROOT / "docs" / "data.md"
    found = {row[:6] for row in rows(path) if len(row) == 7}
    for entry in DATASETS.values():
        facts = entry.facts
        expected = (
            f"`{entry.name}`",
            f"{facts.images:,}" if facts else "yours",
            f"{facts.classes:,}" if facts else "yours",
            f"{facts.smallest_class:,}" if facts else "yours",
            " / ".join(f"{n:,}" for n in facts.given_classes)
            if facts and facts.given_classes
            else ("by folders" if facts is None else "–"),
            ", ".join(
                f"`{key}`" + ("" if option.default is None else f" ({option.default})")
                for key, option in entry.options.items()
            )
            or "none",
        )
        assert expected in found, f"docs/data.md lacks: | {' | '.join(expected)} | … |"


def test_every_protocol_has_its_section() -> None:
    text = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    for name, protocol in PROTOCOLS.items():
        assert f"\n## `{name}`" in text, name
        section = text.partition(f"\n## `{name}`")[2].split("\n## ")[0]
        for world in protocol.worlds:
            assert f"{world} classes" in section, (name, world)


# --- links -------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+)$", without_blocks(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    text = without_blocks(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = path.parent / file if file else path
        if "results/" in target:  # what a study writes
            continue
        assert aim.exists(), f"{name_of(path)}: {target} is not there"
        if anchor:
            assert anchor in anchors(aim.read_text(encoding="utf-8")), f"{name_of(path)}: {target}"


# --- commands ----------------------------------------------------------------------------------


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages."""
    found = re.findall(
        r"^ *```(\w*)\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [body for language, body in found if language in languages]


def commands() -> Iterator[Any]:
    """Every command line of a shell block, in words, without the variables before it."""
    for path in documents():
        for body in blocks(path, "", "bash", "sh", "shell", "console"):
            for line in body.replace("\\\n", " ").splitlines():
                try:
                    words = shlex.split(line.strip().removeprefix("$ "), comments=True)
                except ValueError:
                    continue  # not a command line
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                for end, word in enumerate(words):
                    if word in ("&&", "|", ";", ">"):
                        words = words[:end]
                        break
                name = Path(words[0]).name if words else ""
                if name in ("snakemake", "make") or words[1:2] == ["-m"]:
                    arguments = [name, *words[1:]]
                    yield pytest.param(arguments, id=f"{name_of(path)}: {' '.join(arguments)}")


@pytest.mark.parametrize("words", commands())
def test_commands_are_such_as_the_programs_take(words: list[str]) -> None:
    if words[0] == "make":
        check_make(words[1:])
    elif words[0] == "snakemake":
        check_snakemake(words[1:])
    elif words[2] == "benchmarks":
        with pytest.raises(SystemExit) if {"-h", "--help"} & set(words) else no_error():
            command_line._parser().parse_args(words[3:])
    elif words[2] == "losses":
        with pytest.raises(SystemExit) if {"-h", "--help"} & set(words) else no_error():
            assert catalog_command_line.main(words[3:]) == 0
    elif words[2] == "reports":
        with pytest.raises(SystemExit) if {"-h", "--help"} & set(words) else no_error():
            report_command_line.parser().parse_args(words[3:])
    elif words[2] == "pytest":
        for word in words[3:]:
            if word.startswith("tests"):
                assert (ROOT / word.partition("::")[0]).exists(), word
    elif words[2].startswith(("benchmarks.", "reports.")):
        file = ROOT.joinpath(*words[2].split(".")).with_suffix(".py")
        assert file.is_file(), f"{words[2]} is not there"
        options = [word.partition("=")[0] for word in words[3:] if word.startswith("--")]
        assert not [option for option in options if option not in help_of(words[2])]


def no_error() -> Any:
    from contextlib import nullcontext

    return nullcontext()


_HELP: dict[str, str] = {}


def help_of(module: str) -> str:
    if module not in _HELP:
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        _HELP[module] = done.stdout
    return _HELP[module]


def check_make(words: list[str]) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", text, flags=re.MULTILINE))
    variables = set(re.findall(r"^(\w+) \?=", text, flags=re.MULTILINE))
    variables |= set(re.findall(r"\$\(or \$\((\w+)\)", text))
    for word in words:
        name, sign, _ = word.partition("=")
        assert name in (variables if sign else targets), f"make {word}"


def check_snakemake(words: list[str]) -> None:
    from snakemake.cli import get_argument_parser, parse_config

    given = get_argument_parser().parse_args(words)
    settings = parse_config(given.config) if given.config else {}
    unknown = set(settings) - set(SCHEMA["properties"])
    assert not unknown, f"no keys of a study: {sorted(unknown)}"
    assert len(given.configfile or []) <= 1, "only the first file counts"
    for file in given.configfile or []:
        assert Path(file).parent.name == "config", file
        if Path(file).name not in ("mine.yaml", "products.yaml"):  # examples of a user's own
            path = ROOT / file
            assert path.exists(), file
            study_config.load(path, settings)


# --- examples ----------------------------------------------------------------------------------


def studies() -> Iterator[Any]:
    for path in documents():
        for number, body in enumerate(blocks(path, "yaml")):
            content = yaml.safe_load(body)
            if isinstance(content, dict) and {"dataset", "losses"} <= content.keys():
                yield pytest.param(body, id=f"{name_of(path)}-{number}")


@pytest.mark.parametrize("text", studies())
def test_studies_shown_are_valid(text: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(text, encoding="utf-8")
    assert list(study_config.loss_points(study_config.load(file)))


def test_the_grids_shown_have_the_sizes_that_are_said(tmp_path: Path) -> None:
    """In "# 12 points" behind a block of losses in the guide, 12 is true."""
    counted = 0
    for body in blocks(ROOT / "config" / "README.md", "yaml"):
        said = re.search(r"^# (\d+) points", body, flags=re.MULTILINE)
        if said:
            file = tmp_path / "grid.yaml"
            file.write_text("dataset: {name: glyphs}\n" + body, encoding="utf-8")
            assert len(list(study_config.points(study_config.load(file)))) == int(said[1])
            counted += 1
    assert counted


@pytest.mark.slow
def test_the_loss_of_the_guide_works(tmp_path: Path) -> None:
    """Its three blocks, put where the guide says, pass their test, the contract and the style."""
    path = ROOT / "docs" / "guides" / "loss.md"
    module, row, test = blocks(path, "python")[:3]
    guide = path.read_text(encoding="utf-8")
    places = re.findall(r"^`([a-z_/]+\.py)`: ", guide, flags=re.MULTILINE)[:3]
    assert len(places) == 3
    for folder in ("losses", "tests/losses"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pyc*"))
    for file in ("tests/__init__.py", "tests/conftest.py", "pyproject.toml"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, tmp_path / file)
    rows_file = tmp_path / places[1]
    before, end, after = rows_file.read_text(encoding="utf-8").rpartition("\n)")
    assert not after.strip(), "the tuple of rows ends the file"
    row = textwrap.indent(row.rstrip().removesuffix(",") + ",", "    ")
    rows_file.write_text(f"{before}\n{row}{end}{after}", encoding="utf-8")
    for place, text in ((places[0], module), (places[2], test)):
        assert not (tmp_path / place).exists(), f"{place} is there already"
        (tmp_path / place).write_text(text, encoding="utf-8")

    name = Path(places[0]).stem
    contract = [f"tests/losses/{file}.py" for file in ("test_contract", "test_catalog")]
    for command in (
        ["ruff", "format", "--check", *places],
        ["ruff", "check", *places],
        ["losses", "show", name],
        ["pytest", "-q", "-p", "no:cacheprovider", places[2]],
        ["pytest", "-q", "-p", "no:cacheprovider", "-k", name, *contract],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        if contract[0] in command:
            passed = re.search(r"(\d+) passed", done.stdout)
            assert passed
            assert int(passed[1]) > 15


# --- the rest ----------------------------------------------------------------------------------


def test_changelog_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_ci_runs_what_a_user_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert "make test" in text
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
