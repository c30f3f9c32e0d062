"""Everything that is said of a design space, as one frozen result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalelab.analysis.cores import Progress
from scalelab.analysis.designspace.bands import FrontBand, front_bands
from scalelab.analysis.designspace.distributions import Distribution, compare, distribution
from scalelab.analysis.designspace.narrowing import Range, ranges_of
from scalelab.analysis.designspace.spaces import design_table, spaces_of
from scalelab.analysis.inference.bootstrap import tails
from scalelab.analysis.trees.fit import tasks
from scalelab.analysis.trees.full import FullTrees, full_trees
from scalelab.analysis.trees.scores import correlation, resamples

if TYPE_CHECKING:
    import pandas as pd

MIN_DESIGNS = 10
_COSTS = ("n_params", "forward_flops")


@dataclass(frozen=True, eq=False)
class DesignSpace:
    """What runs say about the space that they were drawn from.

    Attributes:
        trees: Tree models of the design.
        distributions: Of the errors, by space.
        comparisons: The spaces two by two: see `scalelab.analysis.designspace.distributions.compare`.
        fronts: Pareto fronts with bands.
        ranges: Where the best values of each choice are.
        derived: `dataset`, `metric`, `scope`, `feature`, `n_designs`, `spearman` (of what
            follows from the design with the objective), `lower`, `upper`. Nothing is predicted from these.
        level: Coverage of all intervals.
        seed: Seed of everything random.
    """

    trees: FullTrees
    distributions: tuple[Distribution, ...]
    comparisons: pd.DataFrame
    fronts: tuple[FrontBand, ...]
    ranges: tuple[Range, ...]
    derived: pd.DataFrame
    level: float
    seed: int

    json_fields: ClassVar = (
        "models=trees.models", "refused=trees.refused", "effects=trees.effects", "derived", "distributions",
        "comparisons", "fronts", "ranges",
    )  # fmt: skip

    @property
    def narrowed(self) -> tuple[Range, ...]:
        """The ranges that are smaller than what was tried, and narrower than chance would make them."""
        return tuple(one for one in self.ranges if one.narrower_than_chance)


def design_space(
    done: pd.DataFrame, *, level: float = 0.9, seed: int = 0, progress: Progress | None = None
) -> DesignSpace:
    """Analyzes the design of a table of runs: trees, distributions, fronts, ranges.

    Args:
        done: Finished runs, as `scalelab.analysis.runs.designs.finished_runs` returns them.
        level: Coverage of all intervals.
        seed: Seed of everything random.
        progress: Is told how many tree models are done.
    """
    table = design_table(done)
    spaces = spaces_of(table)
    return DesignSpace(
        trees=full_trees(done, level=level, seed=seed, progress=progress),
        distributions=tuple(distribution(space, level=level, seed=seed) for space in spaces),
        comparisons=compare(spaces, seed=seed),
        fronts=front_bands(table, level=level, seed=seed),
        ranges=ranges_of(table, level=level, seed=seed),
        derived=derived_trends(table, level=level, seed=seed),
        level=level,
        seed=seed,
    )


def derived_trends(table: pd.DataFrame, *, level: float, seed: int) -> pd.DataFrame:
    """Returns how what follows from the design goes with the objective, over all runs and by optimizer.

    Stages, parameters and FLOPs follow from the choices and would give the trees a short cut, but a reader
    wants to know of them. Intervals are a bootstrap over designs.
    """
    import pandas as pd

    columns = ["dataset", "metric", "scope", "feature", "n_designs", "spearman", "lower", "upper"]
    rows = []
    features = [name for name in table.columns if name in _COSTS or name.startswith("feature_")]
    for dataset, metric, scope, own in tasks(table):
        for feature in features:
            values = pd.to_numeric(own[feature], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
            known = np.isfinite(values)
            if known.sum() >= MIN_DESIGNS and np.unique(values[known]).size > 1:
                objective = own["objective"].to_numpy(dtype=float)[known]
                trend = _trend(values[known], objective, level, seed)
                rows.append((dataset, metric, scope, feature, int(known.sum()), *trend))
    return pd.DataFrame(rows, columns=columns)


def _trend(values: Any, objective: Any, level: float, seed: int) -> tuple[float, float, float]:
    from scipy.stats import rankdata

    a, b = rankdata(values), rankdata(objective)
    drawn = correlation(a, b, resamples(np.arange(values.size), seed))
    lower, upper = np.quantile(drawn, tails(level))
    return float(correlation(a, b, np.ones((1, values.size)))[0]), float(lower), float(upper)
