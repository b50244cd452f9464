"""Ways of tuning side by side: the numbers are those of the plans and runs, and differences are paired by search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.__main__ import main
from reports.collect import collect
from reports.statistics.intervals import mean_interval
from tests.reports.fake_tuning import write_tuned

METRIC = "validation/verification/eer"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two tuned studies; the winners of the second are better by half a point in runs with fresh seeds."""
    found = []
    for name, better in (("plain", 0.0), ("other", 0.005)):
        tree = write_tuned(tmp_path / name, failed=())
        for path in tree.runs.glob("*/evaluations/*/metrics.json"):
            content = json.loads(path.read_text())
            content["metrics"][METRIC] -= better
            path.write_text(json.dumps(content))
        folder = tree.plan.parent.rename(tree.plan.parent.parent / name)
        found.append(folder)
    return found


def test_the_table(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["tuners", *map(str, folders), "--out", str(out)]) == 0
    table = pd.read_csv(out / "tuners.csv")
    study = collect(folders[0] / "tuned.json", folders[0].parent / "runs")
    searches = study.plan["tuning"]["searches"]
    assert len(table) == 2 * len(searches)
    assert list(table["study"][:2]) == ["plain", "other"]
    frame = study.frame.set_index("id")
    for row, search in zip(table[table["study"] == "plain"].itertuples(), searches, strict=True):
        arm = next(a for a in study.plan["tuning"]["arms"] if a["search"] == search["id"])
        assert row.search == search["study"]
        assert row.trials == len(search["trials"])
        assert row.images == sum(trial["images"] for trial in search["trials"])
        assert row.best == pytest.approx(
            100 * search["trials"][search["winner"]]["values"][0], abs=0.005
        )
        assert row.fresh == pytest.approx(
            100 * frame.loc[arm["experiments"], METRIC].mean(), abs=0.005
        )
    note = (out / "tuners.md").read_text().splitlines()[-1]
    assert f"over {len(searches)} searches: better by 0.50 ± 0.00" in note.replace("\\", "")
    assert f"in {len(searches)} of them better" in note


def fresh(folder: Path) -> dict[str, float]:
    """The mean of each search's winner in its fresh runs, straight from the files."""
    plan = json.loads((folder / "tuned.json").read_text())

    def value(name: str) -> float:
        (path,) = (folder.parent / "runs" / name).glob("evaluations/*/metrics.json")
        return float(json.loads(path.read_text())["metrics"][METRIC])

    arms = [arm for arm in plan["tuning"]["arms"] if arm["arm"].startswith("tuned")]
    return {
        arm["search"]: float(np.mean([value(name) for name in arm["experiments"]])) for arm in arms
    }


def test_differences_are_paired(folders: list[Path], tmp_path: Path) -> None:
    """Gains that differ by search: their mean and its Student-t interval."""
    for place, path in enumerate(
        sorted((folders[1].parent / "runs").glob("*/evaluations/*/metrics.json"))
    ):
        content = json.loads(path.read_text())
        content["metrics"][METRIC] -= 0.0002 * place
        path.write_text(json.dumps(content))
    main(["tuners", *map(str, folders), "--out", str(tmp_path / "out")])
    plain, other = map(fresh, folders)
    expected = mean_interval(np.array([plain[name] - other[name] for name in plain]))
    assert expected.half > 0.0005
    text = (tmp_path / "out" / "tuners.md").read_text().replace("\\", "")
    assert f"better by {100 * expected.mean:.2f} ± {100 * expected.half:.2f}" in text


def test_what_cannot_be_compared(
    folders: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = str(tmp_path / "out")
    assert main(["tuners", str(folders[0]), "--out", out]) == 2
    assert "a comparison needs two or more" in caplog.text
    path = folders[1] / "tuned.json"
    plan = json.loads(path.read_text())
    plan["tuning"]["objectives"][0]["direction"] = "maximize"
    path.write_text(json.dumps(plan))
    assert main(["tuners", *map(str, folders), "--out", out]) == 2
    assert "different objectives" in caplog.text
    del plan["tuning"]["searches"][0]
    path.write_text(json.dumps(plan))
    assert main(["tuners", *map(str, folders), "--out", out]) == 2
    assert "other has other losses or searches than plain" in caplog.text
