"""How well runs determine an answer: the mean squared error of the fit that will be made of them.

Of the linearized, shrunken fit with precision `H = sum j j'/s^2 + P` (P that of the priors, s^2 the variance
of a run) the error at targets with derivatives T has three parts: what the priors pull, what runs scatter and
what the law misses, the last two with covariance C between runs and c between runs and targets:

    V = tr T H^-1 (P + J'CJ/s^4) H^-1 T' - 2 tr T H^-1 J'c/s^2 + misfit at the targets

Without misfit that is the criterion of V-optimal designs (Atkinson, Donev & Tobias 2007, ch. 10). With it a
run far from the targets may make the answer worse, which variance alone never sees (Box & Draper 1959; Wiens
2015). It is linear in the misfit, so that averages over its kernels and over forms are exact, and one
more run is a rank-two update for all candidates at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import special

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fitting.data import Table
from scalelab.analysis.next.belief import Belief
from scalelab.analysis.next.misfit import Misfit
from scalelab.arrays import Array, Index


def widened(answer: Estimate, design: Design, level: float, *, of_run: bool) -> Estimate:
    """Returns an answer with an interval at least as wide as its design makes the error.

    The interval of a fit knows what its rows show. Few cheap ones may agree with a law by chance, and a loop
    that stops at a narrow interval finds those that do: so what the law may miss counts all along.

    Args:
        answer: The answer of the fit; positive where the law is.
        design: The runs behind it.
        level: Coverage of the interval.
        of_run: Whether it is for one more run, with its noise.
    """
    law, noise = design.belief.law, design.belief.noise if of_run else 0.0
    half = float(special.ndtri(0.5 + level / 2)) * float(np.hypot(np.sqrt(max(design.error, 0.0)), noise))
    low, high = answer.ends
    ends = (answer.value - half, answer.value + half)
    if law.positive and of_run:
        ends = (answer.value * np.exp(-half), answer.value * np.exp(half))
    return Estimate.of(answer.value, min(low, ends[0]), max(high, ends[1]))


@dataclass(frozen=True, eq=False)
class Aim:
    """What is to be known.

    Attributes:
        columns: Scales whose losses are asked, axis by axis.
        slopes: Derivatives of another quantity by the internal parameters, shape (quantities, parameters);
            by default the losses are the question.
    """

    columns: tuple[Array, ...]
    slopes: Array | None = None


@dataclass(eq=False)
class Design:
    """The runs of one law, those that are there and those that are considered; grows run by run.

    Attributes:
        error: The mean squared error of the answer with the runs that it has, in the space of residuals.
        share: The part of a run's variance that is misfit of the law.
    """

    belief: Belief
    share: float
    error: float = field(init=False)
    _variance: float
    _prior: Array
    _slopes: Array
    _gaps: Array
    _own: float
    _target: Array
    _at_target: Array
    _square: Array
    _rest: float
    _rows: int
    _precision: Array = field(init=False)
    _scatter: Array = field(init=False)
    _pull: Array = field(init=False)
    _with: Array = field(init=False)

    @classmethod
    def of(
        cls, belief: Belief, rows: Table, pool: tuple[Array, ...], aim: Aim, others: dict[Belief, float]
    ) -> Design:
        """Makes the design of a belief.

        Args:
            belief: The law as its rows have it.
            rows: These rows.
            pool: The candidates, axis by axis.
            aim: What is to be known.
            others: Other forms, with weights that sum to at most one.
        """
        n = len(rows)
        points = tuple(np.concatenate(parts) for parts in zip(rows.columns, pool, aim.columns, strict=True))
        misfit = Misfit.of(belief, points, n, others)
        covariance = misfit.covariance()
        last = n + pool[0].size
        target, at_target = belief.slopes_at(aim.columns), covariance[:last, last:]
        rest = float(np.trace(covariance[last:, last:]))
        if aim.slopes is not None:
            target, at_target, rest = aim.slopes, np.zeros((last, len(aim.slopes))), 0.0
        slopes = np.concatenate([belief.slopes, belief.slopes_at(pool)])
        design = cls(
            belief, misfit.share, belief.noise**2, np.diag(belief.width**-2.0), slopes,
            covariance[:last, :last], misfit.own, target, at_target @ target, target.T @ target, rest, n,
        )  # fmt: skip
        design._begin(np.arange(n))
        return design

    def _begin(self, there: Index) -> None:
        slopes = self._slopes[there]
        scatter = self._gaps[np.ix_(there, there)] + self._own * np.eye(there.size)
        self._precision = slopes.T @ slopes / self._variance + self._prior
        self._scatter = slopes.T @ scatter @ slopes
        self._pull = slopes.T @ self._at_target[there]
        self._with = self._gaps[:, there] @ slopes
        self.error = float(self._errors(self._precision, self._scatter, self._pull))

    def _errors(self, precision: Array, scatter: Array, pull: Array) -> Array:
        inverse = np.linalg.inv(precision)
        spread = inverse @ (self._prior + scatter / self._variance**2) @ inverse
        of_law = np.einsum("...ij,ji->...", spread, self._square)
        missed = np.einsum("...ij,...ji->...", inverse, pull)
        return np.asarray(of_law - 2.0 * missed / self._variance + self._rest)

    def errors_with(self, candidates: Index) -> Array:
        """Returns the error of the answer with one more run, for each of some candidates."""
        parts = self._with_each(self._rows + candidates)
        return self._errors(*parts)

    def add(self, candidate: int) -> None:
        """Adds a run of a candidate; it remains one, for a repeat."""
        at = np.array([self._rows + candidate])
        self._precision, self._scatter, self._pull = (part[0] for part in self._with_each(at))
        self._with = self._with + np.outer(self._gaps[:, at[0]], self._slopes[at[0]])
        self.error = float(self._errors(self._precision, self._scatter, self._pull))

    def _with_each(self, at: Index) -> tuple[Array, Array, Array]:
        slopes, beside = self._slopes[at], self._with[at]
        own = slopes[:, :, None] * slopes[:, None, :]
        cross = slopes[:, :, None] * beside[:, None, :]
        variance = (np.diag(self._gaps)[at] + self._own)[:, None, None]
        return (
            self._precision + own / self._variance,
            self._scatter + cross + cross.transpose(0, 2, 1) + variance * own,
            self._pull + slopes[:, :, None] * self._at_target[at][:, None, :],
        )
