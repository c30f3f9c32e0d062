"""The law that says what budgets buy in a family, and how far it may be asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.amounts import prefixed, rounded_down
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.compute import law_of
from scalelab.analysis.families.fitted import DEFAULT_LAW, SAME, determined
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.intervals import intervals
from scalelab.analysis.runs.selection import NOUNS, EdgeError, Points
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class BudgetLaw:
    """A law of the loss, the points that it is of, and the coverage of what is told of it."""

    points: Points
    fit: Fit
    level: float

    @cached_property
    def open(self) -> bool:
        """Whether the runs leave an exponent open."""
        names = list(self.fit.law.exponents)
        with np.errstate(divide="ignore", invalid="ignore"):  # of draws that determine nothing
            ends = intervals(self.fit, names, self.level)
        return not all(
            determined(self.fit, name, Estimate.of(self.fit.params[name], *pair))
            for name, pair in zip(names, ends, strict=True)
        )

    @property
    def unknown(self) -> str:
        """What the runs leave open where they do, in words."""
        what = " and ".join(NOUNS.get(axis, axis) for axis in self.points.axes)
        return f"the runs do not determine how fast the loss falls with {what}"

    def refuse_beyond(self, budget: float, beyond: float) -> None:
        """Raises where a budget is so many times the largest of the runs and their exponents are open."""
        if beyond <= SAME or not self.open:
            return
        more = " and ".join(f"{NOUNS.get(axis, axis)}s" for axis in self.points.axes)
        seeds = ", and a second seed of each" if (self.points.rows["n_runs"] == 1).all() else ""
        raise FitError(
            f"{self.unknown}, on which an answer for more compute than theirs rests; add {more} beyond those "
            f"that were run{seeds}. "
            f"Up to {prefixed(rounded_down(budget / beyond), 'FLOP')} there is an answer",
            ("sizes",),
        )


def budget_law(designs: pd.DataFrame, level: float, how: dict[str, Any]) -> BudgetLaw:
    """Returns the law of a family's frontier; where compute went into size alone, or data, the law of that.

    Raises:
        FitError: The runs support neither.
    """
    try:
        points, fit, _ = law_of(designs, ("train_flops",), DEFAULT_LAW, **how)
    except EdgeError as edge:
        points, fit, _ = law_of(designs, (edge.along,), DEFAULT_LAW, **how)
    assert isinstance(fit, Fit)  # one form
    return BudgetLaw(points, fit, level)
