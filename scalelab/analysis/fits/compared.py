"""Families fitted with the same law, in numbers: exponents, multipliers, crossings and their intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fits.crossing import Crossing, nearest, sign_changes
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.inference.bootstrap import tails
from scalelab.analysis.inference.exponent_test import Efficiency, ExponentTest
from scalelab.analysis.inference.quantities import bisect, budget_losses, compute_exponent
from scalelab.analysis.kept import Kept
from scalelab.arrays import Array
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

_GRID, _COARSE = 400, 80


class Spent(NamedTuple):
    """What the runs of a law L(N, D) cost, so that its optimum is a law of compute.

    Attributes:
        flops_per: FLOPs for each parameter and example seen.
        lowest: The least that a run cost, in FLOPs.
        highest: The most.
    """

    flops_per: float
    lowest: float
    highest: float


@dataclass(frozen=True, eq=False)
class Compared(Kept):
    """Families fitted with the same law.

    Attributes:
        fits: The separate fit of each family, by name.
        spent: By family, where laws L(N, D) are compared at the optimum of their compute; else empty.
        tests: One a pair.
        level: Coverage of the intervals.
        draws: Refits of each family, by name.
        ends: The interval of each exponent, by name of family and exponent.
        efficiencies: By pair what a scale is worth in one of them if they share all but that; `None` where
            the law is no sum of powers.
    """

    fits: dict[str, Fit]
    spent: dict[str, Spent]
    tests: tuple[ExponentTest, ...]
    level: float
    draws: dict[str, Draws]
    ends: dict[str, dict[str, tuple[float, float]]]
    efficiencies: dict[frozenset[str], Efficiency | None]

    @property
    def axis(self) -> str:
        """What the families are compared along."""
        return "train_flops" if self.spent else next(iter(self.fits.values())).table.axes[0]

    @property
    def exponents(self) -> tuple[str, ...]:
        """The exponents that are compared: of an optimum that of compute, gamma, before the law's own."""
        own = next(iter(self.fits.values())).law.exponents
        return ("gamma", *own) if self.spent else own

    def value(self, family: str, exponent: str) -> float:
        """Returns an exponent of a family."""
        fit = self.fits[family]
        return fit.estimate(compute_exponent if exponent == "gamma" else exponent)

    def losses(self, family: str, draws: Draws, logs: Array) -> Array:
        """Returns the loss at logarithms of scale, of shape (n,) or (draws, n), for each of some draws."""
        if self.spent:
            return budget_losses(draws, logs - np.log(self.spent[family].flops_per))
        return draws.at((logs - draws.frame.centers[0],))

    def difference(self, first: str, second: str, exponent: str) -> Estimate:
        """Returns by how much an exponent of the second family exceeds the first's.

        Its interval is recovered from those of the two exponents (MOVER, Zou & Donner 2008), which are
        calibrated; a percentile of refits to few runs would be too narrow.
        """
        a, b = self.value(first, exponent), self.value(second, exponent)
        (a_lower, a_upper), (b_lower, b_upper) = self.ends[first][exponent], self.ends[second][exponent]
        value = b - a
        return Estimate.of(
            value,
            value - float(np.hypot(b - b_lower, a_upper - a)),
            value + float(np.hypot(b_upper - b, a - a_lower)),
        )

    def multiplier(self, first: str, second: str, scale: float) -> Estimate:
        """Returns how many times a scale the first family needs for the loss the second has there.

        Two means that the second family reaches the same loss with half the compute (or data, or size).
        Infinite where the first never gets there.
        """
        self._one_axis()
        pair = (self.fits[first].draws(), self.fits[second].draws())
        own, pool = (
            self._multiplier(first, second, draws, scale) for draws in (pair, self._refits(first, second))
        )
        return self._estimate(own[0], pool)

    def worth(self, first: str, second: str, scale: float) -> Estimate:
        """Returns how many times the scale the first family needs for the loss of the worse of both there.

        That is `multiplier` where the second is the worse; where it is the better, the loss is the first's,
        for the first may never have been run as large as the second's loss would ask for.
        """
        return self.keep(("worth", first, second, scale), lambda: self._worth(first, second, scale))

    def _worth(self, first: str, second: str, scale: float) -> Estimate:
        if self.better(first, second, scale) == first:
            return self.multiplier(first, second, scale)
        back = self.multiplier(second, first, scale)
        with np.errstate(divide="ignore"):
            lower, upper = 1.0 / np.array(back.ends[::-1])
        return Estimate.of(1.0 / back.value, lower, upper)

    def better(self, first: str, second: str, scale: float) -> str:
        """Returns which of two families has the lower loss at a scale; the first where both have the same."""
        at = np.log([scale])
        names = (first, second)
        losses = {name: float(self.losses(name, self.fits[name].draws(), at)[0, 0]) for name in names}
        return min(names, key=lambda name: losses[name])

    def ratio(self, first: str, second: str, scale: float) -> float:
        """Returns how many times the smallest scale that both have another one is, one at least.

        No run says anything of larger multipliers there, nor of smaller ones than its inverse.
        """
        return max(scale / self.span(first, second)[0], 1.0)

    def _multiplier(self, first: str, second: str, draws: tuple[Draws, Draws], scale: float) -> Array:
        """Returns by what factor the first law's scale exceeds the second's for one loss, shape (draws,)."""
        log = float(np.log(scale))
        target = self.losses(second, draws[1], np.full((len(draws[1]), 1), log))[:, 0]

        def loss(z: Array) -> Array:
            return self.losses(first, draws[0], z[:, None])[:, 0]

        return np.asarray(np.exp(bisect(loss, target, len(draws[0]), log) - log))

    def crossings(self, first: str, second: str) -> tuple[Crossing, ...]:
        """Returns where the laws of two families cross, from the smallest scale of both to the horizon."""
        return self.keep(("crossings", first, second), lambda: self._crossings(first, second))

    def _crossings(self, first: str, second: str) -> tuple[Crossing, ...]:
        self._one_axis()
        low, _, horizon = self.span(first, second)
        if horizon <= low:
            return ()
        # An interval needs no place as exact as the crossing itself.
        grid, coarse = (np.linspace(np.log(low), np.log(horizon), n) for n in (_GRID, _COARSE))
        pair = (self.fits[first].draws(), self.fits[second].draws())
        (own,), pool = (
            sign_changes(self.losses(second, b, at) - self.losses(first, a, at), at)
            for (a, b), at in ((pair, grid), (self._refits(first, second), coarse))
        )
        return tuple(
            self._crossing(second if falls else first, place, [nearest(row, place, falls) for row in pool])
            for place, falls in own
        )

    def _crossing(self, winner: str, place: float, pool: list[float | None]) -> Crossing:
        found = np.exp([one for one in pool if one is not None])
        scale = self._estimate(float(np.exp(place)), found) if found.size else Estimate(float(np.exp(place)))
        return Crossing(winner, scale, found.size / len(pool))

    def span(self, first: str, second: str) -> tuple[float, float, float]:
        """Returns the smallest and the largest scale that two families share, and the horizon.

        The horizon is as far beyond the data as the backtests of both laws reached; the data's end without.
        """
        ends = [self._ends(name) for name in (first, second)]
        low, high = max(low for low, _ in ends), min(high for _, high in ends)
        reach = min(max(self.fits[name].backtest.reach, default=1.0) for name in (first, second))
        return low, high, high * reach

    def _ends(self, family: str) -> tuple[float, float]:
        if self.spent:
            return self.spent[family].lowest, self.spent[family].highest
        column = self.fits[family].table.columns[0]
        return float(column.min()), float(column.max())

    def efficiency(self, first: str, second: str) -> Efficiency | None:
        """Returns how many times a scale the first needs if the two share all but that, see `Efficiency`."""
        found = self.efficiencies[frozenset((first, second))]
        return found if found is None or found.families == (first, second) else found.turned()

    def summary(self) -> pd.DataFrame:
        """Returns one row per pair and exponent: values, their difference with its interval, p-values."""
        import pandas as pd

        rows = [
            {
                "first": first,
                "second": second,
                "exponent": name,
                "first_value": self.value(first, name),
                "second_value": self.value(second, name),
                "difference": gap.value,
                "lower": gap.ends[0],
                "upper": gap.ends[1],
                "p_lr": test.p_lr,
                "p_bootstrap": test.p_bootstrap,
                "p_holm": test.p_holm,
            }
            for test in self.tests
            for first, second in [test.families]
            for name in self.exponents
            for gap in [self.difference(first, second, name)]
        ]
        return pd.DataFrame(rows)

    def _estimate(self, value: float, pool: Array) -> Estimate:
        ends = np.quantile(pool[~np.isnan(pool)], tails(self.level), method="nearest")
        return Estimate.holding(value, *ends)

    def _refits(self, first: str, second: str) -> tuple[Draws, Draws]:
        """Returns as many refits of the one family as of the other."""
        one, other = self.draws[first], self.draws[second]
        n = min(len(one), len(other))
        return replace(one, theta=one.theta[:n]), replace(other, theta=other.theta[:n])

    def _one_axis(self) -> None:
        fit = next(iter(self.fits.values()))
        if len(fit.table.axes) != 1 and not self.spent:
            raise FitError(f"law {fit.law.name!r} has several axes; compare along one, such as train_flops")
