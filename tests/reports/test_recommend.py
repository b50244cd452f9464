"""Recommendations say what the data carry: the best, the tied, a trade-off, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reports.collect import Study, collect
from reports.selection import select
from reports.words.advice import Advice
from reports.words.recommend import recommend, strict_tar
from tests.reports.fake_results import write_tree

Pairs = dict[str, tuple[tuple[float, float], ...]]  # of each seed top-1 and EER


def study_of(folder: Path, pairs: Pairs, impostors: int = 60_000) -> Study:
    tree = write_tree(
        folder,
        grid={loss: {} if loss == "softmax" else {"margin": [0.3]} for loss in pairs},
        seeds=len(next(iter(pairs.values()))),
        impostors=impostors,
        values=lambda loss, _, seed: pairs[loss][seed],
        fates=lambda *_: ("finished", None),
    )
    return collect(tree.plan, tree.runs)


def advice(study: Study) -> dict[str, Advice]:
    return {each.goal: each for each in recommend(study, select(study))}


def runs(top: float, eer: float, noise: float = 0.001) -> tuple[tuple[float, float], ...]:
    """Three seeds whose spread differs from loss to loss, so that differences have a variance."""
    return tuple((top + k * noise * (1 + top), eer - k * noise * (1 + eer)) for k in (-1, 0, 1))


def test_a_clear_winner(tmp_path: Path) -> None:
    study = study_of(
        tmp_path,
        {"softmax": runs(0.90, 0.10), "arcface": runs(0.96, 0.04), "cosface": runs(0.93, 0.07)},
    )
    found = advice(study)
    assert {each.verdict for each in found.values()} == {"best"}
    assert {each.picks[0].loss for each in found.values()} == {"ArcFace"}
    known = found["Known classes"]
    assert known.metric == "Closed-set top-1 (classifier)"
    assert known.text == "Softmax and CosFace m=0.3 are both distinguishably worse."
    name, value = known.picks[0].values[0]
    assert (name, value.mean) == ("Top-1", pytest.approx(0.96))
    assert found["Both worlds"].text.startswith("The only one")


def test_ties_and_what_cannot_be_told(tmp_path: Path) -> None:
    tied = {
        "softmax": runs(0.80, 0.20),
        "cosface": ((0.951, 0.05), (0.939, 0.06), (0.953, 0.045)),
        "arcface": ((0.95, 0.055), (0.945, 0.05), (0.952, 0.052)),
    }
    found = advice(study_of(tmp_path / "tied", tied))["Known classes"]
    assert found.verdict == "tied"
    assert found.text == "Not distinguishable from it: CosFace m=0.3."
    del tied["softmax"]
    found = advice(study_of(tmp_path / "two", tied))["Known classes"]
    assert found.verdict == "cannot tell"
    assert found.text == "It cannot be told from the other one; the means alone put it first."


def test_a_trade_off_names_the_front(tmp_path: Path) -> None:
    study = study_of(
        tmp_path,
        {
            "softmax": runs(0.97, 0.12),
            "arcface": runs(0.90, 0.03),
            "cosface": runs(0.93, 0.07),
            "triplet": runs(0.92, 0.09),  # CosFace is better in both
        },
    )
    found = advice(study)["Both worlds"]
    assert found.verdict == "trade-off"
    assert [pick.loss for pick in found.picks] == ["Softmax", "ArcFace", "CosFace"]
    assert [name for name, _ in found.picks[0].values] == ["NCM top-1", "TAR@1e-3"]


def test_too_few_seeds_carry_no_claim(tmp_path: Path) -> None:
    pairs = {"softmax": ((0.9, 0.1),), "arcface": ((0.99, 0.01),)}
    found = advice(study_of(tmp_path, pairs))
    assert {each.verdict for each in found.values()} == {"cannot tell"}
    assert [pick.loss for pick in found["Both worlds"].picks] == ["ArcFace"]


def test_nothing_to_compare_and_nothing_measured(tmp_path: Path) -> None:
    found = advice(study_of(tmp_path / "one", {"softmax": runs(0.9, 0.1)}))
    assert {each.verdict for each in found.values()} == {"alone"}
    assert "Both worlds" not in found
    lost: Callable[..., tuple[str, str | None]] = lambda *_: ("failed", "no")  # noqa: E731
    tree = write_tree(tmp_path / "none", grid={"softmax": {}}, seeds=1, fates=lost)
    assert advice(collect(tree.plan, tree.runs)) == {}


@pytest.mark.parametrize(("impostors", "far"), [(200_000, "1e-04"), (60_000, "1e-03"), (8, None)])
def test_the_smallest_far_that_the_pairs_carry(
    tmp_path: Path, impostors: int, far: str | None
) -> None:
    study = study_of(tmp_path, {"softmax": runs(0.9, 0.1)}, impostors)
    expected = None if far is None else f"verification/tar_at_far_{far}"
    assert strict_tar(study, select(study).cells) == expected


def test_speed_is_relative_to_the_fastest(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"softmax": runs(0.9, 0.1), "arcface": runs(0.96, 0.04)})
    study.frame.loc[study.frame["loss"] == "arcface", "seconds"] = 25.0  # twice those of softmax
    pick = advice(study)["Known classes"].picks[0]
    assert pick.speed == "600 images/s, 50 % of the fastest"


def test_a_strict_rate_that_the_main_metric_contradicts(tmp_path: Path) -> None:
    """Best at the strictest FAR, and distinguishably worse by EER: the advice says both."""
    pairs = {"softmax": runs(0.90, 0.04), "arcface": runs(0.90, 0.09)}
    study = study_of(tmp_path, pairs)
    strict = strict_tar(study, select(study).cells)
    assert strict is not None
    frame = study.frame.copy()
    frame.loc[frame["loss"] == "arcface", strict] = 0.9 + frame["seed"] / 1e3
    found = advice(replace(study, frame=frame, cache={}))["Verification of new classes"]
    assert found.picks[0].loss == "ArcFace"
    assert found.text.endswith(" But by open-set EER it is distinguishably worse than Softmax.")
    assert "But by" not in advice(study)["Verification of new classes"].text


def test_what_has_no_value_is_named(tmp_path: Path) -> None:
    pairs = {"softmax": runs(0.90, 0.1), "cosface": runs(0.93, 0.07), "arcface": runs(0.96, 0.04)}
    study = study_of(tmp_path, pairs)
    frame = study.frame.copy()
    tars = [name for name in study.metrics if name.startswith("verification/tar")]
    frame.loc[frame["loss"] == "arcface", tars] = float("nan")
    found = advice(replace(study, frame=frame, cache={}))
    said = "Without a value, so not judged: ArcFace m=0.3."
    assert found["Verification of new classes"].text.endswith(said)
    assert found["Both worlds"].text.endswith(said)
    assert "not judged" not in found["Known classes"].text
