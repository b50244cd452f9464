"""Ways of tuning side by side: studies that differ in their ``tune`` alone, search by search, at their image budgets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reports import metrics
from reports.across import final_plan
from reports.collect import Study, collect
from reports.errors import ReportError
from reports.statistics.intervals import Interval, mean_interval
from reports.summary import Number, loss_title
from reports.tables.render import write_table
from reports.tables.table import Column, Entry, Table
from reports.tuning.plan import objectives, tuning_of


def write_tuners(folders: Sequence[Path], runs: Path | None, out: Path) -> list[Path]:
    """Write ``tuners.csv``, ``.md`` and ``.tex`` into `out`.

    Parameters
    ----------
    folders : of two or more tuned studies with equal losses, searches a loss, seeds and first objective.
    runs : the run store; None: ``runs`` beside each study's folder.

    Raises
    ------
    ReportError : a plan or run that cannot be read, a study that is not tuned, studies that do not match.
    """
    if len(folders) < 2:
        raise ReportError(f"tuners: {len(folders)} study; a comparison needs two or more")
    studies = [collect(final_plan(each), runs or each.parent / "runs") for each in folders]
    return write_table(tuners([each.name for each in folders], studies), out)


def tuners(names: Sequence[str], studies: Sequence[Study]) -> Table:
    """A row for each search (loss and number) of each study, then the paired differences to the first study.

    What a search found is judged by its objective on the validation images of runs with fresh seeds: its own best
    value is the best of many, and more of them where trials are cheaper.
    """
    blocks = [_searches(name, study) for name, study in zip(names, studies, strict=True)]
    first = blocks[0]
    for name, block in zip(names, blocks, strict=True):
        if block.keys() != first.keys():
            raise ReportError(f"tuners: {name} has other losses or searches than {names[0]}")
    goals = [objectives(tuning_of(study.plan) or {})[0] for study in studies]
    if len(set(goals)) > 1:
        raise ReportError("tuners: the studies aim at different objectives")
    goal = goals[0]
    metric = metrics.metric(goal.metric)
    unit = 100 if metric.percent else 1
    rows: list[list[Entry]] = []
    for key in first:
        for name, block in zip(names, blocks, strict=True):
            trials, images, seconds, best, fresh = block[key]
            rows.append(
                [
                    loss_title(key[0]),
                    key[1],
                    name,
                    trials,
                    images,
                    round(seconds, 1),
                    f"{unit * best:.2f}",
                    f"{unit * fresh:.2f}",
                ]
            )
    notes = []
    for name, block in zip(names[1:], blocks[1:], strict=True):
        sign = 1 if goal.higher_is_better else -1
        found = [sign * (block[key][-1] - first[key][-1]) for key in first]
        change = mean_interval(np.array(found))
        notes.append(
            f"{name} against {names[0]} over {len(found)} searches: better by {_text(change, unit)} "
            f"(mean of the paired differences and its 95 % Student-t interval), in {sum(x > 0 for x in found)} of them "
            f"better, in {sum(x == 0 for x in found)} equal"
        )
    title = metric.title.removeprefix("Validation: ")
    caption = (
        f"{title} on validation images{' in per cent' if metric.percent else ''}: the best value of each search, and what "
        "its winner reaches in runs with fresh seeds (mean). Images are those that all its trials were trained on."
    )
    columns = [
        Column("loss", "Loss"),
        Column("search", "Search", numeric=True),
        Column("study", "Study"),
        Column("trials", "Trials", numeric=True),
        Column("images", "Images", numeric=True),
        Column("seconds", "Time (s)", "training time; of a stack each trial has its share", True),
        Column("best", "Best of the search", numeric=True),
        Column("fresh", "Winner, fresh seeds", numeric=True),
    ]
    return Table("tuners", "Ways of tuning", caption, columns, rows, notes)


def _text(found: Interval, unit: float) -> str:
    return Number(
        found.mean * unit, found.low * unit, found.high * unit, found.n, percent=False, digits=2
    ).text


def _searches(
    name: str, study: Study
) -> dict[tuple[str, int], tuple[int, int, float, float, float]]:
    """(loss, search) to trials, images, seconds, the winner's value, and the mean of its fresh runs."""
    tuning = tuning_of(study.plan)
    if tuning is None:
        raise ReportError(f"tuners: {name} is not tuned")
    goal = tuning["objectives"][0]["metric"]
    fresh = {
        arm["search"]: study.frame.set_index("id").loc[arm["experiments"], goal].mean()
        for arm in tuning["arms"]
        if arm["arm"].startswith("tuned ")
    }
    found = {}
    for search in tuning["searches"]:
        if search["winner"] is None:
            raise ReportError(f"tuners: search {search['id']} of {name} found nothing")
        trials = search["trials"]
        found[search["loss"], search["study"]] = (
            len(trials),
            sum(trial["images"] for trial in trials),
            sum(trial["seconds"] or 0.0 for trial in trials),
            trials[search["winner"]]["values"][0],
            float(fresh[search["id"]]),
        )
    return found
