"""What a fit minimizes: a sum of weighted penalties of residuals, chosen by name.

======================  ===========================  ==============================================
name                    residual                     penalty of a residual r
======================  ===========================  ==============================================
`log-huber` (default) log prediction - log loss    r^2/2 if abs(r) <= delta, else delta*(abs(r) - delta/2)
`lad`                 log prediction - log loss    abs(r)
`log-mse`             log prediction - log loss    r^2
`mse`                 prediction - loss            r^2
`huber`               prediction - loss            as log-huber
`asymmetric`          log prediction - log loss    log-huber, times 0.9 where the loss lies below
                                                     the law and 0.1 where it lies above
======================  ===========================  ==============================================

Objectives are sums, not means, so that they do not hide the number of runs. `asymmetric` is a Huberized
quantile regression (Koenker & Bassett 1978) at the tenth percentile: badly tuned runs can only lie above
the law of well-tuned ones, so that the lower edge is the law.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scalelab.arrays import Array
from scalelab.errors import FitError, suggest
from scalelab.law import Law

_ENVELOPE = 0.1

_KINDS = {
    "log-huber": (True, "huber"),
    "lad": (True, "absolute"),
    "log-mse": (True, "square"),
    "mse": (False, "square"),
    "huber": (False, "huber"),
    "asymmetric": (True, "asymmetric"),
}

ESTIMATORS = tuple(_KINDS)

_LINEAR_TWINS = {"log-huber": "huber", "log-mse": "mse"}


@dataclass(frozen=True)
class Estimator:
    """A penalty of residuals.

    Attributes:
        name: One of `ESTIMATORS`.
        log: Whether residuals are differences of logarithms.
        kind: The shape of the penalty.
        delta: Where the Huber penalty turns from square to absolute, in units of the residual.
    """

    name: str
    log: bool
    kind: str
    delta: float

    @classmethod
    def suited(cls, law: Law, name: str, delta: float) -> Estimator:
        """Returns the estimator of that name as a law takes it: its own, or the linear twin.

        Raises:
            FitError: The name is unknown, `delta` is not a positive number, the outcomes of the law need
                not be positive and the estimator has no linear twin, or the axis has an error and the
                estimator is linear.
        """
        found = cls.named(law.estimator or name, delta)
        if law.axis_error and not found.log:
            raise FitError(
                f"estimator {found.name!r} cannot count the error of the axis; use log-huber, lad or log-mse"
            )
        return found if law.positive else found.linear()

    @classmethod
    def named(cls, name: str, delta: float = 1e-3) -> Estimator:
        """Returns the estimator of that name.

        Raises:
            FitError: The name is unknown, or `delta` is not a positive number.
        """
        if name not in _KINDS:
            raise FitError(
                f"unknown estimator {name!r}{suggest(name, _KINDS)}; there are {', '.join(_KINDS)}"
            )
        if not (np.isfinite(delta) and delta > 0):
            raise FitError(f"delta must be a positive number, got {delta}")
        return cls(name, *_KINDS[name], float(delta))

    def linear(self) -> Estimator:
        """Returns the twin for outcomes that need not be positive.

        Raises:
            FitError: There is none.
        """
        if not self.log:
            return self
        if self.name not in _LINEAR_TWINS:
            raise FitError(
                f"estimator {self.name!r} needs a positive loss; use huber or mse for this outcome"
            )
        return Estimator.named(_LINEAR_TWINS[self.name], self.delta)

    @property
    def huberized(self) -> bool:
        """Whether the penalty has a square part whose width matters to the solver."""
        return self.kind != "square"

    def smoothed(self, delta: float) -> Estimator:
        """Returns the penalty with a square part of this width; the objective of solving in stages."""
        kind = "huber" if self.kind == "absolute" else self.kind
        return replace(self, kind=kind, delta=float(delta))

    def score(self, y: Array) -> Array:
        """Returns outcomes in the space of the residuals, in the shape of `y`."""
        if not self.log:
            return y
        # A law that a formula gives may fall below zero beyond its rows, where a logarithm says nothing.
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(y))

    def outcome(self, score: Array) -> Array:
        """Returns the outcomes of scores: undoes `score`."""
        return np.exp(score) if self.log else score

    def value(self, r: Array) -> Array:
        """Returns the penalty of each residual, in the shape of `r`."""
        if self.kind == "square":
            return r * r
        if self.kind == "absolute":
            return np.abs(r)
        inner = r.clip(-self.delta, self.delta)
        penalty = -0.5 * inner
        penalty += r
        penalty *= inner
        return penalty * self._side(r) if self.kind == "asymmetric" else penalty

    def derivatives(self, r: Array) -> tuple[Array, Array, Array]:
        """Returns first and second derivative and the weight of the majorizing parabola, in r's shape.

        The last is the weight of iteratively reweighted least squares, `rho'(r) / r`: never below the
        second derivative, so that a step with it is safe where Newton's is not.
        """
        if self.kind == "square":
            two = np.full_like(r, 2.0)
            return 2.0 * r, two, two
        size = np.abs(r)
        weight = self.delta / np.maximum(size, self.delta)
        newton = (size <= self.delta).astype(float)
        if self.kind == "absolute":
            return np.sign(r), newton / self.delta, weight / self.delta
        if self.kind == "asymmetric":
            side = self._side(r)
            return side * weight * r, side * newton, side * weight
        return weight * r, newton, weight

    def bend(self, r: Array, share: Array) -> tuple[Array, Array]:
        """Returns the first derivative and a curvature between the second one and the majorizing weight.

        Args:
            r: Residuals.
            share: How far to go from the second derivative to the weight, 0 to 1, broadcast against `r`.
        """
        if self.kind != "huber":
            first, newton, majorant = self.derivatives(r)
            return first, newton + share * (majorant - newton)
        first = r.clip(-self.delta, self.delta)
        weight = first / r
        weight *= share
        # No share of a weight exceeds the second derivative inside of the square part, which is one.
        return first, np.fmax(weight, first == r)

    def _side(self, r: Array) -> Array:
        return np.where(r > 0, 1.0 - _ENVELOPE, _ENVELOPE)
