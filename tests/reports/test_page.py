"""The page: well formed, self-contained, and true to the numbers, whatever the study looks like."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from reports.__main__ import main
from reports.collect import collect
from reports.figures import Saved, index
from reports.page.images import GIF_INLINE, pictures
from reports.page.writing import write_page
from reports.selection import select
from reports.tables.render import write_table
from reports.tables.results import all_tables
from reports.tables.table import Column, Table
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
        if self.open and self.open[-1] not in ("style", "script"):
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
    heading = 0
    for tag, attrs in reader.tags:
        assert tag != "iframe"
        assert tag != "script" or "src" not in attrs
        assert tag != "link" or (attrs["href"] or "").startswith("data:")
        if re.fullmatch("h[1-6]", tag):
            assert int(tag[1]) <= heading + 1, "a level of headings is left out"
            heading = int(tag[1])
        source = attrs.get("src") or ""
        assert not source or source.startswith(("data:image/webp;base64,", "data:,", "figures/"))
        target = attrs.get("href")
        if target is not None and target.startswith("#"):
            assert unquote(target[1:]) in ids
        elif target is not None and not target.startswith(("data:", "http://127.0.0.1:5000/")):
            assert (out / unquote(target)).is_file(), target
        if tag == "img":
            assert len(attrs["alt"] or "") > (20 if source.startswith("data:image") else 0)
        if tag == "th":
            assert attrs["scope"] in ("col", "row")
        if described := attrs.get("aria-describedby"):
            assert described in ids
    styles = re.search(r"<style>(.*?)</style>", (out / "index.html").read_text(), re.DOTALL)
    assert styles
    assert "url(" not in styles[1]
    assert "@import" not in styles[1]
    text = " ".join(" ".join(reader.text).split())
    assert not re.search(r"\bnan\b|\bNone\b(?! of|\.)|undefined", text)
    return text


def made(tree: Tree, tables: Sequence[Table] = ()) -> str:
    """The page without figures: they take most of the time."""
    study = collect(tree.plan, tree.runs)
    selection = select(study)
    write_page(study, selection, [*all_tables(study, selection), *tables], [], tree.out, "make it")
    for table in (*all_tables(study, selection), *tables):
        write_table(table, tree.out / "tables")
    return (tree.out / "index.html").read_text()


def test_page_of_the_full_study(reported: Tree) -> None:
    text = check_page(reported.out)
    assert "Margins and scales on drawn glyphs" in text
    assert "7 of 50 runs have no result: 7 diverged. No run finished of ArcFace m=0.8 s=64." in text
    assert "7 of 50 runs have no evaluated result." in text
    assert "5 diverged: loss not finite in epoch 3 (step 412)" in text
    assert "4f1c" * 16 in text  # checksum of the data
    assert "c0ffee" in text
    assert f"--plan {reported.plan} --runs {reported.runs} --out {reported.out}" in text
    page = (reported.out / "index.html").read_text()
    for path in (reported.out / "figures").glob("*.png"):
        for suffix in ("png", "pdf", "svg", "csv"):
            assert f'href="figures/{path.stem}.{suffix}"' in page


def test_page_numbers_are_those_of_the_table(reported: Tree) -> None:
    reader = read(reported.out / "index.html")
    text = re.sub(r"\s+", "", "".join(reader.text))
    rows = (reported.out / "tables" / "comparison.md").read_text().splitlines()
    for row in (line for line in rows if line.startswith("| ArcFace")):
        for entry in re.findall(r"[\d.]+ ± [\d.]+", row):
            assert entry.replace(" ", "") in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"open_set": False}, "The study has no open-set result"),
        ({"seeds": 1}, "Too few common seeds for any claim: the means alone put it first."),
        ({"validation": False}, "so every setting is shown"),
        (
            {"fates": lambda *_: ("failed", "RuntimeError: no")},
            "There is nothing to compare: none of its 6 runs has an evaluated result. The page "
            "shows what is known. 6 failed: RuntimeError: no",
        ),
        (
            {"fates": lambda *_: ("missing", None)},
            "snakemake --cores all --configfile config/study.yaml --forcerun train",
        ),
        ({"grid": {"triplet": {"margin": [0.1, 0.2]}}}, "the loss has no classifier"),
        ({"grid": {"softmax": {}}}, "nothing to compare it with"),
        ({"impostors": 8}, "n/a"),
    ],
)
def test_odd_studies(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    given = {"grid": {"softmax": {}, "arcface": {"margin": [0.1, 0.3]}}, "seeds": 2, **options}
    tree = write_tree(tmp_path, **given)
    made(tree)
    assert words in check_page(tree.out)


@pytest.mark.slow
def test_a_smaller_grid_leaves_no_old_figure(tmp_path: Path) -> None:
    grid = {"arcface": {"margin": [0.1, 0.3], "scale": [16.0, 32.0]}}
    make_report(write_tree(tmp_path, grid=grid, seeds=1))
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    make_report(tree)
    assert not list((tree.out / "figures").glob("heatmap*"))
    assert not (tree.out / "tables" / "ablation.csv").exists()


def test_a_table_that_the_page_does_not_know_is_shown(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    columns = [Column("cell", "Setting"), Column("weight", "Weight (kg)", numeric=True)]
    table = Table("weights", "What they weigh", "On scales.", columns, [["softmax", 70_125]])
    page = made(tree, [table])
    assert "What they weigh" in check_page(tree.out)
    assert '<section id="more-weights"' in page
    assert '<a href="#more-weights">What they weigh</a>' in page
    assert 'data-value="70125">70,125</td>' in page


def test_the_order_of_the_page(reported: Tree) -> None:
    page = (reported.out / "index.html").read_text()
    found = re.findall(r'<section id="([a-z-]+)"', page)
    order = "summary recommendation comparison figures tuning ablation paired uncertainty metrics"
    order += " geometry published cost failures setup experiments again"
    assert [name for name in found if name in order.split()] == [
        name for name in order.split() if name in found
    ]
    assert {"summary", "recommendation", "figures", "cost", "experiments"} <= set(found)
    assert re.findall(r'<li><a href="#([a-z-]+)">', page)[:3] == found[:3]


def test_every_number_of_the_comparison_leads_to_its_runs(reported: Tree) -> None:
    page = (reported.out / "index.html").read_text()
    table = re.search(r'<table[^>]*id="table-comparison".*?</table>', page, re.DOTALL)
    assert table
    numbers = re.findall(r"<td[^>]*>(<a href=[^>]*>)?<span class=.mean", table[0])
    assert numbers
    assert all(numbers)
    anchors = set(re.findall(r'href="#(setting-[^"]+)"', table[0]))
    for anchor in anchors:
        rows = re.findall(rf'<tr id="run-([^"]+)" data-setting="{re.escape(anchor)}">', page)
        assert len(rows) == 5
        assert set(rows) <= set(reported.ids.values())
    assert len(anchors) == 3  # one of each loss


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    plan = json.loads(tree.plan.read_text())
    plan["title"] = "<script>alert(1)</script> & <b>"
    tree.plan.write_text(json.dumps(plan))
    page = made(tree)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in page


def test_colours_can_be_read(reported: Tree) -> None:
    """Contrast of text to its grounds is at least 4.5 (WCAG 2.2, AA) in both themes."""
    page = (reported.out / "index.html").read_text()
    pairs = dict(re.findall(r"--(\w+): light-dark\(([^)]+)\)", page))
    themes = {name: [each.strip() for each in both.split(",")] for name, both in pairs.items()}

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for theme in (0, 1):
        for text in ("ink", "soft", "accent", "warn"):
            for ground in ("paper", "panel", "mark"):
                high, low = sorted(
                    (luminance(themes[name][theme]) for name in (text, ground)), reverse=True
                )
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, theme)


def test_images_are_small_and_the_same(reported: Tree) -> None:
    figures = index(reported.out / "figures")[:2]
    for figure, picture in zip(figures, pictures(figures), strict=True):
        png = figure.path("png")
        content = base64.b64decode(picture.still.removeprefix("data:image/webp;base64,"))
        assert len(content) < png.stat().st_size
        with Image.open(png) as drawn, Image.open(io.BytesIO(content)) as inlined:
            assert inlined.size == (picture.width, picture.height) == drawn.size
            assert inlined.tobytes() == drawn.convert("RGB").tobytes()


def test_an_animation_moves_on_screen_and_stands_on_paper(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 20), color) for color in ("white", "black")]
    frames[0].save(tmp_path / "moving.png")
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    figure = Saved("moving", tmp_path, "Embeddings", "It moves", "", "a" * 30, 3.5, ("png", "gif"))
    small = pictures([figure])[0]
    assert small.moving.startswith("data:image/gif;base64,")
    with (tmp_path / "moving.gif").open("ab") as file:
        file.write(bytes(GIF_INLINE))
    assert pictures([figure])[0].moving == "figures/moving.gif"


def test_only_a_part(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=1)
    given = ["make", "--plan", str(tree.plan), "--runs", str(tree.runs), "--out", str(tree.out)]
    assert main([*given, "--only", "tables"]) == 0
    assert {path.name for path in tree.out.iterdir()} == {"tables"}


def test_wrong_use_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "make",
        "--plan",
        str(tmp_path / "no.json"),
        "--runs",
        str(tmp_path),
        "--out",
        str(tmp_path),
    ]
    assert main(given) == 2
    assert "no.json" in caplog.text
    with pytest.raises(SystemExit):
        main(["make", "--plan", "x"])
    assert "--runs" in capsys.readouterr().err
