"""The toys keep their contracts, can be learned, and come as a plugin file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import scalelab
from scalelab import testing
from scalelab.testing import toys


class TestToyDataset(testing.DatasetContract):
    @pytest.fixture
    def dataset(self):
        return testing.toy_dataset


class TestToyTrainer(testing.TrainerContract):
    @pytest.fixture
    def trainer(self):
        return testing.toy_trainer


class TestBundledTrainer(testing.TrainerContract):
    @pytest.fixture
    def trainer(self):
        return scalelab.bundled_trainer


def open_pairs(params):
    """The toy with two neighbors as the windows of one example."""
    data = toys.open_blobs(params)
    sides = {}
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        windows = np.full(len(split) // 2, 2)
        sides[name] = scalelab.Split(split.inputs, split.targets[::2], windows)
    return replace(data, **sides)


class TestDatasetOfWindows(testing.DatasetContract):
    @pytest.fixture
    def dataset(self):
        return replace(testing.toy_dataset, open=open_pairs)


class TestToyArchitecture(testing.ArchitectureContract):
    @pytest.fixture
    def architecture(self):
        return testing.toy_architecture

    @pytest.fixture
    def larger(self):
        return {"width": 32}


class Solver(torch.nn.Module):
    """The toy, with an operator that nobody knows the FLOPs of."""

    def __init__(self, params, input_shape, n_outputs):
        super().__init__()
        self.inner = toys.build_conv(params, input_shape, n_outputs)
        self.register_buffer("square", torch.eye(n_outputs))

    def forward(self, x):
        outputs = self.inner(x).float()
        return torch.linalg.solve_triangular(self.square, outputs.T, upper=True).T


def solve_flops(params, input_shape, n_outputs):
    return 1e6 * params.width


class TestArchitectureWithItsOwnFlops(testing.ArchitectureContract):
    """One whose count is incomplete and whose formula says more than what is counted."""

    @pytest.fixture
    def architecture(self):
        return replace(testing.toy_architecture, build=Solver, flops=solve_flops, head=None)

    @pytest.fixture
    def larger(self):
        return {"width": 32}


class TestToyOptimizer(testing.OptimizerContract):
    @pytest.fixture
    def optimizer(self):
        return testing.toy_optimizer


class TestToyBackend(testing.BackendContract):
    @pytest.fixture
    def backend(self):
        return testing.toy_backend


def test_toys_can_be_learned():
    data = toys.open_blobs(toys.ToyDatasetParams())
    torch.manual_seed(0)
    model = toys.build_conv(toys.ToyArchitectureParams(), data.task.input_shape, data.task.n_outputs)
    optimizer = toys.build_sgd(toys.ToyOptimizerParams(), model)
    inputs, targets = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.targets)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
    outputs = model(torch.from_numpy(data.validation.inputs)).argmax(1).numpy()
    assert (outputs == data.validation.targets).mean() > 0.9


def test_toy_plugin_file_gives_the_toys(tmp_path):
    from scalelab.plugins import load_plugins

    folder = testing.write_toy_plugin(tmp_path / "plugins")
    catalog = load_plugins(plugins_dirs=[folder], select="toys")
    assert catalog.warnings == ()
    assert catalog.dataset("toy-blobs") is testing.toy_dataset
    assert catalog.names("optimizer") == ("toy-sgd",)


def test_toy_catalog_takes_replacements():
    import dataclasses

    mine = dataclasses.replace(testing.toy_dataset, name="mine")
    catalog = testing.toy_catalog(dataset=mine)
    assert catalog.names("dataset") == ("mine",)
    assert catalog.names("backend") == ("toy-eager",)


def test_every_exported_name_is_there():
    for name in testing.__all__:
        assert getattr(testing, name).__name__ if name.endswith("Contract") else getattr(testing, name)
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="no attribute 'toy_datset'"):
        testing.toy_datset  # noqa: B018
