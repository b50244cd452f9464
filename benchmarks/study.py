"""A study: from one config file to experiments and stacks. Imports no torch: thousands are planned in seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import config as study_config
from benchmarks import vary
from benchmarks.devices import gpu_memory_gib, resolve_device, visible_gpus
from benchmarks.errors import ConfigError
from benchmarks.experiment import Experiment, canonical, content_hash
from benchmarks.fingerprint import engine_fingerprint, loss_fingerprint, protocols_fingerprint
from benchmarks.tuning import settings as tune_settings
from benchmarks.tuning.searches import Tuning, plan_tuning
from datasets import registry
from datasets.errors import DataError
from datasets.registry import Description
from datasets.splits import SplitSpec, class_counts
from losses import catalog, feasibility

# Members of a stack on a CPU where the study does not say: beyond it the start of a process, torch's import above all,
# is a small part of the work.
CPU_STACK = 32

# Smaller images leave nothing after the backbone's poolings.
SMALLEST_IMAGE = {"conv4": 16, "lenet_plus_plus": 8, "lsoftmax_paper": 8}


@dataclass(frozen=True)
class Study:
    """The whole question, resolved: what runs, in which stacks, judged how."""

    name: str
    title: str
    config: dict[str, Any]
    device: str  # cpu | cuda
    experiments: tuple[Experiment, ...]
    stacks: dict[str, tuple[str, ...]]  # stack id -> experiment ids
    evaluation: str  # id of the protocols with their settings and code
    warnings: tuple[dict[str, Any], ...] = ()  # loss, hyperparameters, warning
    tuning: Tuning | None = None

    @property
    def results(self) -> Path:
        """Folder of all results; run store, cache and MLflow mirror are shared by the studies in it."""
        return Path(self.config["results"])

    @property
    def folder(self) -> Path:
        """Folder of this study's own outputs."""
        return self.results / self.name

    @property
    def seeds(self) -> list[int]:
        """The repetitions of every point of the grid and of every winner."""
        seeds = self.config["seeds"]
        return list(range(seeds)) if isinstance(seeds, int) else list(seeds)

    def stack_size(self, experiments: int) -> int:
        """Models that are trained together at most, where there are so many to train."""
        return _stack_size(experiments, self.config["stack_size"], self.device)

    def to_json(self) -> dict[str, Any]:
        """The content of ``plan.json``."""
        return {
            "study": self.name,
            "title": self.title,
            "config": self.config,
            "device": self.device,
            "evaluation": self.evaluation,
            "axes": study_config.varying(self.config),
            "experiments": [experiment.to_json() for experiment in self.experiments],
            "stacks": {stack: list(members) for stack, members in self.stacks.items()},
            "warnings": list(self.warnings),
            "searches": None if self.tuning is None else self.tuning.to_json(),
            "tuning": None,  # what they found stands in tuned.json
        }

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> Study:
        """Inverse of `to_json`."""
        return cls(
            name=plan["study"],
            title=plan["title"],
            config=plan["config"],
            device=plan["device"],
            experiments=tuple(Experiment.from_json(item) for item in plan["experiments"]),
            stacks={stack: tuple(members) for stack, members in plan["stacks"].items()},
            evaluation=plan["evaluation"],
            warnings=tuple(plan["warnings"]),
            tuning=None if plan["searches"] is None else Tuning.from_json(plan["searches"]),
        )

    def members(self, stack: str) -> list[Experiment]:
        """The experiments of one stack.

        Raises
        ------
        ConfigError : this study has no such stack.
        """
        if stack not in self.stacks:
            raise ConfigError(
                f"stack {stack!r} is not in the plan of study {self.name!r}; it has {', '.join(self.stacks)}"
            )
        wanted = set(self.stacks[stack])
        return [experiment for experiment in self.experiments if experiment.id in wanted]


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read and validate a study file, and plan it.

    Raises
    ------
    ConfigError : anything in the file that cannot be run; nothing has been started or written then.
    """
    config = study_config.load(path, overrides)
    if config.pop("quick", None):  # the form that is not asked for shall be right, too
        quick = study_config.load(path, {**(overrides or {}), "quick": True})
        try:
            _check(quick, _dataset(quick)[1])
        except (ConfigError, DataError) as error:
            raise ConfigError(f"{path}: quick: {error}") from error
    try:
        device = resolve_device(config["device"])
        options, description = _dataset(config)
        unknown = _check(config, description)
        experiments, defaults = _experiments(config, options, description.checksum)
        tuning = _tuning(config, defaults, unknown, device)
    except (ConfigError, DataError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return Study(
        name=config["study"],
        title=config.get("title", config["study"]),
        config=config,
        device=device,
        experiments=tuple(experiments),
        stacks=dict(_stacks(experiments, config["stack_size"], device)),
        evaluation=content_hash([config["evaluate"], protocols_fingerprint()]),
        warnings=tuple(_warnings(config, description)),
        tuning=tuning,
    )


def _dataset(config: Mapping[str, Any]) -> tuple[dict[str, Any], Description]:
    """The options of the study's data set, and what is known of it without decoding it."""
    name = config["dataset"]["name"]
    options = registry.resolve_options(name, config["dataset"]["options"])
    cache = Path(config["results"]) / "cache"
    return options, registry.describe(name, options, registry.data_root(), cache)


def _counts(config: Mapping[str, Any], description: Description) -> tuple[int, int, int]:
    """Numbers of known, validation and test classes."""
    split = {key: value for key, value in config["split"].items() if key != "seed"}
    return class_counts(SplitSpec(**split), description)


def _check(config: Mapping[str, Any], description: Description) -> int:
    """Whether every combination of what varies fits the data; the fewest classes unknown to validation."""
    fewest = []
    for each in vary.combinations(config):
        backbone = each["backbone"]["name"]
        smallest = SMALLEST_IMAGE.get(backbone, 1)
        if description.image_size < smallest:
            raise ConfigError(
                f"backbone.name: {backbone!r} needs images of at least {smallest} pixels, "
                f"those of {each['dataset']['name']!r} have {description.image_size}"
            )
        known, unknown, _ = _counts(each, description)
        fewest.append(unknown)
        if each["recipe"]["sampler"] != "shuffled":
            _check_balanced(each, known)
    for _, loss, hyper, recipe in (*study_config.points(config), *_tuned_defaults(config)):
        if recipe["class_sampling"] < 1 and not catalog.can_sample(loss, hyper):
            setting = ", ".join(f"{key}: {value}" for key, value in hyper.items())
            raise ConfigError(
                f"recipe.class_sampling: {recipe['class_sampling']:g}, but {loss} {{{setting}}} cannot train a step on some of "
                "its classes alone; allowed for it: 1"
            )
    return min(fewest)


def _tuned_defaults(config: Mapping[str, Any]) -> Iterator[study_config.Point]:
    """The point from which the searches of each loss start; none where nothing is tuned."""
    for loss in config["losses"] if "tune" in config else ():
        hyper = catalog.resolve(loss, tune_settings.fixed(config["tune"], loss))
        yield {**config}, loss, hyper, study_config.recipe_of(config, loss)


def _warnings(config: Mapping[str, Any], description: Description) -> Iterator[dict[str, Any]]:
    """For each setting of a loss what it cannot reach with the known classes and dimensions."""
    seen = set()
    for each, loss, hyper, _ in study_config.points(config):
        backbone = each["backbone"]
        found = feasibility.warnings(
            loss,
            hyper,
            _counts(each, description)[0],
            backbone["embedding_dim"],
            embedding_norm=backbone["embedding_norm"],
        )
        for text in found:
            warning = canonical([loss, hyper, text])
            if warning not in seen:
                seen.add(warning)
                yield {"loss": loss, "hyperparameters": hyper, "warning": text}


def _experiments(
    config: Mapping[str, Any], options: dict[str, Any], checksum: str
) -> tuple[list[Experiment], dict[str, Experiment]]:
    """The experiments, each once, and the default of each loss that is tuned."""
    seeds = config["seeds"]
    seeds = range(seeds) if isinstance(seeds, int) else seeds

    def repetitions(
        each: Mapping[str, Any], loss: str, hyper: dict[str, Any], recipe: dict[str, Any]
    ) -> list[Experiment]:
        return [
            Experiment.create(
                dataset={"name": each["dataset"]["name"], "options": options},
                data_checksum=checksum,
                split=each["split"],
                backbone=each["backbone"],
                recipe=recipe,
                augment=each["augment"],
                loss={"name": loss, "hyperparameters": hyper},
                seed=seed,
                fingerprint=content_hash([engine_fingerprint(), loss_fingerprint(loss)]),
            )
            for seed in seeds
        ]

    points = list(study_config.points(config))
    defaults = {}
    # What tuning starts from is trained like its winners: there is always a default to compare them with.
    for point in _tuned_defaults(config):
        defaults[point[1]] = repetitions(*point)[0]
        points.append(point)
    experiments = [item for point in points for item in repetitions(*point)]
    return list({item.id: item for item in experiments}.values()), defaults


def _tuning(
    config: dict[str, Any], defaults: dict[str, Experiment], unknown_classes: int, device: str
) -> Tuning | None:
    if not defaults:
        return None
    seeds = config["seeds"]
    return plan_tuning(
        config,
        defaults,
        final_seeds=list(range(seeds)) if isinstance(seeds, int) else seeds,
        unknown_classes=unknown_classes,
        stack_size=lambda count: _stack_size(count, config["stack_size"], device),
    )


def _check_balanced(config: Mapping[str, Any], known: int) -> None:
    recipe = config["recipe"]
    needed = recipe["batch_size"] // recipe["images_per_class"]
    uses_balanced = any(
        study_config.recipe_of(config, loss)["sampler"] == "balanced" for loss in config["losses"]
    )
    if uses_balanced and needed > known:
        raise ConfigError(
            f"recipe.images_per_class: a balanced batch of {recipe['batch_size']} holds {needed} classes x {recipe['images_per_class']} "
            f"images, but only {known} classes are known; allowed: images_per_class >= {-(-recipe['batch_size'] // known)}"
        )


def _stacks(
    experiments: list[Experiment], size: int | str, device: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Experiments of one layout, one seed together (they share batches), cut into stacks of nearly equal size."""
    layouts: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        layouts.setdefault(experiment.layout, []).append(experiment)
    for members in layouts.values():
        members.sort(key=lambda item: (item.stream, item.loss_group, item.id))
        count = -(-len(members) // _stack_size(len(members), size, device))
        for number in range(count):
            chunk = members[number * len(members) // count : (number + 1) * len(members) // count]
            ids = tuple(item.id for item in chunk)
            yield content_hash(sorted(ids), 12), ids


def _stack_size(experiments: int, size: int | str, device: str) -> int:
    if size != "auto":
        return int(size)
    if device == "cuda":
        # The trainer measures what a model takes and cuts a stack that does not fit; several GPUs share the work.
        return max(1, min(4 * gpu_memory_gib(), -(-experiments // max(1, visible_gpus()))))
    # As many stacks as cores, or a multiple, so that no core waits for the last.
    cores = os.cpu_count() or 1
    rounds = -(-experiments // (cores * CPU_STACK))
    return max(1, -(-experiments // (cores * max(1, rounds))))
