"""Reliability diagrams: their numbers are the runs', and they are drawn whatever the runs are like."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from run_tables import grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.report.drawing.figure import draw
from scalelab.report.page import html_page
from scalelab.report.parts import Figure, Predicted, Reliability
from scalelab.report.sections import calibration
from scalelab.report.svg.figure import panels_markup

LOW, HIGH, EMPTY = [0.02, 0.0, 0.0, 0.1], [1.0, 1.0, 0.9, 1.0], [np.nan] * 4
ERRORS = {"N": 0.02, "S": 0.3, "V": 0.1, "F": 0.001}


def recorded(n: int, errors: dict[str, float], splits: tuple[str, ...]) -> str:
    """Returns the calibration of n examples in 15 bins, of which one has none."""
    counts = [0 if b == 7 else n * len(errors) // 14 for b in range(15)]
    bins = {
        "counts": counts,
        "probabilities": [None if b == 7 else (b + 0.5) / 15 for b in range(15)],
        "positives": [count * b // 15 for b, count in enumerate(counts)],
    }
    return json.dumps({split: {"ece": errors, **bins} for split in splits})


def calibrated(
    optimizers: tuple[str, ...] = ("adamw", "sgd"),
    splits: tuple[str, ...] = ("validation", "test"),
    errors: dict[str, float] = ERRORS,
) -> pd.DataFrame:
    runs = grid_runs(optimizers=optimizers, seeds=(0,), noise=0.003)
    return runs.assign(calibration=recorded(700, errors, splits))


@pytest.fixture(scope="module")
def analysis():
    return analyze(calibrated(), axes=["n_params"], trees=False)


def section(analysis, **options):
    made = calibration.TOPIC.section(analysis, **{"whole": True, "draw": True, **options})
    return None if made.empty else made


def test_a_terminal_has_one_table(analysis):
    found = section(analysis, whole=False, draw=False)
    assert found.figures == ()
    (table,) = found.tables
    assert table.title == "Calibration of the best run of each family"
    heads = ("run", "best by", "on", "parameters", "examples", "ECE", "largest of classes")
    assert table.columns == heads
    assert [row[:3] for row in table.rows] == [
        (f"toy-ecg, convnext1d, {optimizer}", "macro-f1", split)
        for optimizer in ("adamw", "sgd")
        for split in ("validation", "test")
    ]
    assert table.rows[0][4:] == ("700", "0.105", "S 0.300, V 0.100, N 0.0200")


def test_a_page_has_all_classes_and_bins(analysis):
    _, classes, bins, *others = section(analysis).tables
    assert len(others) == 3
    assert all(table.folded for table in (classes, bins, *others))
    assert classes.columns[:2] == ("class", "toy-ecg, convnext1d, adamw, validation")
    assert [row[:2] for row in classes.rows] == [
        ("S", "0.300"), ("V", "0.100"), ("N", "0.0200"), ("F", "0.00100"),
    ]  # fmt: skip
    assert len(bins.rows) == 14
    assert bins.columns == ("bin", "predictions", "mean probability", "came true", "90%")
    assert bins.rows[-1][:4] == ("0.933 to 1.00", "200", "0.967", "0.930")


def test_the_figure_has_the_numbers_and_the_caption_the_worst_classes(analysis):
    (figure,) = section(analysis).figures
    assert [panel.title for panel in figure.panels] == ["adamw", "sgd"]
    for panel in figure.panels:
        validation, test = panel.predicted
        assert (validation.label, test.label) == ("validation", "test")
        assert np.isnan(validation.points[7]).all()
        x, part, lower, upper = np.delete(validation.points, 7, axis=0).T
        assert x == pytest.approx([(b + 0.5) / 15 for b in range(15) if b != 7])
        assert (lower <= part).all()
        assert (part <= upper).all()
        assert validation.counts.tolist() == [0 if b == 7 else 200 for b in range(15)]
    assert "15 bins" in figure.caption
    assert "Wilson 90% intervals" in figure.caption
    worst = "ECE 0.105 on 700 examples of validation, largest S 0.300, V 0.100, N 0.0200"
    assert f"adamw: {worst}; ECE 0.105 on 700 examples of test" in figure.caption
    assert f"sgd: {worst}" in figure.caption


def test_it_is_drawn_with_its_diagonal_and_its_histogram(analysis):
    (figure,) = section(analysis).figures
    axes = draw(figure).axes
    assert len(axes) == 4
    above, below = axes[0], axes[2]
    assert (above.get_ylabel(), below.get_ylabel()) == ("Part that came true", "Predictions")
    assert below.get_xlabel() == "Predicted probability"
    assert below.get_yscale() == "log"
    diagonal = above.lines[0]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["validation", "test"]
    heights = [bar.get_height() for bar in below.patches]
    assert np.nan_to_num(heights).tolist() == [0 if b == 7 else 200 for b in range(15)]


@pytest.mark.parametrize(
    ("points", "counts"),
    [
        ([LOW, *14 * [EMPTY]], [30, *14 * [0]]),
        ([*14 * [EMPTY], HIGH], [*14 * [0], 1]),
        ([LOW, *13 * [EMPTY], HIGH], [10**9, *13 * [0], 1]),
    ],
)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_bins_can_be_drawn(points, counts, n, recwarn):
    panel = Reliability("one", (Predicted("validation", np.array(points), np.array(counts, dtype=float)),))
    drawn = draw(Figure("calibration", "Calibration", "", (panel,) * n))
    assert len(drawn.axes) == 2 * n
    assert not recwarn.list


def test_one_class_and_one_split(report):
    one = analyze(calibrated(("adamw",), ("validation",), {"0": 0.05}), axes=["n_params"], trees=False)
    found = section(one)
    assert [row[4:] for row in found.tables[0].rows] == [("700", "0.0500", "0 0.0500")]
    (figure,) = found.figures
    assert len(figure.panels[0].predicted) == 1
    draw(figure)


def test_of_many_families_the_best_are_drawn():
    names = ("adamw", "sgd", "lion", "muon", "sam")
    one = calibrated(("adamw",))
    runs = pd.concat(
        [
            one.assign(optimizer=name, objective=one["objective"] + (k * 7 % 5) / 100)
            for k, name in enumerate(names)
        ]
    ).reset_index(drop=True)
    runs["trial_id"] += runs["optimizer"]
    analysis = analyze(runs, axes=["n_params"], trees=False)
    found = section(analysis)
    (figure,) = found.figures
    best = runs.groupby("optimizer")["objective"].max().sort_values(ascending=False)
    assert [panel.title for panel in figure.panels] == list(best.index[:4])
    assert figure.caption.endswith("Of 5 families those with the best objectives.")
    assert len(draw(figure).axes) == 8
    assert len(found.tables[0].rows) == 10


def test_runs_that_are_not_the_best_are_marked():
    runs = calibrated()
    best = runs.sort_values("objective").groupby("optimizer").tail(1)
    runs.loc[best.index, "calibration"] = None
    table = section(analyze(runs, axes=["n_params"], trees=False)).tables[0]
    assert table.rows[0][0].endswith("adamw *")
    assert table.notes[-1] == "*: better runs of the family do not record theirs"


def test_without_a_record_there_is_no_section(grid_analysis):
    assert section(grid_analysis) is None


def test_names_from_outside_are_text():
    name = '<script>alert("x")</script> & {b} $x$ ^2'
    runs = calibrated(errors={name: 0.3, "N": 0.1}).replace({"optimizer": {"adamw": name}})
    analysis = analyze(runs, axes=["n_params"], trees=False)
    page = html_page([section(analysis)])
    assert page.count("<script") == html_page([]).count("<script")  # the page's own
    assert "&lt;script&gt;alert" in page
    (figure,) = section(analysis).figures
    assert name in [axes.get_title("left") for axes in draw(figure).axes]
    drawing = ElementTree.fromstring(panels_markup(replace(figure, title=name))).find(".//svg")
    assert drawing.get("aria-label").startswith(f"{name}, {figure.panels[0].title}. ")
