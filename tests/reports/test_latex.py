"""LaTeX: numbers that siunitx aligns, escapes, tables that fit, documents that compile."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.collect import collect
from reports.selection import select
from reports.summary import Number, Probability
from reports.tables.latex import ROWS, document, tex, to_latex
from reports.tables.render import write_table
from reports.tables.results import all_tables
from reports.tables.table import Column, Entry, Table
from tests.reports.fake_results import Tree
from tests.reports.fake_tuning import write_tuned

NAN = float("nan")


def has(package: str) -> bool:
    """Whether LaTeX is here, with a package."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    command = ["kpsewhich", f"{package}.sty"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def table(rows: list[list[Entry]], *columns: Column) -> Table:
    return Table("known", "Known numbers", "Percent: 5 %.", list(columns), rows)


def test_tex_escapes() -> None:
    assert tex("a_b & 50 % {x} #1 $ ~ ^ \\") == (
        r"a\_b \& 50 \% \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert tex("é 日") == "é ?"


def test_entries_by_hand() -> None:
    best = Number(0.9601, 0.9478, 0.9724, 3, best=True, mark="best")
    close = Number(-0.0412, -0.0512, -0.0312, 3, mark="indistinguishable")
    gone = Number(NAN, NAN, NAN, 0, refused=True)
    alone = Number(0.5, NAN, NAN, 1, mark="too few seeds")
    rows: list[list[Entry]] = [
        ["a_b", best, "3/3", Probability(0.0432), 1234567],
        ["c", close, "2/3", Probability(0.0001), 12],
        ["d", gone, "–", Probability(NAN), "–"],
        ["e", alone, "1/3", Probability(0.5), 7],
    ]
    columns = [Column("loss", "Loss")]
    columns += [Column(name, name, numeric=True) for name in ("x", "n", "p", "images")]
    lines = to_latex(table(rows, *columns)).splitlines()
    assert lines[0] == r"% needs: \usepackage{booktabs,graphicx,siunitx}"
    layout = next(line for line in lines if line.startswith(r"\begin{tabular}"))
    # Two digits before the point, two after; 1.23 is 123 units of the last digit.
    assert "S[table-format=-2.2(3), table-space-text-post={$^\\dagger$}]" in layout
    assert layout.endswith("r S[table-format=1.3] S[table-format=7.0]}")
    assert r"a\_b & \bfseries 96.01 +- 1.23 & {3/3} & 0.043 & 1234567 \\" in lines
    marked = r"c & -4.12 +- 1.00{$^\dagger$} & {2/3} & {\textless{} 0.001} & 12 \\"
    assert marked in lines
    assert r"d & {n/a} & {--} & {--} & {--} \\" in lines
    assert r"e & 50.00{$^\ddagger$} & {1/3} & 0.500 & 7 \\" in lines


def test_a_long_table_goes_on() -> None:
    rows: list[list[Entry]] = [[f"row {i}", i] for i in range(2 * ROWS + 1)]
    text = to_latex(table(rows, Column("a", "A"), Column("b", "B", numeric=True)))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count(r"\label{tab:known}") == 1
    assert text.count("(continued)") == 2
    assert re.findall(r"^row (\d+) &", text, flags=re.MULTILINE) == [
        str(i) for i in range(len(rows))
    ]


def check(text: str) -> None:
    """Balanced environments and braces; as many entries in each row as the layout has columns."""
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") >= 1
    plain = re.sub(r"\\[\\{}%&]", "", re.sub(r"^%.*", "", text, flags=re.MULTILINE))
    assert plain.count("{") == plain.count("}")
    for part in text.split(r"\begin{tabular}")[1:]:
        layout, _, rest = part.partition("\n")
        kinds = re.sub(r">\{\\\w+\\\w+\}p\{\w+\}|S\[.*?\](?= |\}$)", "X", layout)
        columns = len(re.findall(r"[lrX]", kinds))
        body = rest.split(r"\bottomrule")[0]
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) >= 2
        for row in rows:
            if "multicolumn" not in row:
                assert len(re.split(r"(?<!\\)&", row)) == columns, row


def test_latex_is_well_formed(reported: Tree) -> None:
    paths = sorted((reported.out / "tables").glob("*.tex"))
    assert len(paths) > 4
    for path in paths:
        check(path.read_text())


def test_commas_stand_in_the_integer_part_alone(reported: Tree) -> None:
    for path in (reported.out / "tables").glob("*.tex"):
        setup = re.search(r"\\sisetup\{(.*)\}", path.read_text())
        assert setup is not None
        assert "group-digits=integer" in setup[1]  # siunitx would set 0.0005 as 0.000,5


@pytest.mark.slow
@pytest.mark.skipif(not has("siunitx"), reason="needs pdflatex with siunitx")
def test_all_tables_of_a_tuned_study_compile_and_fit(tmp_path: Path) -> None:
    tree = write_tuned(tmp_path / "study")
    study = collect(tree.plan, tree.runs)
    tables = [each for each in all_tables(study, select(study)) if "tex" in each.formats]
    for each in tables:
        write_table(each, tmp_path / "tables")
    (tmp_path / "tables.tex").write_text(document([each.name for each in tables]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "tables.log").read_text(encoding="latin-1")
    over = [float(points) for points in re.findall(r"Overfull \\[hv]box \(([\d.]+)pt", log)]
    assert not [points for points in over if points > 3]
    assert "Float too large" not in log
