"""Two forms from the study of learning curves: they start from a plateau, which no sum of powers does.

Viering & Loog 2023 (The Shape of Learning Curves: a Review, arXiv:2103.10948) compare them with power laws;
in the Learning Curve Database (Mohr et al. 2022) the four-parameter MMF fits best on average.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import scalelab

Array = NDArray[np.float64]

MAX_EXPONENT = 10.0
REACH = 12.0
"""How far the middle may lie from the data, in natural logarithms of the scale."""


class _Plateau(scalelab.Law):
    """`L(x) = E + (A - E) * fall(x)`, where `fall` goes from one to zero around `x = s`.

    Internal parameters: E, log(A - E), alpha, and log s from the center of the data. Bounds: E in [0, max L],
    alpha in [0.01, 10], s within e^12 of the data on either side, beyond which the data cannot tell.
    """

    axes = ("x",)
    params = ("E", "A", "alpha", "s")
    exponents = ("alpha",)
    coefficients = ("s",)
    irreducible = "E"

    @abstractmethod
    def fall(self, z: Array) -> tuple[Array, Array]:
        """Returns `fall` and its derivative at `z = alpha * log(x / s)`."""

    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        """Returns losses and their derivatives, see `scalelab.Law`."""
        rate, distance = theta[:, 2:3], u[0] - theta[:, 3:4]
        height = np.exp(theta[:, 1:2])
        share, slope = self.fall(rate * distance)
        term = height * share
        jac = [np.ones_like(term), term, height * slope * distance, -height * slope * rate]
        return theta[:, :1] + term, np.stack(jac, axis=1)

    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        """Returns the box of internal parameters, see `scalelab.Law`."""
        low = [0.0, -50.0, 0.01, float(u[0].min()) - REACH]
        return np.array(low), np.array([float(y.max()), 50.0, MAX_EXPONENT, float(u[0].max()) + REACH])

    def starts(self, u: Sequence[Array], y: Array) -> Array:
        """Returns a grid over alpha and s; E and A follow by least squares."""
        places = np.linspace(u[0].min() - 3.0, u[0].max(), 12)
        rates, middles = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.1, 4.0, 8), places))
        shares = self.fall(rates[:, None] * (u[0] - middles[:, None]))[0]
        offset, heights = scalelab.solve_offset(shares[:, None, :], y)
        return np.column_stack([offset, np.log(heights[:, 0]), rates, middles])

    def public(self, theta: Array, frame: scalelab.Frame) -> Array:
        """Returns E, A, alpha and s in the units of the data."""
        floor, height = theta[..., 0], np.exp(theta[..., 1])
        middle = np.exp(theta[..., 3] + frame.centers[0])
        scale = frame.y_scale
        return np.stack([scale * floor, scale * (floor + height), theta[..., 2], middle], axis=-1)

    def internal(self, params: Array) -> Array:
        """Returns the internal parameters of the identity frame."""
        floor, top, rate, middle = np.moveaxis(params, -1, 0)
        return np.stack([floor, np.log(top - floor), rate, np.log(middle)], axis=-1)


class Mmf(_Plateau):
    """`L(x) = E + (A - E) / (1 + (x / s)^alpha)`: a plateau at A, then a power law down to E.

    Morgan, Mercer & Flodin 1975, PNAS 72:4327; MMF4 of Viering & Loog 2023, table 1.

    >>> import scalelab
    >>> law = scalelab.load_plugins().law("mmf")
    >>> x = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8]
    >>> fit = scalelab.fit_law(law, {"n_examples": x}, [0.1 + 0.8 / (1 + (n / 1e5) ** 0.5) for n in x])
    >>> [f"{name} = {value:.3g}" for name, value in fit.params.items()]
    ['E = 0.1', 'A = 0.9', 'alpha = 0.5', 's = 1e+05']
    """

    name = "mmf"
    equation = "L = E + (A - E) / (1 + (x / s)^alpha)"
    paper = "Morgan, Mercer & Flodin 1975, PNAS 72:4327; Viering & Loog 2023, arXiv:2103.10948, table 1"

    def fall(self, z: Array) -> tuple[Array, Array]:
        """Returns the logistic function of -z and its derivative."""
        share = 0.5 * (1.0 - np.tanh(0.5 * z))
        return share, -share * (1.0 - share)


class Weibull(_Plateau):
    """`L(x) = E + (A - E) * exp(-(x / s)^alpha)`: a plateau at A, then a stretched exponential to E.

    Its loss ends faster than any power law's. WBL4 of Viering & Loog 2023, table 1.

    >>> import math, scalelab
    >>> law = scalelab.load_plugins().law("weibull")
    >>> x = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8]
    >>> y = [0.1 + 0.8 * math.exp(-((n / 1e5) ** 0.3)) for n in x]
    >>> fit = scalelab.fit_law(law, {"n_examples": x}, y)
    >>> [f"{name} = {value:.3g}" for name, value in fit.params.items()]
    ['E = 0.1', 'A = 0.9', 'alpha = 0.3', 's = 1e+05']
    """

    name = "weibull"
    equation = "L = E + (A - E) * exp(-(x / s)^alpha)"
    paper = "Viering & Loog 2023, The Shape of Learning Curves: a Review, arXiv:2103.10948, table 1"

    def fall(self, z: Array) -> tuple[Array, Array]:
        """Returns `exp(-exp(z))` and its derivative; far out both are zero."""
        power = np.exp(np.minimum(z, 50.0))
        share = np.exp(-power)
        return share, -power * share


@scalelab.hookimpl
def scalelab_laws() -> list[scalelab.Law]:
    """Returns the two forms."""
    return [Mmf(), Weibull()]
