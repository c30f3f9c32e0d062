"""`scalelab predict`: tables, documents, and one line for what is wrong."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from outlook_store import PLUGIN, make_store

from scalelab.plugins import load_plugins

EXPERIMENTS = Path(__file__).parents[2] / "examples/mitbih-convnext.duckdb"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    (folder / "specks_plugin.py").write_text(PLUGIN)
    make_store(folder / "iso.duckdb", load_plugins(plugins_dirs=(folder,), select=""))
    return folder / "iso.duckdb"


@pytest.fixture
def predict(scalelab_command, store):
    return lambda *options: scalelab_command("predict", "--store", store, *options)


def test_a_forecast_says_how_far_it_is_and_how_far_off_it_was(predict):
    code, out, _ = predict("--at", "train_flops=3.2e9")
    assert code == 0
    assert out.startswith("At C = 3.2e+09")
    lines = {line.split()[0]: line for line in out.splitlines()[3:5]}
    assert set(lines) == {"plain", "other"}
    for line in lines.values():
        assert "× C (1.0 decades)" in line
        assert line.rstrip().endswith(("%", "none"))


def test_the_document_has_the_numbers(predict):
    code, out, _ = predict("--at", "train_flops=3.2e9", "--optimizer", "plain", "--json")
    assert code == 0
    (one,) = json.loads(out)["forecasts"]
    assert one["optimizer"] == "plain"
    assert one["loss"]["lower"] < one["loss"]["value"] < one["loss"]["upper"]
    assert one["times_beyond"]["train_flops"] == pytest.approx(10, rel=0.05)
    assert set(one["backtest"]) == {"rms_log_error", "origins", "reach", "errors", "refused"}
    assert one["fit"]["provenance"]["law"] == "chinchilla"


def test_a_target_has_a_scale_or_is_never_reached(predict):
    code, out, _ = predict("--reach", "0.45", "--json")
    assert code == 0
    plain = next(one for one in json.loads(out)["targets"] if one["optimizer"] == "plain")
    assert plain["axes"] == ["train_flops"]
    assert plain["scale"]["value"] > 0
    code, out, _ = predict("--reach", "0.001")
    assert code == 0
    assert "never [" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give one of --at AXIS=NUMBER"),
        (("--at", "n_params=1", "--reach", "1"), "give one of --at AXIS=NUMBER"),
        (("--at", "n_params"), "must be AXIS=NUMBER"),
        (("--at", "n_params=many"), "--at n_params 'many': must be a positive number such as 300k, 10M"),
        (("--at", "=3"), "must be AXIS=NUMBER"),
        (("--at", "n_param=3"), "did you mean 'n_params'"),
        (("--at", "n_params=0"), "must be a positive number"),
        (("--at", "n_params=-3"), "must be a positive number"),
        (("--at", "n_params=inf"), "must be a positive number"),
        (("--at", "n_params=1", "--at", "n_params=2"), "is given twice"),
        (("--at", "n_params=1", "--axis", "n_params"), "--axis goes with --reach"),
        (("--reach", "1", "--register"), "--register goes with --at or --rows"),
        (("--at", "n_param=3", "--register"), "did you mean 'n_params'"),
        (("--at", "train_flops=1e5", "--register"), "lies below all points of the law"),
        (("--at", "train_flops=1e9", "--optimizer", "plane"), "did you mean 'plain'"),
        (("--at", "train_flops=1e9", "--architecture", "stak"), "did you mean 'stack'"),
        (("--at", "train_flops=1e9", "--dataset", "speks"), "did you mean 'specks'"),
        (("--at", "train_flops=1e9", "--law", "bnsl2"), "no prediction: a law in C needs 4 points"),
        (("--at", "train_flops=1e9", "--law", "powr"), "did you mean 'power'"),
        (("--at", "train_flops=1e9", "--level", "0"), "between 0 and 1"),
        (("--reach", "0"), "must be a positive number"),
        (("--reach", "1", "--axis", "joint"), "unknown axis 'joint'"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(predict, options, words):
    code, out, err = predict(*options)
    assert code == 2
    assert out == ""
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("axis", ["n_params", "n_examples", "train_flops"])
def test_a_table_that_has_one_scale_alone_has_a_law(scalelab_command, tmp_path, axis):
    table, store = tmp_path / "only.csv", tmp_path / "only.duckdb"
    losses = (2.0, 1.83, 1.7, 1.64, 1.6)
    rows = (f"{scale:g},{loss}" for scale, loss in zip((1e6, 3e6, 1e7, 3e7, 1e8), losses, strict=True))
    table.write_text("\n".join([f"{axis},val_loss", *rows]), encoding="utf-8")
    assert scalelab_command("import", table, "--store", store)[0] == 0
    code, out, _ = scalelab_command("analyze", "--store", store, "--no-trees", "--json")
    assert code == 0
    assert [law["axis"] for law in json.loads(out)["laws"] if not law["refusal"]] == [axis]
    code, out, _ = scalelab_command("predict", "--store", store, "--at", f"{axis}=1e9", "--json")
    assert code == 0
    assert 1.4 < json.loads(out)["forecasts"][0]["loss"]["value"] < 1.6


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["1e9,1e7", "big,1e8"], "row 2 of rows.csv: n_params 'big'"),
        (["1e9,1e7", "1e9,"], "row 2 of rows.csv: n_examples"),
        (["1e9,1e7", "-3,1e8"], "row 2 of rows.csv: n_params '-3"),
    ],
)
def test_a_cell_of_a_table_of_scales_that_is_no_amount_is_named(predict, tmp_path, cells, words):
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(["n_params,n_examples", *cells]), encoding="utf-8")
    code, out, err = predict("--rows", rows)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_table_of_scales_has_amounts_and_other_columns(scalelab_command, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("n_params,n_examples,loss,note\n2M,30k,0.5,a\n2000000,30000,0.5,b\n", encoding="utf-8")
    asked = ("predict", "--store", EXPERIMENTS, "--rows", rows, "--optimizer", "adamw", "--json")
    code, out, _ = scalelab_command(*asked)
    assert code == 0
    first, second = json.loads(out)["forecasts"]
    assert first["at"] == second["at"] == {"n_params": 2e6, "n_examples": 3e4}


def test_an_end_of_a_scale_below_all_runs_is_not_a_number(scalelab_command):
    asked = ("predict", "--store", EXPERIMENTS, "--reach", "0.3", "--axis", "n_examples")
    code, out, _ = scalelab_command(*asked)
    assert code == 0
    assert "[below 250" in out


@pytest.fixture
def own(store, tmp_path):
    """A copy of the store, to write to."""
    return shutil.copy2(store, tmp_path / "own.duckdb")


def test_a_prediction_is_registered_judged_and_reported(scalelab_command, own, tmp_path):
    code, out, err = scalelab_command("verdicts", "--store", own)
    assert (code, out) == (2, "")
    assert "has no registered prediction; next: scalelab predict --at AXIS=NUMBER --register" in err
    code, out, _ = scalelab_command("predict", "--at", "train_flops=3.2e9", "--register", "--store", own)
    assert code == 0
    assert out.startswith("At C = 3.2e+09")
    assert len(re.findall(r"^registered [0-9a-f]{16}: (?:plain|other) at C = 3.2e\+09, loss", out, re.M)) == 2
    code, out, err = scalelab_command(
        "predict", "--at", "train_flops=3.2e8", "--optimizer", "plain", "--register", "--store", own
    )
    assert "; late: " in out, "the runs of the largest budget answer it"
    again = ("predict", "--at", "train_flops=3.2e9", "--register", "--optimizer", "other", "--store", own)
    code, out, err = scalelab_command(*again)
    assert (code, out) == (2, ""), "the same rows in other words"
    assert "is registered already, since" in err.splitlines()[-1]
    code, out, err = scalelab_command(*again, "--level", "0.8", "--json")
    assert (code, len(json.loads(out)["registered"])) == (0, 1)
    code, out, _ = scalelab_command("verdicts", "--store", own)
    assert code == 0
    assert re.search(r"plain +C = 320,000,000 .*side \(late\)", out)
    assert out.count(" open\n") == 3
    code, out, _ = scalelab_command("verdicts", "--store", own, "--json")
    document = json.loads(out)
    late = next(one for one in document["verdicts"] if one["timing"] == "late")
    low, high = late["settings"]["n_params"]
    assert low < 5378 < high < 2 * low, "near the best split of N and D"
    assert document["scores_of_others"][0]["rule"] == "law"
    page = tmp_path / "page.html"
    code, out, _ = scalelab_command("analyze", "--no-trees", "--store", own, "--html", page, "--json")
    assert len(json.loads(out)["verdicts"]["verdicts"]) == 4
    text = page.read_text(encoding="utf-8")
    assert "What was predicted, and what came" in text
    assert 'id="f-verdicts"' in text
