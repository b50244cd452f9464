"""One table to CSV (raw numbers) and Markdown; LaTeX is `reports.tables.latex`'s."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

from reports.summary import Number, Probability
from reports.tables.latex import to_latex
from reports.tables.table import Entry, Table


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write ``<name>.csv``, ``.md`` and ``.tex`` into a folder, as far as the table asks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    renders = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
    for suffix in table.formats:
        path = folder / f"{table.name}.{suffix}"
        path.write_text(renders[suffix](table), encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def to_csv(table: Table) -> str:
    """Raw numbers: a measured column ``x`` becomes ``x, x_ci95, x_low, x_high, x_n, x_mark``, with
    fractions, not per cent; ``x_ci95`` is half of the interval's width.
    """
    measured = [
        any(isinstance(row[i], Number) for row in table.rows) for i in range(len(table.columns))
    ]
    header: list[str] = []
    for column, is_measured in zip(table.columns, measured, strict=True):
        header += (
            [f"{column.key}{end}" for end in ("", "_ci95", "_low", "_high", "_n", "_mark")]
            if is_measured
            else [column.key]
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        fields: list[str] = []
        for entry in row:
            fields += _raw(entry)
        writer.writerow(fields)
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table with caption and notes."""
    lines = [f"**{table.title}.** {_md(table.caption)}", ""]
    if not table.rows:
        return "\n".join([*lines, "None.", ""])
    lines.append("| " + " | ".join(_md(column.header) for column in table.columns) + " |")
    lines.append(
        "|" + "|".join(" ---: " if column.numeric else " :--- " for column in table.columns) + "|"
    )
    lines += [
        "| " + " | ".join(_markdown_entry(entry) for entry in row) + " |" for row in table.rows
    ]
    if table.notes:
        lines += ["", *(f"- {_md(note)}" for note in table.notes)]
    return "\n".join([*lines, ""])


def plain(entry: Entry) -> str:
    """An entry as shown, without marks."""
    if isinstance(entry, Number):
        return entry.text
    if isinstance(entry, Probability):
        return entry.text
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        return f"{entry:,}"
    return str(entry)


def _raw(entry: Entry) -> list[str]:
    if isinstance(entry, Probability):
        return [_float(entry)]
    if not isinstance(entry, Number):
        return [str(entry)]
    mark = (
        "refused"
        if entry.refused and math.isnan(entry.mean)
        else entry.mark.replace("no value", "")
    )
    ends = [_float(value) for value in (entry.mean, entry.half, entry.low, entry.high)]
    return [*ends, str(entry.n), mark]


def _float(value: float) -> str:
    # Ten digits: more than the data carries, fewer than the last bits that differ between machines.
    return "" if math.isnan(value) else f"{round(value, 14) + 0.0:.10g}"


def _markdown_entry(entry: Entry) -> str:
    text = _md(plain(entry))
    if isinstance(entry, Number):
        return (f"**{text}**" if entry.best else text) + entry.symbol
    return text


def _md(text: str) -> str:
    return re.sub(r"([\\|*_<>`])", r"\\\1", text)
