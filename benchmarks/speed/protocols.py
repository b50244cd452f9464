"""Verification over all pairs, and retrieval, against the usual ways, side by side in one run.

Verification the usual way materialises the scores of all pairs and gives them to scikit-learn:
products in float32, in blocks, into one array of scores, ``sklearn.metrics.roc_curve`` and ``auc``.
Ours reads the same embeddings and gives the whole curve, AUC, EER, least detection cost and four
TARs, without and with 1000 resamples of the identities. Retrieval the usual way is
pytorch-metric-learning's AccuracyCalculator in its cheap form, on the first R neighbours, found in
blocks; ours ranks all right images, so that it gives mAP and mINP as well. Each way runs in a
process of its own; its memory is the highest resident size less that after imports and data.

    python -m benchmarks.speed.protocols            # 13,180 images of 659 classes: 87 million pairs
    python -m benchmarks.speed.protocols --quick    # 3,000 images
    python -m benchmarks.speed.protocols --large    # and 100,000 images (5·10⁹ pairs), ours alone
    python -m benchmarks.speed.protocols --device cuda
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.processes import peak_mebibytes

SIZES = {
    "quick": {"classes": 150, "images": 20, "dim": 64},
    "omniglot": {"classes": 659, "images": 20, "dim": 64},  # Omniglot's evaluation set
    "large": {"classes": 5000, "images": 20, "dim": 128},
}
FARS = (0.1, 0.01, 0.001, 0.0001)
OURS, RESAMPLED, USUAL = "tiles", "tiles, 1000 resamples", "all scores, scikit-learn"
RANKED, PEER = "ranks of all right images", "pytorch-metric-learning, first R"
PROTOCOL = {
    USUAL: "verification", OURS: "verification", RESAMPLED: "verification",
    PEER: "retrieval", RANKED: "retrieval",
}  # fmt: skip
USUALLY = {"verification": USUAL, "retrieval": PEER}


def main() -> int:
    """Run the comparison, or (with ``--worker``) one of its processes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.protocols", description=__doc__
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
    size = "quick" if options.quick else "omniglot"
    jobs = [(size, way) for way in (USUAL, OURS, RESAMPLED, PEER, RANKED)]
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
        "| protocol | images × dim | way | seconds | s per 10⁹ pairs | extra MiB | usual time / this "
        "| usual memory / this | finds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        usual = [
            other
            for other in rows
            if (other["way"], other["images"]) == (USUALLY[row["protocol"]], row["images"])
        ]
        ratios = [
            f"{usual[0][key] / row[key]:.1f}" if usual else "" for key in ("seconds", "mebibytes")
        ]
        lines.append(
            f"| {row['protocol']} | {row['images']:,} × {row['dim']} | {row['way']} "
            f"| {row['seconds']:.2f} | {row['seconds_per_billion']:.1f} | {row['mebibytes']:.0f} "
            f"| {ratios[0]} | {ratios[1]} | {row['finds']} |"
        )
    return "\n".join(lines)


def _run(size: str, way: str, options: argparse.Namespace) -> dict[str, Any]:
    shape = SIZES[size]
    images = shape["classes"] * shape["images"]
    job = {**shape, "way": way, "device": options.device, "threads": options.threads}
    command = [sys.executable, "-m", "benchmarks.speed.protocols", "--worker", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    pairs = images * (images - 1) // 2
    print(f"{images:,} images, {way}: {found['seconds']:.1f} s", file=sys.stderr)
    return {
        "protocol": PROTOCOL[way], "images": images, "dim": shape["dim"], "pairs": pairs, "way": way,
        "device": options.device if way in (OURS, RESAMPLED) else "cpu",
        "seconds": found["seconds"], "seconds_per_billion": found["seconds"] / pairs * 1e9,
        "mebibytes": found["mebibytes"], "peak_mebibytes": found["peak_mebibytes"],
        "finds": " ".join(f"{name} {value:.6f}" for name, value in found["numbers"].items()),
    }  # fmt: skip


def _worker(job: dict[str, Any]) -> dict[str, Any]:
    embeddings, labels = clusters(job["classes"], job["images"], job["dim"])
    way = {USUAL: _usual, PEER: _peer, RANKED: _ranked}.get(job["way"], _tiles)
    return way(embeddings, labels, job)


def clusters(classes: int, images: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, D) float32 around one random center a class, and labels (N,)."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), images)
    embeddings = rng.standard_normal((classes, dim), dtype=np.float32)[labels]
    embeddings += rng.standard_normal(embeddings.shape, dtype=np.float32)
    return embeddings, labels


def _tiles(embeddings: np.ndarray, labels: np.ndarray, job: dict[str, Any]) -> dict[str, Any]:
    import torch

    from benchmarks.measures.pairs import verify_pairs
    from benchmarks.measures.resampling import resample
    from benchmarks.measures.roc import auc, eer, tar_at_far

    torch.set_num_threads(job["threads"])
    if job["device"] != "cpu":  # its first use loads libraries
        verify_pairs(embeddings[:200], labels[:200], FARS[:1], device=job["device"])
    before, start = peak_mebibytes(), time.perf_counter()
    drawn = resample(labels, 1000) if job["way"] == RESAMPLED else None
    curve = verify_pairs(embeddings, labels, FARS, drawn=drawn, device=job["device"]).curve
    tar = tar_at_far(curve, FARS[-1]).tar
    numbers = {"AUC": auc(curve), "EER": eer(curve), "TAR@1e-4": tar}
    return {**_cost(before, start), "numbers": numbers}


def _usual(embeddings: np.ndarray, labels: np.ndarray, job: dict[str, Any]) -> dict[str, Any]:
    before, start = peak_mebibytes(), time.perf_counter()
    found = all_scores(embeddings, labels)
    numbers = {name: found[name] for name in ("AUC", "EER", "TAR@1e-4")}
    return {**_cost(before, start), "numbers": numbers}


def all_scores(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Verification the usual way: the scores of all pairs at once, and scikit-learn's ROC curve of them."""
    from sklearn.metrics import auc, roc_curve

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
    closest = int(np.argmin(np.abs(far - (1 - tar))))
    rates = {
        f"TAR@1e-{power}": float(tar[np.searchsorted(far, 10**-power, side="right") - 1])
        for power in (3, 4)
    }
    eer = float(far[closest] + 1 - tar[closest]) / 2
    return {"AUC": float(auc(far, tar)), "EER": eer, **rates}


def _ranked(embeddings: np.ndarray, labels: np.ndarray, job: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.measures.ranking import retrieve_by_cosine

    before, start = peak_mebibytes(), time.perf_counter()
    found = retrieve_by_cosine(embeddings, embeddings, labels, labels, same_set=True).values([1])
    numbers = {
        text: float(np.nanmean(found[name]))
        for text, name in (("R@1", "recall_at_1"), ("MAP@R", "map_at_r"), ("mAP", "map"))
    }
    return {**_cost(before, start), "numbers": numbers}


def _peer(embeddings: np.ndarray, labels: np.ndarray, job: dict[str, Any]) -> dict[str, Any]:
    import torch

    torch.set_num_threads(job["threads"])
    neighbours(embeddings[:200], labels[:200])  # its first use loads libraries
    before, start = peak_mebibytes(), time.perf_counter()
    numbers = neighbours(embeddings, labels)
    return {**_cost(before, start), "numbers": numbers}


def neighbours(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Retrieval the usual way: the AccuracyCalculator of pytorch-metric-learning on cosines."""
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    names = {"R@1": "precision_at_1", "MAP@R": "mean_average_precision_at_r"}
    calculator = AccuracyCalculator(
        include=(*names.values(), "r_precision"),
        k="max_bin_count",
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity(), batch_size=512),
    )
    found = calculator.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels))
    return {text: float(found[name]) for text, name in names.items()}


def own_measures(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The numbers of `all_scores` and `neighbours` by this suite's measures, which need NumPy and torch alone."""
    from benchmarks.measures.pairs import verify_pairs
    from benchmarks.measures.ranking import retrieve_by_cosine
    from benchmarks.measures.roc import auc, eer, tar_at_far

    curve = verify_pairs(embeddings, labels, FARS).curve
    rates = {f"TAR@1e-{power}": tar_at_far(curve, 10**-power).tar for power in (3, 4)}
    ranks = retrieve_by_cosine(embeddings, embeddings, labels, labels, same_set=True).values([1])
    means = {
        text: float(np.nanmean(ranks[name]))
        for text, name in (("R@1", "recall_at_1"), ("MAP@R", "map_at_r"))
    }
    return {"AUC": auc(curve), "EER": eer(curve), **rates, **means}


def _cost(before: float, start: float) -> dict[str, float]:
    seconds, peak = time.perf_counter() - start, peak_mebibytes()
    return {"seconds": seconds, "mebibytes": peak - before, "peak_mebibytes": peak}


if __name__ == "__main__":
    sys.exit(main())
