"""Which families scale better? Architectures under one optimizer, and optimizers of one architecture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.cores import Progress, each
from scalelab.analysis.estimate import Estimate, Refusal, attempt, named
from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.analysis.families.compute import OptimumLaw, costs_of
from scalelab.analysis.families.fitted import FittedLaw
from scalelab.analysis.fits.compare import Comparison, compare_fits
from scalelab.analysis.fits.compared import Spent
from scalelab.analysis.fits.crossing import Crossing
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.exponent_test import Efficiency, ExponentTest
from scalelab.analysis.runs.designs import Family
from scalelab.analysis.runs.selection import JOINT, Points
from scalelab.analysis.runs.uncounted import COMPUTE, compute_doubts
from scalelab.errors import FitError

if TYPE_CHECKING:
    from scalelab.analysis.inference.average import AutoFit

AHEAD_FIRST = ("train_flops", "n_params", "n_examples")
"""The axis to compare along: compute where it was fitted."""

MOST_FAMILIES = 12
"""Of more families not every two are compared."""
_CURVE = 12
_MANY_PAIRS = 40


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """Two families under the same law; the second one has the larger exponent.

    Attributes:
        first: The family to compare with.
        second: The one in question.
        exponent: What the compared exponent is called.
        values: It in both.
        difference: By how much the second exceeds the first.
        test: Shared against separate exponents.
        efficiency: What a scale is worth in the second, if both share all but that; `None` where the law
            is no sum of powers.
        scale: The scale of the multiplier, the largest that both have.
        multiplier: How many times the scale the first needs for the loss of the worse of both there, see
            `Comparison.worth`; infinite ends are `None`.
        crossings: Where the laws cross, from the smallest scale of both to the horizon of the backtests.
        horizon: That horizon.
        ratio: The largest multiplier that runs say anything of, see `Comparison.ratio`.
        sentence: All of it as text.
        comparison: The numbers behind it.
    """

    first: str
    second: str
    exponent: str
    values: tuple[float, float]
    difference: Estimate
    test: ExponentTest
    efficiency: Efficiency | None
    scale: float
    multiplier: Estimate
    crossings: tuple[Crossing, ...]
    horizon: float
    ratio: float
    sentence: str
    comparison: Comparison

    json_fields: ClassVar = (
        "first", "second", "exponent", "values", "difference", "p_likelihood_ratio=test.p_lr",
        "p_bootstrap=test.p_bootstrap", "p_holm=test.p_holm", "efficiency", "at_scale=scale", "multiplier",
        "crossings", "up_to=horizon", "sentence",
    )  # fmt: skip

    @cached_property
    def curve(self) -> NDArray[np.float64]:
        """The multiplier along the scales that both have: scale, value, lower, upper; shape (points, 4)."""
        smallest, largest, _ = self.comparison.span(self.first, self.second)
        scales = np.geomspace(smallest, largest, _CURVE) if smallest < largest else np.array([largest])
        worths = [self.comparison.worth(self.first, self.second, float(scale)) for scale in scales]
        return np.array([(scale, one.value, *one.ends) for scale, one in zip(scales, worths, strict=True)])


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """Families that differ in one thing, pair by pair.

    Attributes:
        dataset: What all were trained on.
        varies: `architecture` or `optimizer`.
        held: What the other one is.
        axis: The axis that they are compared along.
        n_points: How many points the smallest of their laws has.
        pairs: Every pair; of more than `MOST_FAMILIES` each with the one that reached the lowest loss.
        warnings: What is to be said of the axis.
    """

    dataset: str
    varies: str
    held: str
    axis: str
    n_points: int
    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...] = ()

    refusal: ClassVar[None] = None
    json_fields: ClassVar = (
        "dataset", "varies", "held=named", "axis", "n_points", "refusal", "pairs", "warnings",
    )  # fmt: skip

    @property
    def named(self) -> str | None:
        """What the other one is; `None` where the runs do not say."""
        return named(self.held)


class _Side(NamedTuple):
    """A family's law in a comparison."""

    points: Points
    fit: Fit | AutoFit[Fit]
    ends: dict[str, tuple[float, float]]
    spent: Spent | None = None


def compare_families(
    laws: Iterable[FittedLaw | Refusal],
    optima: Iterable[FamilyOptimum | Refusal],
    level: float,
    progress: Progress | None = None,
) -> tuple[Group | Refusal, ...]:
    """Compares the families of each dataset, pair by pair.

    Every two of them; of more than `MOST_FAMILIES` each with the one whose points reached the lowest loss. A
    hundred families have 4,950 pairs, of which Holm's rule leaves nothing significant and nobody reads all.

    Args:
        laws: Fitted laws; families are compared along compute where two have a law of it, else along another
            axis.
        optima: The law of compute of a family whose L(N, D) has an optimum is that; such families are
            compared with each other, those of a frontier with each other.
        level: Coverage of the intervals.
        progress: Is told how many sets of families are done.
    """
    tasks = list(_tasks(_sides(laws, optima)))
    n_pairs = sum(math.comb(len(task.sides), 2) for task in tasks)
    return each(partial(_group, level=level), tasks, "comparisons", progress, heavy=n_pairs >= _MANY_PAIRS)


class _Task(NamedTuple):
    """Families to compare, and what they have in common."""

    dataset: str
    varies: str
    held: str
    axis: str
    sides: dict[str, _Side]


def _tasks(sides: Mapping[tuple[Family, str], _Side]) -> Iterator[_Task]:
    for varies, held in (("architecture", "optimizer"), ("optimizer", "architecture")):
        keys = sorted({(family.dataset, getattr(family, held)) for family, _ in sides})
        for dataset, fixed in keys:
            own = {
                (axis, known_as(getattr(family, varies))): side
                for (family, axis), side in sides.items()
                if (family.dataset, getattr(family, held)) == (dataset, fixed)
            }
            order = dict.fromkeys((*AHEAD_FIRST, *(axis for axis, _ in own)))
            alike = {axis: _alike({name: s for (a, name), s in own.items() if a == axis}) for axis in order}
            axis = next((axis for axis, there in alike.items() if len(there) > 1), None)
            if axis is not None:
                yield _Task(dataset, varies, fixed, axis, alike[axis])


def _group(task: _Task, level: float) -> Group | Refusal:
    *shared, chosen = task
    n_points = min(len(side.points.rows) for side in chosen.values())
    asked: Any = dict(zip(_Task._fields, shared, strict=False)) | {"n_points": n_points}
    pairs = attempt(asked, _pairs, chosen, level)
    if isinstance(pairs, Refusal):
        return pairs
    warnings = (*_not_all(chosen), *(_short_of_compute(chosen) if task.axis in COMPUTE else ()))
    return Group(**asked, pairs=pairs, warnings=warnings)


def _hub(sides: Mapping[str, _Side]) -> str | None:
    """Returns the one of many families that all others are compared with: whose points are the lowest."""
    if len(sides) <= MOST_FAMILIES:
        return None
    return min(sides, key=lambda name: float(sides[name].points.loss.min()))


def _not_all(sides: Mapping[str, _Side]) -> tuple[str, ...]:
    """Returns what is to be said of families of which not every two are compared."""
    hub = _hub(sides)
    if hub is None:
        return ()
    return (
        f"{len(sides)} families have too many pairs to compare all: each is compared with {hub}, "
        f"which reached the lowest loss; import or select {MOST_FAMILIES} or fewer to compare every two",
    )


def _short_of_compute(sides: Mapping[str, _Side]) -> tuple[str, ...]:
    """Returns what is to be said of families whose compute is a lower bound."""
    found = ((name, doubt) for name, side in sides.items() for doubt in compute_doubts(side.points.rows))
    return tuple(f"{name}: {doubt}; its multipliers are bounds, too" for name, doubt in found)


def known_as(name: str) -> str:
    """Returns what a family is called in a comparison."""
    return named(name) or "unnamed"


def _alike(sides: dict[str, _Side]) -> dict[str, _Side]:
    """Returns the laws of one kind: at the optimum of L(N, D) where two are, else the others."""
    optima = {name: side for name, side in sides.items() if side.spent}
    return optima if len(optima) > 1 else {name: side for name, side in sides.items() if not side.spent}


def _sides(
    laws: Iterable[FittedLaw | Refusal], optima: Iterable[FamilyOptimum | Refusal]
) -> dict[tuple[Family, str], _Side]:
    """Returns the laws to compare, by family and axis."""
    sides = {}
    for law in laws:
        # The law of compute of a family that has an optimum is that, below.
        if isinstance(law, FittedLaw) and law.axis != JOINT and not isinstance(law, OptimumLaw):
            ends = {own: law.params[own].ends for own in law.exponents}
            sides[law.family, law.axis] = _Side(law.points, law.fit, ends)
    for one in optima:
        if isinstance(one, FamilyOptimum) and one.split is not None:
            flops = costs_of(one.points).flops
            spent = Spent(one.flops_per, float(flops.min()), float(flops.max()))
            sides[one.family, "train_flops"] = _Side(one.points, one.split, {}, spent)
    return sides


def _pairs(sides: dict[str, _Side], level: float) -> tuple[Pair, ...]:
    """Compares some laws along the same axis, every two or each with the best of many.

    Raises:
        FitError: They cannot be compared.
    """
    fits: dict[str, Fit] = {}
    held = {name: side.points.where for name, side in sides.items() if not side.spent}
    if len(set(held.values())) > 1:
        places = ", ".join(f"{name} {where}" for name, where in held.items())
        raise FitError(f"the families hold different sizes ({places}); run them at one, then compare")
    for name, side in sides.items():
        if not isinstance(side.fit, Fit):
            raise FitError("an average of forms has no exponent to compare; use --law power-offset")
        fits[name] = side.fit
    spent = {name: side.spent for name, side in sides.items() if side.spent}
    ends = {name: side.ends for name, side in sides.items()}
    found = compare_fits(fits, level=level, ends=ends, spent=spent, best=_hub(sides))
    # The family of the larger exponent is the second of its pair, so that sentences read forward.
    order = sorted(fits, key=lambda name: found.value(name, found.exponents[0]))
    asked = {frozenset(test.families) for test in found.tests}
    return tuple(_pair(found, a, b) for a, b in combinations(order, 2) if {a, b} in asked)


def _pair(found: Comparison, first: str, second: str) -> Pair:
    name = found.exponents[0]
    _, largest, horizon = found.span(first, second)
    return Pair(
        first=first,
        second=second,
        exponent=name,
        values=(found.value(first, name), found.value(second, name)),
        difference=found.difference(first, second, name),
        test=next(test for test in found.tests if set(test.families) == {first, second}),
        efficiency=found.efficiency(first, second),
        scale=largest,
        multiplier=found.worth(first, second, largest),
        crossings=found.crossings(first, second),
        horizon=max(horizon, largest),
        ratio=found.ratio(first, second, largest),
        sentence=found.sentence(first, second, largest),
        comparison=found,
    )
