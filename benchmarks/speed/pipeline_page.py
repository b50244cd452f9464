"""The section of ``docs/speed.md`` on the whole pipeline, from the rows of `benchmarks.speed.pipeline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = Mapping[str, str]

HEAD = """\
## The whole pipeline

    python -m benchmarks.speed.pipeline --out reports/published/speed_pipeline_cpu.csv

`snakemake --cores all` from nothing to the report on studies of one kind: CosFace and ArcFace, margins × scales × five
seeds, one epoch of `conv3` on 800 images of 8×8 pixels, all protocols with 1,000 resamples, the MLflow mirror in SQLite,
the whole report. The net has next to nothing to do, so this is what everything around it costs. CPU seconds are those of
all processes together."""

STEPS = """\
Where they go. Trainings and judgements run side by side, one stack a job: seconds are the sum over the jobs, their
start included. Mirror and report are one job each. Snakemake's own CPU time grows with the number of jobs. A second
call finds nothing to do."""

ONCE = """\
By themselves: the dry run, the mirror into a fresh database (its start and the making of the database are in the time a
run), the report (its figures are drawn on all cores)."""


def markdown(rows: Sequence[Row]) -> str:
    """Prose and tables; a size that was not measured has no row.

    Parameters
    ----------
    rows : ``experiments, what, jobs, wall_seconds, cpu_seconds, stack`` and the facts of `machine.facts`, as text.
    """
    by_size: dict[int, dict[str, Row]] = {}
    for row in rows:
        by_size.setdefault(int(row["experiments"]), {})[row["what"]] = row
    sizes = sorted(size for size, found in by_size.items() if "all" in found)
    first = rows[0]
    where = (
        f"{first['date'][:10]}, {first['cores']} cores of {first['machine']}, one thread a process, "
        f"torch {first['torch']}, stacks: {first['stack']}."
    )
    parts = [HEAD, where, _whole(by_size, sizes), STEPS, _steps(by_size, sizes), ONCE]
    return "\n\n".join([*parts, _once(by_size, sizes)]) + "\n"


def _whole(by_size: Mapping[int, Mapping[str, Row]], sizes: Sequence[int]) -> str:
    """A row a size; the last columns are the slope from the size before."""
    lines = []
    for before, size in zip([0, *sizes], sizes, strict=False):
        now = by_size[size]["all"]
        slopes = ["–", "–"]
        if before:
            old = by_size[before]["all"]
            slopes = [
                f"{(float(now[name]) - float(old[name])) / (size - before):.2f}"
                for name in ("wall_seconds", "cpu_seconds")
            ]
        own = [_seconds(now, "wall_seconds"), _seconds(now, "cpu_seconds")]
        lines.append([f"{size:,}", by_size[size]["train"]["jobs"], *own, *slopes])
    head = ["experiments", "stacks", "wall s", "CPU s", "wall s an extra experiment", "CPU s"]
    return _table(head, lines)


def _steps(by_size: Mapping[int, Mapping[str, Row]], sizes: Sequence[int]) -> str:
    named = {
        "training": ("train", "wall_seconds"),
        "judging": ("evaluate", "wall_seconds"),
        "mirror": ("track", "wall_seconds"),
        "report": ("report", "wall_seconds"),
        "Snakemake's CPU": ("snakemake", "cpu_seconds"),
        "second call": ("again", "wall_seconds"),
    }
    lines = [
        [f"{size:,}", *(_seconds(by_size[size][what], name) for what, name in named.values())]
        for size in sizes
    ]
    return _table(["experiments", *(f"{name}, s" for name in named)], lines)


def _once(by_size: Mapping[int, Mapping[str, Row]], sizes: Sequence[int]) -> str:
    lines = [
        [f"dry run of {size:,} experiments", *_both(found["dry run"])]
        for size, found in by_size.items()
        if "dry run" in found
    ]
    for size in sizes[-1:]:
        mirror = by_size[size]["mirror"]
        each = [f"{float(mirror[name]) / size:.3f}" for name in ("wall_seconds", "cpu_seconds")]
        lines.append([f"mirror of {size:,} runs, a run", *each])
        lines.append([f"report of {size:,} runs", *_both(by_size[size]["report alone"])])
    return _table(["", "wall s", "CPU s"], lines)


def _both(row: Row) -> list[str]:
    return [_seconds(row, "wall_seconds"), _seconds(row, "cpu_seconds")]


def _seconds(row: Row, name: str) -> str:
    return f"{float(row[name]):,.1f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
