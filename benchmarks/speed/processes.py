"""Workers: measured processes, some at a time or all at once, none of which outlives this one. Imports no torch."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Job = dict[str, Any]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
READY, GO = "ready", "go"


class WorkerError(RuntimeError):
    """A worker failed; the message ends in what it wrote to its standard error."""


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_mebibytes() -> float:
    """Largest resident size of this process so far, in MiB, with Python, libraries and data in it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class Worker:
    """A process of ``benchmarks.speed.worker`` that does one job: a mapping with ``do`` and what that needs.

    ``threads``: of its kernels on the CPU, also for libraries that read it from the environment; 0: their default.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        environment = {key: value for key, value in os.environ.items() if key not in THREADS}
        if job["threads"]:
            environment |= dict.fromkeys(THREADS, str(job["threads"]))
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `end`)
        text = json.dumps({**job, "launched": time.time()})
        # What it does is an argument only for those who list processes.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.worker", job["do"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, text=True, env=environment, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        self.say(text)  # a stack of hundreds is too long for an argument

    def line(self) -> str:
        """The next line of its standard output.

        Raises
        ------
        WorkerError : it ended without one.
        """
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            self.process.wait()
            self.errors.seek(0)
            raise WorkerError(
                f"{self.job['do']}: a worker ended with status {self.process.returncode}\n{self.errors.read()[-3000:]}"
            )
        return text.strip()

    def result(self) -> Job:
        """What it found; the process has ended then."""
        found: Job = json.loads(self.line())
        if self.process.wait() != 0:
            raise WorkerError(f"{self.job['do']}: status {self.process.returncode} after its end")
        return found

    def go(self) -> None:
        """Let a worker that is ready begin."""
        self.say(GO)

    def say(self, text: str) -> None:
        """A line for its standard input; one that has ended shows it when it is asked for a line."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{text}\n")
            self.process.stdin.flush()

    def end(self) -> None:
        """End it, and what it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                # What was not written to a dead process cannot be.
                with contextlib.suppress(OSError):
                    stream.close()
        self.errors.close()


def ready() -> None:
    """In a worker: say so, and wait until all others are ready as well."""
    print(READY, flush=True)
    if sys.stdin.readline().strip() != GO:
        sys.exit("the process that measures has ended")


def together(jobs: Sequence[Job]) -> list[Job]:
    """Workers that all begin their measured part at the same time (`ready`); their results, in order."""
    workers: list[Worker] = []
    try:
        for job in jobs:
            workers.append(Worker(job))
        first = [worker.line() for worker in workers]  # ready, or what it found without that
        for worker in (w for w, text in zip(workers, first, strict=True) if text == READY):
            worker.go()
        return [
            worker.result() if text == READY else json.loads(text)
            for worker, text in zip(workers, first, strict=True)
        ]
    finally:
        for worker in workers:
            worker.end()


def in_turn(chains: Sequence[Sequence[Job]], parallel: int) -> list[list[Job]]:
    """Carry out chains of jobs, `parallel` of them at a time; the results in their order."""
    running: set[Worker] = set()
    stopped, lock = threading.Event(), threading.Lock()

    def one(job: Job) -> Job:
        with lock:
            if stopped.is_set():
                raise WorkerError("stopped")
            worker = Worker(job)
            running.add(worker)
        try:
            return worker.result()
        finally:
            with lock:
                running.discard(worker)
            worker.end()

    def chain(jobs: Sequence[Job]) -> list[Job]:
        return [one(job) for job in jobs]

    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(chain, jobs) for jobs in chains]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            with lock:
                stopped.set()
                for worker in running:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(worker.process.pid, signal.SIGKILL)
            raise
    return [future.result() for future in futures]
