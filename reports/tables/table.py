"""A table as data: what the tables of a report are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from reports.collect import Study
from reports.summary import Number, loss_title, setting_text

Entry = str | int | float | Number

COVERS = {
    "seeds and identities": "seeds and identities",
    "seeds": "seeds alone",
    "identities": "identities, of one model",
    "nothing": "nothing",
}


@dataclass(frozen=True)
class Column:
    """A column: key in CSV, header elsewhere, what the header is short for."""

    key: str
    header: str
    title: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption; `rows`: one entry per column; `notes` explain refusals."""

    name: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Entry]]
    notes: list[str] = field(default_factory=list)
    formats: tuple[str, ...] = ("csv", "md", "tex")


def cell_name(study: Study, cell: str) -> str:
    """A cell in one column: loss and settings."""
    return f"{loss_title(study.cell(cell)['loss'])} {setting_text(study, cell)}".strip()
