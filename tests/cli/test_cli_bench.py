"""`scalelab bench` and `scalelab advise --max-latency`, from a study file to a study file."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from bench_toys import Workshop

from scalelab.cli.advise import seconds_of
from scalelab.errors import InputError
from scalelab.measurements import Measurement
from scalelab.store import open_store


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    """A study of 18 trained networks, measured on one target."""
    workshop = Workshop(tmp_path_factory.mktemp("bench"), widths=tuple(range(2, 20)))
    workshop.run()
    workshop.bench("fast:cpu", options={"slow_ms": "1"})
    return workshop


@pytest.fixture
def command(scalelab_command, workshop, monkeypatch):
    monkeypatch.setenv("SCALELAB_PLUGINS", "toys,troubled")
    monkeypatch.chdir(workshop.folder)
    common = ("--store", workshop.store.path, "--plugins-dir", workshop.plugins)
    return lambda name, *options: scalelab_command(name, *common, *options)


MEASURED = ("--targets", "fast:cpu", "-o", "slow_ms=1", "--threads", 1)


def test_what_was_measured_is_kept_and_shown(command, workshop):
    code, out, _ = command("bench", workshop.path, *MEASURED)
    assert code == 0
    assert "Latency in ms" in out
    assert "Pareto fronts of accuracy (higher is better) against latency" in out
    assert "Laws of latency" in out
    assert out.splitlines()[-1].startswith("toys: 18 benchmarks: 18 kept")


def test_the_study_may_come_from_the_store(command):
    code, out, _ = command("bench", "--study", "toys", *MEASURED, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["kept"] == len(document["latencies"]) == len(document["ids"]) == 18
    assert document["laws"][0]["target"] == "fast:cpu:f32"
    assert document["laws"][0]["n_networks"] == 18
    assert all(row["latency"] > 0.001 for row in document["latencies"])


def test_the_only_study_of_a_store_need_not_be_named(command):
    assert json.loads(command("bench", *MEASURED, "--json").out)["study"] == "toys"


def test_a_dry_run_says_what_is_pending(command, workshop):
    code, out, _ = command(
        "bench", workshop.path, "--targets", "fast:cpu", "--top", 2, "--threads", 1, "--dry-run"
    )
    assert code == 0
    assert "toys: 2 benchmarks: 2 pending" in out
    assert "without --dry-run" in out


def test_trouble_ends_in_exit_code_1_and_a_line(command, workshop):
    code, out, _ = command(
        "bench", workshop.path, "--targets", "trouble:crash", "--top", 1, "--threads", 1, "--time-limit", 0.1
    )
    assert code == 1
    assert "its worker ended with exit code 7" in out
    assert "1 not measured" in out


def test_what_all_machines_measured_is_shown_without_measuring(scalelab_command, workshop, tmp_path):
    store = open_store(shutil.copy(workshop.store.path, tmp_path / "both.duckdb"))
    content = store.sql("select content from measurements where status = 'ok' limit 1")["content"][0]
    here = Measurement.model_validate_json(content)
    there = here.model_copy(update={"benchmark": here.benchmark.model_copy(update={"host": "elsewhere"})})
    store.journal.write(there)
    store.ingest()
    code, out, _ = scalelab_command("bench", "--measured", "--store", store.path)
    assert code == 0
    assert "fast:cpu:f32 on elsewhere" in out
    document = json.loads(
        scalelab_command("bench", "--study", "toys", "--measured", "--store", store.path, "--json").out
    )
    hosts = [row["host"] for row in document["latencies"] if row["status"] == "ok"]
    assert hosts.count("elsewhere") == 1
    assert len(hosts) == 19


def test_figures_are_written(command, workshop, tmp_path):
    assert command("bench", workshop.path, *MEASURED, "--figures", tmp_path).code == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "latency-boxes.png", "latency-flops.png", "latency-front.png"
    ]  # fmt: skip


def test_devices_are_listed(command):
    code, out, _ = command("bench", "--list")
    assert code == 0
    lines = {tuple(line.split()[:3]) for line in out.splitlines()}
    assert ("fast", "cpu", "yes") in lines
    assert ("fast", "npu", "no") in lines
    assert "needs a driver" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--study", "tosy"), "has no study 'tosy' that was run; did you mean 'toys'?"),
        (("nowhere.toml",), "nowhere.toml"),
        (("--study", "toys", "--targets", "fast"), "is not a target: write backend:device"),
        (("--study", "toys", "--targets", "fats:cpu"), "did you mean 'fast'"),
        (("--study", "toys", "--batch-sizes", "one"), "must be whole numbers such as 1,8,64"),
        (("--study", "toys", "--targets", "fast:cpu", "-o", "slow"), "must be KEY=VALUE"),
        (("toys.toml", "--study", "toys"), "not both"),
        (("--measured", "--targets", "fast:cpu"), "--targets says what to measure, and --measured measures"),
        (("--study", "tosy", "--measured"), "has no study 'tosy'; did you mean 'toys'?"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(command, options, words):
    code, out, err = command("bench", *options)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_a_limit_gives_the_best_network_that_is_fast_enough_as_a_study_that_plans(
    command, workshop, tmp_path
):
    path = tmp_path / "fast.toml"
    code, out, _ = command(
        "advise", "--max-latency", "50ms", "--device", "fast:cpu", "--write", path, "--json"
    )
    assert code == 0
    document = json.loads(out)
    best = document["candidates"][0]
    assert best["objective"] == max(row["objective"] for row in document["candidates"])
    assert best["latency"] < 0.05
    text = path.read_text(encoding="utf-8")
    assert document["study"]["text"] == text
    assert f"width = {best['options']['width']}" in text
    plan = json.loads(command("plan", path, "--json").out)
    (trial,) = plan["trials"]
    assert trial["trial"]["architecture"]["params"] == best["options"]
    assert trial["status"] == "done", "the best of the trained networks is a trial that is there"


def test_a_limit_is_shown_as_a_table(command):
    code, out, _ = command("advise", "--max-latency", "50ms", "--device", "fast:cpu:f32")
    assert code == 0
    assert out.startswith("Best networks within 50ms on fast:cpu:f32")
    assert "networks are within 50ms; higher accuracy is better" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give either --budget FLOPS or --max-latency TIME"),
        (("--max-latency", "5ms"), "--max-latency needs --device"),
        (("--max-latency", "fast", "--device", "fast:cpu"), "must be a time such as 5ms"),
        (
            ("--max-latency", "5ms", "--device", "fast:cpu:int8"),
            "run first: scalelab bench --study toys --store",
        ),
        (("--max-latency", "1us", "--device", "fast:cpu"), "no network is within 0.001 ms on fast:cpu:f32"),
    ],
)
def test_a_limit_that_cannot_be_answered_says_what_to_do(command, options, words):
    code, out, err = command("advise", *options)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("5ms", 0.005), ("0.02s", 0.02), (" 800 us", 0.0008), ("1e-3s", 0.001)]
)
def test_times_are_read(text, seconds):
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "ms", "-5ms", "0ms", "5 minutes", "1.2.3ms"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="must be a time such as 5ms"):
        seconds_of(text)
