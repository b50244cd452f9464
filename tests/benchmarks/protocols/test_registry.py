"""Every protocol keeps the contract; judging starts fast; bad input is named."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.protocols import PROTOCOLS, Judged, ProtocolError, judge, read_judged


def random_run(seed=0):
    rng = np.random.default_rng(seed)
    return Judged(
        embeddings=rng.standard_normal((120, 6)).astype(np.float32),
        labels=np.arange(120) % 12,
        part=np.where(np.arange(120) % 12 < 6, np.arange(120) // 12 % 3, 4).astype(np.int8),
        known_classes=np.arange(6),
        top_classes=rng.integers(0, 6, (120, 5)).astype(np.int32),
        top_scores=rng.standard_normal((120, 5)).astype(np.float32),
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_contract(name):
    row, run = PROTOCOLS[name], random_run()
    assert row.name == name
    assert row.classes in ("known", "unknown")
    assert row.meaning
    metrics, notes, curves = judge(run, [name], [0.1])
    assert metrics
    for key, value in metrics.items():
        assert key.removeprefix("validation/").startswith(f"{name}/")
        assert value is None or isinstance(value, float)
    assert set(notes) == {key for key, value in metrics.items() if value is None}
    assert all(key.split("/")[1] == name for key in curves)
    assert any(key.startswith("validation/") for key in metrics) == (row.classes == "known")

    # neither the order of the images nor the length of an embedding changes a number
    order = np.random.default_rng(1).permutation(120)
    scale = np.random.default_rng(2).uniform(0.1, 9, (120, 1)).astype(np.float32)
    moved = Judged(
        embeddings=(run.embeddings * scale)[order],
        labels=run.labels[order],
        part=run.part[order],
        known_classes=run.known_classes,
        top_classes=run.top_classes[order],
        top_scores=run.top_scores[order],
    )
    assert judge(moved, [name], [0.1])[0] == pytest.approx(metrics, abs=1e-3)


def test_protocols_are_judged_together():
    together, _, _ = judge(random_run(), list(PROTOCOLS), [0.1])
    apart = {k: v for name in PROTOCOLS for k, v in judge(random_run(), [name], [0.1])[0].items()}
    assert together == apart


def test_bad_requests_are_named():
    with pytest.raises(ProtocolError, match=r"'verificaton'.*did you mean 'verification'"):
        judge(random_run(), ["verificaton"], [])
    with pytest.raises(ProtocolError, match=r"false accept rate 10"):
        judge(random_run(), ["verification"], [10])


def test_a_run_is_read_back(tmp_path):
    run = random_run()
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
        Judged(np.ones((2, 2)), np.ones(3), np.ones(2), np.ones(1))


def test_judging_imports_no_training_library():
    code = (
        "import sys, benchmarks.protocols; print('torch' in sys.modules, 'mlflow' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]
