"""What somebody who decides asks of runs: which one is the best, and what ten times the compute brings.

The answer is that of `scalelab.analysis.families.advice`, its refusal too; what is compared here is whole
designs, the mean over seeds of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from scalelab.amounts import rounded_down
from scalelab.analysis.cores import each
from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.advice import Advice, Advisor, FamilyAdvice
from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.analysis.families.fitted import AHEAD
from scalelab.analysis.inference.quantities import FLOPS_PER
from scalelab.analysis.runs.designs import Family, averaged, families, family_of, split
from scalelab.analysis.runs.refits import mean_of

if TYPE_CHECKING:
    import pandas as pd


_MANY_FAMILIES = 40
_NO_COMPUTE = (
    "the runs record neither training FLOPs nor both sizes: a budget has no meaning; import them, or ask "
    "along a size with scalelab predict"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Best:
    """The design of the best objective on a dataset.

    Attributes:
        family: Whose.
        metric: Name of the objective.
        objective: Its mean over seeds, with Student's interval where there are several.
        loss: The mean loss.
        n_runs: How many runs it has.
        n_designs: Of how many designs it is the best.
        n_params: Parameters; NaN where unknown.
        n_examples: Training examples; NaN where unknown.
        train_flops: Training FLOPs; NaN where unknown.
        trial: The trial of its first run.
        studies: Those that its runs are of, where the runs are of several studies.
    """

    family: Family
    metric: str
    objective: Estimate
    loss: float
    n_runs: int
    n_designs: int
    n_params: float
    n_examples: float
    train_flops: float
    trial: str
    studies: tuple[str, ...] = ()

    json_fields: ClassVar = (
        "*family.shown", "metric", "objective", "loss", "n_runs", "n_designs", "n_params", "n_examples",
        "train_flops", "trial_id=trial", "studies",
    )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Ahead:
    """What the runs on one dataset say to somebody who decides.

    Attributes:
        dataset: The dataset's label.
        best: The best designs, one for each objective.
        lowest: The lowest mean loss of a design.
        budget: Ten times the training FLOPs of the largest run; NaN where nothing says them.
        advisor: What says what budgets buy; `None` where a budget has no meaning.
        answer: What is best done with that budget, or why that cannot be said.
        most: What is best done with the largest budget of three digits that has an answer; `None` where none
            has.
    """

    dataset: str
    best: tuple[Best, ...]
    lowest: float
    budget: float
    advisor: Advisor | None
    answer: Advice | Refusal
    most: Advice | None

    json_fields: ClassVar = (
        "dataset", "best", "lowest_loss=lowest", "budget", "refusal", "families", "refused",
        "answered_up_to=limit",
    )  # fmt: skip

    @property
    def prediction(self) -> FamilyAdvice | Refusal:
        """What ten times the compute brings in the family that is best there; or why that cannot be said."""
        return self.answer if isinstance(self.answer, Refusal) else self.answer.families[0]

    @property
    def refusal(self) -> str | None:
        """Why ten times the compute has no answer."""
        return self.answer.reason if isinstance(self.answer, Refusal) else None

    @property
    def families(self) -> tuple[FamilyAdvice, ...]:
        """What it brings in each family, the best one first."""
        return () if isinstance(self.answer, Refusal) else self.answer.families

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The families that are left out there, and why."""
        return (self.answer,) if isinstance(self.answer, Refusal) else self.answer.refused

    @property
    def limit(self) -> float:
        """The largest training FLOPs of three digits that have an answer; NaN where none have."""
        return self.most.budget if self.most is not None else math.nan


def ahead(
    runs: pd.DataFrame,
    designs: pd.DataFrame,
    *,
    estimator: str,
    level: float,
    seed: int,
    optima: Sequence[FamilyOptimum | Refusal] = (),
) -> tuple[Ahead, ...]:
    """Returns what the runs on each dataset say to somebody who decides.

    Args:
        runs: The finished runs.
        designs: Their designs, a row in all for a sweep.
        estimator: What laws minimize.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        optima: Those of families of these designs, as far as they are known already.
    """
    asked = [
        _Asked(
            str(dataset),
            own,
            designs[designs["dataset"] == dataset],
            [one for one in optima if family_of(one).dataset == dataset],
        )
        for (dataset,), own in split(averaged(runs), ["dataset"])
    ]
    heavy = len(families(designs)) >= _MANY_FAMILIES
    return each(partial(_ahead, estimator=estimator, level=level, seed=seed), asked, "answers", heavy=heavy)


class _Asked(NamedTuple):
    """A dataset's runs averaged over seeds, its designs, and what is known of its families' optima."""

    dataset: str
    own: pd.DataFrame
    designs: pd.DataFrame
    optima: list[FamilyOptimum | Refusal]


def _ahead(asked: _Asked, *, estimator: str, level: float, seed: int) -> Ahead:
    dataset, own, designs, optima = asked
    best = tuple(_best(rows, level) for _, rows in split(own, ["metric", "direction"]))
    budget = AHEAD * float(compute_of(own).max())
    advisor = None
    answer: Advice | Refusal = Refusal({"family": best[0].family}, _NO_COMPUTE)
    if math.isfinite(budget):
        advisor = Advisor(designs, estimator=estimator, level=level, seed=seed, optima=optima)
        answer = advisor.answer(budget)
    return Ahead(
        dataset=dataset,
        best=best,
        lowest=float(own["loss"].min()),
        budget=budget,
        advisor=advisor,
        answer=answer,
        most=answer if isinstance(answer, Advice) else _most(advisor, own),
    )


def _most(advisor: Advisor | None, designs: pd.DataFrame) -> Advice | None:
    """Returns what the largest budget brings that the family of the lowest loss has run."""
    if advisor is None:
        return None
    own = designs[(designs[list(Family._fields)] == list(advisor.leading)).all(axis=1)]
    least = float(compute_of(own).min())
    found = advisor.answer(least) if math.isfinite(least) else None
    if not isinstance(found, Advice):
        return None
    (leading,) = (one for one in found.families if one.family == advisor.leading)
    # As it is printed, so that whoever asks for that gets an answer.
    found = advisor.answer(rounded_down(least / leading.beyond))
    return found if isinstance(found, Advice) else None


def _best(rows: pd.DataFrame, level: float) -> Best:
    maximize = rows["direction"].iloc[0] == "maximize"
    row = rows.sort_values("chosen_objective", ascending=not maximize, kind="stable").iloc[0]
    n = int(row["n_runs"])
    return Best(
        family=Family(row["dataset"], row["architecture"], row["optimizer"]),
        metric=str(row["metric"]),
        objective=mean_of(float(row["objective"]), float(row["objective_std"]), n, level),
        loss=float(row["loss"]),
        n_runs=n,
        n_designs=len(rows),
        n_params=float(row["n_params"]),
        n_examples=float(row["n_examples"]),
        train_flops=float(row["train_flops"]),
        trial=str(row["first_run"]),
        studies=row.get("studies", ()),
    )


def compute_of(designs: pd.DataFrame) -> pd.Series:
    """Returns the training FLOPs of designs, where they are not recorded by the usual 6·N·D."""
    epochs = designs["epochs"].fillna(1.0)
    usual = FLOPS_PER * designs["n_params"] * designs["n_examples"] * epochs
    return designs["train_flops"].fillna(usual)
