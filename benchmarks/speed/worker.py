"""One measured process: does the job that a line of its standard input describes, prints one line of JSON."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.speed.processes import Job, peak_mebibytes

JOBS = {
    "facts": "benchmarks.speed.machine:job",
    "usual window": "benchmarks.speed.windows:usual",
    "suite window": "benchmarks.speed.windows:suite",
    "usual job": "benchmarks.speed.usual_job:job",
    "suite command": "benchmarks.speed.suite_job:job",
    "rates": "benchmarks.speed.floor:job",
    "phases": "benchmarks.speed.phases:job",
    "variants": "benchmarks.speed.variants:job",
}


def main() -> None:
    """Do the job; its threads of torch are set by the one who measures."""
    job: Job = json.loads(sys.stdin.readline())
    module, _, function = JOBS[job["do"]].partition(":")
    found = getattr(importlib.import_module(module), function)(job)
    print(json.dumps({**found, "peak_mebibytes": peak_mebibytes()}), flush=True)


if __name__ == "__main__":
    main()
