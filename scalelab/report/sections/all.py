"""The list of a report's sections, which terminal, page, Markdown and figures walk in this order.

`Analysis.json_fields`, the JSON of `scalelab analyze`, has the same topics in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from scalelab.analysis.analyze import Analysis
from scalelab.report.parts import Section
from scalelab.report.sections import (
    allocation,
    calibration,
    comparison,
    curves,
    design,
    fronts,
    laws,
    method,
    refits,
    studies,
    sweeps,
    training,
    trees,
    verdicts,
)
from scalelab.report.sections.answer import NextStudy, answer_section
from scalelab.report.sections.budget import with_budgets
from scalelab.report.sections.topic import Topic

TOPICS: tuple[Topic, ...] = tuple(
    topic.TOPIC
    for topic in (
        studies,
        refits,
        laws,
        verdicts,
        sweeps,
        comparison,
        allocation,
        fronts,
        calibration,
        trees,
        design,
        training,
        curves,
        method,
    )
)

OnError = Callable[[str], None]
"""What to do with a line about a part that could not be made."""


def sections(
    analysis: Analysis,
    *,
    whole: bool = False,
    draw: bool = False,
    studies: Mapping[str, NextStudy] | None = None,
    on_error: OnError | None = None,
) -> tuple[Section, ...]:
    """Returns a report: the answer first, then its topics.

    Args:
        analysis: What to report.
        whole: Every row of long tables, the notes, and how it was computed; otherwise what a terminal shows.
        draw: Whether figures are wanted; together with `whole` also what a row of budgets buys.
        studies: What to train next, by dataset.
        on_error: Told in a line of a section that fails, which then says so in its place; without it the
            error is raised.
    """

    def answered() -> Section:
        found = answer_section(analysis, studies or {})
        return with_budgets(found, analysis) if whole and draw else found

    answer = _guarded("answer", "Answer", answered, on_error=on_error)
    made = (
        _guarded(
            topic.key,
            topic.title,
            partial(topic.section, analysis, whole=whole, draw=draw),
            on_error=on_error,
        )
        for topic in TOPICS
    )
    return (answer, *(section for section in made if not section.empty))


def _guarded(key: str, title: str, make: Callable[[], Section], *, on_error: OnError | None) -> Section:
    try:
        return make()
    except Exception as error:
        if on_error is None:
            raise
        reason = f"it could not be computed ({type(error).__name__}: {error}); please report this"
        on_error(f"{title}: {reason}")
        return Section(key, title, reason=reason)
