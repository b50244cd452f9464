"""Figures: what stands in their CSVs, that they are drawn, and that they can be drawn again."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.__main__ import main
from reports.collect import collect
from reports.figures import FIGURES, draw_all, index
from reports.figures.style import slots, styled
from reports.intervals import mean_interval
from reports.selection import select
from tests.reports.fake_results import Tree, quality, write_tree

EXPECTED = {
    "seeds",
    "closed_vs_open",
    "roc",
    "heatmap-arcface",
    "sweep-margin-arcface",
    "sweep-scale-arcface",
    "sweep-margin-distance",
    "target_logit",
    "training",
}


def read(tree: Tree, name: str) -> pd.DataFrame:
    return pd.read_csv(tree.out / "figures" / f"{name}.csv", float_precision="round_trip")


def test_every_figure_has_its_three_files_and_is_not_blank(reported: Tree) -> None:
    folder = reported.out / "figures"
    assert {each.name for each in index(folder)} == EXPECTED
    assert {path.stem for path in folder.iterdir()} == EXPECTED | {"figures"}
    for name in EXPECTED:
        image = matplotlib.image.imread(folder / f"{name}.png")
        assert image.shape[1] >= 600  # 200 dpi over a column
        ink = (image[..., :3].min(axis=2) < 0.9).mean()
        assert 0.002 < ink < 0.95, name
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert "</svg>" in (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert len(read(reported, name)) > 0


def test_heatmap_values_and_gaps(reported: Tree) -> None:
    frame = read(reported, "heatmap-arcface").set_index(["metric", "y", "x"])
    assert set(frame["y_name"]) == {"margin"}
    assert set(frame["x_name"]) == {"scale"}
    truth = [quality("arcface", {"margin": 0.3, "scale": 64.0}, seed)[1] for seed in range(5)]
    row = frame.loc[("verification/eer", 0.3, 64.0)]
    assert row["mean"] == pytest.approx(np.mean(truth))
    assert row["half"] == pytest.approx(mean_interval(truth).half)
    part = frame.loc[("verification/eer", 0.8, 32.0)]
    assert (part["n"], part["planned"], part["lost"]) == (3, 5, "2 diverged")
    gone = frame.loc[("verification/eer", 0.8, 64.0)]
    assert gone["n"] == 0
    assert np.isnan(gone["mean"])
    # Triplet has no classifier, so all losses are shown by the nearest class mean.
    assert set(frame.index.get_level_values("metric")) == {
        "closed_set/ncm_top1",
        "verification/eer",
    }


def test_sweep_has_the_losses_own_unit_and_a_reference(reported: Tree) -> None:
    frame = read(reported, "sweep-margin-distance")
    swept = frame[(frame["metric"] == "verification/eer") & frame["x"].notna()]
    assert swept["x"].tolist() == [0.1, 0.2, 0.5]
    truth = [
        np.mean([quality("triplet", {"margin": margin}, seed)[1] for seed in range(5)])
        for margin in (0.1, 0.2, 0.5)
    ]
    assert swept["mean"].tolist() == pytest.approx(truth)
    assert set(frame.loc[frame["x"].isna(), "loss"]) == {"softmax"}


def test_roc_is_the_mean_over_seeds_where_the_data_carries_it(reported: Tree) -> None:
    frame = read(reported, "roc")
    assert frame["far"].min() == pytest.approx(10 / 60_000)
    softmax = frame[frame["loss"] == "softmax"]
    at = softmax.iloc[60]
    distances = [-2 * stats.norm.ppf(quality("softmax", {}, seed)[1]) for seed in range(5)]
    truth = np.mean([stats.norm.cdf(stats.norm.ppf(at["far"]) + d) for d in distances])
    assert at["tar"] == pytest.approx(truth, abs=1e-3)
    assert (softmax["n"] == 5).all()


def test_scatter_has_every_finished_run(reported: Tree) -> None:
    frame = read(reported, "closed_vs_open")
    assert len(frame) == 5 * 10 - 7
    study = collect(reported.plan, reported.runs)
    figures = {family.prefix: family for family in FIGURES}
    with styled():
        drawing = figures["closed_vs_open"].draw(frame)
    means = study.frame.groupby("cell")[["closed_set/ncm_top1", "verification/eer"]].mean().dropna()
    rho = stats.spearmanr(means.iloc[:, 0], -means.iloc[:, 1]).statistic
    assert f"{rho:.2f}, 95 % interval" in drawing.caption
    low, high = drawing.figure.axes[0].get_ylim()
    assert low > high  # a small EER is up


def test_seeds_figure_shows_every_run_and_the_mean(reported: Tree) -> None:
    frame = read(reported, "seeds")
    assert len(frame) == 3 * 3 * 5  # metrics × chosen cells × seeds
    figures = {family.prefix: family for family in FIGURES}
    with styled():
        drawing = figures["seeds"].draw(frame)
    dots = [np.asarray(group.get_offsets()) for group in drawing.figure.axes[1].collections]
    dots = [points for points in dots if len(points)]
    truth = [100 * quality("softmax", {}, seed)[1] for seed in range(5)]
    assert sorted(dots[0][:, 0]) == pytest.approx(sorted(truth))


def test_target_logit_is_the_papers_formula(reported: Tree) -> None:
    frame = read(reported, "target_logit")
    arcface = frame[frame["loss"] == "arcface"]
    margin = float(arcface["label"].iloc[0].split("m=")[1])
    # At 0° the cosine is clamped; past π - m the rule decides.
    arcface = arcface[arcface["degrees"] > 0]
    inside = arcface[np.radians(arcface["degrees"]) + margin < np.pi]
    truth = np.cos(np.radians(inside["degrees"]) + margin)
    assert inside["target"].tolist() == pytest.approx(truth.tolist(), abs=1e-5)
    assert set(frame["loss"]) == {"arcface"}  # softmax and triplet have no target logit


def test_training_is_the_mean_over_seeds(reported: Tree) -> None:
    frame = read(reported, "training")
    study = collect(reported.plan, reported.runs)
    ids = study.frame.loc[study.frame["cell"] == "softmax", "id"]
    truth = np.mean([study.history(experiment)[3]["accuracy"] for experiment in ids])
    own = frame[(frame["cell"] == "softmax") & (frame["epoch"] == 4)].set_index("quantity")
    assert own.loc["accuracy", "mean"] == pytest.approx(truth)
    triplet = frame[frame["loss"] == "triplet"]
    assert set(triplet["quantity"]) == {"loss"}


def test_embedding_panels(tmp_path: Path) -> None:
    tree = write_tree(
        tmp_path,
        grid={"softmax": {}, "arcface": {"margin": [0.3]}},
        seeds=2,
        embedding_dim=2,
        open_set=False,
    )
    study = collect(tree.plan, tree.runs)
    saved = draw_all(study, select(study), tree.out / "figures")
    names = {figure.name for figure in saved}
    assert {"embedding-softmax-1", "embedding-arcface-2"} <= names
    assert not names & {"roc", "closed_vs_open"}
    frame = read(tree, "embedding-softmax-1")
    stored = np.load(tree.run("softmax", 0) / "embeddings.npz")
    assert frame["part"].value_counts().to_dict() == {"train": 500, "unknown": 120, "test": 100}
    first = frame[(frame["part"] == "test") & (frame["class"] == 3)][["x", "y"]].to_numpy()
    rows = (stored["part"] == 2) & (stored["labels"] == 3)
    assert first == pytest.approx(stored["embeddings"][rows])


def test_a_loss_keeps_its_colour_in_every_figure(reported: Tree) -> None:
    places = slots(collect(reported.plan, reported.runs))
    for name in ("seeds", "closed_vs_open", "roc", "training", "target_logit"):
        frame = read(reported, name)
        assert (frame["slot"] == frame["loss"].map(places)).all()


def test_redraw_gives_the_same_pictures(reported: Tree, tmp_path: Path) -> None:
    for name in ("heatmap-arcface", "sweep-margin-distance", "roc"):
        source = reported.out / "figures" / f"{name}.csv"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    assert main(["--redraw", str(tmp_path)]) == 0
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (reported.out / "figures" / path.name).read_bytes(), path.name


def test_redraw_of_a_wrong_folder_is_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["--redraw", str(tmp_path)]) == 2
    assert "no CSV" in caplog.text
