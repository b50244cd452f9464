"""The summary in words: grammar for one, two and many, and no claim without a test."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reports.collect import Study, collect
from reports.selection import select
from reports.statistics.comparison import paired_difference
from reports.statistics.correlation import spearman
from reports.tables.baseline import gains
from reports.words.findings import findings
from reports.words.grammar import joined
from tests.reports.fake_results import write_tree

Values = dict[str, tuple[float, ...]]


def study_of(folder: Path, closed: Values, *, open_set: bool = True) -> Study:
    """A study of these losses by default, closed-set top-1 as given, EER its complement."""
    tree = write_tree(
        folder,
        grid={loss: {} if loss == "softmax" else {"margin": [0.3]} for loss in closed},
        seeds=len(next(iter(closed.values()))),
        open_set=open_set,
        values=lambda loss, _, seed: (closed[loss][seed], 1 - closed[loss][seed]),
        fates=lambda *_: ("finished", None),
    )
    return collect(tree.plan, tree.runs)


def said(study: Study) -> list[str]:
    return findings(study, select(study))


def test_the_best_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    study = study_of(
        tmp_path,
        {
            "softmax": (0.90, 0.91, 0.92),
            "cosface": (0.951, 0.949, 0.971),
            "arcface": (0.95, 0.96, 0.97),
        },
    )
    lines = said(study)
    # Student t of (0.95, 0.96, 0.97): 4.303 · 0.01 / √3.
    assert lines[0].startswith(
        "Closed-set top-1 (classifier): ArcFace m=0.3 has the best mean, 96.0 ± 2.5 % (n = 3). "
        "CosFace m=0.3 cannot be told from it. Softmax is distinguishably worse, by 5.0"
    )
    assert any(
        line.startswith("Open-set EER: ArcFace m=0.3 has the best mean, 4.0") for line in lines
    )


def test_what_beats_softmax_and_by_how_much(tmp_path: Path) -> None:
    closed = {
        "softmax": (0.90, 0.91, 0.92, 0.93),
        "arcface": (0.951, 0.959, 0.972, 0.979),
        "cosface": (0.880, 0.9301, 0.905, 0.950),
        "center": (0.85, 0.861, 0.869, 0.88),
    }
    study = study_of(tmp_path, closed)
    line = next(each for each in said(study) if "beats plain softmax in closed-set" in each)
    gap = [a - s for a, s in zip(closed["arcface"], closed["softmax"], strict=True)]
    found = paired_difference(closed["arcface"], closed["softmax"])
    assert f"{100 * sum(gap) / 4:.2f} ± {100 * found.interval.half:.2f} points" in line
    assert line.startswith("ArcFace m=0.3 (by ")
    assert re.search(r"p (=|<) 0\.\d+\) beats plain softmax", line)
    assert "; CosFace m=0.3 cannot be told from it" in line
    assert line.endswith("; Center loss m=0.3 is worse.") or line.endswith(
        "; Center loss is worse."
    )


def test_gains_are_corrected_over_the_losses(tmp_path: Path) -> None:
    closed = {
        "softmax": (0.90, 0.91, 0.92, 0.93),
        "arcface": (0.951, 0.959, 0.972, 0.979),
        "cosface": (0.90, 0.9301, 0.915, 0.950),
    }
    study = study_of(tmp_path, closed)
    found = {each.cell: each for each in gains(study, "closed_set/top1", select(study).cells)}
    raw = {
        loss: paired_difference(closed[loss], closed["softmax"]).p
        for loss in ("arcface", "cosface")
    }
    by_loss = {cell.split()[0]: each for cell, each in found.items()}
    assert by_loss["arcface"].p == pytest.approx(2 * raw["arcface"])  # Holm: the smaller of two
    assert by_loss["cosface"].p == pytest.approx(max(raw["cosface"], 2 * raw["arcface"]))
    assert (by_loss["arcface"].verdict, by_loss["cosface"].verdict) == (
        "better",
        "indistinguishable",
    )


def test_whether_both_worlds_agree(tmp_path: Path) -> None:
    steps = (0.90, 0.92, 0.95, 0.93, 0.97, 0.91)
    grid = {"arcface": {"margin": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}}
    eers = dict(zip(grid["arcface"]["margin"], (0.10, 0.08, 0.03, 0.06, 0.05, 0.09), strict=True))
    tops = dict(zip(grid["arcface"]["margin"], steps, strict=True))
    tree = write_tree(
        tmp_path,
        grid=grid,
        seeds=3,
        values=lambda _, setting, seed: (
            tops[setting["margin"]] + seed / 1e4,
            eers[setting["margin"]] + seed / 1e5,
        ),
        fates=lambda *_: ("finished", None),
    )
    lines = said(collect(tree.plan, tree.runs))
    found = spearman(steps, [-eer for eer in eers.values()])
    text = f"ρ = {found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")
    line = next(each for each in lines if "open-set EER correlate" in each)
    assert text in line
    assert "over the means of 6 settings" in line
    assert line.endswith("tends to be better on unknown ones.")
    assert any("open-set TAR at FAR = 1e-3 correlate" in each for each in lines)
    # The sweep: 0.3 has the best EER, and with equal gaps over seeds all others are worse.
    assert "ArcFace: the best open-set EER of 6 settings is 3.0" in "\n".join(lines)


def test_settings_of_one_loss_do_not_speak_for_the_losses(tmp_path: Path) -> None:
    """Twelve settings of ArcFace agree in both worlds; the five losses that are compared do not."""
    others = {"softmax": (0.97, 0.08), "cosface": (0.96, 0.10), "triplet": (0.95, 0.06)}
    others["norm_softmax"] = (0.94, 0.09)
    grid = {loss: {} for loss in others}
    tree = write_tree(
        tmp_path,
        grid={**grid, "arcface": {"margin": [k / 20 for k in range(1, 13)]}},
        seeds=3,
        values=lambda loss, setting, seed: (
            others[loss] if loss in others else (0.93 - setting["margin"], 0.1 + setting["margin"])
        ),
        fates=lambda *_: ("finished", None),
    )
    line = next(
        each for each in said(collect(tree.plan, tree.runs)) if "open-set EER correlate" in each
    )
    # ArcFace m=0.05 is worst in both; the others stand 1, 2, 3, 4 there and 2, 4, 1, 3 here.
    truth = spearman([1, 2, 3, 4, 5], [2, 4, 1, 3, 5])
    assert "over the means of 16 settings" in line
    own = f"ρ = {truth.rho:.2f} [{truth.low:.2f}, {truth.high:.2f}]".replace("-", "−")
    assert f"{own} over the 5 compared ones alone" in line
    assert line.endswith("the interval includes zero, this study cannot tell.")


def test_one_run_without_a_result(tmp_path: Path) -> None:
    tree = write_tree(
        tmp_path,
        grid={"softmax": {}},
        seeds=3,
        fates=lambda *a: ("failed", "no") if a[2] == 1 else ("finished", None),
    )
    assert "1 of 3 runs has no result: 1 failed." in said(collect(tree.plan, tree.runs))


def test_lists_of_names() -> None:
    assert joined([]) == ""
    assert joined(["A"]) == "A"
    assert joined(["A", "B"]) == "A and B"
    assert joined(list("ABCDEFGH")) == "A, B, C, D, E, F and 2 more"


def test_warnings_of_the_plan_are_said(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "cosface": {"margin": [0.2]}}, seeds=2)
    plan = json.loads(tree.plan.read_text())
    texts = [f"cosface: margin {number} cannot be satisfied" for number in range(9)]
    plan["warnings"] = [
        {"loss": "cosface", "hyperparameters": {"margin": 0.2}, "warning": text}
        for text in [*texts, texts[0]]
    ]
    tree.plan.write_text(json.dumps(plan))
    lines = said(collect(tree.plan, tree.runs))
    assert [line for line in lines if "cannot be satisfied" in line] == [
        f"Warning of the plan: {text}." for text in texts[:6]
    ]
    assert "3 more such warnings stand in plan.json." in lines


def test_worse_is_said_of_one_and_of_all(tmp_path: Path) -> None:
    one = {"softmax": (0.90, 0.91, 0.92), "arcface": (0.95, 0.961, 0.97)}
    lines = said(study_of(tmp_path / "one", one, open_set=False))
    assert "(n = 3). Softmax is distinguishably worse, by 5.03 ± " in lines[0]
    assert any("no open-set result" in line for line in lines)
    lines = said(study_of(tmp_path / "all", {**one, "cosface": (0.88, 0.8901, 0.90)}))
    assert lines[0].endswith("Both others are distinguishably worse, by 5.0 to 7.0 points.")
