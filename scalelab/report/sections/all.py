"""The list of a report's sections, which terminal, page, Markdown and figures walk in this order.

`Analysis.json_fields`, the JSON of `scalelab analyze`, has the same topics in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
    trees,
)
from scalelab.report.sections.topic import Topic

TOPICS: tuple[Topic, ...] = tuple(
    topic.TOPIC
    for topic in (
        studies,
        refits,
        laws,
        sweeps,
        comparison,
        allocation,
        fronts,
        calibration,
        trees,
        design,
        curves,
        method,
    )
)
_NO_ANSWER = "These runs support no law yet; the tables below say what is missing."

OnError = Callable[[str], None]
"""What to do with a line about a part that could not be made."""


def sections(
    analysis: Analysis, *, whole: bool = False, draw: bool = False, on_error: OnError | None = None
) -> tuple[Section, ...]:
    """Returns a report: the answer first, then its topics.

    Args:
        analysis: What to report.
        whole: Every row of long tables, the notes, and how it was computed; otherwise what a terminal shows.
        draw: Whether figures are wanted.
        on_error: Told in a line of a section that fails, which then says so in its place; without it the
            error is raised.
    """
    made = [_section(topic, analysis, whole=whole, draw=draw, on_error=on_error) for topic in TOPICS]
    lines = tuple(line for section in made for line in section.answer)
    warnings = tuple(f"{line[0].upper()}{line[1:]}." for line in analysis.warnings)
    answer = Section("answer", "Answer", lines or (_NO_ANSWER,), warnings)
    return (answer, *(replace(section, answer=()) for section in made if not section.empty))


def _section(
    topic: Topic, analysis: Analysis, *, whole: bool, draw: bool, on_error: OnError | None
) -> Section:
    try:
        return topic.section(analysis, whole=whole, draw=draw)
    except Exception as error:
        if on_error is None:
            raise
        reason = f"it could not be computed ({type(error).__name__}: {error}); please report this"
        on_error(f"{topic.title}: {reason}")
        return Section(topic.key, topic.title, reason=reason)
