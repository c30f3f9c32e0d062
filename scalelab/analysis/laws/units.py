"""The units of a formula's parameters: what centering the axes and scaling the outcome does to each.

In `L = E + A*x^-alpha` with x in units of s and L in units of t, E is in t and A in t*s^alpha. Followed from
the outcome down, that gives every parameter its change between the units of the data and internal ones. Where
a formula fixes a scale itself, as `(1 + x)^-a` or `log(x)` does that of x, the axis keeps its own units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalelab.analysis.laws.expression import (
    Call,
    Name,
    Node,
    Number,
    Power,
    Product,
    Sum,
    names,
    product,
    total,
)

OUTCOME = ""
"""The outcome, among the names of axes."""
Unit = Mapping[str, Node]
"""By axis or `OUTCOME`, the power to which its unit is raised: a formula of the dimensionless parameters."""


def infer(
    formula: Node,
    axes: tuple[str, ...],
    rates: frozenset[str],
    equal: Callable[[Node, Node], bool],
) -> tuple[frozenset[str], dict[str, Unit]]:
    """Finds the units of the parameters.

    Args:
        formula: The law.
        axes: Its axes.
        rates: The parameters of exponents, which have no unit.
        equal: Whether two formulas of these are the same.

    Returns:
        Which of the axes and `OUTCOME` may be given other units, and the unit of each parameter then.
    """
    free = {*axes, OUTCOME}
    while True:
        pass_ = _Pass(frozenset(axes), free, rates, equal)
        pass_.force(formula, {OUTCOME: Number(1.0)} if OUTCOME in free else {})
        if not pass_.clashes:
            return frozenset(free), pass_.units
        free -= pass_.clashes


class _Pass:
    """One walk from the outcome down; `clashes` are the names whose units the formula fixes itself."""

    def __init__(
        self,
        axes: frozenset[str],
        free: set[str],
        rates: frozenset[str],
        equal: Callable[[Node, Node], bool],
    ) -> None:
        self._axes, self._free, self._equal = axes, free, equal
        self.units: dict[str, Unit] = {name: {} for name in rates}
        self.clashes: set[str] = set()

    def unit(self, node: Node) -> Unit | None:
        """Returns the unit that a part has, or `None` where a parameter can give it any."""
        match node:
            case Name(name) if name in self._axes:
                return {name: Number(1.0)} if name in self._free else {}
            case Name(name):
                return self.units.get(name)
            case Sum(terms) | Call("min" | "max", terms):
                return next((own for own in map(self.unit, terms) if own is not None), None)
            case Product(factors):
                result: Unit = {}
                for own in map(self.unit, factors):
                    if own is None:
                        return None
                    result = _times(result, own)
                return result
            case Power(base, exponent) if self._axes.isdisjoint(names(exponent)):
                own = self.unit(base)
                return None if own is None else _raised(own, exponent)
        return {}

    def force(self, node: Node, wanted: Unit) -> None:
        """Gives a part of the formula a unit through its parameters."""
        match node:
            case Name(name) if name not in self._axes and name not in self.units:
                self.units[name] = wanted
            case Sum(terms) | Call("min" | "max", terms):
                for term in terms:
                    self.force(term, wanted)
            case Product(factors):
                self._force_product(factors, wanted)
            case Power(base, exponent):
                self._force_power(base, exponent, wanted)
            case Call(_, arguments):
                for argument in arguments:
                    self.force(argument, {})
                self._compare({}, wanted)
            case _:
                self._compare(self.unit(node) or {}, wanted)

    def _force_product(self, factors: tuple[Node, ...], wanted: Unit) -> None:
        known = [own for own in factors if self.unit(own) is not None]
        open_ = [own for own in factors if self.unit(own) is None]
        rest = wanted
        for own in known:
            found = self.unit(own) or {}
            self.force(own, found)
            rest = _times(rest, _raised(found, Number(-1.0)))
        for own in open_[1:]:
            self.force(own, {})
        if open_:
            self.force(open_[0], rest)
        else:
            self._compare({}, rest)

    def _force_power(self, base: Node, exponent: Node, wanted: Unit) -> None:
        self.force(exponent, {})
        own = self.unit(base)
        if not self._axes.isdisjoint(names(exponent)):
            # A power that varies from row to row takes a pure number only.
            self.force(base, {})
            self._compare({}, wanted)
            return
        if own is None:
            self.force(base, _raised(wanted, Power(exponent, Number(-1.0))))
            return
        self.force(base, own)
        self._compare(_raised(own, exponent), wanted)

    def _compare(self, got: Unit, wanted: Unit) -> None:
        zero = Number(0.0)
        for name in {*got, *wanted}:
            if not self._equal(got.get(name, zero), wanted.get(name, zero)):
                self.clashes.add(name)


def _times(one: Unit, other: Unit) -> Unit:
    return {
        **one,
        **{name: total(one[name], power) if name in one else power for name, power in other.items()},
    }


def _raised(unit: Unit, exponent: Node) -> Unit:
    return {name: product(power, exponent) for name, power in unit.items()}
