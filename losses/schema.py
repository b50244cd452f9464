"""Losses and their hyper-parameters as data: the catalog's row types and the check of a value.

No torch."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Literal

Value = float | int | bool | str
Kind = Literal["classifier", "embedding", "joint"]
Sampler = Literal["shuffled", "balanced"]


class CatalogError(ValueError):
    """A loss or hyper-parameter that the catalog does not allow.

    Attributes
    ----------
    key : str or None
        ``"loss"`` or ``"<loss>.<hyper-parameter>"``.
    value : object
        What was given.
    """

    def __init__(self, message: str, *, key: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.key = key
        self.value = value

    @classmethod
    def about(cls, key: str, value: object, problem: str) -> CatalogError:
        """The error ``"<key> = <value>: <problem>"``."""
        return cls(f"{key} = {written(value)}: {problem}", key=key, value=value)


def written(value: object) -> str:
    """A value as a study file has it, text in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else repr(value)


def nearest(name: object, allowed: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the closest allowed spelling, else an empty string."""
    matches = difflib.get_close_matches(str(name).lower(), list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def finite(key: str, value: Real | float) -> float:
    """The number as a float; an error where it is none, or too large for one."""
    with contextlib.suppress(OverflowError):
        number = float(value)
        if math.isfinite(number):
            return number
    raise CatalogError.about(key, value, "must be finite")


@dataclass(frozen=True)
class Hyperparameter:
    """One hyper-parameter of a loss.

    Attributes
    ----------
    name : str
        The constructor argument, and the buffer's name where it is a number.
    unit : str
        ``radian``, ``cosine``, ``factor``, ``distance``, ``scale``, ``weight``, ``option`` ...
    default : float, int, bool or str
        The paper's value. Its type is the type that values must have.
    low, high : float or None
        Legal range of a number, both ends allowed.
    search_low, search_high : float or None
        Range that a tuner searches; None: not tuned.
    log : bool
        Search on a logarithmic axis.
    choices : tuple
        The only legal values, where there are few.
    structural : bool
        It changes the computation's shape (a rule, a mode), so experiments that differ in it cannot
        be stacked. All others are numbers in buffers.
    meaning : str
        One line for the docs and for messages.
    only_if : tuple of (str, values) or None
        The hyper-parameter has an effect only where another one has one of these values; elsewhere
        it is not part of the loss.
    below : str or None
        Another hyper-parameter, which has to be greater.
    """

    name: str
    unit: str
    default: Value
    low: float | None = None
    high: float | None = None
    search_low: float | None = None
    search_high: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    structural: bool = False
    meaning: str = ""
    only_if: tuple[str, tuple[Value, ...]] | None = None
    below: str | None = None

    def check(self, loss: str, value: object) -> Value:
        """The value in its own type (an int becomes a float where the default is one).

        Raises
        ------
        CatalogError
            Wrong type, not finite, outside the legal range, or not one of the choices.
        """
        key = f"{loss}.{self.name}"
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise CatalogError.about(key, value, "must be true or false")
            return value
        if isinstance(self.default, str):
            allowed = [str(choice) for choice in self.choices]
            if not isinstance(value, str) or value not in allowed:
                near = nearest(value, allowed)
                raise CatalogError.about(key, value, f"must be one of {', '.join(allowed)}{near}")
            return value
        return self._check_number(key, value)

    def _check_number(self, key: str, value: object) -> float | int:
        if isinstance(value, bool) or not isinstance(value, Real):
            found = "null" if value is None else type(value).__name__
            raise CatalogError.about(key, value, f"must be one number ({self.unit}), not {found}")
        number = finite(key, value)
        if self.choices:
            if number not in self.choices:
                allowed = ", ".join(str(choice) for choice in self.choices)
                raise CatalogError.about(key, value, f"must be one of {allowed} ({self.unit})")
            return int(number) if isinstance(self.default, int) else number
        whole = isinstance(self.default, int)
        if whole and not number.is_integer():
            raise CatalogError.about(key, value, f"must be a whole number ({self.unit})")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= number <= high:
            problem = f"must be in [{low:g}, {high:g}] ({self.unit})"
            if self.unit == "radian" and number > high:
                problem += f"; if that is degrees, write {math.radians(number):.4g}"
            raise CatalogError.about(key, value, problem)
        return int(number) if whole else number


@dataclass(frozen=True)
class Preset:
    """A named setting of a loss, as a famous code base or a paper's other experiment has it.

    Attributes
    ----------
    name, source : str
        Key in configs (``preset: <name>``), and where the values stand.
    values : dict of str to value
        Hyper-parameters that differ from the defaults.
    """

    name: str
    source: str
    values: dict[str, Value]


@dataclass(frozen=True)
class LossRow:
    """One loss of the catalog.

    Attributes
    ----------
    name, title : str
        Key in configs, and name in tables.
    paper, year, arxiv : str, int, str
        Source of the formula; arxiv is empty where there is none.
    target : str
        ``"module:Class"``.
    kind : {"classifier", "embedding", "joint"}
        Class weights only, embeddings only, or both.
    sampler : {"shuffled", "balanced"}
        Batches the loss needs.
    hyperparameters : tuple of Hyperparameter
        In the order of the docs.
    presets : tuple of Preset
        Other famous settings.
    recipe : tuple of str
        Settings of the recipe that the constructor takes: ``label_smoothing`` where there is a
        cross-entropy, ``weight_norm`` where there are class weights.
    single_rows : bool
        Class weights are one row a class; False: several.
    unsampled : bool or (str, value)
        No step can train on some of its classes alone (``losses.class_sampling``), or none where
        this hyper-parameter has this value.
    stacked : bool
        Models of a stack are computed as one batch; False: model by model, in a loop.
    notes : str
        Where the paper can be read in two ways, and which is the default.
    parts : tuple of str
        Of a weighted sum: its parts, in their order.
    """

    name: str
    title: str
    paper: str
    year: int
    arxiv: str
    target: str
    kind: Kind
    sampler: Sampler = "shuffled"
    hyperparameters: tuple[Hyperparameter, ...] = ()
    presets: tuple[Preset, ...] = ()
    recipe: tuple[str, ...] = ("label_smoothing", "weight_norm")
    single_rows: bool = True
    unsampled: bool | tuple[str, Value] = False
    stacked: bool = True
    notes: str = ""
    parts: tuple[str, ...] = ()
