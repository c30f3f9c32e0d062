"""Compute that leaves operators out stands as "at least" in fronts, laws and comparisons, and in JSON."""

from __future__ import annotations

import json

import pandas as pd
from run_tables import grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.jsonable import json_object

SCAN = "mamba_ssm::selective_scan_fwd"


def test_fronts_and_comparisons_say_at_least(report):
    counted, short = (grid_runs(seeds=(0,), noise=0.003, seed=seed) for seed in (0, 1))
    short["architecture"] = "mamba"
    short["loss"] *= 0.9
    short["objective"] = 1.0 / (1.0 + short["loss"])
    short["trial_id"] = "mamba-" + short["trial_id"]
    counted["uncounted"], short["uncounted"] = "[]", json.dumps([SCAN])
    analysis = analyze(pd.concat([counted, short], ignore_index=True), trees=False)
    found = report(analysis, draw=False)

    assert "mamba" in found.answer[0]
    assert any("compute of some runs is a lower bound" in line for line in found.answer)
    for table in found.sections["fronts"].tables:
        assert any(SCAN in note and "lower bound" in note for note in table.notes)
        for row in table.rows:
            assert row[2].startswith("≥ ") == ("mamba" in row), row

    groups = [group for group in analysis.comparisons if group.axis == "train_flops"]
    assert groups
    for group in groups:
        assert any(words.startswith("mamba: compute is a lower bound") for words in group.warnings)
    assert any("its multipliers are bounds" in line for line in found.answer)
    laws = [law for law in analysis.fitted if law.axis == "train_flops"]
    assert {law.family.architecture: any(SCAN in words for words in law.doubts) for law in laws} == {
        "convnext1d": False,
        "mamba": True,
    }
    assert SCAN in json.dumps(json_object(analysis))
