"""Figures of what losses and settings do: curves and regions against closed forms, sweeps and
heatmaps against numbers computed here, training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.collect import Study, collect
from reports.figures import small_multiples
from reports.figures.losses import psi, regions, targets
from reports.figures.saving import read
from reports.figures.settings import heatmap, sweep
from reports.figures.settings.sweep_axis import _apart
from reports.figures.style import Drawing, styled
from reports.figures.training import annealing, training
from reports.selection import select
from reports.statistics.intervals import mean_interval
from reports.summary import cell_intervals
from tests.reports.fake_results import fate, quality, write_tree

MARGINS = {"cosface": 0.35, "arcface": 0.5, "sphereface": 4, "l_softmax": 2, "sphereface_r": 1.5}


def finished(*_: object) -> tuple[str, None]:
    return "finished", None


@pytest.fixture(scope="module")
def margins(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Five margin losses and two without a margin on a logit, one setting each."""
    grid = {name: {"margin": [value]} for name, value in MARGINS.items()}
    folder = tmp_path_factory.mktemp("margins")
    tree = write_tree(folder, grid={**grid, "softmax": {}, "triplet": {}}, seeds=2, fates=finished)
    return collect(tree.plan, tree.runs)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """ArcFace at margins and scales, among them diverged runs; others for reference; resamples."""
    grid = {
        "softmax": {},
        "norm_softmax": {"scale": [8.0, 16.0, 32.0]},
        "arcface": {"margin": [0.1, 0.3, 0.8], "scale": [32.0, 64.0]},
        "triplet": {"margin": [0.1, 0.2, 0.5]},
    }
    tree = write_tree(tmp_path_factory.mktemp("swept"), grid=grid, seeds=4, identities="shared")
    trained = tree.run("norm_softmax", 0, scale=8.0)
    np.savez(trained / "embeddings.npz", known_classes=np.arange(100))
    return collect(tree.plan, tree.runs)


def frames(module: object, study: Study) -> dict[str, pd.DataFrame]:
    return dict(module.gather(study, select(study)))  # type: ignore[attr-defined]


def drawn(module: object, frame: pd.DataFrame, folder: Path) -> Drawing:
    """From the CSV, as a reader would draw it again."""
    frame.to_csv(folder / "frame.csv", index=False)
    with styled():
        drawing: Drawing = module.draw(read(folder / "frame.csv"))  # type: ignore[attr-defined]
        drawing.figure.canvas.draw()
    assert drawing.caption
    assert drawing.alt
    assert max(drawing.figure.get_size_inches()) <= 8.5
    return drawing


def of_loss(frame: pd.DataFrame, loss: str) -> tuple[pd.DataFrame, np.ndarray]:
    own = frame[frame["loss"] == loss].reset_index(drop=True)
    return own, np.radians(own["degrees"].to_numpy(dtype=float))


def test_target_logits_and_gradients_are_the_papers(margins: Study, tmp_path: Path) -> None:
    frame = frames(targets, margins)["target_logit"]
    assert set(frame["loss"]) == set(MARGINS)  # softmax and triplet have none
    cosface, theta = of_loss(frame, "cosface")
    inner = slice(1, -1)  # the losses bound the slope of the angle at the ends
    assert cosface["target"].to_numpy() == pytest.approx(np.cos(theta) - 0.35, abs=1e-5)
    assert cosface["gradient"][inner].to_numpy() == pytest.approx(np.sin(theta)[inner], abs=1e-5)
    arcface, theta = of_loss(frame, "arcface")
    inside = (theta + 0.5 < math.pi) & (theta > 0)
    assert arcface["target"][inside].to_numpy() == pytest.approx(
        np.cos(theta + 0.5)[inside], abs=1e-5
    )
    assert arcface["gradient"][inside].to_numpy() == pytest.approx(
        np.sin(theta + 0.5)[inside], abs=1e-4
    )
    # At the end of its annealing SphereFace mixes with λ = 5, its least.
    sphereface, theta = of_loss(frame, "sphereface")
    k = np.floor(np.minimum(4 * theta / np.pi, 3))
    psi_4 = (-1) ** k * np.cos(4 * theta) - 2 * k
    assert sphereface["target"].to_numpy() == pytest.approx(
        (5 * np.cos(theta) + psi_4) / 6, abs=1e-5
    )
    drawing = drawn(targets, frame, tmp_path)
    assert len(drawing.figure.axes) == 2
    assert len(drawing.figure.axes[0].lines) == 1 + len(MARGINS)  # cos θ and a line each


def test_psi_is_liu_et_al_and_equal_curves_share_a_panel(margins: Study, tmp_path: Path) -> None:
    frame = frames(psi, margins)["psi"]
    assert list(dict.fromkeys(frame["label"])) == ["SphereFace, L-Softmax", "SphereFace-R (clip)"]
    theta = np.radians(np.arange(0, 181, 2))
    for m in (1, 2, 3, 4):
        own = frame[frame["m"] == m].set_index("label")["psi"]
        k = np.minimum(np.floor(m * theta / np.pi + 1e-9), m - 1)
        truth = (-1) ** k * np.cos(m * theta) - 2 * k
        assert own["SphereFace, L-Softmax"].to_numpy() == pytest.approx(truth, abs=1e-5)
        clipped = np.cos(np.minimum(m * theta, np.pi))
        assert own["SphereFace-R (clip)"].to_numpy() == pytest.approx(clipped, abs=1e-5)
    trained = frame[frame["trained"]].groupby("label")["m"].unique()
    assert sorted(trained["SphereFace, L-Softmax"]) == [2, 4]
    assert "SphereFace-R (clip)" not in trained  # m = 1.5 is none of the four
    assert len(drawn(psi, frame, tmp_path).figure.axes) == 2


def test_decision_boundaries_are_the_papers(margins: Study, tmp_path: Path) -> None:
    frame = frames(regions, margins)["regions"]
    arcface, theta = of_loss(frame, "arcface")
    inside = (theta + 0.5 < math.pi) & (theta > 0)
    least = regions.boundary(arcface["target"])
    assert least[inside] == pytest.approx(np.degrees(theta + 0.5)[inside], abs=0.1)  # θ1 + m = θ2
    assert np.isnan(least[theta + 0.5 > math.pi]).all()
    cosface, theta = of_loss(frame, "cosface")
    least = regions.boundary(cosface["target"])
    known = ~np.isnan(least)
    assert np.cos(np.radians(least[known])) == pytest.approx(np.cos(theta[known]) - 0.35, abs=1e-5)
    assert (np.cos(theta[~known]) - 0.35 < -1).all()
    sphere, theta = of_loss(frame, "sphereface_r")
    least = regions.boundary(sphere["target"])
    expected = np.degrees(np.minimum(1.5 * theta, np.pi))  # mθ1 = θ2
    assert least == pytest.approx(expected, abs=0.1)
    drawing = drawn(regions, frame, tmp_path)
    titles = [text.get_text() for text in drawing.figure.axes[0].texts]
    assert "CosFace m=0.35" in " ".join(titles).replace("\n", " ")
    assert "both hold" not in drawing.caption


def test_regions_say_where_both_margins_hold() -> None:
    degrees = np.arange(0, 181, 2)
    rising = np.cos(np.radians(degrees) + 0.5)  # without a rule it rises again past π - m
    fixed = {"label": "a", "loss": "arcface", "slot": 0, "degrees": degrees, "total": 1}
    with styled():
        assert "both hold" in regions.draw(pd.DataFrame({**fixed, "target": rising})).caption


def test_annealing_is_the_formula_and_what_the_runs_logged(tmp_path: Path) -> None:
    tree = write_tree(
        tmp_path, grid={"sphereface": {"margin": [4]}, "softmax": {}}, seeds=3, fates=finished
    )
    for seed in range(3):
        path = tree.run("sphereface", seed, margin=4) / "history.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line[:-1] + f', "lambda": {50 + seed}}}' for line in lines))
    frame = frames(annealing, collect(tree.plan, tree.runs))["annealing"]
    assert set(frame["loss"]) == {"sphereface"}
    code = frame[frame["source"] == "code"]
    assert code["step"].iloc[0] == 1
    # 15,000 images in 10 epochs by 256: six steps an epoch.
    assert code["step"].iloc[-1] == 60
    truth = np.maximum(5, 1000 / (1 + 0.12 * code["step"]))
    assert code["mean"].to_numpy() == pytest.approx(truth.to_numpy(), rel=1e-5)
    epochs = frame[frame["source"] == "epoch"]
    assert epochs["step"].tolist() == [6 * epoch - 3 for epoch in range(1, 11)]
    assert epochs["mean"].tolist() == pytest.approx([51.0] * 10)
    assert epochs["high"].iloc[0] == pytest.approx(mean_interval([50, 51, 52]).high, rel=1e-5)
    assert "own code" in drawn(annealing, frame, tmp_path).caption


def test_sweep_has_the_intervals_of_the_tables_and_marks_what_diverged(
    swept: Study, tmp_path: Path
) -> None:
    found = frames(sweep, swept)
    assert set(found) == {"sweep-scale", "sweep-margin-radian", "sweep-margin-distance"}
    frame = found["sweep-margin-radian"]
    assert list(dict.fromkeys(frame["metric"])) == [
        "closed_set/ncm_top1",
        "verification/eer",
        "retrieval/recall_at_1",
    ]
    eer = frame[(frame["metric"] == "verification/eer") & frame["x"].notna()]
    assert eer["series"].unique().tolist() == ["s=32", "s=64"]  # the only loss: all its lines
    row = eer[(eer["x"] == 0.3) & (eer["series"] == "s=32")].iloc[0]
    truth = [quality("arcface", {"margin": 0.3, "scale": 32.0}, seed)[1] for seed in range(4)]
    assert row["mean"] == pytest.approx(np.mean(truth), rel=1e-5)
    (table,) = cell_intervals(swept, "verification/eer", ["arcface m=0.3 s=32"])
    assert (row["low"], row["high"]) == pytest.approx((table.low, table.high), rel=1e-5)
    assert row["covers"] == "seeds and identities"
    gone = eer[(eer["x"] == 0.8) & (eer["series"] == "s=64")].iloc[0]
    assert gone["n"] == 0
    # The references vary no margin in radian; the triplet's is another margin.
    assert set(frame.loc[frame["x"].isna(), "loss"]) == {"softmax", "norm_softmax"}
    drawing = drawn(sweep, frame, tmp_path)
    crosses = [line for line in drawing.figure.axes[1].lines if line.get_marker() == "x"]
    assert [np.asarray(line.get_ydata())[0] for line in crosses] == [
        0.97
    ]  # the worst edge of an error rate
    lost = sum(
        fate("arcface", {"margin": 0.8, "scale": s}, k)[0] != "finished"
        for s in (32, 64)
        for k in range(4)
    )
    assert f"{lost} of 24 runs have no result" in drawing.caption


def test_losses_on_one_axis_share_a_figure_with_the_bound_of_the_scale(
    swept: Study, tmp_path: Path
) -> None:
    frame = frames(sweep, swept)["sweep-scale"]
    mine = frame[frame["x"].notna()]
    assert set(mine["loss"]) == {"norm_softmax", "arcface"}
    chosen = next(cell for cell in select(swept).cells if cell.startswith("arcface"))
    # ArcFace stands at the margin of its compared setting.
    assert mine.loc[mine["loss"] == "arcface", "series"].unique().tolist() == [chosen.split()[1]]
    drawing = drawn(sweep, frame, tmp_path)
    bound = 99 / 100 * math.log(99 * 0.9 / 0.1)
    ends = [np.asarray(line.get_xdata()) for line in drawing.figure.axes[0].lines]
    vertical = [x[0] for x in ends if len(x) == 2 and x[0] == x[1]]
    assert vertical == [pytest.approx(bound)]
    texts = [text.get_text() for text in drawing.figure.axes[0].texts]
    assert f"s ≥ {bound:.3g}, C = 100" in texts


def test_heatmap_values_gaps_and_the_difference_of_the_goals(swept: Study, tmp_path: Path) -> None:
    frame = frames(heatmap, swept)["heatmap-arcface"]
    eer = frame[frame["metric"] == "verification/eer"].set_index(["y", "x"])
    closed = frame[frame["metric"] == "closed_set/ncm_top1"].set_index(["y", "x"])
    part = eer.loc[(0.8, 32.0)]
    assert (part["n"], part["planned"], part["lost"]) == (2, 4, "2 diverged")
    assert eer.loc[(0.8, 64.0), "n"] == 0
    (table,) = cell_intervals(swept, "verification/eer", ["arcface m=0.1 s=64"])
    assert eer.loc[(0.1, 64.0), "high"] == pytest.approx(table.high, rel=1e-5)
    both = heatmap.difference(frame).set_index(["y", "x"])
    place = (0.1, 64.0)
    gap_open = eer.loc[place, "mean"] - eer["mean"].min()
    gap_closed = closed["mean"].max() - closed.loc[place, "mean"]
    assert both.loc[place, "mean"] == pytest.approx(gap_open - gap_closed)
    half = math.hypot(
        *((own.loc[place, "high"] - own.loc[place, "low"]) / 2 for own in (eer, closed))
    )
    assert both.loc[place, "high"] - both.loc[place, "mean"] == pytest.approx(half)
    drawing = drawn(heatmap, frame, tmp_path)
    assert len(drawing.figure.axes) == 4  # two goals, their difference, its colour bar
    low, high = drawing.figure.axes[2].images[0].get_clim()
    assert low == -high
    for ax in drawing.figure.axes[:3]:
        assert sum(patch.get_hatch() is not None for patch in ax.patches) == 1
    assert "Hatched: no run finished." in drawing.caption


def test_training_is_the_mean_over_seeds(margins: Study, tmp_path: Path) -> None:
    frame = frames(training, margins)["training"]
    ids = margins.frame.loc[margins.frame["loss"] == "softmax", "id"]
    truth = [margins.history(experiment)[3]["accuracy"] for experiment in ids]
    own = frame[(frame["loss"] == "softmax") & (frame["epoch"] == 4)].set_index("quantity")
    assert own.loc["accuracy", "mean"] == pytest.approx(np.mean(truth), rel=1e-5)
    assert own.loc["accuracy", "high"] == pytest.approx(mean_interval(truth).high, rel=1e-5)
    assert set(frame.loc[frame["loss"] == "triplet", "quantity"]) == {"loss"}
    drawing = drawn(training, frame, tmp_path)
    assert len(drawing.figure.axes) == 3
    assert "without accuracy: Triplet" in drawing.caption


def test_many_settings_share_one_figure_by_family(tmp_path: Path) -> None:
    grid = {
        "arcface": {"margin": [0.1 * k for k in range(1, 9)], "scale": [8.0, 16, 32, 64, 128]},
        "softmax": {},
    }
    tree = write_tree(tmp_path, grid=grid, seeds=1, validation=False, fates=finished)
    found = frames(training, collect(tree.plan, tree.runs))
    assert set(found) == {"training"}
    drawing = drawn(training, found["training"], tmp_path)
    assert "32 of 41 settings shown" in drawing.caption
    assert found["training"]["loss"].nunique() == 2  # one of each loss before a second of any


def test_groups_hold_every_line_once_and_few_of_them() -> None:
    lines = {f"a{k}": "arcface" for k in range(16)} | {"t": "triplet", "s": "softmax", "x": "mine"}
    groups = small_multiples.grouped(lines)
    assert sorted(line for _, own in groups for line in own) == sorted(lines)
    assert max(len(own) for _, own in groups) <= small_multiples.TOGETHER
    assert small_multiples.grouped({"a": "arcface", "t": "triplet"}) == [("", ["a", "t"])]
    assert small_multiples.first_of_each(["a", "a", "a", "b", "c"], 4) == [0, 1, 3, 4]


@pytest.mark.parametrize("most", [2, 4, 7])
def test_ticks_keep_their_distance_and_both_ends(most: int) -> None:
    places = np.sort(np.random.default_rng(0).uniform(0, 1, 30))
    kept = _apart(places, most)
    assert kept[0] == 0
    assert kept[-1] == 29
    assert len(kept) <= most + 1
    assert kept == sorted(set(kept))


def test_a_study_without_margins_or_axes_has_none_of_these(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, grid={"softmax": {}, "triplet": {}}, seeds=1)
    study = collect(tree.plan, tree.runs)

    def names() -> Iterator[str]:
        for module in (targets, psi, regions, annealing, sweep, heatmap):
            yield from frames(module, study)

    assert list(names()) == []
