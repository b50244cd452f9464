"""The order of the page: which sections a study has, and what stands in each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reports.figures import SECTIONS
from reports.page.images import Picture
from reports.tables.table import Table

TUNING, PUBLISHED = "Tuning", "Published numbers"


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading, and one entry of the navigation.

    Attributes
    ----------
    id : anchor.
    template : of ``templates/page/sections``.
    tables, figures : what stands in it.
    parts : of the section of figures: (anchor, heading, figures).
    """

    id: str
    title: str
    template: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Picture] = field(default_factory=list)
    parts: list[tuple[str, str, list[Picture]]] = field(default_factory=list)


def sections(tables: Mapping[str, Table], figures: Sequence[Picture]) -> list[Section]:
    """What there is, in the order of the page; parts without content are left out.

    Tables are taken by name; one that no part asks for stands in a part of its own.
    """
    left = dict(tables)

    def take(*names: str) -> list[Table]:
        found = [left.pop(name) for name in names if name in left]
        return [table for table in found if table.rows]

    def drawn(title: str) -> list[Picture]:
        return [each for each in figures if each.saved.section == title]

    tuning = [name for name in left if name.startswith("tuning") or name == "optima"]
    found = [
        Section("summary", "Summary", "summary"),
        Section("recommendation", "Recommendation", "recommendation"),
        Section("comparison", "Comparison", "tables", take("comparison")),
        Section("figures", "Figures", "figures", parts=_parts(figures)),
        Section("tuning", "Tuning", "tuning", take("default_vs_tuned", *tuning), drawn(TUNING)),
        Section("ablation", "All settings", "tables", take("best_settings", "ablation")),
        Section("paired", "Paired differences", "tables", take("paired", "baseline")),
        Section("uncertainty", "Uncertainty", "tables", take("uncertainty")),
        Section("metrics", "All metrics", "metrics", take("metrics")),
        Section("geometry", "Geometry", "tables", take("geometry")),
        Section("published", PUBLISHED, "tables", take("published"), drawn(PUBLISHED)),
    ]
    cost = Section("cost", "Cost", "tables", take("cost"))
    failures = Section("failures", "Runs without a result", "failures")
    failures.tables.extend([left.pop("failures")] if "failures" in left else [])
    others = [
        Section(f"more-{_slug(table.name)}", table.title, "tables", [table])
        for table in left.values()
        if table.rows
    ]
    found += [*others, cost, failures]
    always = ("summary", "recommendation", "comparison", "failures")
    return [
        *(each for each in found if each.id in always or each.tables or each.figures or each.parts),
        Section("setup", "What was run", "setup"),
        Section("experiments", "Experiments", "experiments"),
        Section("again", "Make it again", "again"),
    ]


def _parts(figures: Sequence[Picture]) -> list[tuple[str, str, list[Picture]]]:
    """The figures by section, without those that stand with their tables."""
    known = [*SECTIONS, *(each.saved.section for each in figures)]
    found = []
    for title in dict.fromkeys(known):
        own = [each for each in figures if each.saved.section == title]
        if own and title not in (TUNING, PUBLISHED):
            found.append((f"figures-{_slug(title)}", title, own))
    return found


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
