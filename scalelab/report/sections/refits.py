"""Refits: the best design of a cross-validation, trained again, on the split that chose nothing."""

from __future__ import annotations

from collections.abc import Iterator

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.runs.refits import Refitted, Score
from scalelab.report.numbers import interval, percent, plain, short
from scalelab.report.parts import Table
from scalelab.report.sections.topic import Topic


def _lines(analysis: Analysis) -> Iterator[str]:
    for refit in analysis.refits:
        tested = [score for score in refit.scores if score.split == "test"]
        wanted = [score for score in tested if score.name == refit.chosen_by] or tested
        words = f"{refit.architecture} with {refit.optimizer} on {refit.dataset}"
        if wanted:
            yield (
                f"The best design of {refit.study} by mean {refit.chosen_by}, {words}, has a test "
                f"{wanted[0].name} of {_mean(wanted[0])} when trained again {_over(refit)}."
            )
        else:
            yield f"The best design of {refit.study} by mean {refit.chosen_by} is {words}; it was not tested."


def _over(refit: Refitted) -> str:
    n = len(refit.seeds)
    return f"with {n} seeds" if n > 1 else "with one seed, so that nothing says how much a seed matters"


def _mean(score: Score) -> str:
    return interval(score.mean) if score.deviation is not None else plain(score.mean.value)


def _tables(analysis: Analysis, _whole: bool) -> Iterator[Table]:
    for refit in analysis.refits:
        rows = (
            {
                "split": score.split,
                "score": score.name,
                "mean": _mean(score),
                "SD": plain(score.deviation, 2),
                "lowest": plain(score.lowest),
                "highest": plain(score.highest),
                "examples": short(score.n_examples),
            }
            for score in refit.scores
        )
        n = len(refit.seeds)
        note = (
            f"mean, its {percent(analysis.level)} interval and SD are over {n} seeds on the same examples "
            "and say nothing of other ones; validation chose the best step, test chose nothing"
            if n > 1
            else "one seed: there is no interval; validation chose the best step, test chose nothing"
        )
        title = f"{refit.study}: {refit.architecture} with {refit.optimizer}, trained again"
        yield Table.of(title, rows, numbers=slice(2, None), notes=(note,), optional=("SD", "examples"))


TOPIC = Topic("refits", "The best design, trained again", answer=_lines, tables=_tables)
