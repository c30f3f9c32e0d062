"""Networks on targets: what is measured, what goes wrong, what is not repeated."""

from __future__ import annotations

import json

import psutil
import pytest
from bench_toys import Workshop

from scalelab.analysis.latency.law import measured
from scalelab.bench.coordinator import list_devices
from scalelab.errors import InputError


@pytest.fixture
def workshop(tmp_path) -> Workshop:
    return Workshop(tmp_path)


def test_measured_once_stored_whole_and_kept(workshop):
    summary = workshop.bench("fast:cpu", batch_sizes=[1, 4])
    assert (summary.ok, summary.kept, summary.pending, summary.problems) == (6, 0, 0, {})
    table = workshop.store.latencies()
    assert set(table.measurement_id) == set(summary.ids)
    assert (table.status == "ok").all()
    assert (table.target == "fast:cpu:f32").all()
    assert (table.latency_low <= table.latency).all()
    assert (table.latency <= table.latency_high).all()
    assert (table.latency <= table.p90).all()
    assert (table.p90 <= table.p99).all()
    assert (table.n_calls >= 6 * table.n_rounds).all()
    assert table.n_rounds.between(3, 5).all()
    assert (table.throughput * table.latency).tolist() == pytest.approx(table.batch_size.tolist())
    assert set(table.convert_seconds) == {0.5}
    assert set(table.load_seconds) == {0.25}
    assert set(table.model_bytes) == {1000}
    assert (table.relative_error < 1e-5).all()
    assert (table.threads == 1).all()
    assert sorted(set(table.n_params)) == [64, 250, 994]
    assert (table.activation_bytes > 4 * 2 * 64).all()
    assert table.packages[0].startswith('{"numpy":')
    assert table.objective.isna().all()
    again = workshop.bench("fast:cpu", batch_sizes=[1, 4])
    assert (again.ok, again.kept) == (0, 6)
    more = workshop.bench("fast:cpu", batch_sizes=[1, 4, 8])
    assert (more.ok, more.kept) == (3, 6)


def test_pytorch_itself_is_measured(tmp_path):
    workshop = Workshop(tmp_path, widths=(2,))
    assert workshop.bench("torch:CPU").ok == 1
    row = workshop.store.latencies().iloc[0]
    assert row.target == "torch:cpu:f32", "devices are spelled as the runtime does"
    assert row.relative_error < 1e-5
    assert 0 < row.latency < 1
    assert json.loads(row.packages).keys() == {"torch"}
    assert json.loads(row.environment)["cores"] >= 1
    assert json.loads(row.machine)["device"] == "cpu"
    assert workshop.bench("torch:CPU").kept == 1


def test_measurements_survive_a_rebuild(tmp_path):
    workshop = Workshop(tmp_path, widths=(2, 8, 32))
    workshop.bench("fast:cpu")
    before = workshop.store.latencies()
    assert workshop.store.rebuild().measurements == 3
    after = workshop.store.latencies()
    assert after.equals(before)
    assert workshop.store.check().healthy


TROUBLES = {
    2: ("failed", "operator Erf does not convert"),
    3: ("failed", "ZeroDivisionError: division by zero"),
    4: ("failed", "out of memory: the model does not fit"),
    5: ("failed", "outputs of 64 of 64 examples are not finite; in f32 they are"),
}


def test_trouble_is_one_clear_record_and_the_rest_goes_on(tmp_path):
    workshop = Workshop(tmp_path, widths=(*TROUBLES, 6))
    assert workshop.bench("trouble:mixed").ok == 1
    table = workshop.store.latencies()
    table = table.set_index(table.options.map(lambda text: json.loads(text)["width"]))
    assert table.status[6] == "ok"
    for width, (status, words) in TROUBLES.items():
        assert table.status[width] == status
        assert words in table.reason[width]
        assert "\n" not in table.reason[width]
        assert table.latency.isna()[width]
    again = workshop.bench("trouble:mixed")
    assert (again.ok, again.kept, again.problems) == (0, 5, {})


def by_width(table):
    return table.set_index(table.options.map(lambda text: json.loads(text)["width"]))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_wrong_outputs_in_f32_are_a_failure_that_shows_its_errors(tmp_path, batch_size):
    workshop = Workshop(tmp_path, widths=(2, 8, 32))
    summary = workshop.bench("trouble:off", batch_sizes=[batch_size])
    assert summary.ok == 1
    (reasons,) = summary.problems.values()
    assert sum(reasons.values()) == 2
    table = by_width(workshop.store.latencies())
    assert table.status.to_dict() == {2: "ok", 8: "failed", 32: "failed"}
    wrong = table.loc[[8, 32]]
    assert wrong.relative_error.tolist() == pytest.approx([0.02, 0.02], rel=1e-3)
    assert (wrong.max_abs_error > 0).all()
    assert (wrong.n_compared >= 32).all()
    assert wrong.latency.isna().all()
    for reason in wrong.reason:
        assert "0.02 of the largest one; in f32 at most 0.001 is right" in reason
    assert table.relative_error[2] == pytest.approx(0.0005, rel=1e-3)
    assert set(measured(workshop.store.latencies()).n_params) == {table.n_params[2]}


def test_trained_weights_are_held_to_the_same_bound(tmp_path):
    workshop = Workshop(tmp_path, widths=(2, 8))
    workshop.run(keep_weights=True)
    assert workshop.bench("trouble:off").ok == 1
    table = by_width(workshop.store.latencies())
    assert table.weights.notna().all()
    assert table.status.to_dict() == {2: "ok", 8: "failed"}
    assert table.objective_here.notna().all()


def test_what_a_lower_precision_costs_is_recorded_and_not_judged(tmp_path):
    workshop = Workshop(tmp_path, widths=(2, 32))
    assert workshop.bench("trouble:off:int8").ok == 2
    table = by_width(workshop.store.latencies())
    assert table.relative_error.to_dict() == pytest.approx({2: 0.005, 32: 0.2}, rel=1e-3)


def test_a_failed_conversion_breaks_no_other_one(tmp_path):
    workshop = Workshop(tmp_path, widths=(2, 3, 6, 8, 10, 12, 14, 16))
    summary = workshop.bench("trouble:breaks-process")
    assert (summary.ok, summary.pending) == (6, 0)
    table = by_width(workshop.store.latencies())
    assert table.reason.dropna().tolist() == ["operator Erf does not convert"] * 2
    good = table[table.status == "ok"]
    assert sorted(good.index) == [6, 8, 10, 12, 14, 16]
    assert (good.n_rounds >= 3).all()
    processes = {json.loads(facts)["process"] for facts in good.facts}
    assert len(processes) > 1, "the order of the networks puts a failure between two good ones"


def test_a_runtime_that_dies_or_hangs_costs_its_own_target_alone(tmp_path):
    workshop = Workshop(tmp_path, widths=(2,))
    assert workshop.bench("trouble:crash", "fast:cpu").ok == 1
    assert workshop.bench("trouble:hang", stall_seconds=20.0).ok == 0
    table = workshop.store.latencies().set_index("device")
    assert table.status["crash"] == "failed"
    assert table.reason["crash"] == "its worker ended with exit code 7: segmentation of something"
    assert table.status["hang"] == "timeout"
    assert table.reason["hang"] == "no answer for 20 s; its process was killed"
    assert table.status["cpu"] == "ok"


def test_a_runtime_that_prints_and_starts_processes_is_measured_and_leaves_none(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("BENCH_OF", str(tmp_path))
    workshop = Workshop(tmp_path, widths=(2,))
    assert workshop.bench("trouble:host").ok == 1
    assert capfd.readouterr() == ("", "")
    (log,) = (tmp_path / "store.duckdb.journal" / "logs").iterdir()
    assert log.name == "bench-trouble-host-f32.txt"
    assert log.stat().st_size > 1_000_000
    found = (process for process in psutil.process_iter(["environ", "status"]))
    left = [p for p in found if (p.info["environ"] or {}).get("BENCH_OF") == str(tmp_path)]
    assert [p for p in left if p.info["status"] != psutil.STATUS_ZOMBIE] == []
    assert workshop.bench("fast:cpu").ok == 1
    assert len(list(log.parent.iterdir())) == 1, "who prints nothing has no log"


def test_a_crash_in_the_middle_costs_one_network_and_retry_tries_it_again(tmp_path):
    workshop = Workshop(tmp_path, widths=(2, 32))
    assert workshop.bench("trouble:crash-large").ok == 1
    table = workshop.store.latencies()
    assert sorted(table.status) == ["failed", "ok"]
    assert "exit code 9" in table[table.status == "failed"].reason.item()
    assert table[table.status == "ok"].n_rounds.item() >= 3
    retried = workshop.bench("trouble:crash-large", retry=True)
    assert (retried.ok, retried.kept) == (0, 1)
    assert workshop.store.latencies().attempts.tolist() in ([1, 2], [2, 1])


def test_an_absent_device_is_noted_once_and_measured_when_it_is_there(workshop):
    first = workshop.bench("fast:npu")
    assert first.pending == 0
    assert first.problems == {
        "fast:npu:f32": {"fast:npu:f32 cannot be used here: needs a driver; get it from the vendor": 3}
    }
    workshop.bench("fast:npu")
    table = workshop.store.latencies()
    assert table.status.tolist() == ["unavailable"] * 3
    assert table.attempts.tolist() == [1] * 3
    workshop.npu.touch()
    assert workshop.bench("fast:npu").ok == 3
    assert workshop.store.latencies().status.tolist() == ["ok"] * 3


def test_what_a_device_does_not_do_is_unsupported(workshop):
    workshop.bench("fast:picky")
    table = workshop.store.latencies()
    assert table.status.tolist() == ["unsupported"] * 3
    assert table.reason.tolist() == ["picky does not do this precision"] * 3


def test_trained_weights_show_what_a_precision_costs(workshop):
    workshop.run(keep_weights=True)
    summary = workshop.bench("fast:cpu:f32", "fast:cpu:int8", top=2)
    assert summary.ok == 4
    table = workshop.store.latencies()
    assert table.weights.equals(table.trial_id)
    assert (table.metric == "accuracy").all()
    assert table.objective.notna().all()
    assert (table.objective_f32 == table.objective_here).all(), (
        "1.01 times the outputs has the same largest one"
    )
    scores = json.loads(table.scores_here[0])
    assert set(scores) == {"loss", "accuracy"}
    assert scores["accuracy"] == table.objective_here[0]
    by = table.groupby("precision").relative_error.max()
    assert by["f32"] < 1e-5
    assert by["int8"] == pytest.approx(0.01, rel=1e-3)
    best = workshop.store.sql("select distinct objective from runs order by 1 desc limit 2").objective
    assert set(table.objective) <= set(best)


def test_the_best_are_asked_for_where_nothing_is_trained(workshop):
    with pytest.raises(InputError, match="no trial of 'toys' has finished"):
        workshop.bench("fast:cpu", top=1)


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("fast:gpu", {}, "backend fast has no device 'gpu'"),
        ("fast:cpu:bf16", {}, "does not offer bf16"),
        (
            "fast:cpu",
            {"options": {"slow": "1"}},
            "no target's backend has an option 'slow'; did you mean 'slow_ms'?",
        ),
        ("fast:cpu", {"batch_sizes": [0]}, "batch sizes must be 1 or more"),
    ],
)
def test_a_wrong_target_or_option_measures_nothing(workshop, target, options, words):
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        workshop.bench(target, **options)
    assert workshop.store.latencies().empty


def test_a_precision_that_one_backend_lacks_is_left_out_for_it_alone(workshop):
    summary = workshop.bench("fast:cpu", precisions=["f32", "bf16"])
    assert summary.ok == 3
    assert summary.notes == (
        "left out: fast:cpu:bf16: backend fast does not offer bf16; it offers f32, int8",
    )


def test_a_dry_run_counts_and_starts_nothing(workshop):
    summary = workshop.bench("trouble:crash", "fast:cpu", dry_run=True)
    assert (summary.pending, summary.ok, summary.kept) == (6, 0, 0)
    assert workshop.store.latencies().empty


def test_slower_is_measured_slower(workshop):
    workshop.bench("fast:cpu")
    workshop.bench("fast:cpu", options={"slow_ms": "5"})
    table = workshop.store.latencies()
    slow = table.backend_options.map(lambda text: json.loads(text)["slow_ms"] == 5)
    assert table[slow].latency.min() > 0.005
    assert table[~slow].latency.max() < 0.005


def test_every_device_is_listed_with_its_reason(workshop):
    rows = {(row.backend, row.device): row for row in list_devices(workshop.catalog)}
    assert rows["fast", "cpu"].available
    assert not rows["fast", "npu"].available
    assert "driver" in rows["fast", "npu"].detail
    assert rows["deadly", ""].detail == "listing its devices failed: its worker ended with exit code 5"
    assert rows["toy-eager", "cpu"].precisions == ("f32",)
