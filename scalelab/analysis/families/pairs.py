"""Which families scale better? Architectures under one optimizer, and optimizers of one architecture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from scalelab.analysis.estimate import Estimate, Refusal, attempt
from scalelab.analysis.families.laws import FittedLaw
from scalelab.analysis.fits.compare import Comparison, Crossing, compare_fits
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.exponent_test import ExponentTest
from scalelab.analysis.runs.selection import JOINT
from scalelab.errors import FitError

AHEAD_FIRST = ("train_flops", "n_params", "n_examples")
"""The axis to compare along: compute where it was fitted."""

_CURVE = 12


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
        scale: The scale of the multiplier, the largest that both have.
        multiplier: How many times the scale the first needs for the second's loss there; infinite ends are
            `None`.
        crossings: Where the laws cross, from the smallest scale of both to the horizon of the backtests.
        sentence: All of it as text.
        curve: The multiplier along the scales that both have: scale, estimate, lower, upper; shape
            (points, 4).
    """

    first: str
    second: str
    exponent: str
    values: tuple[float, float]
    difference: Estimate
    test: ExponentTest
    scale: float
    multiplier: Estimate
    crossings: tuple[Crossing, ...]
    sentence: str
    curve: Any

    json_fields: ClassVar = (
        "first", "second", "exponent", "values", "difference", "p_likelihood_ratio=test.p_lr",
        "p_bootstrap=test.p_bootstrap", "p_holm=test.p_holm", "at_scale=scale", "multiplier",
        "crossings", "sentence",
    )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """Families that differ in one thing, pair by pair.

    Attributes:
        dataset: What all were trained on.
        varies: `architecture` or `optimizer`.
        held: What the other one is.
        axis: The axis that they are compared along.
        n_points: How many points the smallest of their laws has.
        pairs: Every pair.
    """

    dataset: str
    varies: str
    held: str
    axis: str
    n_points: int
    pairs: tuple[Pair, ...]

    refusal: ClassVar[None] = None
    json_fields: ClassVar = ("dataset", "varies", "held", "axis", "n_points", "refusal", "pairs")


def compare_families(laws: Iterable[FittedLaw | Refusal], level: float) -> tuple[Group | Refusal, ...]:
    """Compares the families of each dataset, pair by pair.

    Args:
        laws: Fitted laws; families are compared along compute where two have a law of it, else along another
            axis.
        level: Coverage of the intervals.
    """
    fitted = [law for law in laws if isinstance(law, FittedLaw) and law.axis != JOINT]
    groups: list[Group | Refusal] = []
    for varies, held in (("architecture", "optimizer"), ("optimizer", "architecture")):
        keys = sorted({(law.family.dataset, getattr(law.family, held)) for law in fitted})
        for dataset, fixed in keys:
            own = [
                law for law in fitted if (law.family.dataset, getattr(law.family, held)) == (dataset, fixed)
            ]
            order = dict.fromkeys((*AHEAD_FIRST, *(law.axis for law in own)))
            axis = next((a for a in order if sum(law.axis == a for law in own) > 1), None)
            if axis is None:
                continue
            chosen = {getattr(law.family, varies): law for law in own if law.axis == axis}
            n_points = min(len(law.points.rows) for law in chosen.values())
            asked = {
                "dataset": dataset, "varies": varies, "held": fixed, "axis": axis, "n_points": n_points,
            }  # fmt: skip
            pairs = attempt(asked, _pairs, chosen, level)
            groups.append(pairs if isinstance(pairs, Refusal) else Group(**asked, pairs=pairs))
    return tuple(groups)


def _pairs(laws: dict[str, FittedLaw], level: float) -> tuple[Pair, ...]:
    """Compares every two of some laws along the same axis.

    Raises:
        FitError: They cannot be compared.
    """
    fits: dict[str, Fit] = {}
    ends: dict[str, dict[str, tuple[float, float]]] = {}
    for name, law in laws.items():
        if not isinstance(law.fit, Fit):
            raise FitError("an average of forms has no exponent to compare; use --law power-offset")
        if not law.exponents:
            raise FitError(f"law {law.law!r} has no exponents to compare")
        fits[name] = law.fit
        ends[name] = {own: law.params[own].ends for own in law.exponents}
    # The family of the larger exponent is the second of its pair, so that sentences read forward.
    order = sorted(fits, key=lambda name: fits[name].params[fits[name].law.exponents[0]])
    found = compare_fits({name: fits[name] for name in order}, level=level, ends=ends)
    return tuple(_pair(found, a, b) for a, b in combinations(order, 2))


def _pair(found: Comparison, first: str, second: str) -> Pair:
    name = found.fits[first].law.exponents[0]
    smallest, largest, _ = found.span(first, second)
    scales = np.geomspace(smallest, largest, _CURVE) if smallest < largest else np.array([largest])
    worths = [(scale, found.multiplier(first, second, float(scale))) for scale in scales]
    return Pair(
        first=first,
        second=second,
        exponent=name,
        values=(found.fits[first].params[name], found.fits[second].params[name]),
        difference=found.difference(first, second, name),
        test=next(test for test in found.tests if set(test.families) == {first, second}),
        scale=largest,
        multiplier=found.multiplier(first, second, largest),
        crossings=found.crossings(first, second),
        sentence=found.sentence(first, second, largest),
        curve=np.array([(scale, worth.value, *worth.ends) for scale, worth in worths]),
    )
