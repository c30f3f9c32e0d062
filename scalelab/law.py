"""What a law is: a formula with its derivatives, bounds and starting points.

A new law costs a page: it names itself, gives the formula with its analytic derivatives, a box of allowed
values and a handful of starting points, and translates its parameters to the units of the data. Fitting,
intervals, selection criteria, diagnostics, tables and plots come from the shared machinery and are the same
for every law.

Laws work in *internal* coordinates, in which every problem looks alike: an axis `x` becomes
`u = log(x) - mean(log(x))` and the loss is divided by its geometric mean. Coefficients are then of order
one and hardly correlated with their exponents, whatever the units (parameters, billions of tokens, 1e30
FLOPs); the public parameters are recovered by `Law.public`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from scalelab.arrays import Array
from scalelab.errors import FitError

MAX_EXPONENT = 10.0
"""No measured exponent comes near it; a fit that stops here is reported as stopped at a bound."""


ALIASES = {"n_examples": "n_tokens"}
"""What else users call an axis."""


@dataclass(frozen=True)
class Frame:
    """The change of units between a data set and the internal coordinates of a law.

    Attributes:
        centers: For every axis what is subtracted from `log(x)` (from `x` itself if not `log_axes`).
        units: For every axis what the difference is divided by; one for logarithmic axes.
        y_scale: What the outcome is divided by.
        log_axes: Whether axes enter as logarithms.
    """

    centers: tuple[float, ...]
    units: tuple[float, ...]
    y_scale: float
    log_axes: bool = True

    @classmethod
    def identity(cls, n_axes: int, *, log_axes: bool = True) -> Frame:
        """Returns the frame in which internal and public units agree (but for logarithms)."""
        return cls((0.0,) * n_axes, (1.0,) * n_axes, 1.0, log_axes)

    @classmethod
    def of(cls, columns: Sequence[Array], y: Array, *, log_axes: bool = True) -> Frame:
        """Returns the frame that centers these data.

        Args:
            columns: One array of shape (n,) an axis.
            y: Outcomes, shape (n,).
            log_axes: Whether axes enter as logarithms; if not, they are standardized and `y` is kept.
        """
        if log_axes:
            centers = tuple(float(np.mean(np.log(column))) for column in columns)
            size = np.abs(y)
            y_scale = float(np.exp(np.mean(np.log(y)))) if (y > 0).all() else float(size.mean()) or 1.0
            return cls(centers, (1.0,) * len(centers), y_scale, True)
        centers = tuple(float(np.mean(column)) for column in columns)
        return cls(centers, tuple(float(np.std(column)) or 1.0 for column in columns), 1.0, False)

    def inward(self, columns: Sequence[Array]) -> tuple[Array, ...]:
        """Returns the axes in internal coordinates, each of the shape it came with."""
        raw = [np.log(column) if self.log_axes else np.asarray(column) for column in columns]
        moved = zip(raw, self.centers, self.units, strict=True)
        return tuple((column - center) / unit for column, center, unit in moved)


class Law(ABC):
    """One scaling law. Stateless: a law is a formula, a `Fit` is its result.

    Class attributes:
        name: How users ask for it, such as `"power-offset"`.
        equation: The formula in the public parameters, in plain text.
        paper: Where it comes from.
        axes: Names of its axes; `("x",)` stands for any one axis, `("...",)` for any number of axes.
        params: Names of the public parameters, in the order of every parameter vector.
        exponents: Those of `params` whose value is a rate with scale, the ones people compare.
        coefficients: Those of `params` that are positive and range over orders of magnitude.
        log_axes: Whether axes enter as logarithms.
        positive: Whether the outcome must be positive, so that log residuals exist.
        n_starts: How many starting points a fit refines.
        estimator: The only estimator that suits it; default any, as the user says.
        irreducible: Which of `params` the loss ends at however large the scale; default none of them.
        link: Whether it leads from a loss to another outcome, such as a bounded metric, and not from scales.
        fixed: Values that belong to it and are known, not fitted, by name; default none.
        axis_error: Relative error of its one, logarithmic axis in units of that of the outcome; default zero,
            an axis that is known exactly.
        in_auto: Whether `auto` considers it, where it is one of scalelab's own.
    """

    name: str
    equation: str
    paper: str
    axes: tuple[str, ...]
    params: tuple[str, ...]
    fixed: Mapping[str, float] = MappingProxyType({})
    axis_error: float = 0.0
    exponents: tuple[str, ...] = ()
    coefficients: tuple[str, ...] = ()
    log_axes: ClassVar[bool] = True
    positive: bool = True
    n_starts: int = 8
    estimator: ClassVar[str | None] = None
    irreducible: str | None = None
    link: ClassVar[bool] = False
    in_auto: ClassVar[bool] = False

    @abstractmethod
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        """Evaluates the law and its derivatives for a batch of parameter vectors.

        Args:
            theta: Internal parameters, shape (batch, parameters).
            u: Axes in internal coordinates, each of shape (n,), or of shape (batch, n) where every parameter
                vector has scales of its own.

        Returns:
            Values of shape (batch, n) and derivatives of shape (batch, parameters, n).
        """

    @abstractmethod
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        """Returns the lowest and highest internal parameters, each of shape (parameters,)."""

    @abstractmethod
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        """Returns starting points, shape (starts, parameters); they may lie outside of the bounds.

        Args:
            u: Axes in internal coordinates, each of shape (n,).
            y: Scaled outcomes, shape (n,).
        """

    @abstractmethod
    def public(self, theta: Array, frame: Frame) -> Array:
        """Translates internal to public parameters; analytic, so that it may be differentiated.

        Args:
            theta: Internal parameters, shape (..., parameters); may be complex.
            frame: The change of units.

        Returns:
            Public parameters in the units of the data, shape (..., parameters).
        """

    def internal(self, params: Array) -> Array:
        """Translates public parameters, shape (..., parameters), to internal ones of the identity frame.

        By default coefficients become their logarithms, and the other parameters stay what they are.
        """
        out = np.array(params, dtype=float)
        logs = [self.params.index(name) for name in self.coefficients]
        out[..., logs] = np.log(out[..., logs])
        return out

    def specialize(self, axes: tuple[str, ...]) -> Law:  # noqa: ARG002, for laws of any axes
        """Returns the law for axes of these names; laws with a fixed number of parameters are their own."""
        return self

    def suited(self, axes: tuple[str, ...], y: Array) -> Law:  # noqa: ARG002, for laws of any outcome
        """Returns the law for axes of these names and outcomes of shape (n,).

        Raises:
            FitError: It cannot describe such outcomes.
        """
        return self.specialize(axes)

    def takes(self, axes: Sequence[str]) -> bool:
        """Returns whether the law can be fitted along axes of these names, in whatever order."""
        if self.axes == ("...",):
            return len(axes) > 0
        if self.axes == ("x",):
            return len(axes) == 1
        return sorted(axes) in (sorted(self.axes), sorted(ALIASES.get(axis, axis) for axis in self.axes))

    def frame(self, frame: Frame) -> Frame:
        """Returns the change of units that this law wants, given the one that centers every axis."""
        return frame

    def covariance(self, u: Sequence[Array], y: Array) -> Array | None:  # noqa: ARG002, for laws that have one
        """Returns the law's own covariance of the internal parameters, shape (parameters, parameters).

        It is used where rows are independent and weigh alike. By default there is none, and covariances are
        those of M-estimation, see `scalelab.analysis.inference.covariance`.

        Args:
            u: Axes in internal coordinates, each of shape (n,).
            y: Scaled outcomes, shape (n,).
        """
        return None

    def optimal_split(self, theta: Array, frame: Frame) -> tuple[Array, Array] | None:  # noqa: ARG002, as above
        """Returns the best split of a budget: a and log G of `N = G * (N * D)^a`, both of shape (batch,).

        N is the number of parameters and D of examples, the law's axes in this order, that together have the
        lowest loss at a given N * D. By default the law does not say, and allocations are refused.

        Args:
            theta: Internal parameters, shape (batch, parameters).
            frame: The change of units.
        """
        return None

    def predict(self, params: Mapping[str, float], x: Mapping[str, Array]) -> Array:
        """Evaluates the law for public parameters.

        Args:
            params: a value for each of the law's parameters.
            x: Arrays of shape (n,) by axis.

        Returns:
            Outcomes, shape (n,).

        Raises:
            FitError: a parameter is missing or unknown.
        """
        law = self.specialize(tuple(x))
        if set(params) != set(law.params):
            raise FitError(
                f"law {self.name!r} has parameters {', '.join(law.params)}; got {', '.join(params)}"
            )
        columns = [np.asarray(column, dtype=float) for column in x.values()]
        frame = Frame.identity(len(columns), log_axes=self.log_axes)
        vector = np.array([[params[name] for name in law.params]], dtype=float)
        value: Array = law.value_jac(law.internal(vector), frame.inward(columns))[0][0]
        return value


def softplus(z: Array) -> Array:
    """Returns log(1 + exp(z)) without overflow."""
    return np.logaddexp(0.0, z)


def stack(parts: Sequence[Array]) -> Array:
    """Stacks derivative rows of shape (batch, n), or that broadcast to it, into (batch, parameters, n)."""
    shape = np.broadcast_shapes(*(np.shape(part) for part in parts))
    out = np.empty((shape[0], len(parts), shape[1]))
    for index, part in enumerate(parts):
        out[:, index] = part
    return out
