"""Where a run stands in MLflow, from what the mirror wrote down; nothing here needs MLflow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

LOCAL = "http://127.0.0.1:5000"  # where `make mlflow` serves the store beside the runs
RECORD = "tracked.json"


@dataclass(frozen=True)
class Mirror:
    """The mirror of a study.

    Attributes
    ----------
    runs : experiment id to MLflow's run id.
    base : address of MLflow's pages of the study's runs, without the run id; empty where no page is
        known.
    note : when the addresses work, for readers; empty if always.
    """

    runs: dict[str, str] = field(default_factory=dict)
    base: str = ""
    note: str = ""

    def link(self, experiment: str) -> str:
        """Address of an experiment's run; empty without one."""
        run = self.runs.get(experiment, "")
        return f"{self.base}/{quote(run, safe='')}" if run and self.base else ""


def read_mirror(record: Path) -> Mirror:
    """Read ``tracked.json``; a study that was not mirrored, or by an older version, has no runs."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        uri, runs = str(content["uri"]), dict(content["runs"])
        experiment = quote(str(content["experiment"]), safe="")
    except (OSError, ValueError, KeyError, TypeError):
        return Mirror()
    pages = f"#/experiments/{experiment}/runs"
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # no password
        return Mirror(runs, f"{place.rstrip('/')}/{pages}")
    if parts.scheme == "sqlite":
        return Mirror(runs, f"{LOCAL}/{pages}", "The links to MLflow work after make mlflow.")
    return Mirror(runs, "", "The store has no address of its own: find a run by its id in MLflow.")
