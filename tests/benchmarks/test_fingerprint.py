"""What names an experiment: what the code says and what the study asks, not how either is written down."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fingerprint, study
from benchmarks.experiment import Experiment, canonical, content_hash
from benchmarks.fingerprint import source_fingerprint
from losses import catalog, peers
from tests.benchmarks import study_file, tiny
from tests.conftest import ROOT

SOURCE = '''"""About."""


class Margin:
    """A margin."""

    def target(self, cosine: float) -> float:
        """cos - m."""
        return cosine - 0.35
'''
SAME = {
    "comment": SOURCE.replace("return", "# m = 0.35\n        return"),
    "docstring": SOURCE.replace("cos - m", "What else\n\n        there is to say"),
    "no docstring": SOURCE.replace('        """cos - m."""\n', ""),
    "layout": SOURCE.replace(
        "cosine - 0.35", "(\n            cosine\n            - .35\n        )"
    ),
    "blank lines": SOURCE.replace("\n\n", "\n\n\n"),
}
OTHER = {
    "number": SOURCE.replace("0.35", "0.36"),
    "sign": SOURCE.replace("cosine - ", "cosine + "),
    "name": SOURCE.replace("target", "shift"),
    "a string that is no docstring": SOURCE.replace("return", 'print("x")\n        return'),
    "type": SOURCE.replace("-> float", "-> int"),
}


def fingerprint_of(text: str, folder: Path) -> str:
    path = folder / "margin.py"
    path.write_text(text)
    return source_fingerprint([path])


@pytest.mark.parametrize("change", SAME)
def test_what_leaves_a_fingerprint(change: str, tmp_path: Path) -> None:
    assert SAME[change] != SOURCE
    assert fingerprint_of(SAME[change], tmp_path) == fingerprint_of(SOURCE, tmp_path)


@pytest.mark.parametrize("change", OTHER)
def test_what_changes_a_fingerprint(change: str, tmp_path: Path) -> None:
    assert fingerprint_of(OTHER[change], tmp_path) != fingerprint_of(SOURCE, tmp_path)


def test_a_docstring_alone_is_an_empty_body(tmp_path: Path) -> None:
    empty = "class A:\n    pass\n"
    assert fingerprint_of('class A:\n    """A."""\n', tmp_path) == fingerprint_of(empty, tmp_path)


def test_order_of_files_does_not_matter_and_their_names_do(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.py" for name in "abc")
    for path, text in ((first, "x = 1\n"), (second, "y = 2\n"), (third, "x = 1\n")):
        path.write_text(text)
    assert source_fingerprint([first, second]) == source_fingerprint([second, first])
    assert source_fingerprint([first]) != source_fingerprint([third])


def test_where_packages_are_installed_does_not_matter(tmp_path: Path) -> None:
    """Of two folders now the one, now the other stands first in the order of whole paths."""
    found = set()
    for ours, theirs in (("a/losses", "b/peer"), ("b/losses", "a/peer")):
        for folder, text in ((ours, "x = 1\n"), (theirs, "y = 2\n")):
            path = tmp_path / folder / "margin.py"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        files = [tmp_path / ours / "margin.py", tmp_path / theirs / "margin.py"]
        found.add(source_fingerprint(files))
    assert len(found) == 1


def test_the_version_of_a_peer_is_part_of_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("pytorch_metric_learning")
    if spec is None or spec.origin is None:
        pytest.skip("pytorch-metric-learning is not installed")
    root = tmp_path / "pytorch_metric_learning"
    shutil.copytree(Path(spec.origin).parent, root)
    monkeypatch.setattr(peers, "_package", lambda _: root)
    found = []
    for version in ("2.9.0", "2.9.1"):
        text = (root / "__init__.py").read_text()
        (root / "__init__.py").write_text(re.sub(r'"[\d.]+"', f'"{version}"', text))
        for cached in (peers.describe, peers.row, fingerprint.loss_fingerprint):
            cached.cache_clear()
        names = ("pml:NCALoss", "arcface")
        found.append([fingerprint.loss_fingerprint(name) for name in names])
    for cached in (peers.describe, peers.row, fingerprint.loss_fingerprint):
        cached.cache_clear()
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the sources, of which fingerprints are taken; none is left for other tests."""
    for package in ("losses", "benchmarks", "datasets"):
        shutil.copytree(ROOT / package, tmp_path / package)
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "losses" / "catalog.py"))
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    yield tmp_path
    forget()


def forget() -> None:
    """Fingerprints are kept by the process."""
    for cached in (
        fingerprint.engine_fingerprint,
        fingerprint.protocols_fingerprint,
        fingerprint.tuning_fingerprint,
        fingerprint.loss_fingerprint,
    ):
        cached.cache_clear()


def all_fingerprints() -> dict[str, str]:
    named: dict[str, Callable[[], str]] = {
        "engine": fingerprint.engine_fingerprint,
        "protocols": fingerprint.protocols_fingerprint,
        "tuning": fingerprint.tuning_fingerprint,
    }
    forget()
    found = {name: function() for name, function in named.items()}
    return found | {name: fingerprint.loss_fingerprint(name) for name in catalog.names()}


MARGINS = {"norm_softmax", "sphereface", "cosface", "arcface"}


@pytest.mark.parametrize(
    ("path", "old", "new", "changed"),
    [
        ("losses/cosface.py", "return -self.margin", "return -2 * self.margin", {"cosface"}),
        ("losses/arcface.py", "def ", "def  ", set()),
        ("losses/rows/additive.py", "0.35", "0.36", set()),
        ("losses/build.py", "num_classes < 2", "num_classes < 3", {"engine"}),
        ("benchmarks/optim.py", "0.999", "0.99", {"engine"}),
        ("benchmarks/data.py", "div_(255)", "div_(256)", {"engine"}),
        ("benchmarks/history.py", "min(5,", "min(4,", {"engine"}),
        ("datasets/splits.py", "0.25", "0.3", {"engine"}),
        ("benchmarks/tuning/space.py", "DIGITS = 4", "DIGITS = 3", {"tuning"}),
        ("benchmarks/tuning/searches.py", "** (rung + 1)", "** (rung + 2)", {"tuning"}),
        ("benchmarks/tuning/rounds.py", "slots:]", "slots + 1:]", {"tuning"}),
        ("benchmarks/tuning/winners.py", "order[0]", "order[-1]", set()),
        ("benchmarks/measures/roc.py", "Scores are similarities", "Scores: similarities", set()),
        ("benchmarks/measures/roc.py", "searchsorted(", "digitize(", {"protocols"}),
    ],
)
def test_what_an_edit_reruns(
    path: str, old: str, new: str, changed: set[str], checkout: Path
) -> None:
    before = all_fingerprints()
    text = (checkout / path).read_text()
    assert old in text
    (checkout / path).write_text(text.replace(old, new))
    after = all_fingerprints()
    assert {name for name in before if before[name] != after[name]} == changed


def test_editing_the_head_reruns_the_losses_that_have_one(checkout: Path) -> None:
    before = all_fingerprints()
    path = checkout / "losses" / "heads.py"
    path.write_text(path.read_text().replace(".mean(), {**log", ".sum(), {**log"))
    after = all_fingerprints()
    changed = {name for name in before if before[name] != after[name]}
    assert changed >= MARGINS
    assert changed.isdisjoint({"triplet", "engine", "protocols"})


# They carry bytes and messages, or decide what is asked, and no number that comes of it.
CARRIERS = {
    "benchmarks/__init__.py", "benchmarks/capacity.py", "benchmarks/checkpoint.py", "benchmarks/devices.py",
    "benchmarks/errors.py", "benchmarks/experiment.py",
    "benchmarks/files.py", "benchmarks/fingerprint.py", "benchmarks/leg.py", "benchmarks/memory.py",
    "benchmarks/provenance.py", "benchmarks/store.py", "datasets/__init__.py", "datasets/cache.py", "datasets/errors.py",
    "datasets/image_set.py", "datasets/progress.py", "datasets/registry.py",
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "identity", "carriers"),
    [
        ("benchmarks.train", fingerprint.ENGINE, set()),
        (
            "benchmarks.tuning.rounds",
            (*fingerprint.ENGINE, *fingerprint.TUNING),
            {"benchmarks/trials.py", "benchmarks/tuning/__init__.py"},
        ),
    ],
)
def test_every_module_that_decides_a_number_is_part_of_an_identity(
    module: str, identity: tuple[str, ...], carriers: set[str]
) -> None:
    program = (
        f"import sys, pathlib, {module}\n"
        "files = [getattr(m, '__file__', None) for m in sys.modules.values()]\n"
        "print(*[f for f in files if f], sep='\\n')"
    )
    listing = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    ours = {
        Path(file).relative_to(ROOT).as_posix()
        for file in listing.stdout.split("\n")
        if file and Path(file).parts[: len(ROOT.parts)] == ROOT.parts
    }
    packages = {path for path in ours if path.split("/")[0] in ("benchmarks", "datasets")}
    judging = tuple(f"{folder}/" for folder in fingerprint.JUDGING)
    packages -= {path for path in packages if path.startswith(judging)}
    assert packages - set(identity) <= CARRIERS | carriers
    assert all((ROOT / path).is_file() for path in identity)


def test_ids_are_readable() -> None:
    item = tiny.experiment("arcface", {"margin": 0.3, "scale": 16}, seed=3)
    assert re.fullmatch(r"tiny-conv3-arcface-m0\.3-s16-r3-[0-9a-f]{10}", item.id)
    assert re.fullmatch(r"tiny-conv3-softmax-r0-[0-9a-f]{10}", tiny.experiment("softmax").id)


CHANGES: dict[str, dict[str, Any]] = {
    "recipe": {"learning_rate": 0.06},
    "split": {"split": {**tiny.SPLIT, "unknown_test": 3}},
    "fixed split": {"split": {**tiny.SPLIT, "seed": 0}},
    "data": {"data_checksum": "1" * 64},
    "options": {"dataset": {"name": "tiny", "options": {"image_size": 28}}},
    "code": {"fingerprint": "other"},
    "augmentation": {"augment": {**tiny.AUGMENT, "flip": 0.5}},
    "seed": {"seed": 1},
    "backbone": {"backbone": {"name": "conv3", "embedding_dim": 9, "embedding_norm": "batch", "activation": "relu"}},
}  # fmt: skip


def test_every_component_changes_the_id() -> None:
    items = [tiny.experiment("cosface", **changes) for changes in CHANGES.values()]
    items += [tiny.experiment("cosface", hyper) for hyper in ({}, {"margin": 0.3}, {"scale": 8})]
    items.append(tiny.experiment("arcface", {"margin": 0.35}))
    hashes = [item.id.rpartition("-")[2] for item in items]
    assert len(set(hashes)) == len(items)


def test_one_and_one_point_zero_are_alike() -> None:
    assert canonical({"b": 1.0, "a": [2, 2.0, True]}) == '{"a":[2,2,true],"b":1}'
    assert content_hash([1, {"x": 0.5}]) == content_hash((1.0, {"x": 0.5}))
    assert content_hash(1) != content_hash(True)
    assert tiny.experiment("softmax", clip_norm=1).id == tiny.experiment("softmax", clip_norm=1.0).id  # fmt: skip


def test_equal_experiments_are_equal_and_hashable() -> None:
    first, second = tiny.experiment("softmax"), tiny.experiment("softmax")
    assert len({first, second, tiny.experiment("softmax", seed=1)}) == 2
    assert Experiment.from_json(first.to_json()) == first


def test_ids_are_the_same_in_every_process() -> None:
    program = (
        "from tests.benchmarks import tiny; print(tiny.experiment('cosface', {'margin': 0.2}).id)"
    )
    expected = tiny.experiment("cosface", {"margin": 0.2}).id
    for seed in ("0", "77"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def ids(folder: Path, **changes: Any) -> set[str]:
    return {item.id for item in study.load(study_file.write(folder, **changes)).experiments}


def test_an_id_does_not_depend_on_the_study_around_it(tmp_path: Path) -> None:
    """Not on its name, title, results folder, other grid points, other seeds, stacks, protocols or device."""
    alone = ids(tmp_path)
    assert len(alone) == 1
    others: list[dict[str, Any]] = [
        {"study": "another", "title": "Another"},
        {"results": str(tmp_path / "elsewhere")},
        {"losses": {"softmax": {}, "arcface": {"margin": [0.1, 0.3], "scale": [16, 32]}}},
        {"seeds": [2, 0]},
        {"stack_size": 1},
        {"evaluate": {"protocols": ["closed_set"]}},
        {"device": "auto"},
        {"losses": {"arcface": {"margin": 0.3, "scale": 16.0, "rule": "linear"}}},
    ]
    for changes in others:
        assert alone <= ids(tmp_path, **changes), changes
    assert ids(tmp_path, seeds=[1]).isdisjoint(alone)


def test_the_evaluation_is_named_by_settings_and_code(tmp_path: Path) -> None:
    def evaluation(**changes: Any) -> str:
        return study.load(study_file.write(tmp_path, **changes)).evaluation

    assert evaluation() == evaluation(seeds=3)
    assert evaluation() != evaluation(evaluate={"protocols": ["closed_set"]})
    assert evaluation() != evaluation(evaluate={"fars": [0.1]})
