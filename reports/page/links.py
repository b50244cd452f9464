"""From an entry of a table to the runs behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reports.collect import Study
from reports.summary import Number, full_setting, loss_title, setting_text
from reports.tables.table import Column, Entry, Table


class Links:
    """Anchors of the section of experiments, and which entries lead there.

    A row belongs to a setting where it has a column ``cell``, or columns ``loss`` and ``setting``;
    a column where its key is the name of a setting; an entry of a column ``id`` to its experiment.
    So a new table with such columns is linked without further ado.
    """

    def __init__(self, study: Study) -> None:
        self.settings: dict[str, str] = {}  # cell to anchor
        self._names: dict[tuple[str, ...], str] = {}  # what a row says to anchor
        for cell, loss in study.cells[["cell", "loss"]].itertuples(index=False):
            anchor = _fresh(f"setting-{_slug(cell)}", self.settings.values())
            self.settings[cell] = anchor
            title = loss_title(loss)
            short, full = setting_text(study, cell), full_setting(study, cell)
            for name in ((cell,), (f"{title} {short}".strip(),), (title, short), (title, full)):
                self._names.setdefault(name, anchor)
        self._experiments = set(study.frame["id"])

    def of_row(self, table: Table, row: Sequence[Entry]) -> str:
        """Address of the setting that a row speaks of; empty where it speaks of none or many."""
        said = {column.key: str(entry) for column, entry in zip(table.columns, row, strict=True)}
        if "loss" in said and "setting" in said:
            return self._address((said["loss"], said["setting"]))
        return self._address((said["cell"],)) if "cell" in said else ""

    def of_column(self, column: Column) -> str:
        """Address of the setting that a column speaks of."""
        return self._address((column.key,))

    def of_entry(self, column: Column, entry: Entry, row: str) -> str:
        """Address that an entry leads to, `row` being that of its row; empty for mere text."""
        if isinstance(entry, Number):
            return (row or self.of_column(column)) if entry.n > 0 or entry.refused else ""
        if column.key == "id" and str(entry) in self._experiments:
            return f"#{run_anchor(str(entry))}"
        return ""

    def _address(self, name: tuple[str, ...]) -> str:
        anchor = self._names.get(name)
        return f"#{anchor}" if anchor else ""


def run_anchor(experiment: str) -> str:
    """Anchor of the row of one run."""
    return f"run-{experiment}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _fresh(anchor: str, taken: Iterable[str]) -> str:
    """Two cells may differ in signs alone that an anchor does not keep."""
    known, place, found = set(taken), 2, anchor
    while found in known:
        found, place = f"{anchor}-{place}", place + 1
    return found
