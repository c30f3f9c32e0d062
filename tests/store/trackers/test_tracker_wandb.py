"""Folders and charts of Weights & Biases: the log of a run is read to its end or to where it is torn."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracker_samples import SIZES, loss_of, message, read, wandb_folder, wandb_log, wandb_records

import scalelab
from scalelab.errors import InputError
from scalelab.store.trackers.found import WrongRunError
from scalelab.store.trackers.wandb_log import read_log

STEPS = 700
"""Enough for several blocks of a log."""


def steps(size, n_steps=STEPS):
    return [(s, {"val_loss": loss_of(size) + 1 / (s + 1), "note": "x"}) for s in range(n_steps)]


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "wandb"
    for at, size in enumerate(SIZES):
        config = {"n_params": size, "model": {"act": "relu"}, "_wandb": {"x": 1}}
        wandb_folder(inside, f"run{at}", wandb_records(f"run{at}", config, steps(size), name=f"sweet-{at}"))
    wandb_folder(inside, "failed", wandb_records("failed", {"n_params": 7}, steps(7, 3), exit_code=1))
    wandb_folder(inside, "killed", wandb_records("killed", {"n_params": 8}, steps(8, 3), exit_code=None))
    return inside


def test_logs_are_read_to_their_end(folder):
    for source in (folder, folder.parent):
        found, rows = read(source)
        assert (found.study, found.problems) == ("p", ())
        rows = rows.set_index("feature_run_id")
        assert found.statuses == {"done": 6, "failed": 1, "interrupted": 1}
        for at, size in enumerate(SIZES):
            own = rows.loc[f"run{at}"]
            assert own["loss"] == loss_of(size) + 1 / STEPS
            assert own["curve"]["loss"] == [value["val_loss"] for _, value in steps(size)]
            assert own["curve"]["wall_seconds"] == [step + 0.5 for step in range(STEPS)]
            assert (own["n_params"], own["architecture_model_act"]) == (size, "relu")
            assert (own["feature_run_name"], own["wall_seconds"]) == (f"sweet-{at}", STEPS - 0.5)
        assert rows.loc[["failed", "killed"], "loss"].isna().all()
        assert rows.loc["killed", "curve"]["step"] == [0, 1, 2]
        assert "architecture__wandb_x" not in rows


def test_the_law_is_that_of_the_numbers(folder, tmp_path):
    store = scalelab.open_store(tmp_path / "t.duckdb", create=True)
    scalelab.import_runs(folder, store)
    runs = store.runs("p").query("status == 'done'").sort_values("n_params")
    imported = scalelab.fit_law("power", runs["n_params"], runs["loss"])
    direct = scalelab.fit_law("power", SIZES, [loss_of(size) + 1 / STEPS for size in SIZES])
    assert imported.params == direct.params


def test_a_resumed_run_is_one_run(tmp_path):
    first = wandb_records(
        "a", {"n_params": 10}, [(0, {"val_loss": 5.0}), (1, {"val_loss": 4.0})], exit_code=None
    )
    again = wandb_records("a", {"n_params": 10}, [(1, {"val_loss": 3.5}), (2, {"val_loss": 3.0})])
    wandb_folder(tmp_path, "a", again, "20260102_000000")
    wandb_folder(tmp_path, "a", first, "20260101_000000")
    _, rows = read(tmp_path)
    assert rows["status"].tolist() == ["done"]
    assert rows["curve"][0] == {"loss": [5.0, 3.5, 3.0], "step": [0, 1, 2], "wall_seconds": [0.5, 1.5, 2.5]}


def test_projects_are_asked_about(tmp_path):
    for name in ("a", "b"):
        wandb_folder(tmp_path, name, wandb_records(name, {"n_params": 1}, steps(1, 2), project=name))
    with pytest.raises(InputError, match=r"'a' \(1 runs\), 'b' \(1 runs\); say which with --experiment"):
        read(tmp_path)
    assert read(tmp_path, experiment="b")[1]["feature_run_id"].tolist() == ["b"]


def test_a_torn_log_gives_what_came_before(folder):
    (log,) = folder.glob("run-*-run2/*.wandb")
    log.write_bytes(log.read_bytes()[:-30_000])
    _, rows = read(folder)
    own = rows.set_index("feature_run_id").loc["run2"]
    assert (own["status"], own["error"]) == ("interrupted", "its log ends in the middle of a record")
    assert 100 < len(own["curve"]["step"]) < STEPS


def test_folders_of_which_little_is_left(folder):
    (folder / "run-20260101_000000-empty").mkdir()
    begun = wandb_folder(folder, "begun", b":W&B\xe1\xbe\x00")
    files = folder / "run-20260101_000000-files" / "files"
    files.mkdir(parents=True)
    (files / "config.yaml").write_text("wandb_version: 1\nn_params:\n  desc: null\n  value: 99\n")
    (files / "wandb-summary.json").write_text(json.dumps({"val_loss": 2.5, "_step": 3, "_runtime": 7}))
    found, rows = read(folder)
    assert sorted(found.problems) == [
        f"{begun.name}: its log says nothing; the run was cut off as it began; it was left out",
        "run-20260101_000000-empty: it has neither a log nor a config.yaml; it was not written to its end; "
        "it was left out",
    ]
    own = rows.set_index("feature_run_id").loc["files"]
    assert own[["loss", "n_params", "wall_seconds", "status"]].tolist() == [2.5, 99, 7.0, "done"]
    (files / "wandb-summary.json").write_text("{")
    assert any("wandb-summary.json is torn" in problem for problem in read(folder)[0].problems)


def test_numbers_of_all_kinds_are_read():
    items = [(1, message((1, b"a"), (16, b'"NaN"'))), (1, message((1, b"b"), (16, b"Infinity")))]
    items += [(1, message((2, b"c"), (2, b"d"), (6, 0.5))), (1, message((1, b"e"), (5, 7)))]
    log = read_log(wandb_log([message((2, message(*items, (2, message((1, 12))))))]))
    values = {name: (curve.steps[0], curve.values[0]) for name, curve in log.curves.items()}
    assert str(values.pop("a")) == "(12, nan)"
    assert values == {"b": (12, float("inf")), "c.d": (12, 0.5), "e": (12, -4.0)}


LOG = wandb_log(wandb_records("a", {"n_params": 10}, steps(10, 300)))


@settings(max_examples=150, deadline=None)
@given(st.integers(4, len(LOG)), st.integers(7, len(LOG) - 1), st.integers(1, 255))
def test_damage_of_any_kind_ends_a_log_and_adds_nothing(length, at, change):
    whole = read_log(LOG).curves["val_loss"]
    harmed = bytearray(LOG)
    harmed[at] ^= change
    for data in (LOG[:length], bytes(harmed)):
        log = read_log(data)
        found = log.curves.get("val_loss")
        n_points = len(found.steps) if found else 0
        assert not found or found.values == whole.values[:n_points]
        assert n_points == 300 or log.exit_code is None or log.damaged


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_record_is_read_or_ends_the_log(record):
    read_log(wandb_log([record or b"\0"]))


@given(st.binary(max_size=50).filter(lambda data: not data.startswith(b":W&B")))
def test_what_is_no_log_is_refused(data):
    with pytest.raises(WrongRunError, match="empty, torn, or of another program"):
        read_log(data)


# Charts


def chart(path, names, values):
    """Writes a chart of runs: the rows of values, a step each."""
    header = ["Step", *(f"{name} - val/loss{end}" for name in names for end in ("", "__MIN", "__MAX"))]
    lines = [
        header,
        *([str(10 * at), *(cell for cell in row for _ in range(3))] for at, row in enumerate(values)),
    ]
    path.write_text("".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in lines))
    return path


def test_a_chart_has_a_run_in_each_column(tmp_path):
    path = chart(tmp_path / "c.csv", ["a - b", "c"], [["3.0", "4.0"], ["2.0", "3.5"], ["2.5", ""]])
    table = tmp_path / "runs.csv"
    table.write_text("Name,State,Created,Runtime,n_params\nc,crashed,x,20,2000\na - b,finished,x,10,1000\n")
    found, rows = read([path, table], join="name", study="t")
    assert found.title == "a chart of Weights & Biases, with a table of runs of Weights & Biases"
    rows = rows.set_index("feature_run_id")
    assert rows["status"].to_dict() == {"a - b": "done", "c": "failed"}
    assert (rows["loss"]["a - b"], rows["n_params"]["a - b"], rows["wall_seconds"]["a - b"]) == (
        2.0,
        1000,
        10,
    )
    assert rows["curve"]["c"] == {"loss": [4.0, 3.5], "step": [0, 10]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '"Step","a - x","a - x__MIN","a - x__MAX"\n"0","1"\n',
            "line 2 of c.csv does not fit its first line",
        ),
        ('"Step","a - x","a - x__MIN","a - x__MAX"\n"0","1","1","1\n', "cannot be read as CSV"),
    ],
)
def test_a_chart_that_was_cut_short_is_one_line(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "c.csv")
