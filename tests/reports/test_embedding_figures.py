"""Figures of embeddings, angles and lengths: runs of a known geometry, and what is read of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from reports.collect import Study, collect
from reports.figures.embeddings import epochs as embedding_epochs
from reports.figures.embeddings import planar, sphere, unit_sphere
from reports.figures.embeddings import points as embedding_points
from reports.figures.embeddings import row as embedding_row
from reports.figures.saving import read
from reports.figures.style import styled
from reports.figures.training import angles, norms
from reports.selection import Selection, select
from tests.reports.fake_results import Tree, write_tree

CLASSES, IMAGES = 12, 40  # known classes; images of each, 30 of them for training
EPOCHS = (0, 1, 2, 3, 4, 5, 6, 10)
LENGTH = 4.0

Fate = tuple[str, str | None]


def rays(dim: int) -> NDArray[np.float64]:
    """Class c at angle 2πc/C, in three dimensions on the equator."""
    turn = 2 * np.pi * np.arange(CLASSES) / CLASSES
    return np.column_stack([np.cos(turn), np.sin(turn), *[np.zeros(CLASSES)] * (dim - 2)])


def fill(run: Path, dim: int, *, weights: bool = True, epochs: tuple[int, ...] = ()) -> None:
    """Embeddings of one run: image i of class c has length `LENGTH` + i/100 on the class's ray."""
    labels = np.tile(np.arange(CLASSES), IMAGES)
    place = np.repeat(np.arange(IMAGES), CLASSES)
    lengths = LENGTH + place / 100
    arrays: dict[str, Any] = {
        "embeddings": (lengths[:, None] * rays(dim)[labels]).astype(np.float32),
        "labels": labels,
        "part": np.where(place < 30, 0, 2).astype(np.int8),
        "known_classes": np.arange(CLASSES),
        "angle_epochs": np.array([1, 5, 10], np.int32),
    }
    # All images at 80, 50, 20 degrees from their own class, and three times as many at 90.
    at = np.eye(180, dtype=np.int32)
    arrays["target_angles"] = np.stack([100 * at[80], 100 * at[50], 100 * at[20]])
    arrays["other_angles"] = np.stack([300 * at[90]] * 3)
    if weights:
        arrays["class_weights"] = (0.5 * rays(dim)).astype(np.float32)
    if epochs:
        rows = np.arange(0, len(labels), 2)
        arrays["snapshot_epochs"] = np.array(epochs, np.int32)
        arrays["snapshot_rows"] = rows
        scale = np.array(epochs)[:, None, None] / max(epochs)
        arrays["snapshots"] = (scale * arrays["embeddings"][rows]).astype(np.float32)
        if weights:
            arrays["snapshot_weights"] = np.stack([arrays["class_weights"]] * len(epochs))
    np.savez(run / "embeddings.npz", **arrays)


def study_of(
    folder: Path,
    dim: int,
    grid: Mapping[str, Mapping[str, list[Any]]],
    *,
    lost: str = "",
    **content: Any,
) -> tuple[Tree, Study, Selection]:
    """A study of two seeds with these embeddings; all runs of the loss `lost` diverged."""

    def fate(loss: str, settings: Mapping[str, float], seed: int) -> Fate:
        return ("diverged", "loss not finite") if loss == lost else ("finished", None)

    tree = write_tree(
        folder, grid=grid, seeds=2, embedding_dim=dim, open_set=False, validation=False, fates=fate
    )
    for (loss, _, _), run in tree.ids.items():
        if loss != lost:
            fill(tree.runs / run, dim, **content)
    study = collect(tree.plan, tree.runs)
    return tree, study, select(study)


def back(folder: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as its CSV gives it."""
    frame.to_csv(folder / "frame.csv", index=False)
    return read(folder / "frame.csv")


def test_embedding_has_points_thinned_evenly_and_the_weights(tmp_path: Path) -> None:
    _, study, selection = study_of(tmp_path, 2, {"softmax": {}, "triplet": {}}, lost="triplet")
    ((name, frame),) = planar.gather(study, selection)
    assert name == "embedding"
    frame = back(tmp_path, frame)
    own = frame[frame["label"] == "Softmax"]
    assert set(own["class"]) == set(range(10))  # of twelve
    assert own["kind"].value_counts().to_dict() == {"train": 300, "test": 100, "weight": 10}
    assert set(own["seed"]) == {0}
    third = own[(own["kind"] == "test") & (own["class"] == 3)]
    assert third["x"].to_numpy() == pytest.approx(np.zeros(10), abs=1e-6)
    assert third["y"].to_numpy() == pytest.approx(LENGTH + np.arange(30, 40) / 100, abs=1e-3)
    weights = own[own["kind"] == "weight"][["x", "y"]].to_numpy()
    assert weights == pytest.approx(0.5 * rays(2)[:10], abs=1e-5)
    other = frame[frame["label"] == "Triplet"]
    assert other[["kind", "lost"]].values.tolist() == [["lost", "2 diverged"]]
    with styled():
        drawing = planar.draw(frame)
    texts = [text.get_text() for ax in drawing.figure.axes for text in ax.texts]
    assert texts.count("×\n2 diverged") == 3
    assert "first 10 of 12 known classes" in drawing.caption
    assert "Triplet (2 diverged)" in drawing.caption
    # The lines in the plane point where the weights do, in the order of the classes.
    flat = drawing.figure.axes[0]
    ends = [lines.get_segments() for lines in flat.collections if hasattr(lines, "get_segments")]
    tips = np.array([segment[1] for segment in ends[-1]])
    turns = np.arctan2(tips[:, 1], tips[:, 0])
    assert np.cos(turns - 2 * np.pi * np.arange(10) / CLASSES) == pytest.approx(np.ones(10))


def test_without_class_weights_the_lines_are_the_means_of_training_images(tmp_path: Path) -> None:
    _, study, selection = study_of(tmp_path, 2, {"triplet": {}}, weights=False)
    ((_, frame),) = planar.gather(study, selection)
    means = frame[frame["kind"] == "mean"]
    truth = (LENGTH + np.arange(30).mean() / 100) * rays(2)[:10]
    assert means[["x", "y"]].to_numpy() == pytest.approx(truth, abs=1e-3)


def test_many_cells_are_a_few_figures_and_the_caption_says_which(tmp_path: Path) -> None:
    margins = [round(0.01 * i, 2) for i in range(14)]
    _, study, selection = study_of(tmp_path, 2, {"arcface": {"margin": margins}})
    found = dict(planar.gather(study, selection))
    assert list(found) == ["embedding-1", "embedding-2", "embedding-3"]
    shown = [label for frame in found.values() for label in dict.fromkeys(frame["cell"])]
    assert shown == list(study.cells["cell"])[:12]
    assert max(len(frame) for frame in found.values()) <= 3100
    assert set(found["embedding-1"]["part_of"]) == {"12/14"}


def test_other_dimensions_have_no_planar_figure(tmp_path: Path) -> None:
    _, study, selection = study_of(tmp_path, 3, {"arcface": {"margin": [0.1, 0.2]}}, epochs=EPOCHS)
    for family in (planar, embedding_row, embedding_epochs):
        assert list(family.gather(study, selection)) == []


def test_row_has_a_column_for_each_value_of_one_setting(tmp_path: Path) -> None:
    grid = {"softmax": {}, "arcface": {"margin": [0.3, 0.1], "scale": [8.0, 16.0]}}
    _, study, selection = study_of(tmp_path, 2, grid)
    found = dict(embedding_row.gather(study, selection))
    assert list(found) == ["embedding_row-arcface-margin", "embedding_row-arcface-scale"]
    frame = back(tmp_path, found["embedding_row-arcface-margin"])
    assert list(dict.fromkeys(frame["title"])) == ["m = 0.1", "m = 0.3"]
    assert set(frame["cell"]) == {"arcface m=0.1 s=8", "arcface m=0.3 s=8"}  # one scale
    assert set(frame["kind"]) == {"test", "weight"}
    with styled():
        drawing = embedding_row.draw(frame)
    assert len(drawing.figure.axes) == 4
    assert "(radian)" in drawing.caption


def test_epochs_come_in_order_on_one_scale_and_the_animation_has_all(tmp_path: Path) -> None:
    _, study, selection = study_of(tmp_path, 2, {"softmax": {}}, epochs=EPOCHS)
    ((name, frame),) = embedding_epochs.gather(study, selection)
    assert name == "embedding_epochs-softmax-1"
    frame = back(tmp_path, frame)
    test = frame[frame["kind"] == "test"]
    assert tuple(dict.fromkeys(test["epoch"])) == EPOCHS
    lengths = np.hypot(test["x"], test["y"]).groupby(test["epoch"]).max()
    assert lengths.to_numpy() == pytest.approx(np.array(EPOCHS) / 10 * (LENGTH + 0.38), abs=2e-2)
    weights = frame[(frame["kind"] == "weight") & (frame["epoch"] == 4)]
    assert weights[["x", "y"]].to_numpy() == pytest.approx(0.5 * rays(2)[:10], abs=1e-5)
    with styled():
        drawing = embedding_epochs.draw(frame)
        titles = [ax.get_title() for ax in drawing.figure.axes[:6]]
        assert titles == ["before training", *(f"epoch {e}" for e in (1, 3, 4, 6, 10))]
        limits = {ax.get_xlim() for ax in drawing.figure.axes[:6]}
        seen = [
            (figure.get_suptitle(), figure.axes[0].get_xlim())
            for figure in embedding_epochs.animate(frame)
        ]
    assert len(limits | {limit for _, limit in seen}) == 1
    assert [text.rpartition(" ")[2] for text, _ in seen] == ["training", *map(str, EPOCHS[1:])]
    assert "6 of 8 epochs" in drawing.caption


@pytest.mark.parametrize("epochs", [(), (5,)])
def test_fewer_than_two_epochs_are_no_film(tmp_path: Path, epochs: tuple[int, ...]) -> None:
    _, study, selection = study_of(tmp_path, 2, {"softmax": {}, "cosface": {}}, epochs=epochs)
    assert list(embedding_epochs.gather(study, selection)) == []


def test_a_diverged_seed_leaves_the_film_to_the_next(tmp_path: Path) -> None:
    tree, study, selection = study_of(tmp_path, 2, {"softmax": {}}, epochs=EPOCHS)
    (tree.run("softmax", 0) / "embeddings.npz").unlink()
    ((_, frame),) = embedding_epochs.gather(study, selection)
    assert set(frame["seed"]) == {1}


def test_sphere_counts_the_pairs_of_test_images(tmp_path: Path) -> None:
    _, study, selection = study_of(tmp_path, 3, {"arcface": {"margin": [0.1, 0.2]}})
    ((name, frame),) = sphere.gather(study, selection)
    assert name == "sphere-arcface-margin"
    frame = back(tmp_path, frame)
    own = frame[frame["title"] == "ArcFace, m = 0.2"]
    positive = own[own["kind"] == "positive"]
    assert positive[["x", "count"]].to_numpy().tolist() == [[0, CLASSES * 10 * 9 / 2]]
    negative = own[own["kind"] == "negative"]
    assert negative["count"].sum() == 66 * 100  # pairs of classes, images
    # Twelve rays: twelve neighbours 30 degrees apart, ..., six that are opposite.
    counts = np.histogram(negative["x"], np.arange(15, 210, 30), weights=negative["count"])[0]
    assert counts.tolist() == [1200, 1200, 1200, 1200, 1200, 600]
    with styled():
        drawing = sphere.draw(frame)
    assert "m = 0.1: 2° and" in drawing.alt
    assert "of known classes" in drawing.caption


def test_projection_is_a_rotation_with_the_eye_in_front() -> None:
    axes = unit_sphere.projected(np.eye(3))
    assert axes @ axes.T == pytest.approx(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1)
    up = unit_sphere.projected(np.array([[0.0, 0.0, 5.0]]))[0]
    assert up[0] == pytest.approx(0)
    assert up[1] > 0


def test_angles_are_shares_with_the_medians_of_each_epoch(tmp_path: Path) -> None:
    grid = {"arcface": {"margin": [0.1]}, "cosface": {}, "triplet": {}}
    _, study, selection = study_of(tmp_path, 2, grid, lost="cosface")
    for run in study.frame.loc[study.frame["loss"] == "triplet", "id"]:
        (study.runs / run / "embeddings.npz").unlink()
    ((_, frame),) = angles.gather(study, selection)
    frame = back(tmp_path, frame)
    assert set(frame["loss"]) == {"arcface", "cosface"}  # triplet has no class weights
    own = frame[(frame["loss"] == "arcface") & (frame["kind"] == "own")]
    assert own[["epoch", "degrees", "share", "median", "n"]].to_numpy().tolist() == [
        [1, 78, 1, 80.5, 2],
        [5, 48, 1, 50.5, 2],
        [10, 18, 1, 20.5, 2],
    ]
    assert frame.loc[frame["loss"] == "cosface", "lost"].tolist() == ["2 diverged"]
    with styled():
        drawing = angles.draw(frame)
    assert "80 → 50 → 20°" in drawing.alt
    assert "2 seeds" in drawing.caption


def test_median_angle_is_that_of_the_images() -> None:
    degrees = np.random.default_rng(0).integers(0, 180, 20_001)
    found = angles.median_angle(np.bincount(degrees, minlength=180))
    assert abs(found - np.median(degrees + 0.5)) <= 0.5


def test_norms_count_every_test_image_of_every_seed(tmp_path: Path) -> None:
    _, study, selection = study_of(tmp_path, 2, {"softmax": {}, "triplet": {}}, lost="triplet")
    ((_, frame),) = norms.gather(study, selection)
    frame = back(tmp_path, frame)
    own = frame[frame["loss"] == "softmax"]
    assert own["count"].sum() == pytest.approx(2 * CLASSES * 10, abs=0.5)
    assert set(own["kind"]) == {"known"}
    lengths = LENGTH + np.arange(30, 40) / 100
    assert own["mean"].iloc[0] == pytest.approx(lengths.mean(), abs=0.03)
    assert own["high"].max() == pytest.approx(lengths.max(), abs=1e-3)
    with styled():
        drawing = norms.draw(frame)
    assert "Triplet (2 diverged)" in drawing.caption


def test_stored_histograms_of_lengths_are_joined_without_losing_an_image(tmp_path: Path) -> None:
    tree, study, selection = study_of(tmp_path, 2, {"softmax": {}})
    for seed, top in ((0, 3.0), (1, 7.0)):
        path = tree.run("softmax", seed) / "evaluations" / study.plan["evaluation"] / "curves.npz"
        curves: dict[str, Any] = {
            "test/geometry/norm_histogram": np.full(100, 5),
            "test/geometry/norm_edges": np.linspace(0, top, 101),
        }
        np.savez(path, **curves)
    ((_, frame),) = norms.gather(study, selection)
    assert set(frame["kind"]) == {"unknown"}
    assert frame["count"].sum() == pytest.approx(1000, abs=0.5)
    below = frame.loc[frame["high"] <= 3.5, "count"].sum()
    assert below == pytest.approx(500 + 250, abs=0.5)
    assert frame["mean"].iloc[0] == pytest.approx((1.5 + 3.5) / 2, rel=1e-3)


def test_thinning_keeps_both_ends() -> None:
    assert embedding_points.thinned(list(range(100)), 5)[::4] == [0, 99]
    assert embedding_points.thinned([3, 4], 5) == [3, 4]
