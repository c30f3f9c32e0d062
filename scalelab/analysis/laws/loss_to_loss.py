"""The link from one loss to another: of other data, or of the test set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_offset
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import MAX_EXPONENT, Frame, Law, stack

_NEAREST = 0.99
_LEAST = 1e-9


class LossToLoss(Law):
    """`L1 = K * (L0 - E0)^kappa + E1` (Brandfonbrener et al. 2024, eq. 3): a shifted power law.

    L0 and L1 are losses of the same runs, or of runs of the same size and data. Both are measured with
    error: where `axis_error` is positive, `scalelab.loss_to_loss` counts that of L0 too. Where kappa is near
    one, E0 and E1 trade off against each other, so that predictions are to be trusted more than them.

    Internal parameters: E0 and E1 in units of the geometric means, log K in those units, kappa. Bounds: E0
    from zero to 99% of the lowest L0, E1 >= 0, kappa in [0.05, 10]. At losses below E0 the law stays at E1.

    >>> import scalelab
    >>> loss = [2.2, 2.4, 2.7, 3.0, 3.4, 3.9, 4.5]
    >>> fit = scalelab.fit_law("loss-to-loss", {"loss": loss}, [0.9 * (x - 1.6) ** 1.3 + 1.1 for x in loss])
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E0': 1.6, 'E1': 1.1, 'K': 0.9, 'kappa': 1.3}
    """

    name = "loss-to-loss"
    equation = "L1 = K * (L0 - E0)^kappa + E1"
    paper = "Brandfonbrener et al. 2024, Loss-to-Loss Prediction, arXiv:2411.12925, eq. 3"
    axes = ("x",)
    params = ("E0", "E1", "K", "kappa")
    exponents = ("kappa",)
    coefficients = ("K",)
    irreducible = "E1"
    link = True
    n_starts = 24

    def __init__(self, axis_error: float = 0.0) -> None:
        """Makes the link.

        Args:
            axis_error: Relative error of L0 in units of that of L1; zero counts the error of L1 alone.

        Raises:
            FitError: It is negative or not finite.
        """
        if not (np.isfinite(axis_error) and axis_error >= 0):
            raise FitError(f"the ratio of two errors must be a number from zero, got {axis_error}")
        self.axis_error = float(axis_error)
        self.fixed = {"axis_error": self.axis_error} if axis_error else {}

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        rate = theta[:, 3:]
        above = np.maximum(np.exp(u[0]) - theta[:, :1], _LEAST)
        term = np.exp(theta[:, 2:3] + rate * np.log(above))
        by_floor = np.where(above > _LEAST, -rate * term / above, 0.0)
        return theta[:, 1:2] + term, stack([by_floor, np.ones_like(term), term, np.log(above) * term])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        if np.mean((u[0] - u[0].mean()) * (y - y.mean())) <= 0:
            raise FitError(
                "the second loss does not fall where the first does, so that no such law links them"
            )
        nearest = _NEAREST * float(np.exp(u[0].min()))
        return np.array([0.0, 0.0, -50.0, 0.05]), np.array([nearest, float(y.max()), 50.0, MAX_EXPONENT])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        shares = np.array([0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.96])
        nodes = mesh(shares * float(np.exp(u[0].min())), np.geomspace(0.2, 4.0, 12))
        above = np.exp(u[0]) - nodes[:, :1]
        offset, height = solve_offset((above ** nodes[:, 1:])[:, None], y)
        return np.column_stack([nodes[:, 0], offset, np.log(height[:, 0]), nodes[:, 1]])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        center, rate = frame.centers[0], theta[..., 3]
        height = frame.y_scale * np.exp(theta[..., 2] - rate * center)
        return np.stack(
            [theta[..., 0] * np.exp(center), frame.y_scale * theta[..., 1], height, rate], axis=-1
        )
