"""What may be wrong with a fit, measured.

Every number here answers a question that a reader of an extrapolation ought to ask; `diagnose`
gathers them and says in sentences which of them are out of the ordinary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.average import AutoFit
from scalelab.analysis.inference.bootstrap import without_each
from scalelab.analysis.inference.covariance import plentiful
from scalelab.analysis.inference.noise import distinct, noise
from scalelab.analysis.inference.simulator import FAR, places, simulator
from scalelab.arrays import Array

_ILL, _NARROW, _CLOSE = 1e3, 1.0, 1e-3
_MANY_ROWS, _TREND_P, _MISFIT = 1000, 0.01, 3.0
_LINE, _SURE, _INFLUENTIAL = 5, 3.0, 3.0
# The cluster bootstrap rejects too often with five to ten clusters (Cameron, Gelbach & Miller 2008, table 3).
_FEW_GROUPS = 10
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """Measurements of a fit.

    Attributes:
        condition: Condition number of the Jacobian with columns of length one; large means that some
            parameters can trade off against others without the rows noticing.
        at_bounds: Parameters that stopped at an end of what the law allows.
        span_decades: Decades that the rows span, by axis.
        leverage: How much each row draws the law to itself, shape (n,); they sum to the number of parameters.
        influence: Largest change of an exponent, in its standard errors, from leaving out each row (or
            group); None above 1,000 rows.
        near_duplicates: Pairs of rows whose axes agree within 0.1%, but not exactly; ones that agree
            exactly are repeats.
        trend: Spearman correlation of residuals with scale, by axis, and its p-value.
        runs_p: p-value of the Wald-Wolfowitz test that residuals ordered by scale change sign at random;
            small if the law bends differently than the rows.
        lack_of_fit: Residual variance over that of repeats, None without repeats.
        agreeing_starts: Share of the refined starting points that reached the same optimum.
        copies: Rows that are copies of another one; intervals take them for one run.
        n_groups: Groups of rows, None without groups.
        unlike: Rows that are not like the others, by number, and how many times the usual distance of rows
            from the law theirs is.
        rises: Axes along which outcomes rise before they fall, with the scale from which on they fall.
        scales: The scales of the rows, by axis.
    """

    condition: float
    at_bounds: tuple[str, ...]
    span_decades: dict[str, float]
    leverage: Array
    influence: Array | None
    near_duplicates: int
    trend: dict[str, tuple[float, float]]
    runs_p: float
    lack_of_fit: float | None
    agreeing_starts: float
    copies: int
    n_groups: int | None
    unlike: dict[int, float]
    rises: dict[str, float]
    scales: dict[str, Array]

    json_fields: ClassVar = (
        "condition", "at_bounds", "span_decades", "leverage", "influence", "near_duplicates", "trend",
        "runs_p", "lack_of_fit", "agreeing_starts", "copies", "n_groups", "unlike", "rises", "warnings",
    )  # fmt: skip

    def warnings(self) -> list[str]:
        """Returns what is out of the ordinary, a sentence each; empty if nothing is."""
        return [*self._of_rows(), *self._of_shape(), *self._of_parameters()]

    @property
    def _large(self) -> float:
        """The influence that is out of the ordinary, as for DFBETAS (Belsley, Kuh & Welsch 1980)."""
        assert self.influence is not None
        return max(1.0, _INFLUENTIAL / float(np.sqrt(self.influence.size)))

    def _row(self, number: int) -> str:
        """Returns a row by its scales: its number is that of a mean over seeds, which nobody else counts."""
        scales = ", ".join(f"{axis} {column[number]:,.6g}" for axis, column in self.scales.items())
        return f"the row at {scales}"

    def _of_rows(self) -> Iterator[str]:
        yield from self._of_unlike()
        p = float(self.leverage.sum())
        worst = int(np.argmax(self.leverage))
        if self.leverage[worst] > max(3.0 * p / self.leverage.size, 0.5):
            yield f"{self._row(worst)} has leverage {self.leverage[worst]:.2f}: it nearly decides a parameter"
        if self.influence is not None and np.nanmax(self.influence) > self._large:
            row, size = int(np.nanargmax(self.influence)), float(np.nanmax(self.influence))
            which = self._row(row) if self.n_groups is None else f"group {row}"
            yield f"leaving out {which} moves an exponent by {size:.1f} standard errors"
        if self.near_duplicates:
            pairs = "pair of rows is" if self.near_duplicates == 1 else "pairs of rows are"
            yield f"{self.near_duplicates} {pairs} nearly of the same scale: is that one run?"
        if self.copies:
            yield f"{self.copies} rows are copies of others, which say nothing of the noise: drop them"
        if self.n_groups is not None and self.n_groups < _FEW_GROUPS:
            yield (
                f"there are only {self.n_groups} groups: an interval from so few is too narrow; "
                f"{_FEW_GROUPS} are enough"
            )

    def _of_unlike(self) -> Iterator[str]:
        """Yields a sentence for each row that is unlike the others; of many, one that names the farthest."""
        farthest = sorted(self.unlike, key=lambda row: -self.unlike[row])
        if len(farthest) <= _NAMED:
            for row in self.unlike:
                yield (
                    f"{self._row(row)} is not like the others, {self.unlike[row]:.0f} times as far from the "
                    "law: did that run diverge?"
                )
            return
        named = "; ".join(self._row(row) for row in farthest[:_NAMED])
        yield (
            f"{len(farthest)} of {self.leverage.size} rows are not like the others, up to "
            f"{self.unlike[farthest[0]]:.0f} times as far from the law ({named} the farthest): that is a "
            "pattern rather than runs that diverged; another form, or another axis, may follow it"
        )

    def _of_shape(self) -> Iterator[str]:
        for axis, scale in self.rises.items():
            yield (
                f"outcomes rise with {axis} before they fall, up to {scale:,.6g}: no form that only falls "
                "follows that; leave the small runs out, or use saturating-overfit or bnsl"
            )
        if self.runs_p < _TREND_P:
            yield (
                f"residuals do not change sign at random along scale (p = {self.runs_p:.1g}): "
                "the law has the wrong shape"
            )
        for axis, (rho, p_value) in self.trend.items():
            if p_value < _TREND_P:
                yield f"residuals drift with {axis} (Spearman {rho:+.2f}): extrapolations along it are biased"
        if self.lack_of_fit is not None and self.lack_of_fit > _MISFIT:
            yield (
                f"residuals have {self.lack_of_fit:.0f} times the variance of repeats: "
                "the law misses something"
            )

    def _of_parameters(self) -> Iterator[str]:
        if self.at_bounds:
            yield f"{', '.join(self.at_bounds)} stopped at a bound: the rows do not determine it"
        if self.condition > _ILL:
            yield (
                f"parameters trade off against each other (condition {self.condition:.1e}): "
                "trust predictions more than them"
            )
        for axis, decades in self.span_decades.items():
            if decades < _NARROW:
                yield f"{axis} spans only {decades:.1f} decades: its exponent is weakly determined"
        if self.agreeing_starts < 0.2:
            yield f"only {self.agreeing_starts:.0%} of the starting points agree on the optimum"


def diagnose(fit: Point | AutoFit[Any]) -> Diagnostics:
    """Measures what may be wrong with a fit; with an average of forms, what may be with its heaviest."""
    fit = fit if isinstance(fit, Point) else fit.best
    residuals, jac = fit.problem.residuals(fit.theta[None])
    rows = jac[0].T * np.sqrt(fit.table.weights)[:, None]
    lengths = np.linalg.norm(rows, axis=0)
    scaled = rows / np.where(lengths > 0, lengths, 1.0)
    singular = np.linalg.svd(scaled, compute_uv=False)
    condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")
    q, _ = np.linalg.qr(scaled)
    columns = fit.table.x
    span = {
        name: float(np.log10(c.max() / c.min())) if fit.law.log_axes else float("inf")
        for name, c in columns.items()
    }
    place = places(fit.table.columns)
    # Repeats of one scale are no independent witnesses of the law's shape.
    _, first = np.unique(place, return_index=True)
    means = (np.bincount(place, residuals[0]) / np.bincount(place))[place[first]]
    order = np.argsort(sum(column[first] for column in fit.problem.u), kind="stable")
    return Diagnostics(
        condition=condition,
        at_bounds=fit.at_bounds,
        span_decades=span,
        leverage=(q**2).sum(axis=1),
        influence=influence(fit),
        near_duplicates=near_duplicates(fit),
        trend={name: _trend(column[first], means) for name, column in columns.items()},
        runs_p=_runs(means[order]),
        lack_of_fit=noise(fit).lack_of_fit,
        agreeing_starts=fit.starts.agreeing / fit.starts.refined,
        copies=len(fit.table) - distinct(fit).size,
        n_groups=None if fit.table.groups is None else int(fit.table.groups.max()) + 1,
        unlike=unlike(fit),
        rises=rises(fit),
        scales=columns,
    )


def unlike(fit: Point) -> dict[int, float]:
    """Returns the rows that are not like the others, and how many times as far from the law they are."""
    found = simulator(fit)
    residuals = fit.problem.residuals(found.theta[None])[0][0] * found.root
    usual = max(found.limit / FAR, 1e-300)
    return {int(row): float(abs(residuals[row]) / usual) for row in np.flatnonzero(found.far)}


def rises(fit: Point) -> dict[str, float]:
    """Returns along which axes outcomes rise before they fall, and to which scale at most.

    Looks at each line of rows along an axis, the other axes held, without rows that are unlike the others. A
    rise counts that is beyond three standard deviations of a difference, taken from repeats, or else from
    second differences along the line.
    """
    if not fit.law.log_axes or len(fit.table) > _MANY_ROWS:
        return {}
    imitate = simulator(fit)
    usual = ~imitate.far
    y = fit.estimator.score(fit.table.y)[usual]
    columns = {axis: column[usual] for axis, column in fit.table.x.items()}
    repeats = imitate.repeats
    of_seed = None if repeats is None else float(np.sqrt(np.mean(repeats.own**2)))
    found: dict[str, float] = {}
    for axis, column in columns.items():
        others = [other for name, other in columns.items() if name != axis]
        line = places(others) if others else np.zeros(y.size, dtype=int)
        for number in np.unique(line):
            own = line == number
            scales, place = np.unique(column[own], return_inverse=True)
            means = np.bincount(place, y[own]) / np.bincount(place)
            peak = int(np.argmax(means))
            if scales.size < _LINE or peak == 0 or means[-1] >= means[0]:
                continue
            noise = of_seed
            if noise is None:
                noise = float(np.median(np.abs(np.diff(means, 2)))) / 0.6745 / np.sqrt(6.0)
            if means[peak] - means[0] > _SURE * np.sqrt(2.0) * noise:
                found[axis] = max(found.get(axis, 0.0), float(scales[peak]))
    return found


def influence(fit: Point) -> Array | None:
    """Returns the largest change of an exponent, in standard errors, from leaving out each row (or group).

    Refits rather than a formula, because a narrow penalty has no influence function to speak of. None of
    plentiful rows, of which none decides alone, and for laws without exponents.
    """
    labels = np.arange(len(fit.table)) if fit.table.groups is None else fit.table.groups
    names = np.unique(labels)
    if len(fit.table) > _MANY_ROWS or plentiful(fit) or not fit.law.exponents:
        return None
    left_out = without_each(fit, labels).params
    changes = []
    for name in fit.law.exponents:
        error = float(np.std(left_out[name])) * np.sqrt(len(names))
        if error > 0:
            # The jackknife's own standard error; the normal one of a fit by absolute errors is less stable.
            changes.append(np.abs(left_out[name] - fit.params[name]) / error)
    return np.max(changes, axis=0) if changes else np.zeros(len(names))


def near_duplicates(fit: Point) -> int:
    """Returns how many neighbors in scale agree within 0.1% on every axis but are not exact repeats."""
    points = np.unique(np.stack(fit.problem.u, axis=1), axis=0)
    return int((np.abs(np.diff(points, axis=0)).max(axis=1) < _CLOSE).sum()) if len(points) > 1 else 0


def _trend(column: Array, residuals: Array) -> tuple[float, float]:
    from scipy import stats

    found = stats.spearmanr(column, residuals)
    return (float(found.statistic), float(found.pvalue)) if np.isfinite(found.statistic) else (0.0, 1.0)


def _runs(residuals: Array) -> float:
    """Returns the one-sided p-value of the runs test, one where all residuals have one sign."""
    from scipy import stats

    signs = residuals > np.median(residuals)
    above, below = int(signs.sum()), int((~signs).sum())
    n = above + below
    if above == 0 or below == 0 or n < 8:
        return 1.0
    runs = 1 + int((signs[1:] != signs[:-1]).sum())
    mean = 1 + 2 * above * below / n
    variance = (mean - 1) * (mean - 2) / (n - 1)
    # Only too few runs speak against the shape of the law.
    return float(stats.norm.cdf((runs + 0.5 - mean) / np.sqrt(variance)))
