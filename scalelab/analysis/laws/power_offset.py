"""The power law with an irreducible loss."""

from __future__ import annotations

import numpy as np

from scalelab.analysis.laws.powers import SumOfPowers


class PowerOffset(SumOfPowers):
    """`L(x) = E + A * x^-alpha` (M2 of Alabdulmohsin et al. 2022; Henighan et al. 2020, eq. 1.1).

    Internal parameters: E, log A at the center of the data, alpha. Bounds: E >= 0, alpha in [0, 10]. E enters
    linearly, and as itself, so that a law without irreducible loss (E = 0) is an ordinary point of the box.

    >>> import scalelab
    >>> x = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7]
    >>> fit = scalelab.fit_law("power-offset", {"n_params": x}, [1.5 + 300 * n**-0.4 for n in x])
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 1.5, 'A': 300.0, 'alpha': 0.4}
    >>> fit.predict({"n_params": [1e9]}).round(4)
    array([1.5754])
    """

    name = "power-offset"
    equation = "L = E + A * x^-alpha"
    paper = (
        "Henighan et al. 2020, Scaling Laws for Autoregressive Generative Modeling, arXiv:2010.14701, eq. 1.1"
    )
    axes = ("x",)
    params = ("E", "A", "alpha")
    exponents = ("alpha",)
    coefficients = ("A",)
    irreducible = "E"
    in_auto = True
    rates = np.geomspace(0.02, 4.0, 24)
