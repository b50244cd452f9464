"""One metric over several studies (data sets): losses by data set, mean ranks, interquartile means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reports import metrics
from reports.collect import Study, collect
from reports.errors import ReportError
from reports.selection import select
from reports.statistics.ranks import iqm_interval, ranking
from reports.summary import Number, cell_intervals, loss_title, number
from reports.tables.render import write_table
from reports.tables.table import Column, Entry, Table


def write_across(folders: Sequence[Path], runs: Path | None, metric: str, out: Path) -> list[Path]:
    """Write ``across.csv``, ``.md`` and ``.tex`` into `out`.

    Parameters
    ----------
    folders : of two or more studies, each with its plan.
    runs : the run store; None: ``runs`` beside each study's folder.
    metric : a test metric that has a direction.

    Raises
    ------
    ReportError : fewer than two studies, a plan or run that cannot be read, a metric that no run
        has or that has no direction, or no loss common to all.
    """
    folders = [each.resolve() for each in folders]
    if len(set(folders)) < len(folders):
        raise ReportError("across: a folder is given twice; each study counts once")
    if len(folders) < 2:
        raise ReportError(f"across: {len(folders)} study; ranks need two or more")
    studies = [collect(final_plan(each), runs or each.parent / "runs") for each in folders]
    if not all(study.measured(metric) for study in studies):
        lacking = [str(f) for f, s in zip(folders, studies, strict=True) if not s.measured(metric)]
        known = ", ".join(metrics.scores(studies[0].metrics))
        raise ReportError(
            f"--metric {metric}: not measured in {', '.join(lacking)}; known: {known}"
        )
    if metrics.metric(metric).higher_is_better is None:
        raise ReportError(f"--metric {metric}: has no better direction, so that losses do not rank")
    names = [each.name for each in folders]
    if len(set(names)) < len(names):
        names = [f"{each.parent.name}/{each.name}" for each in folders]
    return write_table(across(studies, names, metric), out)


def final_plan(folder: Path) -> Path:
    """The plan of all runs of a study: ``tuned.json`` where it is tuned, else ``plan.json``."""
    tuned, plan = folder / "tuned.json", folder / "plan.json"
    if not (tuned.exists() or plan.exists()):
        raise ReportError(
            f"{folder}: is no folder of a study (it has no plan.json); give results/STUDY"
        )
    return tuned if tuned.exists() else plan


def across(studies: Sequence[Study], names: Sequence[str], metric: str) -> Table:
    """Losses (rows) by data sets (columns), each loss at its selected setting.

    Of a loss whose selection left several settings the first is taken, and a note says so.
    """
    row = metrics.metric(metric)
    left = [_cells(study) for study in studies]
    chosen = [{loss: cells[0] for loss, cells in each.items()} for each in left]
    common = [loss for loss in chosen[0] if all(loss in each for each in chosen)]
    if not common:
        raise ReportError("across: the studies have no loss in common")
    columns: list[list[Number]] = []
    runs: list[np.ndarray] = []
    for study, cells in zip(studies, chosen, strict=True):
        own = [cells[loss] for loss in common]
        columns.append([number(x, percent=row.percent) for x in cell_intervals(study, metric, own)])
        runs.append(study.by_seed(metric, own))
    means = np.array([[each.mean for each in column] for column in columns]).T
    found = ranking(means, bool(row.higher_is_better))
    complete = np.flatnonzero(~np.isnan(means).any(axis=0))
    rows: list[list[Entry]] = []
    for place, loss in enumerate(common):
        middle = iqm_interval([runs[at][place] for at in complete], np.random.default_rng(0))
        rows.append(
            [
                loss_title(loss),
                *(column[place] for column in columns),
                Number(float(found.ranks[place]), *(float("nan"),) * 2, found.sets, percent=False),
                number(middle, percent=row.percent),
            ]
        )
    caption = (
        f"{row.axis} by data set, mean over seeds ± half the width of the 95 % interval; mean rank "
        f"over the {found.sets} data sets where all losses have a value (1 is best); interquartile "
        "mean over all runs on these data sets, with the stratified bootstrap interval over runs (it "
        f"means something where the data sets are of like difficulty). {_verdict(found.chi2, found.f, found.p, found.critical_difference)}"
    )
    header = [Column("loss", "Loss")]
    header += [Column(name, name, numeric=True) for name in names]
    header += [
        Column("rank", "Mean rank", numeric=True),
        Column("iqm", "IQM", "interquartile mean", True),
    ]
    notes = [
        f"{loss_title(loss)} on {name}: the first of {len(cells[loss])} settings, {cells[loss][0]}; "
        "the study has no validation to choose one by."
        for name, cells in zip(names, left, strict=True)
        for loss in common
        if len(cells[loss]) > 1
    ]
    return Table("across", f"{row.title} over data sets", caption, header, rows, notes)


def _verdict(chi2: float, f: float, p: float, difference: float) -> str:
    if np.isnan(p):
        return "Too few losses or data sets for a test of the ranks."
    text = (
        f"Friedman χ² = {chi2:.2f}, Iman-Davenport F = {f:.2f}, p = {p:.2g}; critical difference of "
        f"mean ranks (Nemenyi, 5 %): {difference:.2f}."
    )
    return text if p < 0.05 else f"{text} The test does not reject that all losses rank alike."


def _cells(study: Study) -> dict[str, list[str]]:
    """Of each loss the settings that the selection left."""
    losses = study.cells.set_index("cell")["loss"]
    found: dict[str, list[str]] = {}
    for cell in select(study).cells:
        found.setdefault(str(losses[cell]), []).append(cell)
    return found
