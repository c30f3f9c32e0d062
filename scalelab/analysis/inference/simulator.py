"""Simulates outcomes like those that a fit saw: the law, and noise drawn from what it leaves.

Repeats, rows at the same scales, tell two parts of what a law leaves: what a seed changes, drawn for each
row, and what the law misses there, drawn once for all rows of a scale. Repeats of one scale are no
independent witnesses of a law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.solver import Problem, minimize, spread
from scalelab.arrays import Array, Index

ENOUGH_REPEATS = 5
"""Degrees of freedom of repeats from which on they tell what a seed changes."""

FAR = 4.0
"""Robust standard deviations from which on a row is not like the others."""


def wide_problem(fit: Point) -> Problem:
    """Returns the problem with a penalty whose square part spans 1.345 robust standard deviations.

    That is efficient under Gaussian noise and still robust (Huber 1964). The p smallest residuals, which
    the p parameters may have made zero, say nothing of the noise.
    """
    if fit.estimator.kind not in ("huber", "absolute"):
        return fit.problem
    sizes = np.sort(np.abs(fit.residuals * np.sqrt(fit.table.weights)))
    spread = max(float(np.median(sizes)), float(np.median(sizes[fit.theta.size :])) / 1.5) / 0.6745
    spread = max(spread, fit.error) / float(np.sqrt(np.mean(fit.table.weights)))
    wide = Estimator("huber", fit.estimator.log, "huber", max(1.345 * spread, fit.estimator.delta))
    return replace(fit.problem, estimator=wide)


def simulator(fit: Point) -> Simulator:
    """Returns what simulates outcomes like those that a fit saw, made once.

    A narrow Huber penalty has an optimum that passes through about as many rows as it has parameters: taken
    from there, the noise would look far more concentrated than it is. It is taken from a refit with a wide
    penalty, see `wide_problem`, and residuals of more than four robust standard deviations count as that:
    a single run that diverged is no measure of the others.
    """
    return fit.keep("simulator", lambda: _simulator(fit))


def _simulator(fit: Point) -> Simulator:
    theta, problem = fit.theta, wide_problem(fit)
    if problem is not fit.problem:
        theta = minimize(problem, theta[None], fit.table.weights, max_iter=60, xtol=1e-5, ftol=1e-8).theta[0]
    root = np.sqrt(fit.table.weights)
    # Rows of larger weight are less noisy: residuals are made alike before they change places.
    alike = problem.residuals(theta[None])[0][0] * root
    n, p = alike.size, theta.size
    limit = FAR * float(np.median(np.sort(np.abs(alike))[p:])) / 0.6745
    # What is further than the limit counts for less and less, down to nothing.
    noise = alike * (limit / np.maximum(np.maximum(np.abs(alike), limit), 1e-300)) ** 2
    far = np.abs(alike) > limit
    noise = _at_least((noise - noise.mean()) * np.sqrt(n / (n - p)), fit)
    return Simulator(fit.problem, theta, noise, root, limit, far, _repeated(fit, noise))


def _at_least(noise: Array, fit: Point) -> Array:
    """Returns residuals, enlarged where they are smaller than the errors that the outcomes bring with them.

    Few rows may lie on a law by chance; their errors say by how much they might have missed it.
    """
    least, found = fit.error, float(np.sqrt(np.mean(noise**2)))
    if found >= least:
        return noise
    # Residuals that are all zero have no shape to be enlarged.
    shape = noise / found if found > 1e-3 * least else np.where(np.arange(noise.size) % 2, 1.0, -1.0)
    enlarged: Array = shape * least
    return enlarged


class Repeats(NamedTuple):
    """The residuals of rows of which some are repeats, in two parts.

    Attributes:
        place: The number of the scale of each row, shape (n,).
        shared: What all rows of a scale have in common, for each scale: what the law misses.
        own: What each row has beside, shape (n,): what a seed changes.
    """

    place: Index
    shared: Array
    own: Array


def places(columns: Sequence[Array]) -> Index:
    """Returns a number for the scales of each row, shape (n,); repeats have the same."""
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].ravel()


def _repeated(fit: Point, noise: Array) -> Repeats | None:
    """Parts residuals (one-way analysis of variance); `None` with too few repeats to tell the parts."""
    place = places(fit.table.columns)
    counts = np.bincount(place)
    n, k, p = noise.size, counts.size, fit.theta.size
    if n - k < ENOUGH_REPEATS:
        return None
    shared = np.bincount(place, noise) / counts
    own = noise - shared[place]
    # The residuals were enlarged for the parameters as if all rows were of different scales.
    unlarged = (n - p) / n
    of_seed = unlarged * float(own @ own) / (n - k)
    of_place = unlarged * float(counts @ shared**2) / max(k - p, 1)
    missed = max(of_place - of_seed, 0.0) * k / n
    return Repeats(place, _scaled(shared, missed), _scaled(own, of_seed))


def _scaled(part: Array, variance: float) -> Array:
    """Returns numbers with another mean square."""
    scaled: Array = part * np.sqrt(variance / max(float(np.mean(part**2)), 1e-300))
    return scaled


@dataclass(frozen=True, eq=False)
class Simulator:
    """Simulates outcomes: a law at some parameters, and noise drawn from all of its residuals.

    Attributes:
        problem: What the fit to imitate solved.
        theta: Internal parameters of the simulated law, shape (parameters,).
        noise: Residuals of rows of weight one, centered, and enlarged by sqrt(n / (n - p)) for the p
            parameters that shrank them; shape (n,).
        root: Square roots of the weights, shape (n,).
        limit: What larger residuals of rows of weight one count as.
        far: Which residuals are larger, shape (n,).
        repeats: The noise in its two parts, where there are repeats enough to tell them.
    """

    problem: Problem
    theta: Array
    noise: Array
    root: Array
    limit: float
    far: Index
    repeats: Repeats | None = None

    def draw(self, problem: Problem, rng: np.random.Generator, size: int) -> Problem:
        """Returns a problem with simulated outcomes, and simulated axes where these have an error.

        Args:
            problem: The fit's own, with whatever penalty.
            rng: Draws the noise.
            size: How many simulations, the batch of the result.
        """
        known, law, theta = self.problem, self.problem.law, self.theta[None]
        noise, u = self._noise(rng, size), known.u
        if law.axis_error:
            # The errors of an axis are drawn around the points of the curve that are nearest to the rows.
            width, slope, _ = spread(law, theta, u)
            across = known.residuals(theta)[0] / width
            u = (u[0] - law.axis_error**2 * slope * across,)
        value = law.value_jac(theta, u)[0]
        y = value * np.exp(-noise) if known.estimator.log else value - noise / known.y_scale
        if law.axis_error:
            u = (u[0] + law.axis_error * self._noise(rng, size),)
        return replace(problem, u=u, y=y)

    def _noise(self, rng: np.random.Generator, size: int) -> Array:
        """Returns noise of shape (size, n)."""
        if self.repeats is None:
            return _drawn(self.noise, rng, size) / self.root
        place, shared, own = self.repeats
        return (_drawn(shared, rng, size)[:, place] + _drawn(own, rng, size)) / self.root


def _drawn(pool: Array, rng: np.random.Generator, size: int) -> Array:
    """Returns draws of some numbers, shape (size, numbers).

    They are smoothed by a Gaussian kernel that keeps their variance (Silverman & Young 1987).
    """
    n = pool.size
    drawn = pool[rng.integers(0, n, (size, n))]
    deviation = float(np.std(pool))
    width = deviation * n**-0.2
    if deviation > 0:
        drawn = (drawn + width * rng.standard_normal((size, n))) * (deviation / np.hypot(deviation, width))
    return drawn
