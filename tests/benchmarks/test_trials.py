"""A trial ends with the same bits in however many legs it is trained, and shows no image that tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import data as data_module
from benchmarks import outcome
from benchmarks import train as training
from benchmarks.errors import TrainingError
from benchmarks.evaluate import validation_metrics
from benchmarks.experiment import Experiment
from benchmarks.files import file_hash
from benchmarks.protocols import PROTOCOLS
from benchmarks.protocols.judged import PER_IMAGE
from benchmarks.stack import Stack
from benchmarks.store import RunStore, trial_name
from benchmarks.train import train_stack
from benchmarks.trials import drop_states, train_trials, trial_store
from datasets.splits import PART_CODES
from losses.cosface import CosFace
from tests.benchmarks import tiny

CPU = torch.device("cpu")
EPOCHS = 5
SPLIT = {**tiny.SPLIT, "known_validation": 2, "seed": 0}
SETTINGS = {"protocols": list(PROTOCOLS), "fars": [0.2], "fpirs": [0.2], "resamples": 5}
PER_IMAGE_KEPT = {"embeddings", "labels", "part", "top_classes", "top_scores", "logsumexp"}
# What one training differs in from the next.
TIMES = {
    "seconds",
    "images_per_second",
    "stack",
    "stack_size",
    "files",
    "provenance",
    "peak_memory",
}


@pytest.fixture(autouse=True, scope="module")
def _tiny_images() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "load_images", lambda *_: tiny.images(each=12))
        yield


def trial(
    loss: str, hyper: dict[str, Any] | None = None, *, seed: int = 0, **changes: Any
) -> Experiment:
    return tiny.experiment(loss, hyper, seed=seed, **{"epochs": EPOCHS, "split": SPLIT, **changes})


def candidates(**changes: Any) -> list[Experiment]:
    """Losses with moving state, of both samplers, two of a group, one model by model, one clipped, one that diverges."""
    items = [
        trial("arcface", {"margin": 0.3, "scale": 16}, clip_norm=0.5, **changes),
        trial("arcface", {"margin": 0.5, "scale": 32}, seed=1, **changes),
        trial("curricularface", {"scale": 16}, **changes),
        trial("magface", {"scale": 16}, seed=1, **changes),
        trial("center", {"center_weight": 0.1}, seed=1, **changes),
        trial("oim", {"queue_size": 3}, **changes),
        trial("triplet", **changes),
        trial("bag_of_tricks", {"center.weight": 0.01}, **changes),
        trial("softmax", seed=1, **{**changes, "learning_rate": 1e30}),
    ]
    try:
        import pytorch_metric_learning  # noqa: F401
    except ImportError:
        return items
    return [*items, trial("pml:ProxyAnchorLoss", seed=1, **changes)]


ADAMW = {"optimizer": "adamw", "learning_rate": 0.01, "schedule": "step", "warmup_epochs": 1}
RECIPES: dict[str, dict[str, Any]] = {"sgd": {}, "adamw": ADAMW}


def contents(results: Path, name: str) -> dict[str, Any]:
    """All that a trial's folder says of the trial, times and neighbours apart."""
    folder = trial_store(results).folder(name)
    found: dict[str, Any] = {
        "result": {
            key: value
            for key, value in json.loads((folder / "result.json").read_text()).items()
            if key not in TIMES
        }
    }
    for part in ("history.jsonl", "experiment.json"):
        found[part] = (folder / part).read_bytes()
    if (folder / "embeddings.npz").exists():
        with np.load(folder / "embeddings.npz") as file:
            found |= {key: (array.dtype, array.tobytes()) for key, array in file.items()}
    return found


def train(results: Path, items: list[Experiment], **options: Any) -> dict[str, str]:
    return train_trials(items, results=results, device=CPU, **options)


@pytest.fixture(scope="module", params=RECIPES)
def straight(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Experiment], dict[str, dict[str, Any]]]:
    """Candidates of one recipe, trained together in one leg, and what became of each."""
    results, items = tmp_path_factory.mktemp(request.param), candidates(**RECIPES[request.param])
    statuses = train(results, items)
    assert [statuses[item.id] for item in items].count("diverged") == 1
    assert {*statuses.values()} == {"finished", "diverged"}
    return items, {item.id: contents(results, item.id) for item in items}


@pytest.mark.parametrize("seed", range(3))
def test_rungs_change_no_bit(
    seed: int,
    straight: tuple[list[Experiment], dict[str, dict[str, Any]]],
    tmp_path: Path,
) -> None:
    """Whatever the rungs, with fewer neighbours from each on, in other stacks, and alone at last."""
    items, expected = straight
    rng = np.random.default_rng(seed)
    results = tmp_path
    rungs = sorted(rng.choice(np.arange(1, EPOCHS), rng.integers(1, 4), replace=False).tolist())
    alive, since = list(items), None
    for until in [*rungs, None]:
        middle = int(rng.integers(len(alive)))
        for part in filter(None, (alive[:middle], alive[middle:])):
            train(results, part, until=until, since=since)
        if until is not None:
            for item in alive:
                result = trial_store(results).result(trial_name(item.id, until))
                assert result is not None
                given_up = result["status"] == "diverged"
                assert result["epochs"] == (1 if given_up else until)
                # 12 classes of 12 images: 8 known of 8 training images each make 4 batches of 16.
                assert result["images"] == result["epochs"] * 64
            chosen = rng.permutation(len(alive))[: rng.integers(1, len(alive) + 1)]
            alive = [alive[number] for number in chosen]
        since = until
    for item in alive:
        assert contents(results, item.id) == expected[item.id], item.id
    assert {path.name for path in trial_store(results).root.iterdir() if "epoch-" not in path.name} == {
        item.id for item in alive
    }  # fmt: skip
    assert list((results / "checkpoints").iterdir()) == []


def test_a_rung_is_what_the_training_was_then(tmp_path: Path) -> None:
    """A training that ends there anyhow has the same weights where the schedule is constant."""
    short = trial("softmax", epochs=2, schedule="constant")
    long = trial("softmax", epochs=EPOCHS, schedule="constant")
    train(tmp_path, [short])
    train(tmp_path, [long], until=2)
    ours, theirs = contents(tmp_path, trial_name(long.id, 2)), contents(tmp_path, short.id)
    for key in ("embeddings", "class_weights", "top_scores", "history.jsonl"):
        assert ours[key] == theirs[key]
    assert (ours["result"]["epochs"], ours["result"]["images"]) == (2, 128)
    assert ours["result"]["id"] == long.id


def members() -> list[Experiment]:
    return [
        trial("arcface", {"margin": 0.3, "scale": 16}),
        trial("triplet"),
        trial("cosface", {"margin": 0.2, "scale": 16}, seed=1),
        trial("softmax"),
    ]


def test_a_trial_is_its_run_without_the_test_images(tmp_path: Path) -> None:
    items = members()
    train(tmp_path, items)
    train_stack(items, results=tmp_path, device=CPU)
    runs = RunStore(tmp_path / "runs")
    tested = [PART_CODES["known_test"], PART_CODES["unknown_test"]]
    for item in items:
        folder, run = trial_store(tmp_path).folder(item.id), runs.folder(item.id)
        names = {path.name for path in folder.iterdir()}
        assert names == {"experiment.json", "history.jsonl", "embeddings.npz", "result.json"}
        result = json.loads((folder / "result.json").read_text())
        assert result["files"] == {name: file_hash(folder / name) for name in names - {"result.json"}}  # fmt: skip
        assert (folder / "history.jsonl").read_bytes() == (run / "history.jsonl").read_bytes()
        with np.load(folder / "embeddings.npz") as file, np.load(run / "embeddings.npz") as other:
            ours, whole = dict(file), dict(other)
        assert ours.keys() == whole.keys()
        kept = ~np.isin(whole["part"], tested)
        assert 0 < kept.sum() < len(kept)
        assert not np.isin(ours["part"], tested).any()
        assert {*PER_IMAGE} & ours.keys() <= PER_IMAGE_KEPT
        for name, array in whole.items():
            expected = array[kept] if name in PER_IMAGE_KEPT else array
            assert ours[name].dtype == expected.dtype
            assert np.array_equal(ours[name], expected), (item.id, name)
        found = validation_metrics(trial_store(tmp_path), item.id, SETTINGS)
        assert found == validation_metrics(runs, item.id, SETTINGS)
        assert found["validation/verification/eer"] is not None
        assert found["validation/closed_set/ncm_top1"] is not None


def test_only_what_a_trial_may_show_is_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    whole = Stack.embed

    def spy(self: Stack, images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return whole(self, images)

    monkeypatch.setattr(Stack, "embed", spy)
    item = trial("triplet")
    train(tmp_path, [item], until=1)
    image_set = tiny.images(each=12)
    split = data_module.split_of(item, image_set)
    tested = {*split.known_test.tolist(), *split.unknown_test.tolist()}
    rows = [row for row in range(144) if row not in tested]
    pixels = torch.from_numpy(np.array(image_set.images))[rows].float() / 255
    assert torch.equal(seen[-1], pixels)


def test_different_test_parts_are_refused(tmp_path: Path) -> None:
    split = {**SPLIT, "seed": "experiment"}
    items = [trial("softmax", seed=seed, split=split) for seed in (0, 1)]
    with pytest.raises(TrainingError, match=r"seeds 0, 1 have different test images.*split\.seed"):
        train(tmp_path, items)
    assert not (tmp_path / "trials").exists()
    assert train(tmp_path, items[:1]) == {items[0].id: "finished"}


def test_trials_and_runs_do_not_know_of_each_other(tmp_path: Path) -> None:
    items = members()[:2]
    train_stack(items, results=tmp_path, device=CPU)
    with pytest.MonkeyPatch.context() as patched:
        interrupt(patched, 1)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, items)
    assert len(list((tmp_path / "locks").iterdir())) == 2
    train(tmp_path, items, until=2)
    assert len(list((tmp_path / "locks").iterdir())) == 3
    assert {path.name for path in (tmp_path / "trials").iterdir()} == {
        trial_name(item.id, 2) for item in items
    }


def test_what_is_done_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = members()
    statuses = train(tmp_path, items[:3], until=2)
    assert train(tmp_path, [*items[:3], items[0]], until=2) == statuses
    trained: list[list[str]] = []
    whole = training._train

    def spy(experiments: list[Experiment], *arguments: Any) -> None:
        trained.append([item.id for item in experiments])
        whole(experiments, *arguments)

    monkeypatch.setattr(training, "_train", spy)
    assert train(tmp_path, items[:3], until=2) == statuses
    assert trained == []
    assert len(train(tmp_path, items, until=2)) == 4
    assert trained == [[items[3].id]]
    assert train(tmp_path, [], until=2) == {}


def interrupt(patched: pytest.MonkeyPatch, epoch: int, step: int = 2) -> None:
    """Ctrl-C in the middle of an epoch."""
    whole = training._epoch

    def stopping(stack: Stack, data: Any, number: int, bar: Any, take: Any) -> Any:
        steps = [0]

        def counted(*arguments: Any) -> Any:
            steps[0] += 1
            if number == epoch and steps[0] == step:
                raise KeyboardInterrupt
            return take(*arguments)

        return whole(stack, data, number, bar, counted)

    patched.setattr(training, "_epoch", stopping)


@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_a_leg_that_is_killed_goes_on_to_the_same_trials(
    epoch: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before its first checkpoint (2), after it (3), and twice (4)."""
    items = candidates()[:4]
    train(tmp_path / "clean", items)
    results = tmp_path / "killed"
    train(results, items, until=1)
    for number in (3, 4) if epoch == 4 else (epoch,):
        with pytest.MonkeyPatch.context() as patched:
            interrupt(patched, number)
            with pytest.raises(KeyboardInterrupt):
                train(results, items[1:], until=4, since=1)
        assert not list((results / "trials").glob("*.epoch-4"))
    caplog.clear()
    with caplog.at_level("INFO"):
        train(results, items[1:], until=4, since=1)
    assert ("going on after epoch" in caplog.text) is (epoch > 2)
    train(results, items[1:], since=4)
    for item in items[1:]:
        assert contents(results, item.id) == contents(tmp_path / "clean", item.id)


def test_checkpoints_of_another_rung_are_not_used(tmp_path: Path) -> None:
    items = members()[:2]
    with pytest.MonkeyPatch.context() as patched:
        interrupt(patched, 4)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, items)
    train(tmp_path, items, until=2)
    for item in items:
        result = trial_store(tmp_path).result(trial_name(item.id, 2))
        assert result is not None
        assert result["epochs"] == 2


def test_killed_while_results_are_written(tmp_path: Path) -> None:
    """Some members of a rung are there, the others are trained again, from the rung before."""
    items = members()
    train(tmp_path / "clean", items)
    results = tmp_path / "killed"
    train(results, items, until=1)
    whole, written = outcome.state_bytes, []

    def stopping(state: dict[str, Any]) -> bytes:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(state)
        return whole(state)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outcome, "state_bytes", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(results, items, until=3, since=1)
    assert len(list((results / "trials").glob("*.epoch-3"))) == 2
    assert not list((results / "trials").glob(".*"))
    train(results, items, until=3, since=1)
    train(results, items, since=3)
    for item in items:
        assert contents(results, item.id) == contents(tmp_path / "clean", item.id)


def test_a_loss_that_raises_in_a_later_leg_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = members()
    bad = items[2]
    train(tmp_path / "clean", items)
    results = tmp_path / "broken"
    train(results, items, until=2)

    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("GPU is full")

    with monkeypatch.context() as patched:
        patched.setattr(CosFace, "shift", full)
        statuses = train(results, items, since=2)
    assert statuses == {item.id: "finished" for item in items} | {bad.id: "out_of_memory"}
    result = trial_store(results).result(bad.id)
    before = trial_store(results).result(trial_name(bad.id, 2))
    assert result is not None
    assert before is not None
    # What it took until then is not forgotten.
    for fact in ("epochs", "images", "seconds"):
        assert result[fact] == before[fact] > 0
    assert train(results, items, since=2)[bad.id] == "finished"
    for item in items:
        assert contents(results, item.id) == contents(tmp_path / "clean", item.id)


def test_seconds_count_the_whole_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes one second by this clock: a stack of four shares it, one alone has it for itself."""
    clock = iter(range(1000))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(clock)))
    items = members()
    train(tmp_path, items, until=2)
    train(tmp_path, items[:1], until=4, since=2)
    train(tmp_path, items[:2], until=4, since=2)  # the first is there
    train(tmp_path, items[:2], since=4)
    seconds = {}
    for item in items[:2]:
        for epoch in (2, 4, None):
            result = trial_store(tmp_path).result(trial_name(item.id, epoch))
            assert result is not None
            seconds.setdefault(epoch, []).append(result["seconds"])
            done = epoch or EPOCHS
            assert result["epochs"] == done
            assert result["images_per_second"] == pytest.approx(done * 64 / result["seconds"])
    assert seconds == {2: [0.5, 0.5], 4: [2.5, 2.5], None: [3.0, 3.0]}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    """One bit in the middle, where the tensors are."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [(cut, "damaged"), (flip, "damaged"), (Path.unlink, "cannot be read .No such file")],
)
def test_a_spoiled_state_is_named(
    spoil: Callable[[Path], None], problem: str, tmp_path: Path
) -> None:
    items = members()[:2]
    train(tmp_path, items, until=2)
    folder = trial_store(tmp_path).folder(trial_name(items[1].id, 2))
    spoil(folder / "state.pt")
    with pytest.raises(TrainingError, match=rf"state\.pt: {problem}.*delete .* to train it again") as caught:  # fmt: skip
        train(tmp_path, items, since=2)
    assert str(folder / "state.pt") in str(caught.value)
    assert not trial_store(tmp_path).folder(items[0].id).exists()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(TrainingError, match=r"epoch-2: has no result.*until epoch 2 first"):
        train(tmp_path, items, since=2)
    train(tmp_path, items, until=2)
    assert {*train(tmp_path, items, since=2).values()} == {"finished"}


def test_states_hold_one_trial_and_are_dropped(tmp_path: Path) -> None:
    items = members()
    train(tmp_path, items, until=1)
    train(tmp_path, items, until=3, since=1)
    paths = sorted((tmp_path / "trials").glob("*/state.pt"))
    assert len(paths) == 8
    state = torch.load(paths[0], map_location="cpu", weights_only=True)
    tensors = state["member"]["tensors"].values()
    # Weights and one moment for each; not the stack that they are a view of.
    held = sum(tensor.nbytes for tensor in tensors)
    assert held < paths[0].stat().st_size < 2 * held + 50_000
    drop_states(tmp_path, [item.id for item in items[:3]])
    left = sorted((tmp_path / "trials").glob("*/state.pt"))
    assert [path.parent.name for path in left] == [trial_name(items[3].id, epoch) for epoch in (1, 3)]  # fmt: skip
    assert trial_store(tmp_path).is_final(trial_name(items[0].id, 3))
    drop_states(tmp_path, [item.id for item in items])
    drop_states(tmp_path / "nothing", [items[0].id])
    assert not list((tmp_path / "trials").glob("*/state.pt"))


@pytest.mark.parametrize(
    "options", [{"until": 0}, {"until": 6}, {"since": 5}, {"since": 0}, {"since": 3, "until": 3}]
)
def test_rungs_that_cannot_be(options: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 < since < until <= 5"):
        train(tmp_path, members(), **options)


def test_the_last_epoch_is_no_rung(tmp_path: Path) -> None:
    item = members()[3]
    train(tmp_path, [item], until=EPOCHS)
    assert [path.name for path in (tmp_path / "trials").iterdir()] == [item.id]
    assert not list((tmp_path / "trials").glob("*/state.pt"))
