"""Lightning's CSVLogger and histories of Keras: resumed, torn, with objects of Python."""

from __future__ import annotations

import pytest
from tracked_runs import points, read, written

from scalelab.store.trackers.known import tracker_of

HEAD = "epoch,step,train_loss,val_loss"
HPARAMS = "width: 8\nlr: 0.1\n"


def version(number: int, lines: list[str], hparams: str = HPARAMS) -> dict[str, object]:
    folder = f"lightning_logs/version_{number}"
    return {f"{folder}/metrics.csv": [HEAD, *lines], f"{folder}/hparams.yaml": hparams}


def test_a_version_that_goes_on_is_the_same_run(tmp_path):
    source = written(
        tmp_path,
        version(9, ["0,9,,3.0", "1,19,,2.5"])
        | version(10, ["2,29,,2.25"])
        | version(11, ["0,9,,4.0"], "width: 16\n")
        | version(12, ["0,9,,3.5"]),
    )
    kind, runs, problems = read(source)
    assert (kind, problems) == ("lightning", [])
    assert list(runs) == [f"lightning_logs/version_{number}" for number in (9, 11, 12)]
    run = runs["lightning_logs/version_9"]
    assert points(run.curves["val_loss"]) == [(9, 3.0), (19, 2.5), (29, 2.25)]
    assert (run.params, run.values) == ({"width": 8, "lr": 0.1}, {"epochs": 3, "n_steps": 30})
    assert run.state is None
    assert read(source / "lightning_logs")[1].keys() == {"version_9", "version_11", "version_12"}


def test_objects_of_python_are_plain_values_and_nothing_runs(tmp_path):
    hparams = (
        "path: !!python/object/apply:os.system [touch ran]\n"
        "betas: !!python/tuple [0.9, 0.99]\nact: !!python/name:torch.nn.ReLU ''\nmodel: !mine {width: 8}\n"
    )
    runs = read(written(tmp_path, version(0, ["0,9,,3.0"], hparams)))[1]
    params = runs["lightning_logs/version_0"].params
    assert (params["betas"], params["model.width"], params["path"]) == ("[0.9, 0.99]", 8, '["touch ran"]')
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("lines", "hparams", "told"),
    [
        (
            ["0,9,,3.0", "1,19,"],
            HPARAMS,
            "lines of metrics.csv that do not fit its first one were left out",
        ),
        ([], HPARAMS, "metrics.csv has no reports; it was left out"),
        (["0,9,,3.0"], "a: [1, 2\nb: }", "hparams.yaml is torn, or no YAML"),
        (["0,9,,3.0"], "- a\n", "hparams.yaml holds no names"),
    ],
)
def test_what_is_torn_is_told_and_costs_no_other_run(tmp_path, lines, hparams, told):
    _, runs, problems = read(written(tmp_path, version(0, lines, hparams) | version(1, ["0,9,,2.0"], "a: 1")))
    assert "lightning_logs/version_1" in runs
    assert len(problems) == 1
    assert told in problems[0]


def test_text_that_is_not_utf_8(tmp_path):
    files = version(0, []) | {"lightning_logs/version_0/metrics.csv": HEAD.encode() + b"\n\xff\xfe"}
    (problem,) = read(written(tmp_path, files))[2]
    assert "metrics.csv is not UTF-8 text" in problem


def test_a_csv_of_keras_holds_before_its_json(tmp_path):
    csv = ["epoch,loss,val_loss", "0,3.5,3.0", "1,2.5,2.0", "2,2.25,NAN"]
    files = {
        "lr=0.1,width=8/training.csv": csv,
        "lr=0.1,width=8/history.json": {"loss": [9.0], "val_loss": [9.0]},
        "b/params.json": {"width": 16},
        "b/h.json": {"loss": [3.0, 2.0], "val_loss": [2.5, 1.5]},
        "c/one.json": {"loss": [4.0]},
        "c/two.json": {"loss": [5.0], "accuracy": [0.5]},
    }
    kind, runs, problems = read(written(tmp_path, files))
    assert (kind, problems) == ("keras", [])
    assert list(runs) == ["b", "c/one.json", "c/two.json", "lr=0.1,width=8"]
    run = runs["lr=0.1,width=8"]
    assert points(run.curves["val_loss"])[:2] == [(0, 3.0), (1, 2.0)]
    assert (run.params, run.values) == ({"lr": 0.1, "width": 8}, {"epochs": 3})
    assert (points(runs["b"].curves["val_loss"]), runs["b"].params) == ([(0, 2.5), (1, 1.5)], {"width": 16})


def test_a_single_history_is_a_source_and_a_table_is_not(tmp_path):
    folder = written(tmp_path, {"h.json": {"loss": [3.0, 2.0]}, "t.csv": ["epoch,loss,n_params", "1,2.0,10"]})
    assert read(folder / "h.json")[0] == "keras"
    assert tracker_of(folder / "t.csv", None) is None
    (folder / "other.json").write_text('{"results": {"loss": 3.0}}', encoding="utf-8")
    assert tracker_of(folder / "other.json", None) is None
