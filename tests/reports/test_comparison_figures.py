"""Figures of the comparison and of both worlds: seeds, ranks, scatter, front, correlation, geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from reports.collect import Study, collect
from reports.figures.comparison import correlation, geometry, pareto, ranks, seeds, worlds
from reports.figures.comparison.compared import label_points, open_metrics
from reports.figures.saving import read
from reports.figures.style import Drawing, styled
from reports.selection import select
from reports.statistics.correlation import ellipse, joint_coverage
from reports.statistics.intervals import mean_interval
from reports.statistics.ranks import cliques, critical_difference
from reports.summary import Number, summarise
from reports.tables.geometry import geometry_tables
from reports.tables.render import to_csv, to_latex, to_markdown
from tests.reports.fake_results import Grid, Tree, quality, write_tree

EER, TOP1 = "verification/eer", "closed_set/ncm_top1"


@pytest.fixture(scope="module")
def study(reported: Tree) -> Study:
    return collect(reported.plan, reported.runs)


def csv(reported: Tree, name: str) -> pd.DataFrame:
    return read(reported.out / "figures" / f"{name}.csv")


def drawn(draw: Callable[[pd.DataFrame], Drawing], frame: pd.DataFrame) -> Drawing:
    with styled():
        return draw(frame)


def with_geometry(study: Study) -> Study:
    """Angles for all losses, class weights for all but the triplet loss, which is refused them."""
    frame = study.frame.copy()
    frame["geometry/w_ec"] = np.where(frame["loss"] == "triplet", np.nan, 20 + frame["seed"])
    frame.loc[frame["status"] != "finished", "geometry/w_ec"] = np.nan
    frame["geometry/angular_fisher_score"] = 0.2 + frame[EER]
    refused = frame.loc[frame["loss"] == "triplet", "id"]
    notes = pd.DataFrame(
        {"id": refused, "metric": "geometry/w_ec", "note": "the loss has no class weights"}
    )
    return replace(
        study,
        frame=frame,
        metrics=(*study.metrics, "geometry/w_ec", "geometry/angular_fisher_score"),
        notes=pd.concat([study.notes, notes], ignore_index=True),
        cache={},
    )


def test_scatter_has_every_run(reported: Tree, study: Study) -> None:
    frame = csv(reported, "closed_vs_open")
    assert len(frame) == 50
    assert frame[TOP1].notna().sum() == 50 - 7
    assert set(frame.loc[frame["compared"], "cell"]) == set(select(study).cells)
    means = study.frame.groupby("cell")[[TOP1, EER]].mean().dropna()
    rho = stats.spearmanr(means.iloc[:, 0], -means.iloc[:, 1]).statistic
    drawing = drawn(worlds.draw, frame)
    ax = drawing.figure.axes[0]
    assert f"ρ = {rho:.2f} [" in ax.get_title(loc="left")
    assert f"{len(means)} settings" in ax.get_title(loc="left")
    low, high = ax.get_ylim()
    assert low > high  # a small EER is up
    (outlines,) = [each for each in ax.collections if isinstance(each, LineCollection)]
    softmax = list(dict.fromkeys(frame.loc[frame["compared"], "cell"])).index("softmax")
    outline = np.asarray(outlines.get_segments()[softmax])
    errors = mean_interval([100 * quality("softmax", {}, seed)[1] for seed in range(5)])
    assert outline[:, 1].max() == pytest.approx(errors.high, abs=0.01)
    assert "7 of 50 runs" in drawing.caption


def test_scatter_measures_one_metric_of_each_kind(study: Study) -> None:
    # 60,000 impostor pairs carry a FAR of 1e-3 and none below.
    assert open_metrics(study, select(study).cells) == [
        EER,
        "verification/tar_at_far_1e-03",
        "retrieval/recall_at_1",
    ]


def test_ellipse_has_the_intervals_as_shadows_and_the_stated_coverage() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(6)
    y = 0.8 * x + 0.3 * rng.standard_normal(6)
    outline = ellipse(x, y, points=20_001)
    for side, values in ((0, x), (1, y)):
        truth = mean_interval(values)
        assert outline[:, side].max() == pytest.approx(truth.high, abs=1e-6)
        assert outline[:, side].min() == pytest.approx(truth.low, abs=1e-6)
    assert len(ellipse(x[:2], y[:2])) == 0
    draws = rng.standard_normal((20_000, 4, 2))
    mean = draws.mean(axis=1)
    inverse = np.linalg.inv(np.array([np.cov(each.T) / 4 for each in draws]))
    inside = np.einsum("ni,nij,nj->n", mean, inverse, mean) < stats.t.ppf(0.975, 3) ** 2
    assert joint_coverage(4) == pytest.approx(inside.mean(), abs=0.01)


def test_seeds_figure_shows_every_run_and_the_mean(reported: Tree) -> None:
    frame = csv(reported, "seeds")
    assert len(frame) == 4 * 3 * 5  # metrics x chosen cells x seeds
    truth = [quality("softmax", {}, seed)[1] for seed in range(5)]
    own = frame[(frame["cell"] == "softmax") & (frame["metric"] == EER)]
    assert own["value"].tolist() == pytest.approx(truth, abs=1e-6)
    ax = drawn(seeds.draw, frame).figure.axes[1]
    points = np.vstack([np.asarray(each.get_offsets()) for each in ax.collections])
    shown = points[np.abs(points[:, 1]) < 0.3]  # the first row
    assert set(np.round(100 * np.array(truth), 3)) <= set(np.round(shown[:, 0], 3))
    assert round(100 * np.mean(truth), 3) in set(np.round(shown[:, 0], 3))


def test_more_than_sixty_settings_are_cut_by_a_stated_rule(tmp_path: Path) -> None:
    grid = {"cosface": {"margin": [i / 100 for i in range(62)]}}
    tree = write_tree(tmp_path, grid=grid, seeds=2, validation=False, open_set=False)
    many = collect(tree.plan, tree.runs)
    ((_, frame),) = seeds.gather(many, select(many))
    assert frame["cell"].nunique() == 60
    means = many.frame.groupby("cell")["closed_set/top1"].mean().sort_values()
    assert set(frame["cell"]) == set(means.index[2:])
    assert "60 of 62 settings are shown: the best by mean" in drawn(seeds.draw, frame).caption


def test_ranks_over_the_seeds(reported: Tree, study: Study) -> None:
    frame = csv(reported, "ranks")
    cells = select(study).cells
    values = np.array([[quality_of(study, cell, seed) for seed in range(5)] for cell in cells])
    own = frame[frame["metric"] == EER].set_index("cell")
    truth = stats.rankdata(values, axis=0).mean(axis=1)
    assert own.loc[cells, "rank"].tolist() == pytest.approx(truth.tolist())
    assert set(own["seeds"]) == {5}
    assert own["critical_difference"].iloc[0] == pytest.approx(critical_difference(3, 5))
    drawing = drawn(ranks.draw, frame)
    assert "Blocks are the seeds" in drawing.caption
    texts = [text.get_text() for ax in drawing.figure.axes for text in ax.texts]
    assert any("5 seeds" in text for text in texts)
    assert any(f"CD = {critical_difference(3, 5):.2f}" in text for text in texts)


def quality_of(study: Study, cell: str, seed: int) -> float:
    row = study.frame[(study.frame["cell"] == cell) & (study.frame["seed"] == seed)].iloc[0]
    settings = {key: row[key] for key in ("margin", "scale") if row[key] == row[key]}
    return quality(str(row["loss"]), settings, seed)[1]


def test_a_diverged_run_ranks_last_and_a_missing_one_has_no_rank(tmp_path: Path) -> None:
    def fates(loss: str, settings: object, seed: int) -> tuple[str, str | None]:
        if loss == "cosface" and seed == 0:
            return "diverged", "loss not finite"
        return ("failed", "no memory") if loss == "triplet" else ("finished", None)

    grid: Grid = {"softmax": {}, "cosface": {}, "arcface": {}, "triplet": {}}
    tree = write_tree(tmp_path, grid=grid, seeds=3, fates=fates)
    some = collect(tree.plan, tree.runs)
    ((_, frame),) = ranks.gather(some, select(some))
    own = frame[frame["metric"] == EER].set_index("cell")
    errors = np.array(
        [
            [quality(loss, {}, seed)[1] for seed in range(3)]
            for loss in ("softmax", "cosface", "arcface")
        ]
    )
    errors[1, 0] = np.inf
    truth = stats.rankdata(errors, axis=0).mean(axis=1)
    assert own["rank"].tolist()[:3] == pytest.approx(truth.tolist(), abs=1e-6)
    assert np.isnan(own.loc["triplet", "rank"])
    assert (
        "Without a rank, as most seeds have no value: Triplet (" in drawn(ranks.draw, frame).caption
    )


def test_cliques_join_what_lies_within_the_difference() -> None:
    mean_ranks, difference = [1.0, 1.5, 2.2, 4.0, 4.1, 7.0], 1.3
    found = cliques(mean_ranks, difference)
    assert found == [(1.0, 2.2), (4.0, 4.1)]
    joined = {(a, b) for a in mean_ranks for b in mean_ranks if a < b and b - a < difference}
    assert all(any(low <= a and b <= high for low, high in found) for a, b in joined)
    assert cliques([1.0, 2.0], 1.0) == []  # "less than" the difference


def test_front_is_what_no_other_beats(reported: Tree, study: Study) -> None:
    frame = csv(reported, "pareto")
    for row in frame.itertuples():
        beaten = (
            (frame["x"] >= row.x)
            & (frame["y"] <= row.y)
            & ((frame["x"] > row.x) | (frame["y"] < row.y))
        )
        assert row.front == (not beaten.any())
    numbers = summarise(study, EER, select(study).cells)
    assert frame["y_low"].tolist() == pytest.approx([each.low for each in numbers], abs=1e-6)
    drawing = drawn(pareto.draw, frame)
    assert "n = 5 seeds" in drawing.caption


def test_labels_do_not_cover_each_other() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (14, 2))
    points[:4] = points[0] + 1e-3 * rng.standard_normal((4, 2))  # nearly one point
    figure = Figure(figsize=(5, 3), layout="constrained")
    ax = figure.subplots()
    ax.scatter(*points.T)
    label_points(figure, ax, points, [f"Loss number {place}" for place in range(14)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(note) for note in ax.texts]  # without the thin lines
    assert len(boxes) == 14
    for place, box in enumerate(boxes):
        assert not any(
            box.shrunk(0.9, 0.7).overlaps(other.shrunk(0.9, 0.7)) for other in boxes[:place]
        )
        assert ax.get_window_extent().padded(3).containsx(box.x0)
        assert ax.get_window_extent().padded(3).containsx(box.x1)


def test_correlation_of_means_with_signs_turned(reported: Tree, study: Study) -> None:
    frame = csv(reported, "correlation").set_index(["first", "second"])
    means = study.frame.groupby("cell")[[TOP1, EER]].mean().dropna()
    rho = stats.spearmanr(means[TOP1], -means[EER]).statistic
    row = frame.loc[(TOP1, EER)]
    assert row["rho"] == pytest.approx(rho, abs=1e-6)
    assert row["n"] == len(means)
    # Recall@1 is made from the EER: the same order.
    assert frame.loc[(EER, "retrieval/recall_at_1"), "rho"] == pytest.approx(1)
    drawing = drawn(correlation.draw, frame.reset_index())
    texts = {text.get_text() for text in drawing.figure.axes[0].texts}
    unsure = frame[(frame["low"] <= 0) & (frame["high"] >= 0)]
    assert {f"({value:.2f})".replace("-", "−") for value in unsure["rho"]} <= texts
    assert "ρ > 0" in drawing.caption


def test_correlation_needs_five_settings(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "triplet": {"margin": [0.1, 0.2, 0.5]}})
    few = collect(tree.plan, tree.runs)
    assert list(correlation.gather(few, select(few))) == []


def test_geometry_has_angles_and_marks_what_is_refused(study: Study) -> None:
    some = with_geometry(study)
    ((_, frame),) = geometry.gather(some, select(some))
    own = frame[frame["metric"] == "geometry/w_ec"].set_index("loss")
    truth = mean_interval([20.0, 21, 22, 23, 24])
    assert own.loc["softmax", "mean"] == pytest.approx(22)
    assert own.loc["softmax", "high"] == pytest.approx(truth.high, abs=1e-6)
    assert np.isnan(own.loc["triplet", "mean"])
    assert own["refused"].to_dict() == {"softmax": False, "arcface": False, "triplet": True}
    drawing = drawn(geometry.draw, frame)
    labels = [ax.get_xlabel() for ax in drawing.figure.axes]
    assert labels == ["W-EC (°)", "Intra (°)", "AFS"]
    assert [text.get_text() for text in drawing.figure.axes[0].texts] == ["n/a"]


def test_geometry_table(study: Study) -> None:
    some = with_geometry(study)
    (table,) = geometry_tables(some, select(some))
    assert [column.header for column in table.columns] == [
        "Loss",
        "Setting",
        "W-EC (°)",
        "Intra (°)",
        "AFS",
    ]
    rows = {row[0]: row for row in table.rows}
    softmax, triplet = rows["Softmax"][2], rows["Triplet"][2]
    assert isinstance(softmax, Number)
    assert isinstance(triplet, Number)
    assert softmax.text == "22.0 ± 2.0"
    assert triplet.text == "n/a"
    assert "W-EC n/a: the loss has no class weights" in table.notes
    assert "22.0 ± 2.0" in to_markdown(table)
    assert r"W-EC ($^\circ$)" in to_latex(table)
    assert to_csv(table).splitlines()[0].startswith("loss,setting,geometry/w_ec,geometry/w_ec_ci95")


def test_a_study_without_unknown_classes_has_only_what_it_can_show(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "cosface": {}}, seeds=2, open_set=False)
    closed = collect(tree.plan, tree.runs)
    chosen = select(closed)
    for module in (worlds, pareto, correlation, geometry):
        assert list(module.gather(closed, chosen)) == []
    assert geometry_tables(closed, chosen) == []
    ((_, frame),) = ranks.gather(closed, chosen)
    assert set(frame["metric"]) == {"closed_set/top1"}


def test_one_loss_alone_is_drawn(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}})
    one = collect(tree.plan, tree.runs)
    chosen = select(one)
    assert list(ranks.gather(one, chosen)) == []
    assert list(pareto.gather(one, chosen)) == []
    ((_, frame),) = worlds.gather(one, chosen)
    assert "ρ not defined, 1 setting" in drawn(worlds.draw, frame).figure.axes[0].get_title(
        loc="left"
    )


def test_captions_name_what_is_missing_and_what_the_intervals_cover(tmp_path: Path) -> None:
    grid: Grid = {"softmax": {}, "cosface": {"margin": [0.2]}, "arcface": {"margin": [0.3]}}
    tree = write_tree(tmp_path, grid=grid, seeds=3, fates=lambda *_: ("finished", None))
    study = collect(tree.plan, tree.runs)
    frame = study.frame.copy()
    frame.loc[frame["loss"] == "arcface", EER] = np.nan
    study = replace(study, frame=frame, cache={})
    selection = select(study)
    (_, dots_), (_, front) = (*seeds.gather(study, selection), *pareto.gather(study, selection))
    for table, draw in ((dots_, seeds.draw), (front, pareto.draw)):
        assert "Bars: 95 % interval over seeds." in drawn(draw, table).caption
    assert "×: no run has a value." in drawn(seeds.draw, dots_).caption
    assert "Missing, as without a value in both: ArcFace." in drawn(pareto.draw, front).caption


def test_labels_stay_on_the_figure() -> None:
    """Of two metrics the colour bar is as short as can be; its label still fits."""
    table = pd.DataFrame(
        [{"first": TOP1, "second": EER, "rho": 0.5, "low": -0.1, "high": 0.8, "n": 9}]
    )
    with styled():
        figure = correlation.draw(table).figure
        figure.draw_without_rendering()
        label = figure.axes[1].yaxis.label.get_window_extent()
    assert label.y0 >= 0
    assert label.y1 <= figure.bbox.y1
