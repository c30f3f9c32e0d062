from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from scalelab import BackendError, InputError, OpenDataset, Split, Task
from scalelab.measure.fidelity import calibration_inputs, compare, model_inputs, outputs_of, reference_outputs

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
    assert compare(np.zeros((3, 1)), np.zeros((3, 1))).relative_error == 0


def test_a_single_output_agrees_where_its_sign_does() -> None:
    assert compare(np.array([[0.1], [-1], [2]]), np.array([[0.2], [1], [3]])).agreement == pytest.approx(
        2 / 3
    )


def test_outputs_that_are_not_finite_are_an_error() -> None:
    outputs = REFERENCE.copy()
    outputs[2, 0] = np.nan
    with pytest.raises(BackendError, match="1 of 4 examples are not finite"):
        compare(outputs, REFERENCE)
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
