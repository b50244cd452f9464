"""A results tree as the benchmarks write it, with known numbers: no training, no torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

EVALUATION = "e0"
JUDGED = ("closed_set", "verification", "retrieval")  # with resamples
FARS = ("1e-01", "1e-02", "1e-03", "1e-04")
Grid = Mapping[str, Mapping[str, list[Any]]]  # loss -> hyper-parameter -> values

GRID: Grid = {
    "softmax": {},
    "norm_softmax": {"scale": [8.0, 16.0, 32.0]},
    "cosface": {"margin": [0.1, 0.2, 0.35], "scale": [16.0, 32.0, 64.0]},
    "arcface": {"margin": [0.1, 0.3, 0.5, 0.8], "scale": [8.0, 16.0, 32.0, 64.0]},
    "triplet": {"margin": [0.1, 0.2, 0.5]},
}


@dataclass
class Tree:
    """Where things lie, and a way to change one run."""

    plan: Path
    runs: Path
    out: Path
    ids: dict[tuple[str, str, int], str] = field(
        default_factory=dict
    )  # (loss, settings as JSON, seed) -> id

    def run(self, loss: str, seed: int, **settings: Any) -> Path:
        """The folder of one run."""
        return self.runs / self.ids[(loss, json.dumps(settings, sort_keys=True), seed)]


def quality(loss: str, settings: Mapping[str, float], seed: int) -> tuple[float, float]:
    """Closed-set top-1 and open-set EER, as fractions: smooth in margin and scale, with seed and
    run noise.
    """
    margin, scale = settings.get("margin", 0.0), settings.get("scale", 16.0)
    base = {
        "softmax": (0.93, 0.115),
        "norm_softmax": (0.935, 0.1),
        "cosface": (0.945, 0.07),
        "arcface": (0.945, 0.068),
    }
    closed, eer = base.get(loss, (0.91, 0.09))
    ideal = {"cosface": 0.2, "arcface": 0.3}.get(loss, 0.2)
    penalty = 0.1 * (margin - ideal) ** 2 + 0.012 * np.log2(scale / 32) ** 2
    rng = np.random.default_rng([seed, sum(map(ord, loss)), int(100 * margin), int(scale)])
    common = 0.006 * np.random.default_rng(seed).standard_normal()
    return (
        closed - 0.8 * penalty + common + 0.002 * rng.standard_normal(),
        eer + penalty - common + 0.003 * rng.standard_normal(),
    )


def fate(loss: str, settings: Mapping[str, float], seed: int) -> tuple[str, str | None]:
    """What becomes of a run: large margins with large scales diverge, one run fails, one is
    missing, one lacks memory.
    """
    margin, scale = settings.get("margin", 0.0), settings.get("scale", 0.0)
    if loss == "arcface" and margin == 0.8 and scale == 64:
        return "diverged", "loss not finite in epoch 3 (step 412)"
    if loss == "arcface" and margin == 0.8 and scale == 32 and seed in (1, 3):
        return "diverged", "loss not finite in epoch 7 (step 1,004)"
    if loss == "cosface" and margin == 0.35 and scale == 64 and seed == 2:
        return (
            "failed",
            "RuntimeError: 50 % of class_weights did not move & the optimizer has lost them",
        )
    if loss == "cosface" and margin == 0.35 and scale == 64 and seed == 4:
        return "out_of_memory", "a stack of 1 did not fit into 16 GB"
    if loss == "arcface" and margin == 0.5 and scale == 8 and seed == 0:
        return "missing", None
    return "finished", None


def write_tree(
    folder: Path,
    *,
    grid: Grid = GRID,
    seeds: int = 5,
    validation: bool = True,
    open_set: bool = True,
    embedding_dim: int = 64,
    impostors: int = 60_000,
    identities: str | None = None,
    values: Callable[[str, Mapping[str, float], int], tuple[float, float]] = quality,
    fates: Callable[[str, Mapping[str, float], int], tuple[str, str | None]] = fate,
) -> Tree:
    """Write ``study/plan.json`` and ``runs/`` below a folder.

    `identities`: "shared" or "own" by every seed, with resamples beside the metrics; None: without.
    """
    tree = Tree(folder / "study" / "plan.json", folder / "runs", folder / "study" / "report")
    experiments = []
    for loss, axes in grid.items():
        for point in itertools.product(*axes.values()):
            settings = dict(zip(axes, point, strict=True))
            for seed in range(seeds):
                experiment = make_experiment(loss, settings, seed, embedding_dim)
                tree.ids[(loss, json.dumps(settings, sort_keys=True), seed)] = experiment["id"]
                experiments.append(experiment)
                write_run(
                    tree.runs,
                    experiment,
                    settings,
                    fates(loss, settings, seed),
                    values(loss, settings, seed),
                    validation=validation,
                    open_set=open_set,
                    impostors=impostors,
                    identities=identities,
                )
    plan = {
        "study": "study",
        "title": "Margins and scales on drawn glyphs",
        "config": {},
        "evaluation": EVALUATION,
        "axes": {
            loss: [key for key, own in axes.items() if len(own) > 1] for loss, axes in grid.items()
        },
        "experiments": experiments,
        "stacks": {},
    }
    write_json(tree.plan, plan)
    return tree


def write_json(path: Path, content: object) -> None:
    """Write a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_run(
    runs: Path,
    experiment: Mapping[str, Any],
    settings: Mapping[str, Any],
    fate: tuple[str, str | None],
    value: tuple[float, float],
    *,
    validation: bool = True,
    open_set: bool = True,
    impostors: int = 60_000,
    identities: str | None = None,
) -> None:
    """Write what one experiment left in the run store; nothing for a missing run.

    `fate`: status and reason; `value`: closed-set top-1 and open-set EER if it finished.
    """
    status, reason = fate
    if status == "missing":
        return
    loss, seed = experiment["loss"]["name"], experiment["seed"]
    run = runs / experiment["id"]
    write_json(run / "experiment.json", experiment)
    _result(run, experiment, status, reason)
    _history(run, loss, settings, seed, status)
    if status == "finished":
        closed, eer = value
        _evaluation(run, loss, closed, eer, validation, open_set, impostors)
        if identities is not None:
            _replicates(run, seed if identities == "own" else 0)
        if experiment["backbone"]["embedding_dim"] == 2:
            _embeddings(run, seed, eer)


def make_experiment(
    loss: str, settings: Mapping[str, Any], seed: int, embedding_dim: int
) -> dict[str, Any]:
    """An experiment as it stands in a plan."""
    hyper = (
        {"rule": "linear", "gradient": "exact", **settings} if loss == "arcface" else dict(settings)
    )
    if loss == "triplet":
        hyper = {"soft_margin": False, "distance": "euclidean", **settings}
    slug = "".join(f"-{key[0]}{value:g}" for key, value in settings.items())
    return {
        "id": f"glyphs-conv3-{loss}{slug}-r{seed}-0a1b2c3d4e",
        "dataset": {"name": "glyphs", "options": {"classes": 100, "images_per_class": 20}},
        "data_checksum": "4f1c" * 16,
        "split": {
            "classes": "random",
            "unknown_test": 0.25,
            "unknown_validation": 0.1,
            "known_test": 0.2,
        },
        "backbone": {"name": "conv3", "embedding_dim": embedding_dim, "embedding_norm": "batch"},
        "recipe": {
            "epochs": 10,
            "batch_size": 256,
            "sampler": "balanced" if loss == "triplet" else "shuffled",
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "milestones": [0.5, 0.75],
        },
        "augment": {"rotate_degrees": 0, "scale": 0.1},
        "loss": {"name": loss, "hyperparameters": hyper},
        "seed": seed,
        "fingerprint": "f" * 10,
    }


def _result(run: Path, experiment: Mapping[str, Any], status: str, reason: str | None) -> None:
    facts = {
        "epochs": 10,
        "images": 15_000,
        "seconds": 12.5,
        "images_per_second": 4800.0,
        "stack": "a1",
        "stack_size": 4,
        "peak_memory": 300 * 2**20,
    }
    provenance = {
        "git_commit": "c0ffee" * 6 + "c0ff",
        "dirty": False,
        "python": "3.12.1",
        "torch": "2.11.0",
        "numpy": "2.4.0",
        "cpu": "Example CPU",
        "device": "cpu",
        "threads": 1,
        "date": "2030-01-01",
    }
    content = {
        "id": experiment["id"],
        "status": status,
        "reason": reason,
        **facts,
        "provenance": provenance,
        "files": {},
    }
    write_json(run / "result.json", content)


def _history(run: Path, loss: str, settings: Mapping[str, float], seed: int, status: str) -> None:
    rng = np.random.default_rng([seed, sum(map(ord, loss))])
    start = settings.get("scale", 8.0) * (0.3 + settings.get("margin", 0))
    lines = []
    for epoch in range(1, 11 if status == "finished" else 4):
        row: dict[str, Any] = {
            "epoch": epoch,
            "learning_rate": 0.1,
            "loss": start * np.exp(-0.3 * epoch + 0.05 * rng.standard_normal()),
        }
        if loss != "triplet":
            row["accuracy"] = 1 - np.exp(-0.45 * epoch + 0.05 * rng.standard_normal())
            row["target_angle"] = 85 * np.exp(-0.12 * epoch) + rng.standard_normal()
        row["non_finite"] = 0
        lines.append(json.dumps(row))
    (run / "history.jsonl").write_text("\n".join(lines) + "\n")


def _evaluation(
    run: Path,
    loss: str,
    closed: float,
    eer: float,
    validation: bool,
    open_set: bool,
    impostors: int,
) -> None:
    metrics: dict[str, float | None] = {"closed_set/ncm_top1": closed - 0.01}
    notes = {}
    if loss == "triplet":
        metrics["closed_set/top1"] = None
        notes["closed_set/top1"] = "the loss has no classifier"
    else:
        metrics["closed_set/top1"] = closed
    curves = {}
    if open_set:
        distance = -2 * norm.ppf(eer)
        far = np.concatenate([[0.0], np.geomspace(1 / impostors, 1, 200)])
        tar = norm.cdf(norm.ppf(far) + distance)
        curves = {"test/verification/far": far, "test/verification/tar": tar}
        metrics |= {
            "verification/eer": eer,
            "verification/auc": float(norm.cdf(distance / np.sqrt(2))),
        }
        metrics |= {
            "verification/genuine_pairs": 4750.0,
            "verification/impostor_pairs": float(impostors),
        }
        metrics["retrieval/recall_at_1"] = 1 - 1.2 * eer
        metrics["geometry/intra"] = 40 + 100 * eer  # degrees, no direction
        metrics["lately/invented_7"] = eer  # of a protocol that the report does not know
        for text in FARS:
            name = f"verification/tar_at_far_{text}"
            if float(text) * impostors >= 10:
                metrics[name] = float(np.interp(float(text), far, tar))
                metrics[f"verification/achieved_far_{text}"] = float(text)
            else:
                metrics[name] = None
                notes[name] = (
                    f"FAR {float(text):g} of {impostors:,} impostor pairs is fewer than 10 false "
                    "accepts"
                )
    if validation:
        # Validation favours what test favours, with its own noise.
        shift = 0.002 * np.sin(1e6 * eer)
        metrics["validation/closed_set/ncm_top1"] = closed - 0.01 + shift
        if open_set:
            metrics["validation/verification/eer"] = eer + shift
    folder = run / "evaluations" / EVALUATION
    write_json(
        folder / "metrics.json", {"evaluation": EVALUATION, "metrics": metrics, "notes": notes}
    )
    np.savez(folder / "curves.npz", **curves)


def _replicates(run: Path, draw: int) -> None:
    """Resamples of 40 identities, each with its own effect, the same in all runs but for a tenth."""
    folder = run / "evaluations" / EVALUATION
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    drawn = np.random.default_rng(draw)
    counts = drawn.multinomial(40, np.full(40, 1 / 40), size=200)
    effect = drawn.standard_normal(40)
    own = np.random.default_rng([draw, *run.name.encode()]).standard_normal(40)
    arrays = {f"identities/{world}": 100 * draw + np.arange(40) for world in ("known", "unknown")}
    for name, value in metrics.items():
        if value is not None and "_pairs" not in name and name.split("/")[0] in JUDGED:
            each = value * (1 - value) * (effect + 0.1 * own - (effect + 0.1 * own).mean())
            arrays[f"replicates/{name}"] = value + (counts - 1) @ each / 40
            arrays[f"left_out/{name}"] = value - each / 39
    np.savez(folder / "replicates.npz", **arrays)


def _embeddings(run: Path, seed: int, eer: float) -> None:
    """Ten classes as rays from the origin and two unknown ones between them."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(12), 60)
    angle = np.where(
        labels < 10, labels * 2 * np.pi / 10, 0.3 + labels * 1.3
    ) + 2 * eer * rng.standard_normal(len(labels))
    length = rng.gamma(12, 2, len(labels))
    part = np.where(labels < 10, np.tile([0, 0, 0, 0, 0, 2], len(labels) // 6), 4)
    embeddings = np.column_stack([length * np.cos(angle), length * np.sin(angle)]).astype(
        np.float32
    )
    np.savez(
        run / "embeddings.npz",
        embeddings=embeddings,
        labels=labels,
        part=part.astype(np.int8),
        known_classes=np.arange(10),
    )
