"""The tables of keys in ``config/README.md``, from ``config/schema.yaml``.

    python -m benchmarks.schema_docs    # writes them; `make docs-config` does the same

Each table stands between ``<!-- keys: SECTION -->`` and ``<!-- end -->``; what is around them is
written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.study_schema import SCHEMA_PATH, schema

GUIDE = SCHEMA_PATH.with_name("README.md")
STUDY = "study"  # the section of the keys at the top
_HEAD = "| key | default | allowed | what it does, when to change it |\n|---|---|---|---|"
_TABLE = re.compile(r"(<!-- keys: (\w+) -->\n\n).*?(\n\n<!-- end -->)", flags=re.DOTALL)
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_NAMES = {
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
    "boolean": "`true`, `false`",
}


def filled(guide: str) -> str:
    """The guide with its tables as the schema has them.

    Raises
    ------
    ValueError : a section of the schema has no place in the guide, or the other way round.
    """
    rows: dict[str, list[str]] = {}
    for key, row in keys(schema()):
        section, dot, _ = key.partition(".")
        rows.setdefault(section if dot else STUDY, []).append(row)
    places = [section for _, section, _ in _TABLE.findall(guide)]
    if sorted(places) != sorted(rows):
        raise ValueError(f"{GUIDE.name} has the tables {places}, the schema {list(rows)}")
    return _TABLE.sub(lambda at: at[1] + "\n".join([_HEAD, *rows[at[2]]]) + at[3], guide)


def keys(rule: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Every key below a rule of the schema, dotted, with its row of a table."""
    for name, own in rule.get("properties", {}).items():
        key = f"{above}{name}"
        cells = (f"`{key}`", _default(own, name in rule.get("required", ())), allowed(own))
        yield key, f"| {' | '.join(cells)} | {own['description']} |"
        yield from keys(own, f"{key}.")


def allowed(rule: Mapping[str, Any]) -> str:
    """The values that a rule allows, in words."""
    if "anyOf" in rule:
        return "; or ".join(allowed(choice) for choice in rule["anyOf"])
    if "const" in rule:
        return f"`{rule['const']}`"
    if "enum" in rule:
        return ", ".join(f"`{choice}`" for choice in rule["enum"])
    kind = rule["type"]
    if isinstance(kind, list):
        one, _ = kind  # the other is null
        return f"{allowed({**rule, 'type': one})}; or `null`"
    if kind == "array":
        return f"list of: {allowed(rule['items'])}"
    if kind == "string" and "pattern" in rule:
        return f"text like `{rule['pattern']}`"
    bounds = "".join(f", {sign} {rule[key]}" for key, sign in _BOUNDS.items() if key in rule)
    return _NAMES[kind] + bounds


def _default(rule: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    if "default" not in rule:
        return "–"
    value = rule["default"]
    return f"`{value}`" if value and isinstance(value, str) else f"`{json.dumps(value)}`"


def main() -> int:
    """Entry point."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.schema_docs",
        description="Write the tables of keys in config/README.md from config/schema.yaml.",
    ).parse_args()
    GUIDE.write_text(filled(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    print(GUIDE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
