"""The best use of a training budget: which family, how large, how many examples, and what loss to expect.

Where the runs of a family vary size and length, their law L(N, D) is minimized under `C = k·N·D` with the
measured k. Where they do not, the law of the compute-efficient frontier, or of what compute went into alone,
says what the budget buys if it is spent as those runs spent theirs; whether another split is better they
cannot say. What one family is told does not depend on the others. Where the dataset has fewer examples than
the best split asks for, the split is the best one of those: all of them, and the rest goes into parameters.

A budget beyond a family's runs rests on the exponents of its law: where the runs do not determine them, that
family has no answer. Where the family of the lowest loss has none there is no advice at all, for then nobody
knows which family is best. `Advisor.answer` is this one rule, for the command, the answer of a report and its
row of budgets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalelab.analysis.estimate import Estimate, Refusal, attempt, named
from scalelab.analysis.families.allocation import FamilyOptimum, family_optimum
from scalelab.analysis.families.budget_law import BudgetLaw, budget_law
from scalelab.analysis.families.compute import costs_of
from scalelab.analysis.families.data import Supply, all_used, repeated, wanted
from scalelab.analysis.families.fitted import Fitted, run_at, run_parts
from scalelab.analysis.families.shares import Entry, best_shares
from scalelab.analysis.fits.budget import split_of
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.inference.bootstrap import check_level
from scalelab.analysis.inference.intervals import intervals
from scalelab.analysis.inference.quantities import log_of, optimal_params
from scalelab.analysis.inference.spread import Parts
from scalelab.analysis.runs.datasets import dataset_labels
from scalelab.analysis.runs.designs import Family, design_ids, families, family_of
from scalelab.analysis.runs.selection import GRID_AXES
from scalelab.errors import FitError, InputError

if TYPE_CHECKING:
    import pandas as pd

SPLIT, FRONTIER = "optimum", "frontier"
_MOST = 1e40
_MOST_LOG = 300.0
_APART = 1.1


@dataclass(frozen=True, eq=False, kw_only=True)
class FamilyAdvice(Fitted):
    """What a budget buys in one family; the law is that of the loss.

    Attributes:
        basis: `optimum` of the law L(N, D), or `frontier`: as the best runs spent theirs; `n_params` or
            `n_examples` where these spent it on that alone.
        at: The scale of the run, by axis of the law.
        n_params: Parameters.
        n_seen: Examples seen in training, repeats counted.
        per_param: Examples seen for each parameter.
        loss: Loss of such a run, its noise included.
        parts: What its interval is made of.
        unique: How many different examples the runs behind it had, where all had the same.
        n_examples: Different examples for the run: as many, or what its examples seen are at the passes that
            all the runs made.
        supply: How many the dataset has.
        limited: Whether the run takes all of these because the split without that limit asks for more.
        beyond: How many times the largest compute of these runs the budget is.
        share: In which share of refits of all families this one has the lowest loss.
        flops_per: Training FLOPs for each parameter and example seen.
        optimum: The three approaches, or why there are none.
        sizes: By approach, the number of parameters that it says.
        warnings: What to distrust, a sentence each.
    """

    basis: str
    at: dict[str, float]
    n_params: Estimate
    n_seen: Estimate
    per_param: Estimate
    loss: Estimate
    parts: Parts
    unique: int | None
    n_examples: float
    supply: Supply
    limited: bool
    beyond: float
    share: float = 1.0
    fit: Fit
    flops_per: float
    optimum: FamilyOptimum | Refusal
    sizes: dict[str, float]
    warnings: tuple[str, ...]

    json_fields: ClassVar = (
        "*family.shown", "basis", "n_params", "examples_seen=n_seen", "examples_per_param=per_param", "loss",
        "interval_parts=parts", "n_examples", "examples_available=supply.n_available",
        "limited_by_data=limited", "times_beyond=beyond", "share_best=share", "law=fit.law.name",
        "params=fit.params", "selection=points.selection", "backtest",
        "flops_per_param_and_example=flops_per", "sizes", "warnings",
    )  # fmt: skip

    @property
    def lacks_data(self) -> bool:
        """Whether the run takes more examples than there are."""
        return self.supply.lacks(self.n_examples)

    def expect(self, n_params: float, n_seen: float, flops: float, level: float) -> Estimate:
        """Returns the loss of one run of another size, with its prediction interval."""
        seen = n_seen if self.basis == SPLIT else n_seen * self.n_examples / self.n_seen.value
        if self.limited:  # what is seen beyond that is repeated more often than in the runs of the law
            seen = min(seen, self.n_seen.value)
        return run_at(self.fit, {"n_params": n_params, "n_examples": seen, "train_flops": flops}, level)


@dataclass(frozen=True, eq=False)
class Advice:
    """What a budget buys.

    Attributes:
        budget: Training FLOPs.
        level: Coverage of the intervals.
        families: The best one first.
        refused: The families that are left out of it, and why.
    """

    budget: float
    level: float
    families: tuple[FamilyAdvice, ...]
    refused: tuple[Refusal, ...]


def advise(
    designs: pd.DataFrame,
    budget: float,
    *,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
) -> Advice:
    """Says how to spend a training budget.

    Args:
        designs: Means over seeds, as `scalelab.analysis.runs.designs.designs` makes them.
        budget: Training FLOPs of the one run to make.
        estimator: What the laws minimize.
        level: Coverage of the intervals.
        seed: Seed of everything random.

    Raises:
        InputError: The budget or an option is wrong, or no family's runs support an answer.
    """
    _check_budget(budget)
    return Advisor(designs, estimator=estimator, level=level, seed=seed).advise(budget)


class Advisor:
    """The laws that say what a budget buys, fitted once for any number of budgets.

    Args:
        designs: Means over seeds.
        estimator: What the laws minimize.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        optima: Those of families of these designs, as far as they are known already.

    Raises:
        InputError: An option is wrong, or the runs are of several datasets.

    Attributes:
        leading: The family of the lowest loss.
    """

    def __init__(
        self,
        designs: pd.DataFrame,
        *,
        estimator: str,
        level: float,
        seed: int,
        optima: Iterable[FamilyOptimum | Refusal] = (),
    ) -> None:
        check_level(level)
        Estimator.named(estimator)
        datasets = sorted(designs["dataset"].unique())
        if len(datasets) > 1:
            raise InputError(
                "losses of different datasets cannot be compared: choose one with --dataset, of "
                + ", ".join(datasets)
            )
        self._level = level
        how: dict[str, Any] = {"estimator": estimator, "seed": seed}
        of_families = families(designs)
        known = {family_of(one): one for one in optima}
        self.leading = min(of_families, key=lambda one: float(one[1]["loss"].fillna(math.inf).min()))[0]
        supply = Supply.of(designs, *datasets)
        self._bases = [
            (family, attempt({"family": family}, _basis, family, rows, supply, level, how, known.get(family)))
            for family, rows in of_families
        ]

    def answer(self, budget: float) -> Advice | Refusal:
        """Says how to spend a budget, or why the family of the lowest loss has no answer.

        Raises:
            InputError: The budget is wrong.
        """
        _check_budget(budget)
        results = [
            basis if isinstance(basis, Refusal) else attempt({"family": family}, basis, budget)
            for family, basis in self._bases
        ]
        found = [one for one in results if isinstance(one, FamilyAdvice)]
        refused = tuple(one for one in results if isinstance(one, Refusal))
        for one in refused:
            if family_of(one) == self.leading:
                return one
        shares = best_shares([Entry(one.family, one.fit, one.at) for one in found])
        ranked = [replace(one, share=share) for one, share in zip(found, shares, strict=True)]
        return Advice(budget, self._level, tuple(sorted(ranked, key=lambda one: one.loss.value)), refused)

    def advise(self, budget: float) -> Advice:
        """Says how to spend a budget, the same as the function of this name.

        Raises:
            InputError: The budget is wrong, or the family of the lowest loss has no answer.
        """
        found = self.answer(budget)
        if isinstance(found, Advice):
            return found
        raise InputError(f"the runs support no advice: {found.reason}{self._others()}")

    def _others(self) -> str:
        """Returns whose reason it is that there is no advice, and how to ask of other families."""
        if len(self._bases) == 1:
            return ""
        name = " with ".join(filter(None, map(named, self.leading[1:])))
        ask = "--architecture, --optimizer or --where ask of others alone"
        return f" ({name} has the lowest loss; {ask})"


def _check_budget(budget: float) -> None:
    if not (math.isfinite(budget) and 0 < budget < _MOST):
        raise InputError(
            f"a budget must be a positive number of training FLOPs, {_MOST:g} at most, got {budget:g}"
        )


def _basis(
    family: Family,
    designs: pd.DataFrame,
    supply: Supply,
    level: float,
    how: dict[str, Any],
    known: FamilyOptimum | Refusal | None,
) -> Callable[[float], FamilyAdvice]:
    """Returns what says what a budget buys in a family; its law of compute is that of comparisons."""
    optimum = known or family_optimum(family, designs, level=level, **how)
    if isinstance(optimum, FamilyOptimum) and optimum.split is not None:
        return partial(_optimal, optimum, BudgetLaw(optimum.points, optimum.split, level), supply)
    why = optimum.reason if isinstance(optimum, Refusal) else optimum.found.missing["parametric"]
    try:
        law = budget_law(designs, level, how)
    except FitError as error:
        more = "" if why.partition(";")[0] in str(error) else f". No law L(N, D) says more: {why}"
        also = optimum.remedies if more and isinstance(optimum, Refusal) else frozenset()
        raise FitError(f"{error}{more}", error.remedies | also) from None
    return partial(_as_before, family, optimum, law, supply, why)


def _optimal(optimum: FamilyOptimum, law: BudgetLaw, supply: Supply, budget: float) -> FamilyAdvice:
    """Returns the optimum of the law L(N, D) under the budget."""
    points, found, per, split = optimum.points, optimum.found, optimum.flops_per, law.fit
    best, product = optimal_params(budget, per), budget / per
    size = split.estimate(best)
    if not 0 < size < np.inf:
        raise FitError("the law L(N, D) has no optimum: one of its exponents is zero")
    (logs,) = intervals(split, [log_of(best)], law.level)
    lower, upper = np.clip(logs, -_MOST_LOG, _MOST_LOG)
    n, d, ratio = (Estimate.of(*one) for one in split_of(product, size, lower, upper))
    _refuse_nothing(budget, n.value, d.value)
    unique, n_examples = wanted(points.rows["unique"], points.rows["passes"], d.value)
    sizes = {name: one.coefficient * budget**one.exponent for name, one in found.approaches.items()}
    sizes |= {"parametric": n.value}
    limited = supply.lacks(n_examples)
    if limited:
        doubts = [all_used(supply, n_examples, d)]
        seen = d.value * supply.n_available / n_examples
        n, d, ratio = Estimate(product / seen), Estimate(seen), Estimate(seen**2 / product)
        n_examples = supply.n_available
    else:
        doubts = [*_apart(sizes, n)]
    return _advice(
        optimum.family, law, budget, {"n_params": n.value, "n_examples": d.value},
        basis=SPLIT, n_params=n, n_seen=d, per_param=ratio, unique=unique, n_examples=n_examples,
        supply=supply, limited=limited, beyond=budget / float(costs_of(points).flops.max()), flops_per=per,
        optimum=optimum, sizes=sizes,
        warnings=(*optimum.warnings, *doubts, *repeated(d.value, n_examples, unique)),
    )  # fmt: skip


def _apart(sizes: dict[str, float], n_params: Estimate) -> Iterator[str]:
    """Yields a sentence for each approach whose size lies outside the interval of the law's own."""
    lower, upper = n_params.ends
    for name, size in sizes.items():
        if not lower / _APART <= size <= upper * _APART:
            yield (
                f"for this budget the {name} approach says {size:.3g} parameters, outside the interval of "
                "the parametric one: the split is less certain than that interval says"
            )


def _as_before(
    family: Family, optimum: FamilyOptimum | Refusal, law: BudgetLaw, supply: Supply, why: str, budget: float
) -> FamilyAdvice:
    """Returns what the budget buys if it is spent as these runs spent theirs.

    Raises:
        FitError: They do not record how they did.
    """
    runs = law.points.rows.dropna(subset=[*GRID_AXES, "train_flops"])
    sizes = runs["n_params"].to_numpy(dtype=float)
    passes = runs["epochs"].fillna(1.0)
    seen = (runs["n_examples"] * passes).to_numpy(dtype=float)
    at = np.log(runs["train_flops"].to_numpy(dtype=float))
    if at.size < 2 or np.ptp(at) == 0:
        raise FitError("the runs on the frontier do not record their n_params and n_examples")
    per = float(np.exp(np.mean(at - np.log(sizes * seen))))
    slope, intercept = np.polyfit(at, np.log(sizes), 1)
    n = float(np.exp(intercept + slope * math.log(budget)))
    d = budget / per / n
    _refuse_nothing(budget, n, d)
    unique, n_examples = wanted(runs["n_examples"], passes, d)
    (axis,) = law.points.axes
    if axis == "n_params" and supply.lacks(n_examples):  # its law is of the data of these runs, and no more
        part = supply.n_available / n_examples
        n, d, n_examples = n / part, d * part, supply.n_available
    spent = "on the frontier" if axis == "train_flops" else f"that vary {axis} alone"
    found = _advice(
        family, law, budget, {"train_flops": budget, "n_params": n, "n_examples": n_examples},
        basis=FRONTIER if axis == "train_flops" else axis,
        n_params=Estimate(n), n_seen=Estimate(d), per_param=Estimate(d / n),
        unique=unique, n_examples=n_examples, supply=supply, limited=False,
        beyond=budget / float(np.exp(at.max())), flops_per=per, optimum=optimum, sizes={"frontier": n},
        warnings=(
            f"the split between size and training is that of the runs {spent}, not an optimum: {why}",
            *supply.doubts(n_examples),
            *repeated(d, n_examples, unique),
        ),
    )  # fmt: skip
    return replace(found, warnings=(*found.warnings, *found.doubts))


def _advice(
    family: Family, law: BudgetLaw, budget: float, at: dict[str, float], *,
    beyond: float, warnings: tuple[str, ...], **facts: Any,
) -> FamilyAdvice:  # fmt: skip
    """Returns the advice with the loss of a run at a scale, and a warning where that lies too far."""
    law.refuse_beyond(budget, beyond)
    loss = run_at(law.fit, at, law.level)
    found = FamilyAdvice(
        family=family, points=law.points, fit=law.fit, at=at, loss=loss, beyond=beyond,
        parts=run_parts(law.fit, at, loss, law.level), warnings=warnings, **facts,
    )  # fmt: skip
    return replace(found, warnings=(*found.reaches_too_far(at), *warnings))


def _refuse_nothing(budget: float, n_params: float, n_seen: float) -> None:
    """Raises where a budget buys less than one parameter or one example."""
    if min(n_params, n_seen) < 1:
        raise FitError(
            f"a budget of {budget:.3g} FLOPs would buy {n_params:.2g} parameters and {n_seen:.2g} examples: "
            "too little for a run"
        )


def best_run(best: FamilyAdvice, runs: pd.DataFrame) -> str:
    """Returns the id of the run to take settings from: of the design of the lowest mean loss the first seed.

    Args:
        best: The family.
        runs: Finished runs with their `trial_id`.
    """
    # Of runs that a filter left the advice knows one dataset alone, whose name needs no options any more.
    known = runs.assign(dataset_label=dataset_labels(runs))
    own = known[(known[["dataset_label", "architecture", "optimizer"]] == list(best.family)).all(axis=1)]
    means = own.groupby(design_ids(own))["chosen"].transform("mean")
    first = [name for name in ("seed",) if name in own.columns]
    ranked = own.assign(mean=means).sort_values(["mean", *first], kind="stable")
    return str(ranked["trial_id"].iloc[0])
