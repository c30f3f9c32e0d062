"""A formula as text, read into a tree: numbers, names, `+ - * / ^`, brackets and a few functions.

The parser is our own, so that a text is never anything but a tree of these nodes or one clear error: nothing
is evaluated, looked up or imported while it is read. A column whose name is not a plain word stands in double
quotes, as in SQL. Differences and quotients are sums and products: `a - b` is
`a + -1*b`, and `a / b` is `a * b^-1`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from scalelab.errors import FitError, brief, suggest

FUNCTIONS = {"log": 1, "exp": 1, "sqrt": 1, "tanh": 1, "min": 2, "max": 2}
"""The functions that a formula may call, with how many arguments each takes."""

_MAX_TEXT, _MAX_DEPTH = 1000, 40
_TOKEN = re.compile(
    r'\s*(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[^\W\d_]\w*|"[^"]+"|\*\*|[-+*/^(),])'
)
_LEFT_SIDE = re.compile(r"\s*\w+\s*=(?!=)")
_WORD = re.compile(r"[^\W\d_]\w*")
_IS_FORMULA = re.compile(r"[+*/^()=\s]")


@dataclass(frozen=True)
class Number:
    """A number that stands in the formula."""

    value: float


@dataclass(frozen=True)
class Name:
    """An axis or a parameter."""

    name: str


@dataclass(frozen=True)
class Sum:
    """Terms that are added."""

    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Product:
    """Factors that are multiplied."""

    factors: tuple[Node, ...]


@dataclass(frozen=True)
class Power:
    """`base ^ exponent`."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Call:
    """One of `FUNCTIONS` with its arguments."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | Name | Sum | Product | Power | Call


def is_formula(text: str) -> bool:
    """Returns whether a text is a formula rather than the name of a law."""
    return bool(_IS_FORMULA.search(text))


def product(*nodes: Node) -> Node:
    """Returns the product of some nodes, in one list of factors."""
    factors = [own for node in nodes for own in (node.factors if isinstance(node, Product) else (node,))]
    return factors[0] if len(factors) == 1 else Product(tuple(factors))


def total(*nodes: Node) -> Node:
    """Returns the sum of some nodes, in one list of terms."""
    terms = [own for node in nodes for own in (node.terms if isinstance(node, Sum) else (node,))]
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def negative(node: Node) -> Node:
    """Returns a node times minus one, the sign in its leading number where it has one."""
    first, *rest = node.factors if isinstance(node, Product) else (node,)
    if not isinstance(first, Number):
        return product(Number(-1.0), node)
    if first.value == -1.0 and rest:
        return product(*rest)
    return product(Number(-first.value), *rest)


def names(node: Node) -> Iterator[str]:
    """Yields the names in a formula in the order in which they come, repeats included."""
    if isinstance(node, Name):
        yield node.name
    for child in children(node):
        yield from names(child)


def children(node: Node) -> tuple[Node, ...]:
    """Returns the nodes directly below one."""
    match node:
        case Sum(terms):
            return terms
        case Product(factors):
            return factors
        case Power(base, exponent):
            return base, exponent
        case Call(_, arguments):
            return arguments
    return ()


def parse(text: str) -> Node:
    """Reads a formula.

    Args:
        text: The right side of a law, such as `E + A*n_params^-alpha`; a left side as in `L = …` is dropped.

    Raises:
        FitError: It is not a formula; the message says where and what to do.
    """
    if len(text) > _MAX_TEXT:
        raise FitError(f"a formula has at most {_MAX_TEXT} characters, this one has {len(text)}; shorten it")
    left = _LEFT_SIDE.match(text)
    return _Parser(text[left.end() :] if left else text).whole()


class _Parser:
    """Recursive descent over tokens; every level of brackets, signs and powers counts toward the depth."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._tokens: list[str] = []
        self._at = self._depth = 0
        end = 0
        while end < len(self._text):
            found = _TOKEN.match(self._text, end)
            if found is None:
                raise self._error(f"{self._text[end:].strip()[0]!r} means nothing in a formula")
            self._tokens.append(found[0].strip())
            end = found.end()

    def _error(self, what: str) -> FitError:
        return FitError(
            f"formula {brief(self._text)}: {what}; a law is written like E + A*n_params^-alpha, "
            f"with {', '.join(FUNCTIONS)}"
        )

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if token not in wanted or not token:
            return ""
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if not self._take(wanted):
            raise self._error(f"expected {wanted!r}, got {self._peek() or 'its end'!r}")

    def whole(self) -> Node:
        node = self._sum()
        if self._peek():
            raise self._error(f"unexpected {self._peek()!r} after {brief(show(node), 40)}")
        return node

    def _sum(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"it is nested more than {_MAX_DEPTH} deep")
        terms = [self._product()]
        while sign := self._take("+", "-"):
            term = self._product()
            terms.append(term if sign == "+" else negative(term))
        self._depth -= 1
        return total(*terms)

    def _product(self) -> Node:
        factors = [self._signed()]
        while operator := self._take("*", "/"):
            factor = self._signed()
            factors.append(factor if operator == "*" else Power(factor, Number(-1.0)))
        return product(*factors)

    def _signed(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"it is nested more than {_MAX_DEPTH} deep")
        sign = self._take("+", "-")
        node = self._signed() if sign else self._power()
        self._depth -= 1
        return negative(node) if sign == "-" else node

    def _power(self) -> Node:
        base = self._atom()
        return Power(base, self._signed()) if self._take("^", "**") else base

    def _atom(self) -> Node:
        token = self._peek()
        self._at += 1
        if token == "(":
            node = self._sum()
            self._expect(")")
            return node
        if token and token[0] in ".0123456789":
            value = float(token)
            if not math.isfinite(value):
                raise self._error(f"the number {token} is too large")
            return Number(value)
        if token.startswith('"'):
            return Name(token[1:-1])
        if not _WORD.fullmatch(token):
            raise self._error(f"expected a number, a name or a bracket, got {token or 'its end'!r}")
        if self._peek() == "(":
            return self._call(token)
        if token in FUNCTIONS:
            raise self._error(f"{token} is a function: write {token}(…)")
        return Name(token)

    def _call(self, function: str) -> Node:
        if function not in FUNCTIONS:
            hint = suggest(function, FUNCTIONS)
            raise self._error(f"there is no function {function!r}{hint or '; write * to multiply'}")
        self._expect("(")
        arguments = [self._sum()]
        while self._take(","):
            arguments.append(self._sum())
        self._expect(")")
        if len(arguments) != FUNCTIONS[function]:
            raise self._error(f"{function} takes {FUNCTIONS[function]} argument(s), got {len(arguments)}")
        if function == "sqrt":
            return Power(arguments[0], Number(0.5))
        return Call(function, tuple(arguments))


def show(node: Node) -> str:
    """Returns the text of a formula, which reads back as the same tree."""
    match node:
        case Number(value):
            return repr(value).removesuffix(".0")
        case Name(name):
            plain = _WORD.fullmatch(name) and name not in FUNCTIONS
            return name if plain else f'"{name}"'
        case Call(function, arguments):
            return f"{function}({', '.join(map(show, arguments))})"
        case Sum(terms):
            first, *others = map(show, terms)
            signed = (f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in others)
            return first + "".join(signed)
        case Product(factors):
            return _show_product(factors)
        case Power(base, exponent):
            return f"{_bracketed(base)}^{_show_exponent(exponent)}"


def _show_product(factors: tuple[Node, ...]) -> str:
    first, second, *_ = factors
    if first == Number(-1.0) and not isinstance(second, Number):
        return "-" + (_show_product(factors[1:]) if len(factors) > 2 else _factor(second))
    text = _factor(first)
    for factor in factors[1:]:
        match factor:
            case Power(base, Number(-1.0)):
                text += f"/{show(base) if isinstance(base, Power) else _bracketed(base)}"
            case _:
                text += f"*{_factor(factor)}"
    return text


def _factor(node: Node) -> str:
    return f"({show(node)})" if isinstance(node, (Sum, Product)) else show(node)


def _show_exponent(node: Node) -> str:
    match node:
        case Number() | Power():
            return show(node)
        case Product((Number(-1.0), (Name() | Call() | Power()) as other)):
            return f"-{show(other)}"
    return _bracketed(node)


def _bracketed(node: Node) -> str:
    plain = isinstance(node, (Name, Call)) or (isinstance(node, Number) and not show(node).startswith("-"))
    return show(node) if plain else f"({show(node)})"
