from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from scalelab import BackendError, InputError, OpenDataset, Split, Task
from scalelab.measure.fidelity import (
    calibration_inputs,
    check_outputs,
    compare,
    model_inputs,
    outputs_of,
    reference_outputs,
)

REFERENCE = np.array([[1.0, -4.0], [2.0, 3.0], [0.0, 1.0], [5.0, 4.0]], dtype=np.float32)


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    return {"accuracy": float((outputs.argmax(1) == targets).mean())}


def test_errors_are_those_of_the_definition() -> None:
    outputs = REFERENCE + np.array([[0, 0], [0.5, -1.0], [0, 0], [0, 0]], dtype=np.float32)
    found = compare(outputs, REFERENCE, targets=np.array([0, 1, 1, 1]), score=accuracy)
    assert found.n_examples == 4
    assert found.max_error == 1.0
    assert found.relative_error == pytest.approx(1 / 5)
    assert found.rms_error == pytest.approx(np.sqrt(1.25 / 8) / np.sqrt((REFERENCE**2).mean()))
    assert found.agreement == 0.75
    assert found.reference_scores == {"accuracy": 0.75}
    assert found.scores == {"accuracy": 0.5}
    assert found.changes == {"accuracy": -0.25}


def test_equal_outputs_have_no_error() -> None:
    found = compare(REFERENCE, REFERENCE)
    assert (found.max_error, found.relative_error, found.rms_error, found.agreement) == (0, 0, 0, 1)
    assert found.changes == {}


def test_nothing_is_relative_to_outputs_of_zero() -> None:
    zero = np.zeros((3, 1))
    found = compare(zero + 1e-9, zero)
    assert (found.relative_error, found.rms_error, found.fault) == (None, None, None)
    assert found.max_error == pytest.approx(1e-9)
    assert compare(zero + 0.5, zero).fault == "outputs are up to 0.5 where PyTorch's are all 0"


@given(st.floats(0.0, 0.1), st.floats(1e-3, 1e3))
def test_outputs_are_wrong_beyond_a_thousandth_of_the_largest(error: float, scale: float) -> None:
    found = compare(scale * REFERENCE * (1 + error), scale * REFERENCE)
    assert found.relative_error == pytest.approx(error, abs=1e-5)
    if abs(error - 1e-3) > 1e-5:
        assert (found.fault is not None) == (error > 1e-3)


def test_a_fault_says_by_how_much() -> None:
    assert compare(REFERENCE * 1.5, REFERENCE).fault == (
        "outputs are off from PyTorch's by up to 2.5, 0.5 of the largest one; in f32 at most 0.001 is right"
    )


def test_a_single_output_agrees_where_its_sign_does() -> None:
    assert compare(np.array([[0.1], [-1], [2]]), np.array([[0.2], [1], [3]])).agreement == pytest.approx(
        2 / 3
    )


def test_outputs_that_are_not_finite_are_an_error() -> None:
    outputs = REFERENCE.copy()
    outputs[2, 0] = np.nan
    with pytest.raises(BackendError, match="1 of 4 examples are not finite"):
        compare(outputs, REFERENCE)
    with pytest.raises(BackendError, match="PyTorch's own outputs of 1 of 4 examples are not finite"):
        compare(REFERENCE, outputs)
    with pytest.raises(InputError, match="cannot be compared"):
        compare(REFERENCE[:2], REFERENCE)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 32])
def test_every_call_has_the_shape_that_was_loaded_for(batch_size: int) -> None:
    inputs = np.arange(20, dtype=np.float32).reshape(10, 2)
    shapes = set()

    def infer(batch: np.ndarray) -> np.ndarray:
        shapes.add(batch.shape)
        return batch.sum(1, keepdims=True)

    assert np.array_equal(outputs_of(infer, inputs, batch_size), inputs.sum(1, keepdims=True))
    assert shapes == {(batch_size, 2)}


def test_the_reference_is_the_module_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.9)).train().double()
    inputs = np.random.default_rng(0).normal(size=(300, 3))
    expected = inputs @ module[0].weight.detach().numpy().T + module[0].bias.detach().numpy()
    outputs = reference_outputs(module, inputs)
    assert outputs.dtype == np.float32
    assert np.allclose(outputs, expected, atol=1e-5)
    assert module.training
    assert module[0].weight.dtype == torch.float64


class Spectral(nn.Module):
    """Complex weights and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([1 + 2j, 3 - 1j, 0.5j]))
        self.register_buffer("order", torch.tensor([2, 0, 1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, self.order] * self.weights).abs()


def test_complex_weights_stay_complex_in_the_reference() -> None:
    inputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = np.abs(inputs[:, [2, 0, 1]] * np.array([1 + 2j, 3 - 1j, 0.5j]))
    assert np.allclose(reference_outputs(Spectral(), inputs), expected, atol=1e-6)


def test_a_runtime_is_held_to_pytorch_in_its_own_batches() -> None:
    inputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    module, sizes = Spectral(), set()

    def infer(batch: np.ndarray) -> np.ndarray:
        sizes.add(len(batch))
        return module(torch.from_numpy(batch)).detach().numpy()

    check_outputs(infer, module, inputs, 2)
    assert sizes == {2}
    with pytest.raises(
        BackendError, match=r"outputs are off .* of the largest one; in f32 at most 0\.001 is right$"
    ):
        check_outputs(lambda batch: 1.1 * infer(batch), module, inputs, 2)


def test_a_random_network_is_not_blamed_on_the_runtime() -> None:
    class Random(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(x)

    inputs = np.ones((8, 4), dtype=np.float32)
    with pytest.raises(
        BackendError, match="the network is random: PyTorch's own outputs differ from call to call"
    ):
        check_outputs(lambda batch: batch, Random(), inputs, 8)


def test_inputs_are_prepared_as_for_validation() -> None:
    stored = np.arange(12, dtype=np.int16).reshape(4, 3)
    data = OpenDataset(
        task=Task(input_shape=(2,), n_outputs=1),
        train=Split(stored, np.zeros(4)),
        validation=Split(stored, np.zeros(4)),
        fingerprint="x",
        prepare=lambda batch: batch[:, :2] / 10,
    )
    inputs = model_inputs(data, stored, 3)
    assert inputs.dtype == np.float32
    assert np.allclose(inputs, stored[:3, :2] / 10)
    assert len(model_inputs(data, stored)) == 4
    with pytest.raises(InputError, match="no examples"):
        model_inputs(data, stored, 0)


def test_calibration_draws_from_all_of_the_training_examples() -> None:
    stored = np.repeat(np.arange(1000), 2).reshape(1000, 2)
    data = OpenDataset(
        task=Task(input_shape=(2,), n_outputs=1),
        train=Split(stored, np.zeros(1000)),
        validation=Split(stored[:1], np.zeros(1)),
        fingerprint="x",
    )
    drawn = calibration_inputs(data, 100)
    assert len(np.unique(drawn[:, 0])) == 100
    assert 400 < drawn.mean() < 600
    assert np.array_equal(drawn, calibration_inputs(data, 100))
    assert len(calibration_inputs(data, 5000)) == 1000
