"""A design space as JSON values."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scalelab.analysis.designspace.narrowing import Range
from scalelab.analysis.designspace.whole import DesignSpace
from scalelab.analysis.trees.result import TreeModel

if TYPE_CHECKING:
    import pandas as pd


def design_dict(design: DesignSpace) -> dict[str, Any]:
    """Returns every number of a design space as JSON values; what is not finite is `None`."""
    return {
        "models": [
            {
                "dataset": model.dataset,
                "metric": model.metric,
                "scope": model.scope,
                "learner": model.learner,
                "n_designs": model.n_designs,
                "n_units": model.n_units,
                "n_runs": model.n_runs,
                "scores": records(model.scores),
                "mean_rmse": model.mean_rmse,
                "beats_the_mean": model.beats_the_mean,
                "settings": [{"depth": depth, "rounds": rounds} for depth, rounds in model.settings],
                "importances": records(model.importances),
            }
            for model in design.trees.models
        ],
        "refused": [
            {"dataset": one.dataset, "metric": one.metric, "scope": one.scope, "refusal": one.refusal}
            for one in design.trees.refused
        ],
        "effects": [
            {
                "dataset": one.dataset,
                "metric": one.metric,
                "scope": one.scope,
                "interactions": records(one.interactions),
                "partial_dependence": [asdict(effect) for effect in one.partial],
            }
            for one in design.trees.effects
        ],
        "derived": records(design.derived),
        "distributions": [
            {
                "dataset": one.space.dataset,
                "metric": one.space.metric,
                "error": one.space.error,
                "by": one.space.by,
                "space": one.space.name,
                "n_designs": len(one.space.designs),
                "summary": {name: _interval(values) for name, values in one.summary.items()},
                "edf": records(one.edf),
                "best_of": records(one.best_of),
            }
            for one in design.distributions
        ],
        "comparisons": [
            {"dataset": dataset, "metric": metric, **row}
            for (dataset, metric), table in design.comparisons.items()
            for row in records(table)
        ],
        "fronts": [
            {
                "dataset": one.dataset,
                "metric": one.metric,
                "error": one.error,
                "optimizer": one.optimizer,
                "cost": one.cost,
                "band": records(one.band),
                "designs": records(one.members),
            }
            for one in design.fronts
        ],
        "ranges": [_range(one, design.level) for one in design.ranges],
    }


def forests_of(design: DesignSpace) -> tuple[Any, ...]:
    """Returns the forests and the refusals of a design's trees: what an analysis without it would have."""
    return tuple(
        one for one in design.trees.results if not isinstance(one, TreeModel) or one.learner == "forest"
    )


def _interval(values: tuple[float, float, float]) -> dict[str, float | None]:
    return {name: value_of(value) for name, value in zip(("value", "low", "high"), values, strict=True)}


def _range(one: Range, level: float) -> dict[str, Any]:
    found = {name: value_of(value) for name, value in vars(one).items()}
    return {**found, "narrower_than_chance": one.told(level)}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows of a table as JSON values."""
    return [{str(name): value_of(value) for name, value in row.items()} for row in table.to_dict("records")]


def value_of(value: Any) -> Any:
    """Returns a JSON value; NaN and infinities become `None`."""
    if isinstance(value, tuple):
        return [value_of(one) for one in value]
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
