"""Command line of the benchmark: the steps of the pipeline, each of which a person can also type.

python -m benchmarks plan --config config/smoke.yaml     # validates the study, writes results/smoke/plan.json
python -m benchmarks data --plan results/smoke/plan.json
python -m benchmarks train --plan results/smoke/plan.json
python -m benchmarks evaluate --plan results/smoke/plan.json
python -m benchmarks track --plan results/smoke/plan.json

A study that is tuned has two more steps, and a second plan with what they found:

python -m benchmarks tune --plan results/omniglot_cpu/plan.json       # all rounds of all searches
python -m benchmarks winners --plan results/omniglot_cpu/plan.json    # writes results/omniglot_cpu/tuned.json
python -m benchmarks train --plan results/omniglot_cpu/tuned.json     # and evaluate, track likewise

python -m benchmarks judge embeddings.npz                # the verdict on embeddings made anywhere
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import judge_command
from benchmarks.errors import ConfigError, TrainingError
from benchmarks.experiment import canonical
from benchmarks.files import file_hash, write_json, write_text
from benchmarks.store import RunStore
from benchmarks.study import Study, load
from benchmarks.tuning.searches import Tuning
from datasets.errors import DataError
from datasets.image_set import ImageSet

log = logging.getLogger("marginbench")

SHOWN_WARNINGS = 10  # of a plan; all of them stand in plan.json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error that is explained, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # A scheduler's SIGTERM ends a command as Ctrl-C does: finished runs stay, the next call goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        log.error(
            "interrupted; finished runs are kept, the same command goes on from the last epoch"
        )
        return 130
    except (ConfigError, DataError, TrainingError) as error:
        log.error("error: %s", error)
        return 1
    except OSError as error:
        log.error("error: %s: %s", error.filename or "file system", error.strerror or error)
        return 1


def plan(options: argparse.Namespace) -> None:
    """Validate a study file and write its plan."""
    study = load(options.config, _overrides(options.overrides))
    out = options.out or study.folder / "plan.json"
    content = study.to_json()
    if not _holds(out, content):  # an equal plan keeps its date, by which Snakemake goes
        write_json(out, content)
    lines = list(dict.fromkeys(item["warning"] for item in study.warnings))
    for line in lines[:SHOWN_WARNINGS]:
        log.warning("warning: %s", line)
    if len(lines) > SHOWN_WARNINGS:
        log.warning("and %d more warnings, see %s", len(lines) - SHOWN_WARNINGS, out)
    log.info(
        "%s: %d experiments in %d stacks on %s",
        out,
        len(study.experiments),
        len(study.stacks),
        study.device,
    )


def _overrides(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--overrides: not JSON ({error}): {text}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"--overrides: must be an object of keys and values, not {text}")
    return found


def _holds(path: Path, content: Any) -> bool:
    """Whether this is what a JSON file holds; one that is missing or damaged does not."""
    try:
        return bool(json.loads(path.read_text()) == content)
    except (FileNotFoundError, ValueError):
        return False


def data(options: argparse.Namespace) -> None:
    """Decode the study's data set into the cache."""
    from benchmarks.splitting import load_images, split_of

    study = _study(options)
    image_set = load_images(study.experiments[0], study.results)
    drawn = {(item.seed, canonical(item.split)): item for item in study.experiments}
    # Fails now, not in the middle of a study.
    splits = [split_of(experiment, image_set) for experiment in drawn.values()]
    if study.tuning is not None:
        _check_objectives(study, study.tuning, image_set)
    log.info(
        "%s: %d images of %d classes",
        image_set.name,
        len(image_set.labels),
        len(image_set.class_names),
    )
    if options.done:
        write_json(options.done, {"name": image_set.name, "checksum": image_set.checksum})
    sizes = {len(split.known_classes): len(split.train) for split in splits}
    for classes, images in sorted(sizes.items()):
        log.info("a seed trains on about %d images of %d known classes", images, classes)


def _check_objectives(study: Study, tuning: Tuning, image_set: ImageSet) -> None:
    from benchmarks.evaluate import unsupported
    from benchmarks.splitting import split_of

    split = split_of(tuning.searches[0].template, image_set)
    refused = unsupported(tuning.objectives, split, image_set.labels, study.config["evaluate"])
    if refused:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ConfigError(f"tune.objective: the validation images cannot carry it: {reasons}")


def train(options: argparse.Namespace) -> int:
    """Train one stack, or all of them one after the other."""
    study = _study(options)
    store = RunStore(study.results / "runs")
    statuses: dict[str, str] = {}
    for stack in [options.stack] if options.stack else study.stacks:
        members = study.members(stack)
        missing = [item for item in members if not store.is_final(item.id)]
        if missing:
            import torch  # not for a stack that is done: it costs seconds

            from benchmarks.train import train_stack

            statuses.update(
                train_stack(members, results=study.results, device=torch.device(study.device))
            )
        results = {item.id: store.result(item.id) for item in members}
        if options.done:
            summary = {
                name: {"status": result["status"], "files": result["files"]}
                for name, result in results.items()
                if result
            }
            write_json(options.done, summary)
        counts = [result["status"] for result in results.values() if result]
        log.info(
            "stack %s: %s",
            stack,
            ", ".join(f"{counts.count(status)} {status}" for status in sorted(set(counts))),
        )
    return 0


def tune(options: argparse.Namespace) -> None:
    """Carry out one round of a lane of searches, or all rounds of all lanes."""
    from benchmarks.splitting import load_images
    from benchmarks.tuning.rounds import Rounds

    study = _study(options)
    tuning = _tuning(study, options.plan)
    if (options.round is None) != (options.lane is None):
        raise ConfigError("--lane and --round are given together, or neither")
    if options.done is not None and options.lane is None:
        raise ConfigError("--done is of one round: give --lane and --round, too")
    if options.round is not None and not 0 <= options.round < tuning.rounds:
        raise ConfigError(
            f"--round {options.round}: this study has rounds 0 to {tuning.rounds - 1}"
        )
    models = tuning.settings["trials"] * len(tuning.searches) * tuning.settings["seeds_per_trial"]
    rounds = Rounds(
        tuning,
        folder=study.folder,
        results=study.results,
        evaluate=study.config["evaluate"],
        device=study.device,
        stack_size=study.stack_size(models),
    )
    numbers = range(tuning.rounds) if options.round is None else [options.round]
    if 0 in numbers:  # again, not in `data` alone: that is not repeated for another objective
        _check_objectives(study, tuning, load_images(tuning.searches[0].template, study.results))
    for lane in tuning.lanes if options.lane is None else [options.lane]:
        searches = tuning.members(lane)
        for number in numbers:
            paths = rounds.run(searches, number)
            log.info(
                "round %d of %d: %s",
                number + 1,
                tuning.rounds,
                ", ".join(search.id for search in searches),
            )
            if options.done:
                write_json(options.done, {path.parent.name: file_hash(path) for path in paths})


def winners(options: argparse.Namespace) -> None:
    """Write the final plan of a tuned study: the winners of its searches, to be trained with fresh seeds."""
    from benchmarks.tuning.optuna_studies import export
    from benchmarks.tuning.winners import final_plan, trials_table

    study = _study(options)
    plan = final_plan(study, _tuning(study, options.plan))
    found = plan["tuning"]
    write_text(study.folder / "tuning" / "trials.csv", trials_table(found["searches"]))
    export(study.folder / "tuning" / "optuna.journal", found)
    out = options.out or study.folder / "tuned.json"
    write_json(out, plan)
    for search in found["searches"]:
        if search["winner"] is None:
            log.warning("%s: %s", search["id"], search["reason"])
    log.info("%s: %d experiments", out, len(plan["experiments"]))


def _tuning(study: Study, path: Path) -> Tuning:
    if study.tuning is None:
        raise ConfigError(f"{path}: this study is not tuned; its config has no `tune` block")
    if json.loads(path.read_text())["tuning"] is not None:
        raise ConfigError(f"{path}: is the plan after tuning; give {path.with_name('plan.json')}")
    return study.tuning


def evaluate(options: argparse.Namespace) -> None:
    """Judge the finished runs of one stack, or of all."""
    from tqdm import tqdm

    from benchmarks.evaluate import evaluate_run
    from benchmarks.protocols import ProtocolError

    study = _study(options)
    store = RunStore(study.results / "runs")
    stacks = [options.stack] if options.stack else list(study.stacks)
    members = [item for stack in stacks for item in study.members(stack)]
    judged = {}
    for experiment in tqdm(members, desc="judging", unit="run", mininterval=5):
        try:
            folder = evaluate_run(
                store, experiment.id, study.evaluation, study.config["evaluate"], study.device
            )
        except ProtocolError as error:
            raise TrainingError(
                f"{error}; delete {store.folder(experiment.id)} to train it again"
            ) from error
        judged[experiment.id] = folder is not None
    if options.done:
        write_json(options.done, judged)


def track(options: argparse.Namespace) -> None:
    """Mirror the study's runs into MLflow."""
    from benchmarks.tracking import TrackingError, mirror

    study = _study(options)
    uri = (
        options.uri
        or study.config["tracking"]["uri"]
        or f"sqlite:///{(study.results / 'mlflow.db').resolve()}"
    )
    try:
        summary = mirror(
            options.plan,
            study.results / "runs",
            uri,
            artifact_root=study.results / "mlartifacts",
            report_dir=options.report,
        )
    except TrackingError as error:
        raise TrainingError(str(error)) from error
    log.info("%s", summary)
    if options.done:
        found = {"uri": uri, "experiment": summary.experiment, "runs": dict(summary.runs)}
        write_json(options.done, found)


def where(options: argparse.Namespace) -> int:
    """Print the path of a study's report."""
    page = load(options.config).folder / "report" / "index.html"
    print(f"Report: {page.resolve()}" if page.exists() else f"No report yet: {page} is missing")
    return 0 if page.exists() else 1


def _study(options: argparse.Namespace) -> Study:
    remedy = "python -m benchmarks plan --config config/<study>.yaml"
    try:
        return Study.from_json(json.loads(options.plan.read_text()))
    except FileNotFoundError as error:
        raise ConfigError(f"{options.plan}: not found; write it with: {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{options.plan}: damaged, or of another version ({error}); write it anew with: {remedy}"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, command: Any, **extra: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command)
        if name not in ("plan", "where", "judge"):
            sub.add_argument("--plan", type=Path, required=True, help="results/<study>/plan.json")
        return sub

    sub = add("plan", plan)
    sub.add_argument("--config", type=Path, required=True, help="study file, config/<study>.yaml")
    sub.add_argument(
        "--overrides",
        default="{}",
        metavar="JSON",
        help='keys to replace, as in \'{"recipe": {"epochs": 2}}\'',
    )
    sub.add_argument("--out", type=Path, help="where to write (default: results/<study>/plan.json)")
    sub = add("where", where)
    sub.add_argument("--config", type=Path, required=True, help="study file, config/<study>.yaml")
    sub = add("data", data)
    sub.add_argument("--done", type=Path, help="file to write when done")
    sub = add("tune", tune)
    sub.add_argument("--lane", help="one lane of the plan (default: all)")
    sub.add_argument("--round", type=int, help="its round, from 0; the ones before must be done")
    sub.add_argument("--done", type=Path, help="file to write when done")
    sub = add("winners", winners)
    sub.add_argument(
        "--out", type=Path, help="where to write (default: results/<study>/tuned.json)"
    )
    for name, command in (("train", train), ("evaluate", evaluate)):
        sub = add(name, command)
        sub.add_argument("--stack", help="one stack of the plan (default: all)")
        sub.add_argument("--done", type=Path, help="file to write when done")
    sub = add("track", track)
    sub.add_argument(
        "--uri", help="MLflow tracking URI (default: the study's, or sqlite in the results folder)"
    )
    sub.add_argument(
        "--report",
        type=Path,
        help="report folder whose page, tables and figures go to the study's parent run",
    )
    sub.add_argument("--done", type=Path, help="file to write when done")
    judge_command.add_arguments(add("judge", judge_command.judge))
    return parser


if __name__ == "__main__":
    sys.exit(main())
