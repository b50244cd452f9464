"""What a search may vary: the axes of a loss and of its recipe, and the points it starts from. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from benchmarks.errors import ConfigError
from losses import catalog
from losses.schema import Hyperparameter, nearest

Point = dict[str, float]

# Axes of the recipe that every loss has, as factors of the study's value: the same freedom for all.
RECIPE_FACTOR = 10.0
RECIPE_AXES = ("learning_rate", "weight_decay")
# Where the study's weight decay is 0 there is nothing to take factors of.
WEIGHT_DECAY = (1e-5, 1e-2)

DIGITS = 4  # of a value that is tried: what a table shows can be typed again
ON_BOUND = 0.02  # of an axis's length: nearer to its end a value counts as lying on it


def short(value: float) -> float:
    """A value to ``DIGITS`` significant digits."""
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True)
class Axis:
    """One number that is searched.

    Attributes
    ----------
    name : of the hyper-parameter or of the key of the recipe.
    of : ``loss`` or ``recipe``.
    low, high : the range, both ends included.
    log : searched by its logarithm.
    whole : takes whole numbers only.
    legal_low, legal_high : where the range can be extended to; None: without end.
    """

    name: str
    of: str
    low: float
    high: float
    log: bool
    whole: bool = False
    legal_low: float | None = None
    legal_high: float | None = None

    def position(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high end, on the axis's own scale."""
        low, high, at = (
            (math.log(x) if x > 0 else -math.inf) if self.log else x
            for x in (self.low, self.high, value)
        )
        return (at - low) / (high - low)

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return self.low <= value <= self.high

    def rounded(self, value: float) -> float:
        """A value with few digits, still in the range."""
        if self.whole:
            return int(value)
        return min(max(short(value), self.low), self.high)

    def bound(self, value: float) -> str | None:
        """``low`` or ``high`` where a value lies on (or beyond) an end of the range, else None."""
        at = self.position(value)
        return "low" if at <= ON_BOUND else "high" if at >= 1 - ON_BOUND else None

    def extended(self, side: str) -> Axis:
        """The axis made half as long again at one end, as far as is legal."""
        factor = math.sqrt(self.high / self.low) if self.log else (self.high - self.low) / 2
        if side == "low":
            low = self.low / factor if self.log else self.low - factor
            if self.legal_low is not None:
                low = max(low, self.legal_low)
            return replace(self, low=self._even(low))
        high = self.high * factor if self.log else self.high + factor
        return replace(
            self, high=self._even(high if self.legal_high is None else min(high, self.legal_high))
        )

    def _even(self, value: float) -> float:
        return int(value) if self.whole else value

    def to_json(self) -> dict[str, Any]:
        """The plain content."""
        return asdict(self)

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Axis:
        """Inverse of `to_json`; what else stands in `content` is left aside."""
        return cls(**{row.name: content[row.name] for row in fields(cls)})


def axes_of(
    loss: str,
    fixed: Mapping[str, Any],
    ranges: Mapping[str, Sequence[float]],
    recipe: Mapping[str, Any],
    recipe_ranges: Mapping[str, Sequence[float]],
) -> tuple[Axis, ...]:
    """The axes of a loss's search: its own (the catalog's search ranges, or `ranges`), then the recipe's.

    Parameters
    ----------
    fixed : hyper-parameters that are not searched.
    ranges : hyper-parameter to [low, high], in place of the catalog's range.
    recipe : the recipe that the ranges of its keys are taken around.
    recipe_ranges : key of the recipe to [low, high].

    Raises
    ------
    ConfigError : a range for what cannot be searched, or one that is not legal.
    """
    free = {parameter.name: parameter for parameter in catalog.search_space(loss, fixed)}
    numbers = {
        parameter.name: parameter
        for parameter in catalog.row(loss).hyperparameters
        if parameter.name in catalog.resolve(loss, fixed)
        and (parameter.name not in fixed or parameter.name in ranges)
        and _is_free_number(parameter)
    }
    for name, span in ranges.items():
        where = f"tune.losses.{loss}.search.{name}"
        if name not in numbers:
            raise ConfigError(
                f"{where}: {loss} has no such number to search{nearest(name, numbers)} (it has: {', '.join(numbers) or 'none'})"
            )
        _check_range(where, span, numbers[name].low, numbers[name].high, numbers[name].unit)
        free[name] = numbers[name]
    # In the catalog's order, whatever the order in the file.
    own = [
        _loss_axis(parameter, ranges.get(name))
        for name, parameter in numbers.items()
        if name in free
    ]
    return (*own, *_recipe_axes(loss, recipe, recipe_ranges))


def _is_free_number(parameter: Hyperparameter) -> bool:
    number = isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)
    return number and not parameter.structural and not parameter.choices


def _loss_axis(parameter: Hyperparameter, span: Sequence[float] | None) -> Axis:
    low, high = span or (parameter.search_low, parameter.search_high)
    assert low is not None
    assert high is not None
    whole = isinstance(parameter.default, int)
    log = parameter.log and low > 0
    return Axis(parameter.name, "loss", low, high, log, whole, parameter.low, parameter.high)


def _recipe_axes(
    loss: str, recipe: Mapping[str, Any], ranges: Mapping[str, Sequence[float]]
) -> Iterator[Axis]:
    for name in (*RECIPE_AXES, "class_learning_rate"):
        if name in ranges:
            # Without class weights there is nothing that their learning rate would move.
            if name == "class_learning_rate" and "weight_norm" not in catalog.row(loss).recipe:
                continue
            low, high = ranges[name]
            _check_range(f"tune.recipe.{name}", ranges[name], None, None, "", above_zero=True)
        elif name in RECIPE_AXES and recipe[name] > 0:
            low, high = recipe[name] / RECIPE_FACTOR, recipe[name] * RECIPE_FACTOR
        elif name == "weight_decay":
            low, high = WEIGHT_DECAY
        else:
            continue
        yield Axis(name, "recipe", low, high, log=True)


def _check_range(
    where: str,
    span: Sequence[float],
    legal_low: float | None,
    legal_high: float | None,
    unit: str,
    *,
    above_zero: bool = False,
) -> None:
    low, high = span
    if not low < high:
        raise ConfigError(
            f"{where}: {list(span)} is not allowed (allowed: [low, high] with low below high)"
        )
    if above_zero and low <= 0:
        raise ConfigError(
            f"{where}: {list(span)} is not allowed (allowed: above 0; it is searched by its logarithm)"
        )
    if (legal_low is not None and low < legal_low) or (
        legal_high is not None and high > legal_high
    ):
        ends = [f"{end:g}" if end is not None else "…" for end in (legal_low, legal_high)]
        raise ConfigError(
            f"{where}: {list(span)} is outside the legal range (allowed: within [{ends[0]}, {ends[1]}], {unit})"
        )


def start_points(
    loss: str, fixed: Mapping[str, Any], axes: Sequence[Axis], recipe: Mapping[str, Any], most: int
) -> list[tuple[str, Point]]:
    """The points that a search begins with: the paper's defaults, then presets that differ in searched numbers alone.

    Returns
    -------
    At most `most` (but always the first) pairs of origin, ``default`` or ``preset <name>``, and point.
    """
    names = [axis.name for axis in axes if axis.of == "loss"]
    default = catalog.resolve(loss, fixed)

    def point(values: Mapping[str, Any]) -> Point:
        both = {**recipe, **values}
        # As numbers of one kind: 1 and 1.0 are the same learning rate, and would be written differently.
        return {axis.name: (int if axis.whole else float)(both[axis.name]) for axis in axes}

    points = [("default", point(default))]
    for preset in catalog.row(loss).presets:
        if not set(preset.values).isdisjoint(fixed):
            continue
        values = catalog.resolve(loss, {**fixed, "preset": preset.name})
        same = values.keys() == default.keys() and all(
            values[key] == default[key] for key in values if key not in names
        )
        if same and point(values) not in [known for _, known in points]:
            points.append((f"preset {preset.name}", point(values)))
    return points[: max(1, most)]
