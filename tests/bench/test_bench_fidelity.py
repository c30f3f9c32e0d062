"""Metrics on a target are of examples, whose windows' outputs are averaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scalelab import Split
from scalelab.bench.fidelity import compared
from scalelab.measure.fidelity import calibration_inputs
from scalelab.testing import toys


def test_scores_are_of_examples():
    data = toys.open_blobs(toys.ToyDatasetParams(n_validation=64))
    counts = np.array([1, 3] * 16)
    targets = data.validation.targets[np.cumsum(counts) - 1]
    data = replace(data, validation=Split(data.validation.inputs, targets, counts))
    torch.manual_seed(0)
    module = toys.build_conv(toys.ToyArchitectureParams(), data.task.input_shape, 2).eval()

    def infer(inputs):
        with torch.no_grad():
            return module(torch.from_numpy(inputs)).numpy()

    batch = data.validation.inputs[:8]
    found = compared(data, module, infer, batch, 1.0, precision="f32", trained=True)
    ends = np.cumsum(counts)
    outputs = infer(data.validation.inputs)
    means = np.stack([outputs[end - n : end].mean(axis=0) for end, n in zip(ends, counts, strict=True)])
    assert found["status"] == "ok"
    assert found["n_compared"] == 32
    assert found["scores_here"]["accuracy"] == pytest.approx((means.argmax(1) == targets).mean())
    assert found["relative_error"] < 1e-5


def test_calibration_takes_one_window_of_an_example():
    data = toys.open_blobs(toys.ToyDatasetParams(n_train=60))
    train = Split(data.train.inputs, data.train.targets[::3], np.full(20, 3))
    found = calibration_inputs(replace(data, train=train), 50)
    np.testing.assert_array_equal(found, data.train.inputs[::3])
