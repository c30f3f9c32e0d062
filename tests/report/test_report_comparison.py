"""Comparisons and the compute-optimal size in tables, sentences, figures and the page."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from run_tables import grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.jsonable import json_object
from scalelab.report.drawing.figure import draw
from scalelab.report.numbers import short_interval, times
from scalelab.report.page import html_page
from scalelab.report.sections.allocation import TOPIC

TRUTH = {"E": 0.3, "A": 60.0, "B": 900.0, "alpha": 0.4, "beta": 0.5}


@pytest.fixture(scope="module")
def isoflops():
    """Four budgets of seven sizes around the optimum; compute is 6 N D."""
    t, rng, rows = TRUTH, np.random.default_rng(0), []
    for budget in np.geomspace(1e12, 1e15, 4):
        best = (t["alpha"] * t["A"] / t["beta"] / t["B"]) ** (1 / 0.9) * (budget / 6) ** (0.5 / 0.9)
        for n in best * np.geomspace(0.2, 5, 7):
            seen = budget / 6 / n
            loss = t["E"] + t["A"] * n**-0.4 + t["B"] * seen**-0.5
            rows.append((n, seen, budget, loss * np.exp(rng.normal(0, 0.003))))
    runs = pd.DataFrame(rows, columns=["n_params", "n_examples", "train_flops", "loss"])
    runs = runs.assign(status="done", dataset="signals", architecture="net", optimizer="adamw", epochs=1.0)
    return analyze(runs, trees=False)


def test_pairs_stand_in_a_table_with_every_number(grid_report):
    (table,) = grid_report.sections["comparison"].tables
    assert table.title.startswith("Comparison of optimizers along C: convnext1d on toy-ecg")
    ((pair, exponents, difference, p_lr, p_holm, multiplier, factor, _),) = table.rows
    assert table.columns[5].startswith("compute multiplier at C = ")
    assert set(pair.split(" / ")) == {"adamw", "sgd"}
    assert re.fullmatch(r"γ [\d.]+ / [\d.]+", exponents)
    assert re.fullmatch(r"[+-][\d.]+ \[-?[\d.]+, -?[\d.]+\]", difference)
    assert 0 < float(p_lr) <= 1
    assert 0 < float(p_holm) <= 1
    assert multiplier.endswith("×")
    assert re.fullmatch(r"[\d.]+ \[[\d., ]+\]× N, [\d.]+ \[[\d., ]+\]× D \(p [\d.]+\)", factor)


def test_the_answer_is_a_sentence(grid_report):
    (line,) = (line for line in grid_report.answer if "after Holm" in line)
    assert line.startswith("On toy-ecg, convnext1d: ")


def test_a_refused_comparison_is_said(grid_analysis, report):
    asked = {"dataset": "d", "varies": "optimizer", "held": "net", "axis": "n_params", "n_points": 4}
    refused = Refusal(asked, "no exponents")
    found = report(replace(grid_analysis, comparisons=(refused,)), draw=False)
    (table,) = found.sections["comparison"].tables
    assert table.rows == ()
    assert table.notes == ("refused: no exponents",)


def test_the_backtest_stands_beside_every_extrapolation(grid_analysis, grid_report):
    table = grid_report.tables["Scaling laws of the loss"]
    ahead = table.columns.index("loss at 10×")
    assert table.columns[ahead + 1] == "backtest"
    cells = {row[ahead + 1] for row in table.rows if row[ahead]}
    assert "" not in cells
    assert all(cell == "none" or cell.endswith("%") for cell in cells)
    for law, document in zip(grid_analysis.laws, json_object(grid_analysis)["laws"], strict=True):
        assert document["backtest"]["errors"] == list(law.backtest.errors)


def test_three_approaches_stand_side_by_side(isoflops, report):
    table = report(isoflops, draw=False).table("Compute-optimal size")
    assert [row[1] for row in table.rows] == ["envelope", "parabola", "parametric"]
    assert any(note.startswith("C = 6·N·D, 28 designs that saw each example once") for note in table.notes)
    (line,) = (line for line in report(isoflops, draw=False).answer if "is best split" in line)
    found = isoflops.optima[0].found.approaches["parametric"]
    assert f"C^{found.exponent:.3f}" in line
    assert found.lower < 5 / 9 < found.upper
    document = json_object(isoflops)["compute_optimal"][0]
    assert document["approaches"]["parametric"]["a"] == found.exponent


def test_runs_of_one_length_are_refused_with_the_reason(report):
    runs = grid_runs(seeds=(0,), noise=0.004)
    runs["epochs"] = 64_000 / runs["n_examples"]
    analysis = analyze(runs, axes=["joint"], trees=False)
    table = report(analysis, draw=False).table("Compute-optimal size")
    assert table.rows == ()
    assert "vary the length" in table.notes[0]


def test_multipliers_are_drawn_as_computed(grid_analysis, grid_report):
    (figure,) = grid_report.sections["comparison"].figures
    (pair,) = grid_analysis.comparisons[0].pairs
    (series,) = figure.panels[0].series
    np.testing.assert_array_equal(series.line.values, pair.curve)
    assert draw(figure).axes


def test_the_figures_of_the_optimum_hold_runs_and_approaches(isoflops, report):
    profiles, optima = report(isoflops).sections["allocation"].figures
    (panel,) = profiles.panels
    assert len(panel.series) == 4
    assert [series.level for series in panel.series] == pytest.approx([1e12, 1e13, 1e14, 1e15])
    assert sum(len(series.points) for series in panel.series) == 28
    assert all(series.line is not None for series in panel.series)
    assert "lines: the law" in profiles.caption
    by_name = {series.label.partition(":")[0]: series for series in optima.panels[0].series}
    found = isoflops.optima[0].found.approaches
    assert set(by_name) == set(found)
    for name, series in by_name.items():
        np.testing.assert_array_equal(series.points[:, 1], found[name].sizes)
        assert series.line.values[-1, 1] == pytest.approx(
            found[name].coefficient * 1e15 ** found[name].exponent, rel=0.35
        )
    for figure in (profiles, optima):
        assert draw(figure).axes


def test_runs_that_each_have_a_compute_of_their_own_are_not_drawn_at_equal_compute(grid_report):
    assert [figure.name for figure in grid_report.sections["allocation"].figures] == ["optimum"]


def test_a_caption_promises_no_line_of_a_law_that_was_refused(isoflops):
    (one,) = isoflops.optima
    without = replace(isoflops, optima=(replace(one, found=replace(one.found, fit=None)),))
    profiles, _ = TOPIC.figures(without, "signals", "")
    assert all(series.line is None for series in profiles.panels[0].series)
    assert "line" not in profiles.caption


def test_the_page_has_both_sections(isoflops, grid_report, report):
    page = html_page(list(report(isoflops)))
    assert '<h2 id="allocation-h">Compute-optimal size</h2>' in page
    assert '<figure id="f-isoflops"' in page
    assert '<h2 id="comparison-h">Comparison</h2>' in html_page(list(grid_report))


def test_ends_that_are_not_finite_are_written():
    assert times(Estimate(float("inf"), 2.0, None)) == "∞ [2.00, ∞]"
    assert times(Estimate(1.5, 1.0, 2.0)) == "1.50 [1.00, 2.00]"
    assert short_interval(Estimate(1.5e6, None, None)) == "1.50M"
