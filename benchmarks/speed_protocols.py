"""All-pairs verification in tiles against the usual way, side by side in one run.

The usual way materialises the scores of all pairs and gives them to scikit-learn: products in
float32, in blocks, into one array of scores, ``sklearn.metrics.roc_curve`` and ``auc``. Ours reads
the same embeddings and gives the whole curve, AUC, EER, least detection cost and four TARs, without
and with 1000 resamples of the identities. Each way runs in a process of its own; its memory is the
highest resident size less that after imports and data.

    python -m benchmarks.speed_protocols            # 13,180 images of 659 classes: 87 million pairs
    python -m benchmarks.speed_protocols --quick    # 3,000 images
    python -m benchmarks.speed_protocols --large    # and 100,000 images (5·10⁹ pairs), ours alone
    python -m benchmarks.speed_protocols --device cuda
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {
    "quick": {"classes": 150, "images": 20, "dim": 64},
    "omniglot": {"classes": 659, "images": 20, "dim": 64},  # Omniglot's evaluation set
    "large": {"classes": 5000, "images": 20, "dim": 128},
}
FARS = (0.1, 0.01, 0.001, 0.0001)
OURS, RESAMPLED, USUAL = "tiles", "tiles, 1000 resamples", "all scores, scikit-learn"
MEBIBYTE = 2.0**20


def main() -> int:
    """Run the comparison, or (with ``--worker``) one of its processes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed_protocols", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="3,000 images only")
    parser.add_argument("--large", action="store_true", help="also 100,000 images, in tiles alone")
    parser.add_argument(
        "--device", default="cpu", help="where the products of the tiles are computed"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of the tiles (default: 1)")
    parser.add_argument("--csv", type=Path, default=Path("results/speed_protocols.csv"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(_worker(json.loads(options.worker))))
        return 0
    jobs = [("quick" if options.quick else "omniglot", way) for way in (USUAL, OURS, RESAMPLED)]
    if options.large:
        jobs += [("large", OURS), ("large", RESAMPLED)]
    rows = [_run(size, way, options) for size, way in jobs]
    print(table(rows))
    options.csv.parent.mkdir(parents=True, exist_ok=True)
    with options.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return 0


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, with the usual way's time and memory over each way's."""
    lines = [
        "| images × dim | pairs | way | seconds | s per 10⁹ pairs | extra MiB | usual time / this "
        "| usual memory / this | AUC | EER | TAR at FAR 1e-4 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        usual = [
            other for other in rows if (other["way"], other["images"]) == (USUAL, row["images"])
        ]
        ratios = [
            f"{usual[0][key] / row[key]:.1f}" if usual else "" for key in ("seconds", "mebibytes")
        ]
        lines.append(
            f"| {row['images']:,} × {row['dim']} | {row['pairs']:,} | {row['way']} "
            f"| {row['seconds']:.2f} | {row['seconds_per_billion']:.1f} | {row['mebibytes']:.0f} "
            f"| {ratios[0]} | {ratios[1]} | {row['auc']:.9f} | {row['eer']:.6f} | {row['tar']:.6f} |"
        )
    return "\n".join(lines)


def _run(size: str, way: str, options: argparse.Namespace) -> dict[str, Any]:
    shape = SIZES[size]
    images = shape["classes"] * shape["images"]
    job = {**shape, "way": way, "device": options.device, "threads": options.threads}
    command = [sys.executable, "-m", "benchmarks.speed_protocols", "--worker", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    pairs = images * (images - 1) // 2
    print(f"{images:,} images, {way}: {found['seconds']:.1f} s", file=sys.stderr)
    return {
        "images": images, "dim": shape["dim"], "pairs": pairs, "way": way,
        "device": "cpu" if way == USUAL else options.device,
        "seconds": found["seconds"], "seconds_per_billion": found["seconds"] / pairs * 1e9,
        "mebibytes": found["mebibytes"], "peak_mebibytes": found["peak_mebibytes"],
        "auc": found["auc"], "eer": found["eer"], "tar": found["tar"],
    }  # fmt: skip


def _worker(job: dict[str, Any]) -> dict[str, float]:
    embeddings, labels = clusters(job["classes"], job["images"], job["dim"])
    way = _usual if job["way"] == USUAL else _tiles
    return way(embeddings, labels, job)


def clusters(classes: int, images: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, D) float32 around one random center a class, and labels (N,)."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), images)
    embeddings = rng.standard_normal((classes, dim), dtype=np.float32)[labels]
    embeddings += rng.standard_normal(embeddings.shape, dtype=np.float32)
    return embeddings, labels


def _tiles(embeddings: np.ndarray, labels: np.ndarray, job: dict[str, Any]) -> dict[str, float]:
    import torch

    from benchmarks.measures.pairs import verify_pairs
    from benchmarks.measures.resampling import resample
    from benchmarks.measures.roc import auc, eer, tar_at_far

    torch.set_num_threads(job["threads"])
    if job["device"] != "cpu":  # its first use loads libraries
        verify_pairs(embeddings[:200], labels[:200], FARS[:1], device=job["device"])
    before, start = _peak(), time.perf_counter()
    drawn = resample(labels, 1000) if job["way"] == RESAMPLED else None
    curve = verify_pairs(embeddings, labels, FARS, drawn=drawn, device=job["device"]).curve
    numbers = {"auc": auc(curve), "eer": eer(curve), "tar": tar_at_far(curve, FARS[-1]).tar}
    return {**_cost(before, start), **numbers}


def _usual(embeddings: np.ndarray, labels: np.ndarray, job: dict[str, Any]) -> dict[str, float]:
    from sklearn.metrics import auc, roc_curve

    before, start = _peak(), time.perf_counter()
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    pairs = len(labels) * (len(labels) - 1) // 2
    scores, same = np.empty(pairs, dtype=np.float32), np.empty(pairs, dtype=bool)
    end = 0
    for first in range(0, len(labels), 256):
        block = unit[first : first + 256] @ unit[first:].T
        for row in range(len(block)):
            begin, end = end, end + block.shape[1] - row - 1
            scores[begin:end] = block[row, row + 1 :]
            same[begin:end] = labels[first + row + 1 :] == labels[first + row]
    far, tar, _ = roc_curve(same, scores)
    area = float(auc(far, tar))
    cost = _cost(before, start)
    closest = int(np.argmin(np.abs(far - (1 - tar))))
    rate = float(tar[np.searchsorted(far, FARS[-1], side="right") - 1])
    return {**cost, "auc": area, "eer": float(far[closest] + 1 - tar[closest]) / 2, "tar": rate}


def _peak() -> float:
    """Highest resident size of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024


def _cost(before: float, start: float) -> dict[str, float]:
    seconds, peak = time.perf_counter() - start, _peak()
    return {"seconds": seconds, "mebibytes": peak - before, "peak_mebibytes": peak}


if __name__ == "__main__":
    sys.exit(main())
