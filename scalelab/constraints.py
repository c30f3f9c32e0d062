"""Relations that must hold between options: `"w_0 >= w_init"`."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scalelab.errors import StudyError, brief


def is_number(value: Any) -> bool:
    """Tells whether `value` is a finite number; a truth value is none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max}
_ALLOWED = "a comparison of option names and numbers with + - * / // % min() max()"


@dataclass(frozen=True, slots=True)
class Constraint:
    """A relation between options, such as `"w_0 >= w_init"` or `"8 <= width // groups <= 64"`.

    It is read into a tree and evaluated by us: no text of a study file is ever run as Python.

    Attributes:
        text: The relation as it was written.
        names: The options it speaks of.
    """

    text: str
    names: frozenset[str]
    _tree: ast.Compare = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Reads a relation.

        Raises:
            StudyError: It is not a comparison of option names and numbers.
        """
        if not isinstance(text, str) or len(text) > 500:
            raise StudyError(f"{brief(text)}: a constraint is a string of at most 500 characters")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise StudyError(f"{brief(text)}: must be {_ALLOWED}") from None
        if not isinstance(tree, ast.Compare):
            raise StudyError(f"{brief(text)}: must be {_ALLOWED}")
        names: set[str] = set()
        for side in (tree.left, *tree.comparators):
            _check(side, text, names)
        if not names or not all(type(op) in _COMPARISONS for op in tree.ops):
            raise StudyError(f"{brief(text)}: must be {_ALLOWED}")
        return cls(text, frozenset(names), tree)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Tells whether the relation holds; one that divides by zero does not.

        Raises:
            StudyError: An option that it names is not a number.
        """
        for name in self.names:
            if not is_number(values[name]):
                raise StudyError(
                    f"constraint {self.text!r}: {name} is {brief(values[name])}; only numbers are compared"
                )
        try:
            left = _value(self._tree.left, values)
            for compare, side in zip(self._tree.ops, self._tree.comparators, strict=True):
                right = _value(side, values)
                if not _COMPARISONS[type(compare)](left, right):
                    return False
                left = right
        except (ZeroDivisionError, OverflowError):
            return False
        return True


def _check(node: ast.expr, text: str, names: set[str]) -> None:
    """Refuses everything that `_value` does not evaluate, and collects the names."""
    match node:
        case ast.Constant(value=value) if is_number(value):
            parts: list[ast.expr] = []
        case ast.Name(id=name):
            names.add(name)
            parts = []
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            parts = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            parts = [left, right]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and len(args) > 1:
            parts = args
        case _:
            raise StudyError(f"{brief(text)}: {brief(ast.unparse(node))} is not allowed; must be {_ALLOWED}")
    for part in parts:
        _check(part, text, names)


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(operand=operand):
            return -_value(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(item, values) for item in args))
    raise AssertionError(f"{ast.dump(node)} was not refused by _check")
