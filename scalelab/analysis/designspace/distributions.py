"""Error distribution functions, how they differ, and the best of n draws."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.designspace.spaces import Space
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.inference.bootstrap import tails
from scalelab.analysis.inference.exponent_test import holm
from scalelab.analysis.trees.scores import resamples
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


MAX_POINTS = 200
BINS = 5
PERMUTATIONS = 999
_MANY = 2000


@dataclass(frozen=True, eq=False)
class Distribution:
    """The errors of a space: their distribution function, and the best of n designs drawn from it.

    Attributes:
        space: Whose errors.
        edf: `error`, `share` (of designs whose error is at most that; eq. 1 of Radosavovic et al. 2019),
            `lower`, `upper`.
        best_of: `n`, `error` (expected best of n designs drawn without replacement), `lower`, `upper`.
        summary: `best`, `decile`, `median` of the errors, each with its interval.
    """

    space: Space
    edf: pd.DataFrame
    best_of: pd.DataFrame
    summary: dict[str, Estimate]

    json_fields: ClassVar = (
        "dataset=space.dataset", "metric=space.metric", "error=space.error", "by=space.by",
        "space=space.name", "n_designs=space.n_designs", "summary", "edf", "best_of",
    )  # fmt: skip


def distribution(space: Space, *, level: float, seed: int) -> Distribution:
    """Returns a space's distribution with bootstrap bands over designs.

    Args:
        space: The space, n designs.
        level: Coverage of the bands.
        seed: Seed of the bootstrap.
    """
    import pandas as pd

    errors = np.sort(space.errors)
    counts = resamples(np.arange(errors.size), seed)
    ends = tails(level)
    places = np.unique(np.linspace(0, errors.size - 1, min(errors.size, MAX_POINTS)).round().astype(int))
    grid = errors[places]
    shares = np.cumsum(counts, axis=1) / errors.size
    at = np.searchsorted(errors, grid, side="right") - 1
    band = np.quantile(shares[:, at], ends, axis=0)
    edf = pd.DataFrame({"error": grid, "share": (at + 1) / errors.size, "lower": band[0], "upper": band[1]})
    drawn = np.array([np.repeat(errors, row.astype(int)) for row in counts])
    # Numbers of draws up to all, dense where they are small.
    sizes = np.unique(np.geomspace(1, errors.size, 40).round().astype(np.int64))
    weights = np.array([best_weights(errors.size, size) for size in sizes])
    band = np.quantile(drawn @ weights.T, ends, axis=0)
    best_of = pd.DataFrame({"n": sizes, "error": weights @ errors, "lower": band[0], "upper": band[1]})
    summary = {}
    for name, share in (("best", 0.0), ("decile", 0.1), ("median", 0.5)):
        spread = np.quantile(np.quantile(drawn, share, axis=1), ends)
        summary[name] = Estimate.of(np.quantile(errors, share), *spread)
    return Distribution(space, edf, best_of, summary)


def best_weights(n: int, draws: int) -> Array:
    """Returns how likely each rank is the best of some draws without replacement, best rank first; (n,).

    The best of m draws from n is the one of rank i (from 0) with probability C(n - 1 - i, m - 1) / C(n, m).
    """
    from scipy.special import gammaln

    def log_choose(top: Array, bottom: float) -> Array:
        return np.asarray(gammaln(top + 1) - gammaln(bottom + 1) - gammaln(top - bottom + 1))

    rank = np.arange(n, dtype=float)
    possible = rank <= n - draws
    weights = np.zeros(n)
    top = n - 1 - rank[possible]
    weights[possible] = np.exp(log_choose(top, draws - 1) - log_choose(np.array(float(n)), draws))
    return np.asarray(weights / weights.sum())


def compare(spaces: list[Space], *, seed: int) -> pd.DataFrame:
    """Compares every two spaces of one kind by the two-sample Kolmogorov-Smirnov test.

    The normalized comparison gives every design a weight, so that the classes of FLOPs that both spaces reach
    count the same in both (Radosavovic et al. 2019, section 3.3); its p-value exchanges designs within these
    classes only.

    Args:
        spaces: Those of one dataset, metric and kind are compared.
        seed: Seed of the permutations.

    Returns:
        `dataset`, `metric`, `by`, `first`, `second`, `distance` (largest difference of the two functions),
        `p`, `p_holm` (over the pairs of one kind), `better` (the one with the lower median),
        `distance_normalized`, `p_normalized` (NaN where FLOPs are not known or do not overlap).
    """
    import pandas as pd

    columns = [
        "dataset", "metric", "by", "first", "second", "distance", "p", "p_holm", "better",
        "distance_normalized", "p_normalized",
    ]  # fmt: skip
    kinds = dict.fromkeys((space.dataset, space.metric, space.by) for space in spaces)
    rows = [
        _compare_two(*pair, seed)
        for kind in kinds
        for pair in combinations(
            [space for space in spaces if (space.dataset, space.metric, space.by) == kind], 2
        )
    ]
    if not rows:
        return pd.DataFrame(columns=columns)
    table = pd.DataFrame(rows)
    of_kind = table.groupby(["dataset", "metric", "by"], sort=False)["p"]
    return table.assign(p_holm=of_kind.transform(lambda p: holm(p.tolist())))[columns]


def _compare_two(first: Space, second: Space, seed: int) -> dict[str, Any]:
    from scipy.stats import ks_2samp

    test = ks_2samp(first.errors, second.errors)
    distance, p = normalized(first, second, seed)
    lower = np.median(first.errors) <= np.median(second.errors)
    return {
        "dataset": first.dataset,
        "metric": first.metric,
        "by": first.by,
        "first": first.name,
        "second": second.name,
        "distance": float(test.statistic),
        "p": float(test.pvalue),
        "better": first.name if lower else second.name,
        "distance_normalized": distance,
        "p_normalized": p,
    }


def normalized(first: Space, second: Space, seed: int) -> tuple[float, float]:
    """Returns the distance of two spaces with all classes of FLOPs weighted alike, and its p-value."""
    errors = np.concatenate([first.errors, second.errors])
    of_first = np.arange(errors.size) < first.errors.size
    flops = np.concatenate([one.designs["forward_flops"].to_numpy(dtype=float) for one in (first, second)])
    bins = _bins(flops, of_first)
    if bins is None:
        return float("nan"), float("nan")
    kept = bins >= 0
    order = np.flatnonzero(kept)[np.argsort(errors[kept], kind="stable")]
    errors, of_first, bins = errors[order], of_first[order], bins[order]
    last = np.append(np.diff(errors) > 0, True)
    observed = _distance(of_first, bins, last)
    rng = np.random.default_rng([seed, 4])
    more = 0
    draws = PERMUTATIONS if errors.size <= _MANY else 199
    for _ in range(draws):
        shuffled = of_first.copy()
        for one in np.unique(bins):
            own = np.flatnonzero(bins == one)
            shuffled[own] = of_first[rng.permutation(own)]
        more += _distance(shuffled, bins, last) >= observed - 1e-12
    return observed, (more + 1) / (draws + 1)


def _distance(of_first: NDArray[np.bool_], bins: NDArray[np.int64], last: NDArray[np.bool_]) -> float:
    """Returns the largest difference of two weighted functions at errors in ascending order."""
    difference = np.zeros(bins.size)
    for side, sign in ((of_first, 1.0), (~of_first, -1.0)):
        counts = np.bincount(bins[side], minlength=int(bins.max()) + 1)
        present = np.count_nonzero(counts)
        difference[side] = sign / (present * counts[bins[side]])
    return float(np.abs(np.cumsum(difference)[last]).max())


def _bins(flops: Array, of_first: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Returns the class of each design by FLOPs, -1 outside of what both reach; `None` without any."""
    if not np.isfinite(flops).all() or (flops <= 0).any():
        return None
    least = max(flops[of_first].min(), flops[~of_first].min())
    most = min(flops[of_first].max(), flops[~of_first].max())
    inside = (flops >= least) & (flops <= most)
    if inside.sum() < 2:
        return None
    edges = np.unique(np.quantile(np.log(flops[inside]), np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.where(inside, np.searchsorted(edges, np.log(flops), side="right"), -1)
    shared = np.setdiff1d(np.intersect1d(bins[of_first], bins[~of_first]), [-1])
    return np.where(np.isin(bins, shared), bins, -1) if shared.size else None
