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
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.inference.bootstrap import check_level, tails
from scalelab.analysis.inference.exponent_test import ExponentTest, exponent_test, holm
from scalelab.analysis.inference.intervals import intervals, refits
from scalelab.analysis.inference.quantities import bisect
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


@dataclass(frozen=True)
class Crossing:
    """Where the laws of two families cross.

    Attributes:
        winner: The family of the lower loss beyond it.
        scale: Where; the interval is that of the refits that cross so.
        share: The share of refits that do.
    """

    winner: str
    scale: Estimate
    share: float

    json_fields: ClassVar = ("winner_beyond=winner", "scale", "share")

    @property
    def said(self) -> str:
        """The scale with its interval, as text."""
        low, high = self.scale.ends
        return f"{self.scale.value:.2g} ({low:.2g} to {high:.2g}, in {self.share:.0%} of refits)"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Families fitted with the same law.

    Attributes:
        fits: The separate fit of each family, by name.
        tests: One a pair.
        level: Coverage of the intervals.
        draws: Refits of each family, by name.
        ends: The interval of each exponent, by name of family and exponent.
    """

    fits: dict[str, Fit]
    tests: tuple[ExponentTest, ...]
    level: float
    draws: dict[str, Draws]
    ends: dict[str, dict[str, tuple[float, float]]]

    def difference(self, first: str, second: str, exponent: str) -> Estimate:
        """Returns by how much an exponent of the second family exceeds the first's.

        Its interval is recovered from those of the two exponents (MOVER, Zou & Donner 2008), which are
        calibrated; a percentile of refits to few runs would be too narrow.
        """
        a, b = self.fits[first].params[exponent], self.fits[second].params[exponent]
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
        value = _multiplier(self.fits[first].draws(), self.fits[second].draws(), scale)[0]
        return self._estimate(value, _multiplier(*self._refits(first, second), scale))

    def crossings(self, first: str, second: str) -> tuple[Crossing, ...]:
        """Returns where the laws of two families cross, from the smallest scale of both to the horizon."""
        self._one_axis()
        low, _, horizon = self.span(first, second)
        if horizon <= low:
            return ()
        grid = np.linspace(np.log(low), np.log(horizon), _GRID)
        (own,) = _sign_changes(self.fits[first].draws(), self.fits[second].draws(), grid)
        pool = _sign_changes(*self._refits(first, second), grid)
        return tuple(
            self._crossing(second if falls else first, place, [_nearest(row, place, falls) for row in pool])
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
        own = [self.fits[name] for name in (first, second)]
        low = max(float(fit.table.columns[0].min()) for fit in own)
        high = min(float(fit.table.columns[0].max()) for fit in own)
        reach = min(max(fit.backtest.reach, default=1.0) for fit in own)
        return low, high, high * reach

    def summary(self) -> pd.DataFrame:
        """Returns one row per pair and exponent: values, their difference with its interval, p-values."""
        import pandas as pd

        rows = [
            {
                "first": first,
                "second": second,
                "exponent": name,
                "first_value": self.fits[first].params[name],
                "second_value": self.fits[second].params[name],
                "difference": gap.value,
                "lower": gap.ends[0],
                "upper": gap.ends[1],
                "p_lr": test.p_lr,
                "p_bootstrap": test.p_bootstrap,
                "p_holm": test.p_holm,
            }
            for test in self.tests
            for first, second in [test.families]
            for name in self.fits[first].law.exponents
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
        column = self.fits[first].table.axes[0]
        axis, less, more, much = _NOUNS.get(column, (column, f"less {column}", f"more {column}", "much"))
        name = self.fits[first].law.exponents[0]
        test = next(t for t in self.tests if set(t.families) == {first, second})
        gap = self.difference(first, second, name)
        lower, upper = gap.ends
        sure = test.p_holm < 1 - self.level and not lower <= 0 <= upper
        n_points = min(self.fits[family].table.y.size for family in (first, second))
        if n_points < _ENOUGH * len(self.fits[first].law.params):
            verdict = f"{n_points} points are too few to say whether {second} scales better than {first}"
        elif sure:
            verdict = f"{second} scales {'better' if gap.value > 0 else 'worse'} than {first}"
        else:
            verdict = f"{second} does not scale measurably differently from {first}"
        if scale is None:
            scale = min(float(fit.table.columns[0].max()) for fit in (self.fits[first], self.fits[second]))
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
        return f"{text} {self._lower(first, second, axis)}"

    def _lower(self, first: str, second: str, axis: str) -> str:
        """Returns which of two has the lower loss where: inside the data first, then up to the horizon."""
        low, high, horizon = self.span(first, second)
        if high <= low:
            return "They share no range of scales."
        crossings = self.crossings(first, second)
        before = {first: second, second: first}
        start = before[crossings[0].winner] if crossings else self._better(first, second, high)
        parts = [f"From {low:.2g} to {high:.2g} {axis}, where both were run, {start} has the lower loss"]
        inside = [one for one in crossings if one.scale.value <= high]
        parts += [f"up to {one.said}, {one.winner} beyond it" for one in inside]
        text = ", ".join(parts)
        beyond = [f"{one.winner} beyond {one.said}" for one in crossings if one.scale.value > high]
        if horizon <= high:
            return f"{text}; no backtest says what holds beyond."
        further = " and ".join(beyond) or "nothing changes"
        return f"{text}; further out, up to {horizon:.2g}, as far as the backtests reached, {further}."

    def _better(self, first: str, second: str, scale: float) -> str:
        losses = {name: float(self.fits[name].predict(np.array([scale]))[0]) for name in (first, second)}
        return min(losses, key=lambda name: losses[name])

    def _estimate(self, value: float, pool: Array) -> Estimate:
        return Estimate.of(value, *np.quantile(pool[~np.isnan(pool)], tails(self.level), method="nearest"))

    def _refits(self, first: str, second: str) -> tuple[Draws, Draws]:
        """Returns as many refits of the one family as of the other."""
        one, other = self.draws[first], self.draws[second]
        n = min(len(one), len(other))
        return replace(one, theta=one.theta[:n]), replace(other, theta=other.theta[:n])

    def _one_axis(self) -> None:
        fit = next(iter(self.fits.values()))
        if len(fit.table.axes) != 1:
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
) -> Comparison:
    """Compares fits of the same law.

    Args:
        fits: Two families or more, by name.
        level: Coverage of the intervals.
        ends: Intervals of that level of exponents, by family and exponent, where they are known already.

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
    own = {
        name: dict(ends.get(name) or zip(law.exponents, intervals(fit, law.exponents, level), strict=True))
        for name, fit in fits.items()
    }
    return Comparison(dict(fits), tests, level, draws, own)


def _times(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "∞"


def _multiplier(first: Draws, second: Draws, scale: float) -> Array:
    """Returns by what factor the first law's scale exceeds the second's for the same loss, shape (draws,)."""
    target = second.at(second.frame.inward([np.array([scale])]))[:, 0]

    def loss(z: Array) -> Array:
        return first.at(((z - first.frame.centers[0])[:, None],))[:, 0]

    return np.asarray(np.exp(bisect(loss, target, len(first), float(np.log(scale))) - np.log(scale)))


def _sign_changes(first: Draws, second: Draws, grid: Array) -> list[list[tuple[float, bool]]]:
    """Returns for each draw where on a grid of logs the laws cross, and whether the second wins beyond."""
    gap = second.at((grid - second.frame.centers[0],)) - first.at((grid - first.frame.centers[0],))
    found: list[list[tuple[float, bool]]] = [[] for _ in range(len(gap))]
    for row, at in zip(*np.nonzero((gap[:, :-1] > 0) != (gap[:, 1:] > 0)), strict=True):
        before, after = gap[row, at], gap[row, at + 1]
        place = grid[at] + before / (before - after) * (grid[1] - grid[0])
        found[row].append((float(place), bool(after <= 0)))
    return found


def _nearest(crossings: list[tuple[float, bool]], place: float, falls: bool) -> float | None:
    """Returns the crossing of the same kind that is nearest to a place."""
    alike = [own for own, kind in crossings if kind == falls]
    return min(alike, key=lambda own: abs(own - place)) if alike else None
