"""The report as one self-contained HTML file."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.collect import STATUSES, Study
from reports.figures import Saved
from reports.page.datasheet import provenance, setup
from reports.page.experiments import experiments
from reports.page.images import pictures
from reports.page.links import Links
from reports.page.mlflow_links import RECORD, read_mirror
from reports.page.sections import sections
from reports.page.status import notice
from reports.selection import Selection
from reports.summary import Number
from reports.tables.details import by_protocol
from reports.tables.render import plain
from reports.tables.table import Entry, Table
from reports.tuning.tables import by_metric
from reports.words.findings import findings
from reports.words.recommend import RULE, recommend

_TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


def write_page(
    study: Study,
    selection: Selection,
    tables: Sequence[Table],
    figures: Sequence[Saved],
    out: Path,
    command: str,
    *,
    alone: bool = False,
) -> Path:
    """Write ``index.html`` into `out`; images are inlined, other files are linked relative to it.

    Parameters
    ----------
    tables, figures : as written to ``out/tables`` and ``out/figures``. A table that the page has no
        place for stands in a section of its own.
    command : what to type to make this report again.
    alone : the folder will be read without the run store and MLflow: no link leads there.

    Returns
    -------
    The page.
    """
    named = {table.name: table for table in tables}
    shown, links = pictures(figures), Links(study)
    mirror = read_mirror(study.runs.parent / study.plan["study"] / RECORD)
    statuses = study.frame["status"].value_counts()
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=study.plan.get("title") or study.plan["study"],
            name=study.plan["study"],
            notice=notice(study),
            findings=findings(study, selection),
            advice=recommend(study, selection),
            rule=RULE,
            sections=sections(named, shown),
            tables=named,
            protocols=by_protocol(named["metrics"]) if "metrics" in named else [],
            effects=by_metric(named["default_vs_tuned"]) if "default_vs_tuned" in named else [],
            links=links,
            experiments=experiments(study, selection, links, mirror, None if alone else out),
            setup=[*setup(study), *provenance(study)],
            counts=[
                (status.replace("_", " "), int(statuses[status]))
                for status in STATUSES
                if statuses.get(status, 0)
            ],
            total=len(study.frame),
            command=command,
            redraw=shlex.join(["python", "-m", "reports", "redraw", str(out / "figures")]),
        )
    )
    path = out / "index.html"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8", newline="\n")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["number"] = lambda entry: isinstance(entry, Number)
    environment.filters["plain"] = plain
    environment.filters["raw"] = _raw
    return environment


def _raw(entry: Entry) -> str | None:
    """What a column is sorted by; "" for a missing number, None for text."""
    value = entry.mean if isinstance(entry, Number) else entry
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return "" if math.isnan(value) else f"{value:.10g}"
