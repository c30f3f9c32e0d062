"""docs/hardware-study.md says what examples/mitbih-hardware.duckdb holds."""

import re
import shutil
from pathlib import Path

import pytest

import scalelab
from scalelab.analysis.latency.law import fit_laws
from scalelab.report.sections.latency import bench_tables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/hardware-study.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def latencies(tmp_path_factory):
    copy = tmp_path_factory.mktemp("store") / "mitbih-hardware.duckdb"
    shutil.copy(ROOT / "examples/mitbih-hardware.duckdb", copy)
    return scalelab.open_store(copy).latencies()


@pytest.fixture(scope="module")
def printed(latencies):
    return {table.title: table for table in bench_tables(latencies, fit_laws(latencies))}


def on_the_page(title):
    """Columns and rows of the page's first table below a heading."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    table = re.search(r"(^\|.*\|\n)+", section, re.M)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return cells[0], cells[2:]


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("Latencies", "Latency in ms"),
        ("Outputs", "Outputs against PyTorch in f32"),
        ("Metrics", "Change of metrics from PyTorch in f32"),
        ("Laws", "Laws of latency"),
        ("What could not be measured", "Not measured"),
    ],
)
def test_tables_are_what_bench_prints(printed, heading, title):
    table = printed[title]
    columns, rows = on_the_page(heading)
    where = [table.columns.index(name) for name in columns]
    assert rows == [[row[index].replace("|", "\\|") for index in where] for row in table.rows]


def test_ratios_of_runtimes(latencies):
    good = latencies[latencies.status == "ok"]
    call = good.pivot_table(index=["architecture", "network_id"], columns="target", values="call_latency")
    rows = re.findall(
        r"^\| (\S+) against (\S+) \| ([\d.]+) to ([\d.]+) \| ([\d.]+) to ([\d.]+) \|$", PAGE, re.M
    )
    assert len(rows) == 3
    for first, second, *numbers in rows:
        ratio = (call[second] / call[first]).groupby("architecture")
        found = [end[name] for name in ("convnext1d", "regnet1d") for end in (ratio.min(), ratio.max())]
        assert numbers == [f"{value:.2f}" for value in found]


def test_f32_agrees_with_pytorch_everywhere(latencies):
    plain = latencies[(latencies.precision == "f32") & (latencies.status == "ok")]
    assert set(plain.target) == {
        "torch:cpu:f32",
        "openvino:CPU:f32",
        "openvino:AUTO:f32",
        "onnxruntime:CPU:f32",
    }
    assert len(plain) == 80
    assert (plain.relative_error <= 1e-4).all()
    assert plain.weights.notna().all()
