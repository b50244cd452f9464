"""What workers found, as rows of the CSV files. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.speed.processes import Job
from benchmarks.speed.quality import Verdict
from benchmarks.speed.task import Task

Row = dict[str, Any]


def phases(name: str, found: Sequence[Job], task: Task) -> list[Row]:
    """Means over the processes that were measured at the same time."""
    own = [item["microseconds"] for item in found]
    means = {part: sum(item[part] for item in own) / len(own) for part in own[0]}
    return [
        {
            "way": name, "processes": len(found), "phase": part, "microseconds_an_image": round(mean, 2),
            "share": round(mean / sum(means.values()), 3), **_task(task),
        }
        for part, mean in means.items()
    ]  # fmt: skip


def floor(found: Sequence[Job], task: Task) -> list[Row]:
    """One row for each precision: the work of an image, the rates of all processes together, and what follows."""
    work = found[0]["work"]
    moved = sum(item["bytes_per_second"] for item in found)
    rows = []
    for precision in found[0]["flops"]:
        rate = sum(item["flops"][precision] for item in found)
        arithmetic, transfer = work["flop"] / rate, work["bytes"] / moved
        rows.append({
            "precision": precision, "processes": len(found), **_task(task), "classes": work["classes"],
            "megaflop_an_image": round(work["flop"] / 1e6, 4), "kilobytes_an_image": round(work["bytes"] / 1e3, 1),
            "gigaflops": round(rate / 1e9, 1), "gigabytes_per_second": round(moved / 1e9, 1),
            "arithmetic_microseconds": round(1e6 * arithmetic, 4), "bytes_microseconds": round(1e6 * transfer, 4),
            "floor_images_per_second": round(1 / max(arithmetic, transfer)),
        })  # fmt: skip
    return rows


def variants(found: Job, models: int, task: Task) -> list[Row]:
    """Each variant beside the first, and those that did not run with the reason."""
    times: dict[str, float] = found["microseconds"]
    plain = next(iter(times.values()))
    common = {"models": models, **_task(task)}
    rows: list[Row] = [
        {"variant": name, "microseconds_an_image": round(own, 2), "ratio_to_plain": round(own / plain, 3), **common}
        for name, own in times.items()
    ]  # fmt: skip
    return [*rows, *({"variant": name, "note": note, **common} for name, note in found["notes"].items())]  # fmt: skip


def quality(verdicts: Sequence[Verdict], losses: Sequence[str], seeds: int, task: Task) -> list[Row]:  # fmt: skip
    """The verdict on each metric."""
    common = {"losses": " ".join(losses), "seeds": seeds, "epochs": task.epochs, **_task(task)}
    return [{**asdict(verdict), **common} for verdict in verdicts]


def _task(task: Task) -> Row:
    return {"dataset": task.dataset, "backbone": task.backbone, "batch": task.batch_size}
