"""Tuning as planned from a study's config alone: which searches, in which rounds, lanes and final stacks. No torch.

A search is one independent tuning of one loss. Its rounds are a chain of jobs; searches whose rounds are trained
together share a lane.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from benchmarks.errors import ConfigError
from benchmarks.experiment import Experiment, canonical, content_hash
from benchmarks.fingerprint import protocols_fingerprint, tuning_fingerprint
from benchmarks.tuning import objectives, space
from benchmarks.tuning.objectives import Direction
from benchmarks.tuning.settings import around_blocks, rungs
from benchmarks.tuning.space import Axis, Point
from losses import catalog

# Trials are trained with seeds from here on, so that the winners' seeds are fresh.
FIRST_SEED = 1000


@dataclass(frozen=True)
class Search:
    """One independent tuning of one loss.

    Attributes
    ----------
    id : readable, ends in a hash of everything that decides its trials.
    loss : name in the catalog.
    study : its number among the searches of the loss, from 1.
    fixed : hyper-parameters that are not searched.
    seeds : every trial is trained with each of these.
    axes : what is searched.
    start : (origin, point) of the first trials.
    template : the experiment of the first trial with the first seed; the others differ from it in their point.
    """

    id: str
    loss: str
    study: int
    fixed: dict[str, Any]
    seeds: tuple[int, ...]
    axes: tuple[Axis, ...]
    start: tuple[tuple[str, Point], ...]
    template: Experiment

    def experiment(self, point: Point, seed: int) -> Experiment:
        """The experiment of a point.

        Raises
        ------
        losses.catalog.CatalogError : the loss does not allow these values together.
        """
        own = {axis.name: point[axis.name] for axis in self.axes if axis.of == "loss"}
        recipe = {axis.name: point[axis.name] for axis in self.axes if axis.of == "recipe"}
        content = {**self.template.to_json(), "seed": seed}
        del content["id"]
        content["recipe"] = {**content["recipe"], **recipe}
        hyper = {**content["loss"]["hyperparameters"], **own}
        content["loss"] = {"name": self.loss, "hyperparameters": catalog.resolve(self.loss, hyper)}
        return Experiment.create(**content)

    def to_json(self) -> dict[str, Any]:
        """The plain content, as in ``plan.json``."""
        return {
            "id": self.id,
            "loss": self.loss,
            "study": self.study,
            "fixed": self.fixed,
            "seeds": list(self.seeds),
            "axes": [axis.to_json() for axis in self.axes],
            "start": [list(item) for item in self.start],
            "template": self.template.to_json(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Search:
        """Inverse of `to_json`."""
        return cls(
            **{name: content[name] for name in ("id", "loss", "study", "fixed")},
            seeds=tuple(content["seeds"]),
            axes=tuple(map(Axis.of_json, content["axes"])),
            start=tuple((origin, point) for origin, point in content["start"]),
            template=Experiment.from_json(content["template"]),
        )


@dataclass(frozen=True)
class Tuning:
    """The searches of a study and how they run.

    Attributes
    ----------
    settings : the study's ``tune``, its objective resolved to a list of metrics.
    epochs : of a trial.
    searches : in the order of the study's losses.
    lanes : lane to the ids of the searches whose rounds are trained together.
    slots : the stacks of the winners' final training, whose members are known when all searches have ended.
    around : grids around a loss's best point: loss to lists of factors by hyper-parameter.
    """

    settings: dict[str, Any]
    epochs: int
    searches: tuple[Search, ...]
    lanes: dict[str, tuple[str, ...]]
    slots: tuple[str, ...]
    around: dict[str, list[dict[str, list[float]]]]

    @property
    def objectives(self) -> list[str]:
        """The metrics aimed at."""
        return list(self.settings["objective"])

    @property
    def directions(self) -> list[Direction]:
        """For each of them ``minimize`` or ``maximize``."""
        return [objectives.direction(name) for name in self.objectives]

    @property
    def rounds(self) -> int:
        """The length of a chain."""
        return int(self.settings["rounds"])

    def members(self, lane: str) -> list[Search]:
        """The searches of a lane.

        Raises
        ------
        ConfigError : there is no such lane.
        """
        if lane not in self.lanes:
            raise ConfigError(f"lane {lane!r} is not in the plan; it has {', '.join(self.lanes)}")
        wanted = set(self.lanes[lane])
        return [search for search in self.searches if search.id in wanted]

    def numbers(self, number: int) -> range:
        """The trials of a round; the rounds are as equal as can be."""
        trials = self.settings["trials"]
        return range(trials * number // self.rounds, trials * (number + 1) // self.rounds)

    def rungs(self) -> list[int]:
        """The epochs at which trials are compared; the last is a trial's whole training."""
        return rungs(self.epochs, self.settings["halving"])

    def survivors(self, started: int, rung: int) -> int:
        """Slots after a rung (counted from 0) of a round that started so many trials."""
        return max(1, started // self.settings["halving"]["factor"] ** (rung + 1))

    def to_json(self) -> dict[str, Any]:
        """The plain content, as in ``plan.json``."""
        content = asdict(self)
        content["searches"] = [search.to_json() for search in self.searches]
        content["lanes"] = {lane: list(ids) for lane, ids in self.lanes.items()}
        content["slots"] = list(self.slots)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Tuning:
        """Inverse of `to_json`."""
        return cls(
            settings=content["settings"],
            epochs=content["epochs"],
            searches=tuple(Search.from_json(item) for item in content["searches"]),
            lanes={lane: tuple(ids) for lane, ids in content["lanes"].items()},
            slots=tuple(content["slots"]),
            around=content["around"],
        )


def plan_tuning(
    config: Mapping[str, Any],
    defaults: Mapping[str, Experiment],
    *,
    final_seeds: Sequence[int],
    unknown_classes: int,
    stack_size: Any,
) -> Tuning:
    """The tuning of a study.

    Parameters
    ----------
    config : the study's, complete, with ``tune``.
    defaults : for each tuned loss the experiment of its default point with the first of `final_seeds`.
    final_seeds : of the winners' training.
    unknown_classes : unseen validation classes.
    stack_size : from a number of models to the size of a stack.

    Raises
    ------
    ConfigError : ranges that are not legal, an objective that the study does not have.
    """
    tune = config["tune"]
    settings = {
        **tune,
        "objective": objectives.resolve(
            tune["objective"],
            config["evaluate"],
            list(defaults),
            unknown_classes=unknown_classes,
            known_images=config["split"]["known_validation"] > 0
            or config["split"]["images"] == "given",
        ),
    }
    epochs = config["recipe"]["epochs"]
    first_seed = max([FIRST_SEED, *(seed + 1 for seed in final_seeds)])
    searches = [
        search
        for loss, default in defaults.items()
        for search in _searches(loss, default, settings, config["evaluate"], first_seed)
    ]
    around = {
        name: [block for block in blocks if block] for name, blocks in around_blocks(config).items()
    }
    per_round = math.ceil(settings["trials"] / settings["rounds"]) * settings["seeds_per_trial"]
    width = max(1, stack_size(per_round * len(searches)) // per_round)
    count = -(-len(searches) // width)
    chunks = [
        searches[n * len(searches) // count : (n + 1) * len(searches) // count]
        for n in range(count)
    ]
    ids = [tuple(search.id for search in chunk) for chunk in chunks]
    models = len(final_seeds) * (
        len(searches)
        + sum(math.prod(map(len, block.values())) for blocks in around.values() for block in blocks)
    )
    stacks = -(-models // stack_size(models))
    name = content_hash(
        [sorted(search.id for search in searches), list(final_seeds), around, stacks], 8
    )
    return Tuning(
        settings=settings,
        epochs=epochs,
        searches=tuple(searches),
        lanes={content_hash(list(own), 12): own for own in ids},
        slots=tuple(f"tuned-{name}-{number}" for number in range(stacks)),
        around=around,
    )


def _searches(
    loss: str,
    default: Experiment,
    settings: Mapping[str, Any],
    evaluate: Mapping[str, Any],
    first_seed: int,
) -> Iterator[Search]:
    own = dict(settings["losses"].get(loss) or {})
    ranges = own.pop("search", {})
    axes = space.axes_of(loss, own, ranges, default.recipe, settings["recipe"])
    start = space.start_points(loss, own, axes, default.recipe, settings["trials"] // 2)
    decisive = {
        key: value for key, value in settings.items() if key not in ("studies", "losses", "recipe")
    }
    judged = {key: value for key, value in evaluate.items() if key != "resamples"}
    judged["protocols"] = sorted(judged["protocols"])
    judging = [judged, protocols_fingerprint(), tuning_fingerprint(), _sampler_version()]
    for number in range(1, settings["studies"] + 1):
        count = settings["seeds_per_trial"]
        seeds = tuple(range(first_seed + (number - 1) * count, first_seed + number * count))
        content = {**default.to_json(), "seed": seeds[0]}
        del content["id"]
        template = Experiment.create(**content)
        what = [
            template.id,
            canonical(own),
            seeds,
            [axis.to_json() for axis in axes],
            start,
            decisive,
            judging,
        ]
        words = re.sub(r"[^\w.]+", "_", loss)  # a name of folders, as in an experiment's id
        yield Search(
            id=f"{words}-{number}-{content_hash(what)}",
            loss=loss,
            study=number,
            fixed=own,
            seeds=seeds,
            axes=axes,
            start=tuple(start),
            template=template,
        )


def _sampler_version() -> str:
    """The version of what proposes points: another one may propose others.

    Raises
    ------
    ConfigError : it is not installed.
    """
    try:
        return metadata.version("optuna")
    except metadata.PackageNotFoundError:
        raise ConfigError(
            "tune: needs optuna, which is not installed; python -m pip install -r requirements.txt"
        ) from None
