"""The power law without an irreducible loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.powers import SumOfPowers
from scalelab.analysis.laws.starts import solve_linear
from scalelab.arrays import Array


class Power(SumOfPowers):
    """`L(x) = A * x^-alpha` (M1 of Alabdulmohsin et al. 2022; Hestness et al. 2017).

    Internal parameters: log A at the center of the data, alpha. Bounds: alpha in [0, 10].

    >>> import scalelab
    >>> x = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7]
    >>> fit = scalelab.fit_law("power", {"n_params": x}, [40 * n**-0.2 for n in x])
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'A': 40.0, 'alpha': 0.2}
    """

    name = "power"
    equation = "L = A * x^-alpha"
    paper = "Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically, arXiv:1712.00409"
    axes = ("x",)
    params = ("A", "alpha")
    exponents = ("alpha",)
    coefficients = ("A",)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        line = solve_linear(np.stack([np.ones_like(u[0]), -u[0]])[None], np.log(y))[0]
        # The line of log-log least squares is the optimum up to the choice of the estimator.
        return np.stack([line, [line[0], 0.5 * line[1]], [line[0], 2.0 * line[1]]])
