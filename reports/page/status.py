"""What a reader must know before anything else: that runs are missing, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.collect import STATUSES, Study
from reports.words.grammar import counted

REASONS = 3  # shown; the others stand in the table of failures


@dataclass(frozen=True)
class Notice:
    """The box at the top of a page.

    Attributes
    ----------
    title : one line.
    reasons : (how many runs, status, reason), most frequent first.
    more : further reasons that are not shown.
    steps : (what for, what to type; empty: nothing to type).
    """

    title: str
    reasons: list[tuple[int, str, str]]
    more: int
    steps: list[tuple[str, str]]


def notice(study: Study) -> Notice | None:
    """What is wrong with a study; None where every run has a result that was evaluated."""
    frame = study.frame
    evaluated = frame[list(study.metrics)].notna().any(axis=1)
    left = frame[~evaluated]
    if len(left) == 0:
        return None
    total = len(frame)
    if len(left) == total:
        which = "its only run" if total == 1 else f"none of its {total} runs"
        title = (
            f"There is nothing to compare: {which} has {'no' if total == 1 else 'an'} evaluated "
            "result. The page shows what is known."
        )
    else:
        have = "has" if len(left) == 1 else "have"
        title = (
            f"{len(left)} of {counted(total, 'run')} {have} no evaluated result. Tables and "
            "figures show what there is; n says how many seeds stand behind a number."
        )
    kinds = left.groupby(["status", "reason"], sort=False, dropna=False).size()
    ordered = sorted(
        kinds.items(), key=lambda item: (-item[1], STATUSES.index(item[0][0]), str(item[0][1]))
    )
    reasons = [
        (int(count), str(status).replace("_", " "), "" if reason != reason else str(reason))
        for (status, reason), count in ordered
    ]
    return Notice(title, reasons[:REASONS], max(len(reasons) - REASONS, 0), _steps(study, left))


def _steps(study: Study, left: pd.DataFrame) -> list[tuple[str, str]]:
    name = study.plan["study"]
    go_on = f"snakemake --cores all --configfile config/{name}.yaml"
    statuses = set(left["status"])
    steps = []
    if statuses & {"missing", "failed", "out_of_memory", "finished"}:
        steps.append(
            ("Go on where it stopped (with the study's own file); finished runs are kept:", go_on)
        )
    if "missing" in statuses:
        steps.append(
            ("If Snakemake has nothing to do but runs are missing:", f"{go_on} --forcerun train")
        )
    if "failed" in statuses:
        steps.append((f"Why a run failed: the logs in results/{name}/logs.", ""))
    if "out_of_memory" in statuses:
        steps.append(("With smaller stacks, for less memory:", f"{go_on} --config stack_size=1"))
    if "diverged" in statuses:
        steps.append(
            (
                "A diverged run is a result and would diverge again: take smaller margins, scales "
                "or learning rates into the study.",
                "",
            )
        )
    return steps
