"""What a recommendation consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports import metrics
from reports.collect import Study
from reports.summary import Number, compare, full_setting, loss_title, open_metric, summarise
from reports.tables.table import cell_name
from reports.words.grammar import in_sentence, joined

Verdict = Literal["best", "tied", "cannot tell", "alone", "trade-off"]


@dataclass(frozen=True)
class Pick:
    """One recommended setting: its name for readers, (metric, value) pairs, its speed."""

    cell: str
    loss: str
    setting: str
    values: list[tuple[str, Number]]
    speed: str


@dataclass(frozen=True)
class Advice:
    """One purpose.

    Attributes
    ----------
    goal, metric : headings.
    verdict : "best": distinguishable from all others; "tied": not from some; "cannot tell": from
        none, or too few seeds; "alone": nothing to compare; "trade-off": no setting leads in both.
    picks : one setting; of a trade-off those that no other setting beats in both means.
    text : the verdict in a sentence.
    same : names of the settings that could stand there as well.
    """

    goal: str
    metric: str
    verdict: Verdict
    picks: list[Pick]
    text: str
    same: list[str]


def pick(study: Study, cell: str, names: Sequence[str], cells: Sequence[str]) -> Pick:
    """A cell with its values of these metrics, as compared within `cells`."""
    place = list(cells).index(cell)
    loss = str(study.cell(cell)["loss"])
    values = [(metrics.metric(name).short, summarise(study, name, cells)[place]) for name in names]
    return Pick(
        cell, loss_title(loss), full_setting(study, cell), values, _speed(study, cell, cells)
    )


def without_value(study: Study, cells: Sequence[str]) -> str:
    """A further sentence on settings that could not be judged; empty for none."""
    names = [cell_name(study, cell) for cell in cells]
    return f" Without a value, so not judged: {joined(names)}." if names else ""


def behind(study: Study, cell: str, name: str, cells: Sequence[str]) -> str:
    """A further sentence where a setting chosen by one verification metric is distinguishably worse
    by the main one; empty otherwise.
    """
    main = open_metric(study)
    if main is None or name == main or not name.startswith("verification/"):
        return ""
    found = compare(study, main, cells)
    if found.best is None or found.marks[list(cells).index(cell)] != "worse":
        return ""
    better = cell_name(study, cells[found.best])
    return f" But by {in_sentence(main)} it is distinguishably worse than {better}."


def _speed(study: Study, cell: str, cells: Sequence[str]) -> str:
    """Images per second of its runs, in per cent of the fastest compared setting; or nothing."""
    done = study.frame[study.frame["cell"].isin(cells)].dropna(subset=["seconds", "images"])
    sums = done.groupby("cell")[["images", "seconds"]].sum()
    rates = sums["images"] / sums["seconds"].where(sums["seconds"] > 0)
    rates = rates.dropna()
    if cell not in rates or len(rates) < 2:
        return ""
    share = rates[cell] / rates.max()
    return f"{rates[cell]:,.0f} images/s, {100 * share:.0f} % of the fastest"
