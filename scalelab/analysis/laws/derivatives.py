"""A formula's values with its derivatives by the parameters: forward mode over batches of parameter vectors.

What is positive is evaluated in logarithms: a product of powers is the exponential of a sum, and a sum of
positive terms is added up without leaving logarithms, so that `(N_c/N)^(a/b)` cannot overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.analysis.laws.expression import Call, Name, Node, Number, Power, Product, Sum, children, product


@dataclass(frozen=True)
class Dual:
    """Values with their derivatives; numbers, or arrays that broadcast to (batch, n).

    Attributes:
        value: The values.
        slopes: By parameter, where it matters, the derivatives.
    """

    value: Any
    slopes: Mapping[int, Any]

    def __add__(self, other: Dual) -> Dual:
        """Returns the sum."""
        return Dual(self.value + other.value, _merged(self.slopes, other.slopes))

    def __mul__(self, other: Dual) -> Dual:
        """Returns the product."""
        slopes = _merged(_scaled(self.slopes, other.value), _scaled(other.slopes, self.value))
        return Dual(self.value * other.value, slopes)

    def chained(self, value: Any, slope: Any) -> Dual:
        """Returns a function of these values, given its values and its derivative by them."""
        return Dual(value, _scaled(self.slopes, slope))

    def exp(self) -> Dual:
        """Returns the exponential."""
        value = np.exp(self.value)
        return self.chained(value, value)

    def log(self) -> Dual:
        """Returns the logarithm."""
        return self.chained(np.log(self.value), 1.0 / self.value)


def _scaled(slopes: Mapping[int, Any], by: Any) -> dict[int, Any]:
    # A derivative of one stays a number until it meets an array: most products are spared so.
    return {i: by if isinstance(own, float) and own == 1.0 else own * by for i, own in slopes.items()}


def _merged(one: Mapping[int, Any], other: Mapping[int, Any]) -> dict[int, Any]:
    both = dict(one)
    for index, slope in other.items():
        both[index] = both[index] + slope if index in both else slope
    return both


Run = Callable[[Any, Any], Dual]
"""Evaluates a part of a formula at columns of parameters and columns of axes."""
_Line = dict[tuple[int | None, int | None], float]
"""A sum of multiples of a parameter, an axis in logarithms, or both: `{(parameter, axis): multiple}`."""


class Evaluator:
    """Turns a formula, or a part of one, into a function of internal coordinates.

    Args:
        axes: The names that are axes, in the order of the coordinates.
        params: The names that are parameters, in the order of the vectors.
        logs: Those of the parameters that enter as their logarithms.
    """

    def __init__(self, axes: tuple[str, ...], params: tuple[str, ...], logs: tuple[str, ...]) -> None:
        self._axes = {name: i for i, name in enumerate(axes)}
        self._params = {name: i for i, name in enumerate(params)}
        self._logs = frozenset(logs)
        self._known: dict[tuple[bool, Node], Run] = {}

    def positive(self, node: Node) -> bool:
        """Returns whether a part of the formula is positive whatever the parameters."""
        match node:
            case Number(value):
                return value > 0
            case Name(name):
                return name in self._axes or name in self._logs
            case Power(base, _):
                return self.positive(base)
            case Call("exp", _):
                return True
            case Call("log" | "tanh", _):
                return False
        return all(map(self.positive, children(node)))

    def value(self, node: Node) -> Run:
        """Returns the function that gives the value of a part of the formula, one for all equal parts."""
        return self._once(node, log=False)

    def log(self, node: Node) -> Run:
        """Returns the function that gives the logarithm of a part of the formula, likewise."""
        return self._once(node, log=True)

    def _once(self, node: Node, *, log: bool) -> Run:
        if (log, node) not in self._known:
            run = self._log(node) if log else self._value(node)
            self._known[log, node] = run if isinstance(node, (Name, Number)) else _remembered(run)
        return self._known[log, node]

    def _value(self, node: Node) -> Run:
        match node:
            case Number(number):
                # NumPy's numbers divide by zero and overflow without an exception, as its arrays do.
                constant = Dual(np.float64(number), {})
                return lambda _theta, _u: constant
            case Name(name) if name in self._params and name not in self._logs:
                index = self._params[name]
                return lambda theta, _u: Dual(theta[index], {index: 1.0})
            case Sum(terms):
                return _folded(Dual.__add__, map(self.value, terms))
            case Product(factors) if not self.positive(node):
                return self._product(factors)
            case Power(base, Number(exponent)) if exponent.is_integer() and not self.positive(base):
                return _whole_power(self.value(base), exponent)
            case Call(function, arguments):
                return _folded(_FUNCTIONS[function], map(self.value, arguments))
        log = self.log(node)
        return lambda theta, u: log(theta, u).exp()

    def _log(self, node: Node) -> Run:
        line = self._line(node)
        if line is not None:
            return _on_line(line)
        match node:
            case Power(base, exponent):
                return _folded(Dual.__mul__, (self.value(exponent), self.log(base)))
            case Product(factors) if self.positive(node):
                return _folded(Dual.__add__, map(self.log, factors))
            case Sum(terms) if self.positive(node):
                return _folded(_log_of_sum, map(self.log, terms))
            case Call("exp", (argument,)):
                return self.value(argument)
        value = self.value(node)
        return lambda theta, u: value(theta, u).log()

    def _product(self, factors: tuple[Node, ...]) -> Run:
        """Multiplies: what is positive in logarithms, the rest as it is."""
        positive = [own for own in factors if self.positive(own)]
        rest = [self.value(own) for own in factors if not self.positive(own)]
        together = [self.value(product(*positive))] if positive else []
        return _folded(Dual.__mul__, (*rest, *together))

    def _line(self, node: Node) -> _Line | None:
        """Returns the logarithm of a product of powers, where it is a line; most terms of laws are."""
        match node:
            case Number(value) if value > 0:
                return {(None, None): float(np.log(value))}
            case Name(name) if name in self._axes:
                return {(None, self._axes[name]): 1.0}
            case Name(name) if name in self._logs:
                return {(self._params[name], None): 1.0}
            case Product(factors):
                return _summed(map(self._line, factors))
            case Power(base, exponent):
                return self._line_of_power(base, exponent)
        return None

    def _line_of_power(self, base: Node, exponent: Node) -> _Line | None:
        line, times, rate = self._line(base), 1.0, None
        for factor in exponent.factors if isinstance(exponent, Product) else (exponent,):
            match factor:
                case Number(value):
                    times *= value
                case Name(name) if rate is None and name in self._params and name not in self._logs:
                    rate = self._params[name]
                case _:
                    return None
        if line is None or (rate is not None and any(param is not None for param, _ in line)):
            return None
        return {(param if rate is None else rate, axis): times * own for (param, axis), own in line.items()}


def _remembered(run: Run) -> Run:
    """Returns a function that calculates once where it is asked twice: a formula may repeat a part."""
    last: list[Any] = [None, None, None]

    def again(theta: Any, u: Any) -> Dual:
        if last[0] is not theta or last[1] is not u:
            last[:] = theta, u, run(theta, u)
        found: Dual = last[2]
        return found

    return again


def _summed(lines: Iterable[_Line | None]) -> _Line | None:
    whole: _Line = {}
    for line in lines:
        if line is None:
            return None
        for key, own in line.items():
            whole[key] = whole.get(key, 0.0) + own
    return whole


def _on_line(line: _Line) -> Run:
    def run(theta: Any, u: Any) -> Dual:
        value: Any = 0.0
        slopes: dict[int, Any] = {}
        for (param, axis), times in line.items():
            slope = times if axis is None else times * u[axis]
            if param is None:
                value = value + slope
            else:
                value = value + theta[param] * slope
                slopes[param] = slopes[param] + slope if param in slopes else slope
        return Dual(value, slopes)

    return run


def _folded(join: Callable[..., Dual], runs: Iterable[Run]) -> Run:
    first, *others = runs
    if not others:
        return first if join in (Dual.__add__, Dual.__mul__) else lambda theta, u: join(first(theta, u))

    def run(theta: Any, u: Any) -> Dual:
        found = first(theta, u)
        for other in others:
            found = join(found, other(theta, u))
        return found

    return run


def _whole_power(base: Run, exponent: float) -> Run:
    def run(theta: Any, u: Any) -> Dual:
        own = base(theta, u)
        return own.chained(own.value**exponent, exponent * own.value ** (exponent - 1.0))

    return run


def _log_of_sum(one: Dual, other: Dual) -> Dual:
    value = np.logaddexp(one.value, other.value)
    first, second = (_scaled(own.slopes, np.exp(own.value - value)) for own in (one, other))
    return Dual(value, _merged(first, second))


def _tanh(own: Dual) -> Dual:
    value = np.tanh(own.value)
    return own.chained(value, 1.0 - value * value)


def _chosen(one: Dual, other: Dual, first: Any) -> Dual:
    value = np.where(first, one.value, other.value)
    return Dual(value, _merged(_scaled(one.slopes, 1.0 * first), _scaled(other.slopes, 1.0 - first)))


_FUNCTIONS: dict[str, Callable[..., Dual]] = {
    "exp": Dual.exp,
    "log": Dual.log,
    "tanh": _tanh,
    "min": lambda one, other: _chosen(one, other, one.value <= other.value),
    "max": lambda one, other: _chosen(one, other, one.value >= other.value),
}
