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
from typing import Any

from scalelab.analysis.fits.compared import Compared, Spent
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.fits.verdict import verdict
from scalelab.analysis.fitting.draws import Quantity
from scalelab.analysis.inference.bootstrap import check_level
from scalelab.analysis.inference.exponent_test import (
    efficiency,
    exponent_test,
    holm,
)
from scalelab.analysis.inference.intervals import intervals, refits
from scalelab.analysis.inference.quantities import compute_exponent
from scalelab.analysis.laws import get_law
from scalelab.errors import FitError
from scalelab.law import Law


@dataclass(frozen=True, eq=False)
class Comparison(Compared):
    """Families fitted with the same law; see `Compared` for the attributes."""

    def sentence(self, first: str, second: str, scale: float | None = None) -> str:
        """Returns the answer to "does the second family scale better than the first?" as text with numbers.

        Args:
            first: The family to compare with.
            second: The family in question.
            scale: Where the multiplier is quoted; default the largest scale that both have.
        """
        self._one_axis()
        return verdict(self, first, second, scale or self.span(first, second)[1])


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
    best: str | None = None,
) -> Comparison:
    """Compares fits of the same law.

    Args:
        fits: Two families or more, by name.
        level: Coverage of the intervals.
        ends: Intervals of that level of exponents, by family and exponent, where they are known already.
        spent: By family, for laws L(N, D) that are compared at the optimum of their compute.
        best: The one that all others are compared with; by default every two are compared.

    Raises:
        FitError: There are fewer than two, they are not of one law along the same axes, or it has no
            exponents.
    """
    law = _common_law(fits)
    pairs = [pair for pair in combinations(fits, 2) if best is None or best in pair]
    raw = [exponent_test(fits[a], fits[b], (a, b)) for a, b in pairs]
    corrected = holm([test.p_bootstrap for test in raw])
    tests = tuple(replace(test, p_holm=p) for test, p in zip(raw, corrected, strict=True))
    draws = {name: refits(fit, seed=fit.seed + i).draws for i, (name, fit) in enumerate(fits.items())}
    names = ("gamma", *law.exponents) if spent else law.exponents
    asked: list[Quantity] = [compute_exponent if name == "gamma" else name for name in names]
    own = {
        name: dict(ends.get(name) or zip(names, intervals(fit, asked, level), strict=True))
        for name, fit in fits.items()
    }
    efficiencies = {frozenset((a, b)): efficiency(fits[a], fits[b], (a, b), level) for a, b in pairs}
    return Comparison(dict(fits), dict(spent), tests, level, draws, own, efficiencies)


def _common_law(fits: Mapping[str, Fit]) -> Law:
    """Returns the law that all fits are of.

    Raises:
        FitError: There is none, or it has no exponents.
    """
    if len(fits) < 2:
        raise FitError(f"a comparison needs at least two families, got {len(fits)}")
    for name, fit in fits.items():
        if not isinstance(fit, Fit):
            raise FitError(f"family {name!r}: an average of forms has no exponent to compare; fit one form")
    (first, one), *others = fits.items()
    for name, fit in others:
        for what, own, other in (
            ("law", fit.law.name, one.law.name),
            ("axes", ", ".join(fit.table.axes), ", ".join(one.table.axes)),
        ):
            if own != other:
                raise FitError(f"families must share their {what}: {first} has {other}, {name} {own}")
    if not one.law.exponents:
        raise FitError(f"law {one.law.name!r} has no exponents to compare")
    return one.law
