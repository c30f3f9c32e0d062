"""Which values the parameters of a formula may take, from where they stand in it.

============  ================================================================  ===========================
kind          where it stands                                                   values
============  ================================================================  ===========================
rate          in an exponent                                                    [0, 10] under a minus or on
                                                                                `1/x`, else [-10, 10]; at
                                                                                least 0.001 as a divisor
constant      a term of its own in the formula                                  zero or more, and at most the
                                                                                largest outcome if nothing is
                                                                                subtracted; any where an
                                                                                outcome is negative
coefficient   a factor of, or a term beside, what is positive                   positive
free          a factor of, or a term beside, what may be negative (`log(x)`)    any
============  ================================================================  ===========================

A term that lowers the outcome is written with a minus. What stands in several places is what its first line
in this table says, and has the narrowest of its ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scalelab.analysis.laws.expression import Call, Name, Node, Number, Power, Product, Sum, children, names
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT

Kind = Literal["rate", "constant", "coefficient", "free"]
_ORDER: tuple[Kind, ...] = ("rate", "free", "coefficient", "constant")
_LEAST_DIVISOR = 1e-3
_SLOWEST, _FASTEST = 0.05, 2.5


@dataclass(frozen=True)
class Role:
    """What a parameter of a formula is.

    Attributes:
        kind: See the table of the module.
        low: Of a rate the lowest value.
        linear: Whether the formula is linear in it, as a coefficient or a constant.
    """

    kind: Kind
    low: float = -MAX_EXPONENT
    linear: bool = False

    def start(self, share: Array, reach: float) -> Array:
        """Returns values to start from: those of shares, from 0 to 1, of what is plausible.

        Args:
            share: Any shape.
            reach: How far from their center the axes reach, in logarithms.
        """
        middle = 2.0 * share - 1.0
        if self.kind != "rate":
            return middle * reach
        if self.low < 0:
            return np.sign(middle) * _SLOWEST * (_FASTEST / _SLOWEST) ** np.abs(middle)
        return _SLOWEST * (_FASTEST / _SLOWEST) ** share


def roles_of(formula: Node, axes: tuple[str, ...]) -> dict[str, Role]:
    """Returns the role of every parameter of a formula along these axes."""
    walk = _Walk(frozenset(axes))
    found: dict[str, Role] = {}
    for name, role in walk.formula(formula):
        other = found.get(name, role)
        kind = min(role.kind, other.kind, key=_ORDER.index)
        found[name] = Role(kind, max(role.low, other.low), role.linear)
    often = list(names(formula))
    return {
        name: Role(role.kind, role.low, role.linear and often.count(name) == 1)
        for name, role in found.items()
    }


def decays_to(formula: Node, axes: tuple[str, ...]) -> str | None:
    """Returns the constant that the formula ends at however large the axes; `None` where there is none."""
    terms = formula.terms if isinstance(formula, Sum) else (formula,)
    constants = [term.name for term in terms if isinstance(term, Name) and term.name not in axes]
    others = [term for term in terms if not isinstance(term, Name) or term.name in axes]
    falls = all(_falls(term, axes) for term in others)
    return constants[0] if len(constants) == 1 and falls else None


def _falls(term: Node, axes: tuple[str, ...]) -> bool:
    """Whether a term is a product of parameters and negative powers of axes."""
    along = 0
    for factor in _factors(term):
        match factor:
            case Power(Name(name), exponent) if name in axes:
                if not _is_negative(exponent) or set(names(exponent)) & set(axes):
                    return False
                along += 1
            case Name(name) if name not in axes:
                pass
            case Number(value) if value > 0:
                pass
            case _:
                return False
    return along > 0


def _factors(node: Node) -> tuple[Node, ...]:
    return node.factors if isinstance(node, Product) else (node,)


def _is_negative(node: Node) -> bool:
    """Whether a part is written with a minus."""
    return sum(isinstance(own, Number) and own.value < 0 for own in _factors(node)) % 2 == 1


def _signless(node: Node) -> bool:
    """Whether a part is positive, but for its sign, where its parameters are."""
    if isinstance(node, Call) and node.function in ("log", "tanh"):
        return False
    if isinstance(node, Power):
        return _signless(node.base)
    return node == Call("exp", children(node)) or all(map(_signless, children(node)))


_Found = Iterator[tuple[str, Role]]


class _Walk:
    """Walks a formula and tells what each occurrence of a parameter is."""

    def __init__(self, axes: frozenset[str]) -> None:
        self._axes = axes

    def _is_param(self, node: Node) -> bool:
        return isinstance(node, Name) and node.name not in self._axes

    def formula(self, node: Node) -> _Found:
        for term in node.terms if isinstance(node, Sum) else (node,):
            factors = [own for own in _factors(term) if not isinstance(own, Number)]
            if len(factors) == 1 and isinstance(factors[0], Name) and self._is_param(factors[0]):
                yield factors[0].name, Role("constant", linear=True)
            else:
                yield from self._product(factors, linear=True)

    def _product(self, factors: Sequence[Node], *, linear: bool = False) -> _Found:
        for place, factor in enumerate(factors):
            others = (*factors[:place], *factors[place + 1 :])
            if isinstance(factor, Name) and self._is_param(factor):
                kind: Kind = "coefficient" if all(map(_signless, others)) else "free"
                yield factor.name, Role(kind, linear=linear)
            else:
                yield from self._inner(factor)

    def _inner(self, node: Node, *, bare: Kind = "coefficient") -> _Found:
        """Walks what stands inside; a term of its own is of the kind `bare`."""
        match node:
            case Name(name) if self._is_param(node):
                yield name, Role(bare)
            case Sum(terms):
                kind: Kind = bare if all(map(_signless, terms)) else "free"
                for term in terms:
                    yield from self._inner(term, bare=kind)
            case Product(factors):
                own = [factor for factor in factors if not isinstance(factor, Number)]
                yield from self._inner(own[0], bare=bare) if len(own) == 1 else self._product(own)
            case Power(base, exponent):
                yield from self._inner(base)
                yield from self._exponent(exponent, falling=self._falling(base) != _is_negative(exponent))
            case Call(function, arguments):
                for argument in arguments:
                    yield from self._inner(argument, bare="free" if function in ("exp", "tanh") else bare)

    def _falling(self, base: Node) -> bool:
        """Whether a part falls as an axis grows, as `1/x` does."""
        match base:
            case Sum(terms):
                return any(map(self._falling, terms))
            case Product(factors):
                return any(map(self._falling, factors))
            case Power(own, Number(value)):
                return value < 0 and bool(set(names(own)) & self._axes)
        return False

    def _exponent(self, node: Node, *, falling: bool) -> _Found:
        """Walks an exponent; `falling` says whether the power falls where its rates are positive."""
        low = 0.0 if falling else -MAX_EXPONENT
        match node:
            case Name(name) if self._is_param(node):
                yield name, Role("rate", low)
            case Sum(terms):
                for term in terms:
                    yield from self._exponent(term, falling=falling and not _is_negative(term))
            case Product(factors):
                for place, factor in enumerate(factors):
                    others = (*factors[:place], *factors[place + 1 :])
                    yield from self._exponent(factor, falling=falling and all(map(_signless, others)))
            case Power(base, Number(value)) if value < 0:
                for name in names(base):
                    if name not in self._axes:
                        yield name, Role("rate", _LEAST_DIVISOR)
            case _:
                for name in names(node):
                    if name not in self._axes:
                        yield name, Role("rate")
