"""Every protocol keeps the contract; judging starts fast; bad input is named."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.protocols import PROTOCOLS, Judged, ProtocolError, Settings, judge, read_judged
from benchmarks.protocols.judged import PER_IMAGE
from datasets.splits import PART_CODES

SETTINGS = Settings(fars=(0.1,), fpirs=(0.1,), galleries=2, resamples=20)
KNOWN, UNKNOWN, IMAGES_EACH = 8, 16, 12


def random_run(seed=0):
    """Known classes 0-7 in training, validation and test; unknown ones 8-15 in validation, 16-23 in test."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(KNOWN + UNKNOWN), IMAGES_EACH)
    turn = np.arange(len(labels)) // (KNOWN + UNKNOWN) % 3
    names = np.where(
        labels < KNOWN,
        np.array(["train", "known_validation", "known_test"])[turn],
        np.where(labels < KNOWN + UNKNOWN // 2, "unknown_validation", "unknown_test"),
    )
    embeddings = 1.2 * rng.standard_normal((KNOWN + UNKNOWN, 6))[labels]
    embeddings += rng.standard_normal(embeddings.shape)
    weights = rng.standard_normal((KNOWN, 6))
    scores = embeddings @ weights.T
    best = np.argsort(-scores, axis=1)[:, :5]
    return Judged(
        embeddings=embeddings.astype(np.float32),
        labels=labels,
        part=np.array([PART_CODES[name] for name in names], dtype=np.int8),
        known_classes=np.arange(KNOWN),
        top_classes=best.astype(np.int32),
        top_scores=np.take_along_axis(scores, best, axis=1).astype(np.float32),
        logsumexp=np.log(np.exp(scores).sum(axis=1)).astype(np.float32),
        class_weights=weights.astype(np.float32),
        angle_epochs=np.array([1, 2]),
        target_angles=rng.integers(0, 9, (2, 180)),
        other_angles=rng.integers(0, 9, (2, 180)),
    )


def permuted(run, order):
    arrays = {name: getattr(run, name) for name in PER_IMAGE}
    return replace(run, **{name: a[order] for name, a in arrays.items() if a is not None})


def same_numbers(found, expected, tolerance):
    """Equal metrics by name; None only beside None."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, abs=tolerance, rel=tolerance), name


@pytest.mark.parametrize("name", PROTOCOLS)
def test_contract(name):
    row, run = PROTOCOLS[name], random_run()
    assert row.name == name
    assert row.worlds
    assert set(row.worlds) <= {"known", "unknown"}
    assert row.version >= 1
    assert row.meaning
    outcome = judge(run, [name], SETTINGS)
    assert any(value is not None for value in outcome.metrics.values())
    for key, value in outcome.metrics.items():
        assert key.removeprefix("validation/").startswith(f"{name}/")
        assert key == key.lower()
        assert value is None or (type(value) is float and np.isfinite(value)), key
    assert set(outcome.notes) == {key for key, v in outcome.metrics.items() if v is None}
    test = {key for key in outcome.metrics if not key.startswith("validation/")}
    assert {f"validation/{key}" for key in test} == set(outcome.metrics) - test
    for key, curve in outcome.curves.items():
        assert key.split("/")[0] in ("test", "validation")
        assert key.split("/")[1] == name
        assert len(curve) <= 401
    assert list(outcome.identities) == sorted(row.worlds)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_replicates(name):
    outcome = judge(random_run(), [name], SETTINGS)
    sizes = [len(found) for found in outcome.identities.values()]
    assert set(outcome.replicates) == set(outcome.left_out) <= set(outcome.metrics)
    assert not any(key.startswith("validation/") for key in outcome.replicates)
    for key, values in outcome.replicates.items():
        assert outcome.metrics[key] is not None
        assert values.shape == (SETTINGS.resamples,)
        left_out = outcome.left_out[key]
        assert left_out.ndim == 1
        assert len(left_out) in (*sizes, sum(sizes))  # of one world, or of one after the other
        # they stand around the number that they are replicates of
        assert np.isfinite(values).any()
        for around in (values, left_out):
            spread = np.nanmax(np.append(around, outcome.metrics[key])) - np.nanmin(around)
            assert abs(np.nanmean(around) - outcome.metrics[key]) <= spread
    none = judge(random_run(), [name], replace(SETTINGS, resamples=0))
    assert none.replicates == none.left_out == {}
    same_numbers(none.metrics, outcome.metrics, 0)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_order_of_the_images_does_not_matter(name):
    run = random_run()
    outcome = judge(run, [name], SETTINGS)
    moved = judge(
        permuted(run, np.random.default_rng(1).permutation(len(run.labels))), [name], SETTINGS
    )
    # identification draws which images of a class are enrolled: among images in another order, others
    tolerance = 0.2 if name == "identification" else 1e-9
    same_numbers(moved.metrics, outcome.metrics, tolerance)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_rotation_does_not_matter(name):
    run = random_run()
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 6)))[0]
    rotated = replace(run, embeddings=run.embeddings @ turn, class_weights=run.class_weights @ turn)
    found = judge(rotated, [name], SETTINGS).metrics
    same_numbers(found, judge(run, [name], SETTINGS).metrics, 1e-5)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_validation_is_judged_without_test_labels(name):
    run = random_run()
    every = judge(run, [name], SETTINGS).metrics
    expected = {key: value for key, value in every.items() if key.startswith("validation/")}
    hidden = run.only("validation")
    test = [PART_CODES[part] for part in ("known_test", "unknown_test")]
    assert not np.isin(hidden.part, test).any()
    assert not np.isin(hidden.labels, np.arange(KNOWN + UNKNOWN // 2, KNOWN + UNKNOWN)).any()
    same_numbers(judge(hidden, [name], SETTINGS, sides=("validation",)).metrics, expected, 1e-12)
    # whatever the test labels are
    labels = run.labels.copy()
    at_test = np.isin(run.part, test)
    labels[at_test] = np.random.default_rng(3).permutation(labels[at_test])
    shuffled = judge(
        replace(run, labels=labels).only("validation"), [name], SETTINGS, ["validation"]
    )
    same_numbers(shuffled.metrics, expected, 1e-12)
    assert judge(run, [name], SETTINGS, sides=("validation",)).identities == {}


def broken_runs():
    run = random_run()
    none = {"top_classes": None, "top_scores": None, "logsumexp": None}
    angles = {"angle_epochs": None, "target_angles": None, "other_angles": None}
    unknown = run.rows("unknown_test")
    alone = run.labels.copy()
    alone[unknown] = 1000 + np.arange(len(unknown))
    one_class = run.labels.copy()
    one_class[unknown] = 1000
    yield "nan", replace(run, embeddings=np.full_like(run.embeddings, np.nan))
    yield "zero", replace(run, embeddings=np.zeros_like(run.embeddings))
    yield "collapsed", replace(run, embeddings=np.ones_like(run.embeddings))
    yield "no test images", run.only("validation")
    yield "no images", permuted(run, np.arange(0))
    yield "no training images", permuted(run, np.flatnonzero(run.part))
    yield "no classifier", replace(run, class_weights=None, **none, **angles)
    yield (
        "nan scores",
        replace(run, top_scores=run.top_scores * np.nan, logsumexp=run.logsumexp * np.nan),
    )
    yield "singletons", replace(run, labels=alone)
    yield "one unknown class", replace(run, labels=one_class)


BROKEN = dict(broken_runs())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_name_is_there_whatever_the_input(name, what):
    expected = judge(random_run(), [name], SETTINGS, sides=("test",)).metrics
    outcome = judge(BROKEN[what], [name], SETTINGS, sides=("test",))
    assert set(outcome.metrics) == set(expected)
    assert set(outcome.notes) == {key for key, v in outcome.metrics.items() if v is None}
    assert all(v is None or np.isfinite(v) for v in outcome.metrics.values())
    assert all(reason for reason in outcome.notes.values())
    assert set(outcome.replicates) == set(outcome.left_out)
    assert not set(outcome.replicates) & set(outcome.notes)


def test_protocols_are_judged_together():
    together = judge(random_run(), list(PROTOCOLS), SETTINGS)
    for name in PROTOCOLS:
        apart = judge(random_run(), [name], SETTINGS)
        for kind in ("metrics", "notes", "replicates", "left_out", "curves"):
            for key, value in getattr(apart, kind).items():
                np.testing.assert_equal(getattr(together, kind)[key], value)


def test_bad_requests_are_named():
    with pytest.raises(ProtocolError, match=r"'verificaton'.*did you mean 'verification'"):
        judge(random_run(), ["verificaton"], SETTINGS)
    with pytest.raises(ProtocolError, match=r"unknown side 'train'; allowed: test, validation"):
        judge(random_run(), ["retrieval"], SETTINGS, sides=("train",))
    for settings, message in (
        ({"fars": (10,)}, "fars: 10 is not a rate"),
        ({"fpirs": (0.1, 0)}, "fpirs: 0 is not a rate"),
        ({"fars": ()}, "fars: the list is empty"),
        ({"galleries": 0}, "galleries: 0"),
        ({"resamples": -1}, "resamples: -1"),
    ):
        with pytest.raises(ProtocolError, match=message):
            Settings(**settings)


def test_a_run_is_read_back(tmp_path):
    run = replace(random_run(), logsumexp=None)
    stored = {name: value for name, value in vars(run).items() if value is not None}
    np.savez(tmp_path / "embeddings.npz", **stored)
    again = read_judged(tmp_path / "embeddings.npz")
    assert again.logsumexp is None
    for name, value in stored.items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_damaged_embeddings_are_named(tmp_path):
    path = tmp_path / "embeddings.npz"
    with pytest.raises(ProtocolError, match=r"embeddings.npz"):
        read_judged(path)
    np.savez(path, embeddings=np.ones((2, 2)))
    with pytest.raises(ProtocolError, match=r"labels"):
        read_judged(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ProtocolError, match=r"embeddings.npz"):
        read_judged(path)
    with pytest.raises(ProtocolError, match=r"3 labels for 2 embeddings"):
        Judged(np.ones((2, 2)), np.ones(3, int), np.ones(2), np.ones(1))
    with pytest.raises(ProtocolError, match=r"whole numbers, not float64"):
        Judged(np.ones((2, 2)), np.ones(2), np.ones(2), np.ones(1))
    with pytest.raises(ProtocolError, match=r"floating, not int64"):
        Judged(np.ones((2, 2), np.int64), np.ones(2, int), np.ones(2), np.ones(1))


def test_judging_imports_no_training_library():
    code = (
        "import sys, benchmarks.protocols; print('torch' in sys.modules, 'mlflow' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]
