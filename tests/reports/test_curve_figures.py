"""Curves with their bands: what stands in the frames, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from reports.collect import Study, collect
from reports.figures.curves import det, oscr, pair_angles, roc
from reports.figures.curves import identification as identification_curves
from reports.figures.curves.bands import band_ends
from reports.figures.curves.panels import SHOWN, percent_from_data
from reports.figures.saving import read
from reports.figures.style import styled
from reports.figures.training import training
from reports.selection import Selection, select
from reports.statistics.intervals import Interval, interval, mean_interval
from reports.summary import cell_intervals
from tests.reports.fake_results import EVALUATION, Tree, quality, write_tree

GRID = {"softmax": {}, "arcface": {"margin": [0.3, 0.8], "scale": [64.0]}}
FARS = np.array([10 ** (-k / 5) for k in range(18, -1, -1)])
IMPOSTORS = 60_000


def curves_path(run: Path) -> Path:
    return run / "evaluations" / EVALUATION / "curves.npz"


def resample_curves(tree: Tree) -> None:
    """Give every run the ROC under the resamples that its TAR at FAR = 1e-2 has."""
    for run in tree.runs.iterdir():
        if not curves_path(run).exists():
            continue
        arrays = dict(np.load(curves_path(run)))
        name, home = "verification/tar_at_far_1e-02", "test/verification/"
        arrays[f"{home}replicate_far"] = FARS
        grid = np.interp(FARS, arrays[f"{home}far"], arrays[f"{home}tar"])
        arrays[f"{home}grid_tar"] = grid
        with np.load(curves_path(run).with_name("replicates.npz")) as stored:
            value = np.interp(0.01, arrays[f"{home}far"], arrays[f"{home}tar"])
            for kind, ours in (("replicates", "replicate_tar"), ("left_out", "left_out_tar")):
                moved = (stored[f"{kind}/{name}"] - value) / (value * (1 - value))
                around = grid + moved[:, None] * grid * (1 - grid)
                arrays[home + ours] = around.astype(np.float32)
        np.savez(curves_path(run), **arrays)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three cells of three seeds; all runs of one diverged, the others have resampled curves."""
    folder = tmp_path_factory.mktemp("curves")
    tree = write_tree(folder, grid=GRID, seeds=3, validation=False, identities="shared")
    resample_curves(tree)
    return collect(tree.plan, tree.runs)


def only(found: Iterable[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    ((_, frame),) = found
    return frame


def through_csv(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    frame.to_csv(folder / "frame.csv", index=False)
    return read(folder / "frame.csv")


def visible(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.get_visible()]


def test_the_band_at_an_operating_point_is_the_interval_of_the_table(study: Study) -> None:
    selection = select(study)
    frame = only(roc.gather(study, selection))
    tables = cell_intervals(study, "verification/tar_at_far_1e-02", selection.cells)
    compared = 0
    for cell, wanted in zip(selection.cells, tables, strict=True):
        at = frame[(frame["cell"] == cell) & np.isclose(frame["far"], 0.01)]
        for _, row in at.iterrows():
            assert row["covers"] == wanted.covers == "seeds and identities"
            found = row[["tar", "low", "high"]].tolist()
            assert found == pytest.approx([wanted.mean, wanted.low, wanted.high], abs=2e-6)
            # Identities add to what seeds say, which the band must show.
            assert wanted.low < wanted.mean < wanted.high
            compared += 1
    assert compared == 2


def test_the_line_is_the_mean_over_seeds_where_the_data_carry_it(study: Study) -> None:
    frame = only(roc.gather(study, select(study)))
    softmax = frame[frame["loss"] == "softmax"]
    assert softmax["far"].min() >= 10 / IMPOSTORS > softmax["far"].min() * 10**-0.2
    assert softmax["far"].max() == 1
    assert softmax["lowest"].unique() == pytest.approx([10 / IMPOSTORS], rel=1e-5)
    distances = [-2 * stats.norm.ppf(quality("softmax", {}, seed)[1]) for seed in range(3)]
    for _, row in softmax[softmax["far"] < 0.9].iterrows():
        truth = np.mean([stats.norm.cdf(stats.norm.ppf(row["far"]) + d) for d in distances])
        assert row["tar"] == pytest.approx(truth, abs=2e-3)
    assert (softmax[["n", "runs"]] == 3).all(axis=None)
    assert frame.groupby("cell").size().max() <= 40


def test_without_resampled_curves_the_seeds_alone_speak(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid=GRID, seeds=3, validation=False, identities="shared")
    study = collect(tree.plan, tree.runs)
    frame = only(roc.gather(study, select(study)))
    row = frame[(frame["loss"] == "softmax") & np.isclose(frame["far"], 0.1)].iloc[0]
    values = []
    for seed in range(3):
        with np.load(curves_path(tree.run("softmax", seed))) as stored:
            far, tar = stored["test/verification/far"], stored["test/verification/tar"]
            values.append(np.interp(0.1, far, tar))
    wanted = mean_interval(values)
    assert row["tar"] == pytest.approx(wanted.mean, abs=1e-6)
    assert row["low"] == pytest.approx(wanted.low, abs=1e-6)
    assert row["high"] == pytest.approx(min(wanted.high, 1), abs=1e-6)
    with styled():
        caption = roc.draw(frame).caption
    assert "over seeds alone (Student t" in caption
    assert "identities" not in caption


def test_roc_is_drawn_in_one_axes_and_says_what_is_missing(study: Study, tmp_path: Path) -> None:
    frame = through_csv(only(roc.gather(study, select(study))), tmp_path)
    with styled():
        drawing = roc.draw(frame)
    (ax,) = visible(drawing.figure)
    assert ax.get_xscale() == "log"
    softmax = frame[frame["loss"] == "softmax"]
    line = next(each for each in ax.get_lines() if each.get_label() == "Softmax")
    np.testing.assert_allclose(line.get_xydata()[:, 1], 100 * softmax["tar"])
    labels = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert sum(label.endswith("(no result)") for label in labels) == 1
    assert "3 seeds" in drawing.caption
    assert "over seeds and identities" in drawing.caption
    assert "3 of 9 runs (3 of ArcFace m=0.8 s=64)" in drawing.caption
    assert drawing.alt.count("%") == 2


def many(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """The finished cells of a frame, copied under other names."""
    kept = frame[frame["n"] > 0]
    groups = [group for _, group in kept.groupby("cell", sort=False)]
    return pd.concat(
        [
            groups[index % len(groups)].assign(cell=f"c{index}", label=f"Cell {index}")
            for index in range(count)
        ],
        ignore_index=True,
    )


def test_many_cells_have_a_panel_each(study: Study) -> None:
    frame = only(roc.gather(study, select(study)))
    gone = frame[frame["n"] == 0].assign(label="Gone")
    twelve = pd.concat([many(frame, 11), gone], ignore_index=True)
    with styled():
        drawing = roc.draw(twelve)
    panels = visible(drawing.figure)
    assert [ax.get_title() for ax in panels] == [f"Cell {k}" for k in range(11)] + ["Gone"]
    assert panels[-1].texts[0].get_text() == "× no result"
    assert len({ax.get_ylim() for ax in panels}) == 1
    for ax in panels[:11]:
        behind, own = ax.get_lines()
        assert np.isnan(behind.get_xdata()).sum() >= 12  # every line, with gaps between
        assert len(own.get_xdata()) == (frame["loss"] == "softmax").sum()
    with styled():
        drawing = roc.draw(many(frame, 40))
    assert len(visible(drawing.figure)) == SHOWN
    assert f"{SHOWN} of 40 have a panel" in drawing.caption
    assert drawing.figure.get_figheight() <= 8.5


def test_normal_scores_are_straight_lines_in_the_det(study: Study) -> None:
    frame = only(det.gather(study, select(study)))
    whole = only(roc.gather(study, select(study)))
    both = frame.merge(whole, on=["cell", "far"], suffixes=("", "_roc")).dropna(subset="far")
    assert both["frr"].to_numpy() == pytest.approx(1 - both["tar"].to_numpy())
    assert both["low"].to_numpy() == pytest.approx(1 - both["high_roc"].to_numpy())
    assert both["high"].to_numpy() == pytest.approx(1 - both["low_roc"].to_numpy())
    assert both["far"].max() <= 0.5
    assert both["frr"].min() >= 10 / 4750
    one = frame[frame["loss"] == "softmax"].assign(
        frr=lambda each: stats.norm.cdf(-2.5 - stats.norm.ppf(each["far"]))
    )
    with styled():
        (ax,) = visible(det.draw(one.assign(low=one["frr"], high=one["frr"])).figure)
    line = next(each for each in ax.get_lines() if each.get_label() == "Softmax")
    places = ax.transData.transform(line.get_xydata())
    slope, start = np.polyfit(places[:, 0], places[:, 1], 1)
    assert slope < 0
    np.testing.assert_allclose(places[:, 1], start + slope * places[:, 0], atol=0.05)
    labels = [ax.xaxis.get_major_formatter()(tick) for tick in (1e-6, 1e-3, 0.2)]
    assert labels == ["$10^{-4}$", "0.1", "20"]


def test_identification_and_open_set_recognition(tmp_path: Path) -> None:
    """From the curves alone, as runs judged without resamples have them."""
    tree = write_tree(tmp_path, grid={"softmax": {}}, seeds=2, fates=lambda *_: ("finished", None))
    fpir = np.geomspace(1e-3, 1, 100)
    for seed in range(2):
        path = curves_path(tree.run("softmax", seed))
        np.savez(
            path,
            **{
                "test/identification/rank": np.arange(1, 31),
                "test/identification/cmc": 1 - 0.4 / np.arange(1, 31) + 0.01 * seed,
                "test/identification/fpir": fpir,
                "test/identification/tpir": 0.6 + 0.1 * np.log10(fpir) + 0.02 * seed,
                "test/open_set_recognition/nearest_mean_fpr": fpir,
                "test/open_set_recognition/nearest_mean_ccr": 0.7 + 0.2 * np.log10(fpir),
            },
        )
    study = collect(tree.plan, tree.runs)
    counts = {"identification/non_mated_probes": 1000.0}
    counts["open_set_recognition/unknown_images"] = 1000.0
    study = Study(**{**vars(study), "frame": study.frame.assign(**counts), "cache": {}})
    study = Study(**{**vars(study), "metrics": (*study.metrics, *counts), "cache": {}})
    selection = Selection(["softmax"], None, "")
    assert not list(roc.gather(study, selection))
    cmc = only(identification_curves.gather_cmc(study, selection)).set_index("rank")
    assert list(cmc.index) == [1, 2, 3, 5, 7, 10, 15, 20, 30]
    assert cmc.loc[5, "cmc"] == pytest.approx(0.92 + 0.005)
    half = 12.7062 * 0.005  # t(1) · (0.01 / √2) / √2
    assert cmc.loc[1, "low"] == pytest.approx(0.605 - half, abs=1e-5)
    tpir = only(identification_curves.gather_tpir(study, selection)).set_index("fpir")
    assert tpir.index.min() == pytest.approx(0.01)
    assert tpir.loc[0.1, "tpir"] == pytest.approx(0.5 + 0.01, abs=1e-4)
    ccr = only(oscr.gather(study, selection)).set_index("fpr")
    assert ccr.loc[0.1, "ccr"] == pytest.approx(0.5, abs=1e-4)
    with styled():
        for draw, frame, words in (
            (identification_curves.draw_cmc, cmc, "Rank 1: Softmax 60.5 %"),
            (identification_curves.draw_tpir, tpir, "FPIR = 0.01: Softmax 41.0 %"),
            (oscr.draw, ccr, "FPR = 0.1: Softmax 50.0 %"),
        ):
            drawing = draw(frame.reset_index())
            assert words in drawing.alt
            assert "2 seeds" in drawing.caption


def test_pair_angles_have_their_threshold(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid=GRID, seeds=2, validation=False)
    genuine, impostor = np.zeros((2, 180))
    genuine[:60], impostor[40:140] = 7, 3  # uniform: (60 - t) / 60 = (t - 40) / 100 at 52.5°
    for run in tree.runs.iterdir():
        if curves_path(run).exists():
            home = "test/verification/"
            angles = {f"{home}genuine_angles": genuine, f"{home}impostor_angles": impostor}
            np.savez(curves_path(run), **angles)
    study = collect(tree.plan, tree.runs)
    frame = through_csv(only(pair_angles.gather(study, select(study))), tmp_path)
    softmax = frame[frame["loss"] == "softmax"]
    assert len(softmax) == 60
    assert softmax["threshold"].unique() == pytest.approx([52.5])
    assert softmax[["genuine", "impostor"]].sum().tolist() == pytest.approx([1, 1], abs=1e-3)
    assert softmax["genuine"].iloc[19:21].tolist() == pytest.approx([3 / 60, 0], abs=1e-4)
    eers = [quality("softmax", {}, seed)[1] for seed in range(2)]
    assert softmax["eer"].unique() == pytest.approx([np.mean(eers)], rel=1e-5)
    with styled():
        drawing = pair_angles.draw(frame)
    panels = visible(drawing.figure)
    assert len(panels) == 3
    title = panels[0].get_title()
    assert title == f"Softmax\nEER {100 * np.mean(eers):.1f} % at 52°"
    filled, outlined = panels[0].patches
    assert filled.get_fill()
    assert not outlined.get_fill()
    assert panels[2].texts[0].get_text() == "× no result"
    assert "2 of 6 runs" in drawing.caption
    assert panels[0].get_xlim() == (0, 150)


def test_where_the_error_exceeds_the_rate_the_band_is_not_stretched() -> None:
    small = interval([0.001, 0.0, 0.002], None)
    wide = Interval(0.001, 0.0, 0.9, 3, "seeds and identities", small.error, 2.0)
    assert band_ends(wide) == pytest.approx((0.0, 0.001 + small.half))
    high = Interval(0.999, 0.1, 1.0, 3, "seeds and identities", small.error, 2.0)
    assert band_ends(high) == pytest.approx((0.999 - small.half, 1.0))
    usual = Interval(0.5, 0.4, 0.62, 3, "seeds and identities", 0.025, 10.0)
    assert band_ends(usual) == (0.4, 0.62)
    nothing = interval([0.5], None)
    assert np.isnan(band_ends(nothing)).all()


def test_rates_of_models_without_an_error_end_at_100() -> None:
    ax = Figure().subplots()
    percent_from_data(ax, pd.DataFrame({"low": [1.0, 1.0], "tar": [1.0, 1.0]}), "tar")
    low, high = ax.get_ylim()
    assert 90 < low < 100 < high < 101


def test_a_training_that_diverged_is_marked_and_counted(tmp_path: Path) -> None:
    tree = write_tree(
        tmp_path,
        grid={"softmax": {}, "arcface": {"margin": [0.3]}},
        seeds=2,
        fates=lambda loss, *_: ("diverged", "no") if loss == "arcface" else ("finished", None),
    )
    study = collect(tree.plan, tree.runs)
    frame = through_csv(only(training.gather(study, select(study))), tmp_path)
    with styled():
        drawing = training.draw(frame)
    marks = [line for line in drawing.figure.axes[0].lines if line.get_marker() == "x"]
    last = frame.loc[(frame["loss"] == "arcface") & (frame["quantity"] == "loss"), "epoch"].max()
    assert [float(np.ravel(mark.get_xdata())[0]) for mark in marks] == [last]
    assert "×: none finished: ArcFace m=0.3 (2 diverged)." in drawing.caption
