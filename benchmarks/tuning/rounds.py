"""One round of searches: ask for points, train them as stacks, judge them on validation images, write one file each.

The file of a search's round is a function of the study's config and of the search's earlier rounds. It is written
last and whole: a round that was killed is done again, and what it had trained is in the trial store.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.errors import ProtocolError, TrainingError
from benchmarks.evaluate import validation_metrics
from benchmarks.experiment import Experiment
from benchmarks.files import write_json
from benchmarks.store import FINAL, STATE, RunStore, trial_name
from benchmarks.trials import drop_states, train_trials
from benchmarks.tuning.objectives import PREFIX, best_first
from benchmarks.tuning.optuna_studies import propose
from benchmarks.tuning.searches import Search, Tuning
from benchmarks.tuning.space import Point

log = logging.getLogger("marginbench")


@dataclass
class _Trial:
    """A trial in the making."""

    number: int
    origin: str
    point: Point
    experiments: list[Experiment]  # one for each seed
    reason: str | None = None  # why it has failed
    rungs: list[dict[str, Any]] = field(
        default_factory=list
    )  # epoch and values at each rung reached
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: int = 0  # trained
    images: int = 0  # seen, over all seeds
    stopped: bool = False  # by successive halving

    def to_json(self, number: int, *, halving: bool) -> dict[str, Any]:
        """As in the file of round `number`."""
        status = "failed" if self.reason is not None else "stopped" if self.stopped else "complete"
        return {
            "number": self.number,
            "round": number,
            "origin": self.origin,
            "parameters": self.point,
            "status": status,
            "reason": self.reason,
            "values": self.rungs[-1]["values"] if status == "complete" else None,
            "rungs": self.rungs if halving else [],
            "epochs": self.epochs,
            "images": self.images,
            "runs": [item.id for item in self.experiments],
            "metrics": self.metrics,
        }


class Rounds:
    """The rounds of a study's searches.

    Parameters
    ----------
    folder : the study's; rounds are written to ``tuning/<search>/round-<number>.json`` below it.
    results : the results folder, with the trial store.
    evaluate : the study's ``evaluate``.
    stack_size : models that are trained together at most.
    """

    def __init__(
        self,
        tuning: Tuning,
        *,
        folder: Path,
        results: Path,
        evaluate: Mapping[str, Any],
        device: str,
        stack_size: int,
    ) -> None:
        self.tuning, self.folder, self.results = tuning, folder, results
        self.evaluate, self.device, self.stack_size = evaluate, device, stack_size
        self.store = RunStore(results / "trials")

    def run(self, searches: Sequence[Search], number: int) -> list[Path]:
        """Carry out one round of some searches, together; returns its files.

        Raises
        ------
        TrainingError : an earlier round is missing or not of this config; see also `train_trials`.
        """
        paths = [round_path(self.folder, search, number) for search in searches]
        missing = [
            search
            for search, path in zip(searches, paths, strict=True)
            if not path.exists() or not read_round(self.folder, search, number, self.tuning)
        ]
        asked = {search.id: self._ask(search, number) for search in missing}
        trials = [trial for own in asked.values() for trial in own]
        started = {name: len(own) for name, own in asked.items()}
        steps, before = self.tuning.rungs(), None
        for rung, epoch in enumerate(steps):
            alive = [trial for trial in trials if trial.reason is None and not trial.stopped]
            self._train(alive, before, epoch)
            for trial in alive:
                self._judge(trial, epoch)
            if epoch != steps[-1]:
                for name, own in asked.items():
                    self._halve(own, self.tuning.survivors(started[name], rung))
            before = epoch
        for search in missing:
            content = {
                "search": search.id,
                "round": number,
                "trials": [
                    trial.to_json(number, halving=len(steps) > 1) for trial in asked[search.id]
                ],
            }
            write_json(round_path(self.folder, search, number), content)
        done = [
            trial for own in searches for trial in read_round(self.folder, own, number, self.tuning)
        ]
        drop_states(self.results, [name for trial in done for name in trial["runs"]])
        return paths

    def _ask(self, search: Search, number: int) -> list[_Trial]:
        earlier = read_rounds(self.folder, search, number, self.tuning)
        points = propose(search, self.tuning, earlier, number)
        return [
            _Trial(place, origin, point, [search.experiment(point, seed) for seed in search.seeds])
            for place, (origin, point) in zip(self.tuning.numbers(number), points, strict=True)
        ]

    def _train(self, trials: Sequence[_Trial], since: int | None, until: int) -> None:
        models = list({item.id: item for trial in trials for item in trial.experiments}.values())
        anew = []
        if since is not None:
            # Nobody kept the states of trials that another search, or an earlier call, was done with.
            anew = [item for item in models if not self._state(item, since).exists()]
        self._train_stacks(anew, None, until)
        self._train_stacks([item for item in models if item not in anew], since, until)
        for item in models:
            result = self.store.result(self._name(item, until))
            if result is not None and result["status"] not in FINAL:
                # Once more and alone before it counts as failed: memory may have been short for a moment.
                self._train_stacks([item], None if item in anew else since, until)

    def _train_stacks(self, models: list[Experiment], since: int | None, until: int) -> None:
        # Neighbours in a stack change nothing, so that those of one loss may stand together: they compute as one.
        models.sort(key=lambda item: (str(item.loss_group), item.id))
        count = -(-len(models) // self.stack_size)
        for chunk in range(count):
            own = models[chunk * len(models) // count : (chunk + 1) * len(models) // count]
            train_trials(
                own,
                results=self.results,
                device=torch.device(self.device),
                until=until,
                since=since,
            )

    def _name(self, item: Experiment, epoch: int) -> str:
        return trial_name(item.id, None if epoch == self.tuning.epochs else epoch)

    def _state(self, item: Experiment, epoch: int) -> Path:
        return self.store.folder(self._name(item, epoch)) / STATE

    def _judge(self, trial: _Trial, epoch: int) -> None:
        """Note what a trial is worth at a rung: means over its seeds; or why it has failed."""
        tuning, images, found = self.tuning, 0, []
        last = epoch == tuning.epochs
        for item in trial.experiments:
            name = self._name(item, epoch)
            result = self.store.result(name)
            if result is None:
                raise TrainingError(
                    f"{self.store.folder(name)}: was not written; run again to go on"
                )
            trial.epochs = max(trial.epochs, result["epochs"])
            images += result["images"]
            if result["status"] != "finished":
                trial.reason = trial.reason or f"{result['status']}: {result['reason']}"
                continue
            found.append(self._metrics(name, last))
        trial.images = images
        if trial.reason is not None:
            return
        metrics = {
            key: fmean(own[key] for own in found)  # type: ignore[misc]
            for key in found[0]
            if all(own.get(key) is not None for own in found)
        }
        absent = [name for name in tuning.objectives if name not in metrics]
        if absent:
            trial.reason = f"{', '.join(absent)} has no value on its validation images"
            return
        trial.rungs.append(
            {"epoch": epoch, "values": [metrics[name] for name in tuning.objectives]}
        )
        if last:
            trial.metrics = metrics

    def _metrics(self, name: str, last: bool) -> dict[str, float | None]:
        """By the study's protocols; at a rung only by those that the objectives are of."""
        needed = {goal.removeprefix(PREFIX).partition("/")[0] for goal in self.tuning.objectives}
        protocols = self.evaluate["protocols"] if last else sorted(needed)
        settings = {**self.evaluate, "protocols": protocols}
        try:
            return validation_metrics(self.store, name, settings, self.device)
        except ProtocolError as error:
            where = self.store.folder(name)
            raise TrainingError(f"{error}; delete {where} to train it again") from error

    def _halve(self, trials: Sequence[_Trial], slots: int) -> None:
        """Stop all but the best `slots` of the trials that go on."""
        alive = [trial for trial in trials if trial.reason is None and not trial.stopped]
        order = best_first([trial.rungs[-1]["values"] for trial in alive], self.tuning.directions)
        for place in order[slots:]:
            alive[place].stopped = True


def round_path(folder: Path, search: Search, number: int) -> Path:
    """Where a round of a search is written, below the study's folder."""
    return folder / "tuning" / search.id / f"round-{number}.json"


def read_rounds(folder: Path, search: Search, number: int, tuning: Tuning) -> list[dict[str, Any]]:
    """The trials of a search's rounds before round `number`, in their order.

    Raises
    ------
    TrainingError : one is missing, damaged or of another config.
    """
    return [trial for each in range(number) for trial in read_round(folder, search, each, tuning)]


def read_round(folder: Path, search: Search, number: int, tuning: Tuning) -> list[dict[str, Any]]:
    """The trials of one round.

    Raises
    ------
    TrainingError : it is missing, damaged or of another config.
    """
    path = round_path(folder, search, number)
    try:
        content = json.loads(path.read_text())
        found = (
            content["search"],
            content["round"],
            [trial["number"] for trial in content["trials"]],
        )
    except FileNotFoundError:
        raise TrainingError(
            f"{path}: is missing; python -m benchmarks tune --plan {folder / 'plan.json'} makes what is missing"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path}: cannot be read ({error}); delete it to make it again"
        ) from error
    wanted = search.id, number, list(tuning.numbers(number))
    if found != wanted:
        raise TrainingError(
            f"{path}: is of another config: it says search {found[0]}, round {found[1]} with trials {found[2]}, and this study "
            f"asks for search {wanted[0]}, round {wanted[1]} with trials {wanted[2]}; delete {path.parent} to tune anew"
        )
    return list(content["trials"])
