"""The law of repeated data of Muennighoff et al."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_offset
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law

_TURNS = 3


class DataConstrained(Law):
    """`L(N, U, epochs) = E + A * N'^-alpha + B * D'^-beta` (Muennighoff et al. 2023, eq. 5 and 6).

    Repeated data are worth less than new ones: U unique examples read in `epochs` passes count as
    `D' = U + U * R_D * (1 - exp(-(epochs - 1) / R_D))`. Likewise for parameters beyond those that U can
    make use of: `N' = U_N + U_N * R_N * (1 - exp(-(N / U_N - 1) / R_N))` with `U_N = min(N, N_opt(U))`,
    where N_opt is the compute-optimal size for U under the same A, B, alpha and beta.

    Internal parameters: E, log A, log B, alpha, beta, log R_D, log R_N. Bounds: E >= 0, exponents in [0.01,
    10], R_D and R_N in [0.01, 10^4]; a value at the upper end says that no loss of worth was seen.

    >>> import itertools, scalelab
    >>> sizes, examples, epochs = (1e6, 1e7, 1e8, 1e9), (1e8, 1e9, 1e10), (1, 4, 16, 64)
    >>> x = dict(zip(("n_params", "n_examples", "epochs"), zip(*itertools.product(sizes, examples, epochs))))
    >>> truth = {"E": 1.8, "A": 500, "B": 2000, "alpha": 0.35, "beta": 0.37, "R_D": 15, "R_N": 5}
    >>> law = scalelab.get_law("data-constrained")
    >>> fit = scalelab.fit_law(law, x, law.predict(truth, x))
    >>> {name: round(value, 2) for name, value in fit.params.items()}
    {'E': 1.8, 'A': 500.0, 'B': 2000.0, 'alpha': 0.35, 'beta': 0.37, 'R_D': 15.0, 'R_N': 5.0}
    """

    name = "data-constrained"
    equation = (
        "L = E + A * N'^-alpha + B * D'^-beta, D' = U + U*R_D*(1 - exp(-(epochs - 1)/R_D)), N' likewise"
    )
    paper = "Muennighoff et al. 2023, Scaling Data-Constrained Language Models, arXiv:2305.16264, eq. 5 and 6"
    n_starts = 12
    axes = ("n_params", "n_examples", "epochs")
    params = ("E", "A", "B", "alpha", "beta", "R_D", "R_N")
    exponents = ("alpha", "beta")
    coefficients = ("A", "B", "R_D", "R_N")
    irreducible = "E"
    in_auto = True

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        log_a, log_b, alpha, beta = (theta[:, i : i + 1] for i in range(1, 5))
        # log G of Hoffmann et al. 2022, eq. 4. Centering N and D moves G as it moves N and 1/D, so that the
        # formula is the same in internal units.
        log_rates = np.log(theta[:, 3:5])
        total, slope = alpha + beta, beta / alpha
        log_g = (log_rates[:, :1] - log_rates[:, 1:] + log_a - log_b) / total
        reach = u[1] + log_g
        base = np.minimum(u[0], log_g + slope * reach)
        repeats = np.empty((2, *base.shape))
        # An overflow would only say that a model is hopelessly too large; e^50 says so as well.
        np.expm1(np.minimum(u[0] - base, 50.0), out=repeats[0])
        repeats[1] = np.maximum(np.expm1(u[2]), 0.0)
        (gain, data_gain), by_excess, (by_rn, by_rd) = _worth(repeats, np.exp(theta[:, :4:-1].T[:, :, None]))
        length, data_length = base + gain, u[1] + data_gain
        size, data = np.exp(log_a - alpha * length), np.exp(log_b - beta * data_length)
        # Where parameters are not too many, this is zero.
        through = alpha * size * (by_excess[0] * (repeats[0] + 1.0) - 1.0)
        moved = through * ((1.0 + slope) / total)
        jac = np.empty((len(base), 7, base.shape[1]))
        jac[:, 0] = 1.0
        jac[:, 1] = size + moved
        jac[:, 2] = data - moved
        jac[:, 3] = moved * (1.0 / alpha - log_g) - through * (slope / alpha) * reach - length * size
        jac[:, 4] = through * (reach / alpha) - moved * (1.0 / beta + log_g) - data_length * data
        jac[:, 5] = -beta * data * by_rd
        jac[:, 6] = -alpha * size * by_rn
        return theta[:, :1] + size + data, jac

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        low = np.array([0.0, -50.0, -50.0, 0.01, 0.01, np.log(0.01), np.log(0.01)])
        high = np.array([float(y.max()), 50.0, 50.0, MAX_EXPONENT, MAX_EXPONENT, np.log(1e4), np.log(1e4)])
        return low, high

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        exponents = np.geomspace(0.08, 1.5, 6)
        nodes = mesh(exponents, exponents, np.log([1.0, 5.0, 20.0, 100.0]), np.log([3.0, 30.0]))
        alpha, beta, worth = nodes[:, :1], nodes[:, 1:2], np.exp(nodes[:, 2:])
        data = np.exp(-beta * (u[1] + _worth(np.maximum(np.expm1(u[2]), 0.0)[None], worth[:, :1])[0]))
        size = np.broadcast_to(u[0], data.shape)
        # Which models are too large for their data depends on the coefficients, and these on that.
        for turn in range(_TURNS):
            offset, coefficients = solve_offset(np.stack([np.exp(-alpha * size), data], axis=1), y)
            log_a, log_b = np.log(coefficients).T[:, :, None]
            if turn < _TURNS - 1:
                log_g = (np.log(alpha) + log_a - np.log(beta) - log_b) / (alpha + beta)
                base = np.minimum(u[0], log_g + beta / alpha * (u[1] + log_g))
                size = base + _worth(np.expm1(np.minimum(u[0] - base, 50.0)), worth[:, 1:])[0]
        return np.column_stack([offset, log_a, log_b, nodes])

    @override
    def frame(self, frame: Frame) -> Frame:
        # Passes have a natural unit, so that axis is not centered.
        return Frame((*frame.centers[:2], 0.0), frame.units, frame.y_scale)

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        scale, center = frame.y_scale, frame.centers
        size = scale * np.exp(theta[..., 1] + theta[..., 3] * center[0])
        data = scale * np.exp(theta[..., 2] + theta[..., 4] * center[1])
        worth = np.exp(theta[..., 5:])
        out = [scale * theta[..., 0], size, data, theta[..., 3], theta[..., 4], worth[..., 0], worth[..., 1]]
        return np.stack(out, axis=-1)


def _worth(repeats: Array, decay: Array) -> tuple[Array, Array, Array]:
    """Returns log(1 + R * (1 - exp(-r/R))) and its derivatives with respect to r and to log R."""
    lost = np.expm1(repeats / -decay)
    total = 1.0 - decay * lost
    faded = lost + 1.0
    return np.log(total), faded / total, (total - 1.0 - repeats * faded) / total
