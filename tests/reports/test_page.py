"""The page: well formed, self-contained, and true to the numbers, whatever the study looks like."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from reports.collect import collect
from reports.findings import findings
from reports.selection import select
from tests.reports.conftest import make_report
from tests.reports.fake_results import Tree, write_tree

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Reader(html.parser.HTMLParser):
    """Checks nesting and gathers tags, text and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text())
    assert reader.open == []
    return reader


def check_page(out: Path) -> str:
    """Every rule that any page keeps; returns its text."""
    reader = read(out / "index.html")
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in reader.tags:
        assert tag not in ("script", "link", "iframe")
        source = attrs.get("src") or ""
        assert not source or source.startswith("data:image/png;base64,")
        target = attrs.get("href")
        if target is not None and target.startswith("#"):
            assert target[1:] in ids
        elif target is not None:
            assert (out / target).is_file(), target
        if tag == "img":
            assert len(attrs["alt"] or "") > 20
        if tag == "th":
            assert attrs["scope"] in ("col", "row")
        if described := attrs.get("aria-describedby"):
            assert described in ids
    styles = re.search(r"<style>(.*?)</style>", (out / "index.html").read_text(), re.DOTALL)
    assert styles
    assert "url(" not in styles[1]
    assert "@import" not in styles[1]
    text = " ".join(" ".join(reader.text).split())
    assert not re.search(r"\bnan\b|\bNone[^.]|undefined", text)
    return text


def test_page_of_the_full_study(reported: Tree) -> None:
    text = check_page(reported.out)
    assert "Margins and scales on drawn glyphs" in text
    assert "7 of 50 runs have no result: 7 diverged. No run finished of ArcFace m=0.8 s=64." in text
    assert "4f1c" * 16 in text  # checksum of the data
    assert "c0ffee" in text
    assert f"--plan {reported.plan} --runs {reported.runs} --out {reported.out}" in text
    page = (reported.out / "index.html").read_text()
    for path in (reported.out / "figures").glob("*.png"):
        for suffix in ("png", "pdf", "csv"):
            assert f'href="figures/{path.stem}.{suffix}"' in page


def test_page_numbers_are_those_of_the_table(reported: Tree) -> None:
    reader = read(reported.out / "index.html")
    text = re.sub(r"\s+", "", "".join(reader.text))
    rows = (reported.out / "tables" / "comparison.md").read_text().splitlines()
    for row in (line for line in rows if line.startswith("| ArcFace")):
        for entry in re.findall(r"[\d.]+ ± [\d.]+", row):
            assert entry.replace(" ", "") in text


def test_findings_in_words(tmp_path: Path) -> None:
    closed = {"softmax": (0.90, 0.91, 0.92), "arcface": (0.95, 0.96, 0.97)}
    equal = {"cosface": (0.951, 0.949, 0.971)}
    table = {**closed, **equal}
    tree = write_tree(
        tmp_path,
        grid={"softmax": {}, "cosface": {"margin": [0.2]}, "arcface": {"margin": [0.3]}},
        seeds=3,
        values=lambda loss, _, seed: (table[loss][seed], 1 - table[loss][seed]),
        fates=lambda *_: ("finished", None),
    )
    study = collect(tree.plan, tree.runs)
    lines = findings(study, select(study))
    assert lines[0] == (
        "Closed-set top-1 (classifier): ArcFace m=0.3 has the best mean, 96.0 ± 2.5 % (n = 3). "
        "Not distinguishable from it: CosFace m=0.2."
    )
    assert lines[1].startswith("Open-set EER: ArcFace m=0.3 has the best mean, 4.0 ± 2.5 %")
    assert any("Spearman's ρ = 1.00" in line and "No answer" in line for line in lines)


def test_warnings_of_the_plan_are_said(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "cosface": {"margin": [0.2]}}, seeds=2)
    plan = json.loads(tree.plan.read_text())
    texts = [f"cosface: margin {number} cannot be satisfied" for number in range(9)]
    plan["warnings"] = [
        {"loss": "cosface", "hyperparameters": {"margin": 0.2}, "warning": text}
        for text in [*texts, texts[0]]
    ]
    tree.plan.write_text(json.dumps(plan))
    study = collect(tree.plan, tree.runs)
    lines = findings(study, select(study))
    assert [line for line in lines if "cannot be satisfied" in line] == [
        f"Warning of the plan: {text}." for text in texts[:6]
    ]
    assert "3 more such warnings stand in plan.json." in lines


def test_worse_is_said(tmp_path: Path) -> None:
    gaps = {"softmax": (0.90, 0.91, 0.92), "arcface": (0.95, 0.961, 0.97)}
    tree = write_tree(
        tmp_path,
        grid={"softmax": {}, "arcface": {"margin": [0.3]}},
        seeds=3,
        open_set=False,
        values=lambda loss, _, seed: (gaps[loss][seed], 0.1),
        fates=lambda *_: ("finished", None),
    )
    study = collect(tree.plan, tree.runs)
    lines = findings(study, select(study))
    assert lines[0].endswith("(n = 3). Softmax is distinguishably worse.")
    assert "no open-set result" in lines[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"open_set": False}, "The study has no open-set result"),
        ({"seeds": 1}, "with fewer than 3 common seeds no difference can be claimed"),
        ({"validation": False}, "so every setting is shown"),
        ({"fates": lambda *_: ("failed", "RuntimeError: no")}, "No run has an evaluated result"),
        ({"fates": lambda *_: ("missing", None)}, "6 missing"),
        ({"grid": {"triplet": {"margin": [0.1, 0.2]}}}, "the loss has no classifier"),
        ({"grid": {"softmax": {}}}, "nothing to compare it with"),
        ({"impostors": 8}, "n/a"),
    ],
)
def test_odd_studies(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    given = {"grid": {"softmax": {}, "arcface": {"margin": [0.1, 0.3]}}, "seeds": 2, **options}
    tree = write_tree(tmp_path, **given)
    make_report(tree)
    assert words in check_page(tree.out)


@pytest.mark.slow
def test_a_smaller_grid_leaves_no_old_figure(tmp_path: Path) -> None:
    grid = {"arcface": {"margin": [0.1, 0.3], "scale": [16.0, 32.0]}}
    make_report(write_tree(tmp_path, grid=grid, seeds=1))
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    make_report(tree)
    assert not list((tree.out / "figures").glob("heatmap*"))
    assert not (tree.out / "tables" / "ablation.csv").exists()


def test_only_a_part(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    given = ["--plan", str(tree.plan), "--runs", str(tree.runs), "--out", str(tree.out)]
    assert main([*given, "--only", "tables"]) == 0
    assert {path.name for path in tree.out.iterdir()} == {"tables"}


def test_wrong_use_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--plan", str(tmp_path / "no.json"), "--runs", str(tmp_path), "--out", str(tmp_path)]
    assert main(given) == 2
    assert "no.json" in caplog.text
    with pytest.raises(SystemExit):
        main(["--plan", "x"])
    assert "--runs" in capsys.readouterr().err
