"""The gallery: every figure has a table, is drawn from it as before, and the page is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from reports import gallery
from reports.errors import ReportError
from reports.figures import FIGURES
from reports.figures.registry import family_of
from reports.figures.saving import read
from reports.figures.style import styled
from tests.reports import gallery_data

NAMES = [source.name for source in gallery.sources()]
RENEW = "; if this is meant: python -m tests.reports.gallery_data --write"
DOCS = gallery.ROOT / "docs"


def test_every_family_of_figures_has_a_table() -> None:
    missing = {family.prefix for family in FIGURES} - {family_of(name).prefix for name in NAMES}
    assert not missing, f"reports/gallery.csv lacks {sorted(missing)}"
    assert {path.stem for path in gallery.DATA.glob("*.csv")} == set(NAMES)
    assert {path.stem for path in gallery_data.GOLDEN.glob("*.csv")} == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_the_figure_is_drawn_as_before(name: str) -> None:
    found = gallery_data.difference(gallery_data.of_gallery(name), gallery_data.golden(name))
    assert not found, f"{name} is drawn differently{RENEW}\n{found}"


def test_the_page_and_its_images_are_those_of_the_tables() -> None:
    """Every figure stands on the page with its image, its text and its source."""
    text = (DOCS / gallery.PAGE).read_text(encoding="utf-8")
    shown = re.findall(r"^!\[(.+)\]\(images/gallery/([^)]+)\)$", text, flags=re.MULTILINE)
    assert [name for _, name in shown if name.endswith(".png")] == [f"{n}.png" for n in NAMES]
    for source in gallery.sources():
        for study in source.study.split("+"):
            known = (gallery.ROOT / "config" / f"{study}.yaml").exists()
            assert known == (f"[{study}](../config/{study}.yaml)" in text), study
    images = DOCS / gallery.IMAGES
    assert {path.name for path in images.iterdir()} == {name for _, name in shown}
    assert all(re.search(r"\d", alt) for alt, _ in shown), "an alt text says the message in numbers"
    for name in NAMES:
        assert f"[{name}.csv](../reports/gallery/{name}.csv)" in text
        with Image.open(images / f"{name}.png") as image:
            assert image.width >= 500, name
    assert sum(path.stat().st_size for path in images.glob("*.png")) < 2_500_000
    assert all(path.stat().st_size < 1_000_000 for path in images.glob("*.gif"))


def test_a_figure_is_painted_with_its_words_and_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from reports import gallery as g\n"
        "source = next(each for each in g.sources() if each.name == 'geometry')\n"
        f"picture = g.paint(source, Path({str(tmp_path)!r}))\n"
        "print(g.page([picture]))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=gallery.ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    committed = (DOCS / gallery.PAGE).read_text(encoding="utf-8")
    entry = "### " + done.stdout.partition("### ")[2].strip()
    assert entry in committed, "`make gallery` was not run"
    with Image.open(tmp_path / "geometry.png") as image:
        assert image.mode == "P"


def test_take_renews_the_tables_of_studies_with_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "gallery"
    data.mkdir()
    monkeypatch.setattr(gallery, "DATA", data)
    with pytest.raises(ReportError, match="no report of a study"):
        gallery.take(tmp_path)
    folder = tmp_path / "default" / "report" / "figures"
    folder.mkdir(parents=True)
    with pytest.raises(ReportError, match=r"has no .*\.csv"):
        gallery.take(tmp_path)
    for source in gallery.sources():
        if source.study == "default":
            frame = pd.DataFrame({"loss": ["arcface"], "value": [0.123456789], "n": [86_724_400]})
            frame.to_csv(folder / f"{source.figure}.csv", index=False)
    for path in gallery.take(tmp_path):
        row = pd.read_csv(path).iloc[0]
        assert (row["value"], row["n"]) == (0.1235, 86_724_400)


def test_many_images_of_a_scatter_are_thinned_evenly() -> None:
    kinds = ["test"] * 4000 + ["mean"] * 10
    frame = pd.DataFrame({"kind": kinds, "x": range(4010)})
    found = gallery.small(frame)
    assert (found["kind"] == "mean").sum() == 10
    steps = found.loc[found["kind"] == "test", "x"].diff().dropna()
    assert set(steps) == {3}


def scaled(frame: pd.DataFrame, figure: Figure) -> None:
    for line in figure.axes[0].lines:
        line.set_ydata([0.01 * y for y in line.get_ydata()])


def swapped(frame: pd.DataFrame, figure: Figure) -> None:
    for line in figure.axes[0].lines:
        line.set_data(line.get_ydata(), line.get_xdata())


def exchanged(frame: pd.DataFrame, figure: Figure) -> None:
    """Two unlabelled or labelled lines of one panel trade their data."""
    one, other = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2][:2]
    data = one.get_data()
    one.set_data(*other.get_data())
    other.set_data(*data)


def renamed(frame: pd.DataFrame, figure: Figure) -> None:
    figure.axes[0].set_xlabel("False reject rate")


def relabelled(frame: pd.DataFrame, figure: Figure) -> None:
    figure.axes[0].set_xticks([1], ["wrong"])


def turned(frame: pd.DataFrame, figure: Figure) -> None:
    figure.axes[0].invert_yaxis()


@pytest.mark.parametrize("change", [scaled, swapped, exchanged, renamed, relabelled, turned])
def test_the_comparison_sees(change: Callable[[pd.DataFrame, Figure], None]) -> None:
    frame = read(gallery.DATA / "roc.csv")
    with styled():
        figure = family_of("roc").draw(frame).figure
    before = gallery_data.drawn(figure)
    assert not gallery_data.difference(before, gallery_data.drawn(figure))
    change(frame, figure)
    assert gallery_data.difference(gallery_data.drawn(figure), before)
