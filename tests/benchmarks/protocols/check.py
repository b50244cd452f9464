"""Every protocol, checked: independent vectors, peers on the same data, time and memory beside a peer. One table.

    python -m tests.benchmarks.protocols.check                 # Markdown on stdout
    python -m tests.benchmarks.protocols.check --no-speed      # seconds: vectors and peers alone

Vectors are independent values (`tests/losses/data/README.md`); another folder of them is named by the environment
variable MARGINBENCH_VECTORS. Peers are scikit-learn and pytorch-metric-learning on random data with and without ties;
where no installed package computes a protocol, its table says so. The exit status is 1 if a vector is out of its
tolerance or a peer further away than 1e-12.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from tests.benchmarks.protocols import peers
from tests.benchmarks.protocols.adapters import ADAPTERS
from tests.losses.vectors import VARIABLE, cases

AGREEMENT = 1e-12


def vector_rows() -> dict[str, tuple[int, int, float]]:
    """By protocol: vectors passed, all, and the largest error as a multiple of its tolerance."""
    rows: dict[str, tuple[int, int, float]] = {}
    for case in cases():
        if case.row["kind"] != "metric":
            continue
        protocol, function = ADAPTERS[case.row["oracle"]]
        got = function(case)
        worst = max(case.errors_nan(key, got[key]) for key in case.row["expected"])
        passed, total, largest = rows.get(protocol, (0, 0, 0.0))
        rows[protocol] = (passed + (worst <= 1), total + 1, max(largest, worst))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status says whether all of it holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-speed", action="store_true", help="leave out time and memory")
    options = parser.parse_args(arguments)

    vectors = vector_rows()
    if not vectors:
        print(f"no vectors found; {VARIABLE} names their folder", file=sys.stderr)
        return 1
    found = peers.differences()
    print("| protocol | vectors passed | largest error / tolerance | largest difference to peers |")
    print("|---|---|---|---|")
    for protocol, (passed, total, worst) in vectors.items():
        apart = [f"{peer} {gap:.1e}" for owner, peer, gap in found if owner == protocol]
        text = ", ".join(apart) or "no installed peer computes it"
        print(f"| {protocol} | {passed} of {total} | {worst:.1e} | {text} |")
    if not options.no_speed:
        print("\nTime and memory beside the usual ways, measured now in one run:\n", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.speed.protocols"], check=True)
    good = all(passed == total for passed, total, _ in vectors.values())
    return 0 if good and all(gap <= AGREEMENT for _, _, gap in found) else 1


if __name__ == "__main__":
    sys.exit(main())
