"""What was predicted, and what came: registered predictions beside the runs that answer them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from scalelab.amounts import counted
from scalelab.analysis.analyze import Analysis
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.verdicts import NEAR, JudgedRun, RuleScore, Verdict, Verdicts
from scalelab.predictions import BASELINES, LAW
from scalelab.report.names import family_names
from scalelab.report.numbers import Shown, interval, percent, plain
from scalelab.report.parts import Figure, Line, Panel, Series, Table
from scalelab.report.sections.predict import at_words, of_guess
from scalelab.report.sections.topic import Topic, figure

_TITLE = "What was predicted, and what came"
_MOST = 24
_BESIDE = 0.2
_DIGITS = 4
_TIMINGS = {
    "late": "late: a run that answers had begun when it was registered",
    "undated": "undated: nothing says when the runs that answer were made, as of tables from elsewhere",
}
_UNITS = (
    "error, width and interval score are means over predictions, in parts of the loss that the law said, "
    "with 90% intervals as if predictions were independent; the interval score is the width plus "
    "2 / (1 - level) times how far a run lies outside: lower is better"
)


def tables(found: Verdicts, *, whole: bool = True) -> Iterator[Table]:
    """Yields the verdicts, what plainer rules said, and how all did over what was answered."""
    yield _each(found)
    if whole:
        yield _beside(found)
    scores = {
        "Law and baselines over the predictions that were registered ahead of their runs": found.scores,
        "Law and baselines over those that were registered late, or undated": found.scores_of_others,
    }
    for title, own in scores.items():
        if own:
            yield _over_all(title, own)


def _each(found: Verdicts) -> Table:
    name = family_names(one.family for one in found.verdicts)
    rows = (
        {
            "prediction": one.prediction.id,
            "registered": one.time.replace("T", " ").removesuffix("Z"),
            "family": name(one.family),
            "run": at_words(one.prediction.at),
            "law": one.prediction.source.law,
            "predicted loss": interval(of_guess(one.prediction.law)),
            "what came": ", ".join(map(_came, one.answers)),
            "error": _error(one.answers),
            "verdict": _verdict(one),
        }
        for one in found.verdicts
    )
    levels = dict.fromkeys(percent(one.prediction.level) for one in found.verdicts)
    notes = [
        f"intervals are of one run, at {' or '.join(levels)}; times are UTC; a run answers where it has the "
        f"settings that the law's points share and a scale within {percent(NEAR - 1)} of the one predicted, "
        "to which the prediction is moved along the law",
        *(words for timing, words in _TIMINGS.items() if any(_is(one, timing) for one in found.verdicts)),
    ]
    n_unfinished = sum(one.n_unfinished for one in found.verdicts)
    if n_unfinished:
        runs = counted(n_unfinished, "runs")
        notes.append(f"{runs} that would answer failed or were interrupted, and say nothing")
    return Table.of(_TITLE, rows, numbers=slice(5, 8), notes=notes, optional=("law", "registered"))


def _is(one: Verdict, timing: str) -> bool:
    return bool(one.answers) and one.timing == timing


def _verdict(one: Verdict) -> str:
    return one.verdict if one.timing == "ahead" or not one.answers else f"{one.verdict} ({one.timing})"


def _came(answer: JudgedRun) -> str:
    return "diverged" if answer.loss is None else plain(answer.loss)


def _error(answers: Sequence[JudgedRun]) -> str:
    """Returns how far the mean of the runs lies above what the law said, in percent."""
    known = [answer.error for answer in answers if answer.error is not None]
    if not known:
        return ""
    mean = float(np.mean(known))
    return Shown.of(f"{mean:+.2%}" if abs(mean) < 0.1 else f"{mean:+.0%}", mean, unit="share")


def _beside(found: Verdicts) -> Table:
    rows = (
        {
            "prediction": one.prediction.id,
            "what came": ", ".join(map(_came, one.answers)),
            **{rule: _said(one, rule) for rule in (LAW, *BASELINES)},
        }
        for one in found.verdicts
    )
    notes = [
        "last value: the loss of the largest point; log-log line: a straight line in the logarithms; least "
        "squares: the law's form, fitted by plain least squares; each with the interval of its own residuals"
    ]
    reasons = {
        f"no {rule} for {one.prediction.id}: {why}"
        for one in found.verdicts
        for rule, why in one.prediction.refused.items()
    }
    return Table.of("What plainer rules said of the same runs", rows, notes=[*notes, *sorted(reasons)])


def _said(one: Verdict, rule: str) -> str:
    return next((interval(of_guess(own)) for own in one.prediction.guesses if own.rule == rule), "")


def _over_all(title: str, scores: Sequence[RuleScore]) -> Table:
    rows = (
        {
            "rule": one.rule,
            "predictions": f"{one.n_predictions:,}",
            "promised": percent(one.asked),
            "inside": _shares(one.coverage),
            "error": _shares(one.error),
            "width": _shares(one.width),
            "interval score": _shares(one.interval_score),
        }
        for one in scores
    )
    return Table.of(title, rows, notes=[_UNITS])


def _shares(estimate: Estimate | None) -> str:
    """Returns an estimate in percent, with its interval where it has one."""
    if estimate is None:
        return ""
    if estimate.lower is None or estimate.upper is None:
        return percent(estimate.value)
    text = (
        f"{percent(estimate.value)} [{percent(max(estimate.lower, 0.0)) or '0%'}, {percent(estimate.upper)}]"
    )
    return Shown.between(text, estimate, "share")


def _lines(analysis: Analysis) -> Iterator[str]:
    found = analysis.verdicts
    if found is None:
        return
    n_open = sum(not one.answers for one in found.verdicts)
    waiting = f"; for {n_open} no run has come" if n_open else ""
    yield f"Registered predictions of these runs' laws: {len(found.verdicts)}{waiting}."
    for score in found.scores[:1]:
        error = f", with a mean error of {_shares(score.error)}" if score.error else ""
        yield (
            f"Of those registered ahead of their runs ({score.n_predictions}), {_shares(score.coverage)} "
            f"held, where {percent(score.asked)} was promised{error}."
        )


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    if analysis.verdicts is not None:
        yield from tables(analysis.verdicts, whole=whole)


def _figures(analysis: Analysis, _dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields the last predictions that were answered, once for all datasets."""
    found = () if analysis.verdicts is None else analysis.verdicts.verdicts
    answered = [one for one in found if one.answers][-_MOST:]
    if not answered or suffix:
        return
    marks = [(place, *_ratios(one.answers[0])) for place, one in enumerate(answered)]
    came = [
        (place + _BESIDE, 1.0 + answer.error)
        for place, one in enumerate(answered)
        for answer in one.answers
        if answer.error is not None
    ]
    series = (
        Series(label="what the law said", line=Line(np.array(marks, dtype=float))),
        *([Series(label="what came", color=1, points=np.array(came, dtype=float))] if came else []),
    )
    names = tuple(one.prediction.id[:_DIGITS] for one in answered)
    panel = Panel(
        "", "prediction", "loss / what the law said", series, log_x=False, log_y=False, ticks=names,
        reference=1.0,
    )  # fmt: skip
    yield figure("verdicts", suffix, [panel], most=str(_MOST))


def _ratios(answer: JudgedRun) -> tuple[float, float, float]:
    """Returns what the law said and both ends of its interval, over what it said."""
    law = answer.guesses[0]
    return 1.0, 1.0 + (law.lower - law.value) / answer.unit, 1.0 + (law.upper - law.value) / answer.unit


TOPIC = Topic("verdicts", _TITLE, answer=_lines, tables=_tables, figures=_figures)
