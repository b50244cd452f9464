"""This suite beside the usual way, measured in turn in one run; `make speed`.

The usual way is one process an experiment: a DataLoader with torchvision's transforms on PIL images, losses of
pytorch-metric-learning, torch.optim, scikit-learn's ROC curve. Both train the same net with the same batch size,
augmentation, recipe and initial weights. Measured are training throughput against the size of the stack, the whole job
with its quality, where the time goes, the floor, and variants of the backbone's step. Every part writes a CSV file.

    python -m benchmarks.speed                   # CPU: about 40 minutes on two cores
    python -m benchmarks.speed --device cuda     # needs torch and NumPy alone; what else is missing is said
    python -m benchmarks.speed --quick           # everything at a tiny size, in a minute or two
    python -m benchmarks.speed --only throughput floor --sizes 1 16 --repeats 5

Exit status: 0; 1 where the quality of the two ways differs, or cannot be told; 2 where something failed; 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.comparison import PARTS, Comparison, Sizes
from benchmarks.speed.processes import WorkerError
from benchmarks.speed.quality import QualityError
from benchmarks.speed.task import SYNTHETIC, Task, default_dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; see the module."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that workers end with this
    dataset = options.dataset or ("glyphs" if options.quick else default_dataset(options.results))
    task = Task(
        dataset, device=options.device, backbone=options.backbone, epochs=options.epochs or (4 if options.quick else 20),
        batch_size=64 if options.quick else 256, results=options.results, small=options.quick,
    )  # fmt: skip
    default = Sizes.quick() if options.quick else Sizes()
    given = {
        key: value for key in vars(default) if (value := getattr(options, key, None)) is not None
    }
    sizes = Sizes(**{**vars(default), **given})
    print(f"data set: {dataset}; device: {options.device}", file=sys.stderr)
    try:
        return 0 if Comparison(task, sizes, options.out).run(options.only) else 1
    except (WorkerError, QualityError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; files of finished parts stay", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = found.add_argument
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add(
        "--dataset", choices=["omniglot", "glyphs", SYNTHETIC],
        help="default: omniglot if it is at hand, else glyphs; synthetic: noise of Omniglot's shape, where neither can be decoded",
    )  # fmt: skip
    add("--backbone", default="conv3", choices=["conv3", "conv4"])
    add("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    add("--sizes", nargs="+", type=int, metavar="N", help="of stacks (default: 1 4 16 64 256)")
    add("--repeats", type=int, help="rounds of the throughput (default: 3)")
    add(
        "--seconds", type=float, help="length of a measured window, at least two steps (default: 6)"
    )
    add("--epochs", type=int, help="of the whole jobs (default: 20)")
    add("--seeds", type=int, help="of the whole jobs' two losses (default: 3)")
    add(
        "--suite-learning-rate", type=float, metavar="RATE",
        help="train the suite's whole job with this one and the usual way with 0.1: to see the comparison fail",
    )  # fmt: skip
    add("--quick", action="store_true", help="tiny sizes")
    add(
        "--results", type=Path, default=Path("results"), help="folder of the data cache (default: results)"
    )  # fmt: skip
    add(
        "--out", type=Path, default=Path("results/speed"), help="folder of the CSV files (default: results/speed)"
    )  # fmt: skip
    return found


if __name__ == "__main__":
    sys.exit(main())
