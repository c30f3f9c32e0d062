import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))

from run_tables import curves_of, design_runs, grid_runs

from scalelab.analysis.analyze import analyze


@pytest.fixture(scope="session")
def grid_analysis():
    """Two optimizers on a grid of sizes, with curves and laws; too orderly to need trees."""
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.004)
    return analyze(runs, curves=curves_of(runs), trees=False)


@pytest.fixture(scope="session")
def design_analysis():
    """Random designs with trees; their laws are refused."""
    return analyze(design_runs(48), axes=["n_examples"])
