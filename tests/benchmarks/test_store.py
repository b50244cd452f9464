"""A run's folder is whole, says what is in it, and is written once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.files import file_hash
from benchmarks.store import RunRecord, RunStore
from tests.benchmarks import tiny

ITEM = tiny.experiment("softmax")
ARRAYS: dict[str, np.ndarray] = {
    "embeddings": np.arange(6, dtype=np.float32).reshape(3, 2),
    "labels": np.arange(3),
}
TENSORS = {"backbone.weight": np.ones((2, 2), np.float32)}
HISTORY: list[dict[str, Any]] = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}]


def record(status: str, reason: str | None = None, epochs: int = 2) -> RunRecord:
    finished = status == "finished"
    return RunRecord(
        status,
        reason,
        HISTORY,
        {"epochs": epochs},
        ARRAYS if finished else None,
        TENSORS if finished else None,
    )


def test_a_finished_run(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    folder = store.write(ITEM, record("finished"))
    assert folder == tmp_path / "runs" / ITEM.id
    assert json.loads((folder / "experiment.json").read_text()) == ITEM.to_json()
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == HISTORY
    with np.load(folder / "embeddings.npz") as found:
        assert found["embeddings"].tolist() == ARRAYS["embeddings"].tolist()
    assert load_file(folder / "model.safetensors")["backbone.weight"].tolist() == [[1, 1], [1, 1]]
    result = store.result(ITEM.id)
    assert result is not None
    assert (result["id"], result["status"], result["reason"]) == (ITEM.id, "finished", None)
    assert result["epochs"] == 2
    assert result["files"] == {
        name: file_hash(folder / name)
        for name in ("embeddings.npz", "experiment.json", "history.jsonl", "model.safetensors")
    }
    assert {path.name for path in folder.iterdir()} == {*result["files"], "result.json"}


@pytest.mark.parametrize(
    ("status", "final"),
    [("finished", True), ("diverged", True), ("failed", False), ("out_of_memory", False)],
)
def test_a_failed_run_is_replaced_and_a_final_one_kept(
    status: str, final: bool, tmp_path: Path
) -> None:
    store = RunStore(tmp_path)
    store.write(ITEM, record(status, None if status == "finished" else "why", epochs=1))
    assert store.is_final(ITEM.id) is final
    before = {path.name: path.read_bytes() for path in store.folder(ITEM.id).iterdir()}
    store.write(ITEM, record("finished", epochs=9))
    after = {path.name: path.read_bytes() for path in store.folder(ITEM.id).iterdir()}
    assert (after == before) is final
    result = store.result(ITEM.id)
    assert result is not None
    assert result["epochs"] == (1 if final else 9)
    assert list(tmp_path.iterdir()) == [store.folder(ITEM.id)]


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"status": "running"}'])
def test_what_is_no_result(content: str | None, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    if content is not None:
        store.folder(ITEM.id).mkdir()
        (store.folder(ITEM.id) / "result.json").write_text(content)
    assert store.result(ITEM.id) is None
    assert not store.is_final(ITEM.id)
    store.write(ITEM, record("finished"))
    assert store.is_final(ITEM.id)


def test_a_history_that_is_no_json_leaves_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    bad = RunRecord("diverged", "why", [{"epoch": 1, "loss": float("nan")}], {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(ITEM, bad)
    assert list(tmp_path.iterdir()) == []
