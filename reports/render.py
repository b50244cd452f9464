"""One table to CSV (raw numbers), Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

from reports.summary import Number, Probability
from reports.table import Entry, Table

# Backslash first: it would escape the others' escapes.
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "°": r"$^\circ$",
    "ρ": r"$\rho$",
    "θ": r"$\theta$",
    "λ": r"$\lambda$",
    "α": r"$\alpha$",
    "π": r"$\pi$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "²": r"$^2$",
    "’": "'",
}
_TEX_PATTERN = re.compile("|".join(map(re.escape, _TEX)))


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


def to_latex(table: Table) -> str:
    """A ``table`` environment; the document needs ``\\usepackage{booktabs,graphicx}``. Wide tables
    shrink to the line.
    """
    layout = "".join("r" if column.numeric else "l" for column in table.columns)
    notes = "".join(f" {tex(note)}." for note in table.notes)
    body = [" & ".join(_latex_entry(entry) for entry in row) + r" \\" for row in table.rows]
    if not body:
        body = [rf"\multicolumn{{{len(table.columns)}}}{{l}}{{None.}} \\"]
    lines = [
        "% needs: booktabs, graphicx",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{tex(table.title)}. {tex(table.caption)}{notes}}}",
        rf"\label{{tab:{table.name}}}",
        r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        " & ".join(tex(column.header) for column in table.columns) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def tex(text: str) -> str:
    """Text for LaTeX: special characters escaped, signs as mathematics; a sign that LaTeX may not
    have becomes "?".

    >>> tex("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    escaped = _TEX_PATTERN.sub(lambda found: _TEX[found[0]], text)
    # Letters with accents (Latin-1, Latin Extended-A) are in every LaTeX since 2018.
    return re.sub(r"[^\x20-\x7e\n\u00c0-\u017f]", "?", escaped)


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


def _latex_entry(entry: Entry) -> str:
    if not isinstance(entry, Number):
        return tex(plain(entry))
    mean, half = entry.parts
    text = f"{tex(mean)} $\\pm$ {half}" if half else tex(mean)
    mark = tex(entry.symbol)
    return (
        rf"\textbf{{{tex(mean)}}}" + (f" $\\pm$ {half}" if half else "") if entry.best else text
    ) + mark


def _md(text: str) -> str:
    return re.sub(r"([\\|*_<>`])", r"\\\1", text)
