"""Training leaves whole runs, the same ones however often it is interrupted, and one failure costs one experiment."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks import train as training
from benchmarks.__main__ import main
from benchmarks.backbones import build_backbone
from benchmarks.checkpoint import Checkpoints
from benchmarks.errors import TrainingError
from benchmarks.evaluate import evaluate_run
from benchmarks.experiment import Experiment
from benchmarks.files import file_hash
from benchmarks.leg import Leg
from benchmarks.optim import schedule
from benchmarks.splitting import split_of
from benchmarks.store import RunStore
from benchmarks.train import train_stack
from datasets.splits import PART_CODES
from losses.cosface import CosFace
from tests.benchmarks import study_file, tiny
from tests.conftest import ROOT

CPU = torch.device("cpu")
SETTINGS = {"protocols": ["closed_set", "verification", "retrieval"], "fars": [0.1]}


@pytest.fixture(autouse=True)
def _tiny_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_images", lambda *_: tiny.images())


def members() -> list[Experiment]:
    """Four losses, of which one needs balanced batches."""
    return [
        tiny.experiment("softmax"),
        tiny.experiment("arcface", {"margin": 0.3, "scale": 16}, seed=1),
        tiny.experiment("cosface", {"margin": 0.2, "scale": 16}),
        tiny.experiment("triplet"),
    ]


def arrays(results: Path, item: Experiment) -> dict[str, np.ndarray]:
    with np.load(results / "runs" / item.id / "embeddings.npz") as file:
        return dict(file)


def same(first: Path, second: Path, items: list[Experiment]) -> None:
    """The runs of `items` are equal to the bit, files and verdicts."""
    for item in items:
        ours, theirs = arrays(first, item), arrays(second, item)
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert array.dtype == theirs[name].dtype
            assert array.tobytes() == theirs[name].tobytes(), (item.id, name)
        files = ["history.jsonl", "model.safetensors", "experiment.json"]
        for results in (first, second):
            evaluate_run(RunStore(results / "runs"), item.id, "e1", SETTINGS)
        files.append("evaluations/e1/metrics.json")
        for name in files:
            one, other = ((results / "runs" / item.id / name) for results in (first, second))
            assert one.read_bytes() == other.read_bytes(), (item.id, name)


def run_files(results: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of every file of the run store."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted((results / "runs").rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of `members`, trained without any incident."""
    results = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "load_images", lambda *_: tiny.images())
        statuses = train_stack(members(), results=results, device=CPU)
    assert statuses == {item.id: "finished" for item in members()}
    return results


def test_files_of_a_run(clean: Path) -> None:
    assert sorted(path.name for path in (clean / "runs").iterdir()) == sorted(
        item.id for item in members()
    )
    for item in members():
        folder = clean / "runs" / item.id
        result = json.loads((folder / "result.json").read_text())
        assert {path.name for path in folder.iterdir()} - {"evaluations"} == {
            "experiment.json", "history.jsonl", "embeddings.npz", "model.safetensors", "result.json",
        }  # fmt: skip
        for name, digest in result["files"].items():
            assert file_hash(folder / name) == digest
        assert Experiment.from_json(json.loads((folder / "experiment.json").read_text())) == item
        # 12 classes of 8 images: 8 known with 6 training images each make 3 batches of 16.
        assert (result["epochs"], result["images"], result["stack_size"]) == (2, 96, 4)
        assert result["split"] == split_of(item, tiny.images()).checksum
        assert result["provenance"]["torch"] == torch.__version__
        assert result["provenance"]["threads"] == 1
    assert list((clean / "checkpoints").iterdir()) == []


def test_embeddings_of_a_run(clean: Path) -> None:
    image_set = tiny.images()
    for item in members():
        found, split = arrays(clean, item), split_of(item, image_set)
        assert found["embeddings"].dtype == np.float32
        assert found["embeddings"].shape == (96, 8)
        assert np.isfinite(found["embeddings"]).all()
        assert np.array_equal(found["labels"], image_set.labels)
        assert np.array_equal(found["part"], split.part(96))
        assert np.array_equal(found["known_classes"], split.known_classes)
        assert len(found["known_classes"]) == 8
        for part, expected in (("train", 48), ("known_test", 16), ("unknown_test", 16)):
            assert np.sum(found["part"] == PART_CODES[part]) == expected
        scores = {"top_classes", "top_scores", "logsumexp"}
        assert scores & found.keys() == (set() if item.loss["name"] == "triplet" else scores)


def test_best_classes_are_ids_of_the_data_set(clean: Path) -> None:
    """Against the scores of the saved class weights, computed here."""
    item = members()[2]
    found = arrays(clean, item)
    state = load_file(clean / "runs" / item.id / "model.safetensors")
    cosine = torch.nn.functional.normalize(torch.from_numpy(found["embeddings"])).double() @ (
        torch.nn.functional.normalize(state["loss.weight"]).double().T
    )
    scores = (16 * cosine).numpy()
    order = np.argsort(-scores, axis=1)[:, :5]
    assert np.array_equal(found["top_classes"], found["known_classes"][order])
    best = np.take_along_axis(scores, order, 1)
    np.testing.assert_allclose(found["top_scores"], best, rtol=1e-5, atol=1e-5)
    total = np.log(np.exp(scores).sum(1))
    np.testing.assert_allclose(found["logsumexp"], total, rtol=1e-5)


def test_the_saved_model_gives_the_saved_embeddings(clean: Path) -> None:
    for item in members():
        state = load_file(clean / "runs" / item.id / "model.safetensors")
        backbone = build_backbone(
            channels=1, image_size=12, generator=torch.Generator(), **item.backbone
        )
        own = [name for name in state if name.startswith("backbone.")]
        backbone.load_state_dict({name.removeprefix("backbone."): state[name] for name in own})
        backbone.eval()
        with torch.no_grad():
            embeddings = backbone(torch.from_numpy(np.array(tiny.images().images)).float() / 255)
        np.testing.assert_allclose(
            embeddings.numpy(), arrays(clean, item)["embeddings"], rtol=1e-4, atol=1e-5
        )


def test_history_of_a_run(clean: Path) -> None:
    common = {"epoch", "learning_rate", "loss", "non_finite"}
    head = {"accuracy", "embedding_norm", "target_angle", "weights_moved"}
    for item in members():
        lines = (clean / "runs" / item.id / "history.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["epoch"] for row in rows] == [1, 2]
        for number, row in enumerate(rows):
            assert common <= row.keys()
            factors = [schedule(item.recipe, 3 * number + step, 3) for step in range(3)]
            assert row["learning_rate"] == pytest.approx(0.05 * np.mean(factors))
            assert row["non_finite"] == 0
            assert row["loss"] > 0
            if item.loss["name"] == "triplet":
                assert not {"accuracy", "target_angle", "weights_moved"} & row.keys()
            else:
                assert head <= row.keys()
                assert 0 <= row["accuracy"] <= 1
                # Random directions are about 90 degrees apart; radians would be below 3.2.
                assert 30 < row["target_angle"] < 120
                assert row["weights_moved"] > 0


def test_the_same_stack_twice_is_the_same_to_the_bit(clean: Path, tmp_path: Path) -> None:
    train_stack(members(), results=tmp_path, device=CPU)
    same(clean, tmp_path, members())


def test_another_stack_gives_the_same_runs(clean: Path, tmp_path: Path) -> None:
    """Alone, and in the other order."""
    train_stack(members()[1:2], results=tmp_path, device=CPU)
    train_stack([members()[3], members()[0]], results=tmp_path, device=CPU)
    for item in (members()[0], members()[1], members()[3]):
        same(clean, tmp_path, [item])


class Interruption(BaseException):
    """Like Ctrl-C: not an error of the computation."""


def interrupt_epoch(number: int, patched: pytest.MonkeyPatch) -> None:
    whole = training._epoch

    def epoch(*arguments: Any) -> Any:
        if arguments[2] == number:
            raise Interruption
        return whole(*arguments)

    patched.setattr(training, "_epoch", epoch)


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_stack_goes_on_to_the_same_runs(
    damaged: bool, clean: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        interrupt_epoch(2, patched)
        with pytest.raises(Interruption):
            train_stack(members(), results=tmp_path, device=CPU)
    assert not (tmp_path / "runs").exists()
    (checkpoint,) = (tmp_path / "checkpoints").glob("*/current.pt")
    if damaged:
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with caplog.at_level("INFO"):
        train_stack(members(), results=tmp_path, device=CPU)
    assert ("going on after epoch 1" in caplog.text) is not damaged
    assert ("damaged checkpoint" in caplog.text) is damaged
    same(clean, tmp_path, members())


def test_a_diverging_experiment_is_recorded_and_its_neighbours_are_not_touched(
    clean: Path, tmp_path: Path
) -> None:
    bad = tiny.experiment("softmax", seed=1, learning_rate=1e30)
    items = [*members(), bad]
    statuses = train_stack(items, results=tmp_path, device=CPU)
    assert statuses == {item.id: "finished" for item in members()} | {bad.id: "diverged"}
    same(clean, tmp_path, members())
    folder = tmp_path / "runs" / bad.id
    result = json.loads((folder / "result.json").read_text())
    assert result["reason"] == "parameters are not finite after epoch 1"
    assert result["epochs"] == 1
    assert {path.name for path in folder.iterdir()} == {"experiment.json", "history.jsonl", "result.json"}  # fmt: skip
    (row,) = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert row["non_finite"] >= 1
    assert row["loss"] is None
    assert evaluate_run(RunStore(tmp_path / "runs"), bad.id, "e1", SETTINGS) is None


def test_a_stack_whose_members_have_all_diverged_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_epoch(2, monkeypatch)  # which is therefore not reached
    bad = tiny.experiment("softmax", learning_rate=1e30)
    assert train_stack([bad], results=tmp_path, device=CPU) == {bad.id: "diverged"}


def test_a_loss_that_raises_fails_alone(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Tensor:
        raise RuntimeError("no such formula")

    with monkeypatch.context() as patched:
        patched.setattr(CosFace, "shift", broken)
        statuses = train_stack(members(), results=tmp_path, device=CPU)
    bad = members()[2]
    others = [item for item in members() if item != bad]
    assert statuses == {item.id: "finished" for item in others} | {bad.id: "failed"}
    result = json.loads((tmp_path / "runs" / bad.id / "result.json").read_text())
    assert result["reason"] == "RuntimeError: no such formula"
    assert result["epochs"] == 0
    same(clean, tmp_path, others)
    # Mended, it is tried again, and the others are left as they are.
    before = {name: value for name, value in run_files(tmp_path).items() if bad.id not in name}
    assert train_stack(members(), results=tmp_path, device=CPU)[bad.id] == "finished"
    same(clean, tmp_path, members())
    assert before.items() <= run_files(tmp_path).items()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("GPU is full"), MemoryError()])
def test_out_of_memory_has_its_own_status(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Tensor:
        raise error

    monkeypatch.setattr(CosFace, "shift", full)
    item = members()[2]
    assert train_stack([item], results=tmp_path, device=CPU) == {item.id: "out_of_memory"}
    result = json.loads((tmp_path / "runs" / item.id / "result.json").read_text())
    assert result["reason"].startswith(type(error).__name__)


@pytest.mark.parametrize("loss", ["softmax", "arcface"])
def test_class_weights_that_do_not_move_fail(loss: str, tmp_path: Path) -> None:
    frozen = tiny.experiment(loss, class_learning_rate=0)
    moving = tiny.experiment(loss, seed=1)
    statuses = train_stack([frozen, moving], results=tmp_path, device=CPU)
    assert statuses == {frozen.id: "failed", moving.id: "finished"}
    result = json.loads((tmp_path / "runs" / frozen.id / "result.json").read_text())
    assert "the class weights did not move" in result["reason"]
    assert not (tmp_path / "runs" / frozen.id / "embeddings.npz").exists()
    # Found after one epoch of two, and trained no further.
    assert result["epochs"] == 1
    assert len((tmp_path / "runs" / frozen.id / "history.jsonl").read_text().splitlines()) == 1


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_stack_whose_class_weights_all_stand_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_epoch(2, monkeypatch)
    frozen = tiny.experiment("cosface", class_learning_rate=0)
    with monkeypatch.context() as killed:
        killed.setattr(training, "write_outcomes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_stack([frozen], results=tmp_path, device=CPU)
    # Called again, it writes what there is.
    assert train_stack([frozen], results=tmp_path, device=CPU) == {frozen.id: "failed"}


def test_two_processes_do_not_train_one_stack(tmp_path: Path) -> None:
    """A lock of another open file, which is what another process has."""
    with (
        training._lock(tmp_path / "locks" / Leg(tmp_path).key(members())),
        pytest.raises(TrainingError, match=rf"another process \(pid {os.getpid()}\)"),
    ):
        train_stack(members()[::-1], results=tmp_path, device=CPU)
    assert not (tmp_path / "runs").exists()
    items = members()[:1]
    assert train_stack(items, results=tmp_path, device=CPU) == {items[0].id: "finished"}


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.parametrize(
    ("where", "name"),
    [(np, "savez"), (torch, "save"), (os, "replace"), (os, "rename"), (os, "fsync")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_full_disk_stops_the_stack_and_leaves_nothing_half_written(
    where: Any, name: str, clean: Path, tmp_path: Path
) -> None:
    items = members()[:2]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(where, name, full_disk)
        with pytest.raises(TrainingError, match=r"somewhere: cannot be written \(No space left"):
            train_stack(items, results=tmp_path, device=CPU)
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(".")] == []
    runs = tmp_path / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []
    train_stack(items, results=tmp_path, device=CPU)
    same(clean, tmp_path, items)


def test_a_results_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file stands where the folder should be: that stops every user, root too."""
    (tmp_path / "results").write_text("")
    with pytest.raises(
        TrainingError, match=r"results.*: cannot be written \((Not a dir|File exis)"
    ):
        train_stack(members(), results=tmp_path / "results", device=CPU)


def test_final_runs_are_not_trained_again(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_files(clean)

    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "_train", never)
    train_stack(members(), results=clean, device=CPU)
    assert run_files(clean) == before


def test_a_checkpoint_of_other_members_is_not_used(clean: Path, tmp_path: Path) -> None:
    """Nor does it disturb: a stack is known by its members."""
    with pytest.MonkeyPatch.context() as patched:
        interrupt_epoch(2, patched)
        with pytest.raises(Interruption):
            train_stack(members(), results=tmp_path, device=CPU)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    state = Checkpoints(folder).load(CPU)
    assert state is not None
    assert sorted(state["members"]) == sorted(item.id for item in members())
    train_stack(members()[:2], results=tmp_path, device=CPU)
    same(clean, tmp_path, members()[:2])


def command(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def planned(folder: Path, **changes: Any) -> tuple[Path, list[str]]:
    """Plan a study of digits whose epochs are short; its plan file and the ids of its experiments."""
    split = {"unknown_validation": 2, "unknown_test": 2, "known_test": 400}
    recipe = {"epochs": 12, "batch_size": 32, "class_learning_rate": 10}
    losses = {"softmax": {}, "cosface": {"margin": 0.2, "scale": 16}}
    path = study_file.write(folder, split=split, recipe=recipe, losses=losses, stack_size=2, **changes)  # fmt: skip
    assert main(["plan", "--config", str(path)]) == 0
    plan = folder / "results" / "small" / "plan.json"
    return plan, [item["id"] for item in json.loads(plan.read_text())["experiments"]]


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_is_continued_to_the_same_verdicts(
    how: signal.Signals, digits: Path, tmp_path: Path
) -> None:
    plan, ids = planned(tmp_path)
    checkpoints = tmp_path / "results" / "checkpoints"
    process = command("-m", "benchmarks", "train", "--plan", str(plan))
    wait_for(lambda: list(checkpoints.glob("*/previous.pt")), process)
    process.send_signal(signal.SIGSTOP)
    second = command("-m", "benchmarks", "train", "--plan", str(plan))
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"another process (pid {process.pid})" in output
    assert "Traceback" not in output
    process.send_signal(how)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130), output
    assert not (tmp_path / "results" / "runs").exists(), "it was to be killed in mid-training"
    assert list(checkpoints.glob("*/current.pt"))

    process = command("-m", "benchmarks", "train", "--plan", str(plan))
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "going on after epoch" in output
    assert list(checkpoints.iterdir()) == []
    assert main(["evaluate", "--plan", str(plan)]) == 0
    for name in ids:
        (ours,) = (tmp_path / "results" / "runs" / name).glob("evaluations/*/metrics.json")
        (theirs,) = (digits / "results" / "runs" / name).glob("evaluations/*/metrics.json")
        assert ours.read_bytes() == theirs.read_bytes()
        assert json.loads(ours.read_text())["metrics"]["closed_set/top1"] > 0.3


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of `planned`, trained and judged in one go by the command line."""
    folder = tmp_path_factory.mktemp("digits")
    plan, _ = planned(folder)
    process = command("-m", "benchmarks", "train", "--plan", str(plan))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert main(["evaluate", "--plan", str(plan)]) == 0
    return folder


@pytest.mark.slow
def test_a_stack_that_is_done_does_not_import_torch(digits: Path, tmp_path: Path) -> None:
    plan = digits / "results" / "small" / "plan.json"
    before = run_files(digits / "results")
    (stack,) = json.loads(plan.read_text())["stacks"]
    program = (
        "import sys; from benchmarks.__main__ import main; "
        "code = main(sys.argv[1:]); print('torch' in sys.modules, code)"
    )
    done = tmp_path / "done.json"
    process = command(
        "-c", program, "train", "--plan", str(plan), "--stack", stack, "--done", str(done)
    )
    output, _ = process.communicate(timeout=60)
    assert "False 0" in output
    assert f"stack {stack}: 2 finished" in output
    assert run_files(digits / "results") == before
    summary = json.loads(done.read_text())
    assert {item["status"] for item in summary.values()} == {"finished"}
    assert len(summary) == 2
