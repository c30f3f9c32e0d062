"""How the report was computed: what was averaged, compared and grown, the laws with papers, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import resources
from importlib.metadata import PackageNotFoundError, version

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.trees.learners import N_TREES
from scalelab.analysis.trees.validation import FOLDS, REPEATS
from scalelab.report.numbers import percent
from scalelab.report.parts import Table
from scalelab.report.sections.again import data_tables
from scalelab.report.sections.topic import Topic
from scalelab.version import __version__

_PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "xgboost", "matplotlib", "duckdb", "torch")


def _notes(analysis: Analysis) -> Iterator[str]:
    """Yields the paragraphs of `method.txt` that apply: averaging, comparison, forests, the design space."""
    text = resources.files("scalelab.report").joinpath("templates", "method.txt").read_text("utf-8")
    paragraphs = text.format(trees=N_TREES, repeats=REPEATS, folds=FOLDS).split("\n\n")
    grown = bool(analysis.trees or analysis.design)
    for paragraph in paragraphs[: 2 + grown + bool(analysis.design)]:
        yield " ".join(paragraph.split())


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    if not whole:
        return
    laws = dict.fromkeys(law.best.law for law in analysis.fitted)
    forms = [{"law": law.name, "equation": law.equation, "paper": law.paper} for law in laws]
    if forms:
        yield Table.of("Laws", forms, numbers=slice(0))
    facts = {
        "intervals": percent(analysis.level),
        "estimator": analysis.estimator,
        "seed": str(analysis.seed),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "scalelab": __version__,
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    rows = ({"setting": key, "value": value} for key, value in facts.items())
    yield Table.of("Settings and versions", rows, numbers=slice(0))
    yield from data_tables(analysis)


TOPIC = Topic("method", "How this was computed", tables=_tables, notes=_notes)
