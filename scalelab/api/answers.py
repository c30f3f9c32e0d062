"""Questions to a store or a table of runs, a typed call each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from scalelab.amounts import amount
from scalelab.api.filters import Chosen, Filters, chosen_runs, finished_runs, studies_named
from scalelab.api.source import law_named, opened, scale_table
from scalelab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis
    from scalelab.analysis.designspace.whole import DesignSpace
    from scalelab.analysis.estimate import Refusal
    from scalelab.analysis.families.advice import Advice
    from scalelab.analysis.families.pairs import Group
    from scalelab.analysis.families.prediction import Forecast, Target
    from scalelab.analysis.families.verdicts import Verdicts
    from scalelab.api.source import Source
    from scalelab.law import Law
    from scalelab.plugins import Catalog
    from scalelab.predictions import RegisteredPrediction


def analyze(
    source: Source,
    *,
    law: str | Law | None = None,
    axes: Sequence[str] | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    trees: bool = True,
    design: bool = False,
    curves: bool = True,
    seed: int = 0,
    catalog: Catalog | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **only: Unpack[Filters],
) -> Analysis:
    """Analyzes finished runs: laws, comparisons, compute-optimal splits, fronts, trees, the design space.

    Args:
        source: A store, its file, or a table of runs: one row per trial; `status`, `dataset`, `architecture`,
            `optimizer`, `loss` and the scales are enough.
        law: A form, its name or a formula, see `AskedOfLaw`; by default `power-offset` and `chinchilla`.
        axes: `joint` or numeric columns; by default those of the law, or `joint` and the usual three.
        estimator: What the fits minimize.
        level: Coverage of all intervals, between 0 and 1.
        trees: Whether to fit a tree model of the design.
        design: Whether to analyze the design space: every kind of tree model, distributions, ranges.
        curves: Whether to read the learning curves too, for figures.
        seed: Seed of everything random.
        catalog: Where a plugin's law is looked up; the installed plugins by default.
        progress: Is called with what is being made, how many pieces of it are done, and how many there are.
        only: Which runs, and which of their losses, see `Filters`; the first warning says what is left out.

    Returns:
        The analysis; what the runs cannot support is refused, with the reason, within it.

    Raises:
        InputError: No run is finished, a column is missing, an option is wrong, or a filter names what is not
            there or leaves nothing.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.analyze import analyze as analyze_runs

    chosen = chosen_runs(source, **only)
    analysis = analyze_runs(
        chosen.runs,
        law=law_named(law, catalog),
        axes=axes,
        estimator=estimator,
        level=level,
        trees=trees,
        design=design,
        seed=seed,
        on=only.get("on") or "validation",
        charge=only.get("charge") or "last",
        only=chosen.said,
        progress=progress,
        planned=chosen.planned,
        **_beside(source, chosen, only.get("study"), curves=curves),
    )
    return replace(analysis, verdicts=verdicts_of(source, **only))


def verdicts_of(source: Source, **only: Unpack[Filters]) -> Verdicts | None:
    """Returns the verdicts on the registered predictions that filters mean; `None` where there are none.

    Args:
        source: A store, or its file; nothing is registered in a table of runs.
        only: Of them the studies that a prediction was made from, and the names of its components; runs of
            all studies answer.
    """
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return None
    store = opened(source)
    predictions = [one for one in store.predictions() if _meant(one, only)]
    if not predictions:
        return None
    from scalelab.analysis.families.verdicts import judged

    return judged(predictions, store.runs(), store.begun())


def _meant(one: RegisteredPrediction, only: Filters) -> bool:
    names = {
        "dataset": (one.dataset, one.settings.same.get("dataset")),
        "architecture": (one.architecture,),
        "optimizer": (one.optimizer,),
    }
    studies = studies_named(only.get("study"))
    named = all(only.get(kind) in (None, *own) for kind, own in names.items())
    return named and (studies is None or bool(set(studies) & set(one.source.studies)))


def _beside(
    source: Source, chosen: Chosen, study: str | Sequence[str] | None, *, curves: bool
) -> dict[str, Any]:
    """Returns what a store has beside the runs that were chosen: their curves, and how many measurements."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return {}
    store = opened(source)
    if not curves:
        return {"measured": store.n_measured()}
    names = studies_named(study) or []
    few = chosen.runs["trial_id"] if chosen.said or len(names) > 1 else None
    own = store.curves(names[0] if len(names) == 1 else None, few)
    return {"curves": own, "measured": store.n_measured()}


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
        law: A form, its name or a formula such as `E + A*n_params^-alpha*width^-beta`, in which the names of
            numeric columns are axes; by default `power-offset` along one axis, `chinchilla` on two and
            `data-constrained` with epochs.
        catalog: Where a plugin's law is looked up; the installed plugins by default.
    """

    law: str | Law | None
    catalog: Catalog | None


Scale = Mapping[str, float | str]
"""A scale by axis; a text such as `"10M"` is a number, too."""


def predict(
    source: Source,
    at: Scale | Sequence[Scale] | pd.DataFrame | Path,
    **asked: Unpack[AskedOfLaw],
) -> tuple[Forecast | Refusal, ...]:
    """Predicts the loss of one run at a scale, or at several, for every family of runs.

    Args:
        source: A store, its file, or a table of runs.
        at: The scale, by axis of the law; several; or a table, or the path of its file, with a row for each:
            its columns that are no axis of the law are left out, without a law those beside the usual axes.
            Without a law the axes are any one, or `n_params` with `n_examples`, with or without `epochs`. A
            text such as `"10M"`, `"1.2T"` or `"1e9"` is a number, too.
        asked: Which runs are meant and how their laws are fitted, see `AskedOfLaw`; the law may be `auto`.

    Returns:
        By family and scale a prediction with its interval, its reach and its backtest, or by family a
        refusal.

    Raises:
        InputError: The scale, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    import pandas as pd

    from scalelab.analysis.families.prediction import forecast
    from scalelab.analysis.families.scales import KNOWN
    from scalelab.analysis.runs.axes import formed, own_axes
    from scalelab.analysis.runs.designs import axes_of

    how = _how(asked)
    law = how.get("law")
    if not isinstance(at, (pd.DataFrame, Path)):
        scales = _numbers(at) if isinstance(at, Mapping) else [_numbers(one) for one in at]
        first = scales if isinstance(scales, dict) else next(iter(scales), {})
        return forecast(_designs(source, asked, how, first), scales, **how)
    designs = _designs(source, asked, how)
    own = () if law is None or law == "auto" else own_axes(formed(law, axes_of(designs)))
    table = scale_table(at, own or KNOWN) if isinstance(at, Path) else at
    missing = [axis for axis in own if axis not in table.columns]
    if missing:
        raise InputError(f"the table of scales lacks the column {missing[0]}, an axis of the law")
    rows = table[list(own or [axis for axis in KNOWN if axis in table.columns] or table.columns)]
    return forecast(designs, [dict(zip(map(str, rows), row, strict=True)) for row in rows.to_numpy()], **how)


def _numbers(scale: Scale) -> dict[str, float]:
    return {axis: amount(value, axis) for axis, value in scale.items()}


def reach(
    source: Source, loss: float, *, axes: Sequence[str] | None = None, **asked: Unpack[AskedOfLaw]
) -> tuple[Target | Refusal, ...]:
    """Returns the scale at which each family of runs reaches a loss, along each axis separately.

    Args:
        source: A store, its file, or a table of runs.
        loss: The loss to reach.
        axes: Numeric columns of the runs; by default the axis that the law names, or `train_flops`.
        asked: Which runs are meant and how their laws are fitted, see `AskedOfLaw`; the law has one axis.

    Returns:
        By family and axis the scale with its interval and its backtest, or a refusal.

    Raises:
        InputError: The loss, an axis, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families import prediction

    how = _how(asked)
    along = _along(axes, how)
    return prediction.reach(_designs(source, asked, how, along or ()), loss, axes=along, **how)


def compare(
    source: Source, *, axes: Sequence[str] | None = None, **asked: Unpack[AskedOfLaw]
) -> tuple[Group | Refusal, ...]:
    """Compares families of runs that differ in one thing: exponents, compute multiplier, crossing.

    Args:
        source: A store, its file, or a table of runs.
        axes: Along which numeric columns of the runs their laws are compared, the first that two families
            have a law of; by default the axis that the law names, or `train_flops`, `n_params`, `n_examples`.
        asked: Which runs are meant and how their laws are fitted, see `AskedOfLaw`; the law has one axis.

    Returns:
        A group for each set of families that may be compared, with its pairs, or a refusal; nothing where
        there is no such set.

    Raises:
        InputError: An axis, the law, the estimator, the level or a filter is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.families.allocation import family_optima
    from scalelab.analysis.families.laws import fit_families
    from scalelab.analysis.families.pairs import compare_families
    from scalelab.analysis.runs.selection import AXES

    how = _how(asked)
    along = _along(axes, how, AXES)
    table = _designs(source, asked, how, along or ())
    laws = fit_families(table, axes=along, **how)
    usual = axes is None and asked.get("law") is None
    others = {name: value for name, value in how.items() if name != "law"}
    optima = family_optima(table, **others, laws=laws) if usual else ()
    return compare_families(laws, optima, asked.get("level", 0.9))


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

    how = _how(asked)
    return advice.advise(_designs(source, asked, how), amount(budget, "budget"), **how)


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


def _designs(
    source: Source, asked: Mapping[str, Any], how: Mapping[str, Any], axes: Iterable[str] = ()
) -> pd.DataFrame:
    """Returns the designs of the runs that are meant, means over seeds, with the axes that are asked for."""
    from scalelab.analysis.runs.axes import with_axes
    from scalelab.analysis.runs.designs import designs

    only: Any = {name: asked.get(name) for name in Filters.__annotations__}
    return designs(*with_axes(finished_runs(source, **only), how.get("law"), axes))


def _how(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how laws are fitted, a plugin's law found by its name."""
    how = {name: value for name, value in asked.items() if name not in Filters.__annotations__}
    catalog = how.pop("catalog", None)
    return {**how, "law": law_named(how["law"], catalog)} if "law" in how else how


def _along(
    axes: Sequence[str] | None, how: Mapping[str, Any], usual: Sequence[str] = ("train_flops",)
) -> Sequence[str] | None:
    """Returns the axes of a question about single axes; `None` where the law names its own."""
    from scalelab.analysis.laws.formula import Formula
    from scalelab.analysis.runs.axes import own_axes

    law = how.get("law")
    return axes or (None if own_axes(law) or isinstance(law, Formula) else usual)
