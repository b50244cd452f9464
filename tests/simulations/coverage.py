"""How often do the report's 95 % intervals hold the truth? On simulated verification, where the truth is known.

Each simulated study draws identities, images and models (`tests.simulations.population`), resamples the identities as
the protocols do, forms the intervals of `reports.statistics.intervals`, and looks whether they hold the rates of the population.
Beside them stand intervals that one meets elsewhere: over pairs as if they were independent, percentiles of the
bootstrap, and over seeds alone. About half an hour for 500 studies on one free core.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import special
from tqdm import tqdm

from reports.statistics.intervals import Draws, interval, mean_interval
from tests.simulations.figure import draw
from tests.simulations.population import Population
from tests.simulations.weighted import recall, weighted_rates

LOWEST, HIGHEST = 0.93, 0.97  # coverage that an interval of 95 % must show
FACTORS = (1.0, 0.9)  # on the spreads: the two losses compared
RESAMPLES = 300
Ends = tuple[float, float]
Samples = dict[str, np.ndarray]  # metric -> (S, L, 1 + C + R): value, left out, replicates


@dataclass(frozen=True)
class Design:
    """A kind of study: `same` says whether all seeds judge the same identities; small ones are
    simulated several `times` as often as asked for.
    """

    classes: int
    images: int
    seeds: tuple[int, ...] = (1,)
    same: bool = True
    times: int = 1


DESIGNS = (
    Design(50, 5, times=3),
    Design(50, 10, times=3),
    Design(200, 5),
    Design(200, 10, times=2),
    Design(50, 5, (3, 5), times=4),
    Design(50, 5, (3, 5), same=False),
)
QUICK = (Design(50, 5), Design(50, 5, (3,)), Design(50, 5, (3,), same=False))


@dataclass(frozen=True)
class Row:
    """Coverage of one kind of interval in one design."""

    classes: int
    images: int
    seeds: int
    identities: str
    metric: str
    quantity: str
    method: str
    truth: float
    studies: int
    coverage: float
    low: float
    high: float
    width: float

    @property
    def judged(self) -> bool:
        """Whether this is the report's own interval, which must hold what it promises."""
        return self.method == "report"

    @property
    def inside(self) -> bool:
        """Whether the coverage seen is as it must be."""
        return LOWEST <= self.coverage <= HIGHEST

    @property
    def failed(self) -> bool:
        """Whether it is not, by more than the simulation's own error."""
        return self.high < LOWEST or self.low > HIGHEST

    @property
    def text(self) -> str:
        """One line; an arrow where an interval of the report fails."""
        return (
            f"{self.classes:4} x {self.images:2}, {self.seeds} seeds, {self.identities:8} "
            f"{self.metric:16} {self.quantity:10} {self.method:11} {100 * self.coverage:5.1f} % "
            f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"
            f"{'' if self.inside or not self.judged else '   <-'}"
        )


def simulate(
    designs: Sequence[Design], studies: int, pairs: int, population: Population, workers: int = 1
) -> Iterator[list[Row]]:
    """Coverage of every interval, design by design; the same for any number of worker processes."""
    known = _Truth(population, pairs)
    with ProcessPoolExecutor(workers) as pool:
        for place, design in enumerate(designs):
            count = studies * design.times
            run = partial(_study, design, place, population)
            kind = "the same" if design.same else "own"
            name = f"{design.classes} x {design.images}, seeds {design.seeds}, {kind} identities"
            found = pool.map(run, range(count), chunksize=5)
            seen: dict[tuple[int, str, str, str], list[Ends]] = {}
            for study in tqdm(found, desc=name, total=count, file=sys.stderr, mininterval=5):
                for key, ends in study:
                    seen.setdefault(key, []).append(ends)
            rows = []
            for (seeds, metric, quantity, method), ends in seen.items():
                truth = known(metric, quantity, design)
                low, high = np.array(ends).T
                hits = int(((low <= truth) & (truth <= high)).sum())
                rows.append(
                    Row(
                        design.classes,
                        design.images,
                        seeds,
                        kind,
                        metric,
                        quantity,
                        method,
                        truth,
                        count,
                        hits / count,
                        *wilson(hits, count),
                        float((high - low).mean()),
                    )
                )
            yield rows


def _study(
    design: Design, place: int, population: Population, study: int
) -> list[tuple[tuple[int, str, str, str], Ends]]:
    """The ends of all intervals of one study, by seeds, metric, quantity and method."""
    samples = _samples(design, population, np.random.default_rng([place, study]))
    return [
        ((seeds, *key), ends)
        for seeds in design.seeds
        for key, ends in _intervals({m: each[:seeds] for m, each in samples.items()}, design)
    ]


def wilson(hits: int, trials: int) -> Ends:
    """Interval of 95 % for a share (Wilson 1927)."""
    z = float(special.ndtri(0.975))
    share = hits / trials
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return float(center - half), float(center + half)


class _Truth:
    """The rates of the population: for one model, or in the mean over models of many seeds."""

    def __init__(self, population: Population, pairs: int) -> None:
        self._population = population
        self._pairs = pairs
        self._rates: dict[float, dict[str, float]] = {}
        self._recalls: dict[tuple[int, int, bool], np.ndarray] = {}

    def __call__(self, metric: str, quantity: str, design: Design) -> float:
        values = (
            self._recall(design)
            if metric == "recall_at_1"
            else np.array([self._mean(metric, factor, design) for factor in FACTORS])
        )
        return float(values[0] if quantity == "one loss" else values[0] - values[1])

    def _mean(self, metric: str, factor: float, design: Design) -> float:
        if design.seeds == (1,):
            return self._at(factor)[metric]
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)  # over the seeds' normal factor
        factors = factor * np.exp(self._population.seed_sd * nodes)
        rates = [self._at(float(round(each, 12)))[metric] for each in factors]
        return float(np.average(rates, weights=weights))

    def _at(self, factor: float) -> dict[str, float]:
        if factor not in self._rates:
            self._rates[factor] = self._population.truth(0, factor, self._pairs)
        return self._rates[factor]

    def _recall(self, design: Design) -> np.ndarray:
        """It depends on the number of identities: the mean over fresh studies of that size."""
        key = (design.classes, design.images, design.seeds == (1,))
        if key not in self._recalls:
            rng = np.random.default_rng([99, *key])
            found = []
            for _ in range(400):
                factors = _factors(design, self._population, rng, 1)
                for each in self._population.study(rng, *key[:2], factors)[0]:
                    found.append(recall(each @ each.T, design.classes).mean())
            self._recalls[key] = np.reshape(found, (-1, len(FACTORS))).mean(axis=0)
        return self._recalls[key]


def _factors(
    design: Design, population: Population, rng: np.random.Generator, seeds: int
) -> np.ndarray:
    """Factors of the models (seeds, losses); the studies of one seed have exactly `FACTORS`."""
    if design.seeds == (1,):
        return np.array([FACTORS])
    return np.exp(population.seed_sd * rng.standard_normal((seeds, 1))) * np.array(FACTORS)


def _samples(design: Design, population: Population, rng: np.random.Generator) -> Samples:
    classes, seeds = design.classes, max(design.seeds)
    weights = np.ones((1, classes))
    if design.same:
        drawn = rng.multinomial(classes, np.full(classes, 1 / classes), size=RESAMPLES)
        weights = np.concatenate([weights, 1 - np.eye(classes), drawn])
    factors = _factors(design, population, rng, seeds)
    if design.same:
        embeddings = population.study(rng, classes, design.images, factors)
    else:
        embeddings = np.concatenate(
            [population.study(rng, classes, design.images, row[None]) for row in factors]
        )
    found = [[weighted_rates(each, classes, weights) for each in row] for row in embeddings]
    return {
        metric: np.array([[cell[metric] for cell in row] for row in found])
        for metric in found[0][0]
    }


def _intervals(samples: Samples, design: Design) -> Iterator[tuple[tuple[str, str, str], Ends]]:
    """Metric, quantity and method, and the ends, of every interval."""
    for metric, array in samples.items():
        for quantity in ("one loss", "difference"):
            each = array[:, 0] if quantity == "one loss" else array[:, 0] - array[:, 1]
            values, draws = each[:, 0], None
            if design.same:
                draws = Draws(each[:, design.classes + 1 :], each[:, 1 : design.classes + 1])
            found = interval(
                values,
                draws,
                own_identities=not design.same,
                rate=quantity == "one loss",
                few_accepts=metric.startswith("tar"),
            )
            yield (metric, quantity, "report"), (found.low, found.high)
            if len(values) > 1 and design.same:
                alone = mean_interval(values)
                yield (metric, quantity, "seeds alone"), (alone.low, alone.high)
            elif draws is not None:
                low, high = np.quantile(draws.replicates[0], [0.025, 0.975])
                yield (metric, quantity, "percentile"), (float(low), float(high))
                if quantity == "one loss":
                    yield (metric, quantity, "pairs"), _over_pairs(metric, values[0], design)


def _over_pairs(metric: str, value: float, design: Design) -> Ends:
    """The interval that takes pairs (queries) for independent draws."""
    images = design.classes * design.images
    genuine = images * (design.images - 1) // 2
    impostor = images * (images - design.images) // 2
    variance = value * (1 - value) / (images if metric == "recall_at_1" else genuine)
    if metric == "auc":  # Hanley and McNeil 1982
        above, below = value / (2 - value), 2 * value**2 / (1 + value)
        variance = (
            value * (1 - value)
            + (genuine - 1) * (above - value**2)
            + (impostor - 1) * (below - value**2)
        ) / (genuine * impostor)
    half = float(special.ndtri(0.975)) * np.sqrt(variance)
    return float(value - half), float(value + half)


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row.__dataclass_fields__)
        for row in rows:
            values = [getattr(row, name) for name in Row.__dataclass_fields__]
            writer.writerow([f"{v:.4g}" if isinstance(v, float) else v for v in values])


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; exit status 1 where an interval of the report covers too little or too much, by
    more than the simulation's own error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulations.coverage", description=__doc__
    )
    parser.add_argument("--studies", type=int, default=500, metavar="N", help="of each design")
    parser.add_argument("--quick", action="store_true", help="three small designs, no verdict")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="CSV to write")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="PNG and SVG to write")
    given = parser.parse_args(arguments)
    if given.studies < 2:
        parser.error(f"--studies {given.studies}: at least 2 are needed")
    designs, pairs = (QUICK, 50_000) if given.quick else (DESIGNS, 500_000)
    rows: list[Row] = []
    for found in simulate(designs, given.studies, pairs, Population(), given.workers):
        rows += found
        print("\n".join(row.text for row in found), flush=True)
        if given.out is not None:
            write(rows, given.out)
    if given.figure is not None:
        draw(rows, given.figure)
    if given.quick:
        print("quick: too few studies and pairs for a verdict")
        return 0
    judged = [row for row in rows if row.judged]
    inside, failed = sum(row.inside for row in judged), sum(row.failed for row in judged)
    print(
        f"{inside} of {len(judged)} intervals of the report cover 93 to 97 %, on average "
        f"{100 * np.mean([row.coverage for row in judged]):.1f} %; {failed} lie outside by more than "
        "the simulation's own error"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
