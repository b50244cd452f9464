"""The budget of tuning: the proof that every loss had the same, or who had not and why."""

from __future__ import annotations

import pandas as pd

from reports.collect import Study
from reports.summary import loss_title
from reports.tables.table import Column, Entry, Table
from reports.tuning.plan import searches, trials

SHOWN_REASONS = 6


def budget(study: Study) -> Table:
    """What tuning cost each loss, with the losses that were not tuned."""
    tuning = study.tuning or {}
    frame, found = trials(tuning), searches(tuning)
    most = frame.groupby("loss")["images"].sum().max() if len(frame) else 0
    rows: list[list[Entry]] = []
    for loss in study.losses:
        mine, own = frame[frame["loss"] == loss], found[found["loss"] == loss]
        if len(own) == 0:
            rows.append([loss_title(loss), 0, *["–"] * 11, "not tuned"])
            continue
        counts = mine["status"].value_counts()
        trained = mine.loc[mine["epochs"] > 0, "epochs"]
        images = int(mine["images"].sum())
        rows.append(
            [
                loss_title(loss),
                len(own),
                len(mine),
                int((mine["origin"] != "sampler").sum()),
                int(counts.get("complete", 0)),
                int(counts.get("stopped", 0)),
                int(counts.get("failed", 0)),
                int(mine["diverged"].sum()),
                int(tuning["rounds"]),
                _range(trained),
                images,
                f"{100 * images / most:.1f}" if most else "–",
                "–" if mine["seconds"].isna().any() else round(float(mine["seconds"].sum()), 1),
                ", ".join(
                    dict.fromkeys(
                        name.replace("_", " ") for names in own["parameters"] for name in names
                    )
                ),
            ]
        )
    columns = [
        Column("loss", "Loss"),
        Column("searches", "Searches", "independent, each from nothing", True),
        Column("trials", "Trials", "asked for, all searches together", True),
        Column("given", "Given", "of them defaults and presets, not asked of the sampler", True),
        Column("complete", "Complete", "trained to the end and judged", True),
        Column("stopped", "Stopped", "by successive halving", True),
        Column("failed", "Failed", "without a value", True),
        Column("diverged", "Diverged", "of the failed", True),
        Column("rounds", "Rounds", "of a search", True),
        Column("epochs", "Epochs", "of a trial", True),
        Column("images", "Images", "trained on, all trials together", True),
        Column("images_share", "% of most", "images, of the loss with the most", True),
        Column("seconds", "Time (s)", "training time", True),
        Column("parameters", "Tuned"),
    ]
    caption = (
        f"What tuning cost each loss. {budget_sentence(study)} The default of its paper is the first "
        "trial of every search. Trials are judged on validation images; no trial has seen a test "
        "image."
    )
    return Table("tuning", "Budget", caption, columns, rows, _reasons(frame))


def budget_sentence(study: Study) -> str:
    """Whether all tuned losses had the same budget, and who did not and why."""
    frame = trials(study.tuning or {})
    asked = frame.groupby("loss", sort=False)["number"].size()
    images = frame.groupby("loss", sort=False)["images"].sum()
    count = f"{len(asked)} tuned loss{'es' if len(asked) > 1 else ''}"
    if asked.nunique() > 1:
        each = "; ".join(f"{loss_title(str(loss))} {n}" for loss, n in asked.items())
        return f"The {count} were not asked for equally many trials: {each}."
    text = f"{'All' if len(asked) > 1 else 'The'} {count} had {asked.iloc[0]:,} trials"
    if images.nunique() == 1:
        return f"{text} and trained on {int(images.iloc[0]):,} images: equal budgets."
    most = images.max()
    fewer: dict[str, list[str]] = {}
    for loss, own in images[images < most].items():
        why = _shortfall(frame[frame["loss"] == loss], frame[frame["loss"] == images.idxmax()])
        fewer.setdefault(f"{100 * own / most:.1f} %: {why}", []).append(loss_title(str(loss)))
    texts = [f"{', '.join(losses)} ({why})" for why, losses in fewer.items()]
    return (
        f"{text}. The most images that one of them trained on are {int(most):,}; fewer: "
        f"{'; '.join(texts)}."
    )


def _shortfall(mine: pd.DataFrame, most: pd.DataFrame) -> str:
    """Why a loss trained on fewer images than the one with the most."""
    failed, stopped = ((mine["status"] == status).sum() for status in ("failed", "stopped"))
    reasons = [f"{failed} trial{'s' if failed > 1 else ''} failed"] if failed else []
    if stopped > (most["status"] == "stopped").sum():
        reasons.append(f"{stopped} stopped early")
    return ", ".join(reasons) or "its epochs have fewer images (sampler or batch size)"


def _reasons(frame: pd.DataFrame) -> list[str]:
    """Why trials failed, a line for each kind of reason (numbers apart), the most frequent first."""
    lost = frame[frame["status"] == "failed"].fillna({"reason": "no reason is on record"})
    kinds = lost["reason"].str.replace(r"\d[\d,]*", "#", regex=True)
    groups = sorted(lost.groupby(kinds, sort=False), key=lambda item: -len(item[1]))
    lines = []
    for _, own in groups[:SHOWN_REASONS]:
        by_loss = own.groupby("loss", sort=False).size()
        who = ", ".join(f"{loss_title(str(loss))} {count}" for loss, count in by_loss.items())
        lines.append(
            f"{len(own)} trial{'s' if len(own) > 1 else ''} failed ({who}): {own['reason'].iloc[0]}"
            f"{' (or with other numbers)' if own['reason'].nunique() > 1 else ''}"
        )
    more = len(groups) - len(lines)
    return lines + ([f"{more} more reasons stand in tuning/trials.csv"] if more > 0 else [])


def _range(values: pd.Series) -> str:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    return str(high) if low == high else f"{low} to {high}"
