"""Tables: golden numbers, marks, and CSV, Markdown and LaTeX that say the same."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from reports.collect import collect
from reports.selection import select
from reports.tables.details import by_protocol
from reports.tables.latex import to_latex
from reports.tables.render import to_csv, to_markdown
from reports.tables.results import all_tables
from reports.tables.table import Table
from tests.reports.conftest import make_report
from tests.reports.fake_results import Tree, write_tree

GOLDEN = Path(__file__).parent / "golden"
GRID = {"softmax": {}, "cosface": {"margin": [0.35]}, "arcface": {"margin": [0.5]}, "center": {}}
# Per loss: closed-set top-1 and open-set EER of seeds 0, 1, 2.
KNOWN = {
    "softmax": ((0.90, 0.10), (0.91, 0.11), (0.92, 0.12)),
    "cosface": ((0.951, 0.050), (0.949, 0.061), (0.971, 0.072)),
    "arcface": ((0.95, 0.05), (0.96, 0.06), (0.97, 0.07)),
    "center": ((0.94, 0.09), (0.94, 0.09), (0.94, 0.09)),
}


def all_of(folder: Path, identities: str | None) -> dict[str, Table]:
    """The tables of the known results; with or without resamples of the identities."""

    def fates(loss: str, _: object, seed: int) -> tuple[str, str | None]:
        gone = loss == "center" and seed == 2
        return ("failed", "OSError: disk is 100 % full_up") if gone else ("finished", None)

    tree = write_tree(
        folder,
        grid=GRID,
        seeds=3,
        values=lambda loss, _, seed: KNOWN[loss][seed],
        fates=fates,
        identities=identities,
    )
    study = collect(tree.plan, tree.runs)
    return {table.name: table for table in all_tables(study, select(study))}


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Table]:
    return all_of(tmp_path, None)


@pytest.mark.parametrize("name", ["comparison", "paired", "failures", "cost"])
def test_golden_table(tables: dict[str, Table], name: str) -> None:
    assert to_csv(tables[name]) == (GOLDEN / f"{name}.csv").read_text()


@pytest.mark.parametrize("name", ["comparison", "paired", "uncertainty"])
def test_golden_table_with_identities(tmp_path: Path, name: str) -> None:
    table = all_of(tmp_path, "shared")[name]
    assert to_csv(table) == (GOLDEN / f"{name}_identities.csv").read_text()


def rows_of(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def test_identities_widen_and_the_caption_says_so(tmp_path: Path) -> None:
    seeds, shared, own = (all_of(tmp_path / kind, kind or None) for kind in ("", "shared", "own"))
    name = "verification/eer"
    width = {
        kind: [float(row[f"{name}_ci95"]) for row in rows_of(tables["comparison"])]
        for kind, tables in (("seeds", seeds), ("shared", shared), ("own", own))
    }
    # Center loss has two seeds: with t(1) nothing can widen that interval.
    assert width["shared"][0] > 1.5 * width["seeds"][0]
    assert width["own"] == width["seeds"]
    assert "EER" in seeds["comparison"].caption.split("over seeds alone")[0]
    for tables in (shared, own):
        text = tables["comparison"].caption
        assert "EER" in text.split("over seeds and identities")[0].split("classes judged): ")[1]
    row = rows_of(shared["uncertainty"])[0]
    assert float(row["seeds_ci95"]) < float(row["both_ci95"])
    assert float(row["identities_ci95"]) < float(row["both_ci95"])


def test_one_seed_has_the_interval_over_identities(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "cosface": {}}, seeds=1, identities="shared")
    study = collect(tree.plan, tree.runs)
    table = next(t for t in all_tables(study, select(study)) if t.name == "comparison")
    row = rows_of(table)[0]
    assert float(row["verification/eer_low"]) < float(row["verification/eer"])
    assert row["verification/eer_mark"] == "too few seeds"
    assert "over identities, of one model" in table.caption


def test_all_metrics_are_in_their_table(tables: dict[str, Table]) -> None:
    rows = rows_of(tables["metrics"])
    shown = {row["metric"] for row in rows}
    assert {"verification/auc", "verification/genuine_pairs", "geometry/intra"} <= shown
    assert "lately/invented_7" in shown
    assert not any(name.startswith("validation/") for name in shown)
    refused = [row for row in rows if row["metric"] == "verification/tar_at_far_1e-04"]
    assert {row["value_mark"] for row in refused} == {"refused"}
    protocols = by_protocol(tables["metrics"])
    assert [table.title for table in protocols] == [
        "Closed set",
        "Verification",
        "Retrieval",
        "Geometry",
        "Lately",
    ]
    assert sum(len(table.rows) for table in protocols) == len(shown)
    assert all(len(table.columns) == 1 + len(GRID) for table in protocols)


def test_the_comparison_stays_readable(tables: dict[str, Table]) -> None:
    keys = [column.key for column in tables["comparison"].columns]
    assert len(keys) <= 3 + 9
    assert "verification/tar_at_far_1e-03" in keys
    assert "verification/tar_at_far_1e-02" in keys
    assert "verification/tar_at_far_1e-01" not in keys
    assert "verification/auc" not in keys


def test_numbers_by_hand(tables: dict[str, Table]) -> None:
    rows = {row["loss"]: row for row in csv.DictReader(io.StringIO(to_csv(tables["comparison"])))}
    # t(2, 97.5 %) = 4.302653; softmax has sd 0.01, so the half width is 4.302653 · 0.01 / √3.
    assert float(rows["Softmax"]["closed_set/top1"]) == pytest.approx(0.91)
    assert float(rows["Softmax"]["closed_set/top1_ci95"]) == pytest.approx(0.0248414, abs=1e-7)
    assert rows["Softmax"]["closed_set/top1_n"] == "3"
    # ArcFace minus Softmax is 0.05 in every seed: no spread, distinguishable.
    assert rows["Softmax"]["closed_set/top1_mark"] == "worse"
    assert rows["ArcFace"]["closed_set/top1_mark"] == "best"
    # CosFace minus ArcFace: .001, -.011, .001; t = -.003 / (.00692820 / √3) = -0.75, p = .5315
    assert rows["CosFace"]["closed_set/top1_mark"] == "indistinguishable"
    assert rows["Center loss"]["closed_set/top1_mark"] == "too few seeds"
    assert rows["Center loss"]["n"] == "2/3"
    paired = list(csv.DictReader(io.StringIO(to_csv(tables["paired"]))))
    cosface = next(
        row for row in paired if row["cell"].startswith("CosFace") and row["metric"] == "Top-1"
    )
    assert float(cosface["difference"]) == pytest.approx(-0.003)
    assert float(cosface["p"]) == pytest.approx(0.5315, abs=1e-4)


def test_refused_values(tables: dict[str, Table]) -> None:
    text = to_markdown(tables["metrics"])
    assert text.count("n/a |") == len(GRID)
    assert "- TAR@1e-4 n/a: FAR 0.0001 of 60,000 impostor pairs is fewer than 10 false acc" in text


def test_formats_agree(tables: dict[str, Table]) -> None:
    table = tables["comparison"]
    markdown = [line for line in to_markdown(table).splitlines() if line.startswith("| ")]
    markdown = [line for line in markdown if not line.startswith("| :")]
    body = to_latex(table).split(r"\midrule")[1].split(r"\bottomrule")[0].strip()
    latex = [line.removesuffix(r"\\") for line in body.splitlines()]
    raw = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(markdown) - 1 == len(latex) == len(raw) == 4
    for pipe, amp, row in zip(markdown[1:], latex, raw, strict=True):
        pipes = [part.strip() for part in pipe.strip("|").split("|")]
        amps = [part.strip() for part in amp.split("&")]
        for column, in_md, in_tex in zip(table.columns[3:], pipes[3:], amps[3:], strict=True):
            numbers = re.findall(r"[\d.]+", in_md)
            assert numbers == re.findall(r"[\d.]+", in_tex)
            if row[column.key]:
                shown = [100 * float(row[column.key]), 100 * float(row[f"{column.key}_ci95"])]
                assert [float(number) for number in numbers] == pytest.approx(shown, abs=0.051)
            mark = row[f"{column.key}_mark"]
            assert ("†" in in_md, r"\dagger" in in_tex) == (mark == "indistinguishable",) * 2
            assert ("‡" in in_md, r"\ddagger" in in_tex) == (mark == "too few seeds",) * 2
            assert ("**" in in_md, r"\bfseries" in in_tex) == (mark == "best",) * 2


def test_one_seed_carries_no_claim(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "arcface": {"margin": [0.3]}}, seeds=1)
    study = collect(tree.plan, tree.runs)
    table = next(t for t in all_tables(study, select(study)) if t.name == "comparison")
    for row in csv.DictReader(io.StringIO(to_csv(table))):
        assert row["closed_set/top1_mark"] == "too few seeds"
        assert row["closed_set/top1_ci95"] == ""


def test_failures_table_lists_every_lost_run(reported: Tree) -> None:
    rows = list(csv.DictReader((reported.out / "tables" / "failures.csv").open()))
    assert [(row["cell"], row["seed"], row["status"]) for row in rows] == [
        *(("arcface m=0.8 s=32", seed, "diverged") for seed in "13"),
        *(("arcface m=0.8 s=64", seed, "diverged") for seed in "01234"),
    ]


def test_cost_counts_each_models_share(reported: Tree) -> None:
    rows = {r["loss"]: r for r in csv.DictReader((reported.out / "tables" / "cost.csv").open())}
    assert rows["ArcFace"]["runs"] == "30"
    assert float(rows["ArcFace"]["seconds"]) == 30 * 12.5
    assert float(rows["All"]["images_per_second"]) == 15_000 / 12.5


def test_runs_from_before_memory_was_measured_leave_a_dash(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "cosface": {}}, seeds=2)
    for path in tree.runs.glob("*/result.json"):
        result = json.loads(path.read_text())
        # In MiB 100 and 200 of CosFace; the median of two is their mean.
        peak = (100 + 100 * (result["id"].count("-r1-"))) * 2**20
        result["peak_memory"] = peak
        if "softmax" in result["id"]:
            del result["peak_memory"]
        path.write_text(json.dumps(result))
    study = collect(tree.plan, tree.runs)
    assert study.frame["peak_memory"].isna().sum() == 2
    (cost,) = (table for table in all_tables(study, select(study)) if table.name == "cost")
    rows = {row["loss"]: row["peak_memory"] for row in rows_of(cost)}
    assert rows == {"Softmax": "–", "CosFace": "150", "All": "150"}


@pytest.mark.slow
def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "arcface": {"margin": [0.1, 0.3]}}, seeds=2)
    seen = []
    for _ in range(2):
        make_report(tree)
        folders = (tree.plan.parent, tree.out)
        files = sorted(path for folder in folders for path in folder.rglob("*.csv"))
        seen.append({path.name: path.read_bytes() for path in files})
    assert len(seen[0]) > 8
    assert seen[0] == seen[1]
