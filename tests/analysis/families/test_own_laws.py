"""What a family is told does not depend on the others, and only like laws are compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from run_tables import law_runs

import scalelab
from scalelab.analysis.estimate import Refusal
from scalelab.errors import InputError

LAW = (1.7, 400.0, 400.0, 0.34, 0.28)


def runs_of(optimizer: str, sizes, data, *, seed: int = 0) -> pd.DataFrame:
    """Runs at all sizes and lengths, of one law for all families."""
    n, d = (column.ravel() for column in np.meshgrid(sizes, data))
    return law_runs(n, d, law=LAW, optimizer=optimizer, noise=0.005, seed=seed)


GRID = runs_of("grid", np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6))
LINE = runs_of("line", np.geomspace(1e6, 1e9, 6), np.array([1e11]), seed=1)


def test_advice_on_a_family_is_the_same_beside_another_one() -> None:
    alone = scalelab.advise(GRID, 1e22).families[0]
    beside = next(
        one
        for one in scalelab.advise(pd.concat([GRID, LINE]), 1e22).families
        if one.family.optimizer == "grid"
    )
    assert beside.loss == alone.loss
    assert beside.n_params == alone.n_params
    truth = 1.7 + 400 * alone.n_params.value**-0.34 + 400 * alone.n_seen.value**-0.28
    assert alone.loss.ends[0] <= truth <= alone.loss.ends[1]


def test_a_family_without_a_law_changes_no_comparison() -> None:
    other = runs_of("other", np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6), seed=2)
    two = pd.concat([GRID, other])
    three = pd.concat([two, LINE.iloc[:2].assign(optimizer="few")])
    (before,), (after,) = scalelab.compare(two), scalelab.compare(three)
    assert [pair.sentence for pair in before.pairs] == [pair.sentence for pair in after.pairs]


def test_families_that_hold_different_sizes_are_not_compared() -> None:
    lean = runs_of("lean", np.geomspace(1e6, 1e9, 6), np.array([1e9]), seed=3)
    (refusal,) = scalelab.compare(pd.concat([lean, LINE]), axes=["n_params"])
    assert isinstance(refusal, Refusal)
    assert "hold different sizes" in refusal.reason
    assert "lean at D = 1,000,000,000" in refusal.reason


def test_a_scale_below_all_runs_is_said() -> None:
    (found,) = scalelab.predict(GRID, {"n_params": 10.0, "n_examples": 1e9})
    assert not isinstance(found, Refusal)
    assert found.below["n_params"] == pytest.approx(1e5)
    assert any("1e+05 times below the smallest n_params" in line for line in found.warnings)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 0.0, -5.0])
def test_a_size_that_is_no_positive_number_is_taken_as_unknown_and_said(bad: float) -> None:
    runs = GRID.copy()
    runs.loc[3, "n_params"] = bad
    analysis = scalelab.analyze(runs, trees=False)
    assert "1 run records a n_params that is not a positive number" in " ".join(analysis.warnings)
    assert scalelab.advise(runs, 1e21).families[0].loss.value > 1.7


def test_columns_of_one_name_are_refused_and_unnamed_families_are_one() -> None:
    with pytest.raises(InputError, match="several columns of one name: loss"):
        scalelab.analyze(pd.concat([GRID, GRID[["loss"]]], axis=1))
    (found,) = scalelab.predict(GRID.assign(architecture=None), {"n_params": 1e9})
    assert found.family.architecture == "unspecified"
