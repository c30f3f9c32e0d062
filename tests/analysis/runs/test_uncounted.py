"""Compute that leaves operators out is a lower bound, and says so wherever it is shown."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from run_tables import grid_runs

from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.analysis.runs.selection import axis_points
from scalelab.analysis.runs.uncounted import compute_doubts, operators

SCAN = "mamba_ssm::selective_scan_fwd"


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """Two families, of which the Mamba's scan is not counted."""
    counted, short = grid_runs(seeds=(0,), noise=0.003), grid_runs(seeds=(0,), noise=0.003, seed=1)
    short["architecture"] = "mamba"
    short["loss"] *= 0.9
    short["trial_id"] = "mamba-" + short["trial_id"]
    counted["uncounted"], short["uncounted"] = "[]", json.dumps([SCAN])
    return pd.concat([counted, short], ignore_index=True)


def test_operators_are_read_as_the_store_has_them() -> None:
    told = pd.DataFrame({"uncounted": ["[]", None, '["a::b", "c::d"]', float("nan")]})
    assert list(operators(told)) == ["", "", "a::b, c::d", ""]
    assert list(operators(pd.DataFrame({"loss": [1.0]}))) == [""]


def test_a_law_of_compute_says_that_it_is_of_a_lower_bound(runs: pd.DataFrame) -> None:
    table = designs(finished_runs(runs))
    own = table[table["architecture"] == "mamba"]
    along_compute = axis_points(own, "train_flops").doubts
    assert [doubt for doubt in along_compute if SCAN in doubt and "compute is a lower bound" in doubt]
    assert not any(SCAN in doubt for doubt in axis_points(own, "n_params").doubts)
    counted = table[table["architecture"] != "mamba"]
    assert not compute_doubts(counted)
    assert compute_doubts(table)[0].startswith(f"compute is a lower bound for {len(own)} of {len(table)} ")
