"""Figures and tables of a design space."""

import inspect
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from run_tables import design_runs

from scalelab.analysis.analyze import analyze
from scalelab.analysis.trees import effects, full, importances, leakage, learners, validation
from scalelab.cli.analyze import analyze as command
from scalelab.jsonable import json_object
from scalelab.report.drawing.figure import draw
from scalelab.report.page import html_page
from scalelab.report.parts import Bars

PAGE = (Path(__file__).parents[2] / "docs" / "design-space.md").read_text("utf-8")
REFITS = effects.REFITS


@pytest.fixture(scope="module")
def analysis():
    """A design space of 44 designs with two optimizers, by fewer refits than a user gets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "REPEATS", 1)
        patch.setattr(validation, "INNER_FOLDS", 2)
        patch.setattr(effects, "REFITS", 5)
        patch.setattr(full, "tree_model", partial(full.tree_model, blocks=2, refits=4))
        return analyze(design_runs(44, seeds=(0,)), axes=["n_examples"], design=True)


@pytest.fixture(scope="module")
def found(analysis, report):
    return report(analysis)


@pytest.fixture(scope="module")
def figures(found):
    return {figure.name: figure for figure in found.sections["design"].figures}


def test_there_is_a_figure_for_everything(figures):
    assert list(figures) == [
        "design-importances", "design-importances-adamw", "design-importances-sgd", "design-interactions",
        "design-effects", "design-edf", "design-best-of", "design-fronts",
    ]  # fmt: skip


def test_the_forests_have_their_figure_too_and_no_second_table(found):
    trees = found.sections["trees"]
    assert [figure.name for figure in trees.figures] == ["importances"]
    assert trees.tables == ()
    assert trees.reason == ""


def test_there_is_a_model_of_each_kind_for_each_scope(analysis):
    found = [(model.scope, model.learner) for model in analysis.design.trees.models]
    kinds = ("forest", "boosting", "xgboost")
    assert found == [(scope, kind) for scope in ("all", "adamw", "sgd") for kind in kinds]
    assert all(model.beats_the_mean for model in analysis.design.trees.models if model.scope == "all")
    assert [tree.learner for tree in analysis.trees] == ["forest"] * 3


def test_bars_are_the_importances(analysis, figures):
    figure = figures["design-importances"]
    assert [panel.title for panel in figure.panels] == [
        "Gini, forest", "Permutation, forest", "Permutation, boosting", "Permutation, XGBoost",
        "SHAP, XGBoost",
    ]  # fmt: skip
    xgboost = next(m for m in analysis.design.trees.models if (m.scope, m.learner) == ("all", "xgboost"))
    shap = xgboost.ranking("shap").set_index("choice")
    for row, choice in enumerate(figure.panels[4].rows):
        assert (
            figure.panels[4].values[row].tolist()
            == shap.loc[choice, ["importance", "lower", "upper"]].tolist()
        )
        assert figure.panels[4].noise[row] == shap.loc[choice, "noise"]
        assert figure.panels[4].matters[row] == shap.loc[choice, "matters"]


def test_lines_are_the_distributions(analysis, figures):
    (panel,) = figures["design-edf"].panels
    assert [series.label for series in panel.series] == ["adamw (22)", "sgd (22)"]
    first = analysis.design.distributions[0]
    x, y, *_ = panel.series[0].line.values.T
    assert x.tolist() == first.edf["error"].tolist()
    assert y[-1] == 1.0
    (panel,) = figures["design-best-of"].panels
    assert panel.log_x
    last = panel.series[1].line.values[-1, 1]
    assert last == pytest.approx(analysis.design.distributions[1].space.errors.min())


def test_effects_have_axes_of_their_kind(figures):
    panels = {panel.x_axis: panel for panel in figures["design-effects"].panels}
    assert panels["optimizer"].ticks == ("adamw", "sgd")
    assert panels["optimizer_lr"].log_x
    assert not panels["training_dropout"].log_x
    width = panels["architecture_width"].series[0].line
    assert width.values[-1, 1] > width.values[0, 1]
    assert (width.outer[:, 0] <= width.outer[:, 1]).all()


def test_fronts_have_bands_on_the_worse_side(figures):
    panels = figures["design-fronts"].panels
    assert [panel.x_axis for panel in panels] == ["forward_flops", "train_flops"]
    for panel in panels:
        for series in panel.series:
            _, y, lower, _ = series.line.values.T
            known = np.isfinite(lower)
            assert (lower[known] >= y[known] - 1e-12).all()
            assert len(series.others) == 22


def test_every_figure_is_drawn_with_labels(figures):
    for figure in figures.values():
        drawn = draw(figure)
        shown = [axes for axes in drawn.axes if axes.get_visible()]
        assert len(shown) == len(figure.panels)
        assert all(axes.get_xlabel() for axes in shown)
        if isinstance(figure.panels[0], Bars):
            assert [text.get_text() for text in shown[0].get_yticklabels()] == list(figure.panels[0].rows)


def test_tables_say_the_numbers(analysis, report):
    tables = report(analysis, whole=False, draw=False).tables
    scores = tables["How well the design predicts macro-f1, held-out designs: toy-ecg"]
    assert [row[:2] for row in scores.rows[:3]] == [
        ("all optimizers", "forest"), ("all optimizers", "boosting"), ("all optimizers", "xgboost")
    ]  # fmt: skip
    decides = tables["Design-choice importance for macro-f1: toy-ecg, all optimizers"]
    assert decides.rows[0][0] in ("architecture_width", "optimizer")
    assert decides.rows[0][-1] == "5 of 5"
    assert {row[0]: row[-1] for row in decides.rows}["architecture_kernel"] == "0 of 5"
    ks = tables["Kolmogorov-Smirnov tests of the errors of macro-f1: toy-ecg"]
    assert ks.rows[0][:3] == ("optimizer", "adamw, sgd", "adamw")
    assert "Where the best models are by macro-f1: toy-ecg" in tables
    for table in (*tables.values(), *report(analysis, draw=False).tables.values()):
        assert all(len(row) == len(table.columns) for row in table.rows), table.title


def test_sentences_say_what_matters(found):
    lines = [line for line in found.answer if "macro-f1 on toy-ecg (" in line or "lower errors" in line]
    assert lines[0].startswith("The design predicts macro-f1 on toy-ecg (all optimizers) with r 0.9")
    assert "architecture_width (ρ +" in lines[0]
    assert any(line.startswith("On toy-ecg, adamw has lower errors than sgd") for line in lines)


def test_refusals_are_shown(report):
    few = analyze(design_runs(12, seeds=(0,)), axes=["n_examples"], design=True)
    titles = report(few, draw=False).tables
    assert "needs 20 designs, there are 12" in titles["Tree models refused"].notes[0]
    assert "Distribution of the error 1 - macro-f1: toy-ecg" in titles


def test_json_has_everything_and_no_nan(analysis):
    document = json.loads(json.dumps(json_object(analysis), allow_nan=False))["design"]
    assert set(document) == {
        "models", "refused", "effects", "derived", "distributions", "comparisons", "fronts", "ranges"
    }  # fmt: skip
    assert len(document["models"]) == 9
    assert document["effects"][0]["partial_dependence"][0]["mean"]


def test_the_page_and_the_terminal_hold_it(analysis, found, report):
    page = html_page(list(found))
    assert page.index("Pareto fronts") < page.index("The design space") < page.index("How this was computed")
    assert "TreeSHAP" in page
    titles = report(analysis, whole=False, draw=False).tables
    assert "Design-choice importance for macro-f1: toy-ecg, sgd" in titles
    assert json_object(replace(analysis, design=None))["design"] is None


def test_the_page_of_the_docs_runs(analysis, monkeypatch):
    whole = "scalelab.analysis.designspace.whole.design_space"
    monkeypatch.setattr(whole, lambda done, **_: analysis.design)
    names = {"runs": analysis.runs}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], names)
    assert names["space"] is analysis.design
    options = {f"--{name}" for name in inspect.signature(command).parameters}
    assert set(re.findall(r"--[a-z]+", PAGE)) <= {*options, "--from", "--draws", "--noise"}


def test_numbers_in_the_docs_are_those_of_the_code():
    assert (importances.BLOCKS, importances.REFITS, importances.MANY_RUNS) == (4, 6, 2000)
    assert "24 bootstrap samples" in PAGE
    assert "four blocks of six (of three, with more than 2,000 runs)" in PAGE
    assert (validation.REPEATS, validation.FOLDS, validation.INNER_FOLDS) == (3, 5, 3)
    assert (learners.N_TREES, learners.DEPTHS, learners.ROUNDS[0], learners.ROUNDS[-1]) == (
        50,
        (2, 4),
        4,
        56,
    )
    assert learners.LEARNING_RATE == 0.3
    assert "depth 2 or 4, 4 to 56 rounds at a learning rate of 0.3" in PAGE
    assert f"a rank correlation of {leakage._SAME_ORDER}" in PAGE
    assert (REFITS, validation.MANY_UNITS) == (20, 2000)
