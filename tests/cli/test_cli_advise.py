"""`scalelab advise`, from the records of an isoFLOP study to a study that runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from outlook_store import PLUGIN, make_store

from scalelab.plugins import load_plugins


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "specks_plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, plugins):
    path = tmp_path_factory.mktemp("store") / "iso.duckdb"
    make_store(path, load_plugins(plugins_dirs=(plugins,), select=""))
    return path


@pytest.fixture
def advise(scalelab_command, store, plugins, monkeypatch):
    monkeypatch.setenv("SCALELAB_PLUGINS", "specks_plugin")
    return lambda *options: scalelab_command("advise", "--store", store, "--plugins-dir", plugins, *options)


def test_the_answer_names_family_size_loss_and_what_to_trust(advise):
    code, out, _ = advise("--budget", "3e9", "--price-per-flop", "1e-9")
    assert code == 0
    assert out.startswith("Best use of 3.00 GFLOP of training: plain, the best in ")
    rows = [line.split("  ")[0] for line in out.splitlines()]
    assert rows.index("plain") < rows.index("other")
    assert "Compute-optimal size, three approaches" in out
    assert "parametric" in out
    assert "backtest is the RMS log error of the same law" in out
    assert "cost: 3" in out
    assert "about 3.0 s at the pace of the runs nearest in compute" in out


def test_the_study_that_is_written_plans_and_runs(advise, scalelab_command, plugins, tmp_path):
    path = tmp_path / "next.toml"
    code, out, _ = advise("--budget", "3e8", "--write", path, "--json")
    assert code == 0
    document = json.loads(out)
    best, study = document["families"][0], document["study"]
    assert best["optimizer"] == "plain"
    assert best["basis"] == "optimum"
    assert abs(study["n_params"] / best["n_params"]["value"] - 1) < 0.1
    assert study["train_flops"] == pytest.approx(3e8, rel=0.02)
    assert study["loss"]["lower"] < best["loss"]["value"] * 1.02
    assert path.read_text(encoding="utf-8") == study["text"]
    other = tmp_path / "next.duckdb"
    code, out, _ = scalelab_command("plan", path, "--store", other, "--plugins-dir", plugins, "--json")
    assert code == 0
    trials = json.loads(out)["trials"]
    assert len(trials) == study["n_trials"] == 3
    for trial in trials:
        assert trial["n_params"] == study["n_params"]
        assert trial["train_flops"] == pytest.approx(study["train_flops"])
    code, out, _ = scalelab_command(
        "run", path, "--store", other, "--plugins-dir", plugins, "--workers", 0, "--device", "cpu"
    )
    assert code == 0
    assert "3 done" in out


def test_one_family_may_be_chosen(advise):
    code, out, _ = advise("--budget", "3e9", "--optimizer", "other", "--json")
    assert code == 0
    (family,) = json.loads(out)["families"]
    assert family["optimizer"] == "other"
    assert family["share_best"] == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "-1"), "--budget '-1': must be a positive number"),
        (("--budget", "inf"), "--budget 'inf': must be a positive number"),
        (("--budget", "10"), "too little for a run"),
        (("--budget", "1e9", "--optimizer", "plan"), "did you mean 'plain'"),
        (("--budget", "1e9", "--study", "isoflp"), "did you mean 'isoflop'"),
        (("--budget", "1e9", "--level", "2"), "between 0 and 1"),
        (("--budget", "1e9", "--estimator", "x"), "unknown estimator 'x'"),
        (("--budget", "1e9", "--price-per-hour", "-2"), "--price-per-hour must be a number of zero or more"),
        (("--budget", "1e9", "--price-per-hour", "2", "--price-per-flop", "1"), "not both"),
        (("--budget", "1e9", "--from", "x.toml"), "--from goes with --write"),
        (("--budget", "1e22", "--write", "giant.toml"), "does not fit into the"),
        (("--budget", "1e9", "--write", "w.toml", "--from", "none.toml"), "none.toml: cannot be read"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(advise, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = advise(*options)
    assert code == 2
    assert out == ""
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")
    assert os.listdir(tmp_path) == []


def test_a_file_is_never_overwritten(advise, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("mine")
    code, _, err = advise("--budget", "3e8", "--write", path)
    assert code == 2
    assert "already exists" in err
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_dataset_that_cannot_be_found_asks_for_the_study(scalelab_command, plugins, tmp_path, monkeypatch):
    """The store keeps a study's text, not where it stood: a relative folder needs the file itself."""
    monkeypatch.setenv("SCALELAB_PLUGINS", "specks_plugin")
    (tmp_path / "studies" / "here").mkdir(parents=True)
    options = 'options = { folder = "here" }'
    store = tmp_path / "studies" / "s.duckdb"
    opened = make_store(store, load_plugins(plugins_dirs=(plugins,), select=""), dataset=options)
    (tmp_path / "studies" / "isoflop.toml").write_text(opened.rows("select text from studies")[1][0][0])
    command = ("advise", "--store", store, "--plugins-dir", plugins, "--budget", "3e8")
    code, _, err = scalelab_command(*command, "--write", tmp_path / "next.toml")
    assert code == 2
    assert "give the study file itself with --from" in err
    source = ("--from", tmp_path / "studies" / "isoflop.toml")
    code, _, _ = scalelab_command(*command, "--write", tmp_path / "next.toml", *source)
    assert code == 0
    assert 'folder = "studies/here"' in (tmp_path / "next.toml").read_text(encoding="utf-8")


def test_a_store_without_runs_says_what_to_do(scalelab_command, tmp_path):
    from scalelab.store import open_store

    path = tmp_path / "empty.duckdb"
    open_store(path, create=True)
    code, _, err = scalelab_command("advise", "--store", path, "--budget", "1e9")
    assert code == 2
    assert "has no finished runs yet; next: scalelab run" in err
