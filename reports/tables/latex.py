"""One table to LaTeX: booktabs' rules, siunitx's columns aligned on the decimal point."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from reports.summary import Number, Probability
from reports.tables.table import Column, Entry, Table

PACKAGES = "booktabs,graphicx,siunitx"
ROWS = 36  # that fit on a page with their caption; a longer table goes on in the next one

WIDE = 14  # em; words that need twice as many letters are set in several lines
NARROW = 12  # letters of a header in one line

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
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "°": r"$^\circ$",
    "α": r"$\alpha$",
    "γ": r"$\gamma$",
    "θ": r"$\theta$",
    "κ": r"$\kappa$",
    "λ": r"$\lambda$",
    "π": r"$\pi$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
    "χ": r"$\chi$",
    "ψ": r"$\psi$",
    "Δ": r"$\Delta$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "√": r"$\surd$",
    "²": r"$^2$",
    "½": r"$\frac12$",
    "’": "'",
    "\N{NO-BREAK SPACE}": "~",
}
_TEX_PATTERN = re.compile("|".join(map(re.escape, _TEX)))


def to_latex(table: Table) -> str:
    """Environments ``table`` for a document with `PACKAGES`; a wide one shrinks to the line, a long
    one goes on in the next.
    """
    parts = [table.rows[start : start + ROWS] for start in range(0, len(table.rows), ROWS)] or [[]]
    layout = " ".join(_layout(table, place) for place in range(len(table.columns)))
    lines = [f"% needs: \\usepackage{{{PACKAGES}}}"]
    for number, rows in enumerate(parts):
        lines += _part(table, rows, layout, number)
    return "\n".join([*lines, ""])


def tex(text: str) -> str:
    r"""Text for LaTeX: special characters escaped, signs as mathematics; a sign that LaTeX may not
    have becomes "?".

    >>> tex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    escaped = _TEX_PATTERN.sub(lambda found: _TEX[found[0]], text)
    # Letters with accents (Latin-1, Latin Extended-A) are in every LaTeX since 2018.
    return re.sub(r"[^\x20-\x7e\n\u00c0-\u017f]", "?", escaped)


def _part(table: Table, rows: Sequence[Sequence[Entry]], layout: str, number: int) -> list[str]:
    notes = "".join(f" {tex(note)}." for note in table.notes)
    caption = f"{tex(table.title)}. {tex(table.caption)}{notes}"
    if number:
        caption = f"{tex(table.title)} (continued)."
    body = [" & ".join(map(_entry, row, table.columns)) + r" \\" for row in rows]
    return [
        r"\begin{table}[tp]",
        r"\centering",
        # Commas in the integer part alone: 0.000,5 would be misread.
        r"\sisetup{separate-uncertainty, detect-weight, group-digits=integer, "
        "group-separator={,}, group-minimum-digits=4, table-align-text-post=false}",
        rf"\caption{{{caption}}}",
        *([] if number else [rf"\label{{tab:{table.name}}}"]),
        r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        " & ".join(_header(column) for column in table.columns) + r" \\",
        r"\midrule",
        *(body or [rf"\multicolumn{{{len(table.columns)}}}{{l}}{{None.}} \\"]),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]


def _header(column: Column) -> str:
    """In two lines where it is longer than most numbers."""
    words = column.header.split()
    if not column.numeric or len(column.header) <= NARROW or len(words) < 2:
        return f"{{{tex(column.header)}}}"
    ends = [sum(map(len, words[: i + 1])) for i in range(len(words) - 1)]
    middle = sum(map(len, words)) / 2
    cut = 1 + min(range(len(ends)), key=lambda i: abs(ends[i] - middle))
    if words[cut:] in (["↑"], ["↓"]):
        return f"{{{tex(column.header)}}}"
    lines = (tex(" ".join(words[:cut])), tex(" ".join(words[cut:])))
    return rf"{{\shortstack{{{lines[0]}\\{lines[1]}}}}}"


def _layout(table: Table, place: int) -> str:
    """``l`` for words (long ones in several lines), ``r`` for what only looks like numbers (5/5),
    ``S`` for numbers.
    """
    if not table.columns[place].numeric:
        longest = max((len(_words(row[place])) for row in table.rows), default=0)
        return rf">{{\raggedright\arraybackslash}}p{{{WIDE}em}}" if longest > 2 * WIDE else "l"
    pieces = [_digits(row[place]) for row in table.rows]
    known = [each for each in pieces if each is not None]
    if not known:
        return "r"
    whole, decimals, uncertain = (max(each[i] for each in known) for i in range(3))
    sign = "-" if any(each[3] for each in known) else ""
    after = f"({uncertain})" if uncertain else ""
    marks = [row[place] for row in table.rows]
    room = any(isinstance(each, Number) and each.symbol for each in marks)
    space = r", table-space-text-post={$^\dagger$}" if room else ""
    return f"S[table-format={sign}{whole}.{decimals}{after}{space}]"


def _digits(entry: Entry) -> tuple[int, int, int, bool] | None:
    """Digits before and after the point, digits of the uncertainty, whether it is negative; None
    of what is no number.
    """
    number = _number(entry)
    if number is None:
        return None
    mean, _, half = number.partition(" +- ")
    whole, _, decimals = mean.lstrip("-").partition(".")
    uncertain = len(half.replace(".", "").lstrip("0")) or bool(half)
    return len(whole), len(decimals), int(uncertain), mean.startswith("-")


def _number(entry: Entry) -> str | None:
    """A number as siunitx reads it: ``96.01 +- 0.32``; None of words, a dash, "n/a", "< 0.001"."""
    if isinstance(entry, Number):
        if math.isnan(entry.mean):
            return None
        mean, half = entry.parts
        return (f"{mean} +- {half}" if half else mean).replace("−", "-")
    if isinstance(entry, Probability):
        return None if "<" in entry.text or math.isnan(entry) else entry.text
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        return f"{entry:.10g}" if math.isfinite(entry) else None
    text = str(entry).replace("−", "-")
    return text if re.fullmatch(r"-?\d+(\.\d+)?", text) else None


def _entry(entry: Entry, column: Column) -> str:
    number = _number(entry) if column.numeric else None
    mark = tex(entry.symbol) if isinstance(entry, Number) else ""
    if number is None:
        text = tex(_words(entry)) + mark
        return f"{{{text}}}" if column.numeric else text
    bold = r"\bfseries " if isinstance(entry, Number) and entry.best else ""
    return f"{bold}{number}" + (f"{{{mark}}}" if mark else "")


def _words(entry: Entry) -> str:
    return entry.text if isinstance(entry, Number | Probability) else str(entry)


def document(names: Sequence[str]) -> str:
    """A document of tables that lie beside it in ``tables/<name>.tex``."""
    inputs = "".join(f"\\input{{tables/{name}}}\n\\clearpage\n" for name in names)
    return (
        "\\documentclass{article}\n\\usepackage[margin=2cm]{geometry}\n"
        f"\\usepackage{{{PACKAGES}}}\n\\begin{{document}}\n{inputs}\\end{{document}}\n"
    )
