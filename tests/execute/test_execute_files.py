"""Files among the options of a network are content: other weights are another trial, and reach the worker."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scalelab import load_plugins, load_study, open_store, plan_study, run_study
from scalelab.errors import InputError, StudyError
from scalelab.study import expand

PLUGIN = """
import numpy as np
import scalelab
from pydantic import Field


class DotsParams(scalelab.Params):
    n: int = 40


def open_dots(params):
    rng = np.random.default_rng(0)
    targets = np.arange(params.n) % 2
    inputs = rng.normal(size=(params.n, 1, 8)).astype("float32") + targets[:, None, None]
    split = scalelab.Split(inputs, targets)
    task = scalelab.Task(input_shape=(1, 8), n_outputs=2)
    return scalelab.OpenDataset(task=task, train=split, validation=split, fingerprint="dots")


class StartParams(scalelab.Params):
    weights: scalelab.Location | None = Field(None, description="checkpoint to start from")
    width: int = 4


def build(params, input_shape, n_outputs):
    import torch
    from torch import nn

    body = nn.Linear(8, params.width)
    module = nn.Sequential(nn.Flatten(), body, nn.ReLU(), nn.Linear(params.width, n_outputs))
    if params.weights:
        module.load_state_dict(torch.load(params.weights, weights_only=True))
    return module


class StillParams(scalelab.Params):
    lr: float = 1e-12


@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name="dots", summary="s", open=open_dots, params=DotsParams)]


@scalelab.hookimpl
def scalelab_architectures():
    return [scalelab.Architecture(name="start", summary="s", build=build, params=StartParams, head=None)]


@scalelab.hookimpl
def scalelab_optimizers():
    import torch

    make = lambda params, module: torch.optim.SGD(module.parameters(), lr=params.lr)
    return [scalelab.Optimizer(name="still", summary="s", build=make, params=StillParams)]
"""
STUDY = """
name = "start"
[dataset]
name = "dots"
[data]
sizes = ["all"]
[[architecture]]
name = "start"
options = { width = 4%s }
[[optimizer]]
name = "still"
[training]
length = { steps = 2 }
batch_size = 8
precision = "fp32"
"""


def net(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "start_plugin.py").write_text(PLUGIN)
    torch.manual_seed(7)
    torch.save(net().state_dict(), tmp_path / "w.pt")
    torch.save(net(5).state_dict(), tmp_path / "foreign.pt")
    return tmp_path


@pytest.fixture
def catalog(folder):
    return load_plugins(plugins_dirs=(folder,), select="")


def study(folder: Path, weights: str = ""):
    path = folder / "start.toml"
    path.write_text(STUDY % (f", weights = {weights!r}" if weights else ""))
    return load_study(path)


def test_other_content_is_another_trial_and_another_place_is_not(folder, catalog):
    def trial(weights: str = ""):
        (found,) = expand(study(folder, weights), catalog).trials
        return found

    first, without = trial("w.pt"), trial()
    assert "content" not in without.model_dump()["architecture"]
    assert first.id != without.id
    (folder / "copy.pt").write_bytes((folder / "w.pt").read_bytes())
    assert trial("copy.pt").id == first.id
    torch.save(net().state_dict(), folder / "w.pt")
    assert trial("w.pt").id not in (first.id, without.id)


@pytest.mark.parametrize("workers", [0, 1])
def test_weights_reach_whoever_trains(folder, catalog, workers):
    from scalelab.train.losses import resolve_loss

    store = folder / "x.duckdb"
    asked = study(folder, "w.pt")
    assert run_study(asked, store, catalog=catalog, workers=workers).done == 1
    (run,) = open_store(store).runs().to_dict("records")
    data = catalog.dataset("dots").open(catalog.dataset("dots").params())
    module = net()
    module.load_state_dict(torch.load(folder / "w.pt", weights_only=True))
    with torch.no_grad():
        outputs = module(torch.from_numpy(data.validation.inputs).float())
    expected = resolve_loss("cross-entropy")(outputs, torch.from_numpy(data.validation.targets))
    assert run["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert len(run["architecture_weights"]) == 64
    assert run_study(study(folder), store, catalog=catalog, workers=0).done == 1
    assert len(open_store(store).runs()) == 2


@pytest.mark.parametrize("train", [False, True])
def test_a_missing_or_foreign_file_is_one_line_before_anything_trains(folder, catalog, train):
    def ask(weights: str):
        found = study(folder, weights)
        if train:
            return run_study(found, folder / "y.duckdb", workers=0, catalog=catalog)
        return plan_study(found, catalog=catalog)

    with pytest.raises(StudyError, match=r"architecture\[0\]\.options\.weights = 'no\.pt': there is no file"):
        ask("no.pt")
    with pytest.raises(InputError, match=r"'start' cannot be built .* size mismatch") as refused:
        ask("foreign.pt")
    assert "\n" not in str(refused.value)


def test_a_finished_study_builds_no_network_again(folder, catalog, monkeypatch):
    store = folder / "z.duckdb"
    assert run_study(study(folder, "w.pt"), store, catalog=catalog, workers=0).done == 1
    plan_study(study(folder, "w.pt"), store, catalog=catalog)  # counts FLOPs, which the cache keeps
    monkeypatch.setattr("scalelab.measure.models.network", None)
    monkeypatch.setattr("scalelab.measure.costs.network", None)
    assert run_study(study(folder, "w.pt"), store, catalog=catalog, workers=0).kept == 1
    plan_study(study(folder, "w.pt"), store, catalog=catalog)
