import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))

from run_tables import curves_of, design_runs, grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.report.sections.all import sections


@pytest.fixture(scope="session")
def grid_analysis():
    """Two optimizers on a grid of sizes, with curves and laws; too orderly to need trees."""
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.004)
    return analyze(runs, curves=curves_of(runs), trees=False)


@pytest.fixture(scope="session")
def design_analysis():
    """Random designs with trees; their laws are refused."""
    return analyze(design_runs(48), axes=["n_examples"])


class Report:
    """The sections of an analysis, in whole and with figures, and their parts by name."""

    def __init__(self, analysis, *, whole=True, draw=True):
        self.sections = {one.key: one for one in sections(analysis, whole=whole, draw=draw)}
        self.figures = {figure.name: figure for one in self.sections.values() for figure in one.figures}
        self.tables = {table.title: table for one in self.sections.values() for table in one.tables}
        self.answer = tuple(line for one in self.sections.values() for line in one.answer)

    def table(self, start):
        return next(table for title, table in self.tables.items() if title.startswith(start))

    def __iter__(self):
        return iter(self.sections.values())


@pytest.fixture(scope="session")
def report():
    """Makes a `Report` of an analysis."""
    return Report


@pytest.fixture(scope="session")
def grid_report(grid_analysis):
    return Report(grid_analysis)


@pytest.fixture(scope="session")
def design_report(design_analysis):
    return Report(design_analysis)
