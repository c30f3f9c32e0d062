"""The optimum of a law on some rows: the kernel that all inference varies.

Knows the rows, what was minimized over them, residuals and values, and nothing of uncertainty. Intervals,
refits, backtests and diagnostics are functions of it, in `scalelab.analysis.inference`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from scalelab.analysis.fitting.data import Table, check_scales, read_axes, refuse_misaligned
from scalelab.analysis.fitting.draws import Draws, Quantity, evaluate
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.search import Starts, search
from scalelab.analysis.fitting.solver import Problem
from scalelab.analysis.kept import Kept
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.jsonable import jsonable
from scalelab.law import Frame, Law

_FLAT = 1e-9
_STEP = 1e-5


@dataclass(frozen=True, eq=False)
class Point(Kept):
    """A law with its estimated parameters, and all that is needed to make them again. Never changes.

    Attributes:
        law: The law.
        params: Estimates by name, in the units of the data.
        objective: The summed, weighted penalty at the optimum.
        estimator: What was minimized.
        table: The rows, with their weights and groups.
        seed: Seed of everything random in this fit and, by default, in what is derived from it.
        starts: How many starting points there were and how many agree.
        theta: The internal parameters, shape (parameters,).
        frame: The change of units between the two.
    """

    law: Law
    params: dict[str, float]
    objective: float
    estimator: Estimator
    table: Table
    seed: int
    starts: Starts
    theta: Array = field(repr=False)
    frame: Frame = field(repr=False)

    json_fields: ClassVar = ("params", "objective", "provenance")

    @property
    def error(self) -> float:
        """Root mean square of the errors that the outcomes bring with them, as residuals; 0 without any."""
        own = self.table.errors
        if own is None:
            return 0.0
        linear = self.law.positive and not self.estimator.log
        return float(np.sqrt(np.mean((own * self.table.y if linear else own) ** 2 * self.table.weights)))

    @classmethod
    def of(cls, law: Law, table: Table, estimator: Estimator, seed: int = 0) -> Self:
        """Fits a law to rows that were checked already.

        Args:
            law: The law.
            table: The rows.
            estimator: What to minimize.
            seed: Seed of everything random.

        Raises:
            FitError: The rows cannot support the law; the message says why and what to do.
        """
        law = law.specialize(table.axes)
        frame = law.frame(Frame.of(table.columns, table.y, log_axes=law.log_axes))
        problem = Problem.of(law, frame.inward(table.columns), table.y, frame.y_scale, estimator)
        theta, objective, report = search(problem, table.weights, seed)
        if not np.isfinite(objective):
            raise FitError(f"law {law.name!r} could not be evaluated near these rows; check their units")
        _refuse_flat(problem, theta)
        params = {name: float(own[0]) for name, own in Draws(law, frame, theta[None]).params.items()}
        huge = [name for name, value in params.items() if not np.isfinite(value)]
        if huge:
            raise FitError(
                f"law {law.name!r} fits, but its {', '.join(huge)} is beyond what a number can hold; "
                "the rows hardly determine it: choose a simpler law, or axes in larger units"
            )
        return cls(law, params, objective, estimator, table, seed, report, theta, frame)

    @cached_property
    def problem(self) -> Problem:
        """The minimization that was solved, for whoever wants to solve variations of it."""
        u = self.frame.inward(self.table.columns)
        return Problem.of(self.law, u, self.table.y, self.frame.y_scale, self.estimator)

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 of the rows."""
        return self.table.digest()

    @property
    def residuals(self) -> Array:
        """Residuals in the space of the estimator (prediction minus outcome, or of logs), shape (n,)."""
        return np.asarray(self.problem.residuals(self.theta[None])[0][0])

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """The parameters whose internal value is an end of the law's box."""
        problem = self.problem
        reach = 1e-9 * (1.0 + np.abs(self.theta))
        held = (self.theta <= problem.lower + reach) | (self.theta >= problem.upper - reach)
        return tuple(name for name, flag in zip(self.law.params, held, strict=True) if flag)

    @property
    def irreducible(self) -> float | None:
        """What the law falls toward, where it has an irreducible loss."""
        return None if self.law.irreducible is None else self.params[self.law.irreducible]

    def draws(self, theta: Array | None = None) -> Draws:
        """Returns other parameter vectors of this law, shape (draws, parameters); default its own alone."""
        return Draws(self.law, self.frame, self.theta[None] if theta is None else theta)

    def inward(self, x: Any) -> tuple[Array, ...]:
        """Returns scales given as in `fit_law` in the internal coordinates of the law.

        A fit to a bare array takes an axis of any name, for nothing says what its own is.

        Raises:
            FitError: The axes are not those of the rows, or a scale is not positive.
        """
        refuse_misaligned(x)
        columns = read_axes(self.table.axes, x)
        check_scales(columns, positive=self.law.log_axes)
        return self.frame.inward(list(columns.values()))

    def value(self, x: Any) -> Array:
        """Returns the predicted outcomes at scales given as in `fit_law`, shape (n,)."""
        return np.asarray(self.draws().at(self.inward(x))[0])

    def scores(self, theta: Array, u: tuple[Array, ...]) -> Array:
        """Returns predictions in the space of the residuals, shape (draws, n).

        Args:
            theta: Internal parameters, shape (draws, parameters).
            u: Scales in internal coordinates, each of shape (n,).
        """
        return self.estimator.score(self.draws(theta).at(u))

    def estimate(self, quantity: Quantity) -> float:
        """Returns a quantity at the optimum."""
        return float(evaluate(quantity, self.draws())[0])

    def gradient(self, quantity: Quantity) -> Array:
        """Returns the derivative of a quantity by the internal parameters, shape (parameters,).

        Central differences: internal parameters are of order one, so that one step fits all.
        """
        size = self.theta.size
        step = _STEP * np.eye(size)
        values = evaluate(quantity, self.draws(np.concatenate([self.theta + step, self.theta - step])))
        return (values[:size] - values[size:]) / (2 * _STEP)

    def provenance(self) -> dict[str, Any]:
        """Returns what makes this fit reproducible: law, fixed values, estimator, data hash, seed, starts."""
        table = self.table
        return {
            "law": self.law.name,
            "equation": self.law.equation,
            "fixed": dict(self.law.fixed),
            "paper": self.law.paper,
            "estimator": self.estimator.name,
            "delta": self.estimator.delta,
            "n_rows": len(table),
            "axes": list(table.axes),
            "data_hash": self.data_hash,
            "weights": "equal" if np.ptp(table.weights) == 0 else "given",
            "n_groups": None if table.groups is None else int(table.groups.max()) + 1,
            "seed": self.seed,
            "starts_considered": self.starts.considered,
            "starts_refined": self.starts.refined,
            "starts_agreeing": self.starts.agreeing,
            "rows_in_search": self.starts.rows,
        }

    def to_json(self) -> str:
        """Returns parameters, objective and provenance as JSON with sorted keys."""
        return json.dumps(jsonable(self), sort_keys=True, indent=1)


def _refuse_flat(problem: Problem, theta: Array) -> None:
    """Raises where the best the law can do is a constant, or negative: it does not describe the outcome."""
    value = problem.law.value_jac(theta[None], problem.u)[0][0]
    if problem.estimator.log and (value <= 0).any():
        raise FitError(
            f"law {problem.law.name!r} falls to zero or below within these rows, whose losses are positive; "
            "choose another law, or the estimator mse or huber"
        )
    if np.ptp(value) > _FLAT * np.abs(value).max():
        return
    rising = max(np.corrcoef(column, problem.y)[0, 1] for column in problem.u) > 0.5
    hint = (
        "it rises with scale: if it is a bounded metric, fit its loss or 1 - metric, "
        "and chain the law 'sigmoid'"
        if rising
        else "its noise hides any trend: add scales further apart"
    )
    raise FitError(
        f"law {problem.law.name!r} cannot describe this outcome, which does not fall along the axes; {hint}"
    )
