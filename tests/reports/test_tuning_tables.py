"""The tables, findings and page of tuning, against numbers worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from reports.collect import Study, collect
from reports.figures import Saved
from reports.page.writing import write_page
from reports.selection import select
from reports.tables.render import to_csv, to_latex, to_markdown
from reports.tables.results import all_tables
from reports.tables.table import Table
from reports.tuning.budget import budget_sentence
from reports.tuning.effect import agreement, changes
from reports.tuning.plan import arm_order, optima, position, trials
from reports.words.findings import findings
from tests.reports.fake_results import write_json
from tests.reports.fake_tuning import EPOCH_IMAGES, EPOCHS, TRIALS, write_tuned
from tests.reports.test_page import check_page

NAMES = ("default_vs_tuned", "tuning", "tuning_luck", "optima")


def known(loss: str, settings: Mapping[str, float], seed: int) -> tuple[float, float]:
    """Better by 3 points where the first seed's winner of a margin loss is, with seed noise."""
    noise = (0.000, 0.004, -0.002, 0.001)[seed]
    gain = {0.3: 0.03, 0.6: 0.001 * (-1) ** seed}.get(settings.get("margin", 0.0), 0.0)
    base = {"softmax": 0.10, "cosface": 0.12, "arcface": 0.11}[loss]
    return 0.9 + gain + noise, base - gain - noise + 0.0001 * seed * (gain > 0)


def finished(*_: object) -> tuple[str, None]:
    return "finished", None


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("tables")
    tree = write_tuned(folder, seeds=4, values=known, fates=finished)
    return collect(tree.plan, tree.runs)


@pytest.fixture(scope="module")
def tables(study: Study) -> dict[str, Table]:
    return {table.name: table for table in all_tables(study, select(study))}


def rows_of(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def test_a_study_without_tuning_has_none_of_it(tmp_path: Path, study: Study) -> None:
    tree = write_tuned(tmp_path, seeds=2)
    plan = json.loads(tree.plan.read_text())
    write_json(tree.plan, {**plan, "tuning": None})
    plain = collect(tree.plan, tree.runs)
    assert "arm" not in plain.frame
    names = [table.name for table in all_tables(plain, select(plain))]
    assert not set(NAMES) & set(names)
    assert set(NAMES) < {table.name for table in all_tables(study, select(study))}


def test_budget_of_each_loss(tables: dict[str, Table]) -> None:
    rows = {row["loss"]: row for row in rows_of(tables["tuning"])}
    counts = ("searches", "trials", "complete", "stopped", "failed", "diverged", "epochs")
    assert [rows["Softmax"][key] for key in counts] == ["2", "18", "18", "0", "0", "0", "6"]
    assert [rows["ArcFace"][key] for key in counts] == ["2", "18", "16", "1", "1", "1", "3 to 6"]
    assert [rows["CosFace"][key] for key in counts] == ["2", "18", "7", "1", "10", "1", "3 to 6"]
    whole = 2 * TRIALS * EPOCHS * EPOCH_IMAGES
    # One trial stopped half way, one diverged after one epoch of six.
    less = whole - (EPOCHS - 3 + EPOCHS - 1) * EPOCH_IMAGES
    assert [int(rows[loss]["images"]) for loss in ("Softmax", "ArcFace")] == [whole, less]
    assert float(rows["ArcFace"]["images_share"]) == pytest.approx(100 * less / whole, abs=0.05)
    assert float(rows["ArcFace"]["seconds"]) == 18 * 4.5
    assert rows["ArcFace"]["parameters"] == "margin, scale, learning rate, weight decay"
    notes = "\n".join(tables["tuning"].notes)
    assert "9 trials failed (CosFace 9): RuntimeError: no class weight moved" in notes
    assert "2 trials failed (CosFace 1, ArcFace 1): loss not finite in epoch 2" in notes


def test_who_had_another_budget_is_named(study: Study, tmp_path: Path) -> None:
    text = budget_sentence(study)
    assert "All 3 tuned losses had 18 trials." in text
    assert "CosFace (92.6 %: 10 trials failed, 1 stopped early)" in text
    assert "Softmax" not in text
    tree = write_tuned(tmp_path, seeds=1, losses=("softmax", "triplet"), failed=())
    plan = json.loads(tree.plan.read_text())
    for search in plan["tuning"]["searches"]:
        for trial in search["trials"]:
            trial |= {"images": 100, "status": "complete"}
    write_json(tree.plan, plan)
    equal = collect(tree.plan, tree.runs)
    assert budget_sentence(equal) == (
        "All 2 tuned losses had 18 trials and trained on 1,800 images: equal budgets."
    )
    plan["tuning"]["searches"][0]["trials"][0]["images"] = 50
    write_json(tree.plan, plan)
    assert "Softmax (97.2 %: its epochs have fewer images" in budget_sentence(
        collect(tree.plan, tree.runs)
    )
    del plan["tuning"]["searches"][3]
    write_json(tree.plan, plan)
    assert budget_sentence(collect(tree.plan, tree.runs)) == (
        "The 2 tuned losses were not asked for equally many trials: Softmax 18; Triplet 9."
    )


def test_default_against_tuned_by_hand(study: Study, tables: dict[str, Table]) -> None:
    rows = {(row["metric"], row["loss"]): row for row in rows_of(tables["default_vs_tuned"])}
    assert len(rows) == 3 * 3
    cells = {"CosFace": "cosface tuned 1", "ArcFace": "arcface tuned 2"}
    raw = {}
    for loss, cell in cells.items():
        default, tuned = study.by_seed("verification/eer", [f"{loss.lower()} default", cell])
        row, gaps = rows["EER", loss], tuned - default
        assert float(row["difference"]) == pytest.approx(gaps.mean(), rel=1e-6)
        assert float(row["default"]) == pytest.approx(default.mean())
        assert float(row["tuned"]) == pytest.approx(tuned.mean())
        raw[loss] = stats.ttest_1samp(gaps, 0).pvalue
        assert float(row["p"]) == pytest.approx(raw[loss], rel=1e-6)
        half = stats.t.ppf(0.975, 3) * gaps.std(ddof=1) / 2
        assert float(row["difference_ci95"]) == pytest.approx(half, rel=1e-6)
    # Holm over the two losses that were compared; Softmax, whose winner is its default, is none.
    assert float(rows["EER", "ArcFace"]["p_holm"]) == pytest.approx(2 * raw["ArcFace"], rel=1e-6)
    assert float(rows["EER", "CosFace"]["p_holm"]) == pytest.approx(raw["CosFace"], rel=1e-6)
    verdicts = {loss: rows["EER", loss]["verdict"] for loss in ("Softmax", "CosFace", "ArcFace")}
    assert verdicts == {
        "Softmax": "same setting",
        "CosFace": "indistinguishable",
        "ArcFace": "better",
    }
    assert rows["Top-1", "ArcFace"]["verdict"] == "better"  # higher is better there
    assert rows["EER", "Softmax"]["difference"] == rows["EER", "Softmax"]["p"] == ""
    assert rows["EER", "CosFace"]["difference_mark"] == "indistinguishable"
    assert [rows["EER", "ArcFace"][key] for key in ("search", "default_rank", "tuned_rank")] == [
        "2",
        "2",
        "1",
    ]
    assert rows["EER", "CosFace"]["tuned_2"] == ""  # its second search failed
    assert float(rows["EER", "ArcFace"]["tuned_1"]) == pytest.approx(
        study.by_seed("verification/eer", ["arcface tuned 1"]).mean()
    )


def test_worse_and_too_few_seeds(tmp_path: Path) -> None:
    def values(_: str, settings: Mapping[str, float], seed: int) -> tuple[float, float]:
        loss = 0.03 * (settings.get("margin") == 0.3)
        return 0.9 - loss - 0.001 * seed, 0.1 + loss + 0.001 * seed * (1 + loss)

    for seeds, verdict in ((4, "worse"), (2, "too few seeds")):
        tree = write_tuned(tmp_path / verdict, seeds=seeds, values=values, fates=finished)
        study = collect(tree.plan, tree.runs)
        chosen = select(study)
        chosen.cells[chosen.cells.index("arcface tuned 1")] = "arcface tuned 2"
        for name in ("verification/eer", "closed_set/top1"):
            found = {each.loss: each for each in changes(study, chosen, name)}
            assert found["arcface"].verdict == verdict


def test_ranks_over_common_losses_and_their_agreement(tmp_path: Path) -> None:
    losses = ["softmax", "norm_softmax", "cosface", "arcface", "triplet", "supcon"]
    eer = dict(zip(losses, (0.1, 0.1, 0.12, 0.13, 0.14, 0.09), strict=True))

    def values(loss: str, settings: Mapping[str, float], seed: int) -> tuple[float, float]:
        tuned = settings["learning_rate"] != 0.1
        return 0.9, eer[loss] + 0.001 * seed - 0.035 * (tuned and loss == "triplet")

    def fates(loss: str, *_: object) -> tuple[str, str | None]:
        return ("diverged", "not finite") if loss == "supcon" else ("finished", None)

    tree = write_tuned(
        tmp_path, losses=losses, searches=1, seeds=3, failed=(), values=values, fates=fates
    )
    study = collect(tree.plan, tree.runs)
    found = changes(study, select(study), "verification/eer")
    assert [each.default_rank for each in found[:5]] == [1.5, 1.5, 3, 4, 5]
    assert [each.compared_rank for each in found[:5]] == [1.5, 1.5, 4, 5, 3]
    assert np.isnan(found[5].default_rank)
    assert found[5].verdict == "no value"
    expected = stats.spearmanr([1.5, 1.5, 3, 4, 5], [1.5, 1.5, 4, 5, 3]).statistic
    assert agreement(found).rho == pytest.approx(expected)
    lines = [line for line in findings(study, select(study)) if "rank by default" in line]
    assert len(lines) == 1
    assert f"{expected:.2f}" in lines[0]


def test_optima_by_hand(study: Study, tables: dict[str, Table]) -> None:
    rows = {
        (row["loss"], row["search"], row["parameter"]): row for row in rows_of(tables["optima"])
    }
    assert len(rows) == 2 * 2 + 4 + 2 * 4  # nothing of CosFace's failed search
    margin = rows["ArcFace", "1", "margin"]
    assert [margin[key] for key in ("low", "high", "scale", "default", "tuned", "position")] == [
        "0",
        "0.8",
        "linear",
        "0.5",
        "0.8",
        "100",
    ]
    assert margin["note"] == "on the upper bound, range extended, default out of range"
    rate = rows["Softmax", "1", "learning rate"]  # log10: 0.1 is two thirds from 1e-3 to 1
    assert [rate[key] for key in ("scale", "position", "note")] == ["log", "67", ""]
    assert rows["ArcFace", "2", "scale"]["position"] == "60"  # log2(32 / 4) / log2(128 / 4)
    assert position(0.2, 0.0, 0.8, log=False) == pytest.approx(0.25)
    frame = optima(study.tuning or {})
    assert frame["bound"].ne("").sum() == 2
    assert sorted(["tuned 10", "around", "tuned 2", "default"], key=arm_order) == [
        "default",
        "tuned 2",
        "tuned 10",
        "around",
    ]


def test_a_bound_of_the_loss_is_told_from_one_of_the_search(tmp_path: Path) -> None:
    tree = write_tuned(tmp_path, seeds=1)
    plan = json.loads(tree.plan.read_text())
    for search in plan["tuning"]["searches"]:
        search["space"][0]["legal_high"] = search["space"][0]["high"]
    write_json(tree.plan, plan)
    study = collect(tree.plan, tree.runs)
    table = {table.name: table for table in all_tables(study, select(study))}["optima"]
    notes = [row["note"] for row in rows_of(table) if "bound" in row["note"]]
    assert notes
    assert all(note.startswith("on the upper bound (no wider range is legal)") for note in notes)
    lines = [line for line in findings(study, select(study)) if line.startswith("On a bound")]
    assert "(the end of what is legal)" in lines[0]
    assert "might do better" not in lines[0]


def test_luck_of_a_search_by_hand(study: Study, tables: dict[str, Table]) -> None:
    rows = {(row["loss"], row["search"]): row for row in rows_of(tables["tuning_luck"])}
    assert {loss for loss, _ in rows} == {"Softmax", "ArcFace"}  # CosFace has one winner
    values = study.by_seed("verification/eer", ["arcface tuned 1", "arcface tuned 2"])
    column = "verification/eer"
    assert float(rows["ArcFace", "tuned 1"][column]) == pytest.approx(values[0].mean())
    assert float(rows["ArcFace", "tuned 2"]["found"]) == 0.05
    between, within = (rows["ArcFace", f"SD between {what}"] for what in ("searches", "seeds"))
    assert float(between[column]) == pytest.approx(values.mean(axis=1).std(ddof=1))
    assert float(within[column]) == pytest.approx(np.sqrt(values.var(axis=1, ddof=1).mean()))
    assert float(between["found"]) == pytest.approx(abs(0.06 - 0.05) / np.sqrt(2))
    assert within["found"] == ""


def test_failed_searches_are_among_the_runs_without_a_result(tables: dict[str, Table]) -> None:
    assert [list(row.values()) for row in rows_of(tables["failures"])] == [
        ["cosface tuned 2", "–", "search failed", "all 9 trials failed", "cosface-2-0a1b2c3d4e"]
    ]


def test_findings_in_words(study: Study) -> None:
    lines = findings(study, select(study))
    assert (
        "What tuning changed in open-set EER: 1 of 3 losses is distinguishably better than by "
        "default (ArcFace), 1 not distinguishable (CosFace), 1 with the default as the winner "
        "(Softmax)."
    ) in lines
    assert (
        "On a bound of the range that was searched: CosFace tuned 1 margin 0.6; ArcFace tuned 1 "
        "margin 0.8; a wider range might do better."
    ) in lines
    assert "CosFace: 1 of 2 searches failed (all 9 trials failed)." in lines
    assert "2 of 54 trials diverged: CosFace 1, ArcFace 1." in lines
    assert any(
        "By open-set EER Softmax has the best mean by default, ArcFace tuned" in line
        for line in lines
    )


def test_a_loss_without_any_search_result_is_never_dropped(tmp_path: Path) -> None:
    failed = [("cosface", 1), ("cosface", 2)]
    tree = write_tuned(tmp_path, seeds=3, failed=failed, values=known, fates=finished)
    study = collect(tree.plan, tree.runs)
    chosen = select(study)
    assert (
        "CosFace: 2 of 2 searches failed (all 9 trials failed); its default stands in the "
        "comparison."
    ) in findings(study, chosen)
    tables = {table.name: table for table in all_tables(study, chosen)}
    assert [row["cell"] for row in rows_of(tables["failures"])] == [
        "cosface tuned 1",
        "cosface tuned 2",
    ]
    rows = {(r["metric"], r["loss"]): r for r in rows_of(tables["default_vs_tuned"])}
    assert rows["EER", "CosFace"]["verdict"] == "not tuned"
    assert rows["EER", "CosFace"]["tuned"] == rows["EER", "CosFace"]["default"] != ""
    assert rows_of(tables["tuning"])[1]["failed"] == "18"


def test_trials_as_rows(study: Study) -> None:
    frame = trials(study.tuning or {})
    assert len(frame) == 3 * 2 * TRIALS
    assert frame.groupby("search")["winner"].sum().tolist() == [1, 1, 1, 0, 1, 1]
    assert frame.loc[frame["status"] != "complete", "value"].isna().all()


@pytest.mark.parametrize("name", NAMES)
def test_every_format_can_be_read(tables: dict[str, Table], name: str) -> None:
    table = tables[name]
    text = to_latex(table)
    assert "?" not in text
    rows = re.findall(r"^(.*) \\\\$", text, flags=re.MULTILINE)
    assert len(rows) == 1 + len(table.rows)
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(table.columns)}
    assert to_markdown(table).count("\n| ") == 2 + len(table.rows)
    assert "nan" not in to_csv(table) + to_markdown(table)


def test_page_has_a_section_of_tuning(
    study: Study, tables: dict[str, Table], tmp_path: Path
) -> None:
    figures = []
    for name in ("seeds", "tuning_history"):
        (tmp_path / "figures").mkdir(exist_ok=True)
        for suffix in ("png", "pdf", "csv"):
            Image.new("L", (4, 4)).save(tmp_path / "figures" / f"{name}.png")
            (tmp_path / "figures" / f"{name}.{suffix}").touch()
        alt = f"A grey square in the place of the figure {name}"
        figures.append(
            Saved(
                name,
                tmp_path / "figures",
                "Tuning" if name.startswith("tuning") else "Curves",
                name,
                "Caption.",
                alt,
                3.5,
                ("png",),
            )
        )
    for table in tables.values():
        for suffix in table.formats:
            (tmp_path / "tables").mkdir(exist_ok=True)
            (tmp_path / "tables" / f"{table.name}.{suffix}").touch()
    page = write_page(study, select(study), list(tables.values()), figures, tmp_path, "make it")
    text = check_page(tmp_path)
    sections = dict(
        re.findall(r'<section id="(\w+)"[^>]*>(.*?)</section>', page.read_text(), re.DOTALL)
    )
    assert "figure-tuning_history" in sections["tuning"]
    assert "figure-seeds" in sections["figures"]
    assert "tuning_history" not in sections["figures"]
    for name in ("tuning", "tuning_luck", "optima", "default_vs_tuned-1"):
        assert f'id="table-{name}"' in sections["tuning"]
    assert "tables/default_vs_tuned.csv" in sections["tuning"]
    assert re.search(r'<a href="#tuning"[^>]*>Tuning</a>', page.read_text())
    assert (
        "3 losses × 2 searches of 9 trials in 3 rounds (tpe); for lower open-set EER on validation images; "
        "6 epochs and 1 seed a trial; successive halving by 2 at 2 rungs"
    ) in text
