"""What a report says of tuned options: a row for each sweep, the sentence, the figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalelab.analysis.analyze import analyze
from scalelab.jsonable import json_object
from scalelab.report.sections.all import sections


def runs(seeds=(0, 1), *, end=False):
    rows = []
    for n in (1e3, 1e4, 1e5, 1e6):
        for step in (0, 1, 2) if end else (-1, 0, 1):
            for seed in seeds:
                diverged = n == 1e3 and step == 1
                loss = n**-0.1 * (1 + 0.1 * step**2) + 1e-4 * seed
                names = {"dataset": "d", "fingerprint": "f", "architecture": "a", "optimizer": "o"}
                scales = {"n_params": n, "n_examples": 100, "n_steps": 50, "train_flops": n * 1e3}
                run = {"trial_id": f"{n}-{step}-{seed}", "study": "s", "tuned": "lr", "seed": seed}
                run |= {"optimizer_lr": 0.01 * 2.0**step, "loss": np.nan if diverged else loss}
                rows.append({**run, **names, **scales, "status": "diverged" if diverged else "done"})
    return pd.DataFrame(rows)


def parts(found, **how):
    """The section's sentences, and the section."""
    made = sections(found, **how)
    own = next(one for one in made if one.key == "sweeps")
    return own.answer, own


def test_tables_sentence_and_figure():
    found = analyze(runs(), axes=["n_params"])
    answer, own = parts(found, whole=True, draw=True)
    assert "Tuned lr of o for a on d: bracketed at every size, best at 0.0100." in answer
    tuned, tried = own.tables
    columns = dict(zip(tuned.columns, zip(*tuned.rows, strict=True), strict=True))
    assert columns["tried"] == ("0.00500 to 0.0200",) * 4
    assert columns["values"] == ("3",) * 4
    assert columns["bracketed"] == ("yes",) * 4
    assert [float(loss) for loss in columns["loss"]] == pytest.approx(
        [n**-0.1 for n in (1e3, 1e4, 1e5, 1e6)], rel=1e-3
    )
    assert "diverged" in {row[tried.columns.index("loss")] for row in tried.rows}
    (figure,) = own.figures
    (panel,) = figure.panels
    assert len(panel.series) == 4
    assert json_object(found)["sweeps"][0]["option"] == "lr"


def test_an_end_and_a_single_seed_are_said():
    answer, own = parts(analyze(runs(seeds=(0,), end=True), axes=["n_params"]))
    assert any(line.startswith("Tuned lr of o for a on d: 0 of 4 sizes bracketed") for line in answer)
    (table,) = own.tables
    assert {row[-1] for row in table.rows} == {"no, at the lower end"}
    assert "no value near the best was run with two seeds: errors lack that noise (o)" in table.notes
