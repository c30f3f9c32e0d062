"""The trainers of examples/trainers keep their contract, with the real Lightning and transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tracked_tools import library

import scalelab
from scalelab.testing import TrainerContract, write_toy_plugin

EXAMPLES = Path(__file__).parents[2] / "examples/trainers"


def trainer_of(file):
    spec = importlib.util.spec_from_file_location(file, EXAMPLES / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.scalelab_trainers()[0]


class TestLightning(TrainerContract):
    @pytest.fixture
    def trainer(self):
        library("lightning")
        return trainer_of("lightning_trainer")


class TestHuggingFace(TrainerContract):
    @pytest.fixture
    def trainer(self):
        library("transformers")
        library("accelerate")
        return trainer_of("hugging_face_trainer")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("module", "name"), [("lightning", "lightning"), ("transformers", "hugging-face")])
def test_a_study_is_trained_by_it(module, name, precision, tmp_path):
    """Real workers, beside scalelab's own loop, whose losses are not far."""
    library(module)
    folder = write_toy_plugin(tmp_path / "plugins")
    for path in EXAMPLES.glob("*.py"):
        (folder / path.name).write_text(path.read_text())
    study = """
name = "{0}"
[dataset]
name = "toy-blobs"
[[architecture]]
name = "toy-conv"
[[optimizer]]
name = "adamw"
options = {{ lr = 1e-2 }}
[training]
length = {{ steps = 60 }}
batch_size = 32
precision = "{2}"
{1}
"""
    catalog = scalelab.load_plugins(plugins_dirs=[folder])
    losses = {}
    for own, table in (("own", ""), (name, f'[trainer]\nname = "{name}"')):
        path = tmp_path / f"{own}.toml"
        path.write_text(study.format(own, table, precision))
        store = tmp_path / f"{own}.duckdb"
        summary = scalelab.run_study(path, store, catalog=catalog, workers=1)
        assert (summary.done, summary.failed) == (1, {})
        runs = scalelab.open_store(store).runs()
        losses[own] = runs["loss"].item()
    assert runs["trainer_name"].item() == name
    assert module in runs["libraries"].item()
    assert abs(losses[name] - losses["own"]) < 0.2
