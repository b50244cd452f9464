"""The command ``python -m benchmarks judge``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.errors import ConfigError


def judge(options: argparse.Namespace) -> None:
    """Judge anyone's embeddings: metrics with intervals as JSON, CSV and a page."""
    from benchmarks.devices import resolve_device
    from benchmarks.judging import Question, judge_file
    from benchmarks.protocols import ProtocolError, Settings
    from benchmarks.verdict_folder import check_out, draw_page, summary

    out = options.out or Path(f"{options.file.stem}.verdict")
    given = {name: getattr(options, name) for name in Question.__dataclass_fields__}
    rates = {name: getattr(options, name) for name in ("fars", "fpirs")}
    rates = {name: tuple(values) for name, values in rates.items() if values is not None}
    try:
        check_out(out)
        settings = Settings(
            **rates,
            galleries=options.galleries,
            resamples=options.resamples,
            device=resolve_device(options.device),
        )
        content = judge_file(Question(**given), settings, out)
    except ProtocolError as error:
        raise ConfigError(str(error)) from error
    print(summary(content))
    print(draw_page(out))
    print(f"verdict: {out}")


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """What the command takes."""
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.epilog = """\
FILE is an npz with `embeddings` (N, D) and `labels` (N,), whole numbers or texts, and optionally
`names` (N,), `flipped` (N, D; embeddings of the mirror images), `part`, `known_classes`,
`class_weights`, `cameras`, `query`; or an npy with (N, D). Without `part` all images are of classes
never seen in training, and protocols that need known classes are left out.

examples:
  python -m benchmarks judge embeddings.npz
  python -m benchmarks judge embeddings.npy --labels labels.txt --fars 0.01 0.001
  python -m benchmarks judge lfw.npz --pairs pairs.txt --flip sum --protocols pairs
  python -m benchmarks judge results/runs/<experiment>/embeddings.npz --out verdicts/arcface"""
    sub.add_argument("file", type=Path, metavar="FILE", help="embeddings, .npz or .npy")
    sub.add_argument("--labels", type=Path, metavar="FILE", help="npy, or text, a label a line")
    sub.add_argument(
        "--names", type=Path, metavar="FILE", help="npy, or text, an image name a line"
    )
    sub.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help="pairs to verify: LFW's pairs.txt or pairsDev*.txt, or lines 'a b 1' or '1 a b'",
    )
    sub.add_argument(
        "--missing",
        choices=("fail", "skip"),
        default="fail",
        help="pairs whose images are not in FILE: fail (default), or skip and count",
    )
    sub.add_argument(
        "--folds",
        type=int,
        default=0,
        metavar="K",
        help="cut a pair list without folds into K parts, in its order",
    )
    sub.add_argument(
        "--score",
        choices=("cosine", "euclidean"),
        default="cosine",
        help="of the listed pairs (default: cosine); all other protocols use the cosine",
    )
    sub.add_argument(
        "--flip",
        choices=("none", "sum", "concat"),
        default="none",
        help="fuse each embedding with that of the mirror image, the array `flipped`",
    )
    sub.add_argument("--protocols", nargs="*", metavar="NAME", help="default: all that apply")
    sub.add_argument(
        "--fars", nargs="*", type=float, metavar="RATE", help="false accept rates of the TARs"
    )
    sub.add_argument(
        "--fpirs", nargs="*", type=float, metavar="RATE", help="false positive identification rates"
    )
    sub.add_argument(
        "--resamples",
        type=int,
        default=1000,
        metavar="N",
        help="of the identities, for the intervals (default: 1000; 0: none)",
    )
    sub.add_argument(
        "--galleries",
        type=int,
        default=5,
        metavar="N",
        help="gallery draws of the identification (default: 5)",
    )
    sub.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    sub.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: <name of FILE>.verdict, here"
    )
