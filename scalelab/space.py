"""Design spaces: what an option may be (the relations between options are `Constraint`s).

A `Dimension` maps a number drawn from [0, 1) to a value, and lists its values for a grid. Continuous values
are rounded to eight significant digits, so that a drawn value reads well and is the same on every machine
(the last bits of `exp` and `log` are not).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from typing import Any, ClassVar

from scalelab.constraints import Constraint, is_number
from scalelab.errors import InputError, StudyError, brief, suggest

__all__ = ["Choice", "Constraint", "Dimension", "Doubling", "Float", "Int", "parse_dimension"]

LARGEST = 2**53
"""Bounds beyond this are refused: not every whole number above it is a float."""


def _require(condition: bool, key: str, value: Any, problem: str) -> None:
    if not condition:
        raise InputError(f"{key} = {brief(value)}: {problem}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _tidy(value: float, low: float, high: float) -> float:
    """Rounds to eight significant digits without leaving [low, high]."""
    return min(max(float(f"{value:.8g}"), low), high)


def _index(u: float, count: int) -> int:
    return min(int(u * count), count - 1)


def _require_range(low: Any, high: Any, log: Any, valid: Callable[[Any], bool], kind: str) -> None:
    for key, value in (("low", low), ("high", high)):
        _require(valid(value), key, value, f"must be a {kind}")
        _require(abs(value) <= LARGEST, key, value, "must lie within ±2**53")
    _require(isinstance(log, bool), "log", log, "must be true or false")
    _require(low <= high, "high", high, f"must be at least low, which is {low}")
    _require(not log or low > 0, "low", low, "must be above 0 where log = true")


@dataclass(frozen=True, slots=True)
class Int:
    """Whole numbers from `low` to `high`, both included.

    Attributes:
        low: The least value.
        high: The greatest value (the last one below it where `step` does not hit it).
        step: Distance between values.
        log: Draw uniformly in the logarithm; the dimension then counts as continuous in a grid.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        _require_range(self.low, self.high, self.log, _is_int, "whole number")
        _require(
            _is_int(self.step) and self.step >= 1, "step", self.step, "must be a whole number of 1 or more"
        )
        _require(self.step == 1 or not self.log, "step", self.step, "cannot be combined with log = true")

    @property
    def continuous(self) -> bool:
        """Whether somebody has to say how many points a grid takes."""
        return self.log

    def size(self, n: int | None = None) -> int:
        """Returns how many values `grid` lists (at most, where `log` makes some coincide)."""
        every = (self.high - self.low) // self.step + 1
        return min(_points(self, n), every) if self.log else every

    def from_unit(self, u: float) -> int:
        """Returns the value at `u` in [0, 1)."""
        if not self.log:
            return self.low + self.step * _index(u, self.size())
        start, stop = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return min(max(round(math.exp(start + u * (stop - start))), self.low), self.high)

    def grid(self, n: int | None = None) -> list[int]:
        """Lists every value; with `log`, `n` values evenly spaced in the logarithm."""
        if not self.log:
            return list(range(self.low, self.high + 1, self.step))
        return sorted({round(value) for value in _spaced(self.low, self.high, _points(self, n), log=True)})


@dataclass(frozen=True, slots=True)
class Float:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: The least value.
        high: The greatest value (the last one below it where `step` does not hit it).
        step: Distance between values, or `None` for any value between.
        log: Draw uniformly in the logarithm.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        _require_range(self.low, self.high, self.log, is_number, "finite number")
        if self.step is not None:
            _require(is_number(self.step) and self.step > 0, "step", self.step, "must be a number above 0")
            _require(not self.log, "step", self.step, "cannot be combined with log = true")
            _require(self.size() <= LARGEST, "step", self.step, "is too small for the range")

    @property
    def continuous(self) -> bool:
        """Whether somebody has to say how many points a grid takes."""
        return self.step is None

    def size(self, n: int | None = None) -> int:
        """Returns how many values `grid` lists."""
        if self.step is None:
            return _points(self, n) if self.low < self.high else 1
        # Decimal, so that 1.1 to 3.0 by 0.1 has twenty values and none of them is 1.2000000000000002
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(self.step))) + 1

    def _at(self, index: int) -> float:
        return float(Decimal(str(self.low)) + index * Decimal(str(self.step)))

    def from_unit(self, u: float) -> float:
        """Returns the value at `u` in [0, 1)."""
        if self.step is not None:
            return self._at(_index(u, self.size()))
        return _tidy(_between(self.low, self.high, u, log=self.log), float(self.low), float(self.high))

    def grid(self, n: int | None = None) -> list[float]:
        """Lists every step; without `step`, `n` evenly spaced values, the ends among them."""
        if self.step is not None:
            return [self._at(index) for index in range(self.size())]
        low, high = float(self.low), float(self.high)
        return [_tidy(value, low, high) for value in _spaced(low, high, self.size(n), log=self.log)]


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """One of a few values: strings, numbers, Booleans, or lists of these.

    Attributes:
        values: The values, without repetition; lists become tuples.
    """

    values: tuple[Any, ...]

    continuous: ClassVar[bool] = False
    """A grid takes every value."""

    def __init__(self, values: Any) -> None:
        _require(isinstance(values, (list, tuple)), "values", values, "must be a list")
        _require(len(values) > 0, "values", values, "must not be empty")
        frozen = tuple(_freeze(value) for value in values)
        for index, value in enumerate(frozen):
            _require(
                _plain(value),
                f"values[{index}]",
                value,
                "must be a string, a number, true or false, or a list",
            )
            twice = any(_same(value, other) for other in frozen[:index])
            _require(not twice, f"values[{index}]", value, "is listed twice")
        object.__setattr__(self, "values", frozen)

    def size(self, n: int | None = None) -> int:  # noqa: ARG002 - the same signature for every dimension
        """Returns the number of values."""
        return len(self.values)

    def from_unit(self, u: float) -> object:
        """Returns the value at `u` in [0, 1)."""
        return self.values[_index(u, len(self.values))]

    def grid(self, n: int | None = None) -> list[object]:  # noqa: ARG002
        """Lists every value."""
        return list(self.values)


@dataclass(frozen=True, slots=True)
class Doubling:
    """`low`, twice `low`, four times `low` … up to `high`.

    Attributes:
        low: The least value, 1 or more.
        high: No value is above it.
    """

    low: int
    high: int

    continuous: ClassVar[bool] = False
    """A grid takes every value."""

    def __post_init__(self) -> None:
        _require_range(self.low, self.high, False, _is_int, "whole number")
        _require(self.low >= 1, "low", self.low, "must be 1 or more")

    def size(self, n: int | None = None) -> int:  # noqa: ARG002
        """Returns the number of values."""
        return (self.high // self.low).bit_length()

    def from_unit(self, u: float) -> int:
        """Returns the value at `u` in [0, 1)."""
        return self.low << _index(u, self.size())

    def grid(self, n: int | None = None) -> list[int]:  # noqa: ARG002
        """Lists every value."""
        return [self.low << power for power in range(self.size())]


Dimension = Int | Float | Choice | Doubling


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, (str, bool)) or is_number(value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _points(dimension: Dimension, n: int | None) -> int:
    if n is None:
        raise InputError(f"{dimension} is continuous: say how many points a grid takes of it (sampling.n)")
    return n


def _between(low: float, high: float, u: float, *, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    return low + u * (high - low)


def _spaced(low: float, high: float, n: int, *, log: bool) -> Iterator[float]:
    """Yields `n` values from `low` to `high`; the middle where `n` is 1."""
    for index in range(n):
        yield _between(low, high, index / (n - 1) if n > 1 else 0.5, log=log)


_TYPES: dict[str, type[Dimension]] = {"int": Int, "float": Float, "choice": Choice, "doubling": Doubling}


def parse_dimension(value: Any, where: str = "dimension") -> Dimension:
    """Returns the dimension that a study file describes.

    Args:
        value: A table with `type` (`"int"`, `"float"`, `"choice"`, `"doubling"`) and the fields of
            that class; or a list, the values of a choice; or one text, number or truth value, a constant.
        where: The key that stands before every error message.

    Raises:
        StudyError: The value describes no dimension.
    """
    try:
        if not isinstance(value, Mapping):
            if isinstance(value, (list, tuple)):
                return Choice(value)
            if _plain(value):
                return Choice((value,))
            raise StudyError(f"{where} = {brief(value)}: must be a table with a type, a list or a constant")
        return _from_table(value, where)
    except StudyError:
        raise
    except InputError as error:
        raise StudyError(f"{where}.{error}") from None


def _from_table(table: Mapping[str, Any], where: str) -> Dimension:
    kinds = ", ".join(repr(kind) for kind in _TYPES)
    kind = table.get("type")
    if kind is None:
        raise StudyError(f"{where}.type: missing; give one of {kinds}")
    if not isinstance(kind, str) or kind not in _TYPES:
        near = suggest(kind, _TYPES) if isinstance(kind, str) else ""
        raise StudyError(f"{where}.type = {brief(kind)}: must be one of {kinds}{near}")
    given = {key: value for key, value in table.items() if key != "type"}
    known = {field.name: field.default for field in fields(_TYPES[kind])}
    for key in given:
        if key not in known:
            keys = ", ".join(known)
            raise StudyError(f"{where}.{key}: {kind!r} has no such key{suggest(key, known)}; it has {keys}")
    for key, default in known.items():
        if default is MISSING and key not in given:
            raise StudyError(f"{where}.{key}: missing; {kind!r} needs it")
    return _TYPES[kind](**given)
