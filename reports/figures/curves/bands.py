"""Curves of the compared cells with pointwise intervals over seeds and identities.

A run keeps its curve at a grid of rates (or ranks) as the test is, under every resample of the
identities and without each of them: at one grid point these are what `reports.statistics.intervals.interval`
takes for a metric of a table, so that the band at FAR = 1e-2 is the interval of TAR@1e-2. Runs judged
before curves were resampled leave the spread of the seeds (Student t).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.collect import Study
from reports.draws import RunDraws, cell_draws, joined
from reports.figures.style import slots
from reports.selection import Selection
from reports.statistics.intervals import Draws, Interval, interval, t_quantile
from reports.summary import loss_title, setting_text

LEAST_COUNT = 10  # a rate of fewer pairs or images rests on a handful of them and is not drawn
RANKS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
PER_DECADE = 5  # of rates, for runs that keep no grid; powers of ten are among them
DIGITS = 6

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Curve:
    """A curve as runs keep it in ``curves.npz``.

    Attributes
    ----------
    home : of its arrays, ``"test/verification/"``.
    x, y : their names, which are also the columns of the frame.
    scalar : a metric of the same identities.
    count : the metric that counts what x is a rate of; None: x is a rank.
    few_accepts : see `reports.statistics.intervals.identity_variance`.
    """

    home: str
    x: str
    y: str
    scalar: str
    count: str | None = None
    few_accepts: bool = False


def band_frames(
    name: str, curve: Curve, study: Study, selection: Selection
) -> Iterator[tuple[str, pd.DataFrame]]:
    """`bands` as a family of figures gathers it, under the figure's name; nothing without the curve."""
    frame = bands(study, selection, curve)
    if frame is not None:
        yield name, frame


def bands(study: Study, selection: Selection, curve: Curve) -> pd.DataFrame | None:
    """One row per compared cell and grid point; None where no run has the curve.

    Columns: ``cell, loss, label, slot``; ``n`` runs with a curve of ``runs`` planned; x and y by the
    curve's names, ``low``, ``high``; ``covers`` (see `Interval`); ``lowest``, the x below which nothing
    is drawn. A cell without any curve has one row, with n = 0 and no x.
    """
    if ("bands", curve) not in study.cache:
        study.cache["bands", curve] = _bands(study, selection, curve)
    found: pd.DataFrame | None = study.cache["bands", curve]
    return found


def _bands(study: Study, selection: Selection, curve: Curve) -> pd.DataFrame | None:
    cells = list(selection.cells)
    runs = _stored(study, cells, curve)
    known = [each for own in runs.values() for each in own if each]
    lowest = _lowest(study, cells, curve)
    if not known or lowest is None:
        return None
    grid = _grid(known, curve, lowest)
    frames = []
    draws = cell_draws(study, curve.scalar, cells)
    for cell, of_cell in zip(cells, draws, strict=True):
        own = [(s, d) for s, d in zip(runs[cell], of_cell, strict=True) if s]
        found = _intervals([s for s, _ in own], [d for _, d in own], curve, grid) if own else []
        fixed = {
            "cell": cell,
            "loss": (loss := str(study.cells.set_index("cell").loc[cell, "loss"])),
            "label": f"{loss_title(loss)} {setting_text(study, cell)}".strip(),
            "slot": slots(study)[loss],
            "n": len(own),
            "runs": int((study.frame["cell"] == cell).sum()),
        }
        points = [
            {
                curve.x: x,
                curve.y: each.mean,
                **dict(zip(("low", "high"), band_ends(each), strict=True)),
                "covers": each.covers,
            }
            for x, each in zip(grid, found, strict=False)
        ]
        empty = {curve.x: np.nan, curve.y: np.nan, "low": np.nan, "high": np.nan}
        frames += [{**fixed, **row} for row in points or [{**empty, "covers": "nothing"}]]
    frame = pd.DataFrame(frames).assign(lowest=lowest)
    numbers = [curve.x, curve.y, "low", "high", "lowest"]
    return frame.assign(**{name: frame[name].map(_rounded) for name in numbers})


def _stored(study: Study, cells: Sequence[str], curve: Curve) -> dict[str, list[Arrays]]:
    """Of each cell and seed, as `cell_draws` orders them, the run's arrays of this curve; or none."""
    seeds = sorted(study.frame["seed"].unique())
    ids = study.frame.set_index(["cell", "seed"])["id"].to_dict()
    found: dict[str, list[Arrays]] = {}
    for cell in cells:
        found[cell] = []
        for seed in seeds:
            run = ids.get((cell, seed))
            arrays = study.curves(run) if run else {}
            own = {
                k.removeprefix(curve.home): arrays[k] for k in arrays if k.startswith(curve.home)
            }
            found[cell].append(own if curve.x in own else {})
    return found


def _lowest(study: Study, cells: Sequence[str], curve: Curve) -> float | None:
    """The smallest x that every run carries; None where that is no rate."""
    if curve.count is None:
        return 1.0
    if not study.measured(curve.count):
        return None
    counts = study.frame.loc[study.frame["cell"].isin(cells), curve.count].dropna()
    counts = counts[counts > 0]
    return float(LEAST_COUNT / counts.min()) if len(counts) and counts.min() > LEAST_COUNT else None


def _grid(runs: Sequence[Arrays], curve: Curve, lowest: float) -> Floats:
    """The x that all runs with a grid share; where there are none, an even one in log."""
    own = [run[name] for run in runs if (name := f"replicate_{curve.x}") in run]
    if own:
        shared = own[0]
        for other in own[1:]:
            shared = np.intersect1d(shared, other)
    elif curve.count is None:
        shared = np.array(RANKS)
    else:
        steps = int(np.floor(-PER_DECADE * np.log10(lowest) + 1e-9))
        shared = 10.0 ** (-np.arange(steps, -1, -1) / PER_DECADE)
    last = max(float(run[curve.x].max()) for run in runs)
    kept = (shared >= lowest * (1 - 1e-9)) & (shared <= last)
    return np.asarray(shared[kept], dtype=float)


def _intervals(
    runs: Sequence[Arrays], draws: Sequence[RunDraws | None], curve: Curve, grid: Floats
) -> list[Interval]:
    """The interval at each point of the grid (G,) over the runs of a cell."""
    values = np.array([_values(run, curve, grid) for run in runs])
    stacked = [_resampled(run, own, curve, grid) for run, own in zip(runs, draws, strict=True)]
    together, _ = joined(stacked)
    _, drew_own = joined(draws)
    return [
        interval(
            values[:, point],
            Draws(together.replicates[..., point], together.left_out[..., point])
            if together is not None
            else None,
            own_identities=drew_own,
            rate=True,
            few_accepts=curve.few_accepts,
        )
        for point in range(len(grid))
    ]


def _columns(run: Arrays, curve: Curve, grid: Floats) -> NDArray[np.int64] | None:
    """Where the grid's points stand in the run's own grid; None where it has no such grid."""
    own = run.get(f"replicate_{curve.x}")
    return None if own is None else np.searchsorted(own, grid * (1 - 1e-9))


def _values(run: Arrays, curve: Curve, grid: Floats) -> Floats:
    """The run's y (G,) on the grid: as kept, else between the points of its curve."""
    columns = _columns(run, curve, grid)
    if columns is not None:
        return np.asarray(run[f"grid_{curve.y}"][columns], dtype=float)
    x, first = np.unique(run[curve.x], return_index=True)
    return np.interp(grid, x, np.maximum.reduceat(run[curve.y], first))


def _resampled(run: Arrays, own: RunDraws | None, curve: Curve, grid: Floats) -> RunDraws | None:
    """The run's curve under the resamples (R, G) and without each identity (U, G)."""
    columns = _columns(run, curve, grid)
    if own is None or columns is None:
        return None
    kinds = (run[f"{kind}_{curve.y}"][:, columns] for kind in ("replicate", "left_out"))
    replicates, left_out = (np.asarray(kind, dtype=float) for kind in kinds)
    return replace(own, replicates=replicates, left_out=left_out)


def band_ends(found: Interval) -> tuple[float, float]:
    """Ends of the band, within [0, 1].

    The logit scale of `interval` is a stretched copy of the rate's own only near the mean. Where half
    of the width is as large as the rate itself, as at a FAR of ten impostor pairs, it would stretch a
    per mille to tens of per cent; there the end towards ½ is mean ± half on the rate's own scale.
    """
    half = t_quantile(found.df) * found.error
    low, high = found.low, found.high
    if half > found.mean * (1 - found.mean) > 0:
        if found.mean < 0.5:
            high = min(high, found.mean + half)
        else:
            low = max(low, found.mean - half)
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
