"""Names, order and choice of metrics; unknown names never break anything."""

from __future__ import annotations

import pytest

from reports.metrics import main_scores, metric, of_test, scores

EVERY = [
    "retrieval/recall_at_10",
    "retrieval/recall_at_1",
    "retrieval/map_at_r",
    "identification/tpir_at_fpir_1e-02",
    "identification/tpir_at_fpir_1e-02_gallery_sd",
    "identification/rank_10",
    "identification/rank_5",
    "verification/tar_at_far_1e-04",
    "verification/tar_at_far_1e-01",
    "verification/tar_at_far_1e-03",
    "verification/tar_at_far_1e-02",
    "verification/auc",
    "verification/eer",
    "verification/genuine_pairs",
    "open_set_recognition/oscr_nearest_mean",
    "open_set_recognition/auroc_nearest_mean",
    "open_set_recognition/auroc_max_logit",
    "open_set_recognition/ccr_at_fpr_max_logit_1e-02",
    "closed_set/ncm_top1",
    "closed_set/top1",
    "closed_set/ece",
    "geometry/w_ec",
    "validation/closed_set/top1",
    "a_new_protocol/metric",
    "no_slash",
    "",
]


def test_direction_and_unit() -> None:
    lower = {name for name in EVERY if metric(name).higher_is_better is False}
    assert lower == {"verification/eer", "closed_set/ece"}
    assert not metric("geometry/w_ec").percent
    assert metric("geometry/w_ec").higher_is_better is None
    assert metric("identification/tpir_at_fpir_1e-02_gallery_sd").higher_is_better is None


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("verification/tar_at_far_2.5e-02", "TAR@2.5e-2"),
        ("open_set_recognition/auroc_max_logit", "AUROC max logit"),
        ("open_set_recognition/ccr_at_fpr_mean_distance_1e-01", "CCR@1e-1 mean distance"),
        ("identification/rank_10", "Rank-10"),
        ("retrieval/recall_at_100", "R@100"),
        ("a_new_protocol/some_metric", "Some metric"),
        ("no_slash", "No slash"),
        ("", ""),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert metric(name).short == short


def test_order_of_the_tables() -> None:
    assert of_test(EVERY) == [
        "closed_set/top1",
        "closed_set/ncm_top1",
        "closed_set/ece",
        "verification/eer",
        "verification/tar_at_far_1e-01",
        "verification/tar_at_far_1e-02",
        "verification/tar_at_far_1e-03",
        "verification/tar_at_far_1e-04",
        "verification/auc",
        "verification/genuine_pairs",
        "identification/rank_5",
        "identification/rank_10",
        "identification/tpir_at_fpir_1e-02",
        "identification/tpir_at_fpir_1e-02_gallery_sd",
        "open_set_recognition/oscr_nearest_mean",
        "open_set_recognition/auroc_max_logit",
        "open_set_recognition/auroc_nearest_mean",
        "open_set_recognition/ccr_at_fpr_max_logit_1e-02",
        "retrieval/recall_at_1",
        "retrieval/recall_at_10",
        "retrieval/map_at_r",
        "geometry/w_ec",
        "",
        "a_new_protocol/metric",
        "no_slash",
    ]
    assert "verification/genuine_pairs" not in scores(EVERY)


def test_columns_of_the_comparison() -> None:
    measured = set(EVERY) - {"verification/tar_at_far_1e-04"}
    assert main_scores(EVERY, measured) == [
        "closed_set/top1",
        "closed_set/ncm_top1",
        "verification/eer",
        "verification/tar_at_far_1e-02",
        "verification/tar_at_far_1e-03",
        "identification/tpir_at_fpir_1e-02",
        "open_set_recognition/oscr_nearest_mean",
        "retrieval/recall_at_1",
        "retrieval/map_at_r",
    ]
    without = main_scores(EVERY, {"open_set_recognition/auroc_nearest_mean"})
    assert "open_set_recognition/auroc_nearest_mean" in without
    assert "verification/tar_at_far_1e-01" in without
    assert main_scores([], set()) == []


def test_what_a_few_false_accepts_set() -> None:
    found = {name for name in EVERY if metric(name).few_accepts}
    assert found == {name for name in EVERY if "tar_at_far" in name}
