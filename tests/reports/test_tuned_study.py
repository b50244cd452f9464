"""A tuned study: cells by arm, axes by the grid alone, the choice among winners of searches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from reports.collect import Study, collect, write_results
from reports.errors import ReportError
from reports.selection import select
from reports.summary import full_setting, setting_text
from tests.reports.fake_results import Tree, write_json
from tests.reports.fake_tuning import write_tuned

GRID = {
    "norm_softmax": {"scale": [8.0, 16.0]},
    "arcface": {"margin": [0.3, 0.5, 0.7], "scale": [32.0, 64.0]},
}
EER = "validation/verification/eer"


def read(tree: Tree) -> Study:
    return collect(tree.plan, tree.runs)


def finished(*_: object) -> tuple[str, None]:
    return "finished", None


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three tuned losses; a grid of one of them and of one that is not tuned."""
    folder = tmp_path_factory.mktemp("tuned")
    return read(write_tuned(folder, seeds=3, grid=GRID, around=["cosface"], fates=finished))


def test_cells_are_named_by_arm(study: Study) -> None:
    cells = study.cells.groupby("loss", sort=False)["cell"].agg(list)
    assert cells["softmax"] == ["softmax default = tuned 1", "softmax tuned 2"]
    assert cells["norm_softmax"] == ["norm_softmax s=8", "norm_softmax s=16"]
    # The grid's own point at the default is the default; no point stands twice.
    assert cells["arcface"][:3] == ["arcface default", "arcface tuned 1", "arcface tuned 2"]
    assert "arcface m=0.5 s=64" not in cells["arcface"]
    assert len(cells["arcface"]) == 2 + 6 - 1  # search 2 found m=0.3 s=32 of the grid
    assert cells["cosface"][2:] == ["cosface around m=0.48", "cosface around m=0.75"]
    assert study.arms["softmax", "default"] == study.arms["softmax", "tuned 1"]
    assert ("cosface", "tuned 2") not in study.arms
    assert study.tuned_cells("softmax") == ["softmax default = tuned 1", "softmax tuned 2"]
    assert study.tuned_cells("norm_softmax") == []
    assert study.frame.groupby("cell")["seed"].agg(list).map(len).eq(3).all()


def test_axes_are_those_of_grid_and_around(study: Study) -> None:
    assert study.axes == {
        "norm_softmax": ["scale"],
        "arcface": ["margin", "scale"],
        "softmax": [],
        "cosface": ["margin"],
    }
    points = study.swept("arcface")[["margin", "scale"]].drop_duplicates()
    assert points.to_numpy().tolist() == [[m, s] for m in (0.3, 0.5, 0.7) for s in (32.0, 64.0)]
    assert sorted(study.swept("cosface")["margin"].unique()) == pytest.approx([0.48, 0.6, 0.75])
    assert len(study.swept("softmax")) == 0
    assert len(study.swept("norm_softmax")) == 6


def test_settings_in_words(study: Study) -> None:
    winner = study.cells.set_index("cell").loc["cosface tuned 1"]
    assert setting_text(study, "cosface tuned 1") == "tuned 1"
    rate, decay = winner["learning_rate"], winner["weight_decay"]
    assert full_setting(study, "cosface tuned 1") == (
        f"tuned 1: m=0.6 s={winner['scale']:.4g} lr={rate:.4g} wd={decay:.4g}".replace("e-0", "e-")
    )
    assert full_setting(study, "softmax default = tuned 1") == "default = tuned 1: lr=0.1 wd=0.0005"
    assert full_setting(study, "norm_softmax s=8") == "s=8"
    assert full_setting(study, "cosface around m=0.48").startswith("around: m=0.48 s=")


def test_only_winners_of_searches_are_candidates(tmp_path: Path) -> None:
    tree = write_tuned(tmp_path, seeds=3, grid=GRID, fates=finished)
    study = read(tree)
    # On validation a grid cell and the default beat every winner, and tuned 1 beats tuned 2, which
    # is better on test images.
    for row in study.frame.to_dict("records"):
        if row["loss"] == "arcface":
            value = 0.02 if row["cell"] == "arcface tuned 1" else 0.03
            value = 0.01 if row["arm"] in ("grid", "default = grid") else value
            path = tree.runs / row["id"] / "evaluations/e0/metrics.json"
            content = json.loads(path.read_text())
            content["metrics"][EER] = value
            write_json(path, content)
    study = read(tree)
    means = study.frame.groupby("cell")["verification/eer"].mean()
    assert means["arcface tuned 2"] < means["arcface tuned 1"]
    chosen = select(study)
    assert chosen.criterion == EER
    assert [cell for cell in chosen.cells if "arcface" in cell] == ["arcface tuned 1"]
    assert chosen.edges == {}
    # A loss that nothing tuned stands with the best of its grid.
    assert "norm_softmax s=16" in chosen.cells
    assert "NormFace: not tuned" in chosen.rule


def test_default_stands_for_a_loss_whose_searches_failed(tmp_path: Path) -> None:
    study = read(write_tuned(tmp_path, seeds=2, failed=[("cosface", 1), ("cosface", 2)]))
    chosen = select(study)
    assert "cosface default" in chosen.cells
    assert "CosFace: no search has a result, so the default stands for it." in chosen.rule


def test_the_objective_is_the_criterion(tmp_path: Path) -> None:
    name = "validation/closed_set/ncm_top1"

    def values(_: object, settings: Mapping[str, float], seed: int) -> tuple[float, float]:
        # Closed set and open set disagree about which learning rate is best.
        rate = settings["learning_rate"]
        return 0.9 + 0.05 * rate + 0.001 * seed, 0.1 + 0.1 * rate

    options = {"seeds": 3, "values": values, "losses": ("softmax", "triplet"), "failed": ()}
    by_closed = select(read(write_tuned(tmp_path / "a", objectives=[name], **options)))
    by_open = select(read(write_tuned(tmp_path / "b", **options)))
    several = select(read(write_tuned(tmp_path / "c", objectives=[name, EER], **options)))
    assert by_closed.criterion == name
    assert by_open.criterion == several.criterion == EER
    assert by_closed.cells[0] == "softmax default = tuned 1"
    assert by_open.cells[0] == several.cells[0] == "softmax tuned 2"


def test_without_validation_every_winner_is_compared(tmp_path: Path) -> None:
    chosen = select(read(write_tuned(tmp_path / "a", seeds=2, validation=False)))
    assert chosen.criterion is None
    assert len(chosen.cells) == 5
    assert "arcface default" not in chosen.cells
    single = select(read(write_tuned(tmp_path / "b", seeds=2, searches=1, validation=False)))
    assert [cell.split()[-1] for cell in single.cells] == ["1", "1", "1"]
    assert single.rule.startswith("Each tuned loss stands with the setting that its search found")


@pytest.mark.parametrize(
    "before", [{"tuning": {"trials": 9}}, {"tuning": None, "searches": [{"loss": "softmax"}]}]
)
def test_the_plan_before_tuning_is_refused(tmp_path: Path, before: dict[str, object]) -> None:
    tree = write_tuned(tmp_path, seeds=1)
    plan = json.loads(tree.plan.read_text())
    write_json(tree.plan, plan | before)
    with pytest.raises(ReportError, match=r"tuned\.json"):
        read(tree)


def test_results_say_the_arm(study: Study, tmp_path: Path) -> None:
    parquet, _ = write_results(study, tmp_path)
    stored = pd.read_parquet(parquet)
    assert set(stored["arm"]) == {
        "default",
        "default = grid",
        "default = tuned 1",
        "tuned 1",
        "tuned 1 = around",
        "tuned 2",
        "tuned 2 = grid",
        "grid",
        "around",
    }
