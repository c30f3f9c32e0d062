"""Registered predictions held against the runs that came.

A run answers a prediction where it has all the settings that the points of the law shared, no option that
they did not have, and a scale within `NEAR` of the one that was predicted. What was predicted is moved to the
run's own scale along its slope. Of several designs that answer, the nearest scale counts and there, as for a
point of a law, the best; each of its runs is judged by itself, for an interval is that of one run.

Every rule's errors and intervals are measured in units of what the law said, so that losses of different
sizes can be averaged and rules compared. The interval score (Gneiting & Raftery 2007, eq. 43) of an interval
[l, u] of coverage 1 - a is u - l, and 2/a times how far the loss lies outside of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.runs.axes import with_axes
from scalelab.analysis.runs.calibration import wilson
from scalelab.analysis.runs.columns import hashable, option_columns
from scalelab.analysis.runs.designs import SCALES, Family, design_ids, designs, finished_runs
from scalelab.analysis.runs.outcomes import numbers, taken
from scalelab.analysis.runs.refits import mean_of
from scalelab.errors import InputError
from scalelab.predictions import BASELINES, LAW, NAMES, Guess, RegisteredPrediction
from scalelab.records import FINAL_STATUSES, UNSPECIFIED

if TYPE_CHECKING:
    import pandas as pd

NEAR = 1.1
"""How many times a run's scale may differ from the one that was predicted."""
LEVEL = 0.9
"""Coverage of the intervals of scores."""
_EPOCHS = 0.01
Timing = Literal["ahead", "late", "undated"]


@dataclass(frozen=True)
class JudgedRun:
    """One run that answers a prediction, and how it was judged.

    Attributes:
        trial_id: The run.
        seed: Its seed, `None` where unknown.
        at: Its own scale, by axis.
        loss: What came; `None` where it diverged.
        guesses: What was said, moved to its scale.
    """

    trial_id: str
    seed: int | None
    at: dict[str, float]
    loss: float | None
    guesses: tuple[Guess, ...]

    json_fields: ClassVar = ("trial_id", "seed", "at", "loss", "inside", "error", "guesses")

    @property
    def inside(self) -> bool:
        """Whether the law's interval holds the loss; none holds that of a run that diverged."""
        return self.holds(self.guesses[0])

    @property
    def error(self) -> float | None:
        """How far the loss lies above what the law said, in units of that."""
        return None if self.loss is None else self.off(self.guesses[0])

    def holds(self, guess: Guess) -> bool:
        """Whether an interval holds the loss."""
        return self.loss is not None and guess.lower <= self.loss <= guess.upper

    def off(self, guess: Guess) -> float:
        """Returns how far the loss lies above a guess; NaN where there is none."""
        return ((math.nan if self.loss is None else self.loss) - guess.value) / self.unit

    def score(self, guess: Guess, level: float) -> float:
        """Returns the interval score of a guess; NaN without a loss."""
        if self.loss is None:
            return math.nan
        outside = max(guess.lower - self.loss, self.loss - guess.upper, 0.0)
        return (guess.upper - guess.lower + 2.0 / (1.0 - level) * outside) / self.unit

    @property
    def unit(self) -> float:
        """What the law said, of which errors are parts."""
        return abs(self.guesses[0].value) or 1.0


@dataclass(frozen=True)
class Verdict:
    """A registered prediction and what came.

    Attributes:
        prediction: The prediction.
        timing: `ahead` of the runs that answer it; `late`, where one of them had begun; `undated`, where
            nobody can tell, as of tables from elsewhere.
        answers: The runs that it is judged by; none while it is open.
        n_unfinished: Runs that would answer it, but failed or were interrupted.
    """

    prediction: RegisteredPrediction
    timing: Timing
    answers: tuple[JudgedRun, ...]
    n_unfinished: int

    json_fields: ClassVar = (
        "id=prediction.id", "registered_at=time", "timing", "verdict", "dataset=prediction.dataset",
        "architecture=prediction.architecture", "optimizer=prediction.optimizer", "at=prediction.at",
        "level=prediction.level", "law=prediction.source.law", "loss=prediction.law",
        "baselines=prediction.baselines", "no_baseline=prediction.refused", "answers", "n_unfinished",
        "settings=prediction.settings", "warnings=prediction.warnings", "source=prediction.source",
    )  # fmt: skip

    @property
    def family(self) -> Family:
        """Whose run was predicted."""
        one = self.prediction
        return Family(one.dataset, one.architecture, one.optimizer)

    @property
    def time(self) -> str:
        """When it was registered, as ISO 8601 in UTC."""
        when = datetime.fromtimestamp(self.prediction.registered_at, UTC)
        return when.isoformat(timespec="seconds").replace("+00:00", "Z")

    @property
    def verdict(self) -> str:
        """`open`, `inside`, `outside`, `diverged`, or such as `2 of 3 inside`."""
        if not self.answers:
            return "open"
        inside = sum(answer.inside for answer in self.answers)
        if all(answer.loss is None for answer in self.answers):
            return "diverged"
        if inside in (0, len(self.answers)):
            return "inside" if inside else "outside"
        return f"{inside} of {len(self.answers)} inside"


@dataclass(frozen=True)
class RuleScore:
    """How well one rule did over predictions; each counts once, as the mean over its runs.

    Attributes:
        rule: `law`, or the name of a baseline.
        n_predictions: How many predictions it answered for which a run came.
        asked: The coverage that its intervals promise, on average.
        coverage: The share of runs that were inside, with Wilson's interval.
        error: Mean absolute error, in parts of what the law said, like the next two; with Student's interval
            over predictions. Runs that diverged have none.
        width: Mean width of the intervals.
        interval_score: Mean interval score; lower is better.
    """

    rule: str
    n_predictions: int
    asked: float
    coverage: Estimate
    error: Estimate | None
    width: Estimate
    interval_score: Estimate | None


@dataclass(frozen=True)
class Verdicts:
    """All registered predictions of a store, and how they did.

    Attributes:
        verdicts: One a prediction, those registered first at the front.
    """

    verdicts: tuple[Verdict, ...]

    json_fields: ClassVar = ("level", "verdicts", "scores", "scores_of_others")
    level: ClassVar = LEVEL

    @property
    def scores(self) -> tuple[RuleScore, ...]:
        """Of the predictions that were registered ahead of their runs: the law's, then the baselines'."""
        return tuple(_scores([one for one in self.verdicts if one.timing == "ahead"]))

    @property
    def scores_of_others(self) -> tuple[RuleScore, ...]:
        """Of those that were registered late, or for which that cannot be told."""
        return tuple(_scores([one for one in self.verdicts if one.timing != "ahead"]))


def judged(
    predictions: Sequence[RegisteredPrediction], runs: pd.DataFrame, begun: Mapping[str, float]
) -> Verdicts:
    """Holds predictions against runs.

    Args:
        predictions: What was registered.
        runs: All runs of the store, as its `runs`.
        begun: By trial when its first attempt began, in seconds since the epoch.
    """
    return Verdicts(tuple(_verdict(one, runs, begun) for one in predictions))


def answering(prediction: RegisteredPrediction, runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs that answer a prediction, finished or not, a row a trial, with the axes as columns.

    Args:
        prediction: The prediction.
        runs: The store's `runs`.
    """
    settings = prediction.settings
    found = runs.sort_values("tuned", kind="stable", na_position="last") if "tuned" in runs.columns else runs
    found = found.drop_duplicates("trial_id").sort_index()
    names = {column: value for column, value in settings.same.items() if column in NAMES}
    for wanted in (names, settings.same):  # few runs are left to be looked at in all settings
        masks = [_matching(found, column, value) for column, value in wanted.items()]
        found = found[np.logical_and.reduce(masks)] if masks else found
    others = [name for name in option_columns(found) if name not in {*settings.same, *settings.free}]
    found = found[found[others].isna().all(axis=1)]
    if found.empty:
        return found
    try:
        found, _ = with_axes(found, None, prediction.at)
    except InputError:
        return found[:0]
    for axis, value in prediction.at.items():
        scale = numbers(found, axis)
        found = found[(scale > value / NEAR / (1 + 1e-9)) & (scale < value * NEAR * (1 + 1e-9))]
    if settings.n_params is not None:
        found = found[numbers(found, "n_params").between(*settings.n_params)]
    return found


def _matching(runs: pd.DataFrame, column: str, value: Any) -> pd.Series:
    """Returns which runs have a setting; a column may have another type than when it was written down."""
    import pandas as pd

    if column not in runs.columns:
        return pd.Series(False, index=runs.index)
    if column == "epochs":
        ended = runs["status"] == "done"  # what broke off has the passes that it came to
        return ~ended | (numbers(runs, column) / float(value) - 1.0).abs().lt(_EPOCHS)
    values, wanted = hashable(runs[column]), _plain(value)
    same = values.isin([one for one in values.dropna().unique() if _plain(one) == wanted])
    return same | values.isna() if not wanted else same


def _plain(value: Any) -> str:
    """Returns a setting as text, the same of a number whatever its type."""
    if value is None or value == UNSPECIFIED or (isinstance(value, float) and math.isnan(value)):
        return ""
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        known = {"true": "1.0", "false": "0.0"}
        return known.get(str(value).lower(), str(value))


def _verdict(one: RegisteredPrediction, runs: pd.DataFrame, begun: Mapping[str, float]) -> Verdict:
    found = answering(one, runs)
    ended = found[found["status"].isin(FINAL_STATUSES)]
    answers = tuple(_answers(one, ended)) if len(ended) else ()
    return Verdict(one, _timing(one, ended, begun), answers, len(found) - len(ended))


def _timing(one: RegisteredPrediction, ended: pd.DataFrame, begun: Mapping[str, float]) -> Timing:
    trials = set(ended["trial_id"])
    if trials.intersection(one.known) or any(
        begun.get(trial, math.inf) <= one.registered_at for trial in trials
    ):
        return "late"
    return "ahead" if trials <= set(begun) else "undated"


def _answers(one: RegisteredPrediction, ended: pd.DataFrame) -> Iterator[JudgedRun]:
    """Yields the runs that a prediction is judged by: those of one design, and its seeds that diverged."""
    extra = [axis for axis in one.at if axis not in SCALES]
    done = finished_runs(ended)
    if len(done):
        try:
            done = taken(done, one.source.on, one.source.charge)
        except InputError:  # they do not record the loss that was predicted
            return
        done = done[np.isfinite(done["loss"])].reset_index(drop=True)
    diverged = ended[ended["status"] == "diverged"]
    if len(done):
        table = designs(done, extra)
        apart = [_distance(one, row) for row in table.to_dict("records")]
        best = table.assign(apart=np.round(apart, 9)).sort_values(["apart", "chosen"], kind="stable").iloc[0]
        ids = design_ids(done, extra)
        own = done[ids == ids[done["trial_id"] == best["first_run"]][0]]
        for (_, run), loss in zip(own.iterrows(), best["losses"], strict=True):
            yield _answer(one, run, float(loss))
        twins = np.ones(len(diverged), dtype=bool)
        for column in one.settings.free:
            if column in diverged.columns and column not in SCALES:
                twins &= diverged[[column]].map(_plain)[column].to_numpy() == _plain(own[column].iloc[0])
        diverged = diverged[twins]
    for _, run in diverged.iterrows():
        yield _answer(one, run, None)


def _logs(one: RegisteredPrediction, run: Mapping[str, Any]) -> dict[str, float]:
    return {axis: math.log(float(run[axis]) / value) for axis, value in one.at.items()}


def _distance(one: RegisteredPrediction, run: Mapping[Any, Any]) -> float:
    return max(map(abs, _logs(one, run).values()))


def _answer(one: RegisteredPrediction, run: Any, loss: float | None) -> JudgedRun:
    logs = _logs(one, run)
    seed = run.get("seed")
    return JudgedRun(
        trial_id=str(run["trial_id"]),
        seed=None if seed is None or seed != seed else int(seed),
        at={axis: float(run[axis]) for axis in one.at},
        loss=loss,
        guesses=tuple(guess.moved(logs) for guess in one.guesses),
    )


def _scores(verdicts: Sequence[Verdict]) -> Iterator[RuleScore]:
    for rule in (LAW, *BASELINES):
        pairs = [
            [(answer, guess) for answer in one.answers for guess in answer.guesses if guess.rule == rule]
            for one in verdicts
        ]
        levels = [one.prediction.level for one, own in zip(verdicts, pairs, strict=True) if own]
        own = list(filter(None, pairs))
        if own:
            yield _score(rule, own, levels)


def _score(
    rule: str, pairs: Sequence[Sequence[tuple[JudgedRun, Guess]]], levels: Sequence[float]
) -> RuleScore:
    n = len(pairs)
    share = float(np.mean([np.mean([answer.holds(guess) for answer, guess in own]) for own in pairs]))
    lower, upper = wilson(np.array([share * n]), np.array([float(n)]), LEVEL)
    scored = [[answer.score(guess, p) for answer, guess in own] for own, p in zip(pairs, levels, strict=True)]
    width = _mean([[(guess.upper - guess.lower) / answer.unit for answer, guess in own] for own in pairs])
    assert width is not None, "every guess has an interval"
    return RuleScore(
        rule=rule,
        n_predictions=n,
        asked=float(np.mean(levels)),
        coverage=Estimate.holding(share, float(lower[0]), float(upper[0])),
        error=_mean([[abs(answer.off(guess)) for answer, guess in own] for own in pairs]),
        width=width,
        interval_score=_mean(scored),
    )


def _mean(values: Iterable[Sequence[float]]) -> Estimate | None:
    """Returns the mean over predictions of what is known of their runs; `None` where nothing is."""
    known = [[one for one in own if math.isfinite(one)] for own in values]
    means = np.array([np.mean(own) for own in known if own])
    if not means.size:
        return None
    deviation = float(means.std(ddof=1)) if means.size > 1 else None
    return mean_of(float(means.mean()), deviation, means.size, LEVEL)
