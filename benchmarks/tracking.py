"""MLflow as a mirror of the run store: the only module that imports mlflow.

Runs are copied after the fact, by one process at a time, keyed by experiment id: a fresh SQLite
store does not survive several first users at once, and a killed writer leaves runs that look alive
for ever. The mirror holds nothing that is not on disk; it can be deleted and made again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from benchmarks.tracked import TrackedRun
from benchmarks.tracked_contents import Contents, TrackingError, read_plan

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["MirrorSummary", "TrackingError", "mirror"]

log = logging.getLogger("marginbench")

SERVERS = ("http", "https", "postgresql")


@dataclass(frozen=True)
class MirrorSummary:
    """What one call of `mirror` did, in experiments of the study.

    Attributes
    ----------
    created, replaced, unchanged : with a result.
    removed : left the plan, or lost their result.
    waiting : in the plan, without a result yet.
    trials : the same of the trials of the study's tuning, by name; without those that are 0.
    experiment : MLflow's id of the study's experiment.
    runs : MLflow's run ids by experiment id, of those with a result.
    """

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0
    waiting: int = 0
    trials: Mapping[str, int] = field(default_factory=dict)
    experiment: str = field(default="", compare=False)
    runs: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        names = ("created", "replaced", "unchanged", "removed", "waiting")
        counts = [f"{count} runs {name}" for name in names if (count := getattr(self, name))]
        counts += [f"{count} trials {name}" for name, count in self.trials.items()]
        return ", ".join(counts) or "no runs"


def mirror(
    plan_path: Path,
    runs_root: Path,
    uri: str,
    *,
    artifact_root: Path,
    report_dir: Path | None = None,
) -> MirrorSummary:
    """Make MLflow show a study as it is on disk now.

    The MLflow experiment is named after the study. It holds a parent run with the study's
    configuration and report, a child run for every experiment that has a result and, if the study
    was tuned, one for every search, with its trials below. A run whose content has not changed is
    left alone, a changed one is replaced, one that left the plan is deleted; runs of other origin
    in the same MLflow experiment are not touched.

    Parameters
    ----------
    plan_path : ``results/<study>/plan.json``; ``tuned.json`` of a tuned study.
    runs_root : ``results/runs``; the trials are beside it.
    uri : ``sqlite:///<file>``, ``http(s)://`` (an MLflow server) or ``postgresql://``.
    artifact_root : folder of the artifacts, unless an MLflow server decides.
    report_dir : folder whose files become artifacts of the parent run.

    Raises
    ------
    TrackingError : mlflow is missing, the plan or report cannot be read, or the store not be used.
    """
    plan = read_plan(plan_path)
    if report_dir is not None and not report_dir.is_dir():
        raise TrackingError(f"{report_dir}: there is no report; write it first")
    uri, lock = _store_place(uri, runs_root)
    location = None if uri.startswith("http") else artifact_root.absolute()
    with _one_at_a_time(lock):
        client, errors = _connect(uri)
        try:
            mirrored = _Mirror(client(), plan["study"], location)
            return mirrored.update(Contents(plan, runs_root, report_dir))
        except errors as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            if uri.startswith("sqlite"):
                reason += "; if the file is damaged, delete it and make the mirror again"
            raise TrackingError(f"{_without_password(uri)}: {reason}") from error


class _Mirror:
    """One MLflow experiment, brought to the state of the run store."""

    def __init__(self, client: MlflowClient, name: str, location: Path | None) -> None:
        self.client = client
        self.location = location
        self.experiment_id = self._experiment(name)

    def update(self, contents: Contents) -> MirrorSummary:
        from tqdm import tqdm

        present = self._present()
        changes: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by the role of a run
        ids: dict[str, str] = {}
        runs: dict[str, str] = {}
        for content in tqdm(contents, desc="mirroring", unit="run", mininterval=5):
            links = {} if content.parent is None else {"mlflow.parentRunId": ids[content.parent]}
            old = present.pop(content.key, [])
            ids[content.key], change = self._put(content, old, links)
            role = content.tags["marginbench.role"]
            changes[role][change] += 1
            if role == "experiment":
                runs[content.key] = ids[content.key]
        for old in present.values():
            self._delete(old)
            changes[old[0].data.tags.get("marginbench.role", "")]["removed"] += 1
        return MirrorSummary(
            **changes["experiment"],
            waiting=contents.waiting,
            trials=dict(changes["trial"]),
            experiment=self.experiment_id,
            runs=runs,
        )

    def _experiment(self, name: str) -> str:
        location = None if self.location is None else (self.location / name).as_uri()
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return str(self.client.create_experiment(name, artifact_location=location))
        if location is not None and found.artifact_location != location:
            raise TrackingError(
                f"MLflow experiment {name!r} keeps its artifacts in {found.artifact_location}, "
                f"not in {location}: the results were moved, or the name is taken; "
                "delete the mirror and make it again, or rename the study"
            )
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _present(self) -> dict[str, list[Run]]:
        """The mirrored runs by key."""
        runs: dict[str, list[Run]] = {}
        token: str | None = ""
        while token is not None:
            page = self.client.search_runs(
                [self.experiment_id], max_results=1000, page_token=token or None
            )
            for run in page:
                if "marginbench.id" in run.data.tags:
                    runs.setdefault(run.data.tags["marginbench.id"], []).append(run)
            token = page.token or None
        return runs

    def _put(
        self, content: TrackedRun, old: Sequence[Run], links: Mapping[str, str]
    ) -> tuple[str, str]:
        """Make `content` the one run of its key; its MLflow id and what was done."""
        digest = content.content_hash
        for run in old:
            written = run.data.tags.get("marginbench.content") == digest
            if written and run.info.status == content.status:
                self._delete([other for other in old if other is not run])
                for tag, value in links.items():
                    if run.data.tags.get(tag) != value:
                        self.client.set_tag(run.info.run_id, tag, value)
                return str(run.info.run_id), "unchanged"
        self._delete(old)
        return self._create(content, digest, links), "replaced" if old else "created"

    def _create(self, content: TrackedRun, digest: str, links: Mapping[str, str]) -> str:
        from mlflow.entities import Metric, Param

        start, end = (max(time, 1) for time in content.times)  # 0 would be now for MLflow
        tags = {**content.tags, **links, "marginbench.id": content.key}
        ends = content.status != "RUNNING"
        if ends:
            tags["marginbench.content"] = digest
        run = self.client.create_run(
            self.experiment_id, start_time=start, tags=tags, run_name=content.name
        )
        run_id = str(run.info.run_id)
        self.client.log_batch(
            run_id,
            params=[Param(name, value) for name, value in content.params.items()],
            metrics=[Metric(*row) for row in content.metrics],
        )
        for name, settings in content.settings.items():
            self.client.log_dict(run_id, settings, name)
        if content.report is not None:
            self.client.log_artifacts(run_id, str(content.report), "report")
        # What is written last tells a whole run from one whose writer was killed: the final
        # status, or the hash of a run that has none yet.
        if ends:
            self.client.set_terminated(run_id, content.status, end)
        else:
            self.client.set_tag(run_id, "marginbench.content", digest)
        return run_id

    def _delete(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self.client.delete_run(run.info.run_id)
            files = urlparse(run.info.artifact_uri).path
            if self.location is not None and Path(files).is_relative_to(self.location):
                # MLflow would keep the files of a deleted run: each new report adds one copy.
                shutil.rmtree(Path(files).parent, ignore_errors=True)


def _connect(uri: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """What makes a client of the store (and a new store ready), and the errors it may raise."""
    # Before the import: no usage reports, no link printed for every run, and a server that is down
    # is an error soon, not in minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise TrackingError(f"mlflow cannot be imported ({error}); install it first") from error
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return lambda: MlflowClient(tracking_uri=uri), (MlflowException, SQLAlchemyError, OSError)


def _store_place(uri: str, runs_root: Path) -> tuple[str, Path]:
    """The URI with an absolute path, and the file to lock."""
    scheme = urlparse(uri).scheme
    if scheme == "sqlite" and uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///")).absolute()
        return f"sqlite:///{database}", database.with_name(database.name + ".lock")
    if scheme.partition("+")[0] in SERVERS:
        return uri, runs_root.absolute().parent / "mlflow.lock"
    if scheme in ("", "file"):
        raise TrackingError(
            f"tracking URI {uri!r}: MLflow has given up stores made of plain files; "
            "use sqlite:///<folder>/mlflow.db"
        )
    raise TrackingError(
        f"tracking URI {_without_password(uri)!r}: allowed are sqlite:///<file>, "
        + ", ".join(f"{name}://" for name in SERVERS)
    )


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise TrackingError(
            f"{lock.parent}: cannot be written ({error.strerror}); "
            "choose a place for the MLflow store with tracking.uri"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that writes the MLflow mirror")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _without_password(uri: str) -> str:
    parts = urlparse(uri)
    hidden = parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()
    return hidden if parts.password else uri
