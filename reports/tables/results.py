"""The tables of a report, as data; `reports.tables.render` writes them."""

from __future__ import annotations

from collections.abc import Sequence

from reports import metrics
from reports.collect import STATUSES, Study
from reports.selection import Selection
from reports.statistics.comparison import MIN_SEEDS
from reports.summary import Number, full_setting, loss_title, summarise
from reports.tables.baseline import baseline
from reports.tables.best_settings import best_settings_table
from reports.tables.details import all_metrics, paired, refusals, uncertainty
from reports.tables.geometry import geometry_tables
from reports.tables.published import published_tables
from reports.tables.table import COVERS, Column, Entry, Table
from reports.tuning.plan import searches
from reports.tuning.tables import tuning_tables

MARKS = (
    "Entries: mean over seeds ± half the width of the 95 % interval, in per cent; n: seeds "
    "with a result of those planned. Bold: best mean. †: not distinguishable from the best (paired tests over common "
    "seeds and identities, Holm-corrected within the column, 5 %); no sign: distinguishably worse. "
    f"‡: fewer than {MIN_SEEDS} common seeds, no claim possible."
)


def all_tables(study: Study, selection: Selection) -> list[Table]:
    """Every table of the report, in the order of the page."""
    cells = list(study.cells["cell"])
    tables = [
        _results(study, selection.cells, "comparison", "Losses compared", selection.rule),
        paired(study, selection.cells),
        baseline(study, selection.cells),
        uncertainty(study, selection.cells),
        all_metrics(study, selection.cells),
        _failures(study),
        _cost(study),
    ]
    if selection.cells != cells:
        caption = (
            f"Every setting of the study; marks compare all {len(cells)} settings with the "
            "best of them."
        )
        tables.insert(2, _results(study, cells, "ablation", "All settings", caption))
    settings = best_settings_table(study)
    tables += [settings] if settings.rows else []
    tables += geometry_tables(study, selection) + published_tables(study, selection)
    return tables + tuning_tables(study, selection)


def _results(study: Study, cells: Sequence[str], name: str, title: str, caption: str) -> Table:
    measured = {name for name in study.metrics if study.measured(name)}
    known = measured | set(study.notes["metric"])
    shown = [m for m in metrics.main_scores(study.metrics, measured) if m in known]
    numbers = [summarise(study, metric, cells) for metric in shown]
    losses = study.cells.set_index("cell")["loss"]
    columns = [
        Column("loss", "Loss"),
        Column("setting", "Setting"),
        Column("n", "n", "seeds with a result of those planned", True),
    ]
    columns += [Column(m, _header(m), metrics.metric(m).title, True) for m in shown]
    evaluated = study.frame.assign(ok=study.frame[list(study.metrics)].notna().any(axis=1)).groupby(
        "cell"
    )["ok"]
    done, planned = evaluated.sum(), evaluated.size()
    rows: list[list[Entry]] = [
        [
            loss_title(losses[cell]),
            full_setting(study, cell),
            f"{done[cell]}/{planned[cell]}",
            *(c[i] for c in numbers),
        ]
        for i, cell in enumerate(cells)
    ]
    text = caption + (f" {MARKS}" if shown else "") + _covers(shown, numbers) + _support(study)
    return Table(name, title, text, columns, rows, refusals(study, cells, shown))


def _covers(shown: Sequence[str], numbers: Sequence[Sequence[Number]]) -> str:
    """What the intervals of each column speak of."""
    kinds: dict[str, list[str]] = {}
    for name, column in zip(shown, numbers, strict=True):
        found = {n.covers for n in column} - {"nothing"}
        text = " or ".join(COVERS[kind] for kind in COVERS if kind in found)
        if text:
            kinds.setdefault(text, []).append(metrics.metric(name).short)
    texts = [f"{', '.join(names)} over {kind}" for kind, names in kinds.items()]
    return f" Intervals (identities are the classes judged): {'; '.join(texts)}." if texts else ""


def _header(name: str) -> str:
    return f"{metrics.metric(name).short} {'↑' if metrics.metric(name).higher_is_better else '↓'}"


def _support(study: Study) -> str:
    """Size of the verification test, which bounds what its rates can show."""
    texts = []
    for kind in ("genuine", "impostor"):
        if study.measured(f"verification/{kind}_pairs"):
            pairs = study.frame[f"verification/{kind}_pairs"].dropna()
            low, high = int(pairs.min()), int(pairs.max())
            texts.append(f"{low:,}{f' to {high:,}' if high > low else ''} {kind}")
    return f" Verification pairs per run: {' and '.join(texts)}." if texts else ""


def _failures(study: Study) -> Table:
    troubled = study.frame[(study.frame["status"] != "finished") | study.frame["reason"].notna()]
    order = {status: place for place, status in enumerate(STATUSES)}
    troubled = troubled.sort_values("status", key=lambda s: s.map(order), kind="stable")
    rows: list[list[Entry]] = [
        [
            row["cell"],
            int(row["seed"]),
            str(row["status"]).replace("_", " "),
            str(row["reason"] or ""),
            row["id"],
        ]
        for row in troubled.fillna({"reason": ""}).to_dict("records")
    ]
    searched = _failed_searches(study)
    rows += searched
    columns = [
        Column("cell", "Setting"),
        Column("seed", "Seed", numeric=True),
        Column("status", "Status"),
        Column("reason", "Reason"),
        Column("id", "Experiment"),
    ]
    caption = (
        "These runs count in n of every table and appear as gaps in the figures; none was "
        "left out silently."
    ) + (" Searches without a result stand at the end." if searched else "")
    return Table("failures", "Runs without a result", caption, columns, rows)


def _failed_searches(study: Study) -> list[list[Entry]]:
    """Searches without a winner: what they would have found was never trained."""
    if study.tuning is None:
        return []
    found = searches(study.tuning)
    return [
        [f"{row['loss']} {row['arm']}", "–", "search failed", row["reason"] or "", row["search"]]
        for row in found[found["winner"].isna()].to_dict("records")
    ]


def _cost(study: Study) -> Table:
    """What the runs of each loss cost; ``seconds`` of a run is its share of the stack it was
    trained in.
    """
    rows: list[list[Entry]] = []
    for loss in [*study.losses, None]:
        mine = (study.frame if loss is None else study.frame[study.frame["loss"] == loss]).dropna(
            subset=["seconds"]
        )
        if len(mine) == 0:
            continue
        images, seconds = float(mine["images"].sum()), float(mine["seconds"].sum())
        peaks = mine["peak_memory"].dropna()
        rows.append(
            [
                "All" if loss is None else loss_title(loss),
                len(mine),
                int(images),
                round(seconds, 1),
                round(images / seconds, 1) if seconds > 0 else "–",
                round(float(mine["stack_size"].median()), 1),
                "–" if peaks.empty else round(float(peaks.median()) / 2**20),
            ]
        )
    columns = [
        Column("loss", "Loss"),
        Column("runs", "Runs", "carried out, finished or not", True),
        Column("images", "Training images", numeric=True),
        Column("seconds", "Time (s)", "training time; of a stack each member has its share", True),
        Column("images_per_second", "Images/s", numeric=True),
        Column("stack_size", "Models per stack", "median", True),
        Column(
            "peak_memory",
            "Peak memory (MiB)",
            "of the process that trained the whole stack; median over the runs",
            True,
        ),
    ]
    caption = (
        "Training cost. Models trained together as one stack share its wall-clock time evenly; "
        "images are counted once per "
        "model that saw them. Peak memory is that of the process that trained a whole stack, all "
        "its models, the data and the libraries included (on a GPU of the tensors there); a loss "
        "has the median over its runs."
    ) + (" What the trials cost stands under tuning." if study.tuning is not None else "")
    return Table("cost", "Cost", caption, columns, rows)
