"""Rows of the CSV files as tables in Markdown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

Rows = list[dict[str, str]]


def read(published: Path, name: str) -> Rows:
    """Rows of ``speed_<name>.csv``; none where it is not there."""
    path = published / f"speed_{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The first column is text, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def source(rows: Rows, name: str) -> str:
    """When, where and on what the rows were measured, and the link to them."""
    row = rows[0]
    device = "" if row["device"] == "cpu" else f"{row['device']}, "
    return (
        f"{row['date'][:10]}, {device}{row['cores']} cores of {row['machine']}, torch {row['torch']}; {row['dataset']}, "
        f"`{row['backbone']}`, batch size {row['batch']}; [speed_{name}.csv](../reports/published/speed_{name}.csv)"
    )


def number(value: str | float, digits: int = 0) -> str:
    """With separators of thousands; a dash for what a row does not have."""
    return "–" if value in ("", None) else f"{float(value):,.{digits}f}"


def throughput(rows: Rows, published: Path, kind: str) -> str:
    """Images a second; on a GPU with the memory of its tensors."""
    head = [
        "way", "experiments at a time", "streams a process", "images/s in total", "least … most", "images/s of one",
        "× usual, best", "× usual, default threads", "start-up, s", "MiB a process", "MiB in sum",
    ]  # fmt: skip
    if kind == "cuda":
        head.append("GPU MiB")
    body: list[list[str]] = []
    for row in rows:
        cells = [
            row["way"], row["experiments"], row["streams"], number(row["images_per_second"]),
            f"{number(row['lowest'])} … {number(row['highest'])}", number(row["images_per_second_of_one"], 1),
            number(row["ratio_to_best_usual"], 2), number(row["ratio_to_default_usual"], 2),
            number(row["startup_seconds"], 1), number(row["peak_mebibytes"]), number(row["peak_mebibytes_in_sum"]),
            number(row["device_mebibytes"]),
        ]  # fmt: skip
        if row.get("note"):
            cells[2:] = [row["note"], *["–"] * (len(cells) - 3)]
        body.append(cells[: len(head)])
    return table(head, body)


def jobs(rows: Rows, published: Path, kind: str) -> str:
    """The whole job; the suite's is the last row, to which the others are compared."""
    head = [
        "way", "experiments", "wall, s", "wall, s an experiment", "× suite", "start-up, s", "training, s an experiment",
        "evaluation, s an experiment", "evaluation, share", "MiB a process", "MiB in sum",
    ]  # fmt: skip
    suite = float(rows[-1]["seconds_an_experiment"])
    body = []
    for row in rows:
        count, own = int(row["experiments"]), float(row["seconds_an_experiment"])
        training, evaluation = float(row["training_seconds"]), float(row["evaluation_seconds"])
        startup = float(row["startup_seconds"])
        startups = startup * count / int(row["stack"] or 1)
        body.append([
            row["way"] + (f", stacks of {row['stack']}" if row["stack"] else ""), count, row["wall_seconds"],
            number(own, 1), number(own / suite, 1), number(startup, 1), number(training / count, 1),
            number(evaluation / count, 1), f"{evaluation / (startups + training + evaluation):.0%}",
            number(row["peak_mebibytes"]), number(row["peak_mebibytes_in_sum"]),
        ])  # fmt: skip
    epochs = int(rows[0]["epochs"])
    images = float(rows[0]["images_of_one"]) / epochs
    return f"{epochs} epochs of {images:,.0f} images an experiment.\n\n{table(head, body)}"


def quality(rows: Rows, published: Path, kind: str) -> str:
    """Both ways' metrics in percent, and the verdict."""
    head = ["metric", "usual, %", "suite, %", "difference [99 %]", "tolerance", "pairs", ""]

    def percent(row: dict[str, str], key: str, sign: str = "") -> str:
        return f"{100 * float(row[key]):{sign}.2f}"

    body = [
        [
            f"`{row['metric']}`", percent(row, "usual"), percent(row, "suite"),
            f"{percent(row, 'difference', '+')} [{percent(row, 'low', '+')}, {percent(row, 'high', '+')}]",
            percent(row, "tolerance"), row["pairs"], row["status"],
        ]
        for row in rows
    ]  # fmt: skip
    first = rows[0]
    losses = first["losses"].replace(" ", ", ")
    return f"{losses}; {first['seeds']} seeds; {first['epochs']} epochs.\n\n{table(head, body)}"


def phases(rows: Rows, published: Path, kind: str) -> str:
    """A table for each way, with the evaluation that the whole job spent on an image trained."""
    whole = read(published, f"jobs_{kind}")
    parts = []
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        total = sum(float(row["microseconds_an_image"]) for row in own)
        body = [[row["phase"], number(row["microseconds_an_image"], 1), f"{float(row['share']):.1%}"] for row in own]  # fmt: skip
        body.append(["**a step**", number(total, 1), "100.0%"])
        usual = way.startswith("usual")
        for job in [row for row in whole if row["way"].startswith("usual") == usual][:1]:
            images = int(job["experiments"]) * float(job["images_of_one"])
            spent = 1e6 * float(job["evaluation_seconds"]) / images
            name = f"evaluation, in the whole job of {job['epochs']} epochs"
            body.append([name, number(spent, 1), f"+{spent / total:.1%}"])
        shown = table(["phase", "µs an image and model", "share"], body)
        parts.append(f"{way[0].upper()}{way[1:]}; {own[0]['processes']} such processes at a time:\n\n{shown}")  # fmt: skip
    return "\n\n".join(parts)


def floor(rows: Rows, published: Path, kind: str) -> str:
    """The floor beside the fastest stack of the same machine."""
    head = [
        "products in", "MFLOP an image", "kB an image", "GFLOP/s", "GB/s", "arithmetic, µs", "bytes, µs",
        "floor, images/s", "measured, images/s", "measured / floor, time", "achieved, GFLOP/s", "of the ceiling",
    ]  # fmt: skip
    measured = [
        float(row["images_per_second"])
        for row in read(published, f"throughput_{kind}")
        if row["kind"] == "suite" and row["images_per_second"]
    ]
    body = []
    for row in rows:
        cells = [
            row["precision"], number(row["megaflop_an_image"], 2), number(row["kilobytes_an_image"], 1),
            number(row["gigaflops"]), number(row["gigabytes_per_second"], 1), number(row["arithmetic_microseconds"], 3),
            number(row["bytes_microseconds"], 3), number(row["floor_images_per_second"]),
        ]  # fmt: skip
        if measured:
            best = max(measured)
            achieved = best * float(row["megaflop_an_image"]) / 1e3
            ratio = float(row["floor_images_per_second"]) / best
            share = achieved / float(row["gigaflops"])
            cells += [number(best), number(ratio, 1), number(achieved, 1), f"{share:.0%}"]
        else:
            cells += ["not measured", "–", "–", "–"]
        body.append(cells)
    return table(head, body)


def variants(rows: Rows, published: Path, kind: str) -> str:
    """What was tried, beside the first variant."""
    head = ["variant", "µs an image and model", "× the first", "why not"]
    body = [
        [row["variant"], number(row["microseconds_an_image"], 1), number(row["ratio_to_plain"], 2), row.get("note", "")]
        for row in rows
    ]  # fmt: skip
    return f"Forward and backward pass of the net; {rows[0]['models']} nets where there are several.\n\n{table(head, body)}"
