"""All that a paper's supplement needs of a study, in one folder that names no machine's paths."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reports.across import final_plan
from reports.collect import Study, collect, write_results
from reports.errors import ReportError
from reports.figures import Saved, draw_all
from reports.making import command
from reports.page.writing import write_page
from reports.selection import select
from reports.tables.latex import document
from reports.tables.render import write_table
from reports.tables.results import all_tables

SUMS = "SHA256SUMS"
_ROOT = Path(__file__).resolve().parents[1]
_TEXT = (".html", ".csv", ".md", ".tex", ".json", ".svg", ".txt")

_README = """\
# Supplement: {title}

Everything behind the study `{study}`: {runs} runs of {losses} losses.

| What | Where |
| :--- | :--- |
| The report, a page without network access | `index.html` |
| Tables: raw numbers, Markdown, LaTeX | `tables/*.csv`, `*.md`, `*.tex` |
| All tables in one document (`pdflatex tables.tex`) | `tables.tex` |
| Figures with the data they were drawn from, and their captions | `figures/*.png`, `*.pdf`, `*.svg`, `*.csv`, `figures/captions.md` |
| One row for each run: settings, fate, every metric | `results.csv`, `results.parquet` |
| The study as written | `config.json` |
| The study as resolved: every experiment with all its settings | `{plans}` |
| Pinned packages | `requirements.txt` |
| Code, versions and machines of the runs | `provenance.json` |
| Checksums of all files (`sha256sum -c {sums}`) | `{sums}` |

## How to make it again

In a checkout of marginbench at the commit that `provenance.json` names, with the packages of
`requirements.txt`:

```sh
snakemake --cores all --configfile config.json
python -m reports export results/{study} --to supplement
```

A figure alone, from its CSV: `python -m reports redraw figures --only NAME`.
"""


def export(folder: Path, runs: Path | None, to: Path) -> list[Path]:
    """Write the supplement of a study.

    Parameters
    ----------
    folder : of the study, with its plan.
    runs : the run store; None: ``runs`` beside the folder.
    to : a new or empty folder, or one with an earlier export, whose files are replaced.

    Returns
    -------
    The files written, in the order of the folder.

    Raises
    ------
    ReportError : `to` holds something else, or a plan or run cannot be read.
    """
    others = _make_room(to)
    plan, store = final_plan(folder), runs or folder.parent / "runs"
    study = collect(plan, store)
    selection = select(study)
    to.mkdir(parents=True, exist_ok=True)
    tables = all_tables(study, selection)
    for table in tables:
        write_table(table, to / "tables")
    figures = draw_all(study, selection, to / "figures")
    write_page(study, selection, tables, figures, to, command(plan, store, to), alone=True)
    _text(to / "tables.tex", document([each.name for each in tables if "tex" in each.formats]))
    _text(to / "figures" / "captions.md", _captions(figures))
    write_results(study, to)
    plans = [each for each in ("plan.json", "tuned.json") if (folder / each).exists()]
    for name in plans:
        shutil.copyfile(folder / name, to / name)
    _json(to / "config.json", {**study.plan.get("config", {}), "results": "results"})
    _json(to / "provenance.json", provenance(study))
    shutil.copyfile(_ROOT / "requirements.txt", to / "requirements.txt")
    _text(to / "README.md", _readme(study, plans))
    written = sorted(path for path in to.rglob("*") if path.is_file() and path not in others)
    _without_paths(written, to, folder, store)
    return [*written, _seal(written, to)]


def provenance(study: Study) -> dict[str, Any]:
    """Of each fact about code, versions and machines the values and how many runs had them."""
    frame = study.provenance
    facts = [name for name in frame.columns if name not in ("id", "date")]
    found: dict[str, Any] = {"runs": len(frame)}
    for name in facts:
        counts = frame[name].dropna().astype(str).value_counts(sort=False)
        found[name] = {str(value): int(counts[value]) for value in sorted(counts.index)}
    if "date" in frame:
        dates = sorted(frame["date"].dropna().astype(str))
        found["first"], found["last"] = (dates[0], dates[-1]) if dates else (None, None)
    return found


def _make_room(to: Path) -> set[Path]:
    """Remove an earlier export; returns what somebody else put beside it."""
    if to.exists() and not to.is_dir():
        raise ReportError(f"{to}: is a file; give a folder")
    content = sorted(path.name for path in to.iterdir()) if to.exists() else []
    if not content:
        return set()
    sums = to / SUMS
    if not sums.exists() or not _is_ours(to / "README.md"):
        raise ReportError(
            f"{to}: holds other things ({', '.join(content[:3])}); give a new folder, or one with "
            "an earlier export"
        )
    for line in sums.read_text(encoding="utf-8").splitlines():
        path = to / line.partition("  ")[2]
        if path.resolve().is_relative_to(to.resolve()):
            path.unlink(missing_ok=True)
    sums.unlink()
    return {path for path in to.rglob("*") if path.is_file()}


def _is_ours(readme: Path) -> bool:
    return readme.exists() and readme.read_text(encoding="utf-8").startswith("# Supplement: ")


def _readme(study: Study, plans: Sequence[str]) -> str:
    return _README.format(
        title=study.plan.get("title") or study.plan["study"],
        study=study.plan["study"],
        runs=len(study.frame),
        losses=len(study.losses),
        plans="`, `".join(plans),
        sums=SUMS,
    )


def _captions(figures: Iterable[Saved]) -> str:
    texts = ["# Captions"]
    for each in figures:
        texts.append(f"## {each.title}\n\n`{each.name}`. {each.caption}\n\nIn words: {each.alt}")
    return "\n\n".join(texts) + "\n"


def _without_paths(written: Iterable[Path], to: Path, folder: Path, runs: Path) -> None:
    """Every file of text without this machine's paths: what names a place names one in a checkout."""
    study = f"results/{folder.resolve().name}"
    places = {
        str(to.resolve()): ".",
        str(folder.resolve()): study,
        str(runs.resolve()): "results/runs",
        str(folder.resolve().parent): "results",
        str(_ROOT): ".",
        str(Path.cwd()): ".",
        str(Path.home()): "~",
    }
    longest = sorted((path for path in places if len(path) > 1), key=len, reverse=True)
    for path in written:
        if path.suffix in _TEXT:
            text = old = path.read_text(encoding="utf-8")
            for place in longest:
                text = text.replace(place, places[place])
            if text != old:
                _text(path, text)


def _seal(written: Iterable[Path], to: Path) -> Path:
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(to).as_posix()}\n"
        for path in written
    ]
    _text(to / SUMS, "".join(lines))
    return to / SUMS


def _json(path: Path, content: object) -> None:
    _text(path, json.dumps(content, indent=1) + "\n")


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
