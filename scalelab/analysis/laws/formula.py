"""A law from one line of text, over any axes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import lru_cache

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.derivatives import Evaluator, Run
from scalelab.analysis.laws.expression import Node, names, parse, show
from scalelab.analysis.laws.roles import Role, decays_to, roles_of
from scalelab.analysis.laws.starts import mesh, solve_linear
from scalelab.analysis.laws.units import OUTCOME, Unit, infer
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import MAX_EXPONENT, Frame, Law

_LARGEST_LOG, _LARGEST = 60.0, 1e4
_NODES = {1: 24, 2: 9, 3: 9}
_DRAWN = 1000
_CELLS = 1_000_000
_OVERFLOW = 1e100
_UNRELATED = 1e-9
_SHARE = 0.05


class Formula(Law):
    """A law that is written as a formula, such as `E + A*n_params^-alpha + B*n_examples^-beta*experts^-c`.

    Names that are axes are its axes, all others its parameters. `scalelab.analysis.laws.roles` says which
    values each parameter may take from where it stands. Derivatives are exact; starting points solve for what
    the formula is linear in, over a grid of the rest.

    Internal parameters: logarithms of coefficients, everything else as it is, in the units in which the axes
    are centered and the outcome is of order one, see `scalelab.analysis.laws.units`.

    >>> import scalelab
    >>> x = {"n_params": [1e6, 1e7, 1e8, 1e9] * 3, "n_experts": [1] * 4 + [4] * 4 + [16] * 4}
    >>> y = [1.5 + 300 * n**-0.4 * k**-0.1 for n, k in zip(*x.values())]
    >>> fit = scalelab.fit_law("E + A * n_params^-alpha * n_experts^-beta", x, y)
    >>> {name: round(value, 4) for name, value in fit.params.items()}
    {'E': 1.5, 'A': 300.0, 'alpha': 0.4, 'beta': 0.1}
    """

    paper = "a formula of one's own"
    axes: tuple[str, ...] = ("...",)
    params: tuple[str, ...] = ()
    positive = False
    _roles: dict[str, Role]
    _linear: tuple[str, ...]
    _free: frozenset[str]
    _units: dict[str, Unit]
    _evaluator: Evaluator
    _run: Run
    _adds: bool

    def __init__(self, tree: Node, axes: tuple[str, ...] = ("...",)) -> None:
        """Makes the law along axes of these names; by default for any of the names in it.

        Raises:
            FitError: An axis is not in the formula, or what is left of it determines no law.
        """
        self.tree = tree
        self.name = show(tree)
        self.equation = f"L = {self.name}"
        self.names = tuple(dict.fromkeys(names(tree)))
        if not self.names:
            raise FitError(f"law {self.name!r} is a constant; it needs an axis and a parameter")
        if axes != ("...",):
            self._over(axes)

    def _over(self, axes: tuple[str, ...]) -> None:
        unused = [axis for axis in axes if axis not in self.names]
        if unused:
            raise FitError(
                f"law {self.name!r} does not mention the axis {unused[0]!r} (its names: "
                f"{', '.join(self.names)}); write it into the formula, or leave it out of x"
            )
        if not axes:
            raise FitError(f"law {self.name!r} names no axis; its names are {', '.join(self.names)}")
        self.axes = axes
        self.params = tuple(name for name in self.names if name not in axes)
        if not self.params:
            raise FitError(f"law {self.name!r} has no parameter: all its names are axes; add one to fit")
        self._roles = roles_of(self.tree, axes)
        self.exponents = tuple(name for name in self.params if self._roles[name].kind == "rate")
        self.coefficients = tuple(name for name in self.params if self._roles[name].kind == "coefficient")
        self._evaluator = Evaluator(axes, self.params, self.coefficients)
        self._run = self._evaluator.value(self.tree)
        constants = {name for name, role in self._roles.items() if role.kind == "constant"}
        self._adds = Evaluator(axes, (), (*self.coefficients, *constants)).positive(self.tree)
        rates = frozenset(self.exponents)
        self._free, self._units = infer(self.tree, axes, rates, self._same)
        self.irreducible = decays_to(self.tree, axes)
        self._linear = tuple(name for name in self.params if self._roles[name].linear)
        _refuse_unrelated(self)
        self.n_starts = {0: 8, 1: 8, 2: 8, 3: 16}.get(len(self.params) - len(self._linear), 32)

    def _same(self, one: Node, other: Node) -> bool:
        at = np.random.default_rng(1).uniform(0.2, 2.0, (3, len(self.params)))
        first, second = (self._constant(node, at) for node in (one, other))
        return bool(np.allclose(first, second, rtol=1e-9, atol=1e-12))

    def _constant(self, node: Node, theta: Array) -> Array:
        """Returns a part without axes at parameters of shape (..., parameters), which may be complex."""
        columns = [theta[..., index] for index in range(len(self.params))]
        with np.errstate(all="ignore"):
            return np.asarray(self._evaluator.value(node)(columns, ()).value)

    @override
    def takes(self, axes: Sequence[str]) -> bool:
        if self.params:
            return sorted(axes) == sorted(self.axes)
        return len(axes) > 0 and set(axes) <= set(self.names) and len(axes) < len(self.names)

    @override
    def specialize(self, axes: tuple[str, ...]) -> Law:
        return self if axes == self.axes else specialized(self.tree, axes)

    @override
    def suited(self, axes: tuple[str, ...], y: Array) -> Law:
        law = copy(specialized(self.tree, axes))
        law.positive = bool((y > 0).all())
        if not law.positive and law._evaluator.positive(self.tree):
            row = int(np.flatnonzero(y <= 0)[0])
            raise FitError(
                f"law {self.name!r} is always positive, and row {row} has a loss of {y[row]:g}; "
                "add a constant to the formula, which may be negative"
            )
        return law

    @override
    def frame(self, frame: Frame) -> Frame:
        kept = zip(self.axes, frame.centers, strict=True)
        centers = tuple(center if axis in self._free else 0.0 for axis, center in kept)
        return Frame(centers, frame.units, frame.y_scale if OUTCOME in self._free else 1.0)

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        columns = [theta[:, index : index + 1] for index in range(len(self.params))]
        # A formula may have no value far out in its box; the search then goes elsewhere.
        with np.errstate(all="ignore"):
            found = self._run(columns, u)
        shape = (len(theta), np.shape(u[0])[-1])
        value = found.value if np.shape(found.value) == shape else np.broadcast_to(found.value, shape).copy()
        jac = np.empty((shape[0], len(self.params), shape[1]))
        for index in range(len(self.params)):
            jac[:, index] = found.slopes.get(index, 0.0)
        return value, jac

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        # An axis in its own units reaches far from zero, and so do the coefficients that undo it.
        far = _LARGEST_LOG + MAX_EXPONENT * max(abs(float(column.mean())) for column in u)
        box = {"coefficient": (-far, far), "free": (-_LARGEST, _LARGEST)}
        top = float(y.max()) if self._adds else _LARGEST
        box["constant"] = (0.0, top) if self.positive else (-_LARGEST, _LARGEST)
        roles = [self._roles[name] for name in self.params]
        ends = [(own.low, MAX_EXPONENT) if own.kind == "rate" else box[own.kind] for own in roles]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = self._nodes(u)
        linear = [self.params.index(name) for name in self._linear]
        value, jac = self.value_jac(nodes, u)
        known = np.abs(value).max(axis=1) + np.abs(jac).max(axis=(1, 2)) < _OVERFLOW
        if not known.any():
            raise FitError(
                f"law {self.name!r} has no value, or a huge one, near these rows; check its numbers"
            )
        nodes, value, basis = np.array(nodes[known]), value[known], jac[known][:, linear]
        if not linear:
            return nodes
        # With coefficients of one and constants of zero the derivatives are what is multiplied.
        is_log = np.array([name in self.coefficients for name in self._linear])
        fixed = value - np.einsum("k,bkn->bn", 1.0 * is_log, basis)
        low, high = (end[linear] for end in self.bounds(u, y))
        weights = np.ones_like(y)
        if self.positive:
            weights = y**-2.0
        if self.positive and self._adds:
            kinds = np.array([self._roles[name].kind for name in self._linear])
            high = np.where(kinds == "constant", 0.99 * y.min(), high)
        found = solve_linear(basis, y - fixed, weights)
        if not is_log.all():
            found[:, ~is_log] = np.clip(found, low, high)[:, ~is_log]
            rest = y - fixed - np.einsum("bk,bkn->bn", found[:, ~is_log], basis[:, ~is_log])
            if is_log.any():
                found[:, is_log] = solve_linear(basis[:, is_log], rest, weights)
        found[:, is_log] = np.log(np.maximum(found[:, is_log], 1e-4))
        nodes[:, linear] = np.where(np.isfinite(found), found, 0.0)
        return nodes

    def _nodes(self, u: Sequence[Array]) -> Array:
        """Returns a grid over what the formula is not linear in, or draws where that is too much."""
        others = [name for name in self.params if name not in self._linear]
        n = u[0].size
        nodes = np.zeros((1, 0))
        if 0 < len(others) <= len(_NODES):
            count = min(_NODES[len(others)], max(3, int((_CELLS / n) ** (1 / len(others)))))
            places = np.linspace(0.0, 1.0, count)
            nodes = mesh(*[places] * len(others))
        elif others:
            draws = min(_DRAWN, max(100, _CELLS // n))
            nodes = np.random.default_rng(0).uniform(size=(draws, len(others)))
        theta = np.zeros((len(nodes), len(self.params)))
        reach = 2.0 + max(float(np.abs(column).max()) for column in u)
        for index, name in enumerate(others):
            theta[:, self.params.index(name)] = self._roles[name].start(nodes[:, index], reach)
        return theta

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        logs = {OUTCOME: np.log(frame.y_scale), **dict(zip(self.axes, frame.centers, strict=True))}
        out = []
        for index, name in enumerate(self.params):
            moved = sum(
                (
                    self._constant(power, theta) * logs[key]
                    for key, power in self._units.get(name, {}).items()
                ),
                start=0.0,
            )
            own = theta[..., index]
            if name in self.coefficients:
                out.append(np.exp(own + moved))
            else:
                out.append(own * np.exp(moved) if self._units.get(name) else own)
        return np.stack(out, axis=-1)


@lru_cache(maxsize=64)
def specialized(tree: Node, axes: tuple[str, ...]) -> Formula:
    """Returns the law of a formula along axes, made once."""
    return Formula(tree, axes)


def formula(text: str) -> Formula:
    """Returns the law of a text.

    Raises:
        FitError: The text is not a formula, or a constant.
    """
    return Formula(parse(text))


def _refuse_unrelated(law: Formula) -> None:
    """Raises where no runs tell parameters apart: those of `A*B*x^-c`, or of a misspelt axis."""
    rng = np.random.default_rng(2)
    worst: tuple[float, Array] | None = None
    with np.errstate(all="ignore"):
        for _ in range(3):
            u = tuple(rng.uniform(-2.0, 2.0, 64) for _ in law.axes)
            theta = rng.uniform(0.2, 1.5, (1, len(law.params)))
            jac = law.value_jac(theta, u)[1][0]
            if not np.isfinite(jac).all():
                continue
            jac /= np.maximum(np.linalg.norm(jac, axis=1, keepdims=True), 1e-300)
            _, sizes, rows = np.linalg.svd(jac.T, full_matrices=False)
            if worst is None or sizes[-1] > worst[0]:
                worst = float(sizes[-1]), rows[-1]
    if worst is not None and worst[0] < _UNRELATED:
        mixed = [name for name, share in zip(law.params, np.abs(worst[1]), strict=True) if share > _SHARE]
        raise FitError(
            f"law {law.name!r} cannot tell its parameter(s) {', '.join(mixed)} apart or from nothing, "
            "whatever the runs: write one for all, or correct the name of an axis (its axes: "
            f"{', '.join(law.axes)})"
        )
