"""A topic of the report: the same five questions for all, answered by functions of the analysis."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from scalelab.report.parts import AnyPanel, Figure, Section, Table

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis


@cache
def _words() -> dict[str, dict[str, str]]:
    return tomllib.loads(resources.files(__package__).joinpath("figures.toml").read_text("utf-8"))


def figure(kind: str, suffix: str, panels: Iterable[AnyPanel], **values: str) -> Figure:
    """Returns a figure whose words stand in `figures.toml`.

    Args:
        kind: Its key there, and the beginning of its name.
        suffix: The end of its name.
        panels: Its panels.
        values: What stands for the names in braces.
    """
    words = {"legend": "panels", "levels": ""} | _words()[kind]
    title, caption, levels = (words[name].format(**values) for name in ("title", "caption", "levels"))
    return Figure(f"{kind}{suffix}", title, caption, tuple(panels), words["legend"], levels)


def _nothing(*_: object) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Topic:
    """How a section is made.

    Attributes:
        key: The section's short name.
        title: Its heading.
        missing: Why an analysis has nothing to say about this; an empty text where it has.
        answer: Its sentences.
        tables: Its tables; the flag asks for every row of long ones and for those that few read.
        figures: The figures of one dataset, whose names end with a text.
        notes: Its paragraphs, on a page only.
    """

    key: str
    title: str
    missing: Callable[[Analysis], str] = lambda _: ""
    answer: Callable[[Analysis], Iterable[str]] = _nothing
    tables: Callable[[Analysis, bool], Iterable[Table]] = _nothing
    figures: Callable[[Analysis, str, str], Iterable[Figure]] = _nothing
    notes: Callable[[Analysis], Iterable[str]] = _nothing

    def section(self, analysis: Analysis, *, whole: bool = False, draw: bool = False) -> Section:
        """Returns the section, or why it is not there.

        Args:
            analysis: What to report.
            whole: Every row of long tables, and notes; otherwise what fits on a terminal.
            draw: Whether figures are wanted, whose bands cost time.
        """
        reason = self.missing(analysis)
        if reason:
            return Section(self.key, self.title, reason=reason)
        labels = analysis.runs[["dataset_label", "space_label"]] if draw else None
        datasets = () if labels is None else sorted({*labels["dataset_label"], *labels["space_label"]})
        suffixes = (f"-{index + 1}" if index else "" for index in range(len(datasets)))
        return Section(
            self.key,
            self.title,
            answer=tuple(self.answer(analysis)),
            figures=tuple(
                figure
                for dataset, suffix in zip(datasets, suffixes, strict=True)
                for figure in self.figures(analysis, dataset, suffix)
            ),
            tables=tuple(self.tables(analysis, whole)),
            notes=tuple(self.notes(analysis)) if whole else (),
        )
