"""Questions to a store or a table of runs, a typed call each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from scalelab.amounts import amount
from scalelab.api.source import Filters, finished_runs, law_named, opened, planned_trials

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis
    from scalelab.analysis.designspace.whole import DesignSpace
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
        source: A store, its file, or a table of runs: one row per trial; `status`, `dataset`, `architecture`,
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


class Asked(Filters, total=False):
    """Which runs are meant, and how their laws are fitted; what is left out has its default.

    Attributes:
        estimator: What the fits minimize, `log-huber` by default.
        level: Coverage of the intervals, 0.9 by default.
        seed: Seed of everything random, 0 by default.
    """

    estimator: str
    level: float
    seed: int


class AskedOfLaw(Asked, total=False):
    """The same, where the form of the law may be chosen.

    Attributes:
        law: A form or its name; by default `power-offset` along one axis, `chinchilla` on two and
            `data-constrained` with epochs.
        catalog: Where a plugin's law is looked up; the installed plugins by default.
    """

    law: str | Law | None
    catalog: Catalog | None


def predict(
    source: Source, at: Mapping[str, float | str], **asked: Unpack[AskedOfLaw]
) -> tuple[Forecast | Refusal, ...]:
    """Predicts the loss of one run at a scale, for every family of runs.

    Args:
        source: A store, its file, or a table of runs.
        at: The scale: one of `n_params`, `n_examples`, `train_flops`, or `n_params` with `n_examples`, with
            or without `epochs`. A text such as `"10M"`, `"1.2T"` or `"1e9"` is a number, too.
        asked: Which runs are meant and how their laws are fitted, see `AskedOfLaw`; the law may be `auto`.

    Returns:
        By family a prediction with its interval, its reach and its backtest, or a refusal.

    Raises:
        InputError: The scale, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families.prediction import forecast, read_scale

    scale = read_scale({axis: amount(value, axis) for axis, value in at.items()})
    return forecast(_designs(source, asked), scale, **_how(asked))


def reach(
    source: Source, loss: float, *, axes: Sequence[str] = ("train_flops",), **asked: Unpack[AskedOfLaw]
) -> tuple[Target | Refusal, ...]:
    """Returns the scale at which each family of runs reaches a loss, along each axis separately.

    Args:
        source: A store, its file, or a table of runs.
        loss: The loss to reach.
        axes: Which of `n_params`, `n_examples`, `train_flops`.
        asked: Which runs are meant and how their laws are fitted, see `AskedOfLaw`; the law has one axis.

    Returns:
        By family and axis the scale with its interval and its backtest, or a refusal.

    Raises:
        InputError: The loss, an axis, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families import prediction

    return prediction.reach(_designs(source, asked), loss, axes=axes, **_how(asked))


def compare(
    source: Source, *, axes: Sequence[str] = ("train_flops",), **asked: Unpack[AskedOfLaw]
) -> tuple[Group | Refusal, ...]:
    """Compares families of runs that differ in one thing: exponents, compute multiplier, crossing.

    Args:
        source: A store, its file, or a table of runs.
        axes: Along which of `n_params`, `n_examples`, `train_flops` their laws are compared.
        asked: Which runs are meant and how their laws are fitted, see `AskedOfLaw`; the law has one axis.

    Returns:
        A group for each set of families that may be compared, with its pairs, or a refusal; nothing where
        there is no such set.

    Raises:
        InputError: An axis, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families.laws import fit_families
    from scalelab.analysis.families.pairs import compare_families

    laws = fit_families(_designs(source, asked), axes=axes, **_how(asked))
    return compare_families(laws, asked.get("level", 0.9))


def advise(source: Source, budget: float | str, **asked: Unpack[Asked]) -> Advice:
    """Recommends what to train with a budget, and what to expect of it; the best family first.

    Args:
        source: A store, its file, or a table of runs.
        budget: Training FLOPs of the run to make, as a number or its text, such as `"1e15"` or `"100T"`.
        asked: Which runs are meant and how their laws are fitted, see `Asked`.

    Raises:
        InputError: The budget, the estimator, the level or a filter is wrong, or no family of runs supports
            any advice.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families import advice

    return advice.advise(_designs(source, asked), amount(budget, "budget"), **_how(asked))


def design_space(
    source: Source, *, level: float = 0.9, seed: int = 0, **only: Unpack[Filters]
) -> DesignSpace:
    """Analyzes the design space of runs: three kinds of tree model, distributions, fronts, narrower ranges.

    Args:
        source: A store, its file, or a table of runs.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        only: Which runs are meant, see `Filters`.

    Raises:
        InputError: A filter is wrong, or there is no finished run.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.designspace import whole

    return whole.design_space(finished_runs(source, **only), level=level, seed=seed)


def _designs(source: Source, asked: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the designs of the runs that are meant, means over seeds."""
    from scalelab.analysis.runs.designs import designs

    only: Any = {name: asked.get(name) for name in Filters.__annotations__}
    return designs(finished_runs(source, **only))


def _how(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how laws are fitted, a plugin's law found by its name."""
    how = {name: value for name, value in asked.items() if name not in Filters.__annotations__}
    catalog = how.pop("catalog", None)
    return {**how, "law": law_named(how["law"], catalog)} if "law" in how else how
