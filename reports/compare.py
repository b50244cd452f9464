"""Two studies side by side: settings that both have, their differences, and what else differs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports import metrics
from reports.across import final_plan
from reports.collect import Study, collect
from reports.draws import cell_draws
from reports.errors import ReportError
from reports.export import provenance
from reports.figures import save
from reports.selection import select
from reports.statistics.comparison import MIN_SEEDS, paired_difference
from reports.statistics.correlation import holm
from reports.statistics.intervals import LEVEL, Interval, mean_interval, t_quantile
from reports.summary import Number, Probability, cell_intervals, number, setting_text
from reports.tables.render import plain, write_table
from reports.tables.table import Column, Entry, Table, cell_name

_TEMPLATES = Path(__file__).resolve().parent / "templates"
SAME_RUNS = "same runs"
_SAME = ("loss", "recipe", "backbone", "augment")  # what makes two settings one


@dataclass(frozen=True)
class Match:
    """A setting of the first study and one of the second."""

    first: str
    second: str
    basis: str  # "same setting", or "chosen by each" where the settings differ


def write_comparison(first: Path, second: Path, runs: Path | None, out: Path) -> list[Path]:
    """Write ``compare.{csv,md,tex}``, ``differences.{csv,md,tex}``, ``figures/`` and ``index.html``.

    Parameters
    ----------
    first, second : folders of studies, each with its plan.
    runs : the run store; None: ``runs`` beside each.

    Raises
    ------
    ReportError : a plan or run that cannot be read; other data; no setting or metric in common.
    """
    names = [first.resolve().name, second.resolve().name]
    if names[0] == names[1]:
        names = [f"{each.resolve().parent.name}/{each.resolve().name}" for each in (first, second)]
    studies = [collect(final_plan(each), runs or each.parent / "runs") for each in (first, second)]
    table, frame = compared(studies[0], studies[1], names)
    changes = differences(studies[0], studies[1], names)
    paths = [*write_table(table, out), *write_table(changes, out)]
    saved = save("two_studies", frame, out / "figures")
    page = out / "index.html"
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.tests["number"] = lambda entry: isinstance(entry, Number)
    html = environment.get_template("compare.html.j2").render(
        names=names, tables=[table, changes], figure=saved, image=_inline(saved.path("png"))
    )
    page.write_text(html, encoding="utf-8", newline="\n")
    return [*paths, *(saved.path(suffix) for suffix in saved.suffixes), page]


def matches(first: Study, second: Study) -> list[Match]:
    """Settings that both studies have; of a loss without such, and of every loss where one of the
    studies is tuned, the chosen setting of each.

    Two searches rarely find the same numbers: without the second rule their defaults alone would be
    compared.
    """
    theirs = {_identity(second, cell): cell for cell in second.cells["cell"]}
    found = []
    for cell in first.cells["cell"]:
        same = theirs.get(_identity(first, cell))
        if same is not None:
            found.append(Match(cell, same, "same setting"))
    tuned = first.tuning is not None or second.tuning is not None
    covered = set() if tuned else {str(first.cell(match.first)["loss"]) for match in found}
    pairs = {(match.first, match.second) for match in found}
    chosen = [
        {str(s.cell(c)["loss"]): c for c in reversed(select(s).cells)} for s in (first, second)
    ]
    found += [
        Match(chosen[0][loss], chosen[1][loss], "chosen by each")
        for loss in first.losses
        if loss not in covered and loss in chosen[0] and loss in chosen[1]
        if (chosen[0][loss], chosen[1][loss]) not in pairs
    ]
    return found


def compared(first: Study, second: Study, names: list[str]) -> tuple[Table, pd.DataFrame]:
    """The table of differences, second minus first, and the frame of the figure."""
    paired = _same_test(first, second)
    found = matches(first, second)
    if not found:
        raise ReportError(f"compare: {names[0]} and {names[1]} have no loss in common")
    both = [name for name in first.metrics if first.measured(name) and second.measured(name)]
    shown = metrics.main_scores(both, both)
    if not shown:
        raise ReportError(f"compare: {names[0]} and {names[1]} have no score in common")
    rows: list[list[Entry]] = []
    points = []
    for name in shown:
        row = metrics.metric(name)
        ends = [cell_intervals(first, name, [m.first for m in found])]
        ends.append(cell_intervals(second, name, [m.second for m in found]))
        tests = [_difference(first, second, name, match, paired) for match in found]
        raw = [p if gap.n >= MIN_SEEDS else float("nan") for gap, p, _ in tests]
        for match, one, two, (gap, p, way), corrected in zip(
            found, *ends, tests, holm(raw), strict=True
        ):
            verdict = _verdict(gap, corrected, bool(row.higher_is_better), names[1])
            cells = [_label(first, second, match), match.basis, row.short]
            if way == SAME_RUNS:
                verdict = "not tested"
            values = [number(each, percent=row.percent) for each in (one, two, gap)]
            rows.append(
                [*cells, *values, gap.n, way, Probability(p), Probability(corrected), verdict]
            )
            for study, each in zip(names, (one, two), strict=True):
                points.append(
                    {
                        "label": cells[0],
                        "loss": first.cell(match.first)["loss"],
                        "metric": name,
                        "study": study,
                        "mean": each.mean,
                        "low": each.low,
                        "high": each.high,
                        "n": each.n,
                    }
                )
    columns = [
        Column("cell", "Setting"),
        Column("basis", "Matched by"),
        Column("metric", "Metric"),
        Column("first", names[0], numeric=True),
        Column("second", names[1], numeric=True),
        Column("difference", "Difference", "second minus first", True),
        Column("seeds", "n", "seeds that the difference is of", True),
        Column("way", "Seeds"),
        Column("p", "p", "two-sided", True),
        Column("p_holm", "p (Holm)", "corrected within the metric", True),
        Column("verdict", "Verdict"),
    ]
    caption = (
        f"{names[1]} minus {names[0]}, mean ± half the width of the 95 % interval, in per cent and "
        "percentage points. Settings are the same where loss, hyper-parameters, recipe, backbone and "
        "augmentation are; of other losses, and of those of a tuned study, each study's chosen "
        "setting stands (first / second where their names differ). Paired: difference "
        "of each seed that both have, on the same test images, and of the resamples of the "
        "identities where both stored them; unpaired: Welch's t over the seeds of each; same runs: "
        "both studies took these runs from one store, so that nothing can differ. Holm correction "
        "within the metric."
    )
    notes = [] if paired else ["Unpaired throughout: the studies split the data differently"]
    table = Table("compare", "Settings of both studies", caption, columns, rows, notes)
    return table, pd.DataFrame(points)


def differences(first: Study, second: Study, names: list[str]) -> Table:
    """What differs in the configuration, and in code, versions and machines."""
    rows: list[list[Entry]] = []
    configs = [flat(study.plan.get("config", {})) for study in (first, second)]
    facts = [
        {
            key: ", ".join(value)
            for key, value in provenance(study).items()
            if isinstance(value, dict)
        }
        for study in (first, second)
    ]
    for kind, (one, two) in (("configuration", configs), ("provenance", facts)):
        for key in dict.fromkeys([*one, *two]):
            values = [side.get(key, "–") for side in (one, two)]
            if values[0] != values[1] and key not in ("study", "title", "results"):
                rows.append([kind, key, *values])
    columns = [Column("kind", "Of"), Column("key", "Key")]
    columns += [Column("first", names[0]), Column("second", names[1])]
    caption = "Keys with other values, as configured, and facts about the runs that differ."
    return Table("differences", "What differs", caption, columns, rows)


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A configuration as dotted keys and texts.

    >>> flat({"recipe": {"epochs": 2}, "seeds": 3})
    {'recipe.epochs': '2', 'seeds': '3'}
    """
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            text = "–" if value is None else json.dumps(value)
            found[f"{prefix}{key}"] = value if isinstance(value, str) else text
    return found


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _same_test(first: Study, second: Study) -> bool:
    """Whether a seed means the same split of the same images in both."""
    one, two = (study.plan["experiments"][0] for study in (first, second))
    if one["data_checksum"] != two["data_checksum"]:
        raise ReportError(
            f"compare: other data ({one['dataset']['name']}, {two['dataset']['name']}; checksums "
            "differ), so that no difference can be read; `across` ranks losses over data sets"
        )
    return bool(one["split"] == two["split"])


def _identity(study: Study, cell: str) -> str:
    experiment = _experiments(study)[next(iter(study.runs_of(cell).values()))]
    return json.dumps({key: experiment.get(key) for key in _SAME}, sort_keys=True)


def _experiments(study: Study) -> Mapping[str, Any]:
    if "experiments" not in study.cache:
        study.cache["experiments"] = {item["id"]: item for item in study.plan["experiments"]}
    found: Mapping[str, Any] = study.cache["experiments"]
    return found


def _difference(
    first: Study, second: Study, name: str, match: Match, paired: bool
) -> tuple[Interval, float, str]:
    """Second minus first: interval, p, how."""
    row = metrics.metric(name)
    one, two = first.by_seed(name, [match.first])[0], second.by_seed(name, [match.second])[0]
    if _same_runs(first, second, match):
        gap = mean_interval(two - one)
        return gap, float("nan"), SAME_RUNS
    common = sorted(set(first.seeds) & set(second.seeds)) if paired else []
    places = [[study.seeds.index(seed) for seed in common] for study in (first, second)]
    if common:
        draws = [
            [cell_draws(study, name, [cell])[0][i] for i in own]
            for study, cell, own in zip(
                (first, second), (match.first, match.second), places, strict=True
            )
        ]
        found = paired_difference(
            two[places[1]],
            one[places[0]],
            draws[1],
            draws[0],
            higher_is_better=bool(row.higher_is_better),
            few_accepts=row.few_accepts,
        )
        return found.interval, found.p, "paired"
    gap = welch(one, two)
    return gap, gap.p, "unpaired"


def _same_runs(first: Study, second: Study, match: Match) -> bool:
    """Whether both settings are the same folders of one run store."""
    ids = [dict(s.runs_of(c)) for s, c in ((first, match.first), (second, match.second))]
    return ids[0] == ids[1] and first.runs.resolve() == second.runs.resolve()


def _label(first: Study, second: Study, match: Match) -> str:
    """The setting; both where the studies name it differently."""
    names = cell_name(first, match.first), cell_name(second, match.second)
    if names[0] == names[1]:
        return names[0]
    return f"{names[0]} / {setting_text(second, match.second) or names[1]}"


def welch(first: np.ndarray, second: np.ndarray) -> Interval:
    """Mean of the second minus mean of the first, with Welch's interval (1947); NaN: no value."""
    one, two = (mean_interval(values) for values in (first, second))
    mean, n = two.mean - one.mean, min(one.n, two.n)
    parts = np.array([one.error, two.error]) ** 2
    if n < 2 or not parts.sum() > 0:
        return Interval(mean, float("nan"), float("nan"), n, "nothing", float("nan"), float("nan"))
    error = float(np.sqrt(parts.sum()))
    df = float(parts.sum() ** 2 / (parts**2 / (np.array([one.n, two.n]) - 1)).sum())
    half = t_quantile(df) * error
    return Interval(mean, mean - half, mean + half, n, "seeds", error, df)


def _verdict(gap: Interval, p: float, higher_is_better: bool, name: str) -> str:
    if np.isnan(p):
        return "too few seeds"
    if p >= 1 - LEVEL:
        return "not distinguishable"
    return f"{name} better" if (gap.mean > 0) == higher_is_better else f"{name} worse"
