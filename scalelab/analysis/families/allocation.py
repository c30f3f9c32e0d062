"""How each family of runs should spend compute: the three approaches of `compute_optimal` on its runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from scalelab.analysis.cores import Progress, each
from scalelab.analysis.estimate import Refusal, attempt
from scalelab.analysis.families.compute import costs_of
from scalelab.analysis.families.fitted import FittedLaw
from scalelab.analysis.fits.compute_optimal import ComputeOptimal, compute_optimal
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.quantities import FLOPS_PER
from scalelab.analysis.inference.trend import refuse_no_trend
from scalelab.analysis.runs.designs import Family, families
from scalelab.analysis.runs.selection import JOINT, Points, training_points
from scalelab.analysis.runs.uncounted import compute_doubts

if TYPE_CHECKING:
    import pandas as pd

_UNEVEN = 1.5


@dataclass(frozen=True, eq=False, kw_only=True)
class FamilyOptimum:
    """How one family should spend compute.

    Attributes:
        family: Whose.
        points: The runs that it is about; `n_examples` counts examples seen.
        found: The three approaches side by side.
        flops_per: Measured training FLOPs for each parameter and example seen.
        warnings: What to distrust, a sentence each.
    """

    family: Family
    points: Points
    found: ComputeOptimal
    flops_per: float
    warnings: tuple[str, ...]

    @property
    def split(self) -> Fit | None:
        """The law L(N, D) whose optimum is the family's law of compute; `None` where it has none."""
        return self.found.fit if "parametric" in self.found.approaches else None

    refusal: ClassVar[None] = None
    json_fields: ClassVar = (
        "*family.shown", "refusal", "selection=points.selection", "flops_per_param_and_example=flops_per",
        "approaches=found.approaches", "missing=found.missing", "parabola_bias=found.parabola_bias",
        "agree=found.agree", "warnings",
    )  # fmt: skip


def family_optima(
    designs: pd.DataFrame,
    *,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
    laws: Iterable[FittedLaw | Refusal] = (),
    progress: Progress | None = None,
) -> tuple[FamilyOptimum | Refusal, ...]:
    """Applies the three approaches to the runs of each family.

    Args:
        designs: Means over seeds, as `scalelab.analysis.runs.designs.designs` makes them.
        estimator: What the parametric law minimizes.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        laws: The laws of the families, as far as they are fitted: one of the same runs is not fitted again.
        progress: Is told how many families are done.
    """
    known = {
        law.family: law.fit
        for law in laws
        if isinstance(law, FittedLaw) and law.axis == JOINT and isinstance(law.fit, Fit)
    }
    asked = [(family, rows, known.get(family)) for family, rows in families(designs)]
    of_family = partial(_of_family, estimator=estimator, level=level, seed=seed)
    return each(of_family, asked, "compute-optimal splits", progress)


def _of_family(
    asked: tuple[Family, pd.DataFrame, Fit | None], *, estimator: str, level: float, seed: int
) -> FamilyOptimum | Refusal:
    family, rows, known = asked
    return family_optimum(family, rows, estimator=estimator, level=level, seed=seed, known=known)


def family_optimum(
    family: Family,
    designs: pd.DataFrame,
    *,
    estimator: str,
    level: float,
    seed: int,
    known: Fit | None = None,
) -> FamilyOptimum | Refusal:
    """Applies the three approaches to the designs of one family; what they cannot say is a refusal."""
    return attempt({"family": family}, _optimum, family, designs, estimator, level, seed, known)


def _optimum(
    family: Family, designs: pd.DataFrame, estimator: str, level: float, seed: int, known: Fit | None
) -> FamilyOptimum:
    points = training_points(designs)
    refuse_no_trend(*points.means)
    costs = costs_of(points)
    found = compute_optimal(
        points.x["n_params"], points.x["n_examples"], points.loss, flops=costs.flops, flops_per=costs.per,
        estimator=estimator, level=level, seed=seed, known=known,
    )  # fmt: skip
    warnings = (
        *_cost_warnings(costs.ratios),
        *found.warnings(),
        *points.doubts,
        *compute_doubts(points.rows),
    )
    return FamilyOptimum(family=family, points=points, found=found, flops_per=costs.per, warnings=warnings)


def _cost_warnings(ratio: Any) -> list[str]:
    if not ratio.size:
        return [f"no run records its train_flops: compute is taken as {FLOPS_PER:g}·N·D"]
    spread = float(ratio.max() / ratio.min())
    if spread < _UNEVEN:
        return []
    return [
        f"training FLOPs for each parameter and example differ by {spread:.1f} times between the designs; "
        "compute is taken as their geometric mean times N·D"
    ]
