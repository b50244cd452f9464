"""Published numbers: what is shipped, and when one may stand beside ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reports.collect import collect
from reports.figures.comparison import published as figure
from reports.literature.numbers import compare, rows
from reports.literature.rules import losses_of
from reports.selection import select
from reports.statistics.intervals import mean_interval
from reports.summary import Number
from reports.tables.published import published_tables
from reports.tables.render import to_latex, to_markdown
from reports.tables.table import Table
from tests.reports.published_study import GIVEN, digits

TABLE_2 = "L-Softmax (Liu ICML16), Table 2 (MNIST)"


def tables_of(folder: Path, **options: object) -> dict[str, Table]:
    _, study = digits(folder, **options)  # type: ignore[arg-type]
    return {table.name: table for table in published_tables(study, select(study))}


def test_the_shipped_rows_are_whole() -> None:
    frame = rows()
    assert len(frame) == 1364
    assert "verified" not in frame
    assert (frame[["paper", "loss", "dataset", "metric", "source"]] != "").all(axis=None)
    assert frame["value"].notna().all()
    assert not frame["source"].str.contains("recalled, not found").any()
    doubted = frame[frame["value"].isin([98.81, 98.83]) & frame["paper"].str.startswith("SimPLE")]
    assert len(doubted) == 2
    assert doubted["note"].str.startswith("as printed").all()
    mnist = frame[(frame["dataset"] == "MNIST") & frame["paper"].str.startswith("L-Softmax")]
    assert mnist["value"].tolist() == [0.4, 0.32, 0.31, 0.31]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("L-Softmax m=2", [("l_softmax", {"margin": 2.0})]),
        ("L-Softmax m=1", [("softmax", {}), ("l_softmax", {"margin": 1.0})]),
        ("NormFace softmax scale=11", [("norm_softmax", {"scale": 11.0})]),
        ("ArcFace (s=30,m=.5)", [("arcface", {"scale": 30.0, "margin": 0.5})]),
        ("Softmax 2-D", [("softmax", {}), ("l_softmax", {"margin": 1.0})]),
        ("softmax+center", [("center", {})]),
        ("center only", []),
        ("ProtoNet (L2)", []),
    ],
)
def test_losses_of_a_row(text: str, found: list[tuple[str, dict[str, float]]]) -> None:
    assert losses_of(text) == found


def test_mnist_stands_beside_table_2(tmp_path: Path) -> None:
    tables = tables_of(tmp_path)
    table = tables["published"]
    keys = [column.key for column in table.columns]
    named = [dict(zip(keys, row, strict=True)) for row in table.rows]
    mine = [row for row in named if row["paper"] == TABLE_2]
    # The paper has m = 1 to 4, the study m = 1 (softmax), 2, 3 and 5.
    assert [(row["loss"], row["setting"]) for row in mine] == [
        ("Softmax", ""),
        ("L-Softmax", "m=2"),
        ("L-Softmax", "m=3"),
    ]
    assert {row["net"] for row in mine} == {"same"}
    numbers = [row["published"] for row in mine]
    assert [number.mean for number in numbers if isinstance(number, Number)] == [
        0.004,
        0.0032,
        0.0031,
    ]
    errors = [1 - (0.995 + 0.0005 * 2 / 4 + 0.0002 * seed) for seed in range(3)]
    truth = mean_interval(errors)
    ours, apart = mine[1]["ours"], mine[1]["difference"]
    assert isinstance(ours, Number)
    assert isinstance(apart, Number)
    assert (ours.mean, ours.low, ours.high) == pytest.approx((truth.mean, truth.low, truth.high))
    assert apart.mean == pytest.approx(np.mean(errors) - 0.0032)
    assert apart.high - apart.low == pytest.approx(truth.high - truth.low)
    rerun = next(
        row
        for row in named
        if row["paper"] == "reimpl amirhfarzaneh/lsoftmax-pytorch, README results"
    )
    assert "epochs: 10 here, 100 there" in str(rerun["differs"])
    assert "best epoch by its test accuracy" in str(rerun["differs"])
    assert "0.32" in to_markdown(table)
    assert r"\pm" in to_latex(table)
    gaps = {str(row[2]): str(row[-1]) for row in tables["not_comparable"].rows}
    assert gaps["L-Softmax m=4"] == "; ".join(
        f"L-Softmax: margin 4 there, {m} here" for m in (2.0, 3.0, 5.0)
    )
    assert gaps["ArcFace m=0.5 s=1.65"] == "its loss is not in this study"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"split": GIVEN | {"images": "random"}}, "images that the study held out"),
        ({"split": GIVEN | {"classes": "six_four"}}, "here on part of them"),
        ({"split": GIVEN | {"unknown_validation": 0.2}}, "here on part of them"),
        ({"split": GIVEN | {"known_classes": 5}}, "here on part of them"),
        ({"dataset": "mnist5k"}, "not the published test images"),
        ({"dataset": "mnist5k", "split": GIVEN | {"images": "random"}}, "not the published"),
    ],
)
def test_another_protocol_is_never_comparable(
    options: dict[str, object], why: str, tmp_path: Path
) -> None:
    tables = tables_of(tmp_path, **options)
    assert "published" not in tables
    assert all(why in str(row[-1]) for row in tables["not_comparable"].rows)


def test_omniglot_open_set_has_none_and_says_why(tmp_path: Path) -> None:
    split = {"classes": "given", "images": "listed", "unknown_validation": 0.15, "known_test": 4}
    grid = {"arcface": {"margin": [0.5], "scale": [30.0]}, "softmax": {}}
    _, study = digits(tmp_path, dataset="omniglot", split=split, grid=grid, open_set=True)
    matches, gaps = compare(study, select(study))
    assert matches == []
    assert list(figure.gather(study, select(study))) == []
    assert sum(gap.count for gap in gaps) == (rows()["dataset"] == "Omniglot").sum()
    whys = {gap.paper: gap.why for gap in gaps}
    assert "random split of the images that was not published" in whys["pytorch-adacos repo"]
    assert "part of the classes" in whys["pytorch-adacos repo"]
    assert "few-shot" in whys["few-shot (published column)"]
    assert "few-shot" in whys["Siamese nets (Koch 2015)"]


def test_a_data_set_without_published_rows_has_no_tables(tmp_path: Path) -> None:
    assert tables_of(tmp_path, dataset="glyphs") == {}


def test_other_nets_are_told(tmp_path: Path) -> None:
    _, study = digits(tmp_path, backbone="conv3")
    matches, _ = compare(study, select(study))
    assert {match.net for match in matches if match.row["setting"] == "MNISTNet"} == {"other"}
    texts = [text for match in matches for text in match.differences]
    assert "net: conv3, 64-D here, MNISTNet there" in texts
    assert {match.net for match in matches if "gluon" in match.row["paper"]} == {"not stated"}


def test_an_open_margin_takes_the_compared_setting(tmp_path: Path) -> None:
    grid = {"arcface": {"margin": [0.1, 0.5], "scale": [16.0]}}
    tree, _ = digits(tmp_path, grid=grid, validation=True)
    study = collect(tree.plan, tree.runs)
    selection = select(study)
    assert len(selection.cells) == 1
    matches, _ = compare(study, selection)
    assert {match.cell for match in matches} == set(selection.cells)


def test_figure_holds_errors_and_draws_the_diagonal(tmp_path: Path) -> None:
    _, study = digits(tmp_path)
    ((name, frame),) = figure.gather(study, select(study))
    assert name == "published"
    table_2 = frame[frame["source"] == TABLE_2].set_index("label")
    assert table_2.loc["m=2", "published"] == pytest.approx(0.0032)
    assert table_2.loc["m=2", "mean"] == pytest.approx(1 - 0.99545)
    turned = frame[frame["source"].str.contains("amirhfarzaneh")].set_index("label")
    assert turned.loc["m=2", "published"] == pytest.approx(0.004)
    drawing = figure.draw(frame)
    ax = drawing.figure.axes[0]
    assert ax.get_xlim() == ax.get_ylim()
    assert "n = 3" in drawing.caption
    assert f"Scatter of {len(frame)} " in drawing.alt
