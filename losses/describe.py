"""What a loss says about itself, in words: its docstring and its row. No torch.

The docstring is read from the source, so that nothing has to be imported for it.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path

from losses.catalog import CATALOG, FAMILIES, part_row
from losses.schema import Hyperparameter, LossRow, Value

PACKAGE = Path(__file__).resolve().parent
PAGES = Path("docs/losses")  # in the checkout


@dataclass(frozen=True)
class Description:
    """A class docstring in parts.

    Attributes
    ----------
    summary : str
        The first paragraph, on one line.
    body : str
        What stands between it and the first section.
    arguments : dict of str to str
        What the section Parameters says about each argument, on one line.
    sections : dict of str to str
        The text of all other sections, by their headings.
    """

    summary: str
    body: str
    arguments: dict[str, str] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)


def source_file(row: LossRow) -> Path:
    """The module of a loss."""
    module = row.target.partition(":")[0]
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


def docstring(row: LossRow) -> str:
    """The docstring of the class of a loss; of its module where the class is made at run time."""
    name = row.target.partition(":")[2]
    module = ast.parse(source_file(row).read_text(encoding="utf-8"))
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ast.get_docstring(node) or ""
    return ast.get_docstring(module) or ""


def describe(row: LossRow) -> Description:
    """The parts of the docstring of a loss."""
    # Every other piece is the heading of a section.
    first, *rest = re.split(r"^(\w[\w ]*)\n-{3,}$", docstring(row), flags=re.MULTILINE)
    summary, _, body = first.strip().partition("\n\n")
    sections = {title: text.strip("\n") for title, text in zip(rest[::2], rest[1::2], strict=True)}
    arguments: dict[str, str] = {}
    for head, text in entries(sections.pop("Parameters", "")):
        names = head.partition(" : ")[0]
        arguments |= dict.fromkeys(names.replace("*", "").split(", "), text)
    return Description(" ".join(summary.split()), body.strip("\n"), arguments, sections)


def entries(section: str) -> list[tuple[str, str]]:
    """``name : type`` and description of the entries of a numpydoc section."""
    parts = re.split(r"^(\S.*)$", section, flags=re.MULTILINE)[1:]
    return [
        (head, " ".join(inspect.cleandoc(text).split()))
        for head, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def rules(row: LossRow) -> dict[str, str]:
    """What the functions say that the arguments point at (``see `losses.<module>.<function>```)."""
    found = {}
    for argument, text in describe(row).arguments.items():
        for module, name in re.findall(r"see `losses\.(\w+)\.([a-z]\w*)`", text):
            for node in ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    body = (ast.get_docstring(node) or "").partition("\n\n")[2]
                    found[argument] = body.partition("\n\nParameters\n")[0]
    return {item.name: found[item.name] for item in row.hyperparameters if found.get(item.name, "")}


def parts(row: LossRow) -> dict[str, str]:
    """What each part of a sum is, in one line; empty for a loss that is no sum."""
    return {name: describe(part_row(name)).summary for name in row.parts}


def family(row: LossRow) -> str:
    """Heading under which a loss stands; of one made from others, what it is."""
    for title, rows in FAMILIES.items():
        if row.name in [other.name for other in rows]:
            return title
    return "Sums" if row.parts else "made from its name"


def page(row: LossRow) -> Path | None:
    """The page of a loss in the checkout; None for one that the catalog does not list."""
    return PAGES / f"{row.name}.md" if row.name in CATALOG else None


def figure(row: LossRow) -> Path | None:
    """The curves of a loss in the checkout, where it has any."""
    path = PAGES / "figures" / f"{row.name}.svg"
    return path if row.name in CATALOG and (PACKAGE.parent / path).is_file() else None


def shown(value: Value) -> str:
    """A value as a study file has it, to six digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:g}"


def legal(parameter: Hyperparameter) -> str:
    """The values that a hyper-parameter may take."""
    if parameter.choices:
        return ", ".join(shown(choice) for choice in parameter.choices)
    if isinstance(parameter.default, bool):
        return "true, false"
    if isinstance(parameter.default, str):
        return "text"
    if parameter.low is None and parameter.high is None:
        return "any number"
    low = "" if parameter.low is None else f"{parameter.low:g}"
    high = "" if parameter.high is None else f"{parameter.high:.5g}"
    return f"{low} … {high}"


def searched(parameter: Hyperparameter) -> str:
    """The range that a tuner searches; empty where it leaves the hyper-parameter alone."""
    if parameter.search_low is None:
        return ""
    ends = f"{parameter.search_low:g} … {parameter.search_high:g}"
    return f"{ends} (log)" if parameter.log else ends


def meaning(parameter: Hyperparameter) -> str:
    """What it does, and where it has an effect."""
    if parameter.only_if is None:
        return parameter.meaning
    other, values = parameter.only_if
    allowed = " or ".join(shown(value) for value in values)
    return f"{parameter.meaning} (only with {other}: {allowed})"


def details(parameter: Hyperparameter, argument: str) -> str:
    """What it does, and what the docstring says about it where that is more."""
    more = re.sub(r"see `losses\.\w+\.[a-z]\w*`", "see below", argument)
    if not more or more.rstrip(".").lower() in parameter.meaning.lower():
        return meaning(parameter)
    if more.lower().startswith(parameter.meaning.lower()):
        return more + meaning(parameter).removeprefix(parameter.meaning)
    return f"{meaning(parameter)}. {more}"


def setting(values: dict[str, Value]) -> str:
    """Values as a block of a study file."""
    return "{" + ", ".join(f"{key}: {shown(value)}" for key, value in values.items()) + "}"
