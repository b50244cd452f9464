"""Reading resamples of the identities: what belongs together, and what is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reports.collect import Study, collect
from reports.draws import cell_draws, joined
from reports.errors import ReportError
from tests.reports.fake_results import EVALUATION, Tree, write_tree

EER = "verification/eer"


def study_of(folder: Path, identities: str | None) -> tuple[Tree, Study]:
    tree = write_tree(folder, grid={"softmax": {}, "center": {}}, seeds=3, identities=identities)
    return tree, collect(tree.plan, tree.runs)


def test_seeds_that_judged_the_same_identities_are_joined(tmp_path: Path) -> None:
    _, study = study_of(tmp_path, "shared")
    runs = cell_draws(study, EER, ["softmax", "center"])
    draws, own = joined(runs[0])
    assert draws is not None
    assert not own
    assert draws.replicates.shape == (3, 200)
    assert draws.left_out.shape == (3, 40)
    values = study.by_seed(EER, ["softmax"])[0]
    assert draws.replicates.mean(axis=1) == pytest.approx(values, rel=0.05)


def test_seeds_with_their_own_identities_are_not(tmp_path: Path) -> None:
    _, study = study_of(tmp_path, "own")
    assert joined(cell_draws(study, EER, ["softmax"])[0]) == (None, True)


def test_runs_without_resamples(tmp_path: Path) -> None:
    tree, study = study_of(tmp_path, None)
    assert cell_draws(study, EER, ["softmax"]) == [[None, None, None]]
    assert joined([None, None]) == (None, False)
    assert joined([]) == (None, False)
    tree, study = study_of(tmp_path / "some", "shared")
    (tree.run("softmax", 1) / "evaluations" / EVALUATION / "replicates.npz").unlink()
    runs = cell_draws(study, EER, ["softmax"])[0]
    assert [run is None for run in runs] == [False, True, False]
    assert joined(runs) == (None, False)
    assert cell_draws(study, "geometry/intra", ["softmax"]) == [[None, None, None]]


def test_open_set_recognition_depends_on_both_worlds(tmp_path: Path) -> None:
    tree, study = study_of(tmp_path, "shared")
    name = "open_set_recognition/oscr_nearest_mean"
    for seed in range(3):
        path = tree.run("softmax", seed) / "evaluations" / EVALUATION / "replicates.npz"
        arrays = dict(np.load(path))
        arrays[f"replicates/{name}"] = arrays[f"replicates/{EER}"]
        arrays[f"left_out/{name}"] = arrays[f"left_out/{EER}"]
        arrays["identities/known"] = arrays["identities/known"] + seed
        np.savez(path, **arrays)
    assert joined(cell_draws(study, EER, ["softmax"])[0])[0] is not None
    assert joined(cell_draws(study, name, ["softmax"])[0]) == (None, True)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    tree, study = study_of(tmp_path, "shared")
    path = tree.run("softmax", 1) / "evaluations" / EVALUATION / "replicates.npz"
    path.write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ReportError, match=r"replicates\.npz: cannot be read"):
        cell_draws(study, EER, ["softmax"])
