"""Tables and figures of latency: the numbers, then the pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from latency_tables_made_up import made_up, trained

from scalelab.analysis.latency.law import fit_laws
from scalelab.bench.jobs import DeviceRow
from scalelab.report.drawing.figure import draw, save
from scalelab.report.names import place_names
from scalelab.report.sections.latency import bench_tables, design_text, devices_table
from scalelab.report.sections.latency_figures import latency_figures
from scalelab.report.terminal import plain_lines


@pytest.fixture(scope="module")
def latencies() -> pd.DataFrame:
    same = '{"accuracy": 0.9, "loss": 0.3}'
    plain = trained(made_up(n=40)).assign(
        objective_f32=0.9, objective_here=0.9, scores_f32=same, scores_here=same
    )
    fast = plain.assign(
        latency=plain["latency"] / 2,
        target="fast:cpu:int8",
        precision="int8",
        objective_here=0.89,
        scores_here='{"accuracy": 0.89, "loss": 0.34}',
        relative_error=0.01,
    )
    bad = plain.head(3).assign(status="failed", reason="operator Erf does not convert", target="npu:NPU:f32")
    return pd.concat([plain, fast, bad.assign(latency=np.nan)], ignore_index=True)


@pytest.fixture(scope="module")
def tables(latencies):
    found = bench_tables(latencies, fit_laws(latencies))
    return {table.title.split(":")[0].split(" in ms")[0]: table for table in found}


def row(table, first: str) -> dict[str, str]:
    return next(dict(zip(table.columns, row, strict=True)) for row in table.rows if row[0] == first)


def test_the_box_of_each_target_is_in_milliseconds(tables, latencies):
    table = tables["Latency"]
    assert [cells[0] for cells in table.rows] == ["fast:cpu:f32", "fast:cpu:int8"]
    own = latencies[latencies["target"] == "fast:cpu:f32"]
    found = row(table, "fast:cpu:f32")
    assert float(found["median"]) == pytest.approx(1e3 * own["latency"].median(), rel=0.01)
    assert found["networks"] == "40"
    assert found["±"] == "3%"
    assert float(found["call"]) == pytest.approx(1e3 * own["call_latency"].median(), rel=0.01)


def test_what_a_precision_gains_and_costs_stands_in_one_row(tables):
    found = row(tables["Outputs against PyTorch in f32"], "fast:cpu:int8")
    assert found["speed-up"] == "2.00×"
    assert found["relative error"] == "1.0e-02"
    found = row(tables["Change of metrics from PyTorch in f32"], "fast:cpu:int8")
    assert (found["accuracy"], found["loss"], found["largest, loss"]) == ("-0.0100", "+0.0400", "+0.0400")


def test_networks_whose_outputs_are_zero_have_no_relative_error(latencies):
    f32 = latencies["precision"] == "f32"
    table = latencies.assign(relative_error=latencies["relative_error"].where(~f32))
    found = next(one for one in bench_tables(table, ()) if one.title == "Outputs against PyTorch in f32")
    assert (row(found, "fast:cpu:f32")["relative error"], row(found, "fast:cpu:f32")["worst"]) == ("", "")
    assert row(found, "fast:cpu:int8")["relative error"] == "1.0e-02"
    assert "no relative error where PyTorch answers 0 to every example: up to 40 networks" in found.notes


def test_laws_say_their_error_and_their_prices(tables):
    table = tables["Laws of latency"]
    assert float(row(table, "fast:cpu:f32")["median error"].rstrip("%")) < 10
    assert any("ms per GFLOP" in note for note in table.notes)
    assert "neither the fit nor the choice" in table.notes[0]


def test_what_was_not_measured_says_why(tables):
    assert tables["Not measured"].rows == (
        ("npu:NPU:f32", "1", "3", "failed", "operator Erf does not convert"),
    )


def test_without_trained_weights_the_table_says_how_to_keep_them():
    table = next(t for t in bench_tables(made_up(n=20), ()) if t.title.startswith("Outputs"))
    assert "--keep-weights" in table.notes[0]


def test_every_table_prints(tables):
    for table in tables.values():
        assert all("nan" not in line.split() for line in plain_lines(table))


def test_nothing_measured_prints_nothing_but_problems():
    assert bench_tables(made_up().head(0), ()) == []


def test_a_network_is_named_by_what_tells_it_apart(latencies):
    assert design_text("net", '{"kind":"x","width":3}', latencies) == "net width=3"
    assert design_text("net", '{"kind":"x","width":3}', latencies.head(1)) == "net"


def test_places_are_named_by_what_tells_them_apart():
    one, two = ("h", "a:b:f32", 1, 1), ("h", "a:b:f32", 8, 1)
    assert place_names([one])(one) == "a:b:f32"
    assert place_names([one, two])(two) == "a:b:f32 batch 8"
    assert place_names([one, ("g", "a:b:f32", 1, 2)])(one) == "a:b:f32 1 threads on h"


def test_devices_that_cannot_be_used_say_how_to_get_them():
    rows = [
        DeviceRow(backend="b", device="npu", available=False, detail="needs a driver", precisions=("f32",))
    ]
    assert devices_table(rows).rows == (("b", "npu", "no", "f32", "needs a driver"),)


def test_figures_hold_the_numbers(latencies):
    boxes, flops, front = latency_figures(latencies)
    own = 1e3 * latencies[latencies["target"] == "fast:cpu:f32"]["latency"]
    (boxes,) = boxes.panels
    assert boxes.rows == ("fast:cpu:f32", "fast:cpu:int8")
    assert boxes.boxes[0].tolist() == pytest.approx(np.quantile(own, [0, 0.25, 0.5, 0.75, 1]).tolist())
    assert boxes.points[0].tolist() == pytest.approx(sorted(own))
    (panel,) = flops.panels
    assert panel.title == "fast:cpu"
    assert [series.label for series in panel.series] == ["f32", "int8"]
    assert sorted(panel.series[0].points[:, 1]) == pytest.approx(sorted(own))
    (panel,) = front.panels
    for series in panel.series:
        assert (np.diff(series.points, axis=0) > 0).all(), "more latency buys more accuracy"
        assert series.line.steps
        assert (np.diff(series.line.values[:, 0]) >= 0).all()
        assert len(series.line.values) == len(series.points) + 1
        assert len(series.points) + len(series.others) == 40


def test_figures_are_drawn(latencies, tmp_path):
    paths = save(latency_figures(latencies), tmp_path)
    assert [path.name for path in paths] == [
        f"latency-{name}.{ending}" for name in ("boxes", "flops", "front") for ending in ("png", "svg", "pdf")
    ]
    assert all(path.stat().st_size > 3000 for path in paths)


def test_every_device_has_a_panel_and_every_precision_a_color(latencies, tmp_path):
    devices = [f"fast:cuda:{index}" for index in range(4)]
    others = [
        latencies[latencies["precision"] == "int8"].assign(device=name, target=f"{name}:int8")
        for name in devices
    ]
    figures = latency_figures(pd.concat([latencies, *others], ignore_index=True))
    for figure in figures[1:]:
        assert [panel.title for panel in figure.panels] == ["fast:cpu", *devices]
        colors = {series.label: series.color for series in figure.panels[0].series}
        assert len(set(colors.values())) == 2
        for panel in figure.panels[1:]:
            assert [(series.label, series.color) for series in panel.series] == [("int8", colors["int8"])]
        assert [text.get_text() for text in draw(figure).legends[0].get_texts()] == ["f32", "int8"]


def test_there_is_no_figure_of_nothing():
    assert latency_figures(made_up().assign(status="failed")) == ()
