"""Runs whose law is known: drawn parameters, drawn noise, and the loss at ten times the scale.

Each truth is a formula with parameters that are drawn anew for every seed, so that a count over seeds is one
over a population of laws and not over one of them. Along one axis sizes are even in the logarithm over three
decades; along two axes they fill two decades of each evenly (the R2 sequence).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ONE_AXIS = ("power-offset", "m4", "bnsl", "mmf")
TWO_AXES = ("chinchilla", "kaplan-offset", "saturating", "interaction")
TRUTHS = (*ONE_AXIS, *TWO_AXES)
NOISES = {"equal": (0.01, 0.01), "growing": (0.005, 0.02)}
"""Noise of the log loss at the smallest and at the largest scale."""

_DECADE = np.log(10.0)
_R2 = np.array([0.7548776662466927, 0.5698402909980532])


class Runs(NamedTuple):
    """Simulated runs.

    Attributes:
        x: The scales by axis, each of shape (n,).
        y: Their losses, shape (n,).
        beyond: Ten times the largest scale of every axis, or of data alone at a network of middle size.
        truth: The loss there, without noise.
        sigma: The noise of the log loss of the largest run.
    """

    x: dict[str, np.ndarray]
    y: np.ndarray
    beyond: dict[str, np.ndarray]
    truth: float
    sigma: float


def simulate(name: str, n: int, noise: str, seed: int, data_alone: bool = False) -> Runs:
    """Draws a law of this name, n runs of it, and their noise, one of `NOISES`."""
    rng = np.random.default_rng([TRUTHS.index(name), n, seed, list(NOISES).index(noise)])
    first, last = NOISES[noise]
    if name in ONE_AXIS:
        law = _line(name, rng)
        u = np.linspace(0.0, 3 * _DECADE, n)
        clean, truth, share = law(u), law(np.array([4 * _DECADE])), u / u.max()
        x, beyond = {"n_params": 1e6 * np.exp(u)}, {"n_params": np.array([1e10])}
    else:
        plane = plane_of(name, rng)
        places = (rng.uniform(0, 1, 2) + np.arange(n)[:, None] * _R2) % 1.0
        u, v = (places * 2 * _DECADE).T
        clean, share = plane(u, v), (u + v) / (u + v).max()
        far = np.array([np.median(u) if data_alone else u.max() + _DECADE]), np.array([v.max() + _DECADE])
        truth = plane(*far)
        x = {"n_params": 1e7 * np.exp(u), "n_examples": 2e8 * np.exp(v)}
        beyond = {"n_params": 1e7 * np.exp(far[0]), "n_examples": 2e8 * np.exp(far[1])}
    y = clean * np.exp(first * (last / first) ** share * rng.standard_normal(n))
    return Runs(x, y, beyond, float(truth[0]), last)


def _line(name: str, rng: np.random.Generator):
    """Returns the loss as a function of the logarithm of the scale over the smallest."""
    end, above = rng.uniform(0.5, 2.0), rng.uniform(2.0, 4.0)
    rate, turn = rng.uniform(0.2, 0.6), rng.uniform(-0.5, 1.5) * _DECADE
    if name == "power-offset":
        return lambda u: end + above * np.exp(-rate * u)
    if name == "mmf":
        return lambda u: end + above / (1.0 + np.exp(rate * (u - turn)))
    if name == "m4":
        bend = rng.uniform(0.6, 1.6)
        return lambda u: end + above * np.vectorize(_share)(bend, np.exp(-rate * (u - turn)))
    early, later, at, width = 0.5 * rate, rng.uniform(0.1, 0.4), rng.uniform(0.5, 2.5) * _DECADE, rate
    return lambda u: end + above * np.exp(-early * u) * (1 + np.exp((u - at) / width)) ** (-later * width)


def _share(bend: float, level: float) -> float:
    """Returns the s that solves s / (1 - s)^bend = level, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if middle < level * (1 - middle) ** bend else (low, middle)
    return low


def plane_of(name: str, rng: np.random.Generator):
    """Returns the loss as a function of the logarithms of size and data over the smallest."""
    end, span = rng.uniform(1.0, 2.0), rng.uniform(2.0, 4.0)
    by_n, by_d = rng.uniform(0.25, 0.5, 2)
    of_n, of_d = rng.uniform(0.4, 1.5, 2)
    if name == "chinchilla":
        return lambda u, v: end + of_n * np.exp(-by_n * u) + of_d * np.exp(-by_d * v)
    if name == "kaplan-offset":
        return lambda u, v: (
            end + (of_n ** (1 / by_d) * np.exp(-by_n / by_d * u) + of_d ** (1 / by_d) * np.exp(-v)) ** by_d
        )
    if name == "saturating":
        return lambda u, v: end + span * (1 - 1 / (1 + of_n * np.exp(-by_n * u) + of_d * np.exp(-by_d * v)))
    cross, tilt = rng.uniform(-0.03, 0.03), rng.uniform(-0.1, 0.1)
    return lambda u, v: (
        end
        + of_n * np.exp(-by_n * u)
        + of_d * np.exp(tilt * (u - 2.3) - by_d * v - cross * (u - 2.3) * (v - 2.3))
    )
