"""The folder of a verdict: what may be replaced, what is written, what a person is told."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluate import write_verdict
from benchmarks.files import new_folder, write_text
from benchmarks.protocols import Outcome, ProtocolError

INTERVAL = (2.5, 97.5)  # percentiles of the replicates
MIN_REPLICATES = 40  # fewer have none beyond these percentiles
MIN_IDENTITIES = 5  # fewer say nothing of others, as in the report
VERDICT = "verdict.json"
FILES = frozenset({VERDICT, "metrics.csv", "curves.npz", "replicates.npz", "index.html"})
HEADLINES = (
    "closed_set/top1",
    "closed_set/ncm_top1",
    "verification/auc",
    "verification/eer",
    "verification/tar_at_far_*",
    "identification/rank_1",
    "identification/tpir_at_fpir_*",
    "open_set_recognition/auroc_*",
    "retrieval/recall_at_1",
    "retrieval/map_at_r",
    "pairs/auc",
    "pairs/eer",
    "pairs/tar_at_far_*",
    "pairs/kfold_accuracy",
    "compatibility/*",
)  # what the terminal shows
DRAWN_WITH = ("jinja2", "matplotlib", "pandas", "pyarrow", "scipy")


def check_out(out: Path) -> None:
    """Refuse a folder that holds anything but a verdict, or that cannot be written.

    Raises
    ------
    ProtocolError : it does, or it cannot.
    """
    home = next(parent for parent in out.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=home).cleanup()
    except OSError as error:
        reason = error.strerror or error
        raise ProtocolError(
            f"{out}: cannot be written in {home} ({reason}); give another --out"
        ) from error
    if not out.exists():
        return
    if not out.is_dir():
        raise ProtocolError(f"{out}: exists and is not a folder; give another --out")
    held = {path.name for path in out.iterdir()}
    if held and (VERDICT not in held or held - FILES):
        other = ", ".join(sorted(held - FILES)[:3]) or f"no {VERDICT}"
        raise ProtocolError(f"{out}: exists and is not a verdict ({other}); give another --out")


def write_folder(
    verdict: Outcome, out: Path, protocols: Sequence[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``verdict.json``, ``metrics.csv``, ``curves.npz`` and ``replicates.npz``, whole or not at all.

    Parameters
    ----------
    protocols : names of ``PROTOCOLS``; their versions go into the file.
    facts : what else ``verdict.json`` holds.

    Returns
    -------
    The content of ``verdict.json``.
    """
    facts = {**facts, "intervals": intervals(verdict)}
    with new_folder(out) as folder:
        write_verdict(verdict, folder, list(protocols), facts)
        written = folder / "metrics.json"  # as of a run, under another name
        content: dict[str, Any] = json.loads(written.read_text())
        written.rename(folder / VERDICT)
        write_text(folder / "metrics.csv", metrics_csv(content))
    return content


def intervals(verdict: Outcome) -> dict[str, list[float]]:
    """95 % percentile intervals of the metrics whose replicates can carry one.

    None where fewer than `MIN_REPLICATES` or not most of them are numbers, where there are fewer
    than `MIN_IDENTITIES`, and where all are equal (nobody has an error, or everybody): such an
    interval would have no width and pretend to know.
    """
    found = {}
    for name, values in verdict.replicates.items():
        numbers = values[np.isfinite(values)]
        enough = len(numbers) >= MIN_REPLICATES and 2 * len(numbers) > len(values)
        few = len(verdict.left_out[name]) < MIN_IDENTITIES
        if verdict.metrics.get(name) is not None and enough and not few and np.ptp(numbers) > 0:
            found[name] = [float(bound) for bound in np.percentile(numbers, INTERVAL)]
    return found


def metrics_csv(content: Mapping[str, Any]) -> str:
    """``metric, value, low, high, note``, one metric a line; empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "value", "low", "high", "note"])
    for name, value in content["metrics"].items():
        bounds = content["intervals"].get(name, ["", ""])
        writer.writerow(
            [name, "" if value is None else value, *bounds, content["notes"].get(name, "")]
        )
    return text.getvalue()


def summary(content: Mapping[str, Any]) -> str:
    """The headline metrics for the terminal: values, intervals, and why some are missing."""
    names = [
        name
        for pattern in HEADLINES
        for name in content["metrics"]
        if fnmatch(name, pattern) and not name.endswith("_sd")
    ]
    width = max(map(len, names), default=0)
    lines = []
    for name in names:
        value, bounds = content["metrics"][name], content["intervals"].get(name)
        if value is None:
            lines.append(f"{name:<{width}}  n/a     {content['notes'][name]}")
        else:
            between = f"  [{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else ""
            lines.append(f"{name:<{width}}  {value:.4f}{between}")
    lines += [f"{name}: left out, {reason}" for name, reason in content["not_applicable"].items()]
    if rest := len(content["metrics"]) - len(names):
        lines.append(f"and {rest} more in metrics.csv")
    if pairs := content.get("pairs"):
        lines.append(f"pairs judged: {pairs['judged']:,} of {pairs['listed']:,}")
        lines += [f"skipped: {reason}" for reason in pairs["skipped"][:3]]
        if pairs["label_conflicts"]:
            lines.append(f"warning: {pairs['label_conflicts']} pairs contradict the labels")
    return "\n".join(lines)


def draw_page(out: Path) -> str:
    """Make ``index.html`` of a verdict with the report's command; returns a line that says how it went."""
    command = ["-m", "reports", "verdict", str(out.resolve())]
    again = f"python {' '.join(command[:-1])} {out}"
    lacking = [name for name in DRAWN_WITH if importlib.util.find_spec(name) is None]
    if lacking:
        return f"page not drawn: {', '.join(lacking)} not installed; with them: {again}"
    root = Path(__file__).resolve().parents[1]  # -m finds the report there
    done = subprocess.run(
        [sys.executable, *command], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"page not drawn: {last}; to try again: {again}"
    return f"page: {out / 'index.html'}"
