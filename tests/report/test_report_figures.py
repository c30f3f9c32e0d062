import re
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.textpath import TextPath
from run_tables import curves_of, grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.analysis.runs.frontier import pareto_mask
from scalelab.analysis.trees.result import ALL
from scalelab.errors import InputError
from scalelab.report.drawing.figure import draw, save
from scalelab.report.drawing.style import PALETTE, color, marker
from scalelab.report.parts import Bars, Figure, Line, Panel, Series
from scalelab.report.sections.curves import MAX_CURVES
from scalelab.report.svg.figure import panels_markup


@pytest.fixture(scope="module")
def grid_figures(grid_report):
    return grid_report.figures


@pytest.fixture(scope="module")
def design_figures(design_report):
    return design_report.figures


def test_there_is_a_figure_for_everything(grid_figures, design_figures):
    assert list(grid_figures) == [
        "laws", "residuals", "grid", "multipliers", "optimum", "front", "curves",
    ]  # fmt: skip
    assert list(design_figures) == ["front", "importances"]


def test_names_that_the_font_lacks_are_drawn_without_a_warning(tmp_path, grid_figures):
    """They are escaped, each its own way, so that two families stay two in a legend."""
    panel = grid_figures["laws"].panels[0]
    named = [replace(one, label=name) for one, name in zip(panel.series[:2], ("模型", "模式"), strict=True)]
    content = Figure("laws", "t", "c", (replace(panel, title="😀", series=tuple(named)),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save([content], tmp_path)
        drawn = draw(content)
    texts = {text.get_text() for text in drawn.axes[0].get_legend().get_texts()}
    assert texts == {"\\u6a21\\u578b", "\\u6a21\\u5f0f"}


def test_law_panels_hold_points_and_bands(grid_figures, grid_analysis):
    panels = grid_figures["laws"].panels
    assert [panel.title for panel in panels] == [
        "L(N) at D = 40,000",
        "L(D) at N = 760,000",
        "L(C) on the frontier",
    ]
    series = panels[0].series[0]
    law = grid_analysis.laws[0]
    x, y, _ = series.points.T
    assert x.tolist() == law.points.rows["n_params"].tolist()
    assert y.tolist() == law.points.rows["loss"].tolist()
    assert series.line.data_end == 760_000
    x, _, lower, upper = series.line.values.T
    assert x[-1] > 760_000
    assert (lower <= upper).all()
    assert series.label.startswith("adamw: α = 0.4")


def test_a_family_has_one_color_in_all_panels(grid_figures):
    for panel in (*grid_figures["laws"].panels, *grid_figures["front"].panels):
        assert [series.color for series in panel.series] == [0, 1]


def test_grid_has_a_line_for_each_data_size(grid_figures):
    panel = grid_figures["grid"].panels[0]
    assert [series.level for series in panel.series] == [500, 1_500, 4_500, 13_500, 40_000]
    series = panel.series[0]
    points, line = np.log(series.points[:, :2]), np.log(series.line.values)
    assert np.abs(np.interp(points[:, 0], line[:, 0], line[:, 1]) - points[:, 1]).max() < 0.03


def test_front_series_are_fronts(grid_figures):
    for panel in grid_figures["front"].panels:
        assert not panel.log_y
        for series in panel.series:
            x, y, _ = series.points.T
            assert pareto_mask(x, y, "maximize").all()
            assert series.line.steps
            assert series.line.values[-1, 0] >= max(x.max(), series.others[:, 0].max())


def test_curves_are_colored_by_size_and_limited(grid_figures):
    panels = grid_figures["curves"].panels
    assert [panel.title for panel in panels] == ["adamw", "sgd"]
    assert len(panels[0].series) == MAX_CURVES < 50
    assert all(series.points[0, 1] == series.line.values[:, 1].min() for series in panels[0].series)
    assert all((series.others[0] == series.line.values[-1]).all() for series in panels[0].series)
    assert {series.level for series in panels[0].series} == {3_000, 12_000, 48_000, 190_000, 760_000}
    assert all(np.all(np.diff(series.line.values[:, 0]) > 0) for series in panels[0].series)


def test_curves_of_several_architectures_stand_apart(report):
    runs = grid_runs(optimizers=("adamw",), seeds=(0,))
    both = pd.concat([runs, runs.assign(architecture="other", trial_id=runs["trial_id"] + "-o")])
    curves = pd.concat([curves_of(runs), curves_of(runs).assign(trial_id=lambda own: own["trial_id"] + "-o")])
    figures = report(analyze(both, curves=curves, axes=["n_params"], trees=False)).figures
    mine = [figure for name, figure in figures.items() if name.startswith("curves")]
    assert len(mine) == 2
    for figure in mine:
        (panel,) = figure.panels
        (architecture,) = {series.run.words.partition(" · ")[0] for series in panel.series}
        assert figure.title == f"Learning curves of {architecture} on toy-ecg"
        assert 1 < len(panel.series) <= MAX_CURVES // 2


def test_only_the_last_attempt_of_a_curve_is_drawn(grid_analysis, report):
    both = pd.concat([grid_analysis.curves.assign(loss=99.0), grid_analysis.curves.assign(attempt=2)])
    figure = report(replace(grid_analysis, curves=both)).figures["curves"]
    assert max(series.line.values[:, 1].max() for series in figure.panels[0].series) < 99.0


def test_importance_bars_are_the_models(design_figures, design_analysis):
    overall, *_, sgd, held_out = design_figures["importances"].panels
    table = design_analysis.trees[0].importances
    assert (overall.title, sgd.title) == ("all optimizers", "sgd")
    assert overall.rows == tuple(table["choice"])
    assert overall.values[:, 0].tolist() == table["importance"].tolist()
    own = next(tree for tree in design_analysis.forests if tree.scope == "sgd").ranking()
    assert "optimizer" not in sgd.rows == tuple(own["choice"])
    assert sgd.values[:, 0].tolist() == own["importance"].tolist()
    assert held_out.diagonal
    assert held_out.series[0].others.shape == (96, 2)


def test_a_choice_that_one_optimizer_names_otherwise_has_its_bar(design_analysis, report):
    """Among all optimizers a learning rate is that of one of them; alone it is the only one."""
    trees = [
        replace(tree, importances=tree.importances.replace("optimizer_lr", "optimizer_lr[adamw]"))
        if tree.scope == ALL
        else tree
        for tree in design_analysis.trees
    ]
    figure = report(replace(design_analysis, trees=tuple(trees))).figures["importances"]
    overall, adamw, *_ = figure.panels
    assert "optimizer_lr[adamw]" in overall.rows
    assert "optimizer_lr" in adamw.rows
    assert np.isfinite(adamw.values).all()
    labels = [[text.get_text() for text in axes.get_yticklabels()] for axes in draw(figure).axes[:2]]
    assert labels == [list(overall.rows), list(adamw.rows)]


def test_a_second_dataset_has_its_own_figures(grid_analysis, report):
    other = grid_analysis.runs.assign(dataset_label="other")
    laws = tuple(replace(law, family=law.family._replace(dataset="other")) for law in grid_analysis.laws)
    doubled = replace(
        grid_analysis, runs=pd.concat([grid_analysis.runs, other]), laws=(*grid_analysis.laws, *laws)
    )
    names = [figure.name for section in report(doubled, whole=False) for figure in section.figures]
    assert {"laws", "laws-2", "grid", "grid-2"} <= {*names}
    assert len(names) == len(set(names))


def test_drawn_axes_are_labeled(grid_figures):
    for figure in grid_figures.values():
        axes = draw(figure).axes
        assert axes[0].get_ylabel()
        assert all(ax.get_xlabel() for ax in axes[: len(figure.panels)])
    laws = draw(grid_figures["laws"]).axes
    assert [ax.get_xlabel() for ax in laws] == [
        "Parameters N",
        "Training examples D",
        "Training compute C (FLOP)",
    ]
    assert {ax.get_xscale() for ax in laws} == {"log"}


def test_labels_at_the_left_of_a_drawing_are_whole():
    """In DejaVu Sans, the widest of the fonts that pages ask for."""
    names = ("architecture_width[transformer1d]", "WIDE_NAME", "lr")
    bars = Bars("t", "Importance", names, np.tile([0.3, 0.1, 0.5], (3, 1)), np.ones(3, bool), np.zeros(3))
    sizes = Panel("t", "train_flops", "N", (Series(points=np.array([[1e16, 1e7], [1e18, 2e8]])),))
    for panel, expected in ((sizes, "100M"), (bars, names[0])):
        drawing = ElementTree.fromstring(f"<p>{panels_markup(Figure('f', 't', 'c', (panel,)))}</p>")
        labels = drawing.findall(".//g[@class='tick end']/text")
        assert expected in [label.text for label in labels]
        for label in labels:
            width = TextPath((0, 0), label.text, size=12, prop="DejaVu Sans").get_extents().width
            assert float(label.get("x")) >= width, label.text


def test_files_are_written_as_png_svg_and_pdf(design_figures, tmp_path):
    paths = save(list(design_figures.values()), tmp_path / "made" / "here")
    assert [path.name for path in paths] == [
        f"{name}.{ending}" for name in ("front", "importances") for ending in ("png", "svg", "pdf")
    ]
    assert paths[2].read_bytes().startswith(b"%PDF")
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(paths[1]).getroot().tag.endswith("svg")


def test_the_same_numbers_give_the_same_files(design_figures, tmp_path):
    first, second = (save([design_figures["front"]], tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_folder_that_cannot_be_written_is_one_line(design_figures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"figures cannot be written to .*file"):
        save(list(design_figures.values()), tmp_path / "file")


def test_names_from_outside_are_drawn_as_they_are():
    name = r"<b>$\frac{x}$ \1 & co"
    line = Line(np.array([[1.0, 2.0], [1000.0, 3.0]]))
    figure = Figure("name", name, "", (Panel(name, "train_flops", name, (Series(label=name, line=line),)),))
    (axes,) = draw(figure).axes
    assert (axes.get_title("left"), axes.get_ylabel(), axes.get_legend().get_texts()[0].get_text()) == 3 * (
        name,
    )
    assert "10²" in [text.get_text() for text in axes.get_xticklabels()]


def test_families_beyond_the_palette_have_other_markers():
    looks = {(color(i), marker(i)) for i in range(2 * len(PALETTE))}
    assert len(looks) == 2 * len(PALETTE)
    assert all(re.fullmatch("#[0-9a-f]{6}", tint) for tint in PALETTE)
