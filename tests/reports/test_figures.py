"""Figures: what stands in their CSVs, that they are drawn, and that they can be drawn again."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from reports import making
from reports.__main__ import main
from reports.collect import collect
from reports.figures import FIGURES, Saved, index, redraw, save, saving
from reports.figures.style import slots
from reports.selection import select
from tests.reports.fake_results import Tree, write_tree

EXPECTED = {
    "seeds",
    "closed_vs_open",
    "roc",
    "det",
    "heatmap-arcface",
    "sweep-margin-radian",
    "sweep-scale",
    "sweep-margin-distance",
    "target_logit",
    "regions",
    "training",
}


def read(tree: Tree, name: str) -> pd.DataFrame:
    return pd.read_csv(tree.out / "figures" / f"{name}.csv", float_precision="round_trip")


def test_every_figure_has_its_three_files_and_is_not_blank(reported: Tree) -> None:
    folder = reported.out / "figures"
    names = {each.name for each in index(folder)}
    assert names >= EXPECTED
    assert {path.stem for path in folder.iterdir()} == names | {"figures"}
    for each in index(folder):
        name = each.name
        assert {path.suffix[1:] for path in folder.glob(f"{name}.*")} == set(each.suffixes)
        image = matplotlib.image.imread(folder / f"{name}.png")
        assert image.shape[1] >= 600  # 200 dpi over a column
        ink = (image[..., :3].min(axis=2) < 0.9).mean()
        assert 0.002 < ink < 0.95, name
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert "</svg>" in (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert len(read(reported, name)) > 0


def test_a_study_has_the_figures_that_its_data_allow(tmp_path: Path) -> None:
    grid = {"softmax": {}, "arcface": {"margin": [0.3]}}
    tree = write_tree(tmp_path, grid=grid, seeds=2, embedding_dim=2, open_set=False)
    study = collect(tree.plan, tree.runs)
    selection = select(study)
    found = {
        family.prefix for family in FIGURES if any(True for _ in family.gather(study, selection))
    }
    assert {"embedding", "target_logit", "training", "seeds"} <= found
    assert not found & {"roc", "closed_vs_open", "heatmap", "tuning_budget"}


def test_the_index_lists_what_the_folder_has_and_no_more(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=2)
    study = collect(tree.plan, tree.runs)
    frames = {
        name: frame
        for family in FIGURES
        if family.prefix in ("seeds", "training")
        for name, frame in family.gather(study, select(study))
    }
    folder = tmp_path / "figures"
    for name, frame in frames.items():
        save(name, frame, folder)
    both = redraw(folder)
    assert [each.name for each in index(folder)] == [each.name for each in both]
    assert {each.name for each in both} == {"seeds", "training"}
    # One drawn again leaves the other listed, in its place; one whose CSV is gone leaves the list.
    redraw(folder, only="training")
    assert [each.name for each in index(folder)] == ["seeds", "training"]
    (folder / "seeds.csv").unlink()
    redraw(folder, only="training")
    assert [each.name for each in index(folder)] == ["training"]
    elsewhere = tmp_path / "elsewhere"
    assert redraw(folder, to=elsewhere)[0].path("svg").parent == elsewhere
    assert not (elsewhere / "seeds.csv").exists()


def test_a_loss_keeps_its_colour_in_every_figure(reported: Tree) -> None:
    places = slots(collect(reported.plan, reported.runs))
    for name in ("seeds", "closed_vs_open", "roc", "training", "target_logit"):
        frame = read(reported, name)
        assert (frame["slot"] == frame["loss"].map(places)).all()


def test_redraw_gives_the_same_pictures(reported: Tree, tmp_path: Path) -> None:
    for name in ("heatmap-arcface", "sweep-margin-distance", "roc"):
        source = reported.out / "figures" / f"{name}.csv"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    assert main(["redraw", str(tmp_path)]) == 0
    for path in sorted(tmp_path.glob("[!f]*")):  # all but figures.json, which lists fewer here
        assert path.read_bytes() == (reported.out / "figures" / path.name).read_bytes(), path.name


def test_redraw_of_a_wrong_folder_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["redraw", str(tmp_path)]) == 2
    assert "no CSV" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [("cell,loss\n", "KeyError"), ("", "EmptyDataError"), ('a,"b\n1', "ParserError")],
)
def test_a_csv_that_cannot_be_drawn_is_explained(
    content: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "roc.csv"
    path.write_text(content)
    assert main(["redraw", str(tmp_path)]) == 2
    assert f"{path}: cannot be drawn ({said}" in caplog.text
    assert path.read_text() == content
    assert [item.name for item in tmp_path.iterdir()] == ["roc.csv"]


def test_a_full_disk_leaves_the_csv_that_was_there(
    reported: Tree,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = reported.out / "figures" / "roc.csv"
    edited = tmp_path / source.name
    edited.write_bytes(source.read_bytes())

    def full(_: pd.DataFrame, path: Path, **__: object) -> None:
        path.write_text("cell,")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert main(["redraw", str(tmp_path)]) == 2
    assert "No space left on device; no run is changed" in caplog.text
    assert edited.read_bytes() == source.read_bytes()
    assert [item.name for item in tmp_path.iterdir()] == ["roc.csv"]


def _interrupt(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)  # raises here: Python looks for signals after the call


def _interrupted_work(number: int, folder: Path) -> Saved:
    _interrupt()  # as a terminal does to every process
    (folder / str(number)).touch()
    time.sleep(0.2)
    return Saved(str(number), folder, "Curves", "", "", "", 1.0, ())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own reaction to SIGINT, which a shell lets its background processes ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_lets_the_figures_in_work_end_and_begins_no_other(tmp_path: Path) -> None:
    def meanwhile() -> None:
        while not (tmp_path / "0").exists():
            time.sleep(0.01)
        _interrupt()

    with pytest.raises(KeyboardInterrupt):
        saving._saved(_interrupted_work, ((n, tmp_path) for n in range(500)), meanwhile)
    assert 1 <= len(list(tmp_path.iterdir())) < 100


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_in_one_line(
    reported: Tree, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "draw_all", _interrupt)
    given = ["make", "--plan", reported.plan, "--runs", reported.runs, "--out", reported.out]
    assert main([*map(str, given), "--only", "figures"]) == 130
    assert caplog.messages == ["interrupted; no run is changed: give the command again"]
