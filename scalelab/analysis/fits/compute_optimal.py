"""How to spend compute: the three approaches of Hoffmann et al. 2022, cross-checked.

1. *Envelope*: for each compute, the size of the run of lowest loss.
2. *isoFLOP parabolas*: for each budget, the minimum of a parabola of the loss against log size.
3. *Parametric*: a law such as `chinchilla`, whose optimum is a formula.

Each gives the exponent a of `N_opt = k * flops^a`. They fail in different ways, so that their disagreement is
information: the envelope is noisy, a parabola is biased where sizes are not centered on the optimum or reach
far from it, and the law is an assumption. The bias of the parabola is measured here: the parametric law is
sampled without noise at the very sizes that were run, and what the parabolas make of that is compared with
what the law says.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalelab.analysis.estimate import Estimate, Refusal, attempt
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.fits.isoflops import bins_of, budgets_of, improving, line_of, means, varied
from scalelab.analysis.fitting.data import read_table
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.inference.bootstrap import tails
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.inference.quantities import (
    FLOPS_PER,
    allocation_exponent,
    optimal_params,
    refuse_no_optimum,
)
from scalelab.analysis.laws import get_law
from scalelab.analysis.laws.starts import solve_linear
from scalelab.arrays import Array, Index
from scalelab.errors import FitError
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

_REFITS = 1000
_LEAST_SIZES = 4
_LEAST_BUDGETS = 2
_BIAS = 0.01
_WIDE = 2.0


@dataclass(frozen=True, eq=False)
class Allocation:
    """What one approach says about the compute-optimal size.

    Attributes:
        approach: `envelope`, `parabola` or `parametric`.
        exponent: a of `N_opt = coefficient * flops^a`.
        lower: Lower end of its interval.
        upper: Upper end.
        coefficient: The factor before it.
        flops: The computes whose optimum was found, shape (k,).
        sizes: Those optima, shape (k,).
        data_exponent: b of `D_opt ~ flops^b`, with its interval: that of the examples of these optima. With
            C = k * N * D, as a law assumes, it is 1 - a.
        warnings: What to distrust, a sentence each.
    """

    approach: str
    exponent: float
    lower: float
    upper: float
    coefficient: float
    flops: Array
    sizes: Array
    data_exponent: Estimate
    warnings: tuple[str, ...] = ()

    json_fields: ClassVar = (
        "a=exponent", "lower", "upper", "b=data_exponent", "coefficient", "flops", "n_params=sizes",
    )  # fmt: skip

    @classmethod
    def through(
        cls, approach: str, flops: Array, optima: Array, slopes: Array, level: float, warnings: list[str]
    ) -> Allocation:
        """Returns the straight lines, in logs, through optima.

        Args:
            approach: Its name.
            flops: The computes, shape (k,).
            optima: Sizes and examples of each, shape (2, k).
            slopes: Slopes of resamples of both, shape (2, resamples), whose percentiles are the intervals.
            level: Coverage of the intervals.
            warnings: What to distrust.
        """
        (a, intercept), (b, _) = (line_of(flops, own) for own in optima)
        both = np.quantile(slopes, tails(level), axis=1).T if slopes.size else [(-np.inf, np.inf)] * 2
        (lower, upper), of_data = both
        return cls(
            approach, a, float(lower), float(upper), float(np.exp(intercept)), flops, optima[0],
            Estimate.of(b, *of_data), tuple(warnings),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ComputeOptimal:
    """The three approaches side by side.

    Attributes:
        approaches: What each says, by name; one that the rows do not support is missing.
        missing: Why, by name.
        fit: The parametric law, or None.
        parabola_bias: What the parabolas make of the law's exponent at these sizes, minus that exponent; None
            without both.
        level: Coverage of the intervals.
    """

    approaches: dict[str, Allocation]
    missing: dict[str, str]
    fit: Fit | None
    parabola_bias: float | None
    level: float

    @property
    def agree(self) -> bool:
        """Whether the intervals of all approaches share a value."""
        found = self.approaches.values()
        return max(one.lower for one in found) <= min(one.upper for one in found)

    def warnings(self) -> list[str]:
        """Returns what to distrust, a sentence each."""
        out = [f"{one.approach}: {line}" for one in self.approaches.values() for line in one.warnings]
        if self.parabola_bias is not None and abs(self.parabola_bias) > _BIAS:
            out.append(
                f"parabola: at these sizes it would report an exponent {self.parabola_bias:+.3f} off "
                "the law's own, even without noise; trust the parametric approach more"
            )
        if len(self.approaches) > 1 and not self.agree:
            out.append("the approaches disagree beyond their intervals; check the law and the design")
        return out

    def summary(self) -> pd.DataFrame:
        """Returns one row per approach: exponents of N (with interval) and D, coefficient, optima found."""
        import pandas as pd

        rows = [
            (one.exponent, one.lower, one.upper, one.data_exponent.value, one.coefficient, len(one.flops))
            for one in self.approaches.values()
        ]
        columns = ["a", "lower", "upper", "b", "coefficient", "optima"]
        return pd.DataFrame(rows, index=list(self.approaches), columns=columns)


def compute_optimal(
    n_params: Any,
    n_examples: Any,
    loss: Any,
    *,
    flops: Any = None,
    budget: Any = None,
    flops_per: float = FLOPS_PER,
    law: str | Law = "chinchilla",
    level: float = 0.9,
    seed: int = 0,
    known: Fit | None = None,
    **options: Any,
) -> ComputeOptimal:
    """Applies the three approaches to the same runs.

    Args:
        n_params: Parameters of each run, shape (n,); runs of the same scales are repeats.
        n_examples: Examples that each run saw, shape (n,).
        loss: Loss of each run, shape (n,).
        flops: Compute of each run; default `flops_per * n_params * n_examples`.
        budget: Label of the isoFLOP experiment of each run; default runs within 15% of each other's compute.
        flops_per: FLOPs an example and parameter.
        law: The parametric law, one with an `optimal_split`.
        level: Coverage of the intervals.
        seed: Seed of the resampling.
        known: A fit that is taken where it is of that law to these very runs.
        options: More for `fit_law`.

    Raises:
        FitError: None of the approaches has the rows that it needs.
    """
    n, d, y = (np.asarray(column, dtype=float).ravel() for column in (n_params, n_examples, loss))
    c = flops_per * n * d if flops is None else np.asarray(flops, dtype=float).ravel()
    if not (n.size == d.size == y.size == c.size):
        raise FitError("n_params, n_examples, loss and flops must have the same length")
    if not all(np.isfinite(column).all() and (column > 0).all() for column in (n, d, y, c)):
        raise FitError(
            "how to split compute is known for sizes, losses and FLOPs that are positive and finite: leave "
            "out runs that diverged or whose loss is zero or less"
        )
    x = {"n_params": n, "n_examples": d}
    fit = attempt({}, lambda: _fit(law, x, y, known, {"seed": seed, **options}))
    # The lowest of some repeats is luck: an envelope and a parabola are of their means.
    (n, d, c), y, first = means((n, d, c), y)
    labels = budgets_of(c, None if budget is None else np.asarray(budget)[first])
    results = {
        "envelope": attempt({}, envelope, c, n, y, examples=d, level=level, seed=seed),
        "parabola": attempt({}, parabola, c, n, y, labels, examples=d, level=level, seed=seed),
        "parametric": fit
        if isinstance(fit, Refusal)
        else attempt({}, parametric, fit, c, flops_per=flops_per, level=level),
    }
    found = {name: one for name, one in results.items() if isinstance(one, Allocation)}
    missing = {name: one.reason for name, one in results.items() if isinstance(one, Refusal)}
    if not found:
        raise FitError(f"no approach has the rows it needs; {missing['parametric']}")
    fitted = None if isinstance(fit, Refusal) else fit
    bias = None if fitted is None or "parabola" not in found else _bias(fitted, c, n, d, labels)
    return ComputeOptimal(found, missing, fitted, bias, level)


def _fit(law: str | Law, x: dict[str, Array], y: Array, known: Fit | None, options: Any) -> Fit:
    """Returns the fit of a law to some runs, which is the known one where that is the same."""
    form = get_law(law)
    if known is not None and known.law.name == form.name and known.seed == options.get("seed", 0):
        table = read_table(form, x, y, options.get("weights"), options.get("groups"), options.get("errors"))
        asked = Estimator.suited(form, options.get("estimator", "log-huber"), options.get("delta", 1e-3))
        if known.data_hash == table.digest() and known.estimator == asked:
            return known
    fit: Fit = fit_law(form, x, y, **options)
    return fit


def _bias(fit: Fit, flops: Array, sizes: Array, examples: Array, budget: Index) -> float | None:
    """Returns by how much parabolas miss the exponent of a law whose losses have no noise."""
    clean = fit.value({"n_params": sizes, "n_examples": examples})
    with suppress(FitError):
        again = parabola(flops, sizes, clean, budget, refits=0, examples=examples)
        return again.exponent - fit.estimate(allocation_exponent)
    return None


def envelope(
    flops: Array,
    sizes: Array,
    loss: Array,
    *,
    examples: Array | None = None,
    level: float = 0.9,
    seed: int = 0,
) -> Allocation:
    """Approach 1: the size of the run of lowest loss for each compute.

    Runs are put into eight bins of equal width a decade of compute; a bin's optimum is its run of lowest
    loss. Only bins that improve on all smaller computes count. Examples are as for `parabola`.

    Raises:
        FitError: Fewer than three bins do, or size follows from compute in all runs.
    """
    if not varied(flops, sizes):
        raise FitError(
            "the runs of each compute are all of one size: how they split it is the plan of whoever made "
            "them, and no optimum; run several sizes at one compute"
        )
    bins = bins_of(flops)
    both = np.stack([sizes, flops / (FLOPS_PER * sizes) if examples is None else examples])
    order = np.lexsort((loss, bins))
    picks = improving(order, bins, loss)
    c, optimal = flops[picks], both[:, picks]
    if c.size < 3 or np.ptp(np.log(c)) < np.log(2):
        raise FitError(
            f"the envelope needs runs of at least three computes that improve on each other, found {c.size}"
        )
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_REFITS // 4):
        drawn = np.bincount(rng.integers(0, flops.size, flops.size), minlength=flops.size)
        picks = improving(order[drawn[order] > 0], bins, loss)
        x = np.log(flops[picks]) - np.mean(np.log(flops[picks]))
        if picks.size >= 3 and np.ptp(x) > 0:
            draws.append(np.log(both[:, picks]) @ x / (x @ x))
    if not draws or not np.ptp(draws, axis=0).all():
        raise FitError(
            f"the envelope's {c.size} optima are the same in every resample of the runs, so that its "
            "exponent has no interval; add runs of other sizes at these computes"
        )
    warnings = []
    edges = [(sizes[bins == label].min(), sizes[bins == label].max()) for label in bins_of(c)]
    if np.mean([size in ends for size, ends in zip(optimal[0], edges, strict=True)]) > 0.5:
        warnings.append(
            "most optima are the smallest or largest model of their compute; the optimum may lie outside"
        )
    if c.size < 6:
        warnings.append(f"only {c.size} optima; the exponent is rough")
    return Allocation.through("envelope", c, optimal, np.array(draws).T, level, warnings)


def parabola(
    flops: Array,
    sizes: Array,
    loss: Array,
    budget: Index,
    *,
    examples: Array | None = None,
    level: float = 0.9,
    seed: int = 0,
    refits: int = _REFITS,
) -> Allocation:
    """Approach 2: for each budget the minimum of a parabola of the loss against log size.

    A budget counts if it has at least four sizes, its parabola opens upwards and has its minimum inside of
    the sizes that were run; the others are named in a warning.

    Args:
        flops: Compute of each run, shape (n,).
        sizes: Parameters of each run, shape (n,).
        loss: Loss of each run, shape (n,).
        budget: Label of the budget of each run, shape (n,).
        examples: Examples of each run, shape (n,); default those of six FLOPs for each and parameter.
        level: Coverage of the interval, from resampling runs within their budgets.
        seed: Seed of the resampling.
        refits: How many resamples; none leaves the interval infinite.

    Raises:
        FitError: Fewer than two budgets count.
    """
    rng = np.random.default_rng(seed)
    data = np.log(flops / (FLOPS_PER * sizes) if examples is None else examples)
    centers, optima, warnings = [], [], []
    for label in np.unique(budget):
        rows = np.flatnonzero(budget == label)
        if np.unique(sizes[rows]).size >= _LEAST_SIZES:
            center = np.mean(np.log(flops[rows]))
            lowest, doubt = _minima(
                np.log(sizes[rows]), loss[rows], f"{np.exp(center):.2g} FLOPs", rng, refits
            )
            warnings += doubt
            if lowest is not None:
                order = rows[np.argsort(sizes[rows], kind="stable")]
                centers.append(center)
                optima.append([lowest, np.interp(lowest, np.log(sizes[order]), data[order])])
    if len(centers) < _LEAST_BUDGETS:
        raise FitError(
            f"isoFLOP parabolas need at least {_LEAST_BUDGETS} budgets of {_LEAST_SIZES} sizes with a "
            f"minimum inside, found {len(centers)}; run more sizes around the expected optimum"
        )
    x, minima = np.array(centers) - np.mean(centers), np.array(optima).transpose(1, 0, 2)
    slopes = x @ (minima[:, :, 1:] - np.mean(minima[:, :, 1:], axis=1, keepdims=True)) / (x @ x)
    return Allocation.through("parabola", np.exp(centers), np.exp(minima[:, :, 0]), slopes, level, warnings)


def _minima(
    z: Array, loss: Array, name: str, rng: np.random.Generator, refits: int
) -> tuple[Array | None, list[str]]:
    """Returns where a budget's parabola and those of resamples are lowest, and what to distrust of it.

    Args:
        z: Logarithms of the sizes, shape (n,).
        loss: Loss of each, shape (n,).
        name: What the budget is called.
        rng: Draws the resamples.
        refits: How many.

    Returns:
        Minima of shape (1 + refits,), or `None` where the budget does not count, and warnings.
    """
    counts = rng.multinomial(z.size, np.full(z.size, 1 / z.size), refits).astype(float)
    weights = np.concatenate([np.ones((1, z.size)), counts])
    middle = z.mean()
    basis = np.stack([np.ones_like(z), z - middle, (z - middle) ** 2])[None].repeat(len(weights), axis=0)
    coefficients = solve_linear(basis, loss, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = middle - 0.5 * coefficients[:, 1] / coefficients[:, 2]
    if not coefficients[0, 2] > 0:
        return None, [f"the parabola at {name} does not open upwards; left out"]
    if not z.min() < lowest[0] < z.max():
        return None, [f"the minimum at {name} lies outside of the sizes that were run; left out"]
    left, right = lowest[0] - z.min(), z.max() - lowest[0]
    off = max(left, right) > _WIDE * min(left, right)
    doubt = [f"the sizes at {name} are not centered on the minimum, which biases it"] if off else []
    # A resample whose parabola opens downwards has no minimum; the nearest that it says is the end of the
    # sizes.
    return np.clip(np.where(coefficients[:, 2] > 0, lowest, lowest[0]), z.min(), z.max()), doubt


def parametric(fit: Fit, flops: Array, *, flops_per: float = FLOPS_PER, level: float = 0.9) -> Allocation:
    """Approach 3: the optimum of the law, shown at smallest, middle and largest compute.

    Raises:
        FitError: An exponent stopped at a bound, or the law does not say how to split compute.
    """
    refuse_no_optimum(fit)
    a, ends = fit.estimate(allocation_exponent), fit.interval(allocation_exponent, level)
    c = np.geomspace(flops.min(), flops.max(), 3)
    n = np.array([fit.estimate(optimal_params(float(budget), flops_per)) for budget in c])
    b, factor = Estimate.of(1.0 - a, 1.0 - ends[1], 1.0 - ends[0]), float(n[0] / c[0] ** a)
    return Allocation("parametric", a, *ends, factor, c, n, b, tuple(diagnose(fit).warnings()))
