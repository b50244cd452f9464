"""Images a second against the size of the stack, the usual way as lines: docs/images/speed_stack.

python -m reports.speed_figure
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.errors import ReportError
from reports.figures.style import COLUMN, DASHES, GREY, MARKERS, PALETTE, numeric_ticks, styled

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "reports" / "published"
IMAGE = ROOT / "docs" / "images" / "speed_stack"
TITLES = {"cpu": "CPU", "cuda": "GPU"}
_METADATA: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def main() -> int:
    """Entry point."""
    argparse.ArgumentParser(
        prog="python -m reports.speed_figure",
        description="Draw docs/images/speed_stack from reports/published/speed_throughput_*.csv.",
    ).parse_args()
    for path in draw(read(PUBLISHED), IMAGE):
        print(path)
    return 0


def read(published: Path) -> dict[str, pd.DataFrame]:
    """What was measured, by kind of device.

    Raises
    ------
    ReportError : nothing was.
    """
    paths = {kind: published / f"speed_throughput_{kind}.csv" for kind in TITLES}
    frames = {kind: pd.read_csv(path) for kind, path in paths.items() if path.exists()}
    if not frames:
        raise ReportError(f"{published}: no speed_throughput_*.csv; measure with: make speed")
    return frames


def draw(frames: dict[str, pd.DataFrame], path: Path) -> list[Path]:
    """One panel for each device; PNG and SVG at `path`."""
    with styled():
        figure = Figure(figsize=(COLUMN * len(frames) * 1.25, 2.7), layout="constrained")
        axes = figure.subplots(1, len(frames), squeeze=False)[0]
        for axis, (kind, frame) in zip(axes, frames.items(), strict=True):
            panel(axis, frame)
            axis.set_title(f"{TITLES[kind]}, {frame['backbone'].iloc[0]}")
        axes[0].set_ylabel("images/s of all experiments")
        path.parent.mkdir(parents=True, exist_ok=True)
        written = [path.with_suffix(f".{suffix}") for suffix in _METADATA]
        for file in written:
            figure.savefig(file, metadata=_METADATA[file.suffix[1:]])
    return written


def panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Stacks as a line with the least and the most of the rounds, each form of the usual way as a level."""
    measured = frame.dropna(subset=["images_per_second"])
    suite = measured[measured["kind"] == "suite"].sort_values("stack")
    middle = suite["images_per_second"]
    axis.errorbar(
        suite["stack"], middle, yerr=[middle - suite["lowest"], suite["highest"] - middle],
        color=PALETTE[0], marker=MARKERS[0], capsize=2, label="this suite",
    )  # fmt: skip
    usual = measured[measured["kind"] == "usual"]
    for place, (name, rate) in enumerate(
        zip(usual["way"], usual["images_per_second"], strict=True)
    ):
        dashes = DASHES[(place + 1) % len(DASHES)]
        axis.axhline(rate, color=GREY if place == 0 else PALETTE[place], ls=dashes, label=name)
    numeric_ticks(axis, list(suite["stack"]))
    axis.set_xlabel("experiments in a stack")
    if measured["images_per_second"].max() > 10 * measured["images_per_second"].min():
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.legend(loc="best")


if __name__ == "__main__":
    raise SystemExit(main())
