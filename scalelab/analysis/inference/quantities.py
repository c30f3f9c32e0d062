"""Quantities that follow from a law: each a function of draws, so that each has an interval.

Compute is `flops = flops_per * n_params * n_examples`; six for a transformer that sees a token once
(Kaplan et al. 2020, section 2.1), something else, to be measured, for other architectures and examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scalelab.analysis.fitting.draws import Draws, Quantity, evaluate
from scalelab.analysis.fitting.point import Point
from scalelab.arrays import Array
from scalelab.errors import FitError

FLOPS_PER = 6.0

_BISECTIONS, _CHORDS = 16, 6
_TINY = 1e-300
_FAR = 60.0
_NO_SIZE = 1e9


def loss_at(fit: Point, x: Any) -> Callable[[Draws], Array]:
    """Returns the quantity: the loss at one point, given as in `fit_law`."""
    u = fit.inward(x)
    return lambda draws: draws.at(u)[:, 0]


def log_of(quantity: Quantity) -> Callable[[Draws], Array]:
    """Returns the quantity: the logarithm of another one, which is positive."""

    def logarithm(draws: Draws) -> Array:
        with np.errstate(divide="ignore"):  # a size that a refit takes to nothing
            return np.asarray(np.log(evaluate(quantity, draws)))

    return logarithm


def log_loss_at(fit: Point, x: Any) -> Callable[[Draws], Array]:
    """Returns the quantity: the logarithm of the loss at one point."""
    return log_of(loss_at(fit, x))


def allocation_exponent(draws: Draws) -> Array:
    """The exponent a of `N_opt ~ flops^a`; of `chinchilla` beta / (alpha + beta) (Hoffmann 2022, eq. 4)."""
    return _split(draws)[0]


def compute_exponent(draws: Draws) -> Array:
    """The exponent of `L - E ~ flops^-gamma` at `chinchilla`'s optimum: alpha * beta / (alpha + beta)."""
    return allocation_exponent(draws) * draws.params["alpha"]


def optimal_params(flops: float, flops_per: float = FLOPS_PER) -> Callable[[Draws], Array]:
    """Returns the quantity: the compute-optimal number of parameters (Hoffmann et al. 2022, eq. 4)."""
    return lambda draws: np.exp(_log_optimum(draws, np.log(flops / flops_per))[0][:, 0])


def optimal_examples(flops: float, flops_per: float = FLOPS_PER) -> Callable[[Draws], Array]:
    """Returns the quantity: the compute-optimal number of examples."""
    return lambda draws: np.exp(_log_optimum(draws, np.log(flops / flops_per))[1][:, 0])


def loss_at_budget(flops: float, flops_per: float = FLOPS_PER) -> Callable[[Draws], Array]:
    """Returns the quantity: the lowest loss that a budget reaches."""
    return lambda draws: budget_losses(draws, np.log(flops / flops_per))[:, 0]


def flops_for_loss(target: float, flops_per: float = FLOPS_PER) -> Callable[[Draws], Array]:
    """Returns the quantity: the budget that reaches a loss, optimally spent; infinite if none does."""

    def quantity(draws: Draws) -> Array:
        center = float(sum(draws.frame.centers))
        found = bisect(lambda z: budget_losses(draws, z[:, None])[:, 0], target, len(draws), center)
        return flops_per * np.exp(found)

    return quantity


def scale_for_loss(fit: Point, target: float) -> Callable[[Draws], Array]:
    """Returns the quantity: the scale at which a law of one axis reaches a loss; infinite if none does.

    Raises:
        FitError: The law has several axes.
    """
    if len(fit.table.axes) != 1:
        raise FitError(f"law {fit.law.name!r} has several axes; ask for flops_for_loss")

    def quantity(draws: Draws) -> Array:
        # A column of scales pairs each with its own draw; a row would try all of them with all draws.
        found = bisect(lambda z: draws.at((z[:, None],))[:, 0], target, len(draws), 0.0)
        return np.exp(found + draws.frame.centers[0])

    return quantity


def refuse_no_optimum(fit: Point) -> None:
    """Raises a FitError where an exponent of a law L(N, D) stopped at a bound: there is no best split."""
    held = [name for name in fit.law.exponents if name in fit.at_bounds]
    if held:
        raise FitError(f"the law L(N, D) has no optimum: its {' and '.join(held)} stopped at a bound")


def _split(draws: Draws) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = draws.law.optimal_split(draws.theta, draws.frame)
    if found is None:
        raise FitError(
            f"law {draws.law.name!r} does not say how to split a budget; "
            "fit one that does, such as 'chinchilla'"
        )
    return found


def _log_optimum(draws: Draws, log_product: Any) -> tuple[Array, Array]:
    """Returns log N and log D that minimize the loss at given log(N * D), each of shape (draws, n).

    Args:
        draws: The laws.
        log_product: A number, or an array of shape (n,) or (draws, n).
    """
    exponent, log_factor = _split(draws)
    with np.errstate(invalid="ignore"):
        size = log_factor[:, None] + exponent[:, None] * log_product
    return size, log_product - size


def budget_losses(draws: Draws, log_product: Any) -> Array:
    """Returns the lowest losses at given log(N * D), as `_log_optimum` takes them; shape (draws, n)."""
    optimum = zip(_log_optimum(draws, log_product), draws.frame.centers, strict=True)
    # An exponent of zero leaves no size at all, or all of it: kept finite, its term stays the constant that
    # it is, and is not zero times infinity.
    with np.errstate(over="ignore"):
        return draws.at(tuple(np.clip(scale - center, -_NO_SIZE, _NO_SIZE) for scale, center in optimum))


def bisect(loss: Callable[[Array], Array], target: float | Array, n: int, center: float) -> Array:
    """Returns where falling losses reach a target, infinite where not within e^60 of a center; shape (n,).

    Args:
        loss: n losses at n logarithms of scale, each of its own falling law.
        target: The loss to reach, one or n of them.
        n: How many laws there are.
        center: Logarithm of the scale to search around.
    """
    low, high = np.full(n, center - _FAR), np.full(n, center + _FAR)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        never, already = loss(high) > target, loss(low) < target
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            above = loss(middle) > target
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        # Between ends so near a law is almost straight: chords find the rest in few steps.
        over, under = loss(low) - target, loss(high) - target
        for _ in range(_CHORDS):
            chord = np.clip(low + (high - low) * over / (over - under), low, high)
            gap = loss(chord) - target
            above = gap > 0
            low, over = np.where(above, chord, low), np.where(above, gap, over)
            high, under = np.where(above, high, chord), np.where(above, under, gap)
        found = low + (high - low) * over / np.maximum(over - under, _TINY)
    return np.where(never, np.inf, np.where(already, -np.inf, found))
