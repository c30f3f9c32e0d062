"""`scalelab analyze --design`, from records of networks drawn at random to a smaller study that plans."""

import json
import math
from functools import partial

import pytest

from scalelab.analysis.designspace import whole
from scalelab.analysis.trees.full import FullTrees
from scalelab.plugins import load_plugins
from scalelab.records import Record
from scalelab.store import Journal, open_store
from scalelab.study import expand, load_study, parse_study

PLUGIN = """
import numpy as np
import scalelab
from typing import Literal


def open_dots(params):
    split = scalelab.Split(np.zeros((64, 1, 8), "float32"), np.arange(64) % 2)
    task = scalelab.Task(input_shape=(1, 8), n_outputs=2)
    return scalelab.OpenDataset(task=task, train=split, validation=split, fingerprint="dots")


class TowerParams(scalelab.Params):
    width: int = 8
    depth: int = 2
    norm: Literal["batch", "layer"] = "batch"


def build_tower(params, input_shape, n_outputs):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(8, params.width), nn.Linear(params.width, n_outputs))


class PlainParams(scalelab.Params):
    lr: float = 0.01


def build_plain(params, module):
    import torch

    return torch.optim.SGD(module.parameters(), lr=params.lr)


@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name="dots", summary="Zeros", open=open_dots)]


@scalelab.hookimpl
def scalelab_architectures():
    space = {
        "width": scalelab.Int(8, 64, 8),
        "depth": scalelab.Int(1, 8),
        "norm": scalelab.Choice(("batch", "layer")),
    }
    return [scalelab.Architecture(
        name="tower", summary="Layers", build=build_tower, params=TowerParams, space=space)]


@scalelab.hookimpl
def scalelab_optimizers():
    return [scalelab.Optimizer(name="plain", summary="SGD", build=build_plain, params=PlainParams)]
"""

STUDY = """
name = "towers"
[dataset]
name = "dots"
[[architecture]]
name = "tower"
space = "default"
[[optimizer]]
name = "plain"
space = { lr = { type = "float", low = 1e-4, high = 1e-1, log = true } }
[sampling]
method = "sobol"
n = 40
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "dots_plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory, plugins):
    path = tmp_path_factory.mktemp("store") / "towers.duckdb"
    catalog = load_plugins(plugins_dirs=(plugins,), select="dots_plugin")
    trials = expand(parse_study(STUDY, "towers", catalog), catalog).trials
    opened = open_store(path, create=True)
    opened.register("towers", STUDY, trials)
    for index, trial in enumerate(trials):
        options, lr = trial.architecture.params, trial.optimizer.params["lr"]
        loss = 1.0 + 4.0 / options["width"] + 0.2 * (math.log10(lr) + 2.5) ** 2 + 0.01 * (index % 5)
        n_params = options["depth"] * options["width"] ** 2
        Journal(path).write(
            Record(
                trial=trial, study="towers", attempt=1, status="done", loss=loss, objective=loss,
                n_params=n_params, forward_flops=2.0 * n_params, train_flops=6e3 * n_params,
                features={"stages": options["depth"] // 2}, started_at=0.0, finished_at=1.0,
            )
        )  # fmt: skip
    opened.ingest()
    return path


@pytest.fixture
def analyze(scalelab_command, store, plugins, monkeypatch):
    monkeypatch.setenv("SCALELAB_PLUGINS", "dots_plugin")
    options = ("--store", store, "--plugins-dir", plugins, "--axis", "n_params", "--no-trees")
    return lambda *more: scalelab_command("analyze", *options, *more)


@pytest.fixture
def without_trees(monkeypatch):
    """Trees take seconds and have tests of their own."""
    monkeypatch.setattr(whole, "full_trees", lambda done, **options: FullTrees((), ()))


def test_the_whole_design_space_is_printed_and_drawn(analyze, tmp_path, monkeypatch):
    from scalelab.analysis.trees import effects, full, validation

    monkeypatch.setattr(validation, "REPEATS", 1)
    monkeypatch.setattr(effects, "REFITS", 5)
    monkeypatch.setattr(full, "tree_model", partial(full.tree_model, blocks=2, refits=2))
    code, out, _ = analyze("--design", "--figures", tmp_path / "drawn", "--html", tmp_path / "page.html")
    assert code == 0
    for words in (
        "How well the design predicts loss, held-out designs: dots",
        "Design-choice importance for loss: dots, all optimizers",
        "Interactions: dots",
        "feature_stages",
        "Distribution of the error loss: dots",
        "Lowest loss that a budget of forward FLOPs buys",
        "Where the best models are by loss: dots",
        "The design predicts loss on dots",
    ):
        assert words in out
    drawn = {path.stem for path in (tmp_path / "drawn").glob("*.svg")}
    assert drawn >= {
        f"design-{name}" for name in ("importances", "interactions", "effects", "edf", "best-of", "fronts")
    }
    assert "The design space" in (tmp_path / "page.html").read_text("utf-8")


def test_the_smaller_study_plans(analyze, scalelab_command, without_trees, plugins, tmp_path):
    path = tmp_path / "smaller.toml"
    code, out, err = analyze("--propose", path, "--json")
    assert code == 0, err
    ranges = {one["column"]: one for one in json.loads(out)["design"]["ranges"]}
    assert ranges["architecture_width"]["narrower_than_chance"]
    assert not ranges["architecture_depth"]["narrower_than_chance"]
    catalog = load_plugins(plugins_dirs=(plugins,), select="dots_plugin")
    study = load_study(path, catalog)
    space = study.architectures[0].space
    assert space["width"].low >= 24
    assert space["width"].high == 64
    assert (space["depth"].low, space["depth"].high) == (1, 8)
    lr = study.optimizers[0].space["lr"]
    assert 1e-4 < lr.low < 10**-2.5 < lr.high < 1e-1
    assert f"wrote {path}: 40 trials; next: scalelab plan {path}" in err
    assert "tower width: 8 to 64 -> " in err
    code, out, _ = scalelab_command(
        "plan", path, "--store", tmp_path / "new.duckdb", "--plugins-dir", plugins, "--json"
    )
    assert code == 0
    assert len(json.loads(out)["trials"]) == 40


def test_a_file_that_is_there_is_not_overwritten(analyze, tmp_path):
    path = tmp_path / "there.toml"
    path.write_text("mine")
    code, _, err = analyze("--propose", path)
    assert (code, path.read_text(encoding="utf-8")) == (2, "mine")
    assert err.splitlines()[-1].startswith(f"error: {path} already exists")
    code, _, err = analyze("--from", path)
    assert (code, "--from goes with --propose" in err) == (2, True)


def test_an_imported_table_has_ranges_and_no_file(scalelab_command, without_trees, tmp_path):
    rows = ["width,norm,n_params,loss"]
    rows += [
        f"{8 * (1 + i % 8)},{'ab'[i % 2]},{100 + i},{1 + 4 / (8 * (1 + i % 8)) + 0.001 * i}"
        for i in range(40)
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows) + "\n")
    path = tmp_path / "imported.duckdb"
    assert scalelab_command("import", table, "--store", path, "--rest", "architecture").code == 0
    smaller = tmp_path / "smaller.toml"
    code, out, err = scalelab_command("analyze", "--store", path, "--no-trees", "--propose", smaller)
    assert code == 2
    assert "Where the best models are by loss" in out
    assert "imported runs have no study" in err.splitlines()[-1]
    assert not smaller.exists()
