"""Questions to a store or a table of runs, a typed call each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Unpack

from scalelab.api.source import Filters, finished_runs, law_named, opened, planned_trials

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis
    from scalelab.analysis.designspace import DesignSpace
    from scalelab.analysis.estimate import Refusal
    from scalelab.analysis.families.advice import Advice
    from scalelab.analysis.families.pairs import Group
    from scalelab.analysis.families.prediction import Forecast, Target
    from scalelab.api.source import Source
    from scalelab.law import Law
    from scalelab.plugins import Catalog


def analyze(
    source: Source,
    *,
    study: str | None = None,
    law: str | Law | None = None,
    axes: Sequence[str] | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    trees: bool = True,
    design: bool = False,
    curves: bool = True,
    seed: int = 0,
    catalog: Catalog | None = None,
) -> Analysis:
    """Analyzes finished runs: laws, comparisons, compute-optimal splits, fronts, trees, the design space.

    Args:
        source: A store, its file, or a table of runs: a row a trial; `status`, `dataset`, `architecture`,
            `optimizer`, `loss` and the scales are enough.
        study: Only this study; all by default.
        law: A form or its name; by default `power-offset` along one axis and `chinchilla` on two.
        axes: Which of `n_params`, `n_examples`, `train_flops` and `joint`; all by default.
        estimator: What the fits minimize.
        level: Coverage of all intervals, between 0 and 1.
        trees: Whether to fit a tree model of the design.
        design: Whether to analyze the design space: every kind of tree model, distributions, ranges.
        curves: Whether to read the learning curves too, for figures.
        seed: Seed of everything random.
        catalog: Where a plugin's law is looked up; the installed plugins by default.

    Returns:
        The analysis; what the runs cannot support is refused, with the reason, within it.

    Raises:
        InputError: No run is finished, a column is missing, or an option is wrong.
        StoreError: The store cannot be read.
    """
    import pandas as pd

    from scalelab.analysis.analyze import analyze as analyze_runs

    of_curves, planned = None, None
    if isinstance(source, pd.DataFrame):
        runs = source if study is None else source[source["study"] == study]
    else:
        store = opened(source)
        planned, runs = planned_trials(store, study), store.runs(study)
        of_curves = store.curves(study) if curves else None
    return analyze_runs(
        runs,
        curves=of_curves,
        planned=planned,
        law=law_named(law, catalog),
        axes=axes,
        estimator=estimator,
        level=level,
        trees=trees,
        design=design,
        seed=seed,
    )


def predict(
    source: Source,
    at: Mapping[str, float],
    *,
    law: str | Law | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
    catalog: Catalog | None = None,
    **only: Unpack[Filters],
) -> tuple[Forecast | Refusal, ...]:
    """Predicts the loss of one run at a scale, for every family of runs.

    Args:
        source: A store, its file, or a table of runs.
        at: The scale: one of `n_params`, `n_examples`, `train_flops`, or `n_params` with `n_examples`, with
            or without `epochs`.
        law: A form, its name, or `auto`. By default `power-offset` along one axis, `chinchilla` on two and
            `data-constrained` with epochs.
        estimator: What the fits minimize.
        level: Coverage of the prediction intervals.
        seed: Seed of everything random.
        catalog: Where a plugin's law is looked up; the installed plugins by default.
        only: Which runs are meant, as `finished_runs` takes them.

    Returns:
        By family a prediction with its interval, its reach and its backtest, or a refusal.

    Raises:
        InputError: The scale, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families.prediction import forecast, read_scale

    scale, form = read_scale(at), law_named(law, catalog)
    table = _designs(source, only)
    return forecast(table, scale, law=form, estimator=estimator, level=level, seed=seed)


def reach(
    source: Source,
    loss: float,
    *,
    axes: Sequence[str] = ("train_flops",),
    law: str | Law | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
    catalog: Catalog | None = None,
    **only: Unpack[Filters],
) -> tuple[Target | Refusal, ...]:
    """Returns the scale at which each family of runs reaches a loss, along each axis by itself.

    Args:
        source: A store, its file, or a table of runs.
        loss: The loss to reach.
        axes: Which of `n_params`, `n_examples`, `train_flops`.
        law: A form of one axis, or its name; `power-offset` by default.
        estimator: What the fits minimize.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        catalog: Where a plugin's law is looked up; the installed plugins by default.
        only: Which runs are meant, as `finished_runs` takes them.

    Raises:
        InputError: The loss, an axis, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families.prediction import reach as reach_of

    form, table = law_named(law, catalog), _designs(source, only)
    return reach_of(table, loss, axes=axes, law=form, estimator=estimator, level=level, seed=seed)


def compare(
    source: Source,
    *,
    axes: Sequence[str] = ("train_flops",),
    law: str | Law | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
    catalog: Catalog | None = None,
    **only: Unpack[Filters],
) -> tuple[Group | Refusal, ...]:
    """Compares families of runs that differ in one thing: exponents, compute multiplier, crossing.

    Args:
        source: A store, its file, or a table of runs.
        axes: Along which of `n_params`, `n_examples`, `train_flops` their laws are compared.
        law: A form of one axis, or its name; `power-offset` by default.
        estimator: What the fits minimize.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        catalog: Where a plugin's law is looked up; the installed plugins by default.
        only: Which runs are meant, as `finished_runs` takes them.

    Returns:
        A group for each set of families that may be compared, with its pairs, and refusals with the reason;
        none where there is no such set.

    Raises:
        InputError: An axis, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families.laws import fit_families
    from scalelab.analysis.families.pairs import compare_families

    form, table = law_named(law, catalog), _designs(source, only)
    laws = fit_families(table, law=form, axes=axes, estimator=estimator, level=level, seed=seed)
    return compare_families(laws, level)


def advise(
    source: Source,
    budget: float,
    *,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
    **only: Unpack[Filters],
) -> Advice:
    """Says what to train with a budget, and what to expect of it; the best family first.

    Args:
        source: A store, its file, or a table of runs.
        budget: Training FLOPs of the run to make.
        estimator: What the fits minimize.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        only: Which runs are meant, as `finished_runs` takes them.

    Raises:
        InputError: The budget, the estimator, the level or a filter is wrong, or no family of runs supports
            any advice.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families.advice import advise as advise_of

    return advise_of(_designs(source, only), budget, estimator=estimator, level=level, seed=seed)


def design_space(
    source: Source, *, level: float = 0.9, seed: int = 0, **only: Unpack[Filters]
) -> DesignSpace:
    """Analyzes the design space of runs: three kinds of tree model, distributions, fronts, narrower ranges.

    Args:
        source: A store, its file, or a table of runs.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        only: Which runs are meant, as `finished_runs` takes them.

    Raises:
        InputError: A filter is wrong, or there is no finished run.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.designspace import design_space as space_of

    return space_of(finished_runs(source, **only), level=level, seed=seed)


def _designs(source: Source, only: Filters) -> pd.DataFrame:
    from scalelab.analysis.runs.designs import designs

    return designs(finished_runs(source, **only))
