"""Does one family scale better than another? Exponents, multipliers and crossings, with tests and intervals.

Families (architectures, optimizers, data sets) are fitted with the same law, apart and with shared
exponents. Three questions are answered, in this order: do the exponents differ (a test), how much compute
is one family worth in the other's (a multiplier), and where do the laws cross (a scale).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fits.crossing import Crossing, nearest, sign_changes
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.fitting.draws import Draws, Quantity
from scalelab.analysis.inference.bootstrap import check_level, tails
from scalelab.analysis.inference.exponent_test import (
    Efficiency,
    ExponentTest,
    efficiency,
    exponent_test,
    holm,
)
from scalelab.analysis.inference.intervals import intervals, refits
from scalelab.analysis.inference.quantities import bisect, budget_losses, compute_exponent
from scalelab.analysis.inference.simulator import places
from scalelab.analysis.laws import get_law
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

_ENOUGH = 2
"""Points a parameter below which the sentence gives no verdict: such laws pass through their points."""

_NOUNS = {
    "train_flops": ("FLOPs", "less compute", "more compute", "much"),
    "n_params": ("parameters", "fewer parameters", "more parameters", "many"),
    "n_examples": ("examples", "fewer examples", "more examples", "many"),
}
"""By axis: its unit, and the words for less of it, more of it and how much of it."""
_GRID = 400
_SURE = 0.5


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
class Comparison:
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

    def _multiplier(self, first: str, second: str, draws: tuple[Draws, Draws], scale: float) -> Array:
        """Returns by what factor the first law's scale exceeds the second's for one loss, shape (draws,)."""
        log = float(np.log(scale))
        target = self.losses(second, draws[1], np.full((len(draws[1]), 1), log))[:, 0]

        def loss(z: Array) -> Array:
            return self.losses(first, draws[0], z[:, None])[:, 0]

        return np.asarray(np.exp(bisect(loss, target, len(draws[0]), log) - log))

    def crossings(self, first: str, second: str) -> tuple[Crossing, ...]:
        """Returns where the laws of two families cross, from the smallest scale of both to the horizon."""
        self._one_axis()
        low, _, horizon = self.span(first, second)
        if horizon <= low:
            return ()
        grid = np.linspace(np.log(low), np.log(horizon), _GRID)
        pair = (self.fits[first].draws(), self.fits[second].draws())
        (own,), pool = (
            sign_changes(self.losses(second, b, grid) - self.losses(first, a, grid), grid)
            for a, b in (pair, self._refits(first, second))
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

    def sentence(self, first: str, second: str, scale: float | None = None) -> str:
        """Returns the answer to "does the second family scale better than the first?" as text with numbers.

        Args:
            first: The family to compare with.
            second: The family in question.
            scale: Where the multiplier is quoted; default the largest scale that both have.
        """
        self._one_axis()
        column, name = self.axis, self.exponents[0]
        axis, less, more, much = _NOUNS.get(column, (column, f"less {column}", f"more {column}", "much"))
        test = next(t for t in self.tests if set(t.families) == {first, second})
        gap = self.difference(first, second, name)
        lower, upper = gap.ends
        sure = test.p_holm < 1 - self.level and not lower <= 0 <= upper
        n_points = min(int(places(self.fits[name].table.columns).max()) + 1 for name in (first, second))
        few = n_points < _ENOUGH * len(self.fits[first].law.params)
        if few:
            verdict = f"{n_points} points are too few to say whether {second} scales better than {first}"
        elif sure:
            verdict = f"{second} scales {'better' if gap.value > 0 else 'worse'} than {first}"
        else:
            verdict = f"{second} does not scale measurably differently from {first}"
        scale = scale or self.span(first, second)[1]
        worth = self.multiplier(first, second, scale)
        text = (
            f"{verdict}: the exponent of {second} in {axis} differs by {gap.value:+.3f} "
            f"({self.level:.0%} interval {lower:+.3f} to {upper:+.3f}; "
            f"p = {test.p_holm:.2g} after Holm). At {scale:.3g} {axis} it "
        )
        times = f"{_times(worth.value)} ({_times(worth.ends[0])} to {_times(worth.ends[1])}) times"
        if worth.value < 1:
            text += f"needs {more} than {first}, which reaches the same loss with {times} as {much}."
        else:
            text += f"reaches the same loss with {times} {less}."
        shared = "" if few else self._shared(first, second, much)
        return f"{text}{shared} {self._lower(first, second, axis)}"

    def _shared(self, first: str, second: str, much: str) -> str:
        """Returns what holds if the two differ in an efficiency alone, and whether that is refuted."""
        found = self.efficiency(first, second)
        if found is None:
            return ""
        if found.p < 1 - self.level:
            return f" One factor for all scales is refuted (p = {found.p:.2g})."
        needs = " and ".join(
            f"{_times(worth.value)} ({_times(worth.ends[0])} to {_times(worth.ends[1])}) times as "
            + (f"many {_NOUNS[axis][0]}" if self.spent else much)
            for axis, worth in found.worth.items()
        )
        return (
            f" If they share all but an efficiency, which is not refuted (p = {found.p:.2g}), "
            f"{first} needs {needs} at every scale."
        )

    def _lower(self, first: str, second: str, axis: str) -> str:
        """Returns which of two has the lower loss where: inside the data first, then up to the horizon."""
        low, high, horizon = self.span(first, second)
        if high <= low:
            return "They share no range of scales."
        crossings = self.crossings(first, second)
        before = {first: second, second: first}
        start = before[crossings[0].winner] if crossings else self._better(first, second, high)
        where = f"{low:.2g} to {high:.2g} {axis}, where both were run"
        inside = [one for one in crossings if one.scale.value <= high]
        if any(one.share < _SURE for one in inside):
            crossed = " and ".join(one.said for one in inside)
            return f"Which has the lower loss from {where}, the runs do not say: the laws cross at {crossed}."
        parts = [f"From {where}, {start} has the lower loss"]
        parts += [f"up to {one.said}, {one.winner} beyond it" for one in inside]
        text = ", ".join(parts)
        beyond = [
            f"{one.winner} beyond {one.said}"
            for one in crossings
            if one.scale.value > high and one.share >= _SURE
        ]
        if horizon <= high:
            return f"{text}; no backtest says what holds beyond."
        unsure = any(one.scale.value > high for one in crossings)
        further = " and ".join(beyond) or ("no change is sure" if unsure else "nothing changes")
        return f"{text}; further out, up to {horizon:.2g}, as far as the backtests reached, {further}."

    def _better(self, first: str, second: str, scale: float) -> str:
        at = np.log([scale])
        losses = {
            name: float(self.losses(name, self.fits[name].draws(), at)[0, 0]) for name in (first, second)
        }
        return min(losses, key=lambda name: losses[name])

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


def compare(
    families: Mapping[str, tuple[Any, Any]],
    law: str | Law = "power-offset",
    *,
    level: float = 0.9,
    **options: Any,
) -> Comparison:
    """Fits families with the same law and tests whether they share its exponents.

    Args:
        families: For each name its axes and losses, as `fit_law` takes them.
        law: The law or its name, one with exponents.
        level: Coverage of the intervals, from 1,000 refits of each family.
        options: More for `fit_law`: estimator, delta, seed.

    Raises:
        FitError: Fewer than two families, the law has no exponents, or a family's rows do not support it; the
            message names the family.
    """
    check_level(level)
    if len(families) < 2:
        raise FitError(f"a comparison needs at least two families, got {len(families)}")
    form = get_law(law)
    fits = {}
    for name, (x, y) in families.items():
        try:
            fits[name] = fit_law(form, x, y, **options)
        except FitError as error:
            raise FitError(f"family {name!r}: {error}") from None
    return compare_fits(fits, level=level)


def compare_fits(
    fits: Mapping[str, Fit],
    *,
    level: float = 0.9,
    ends: Mapping[str, Mapping[str, tuple[float, float]]] = MappingProxyType({}),
    spent: Mapping[str, Spent] = MappingProxyType({}),
) -> Comparison:
    """Compares fits of the same law.

    Args:
        fits: Two families or more, by name.
        level: Coverage of the intervals.
        ends: Intervals of that level of exponents, by family and exponent, where they are known already.
        spent: By family, for laws L(N, D) that are compared at the optimum of their compute.

    Raises:
        FitError: The law has no exponents.
    """
    law = next(iter(fits.values())).law
    if not law.exponents:
        raise FitError(f"law {law.name!r} has no exponents to compare")
    raw = [exponent_test(fits[a], fits[b], (a, b)) for a, b in combinations(fits, 2)]
    corrected = holm([test.p_bootstrap for test in raw])
    tests = tuple(replace(test, p_holm=p) for test, p in zip(raw, corrected, strict=True))
    draws = {name: refits(fit, seed=fit.seed + i).draws for i, (name, fit) in enumerate(fits.items())}
    names = ("gamma", *law.exponents) if spent else law.exponents
    asked: list[Quantity] = [compute_exponent if name == "gamma" else name for name in names]
    own = {
        name: dict(ends.get(name) or zip(names, intervals(fit, asked, level), strict=True))
        for name, fit in fits.items()
    }
    efficiencies = {
        frozenset((a, b)): efficiency(fits[a], fits[b], (a, b), level) for a, b in combinations(fits, 2)
    }
    return Comparison(dict(fits), dict(spent), tests, level, draws, own, efficiencies)


def _times(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "∞"
