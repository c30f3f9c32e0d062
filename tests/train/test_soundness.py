"""Data that cannot be trained on, found before training with their place; arrays in files, read as used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from train_toys import SHAPE, Problem, TinyNet, make_data

from scalelab.arrays import rows_of
from scalelab.components import Split, Task
from scalelab.errors import DataError
from scalelab.train import soundness
from scalelab.train.batches import subset_indices
from scalelab.train.soundness import check_data


class InAFile:
    """An array that understands slices alone and counts what is read of it."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: slice) -> np.ndarray:
        assert isinstance(rows, slice)
        self.read += range(*rows.indices(len(self)))
        return self._array[rows]


def broken(split: Split, value: float, *place: int) -> Split:
    inputs = split.inputs.copy()
    inputs[place] = value
    return replace(split, inputs=inputs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["training", "validation", "test"])
def test_what_is_not_finite_is_found_with_its_place(name: str, value: float) -> None:
    data = make_data()
    field = {"training": "train"}.get(name, name)
    split = broken(data.validation if name == "test" else getattr(data, field), value, 5, 1, 3)
    with pytest.raises(
        DataError, match=rf"{name} inputs are not finite: {value} at \[5, 1, 3\], and in 1 of"
    ):
        check_data(replace(data, **{field: split}))


def test_a_large_array_is_looked_through_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path))
    monkeypatch.setattr(soundness, "LOOKED_AT", 100)
    data = make_data()
    looked: list[int] = []
    real = soundness.refuse_broken
    monkeypatch.setattr(soundness, "refuse_broken", lambda v, r, w: (looked.append(len(v)), real(v, r, w)))
    check_data(data)
    assert sum(looked) == len(data.train) + len(data.validation)
    check_data(data)
    assert sum(looked) == len(data.train) + len(data.validation)
    with pytest.raises(DataError, match=r"at \[97, 0, 0\]"):
        check_data(replace(data, train=broken(data.train, np.nan, 97, 0, 0), fingerprint="another"))


def test_targets_must_be_finite_where_the_loss_is_built_in() -> None:
    targets = np.zeros((100, 2), np.float32)
    targets[3, 1] = np.nan
    task = Task(input_shape=SHAPE, n_outputs=2, loss="mse")
    data = make_data(task=task)
    data = replace(
        data, train=Split(data.train.inputs, targets), validation=Split(data.train.inputs, targets)
    )
    with pytest.raises(DataError, match=r"training targets are not finite: nan at \[3, 1\]"):
        check_data(data)

    def leaving_out(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).square().nanmean()

    check_data(replace(data, task=replace(task, loss=leaving_out)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (list(np.zeros((100, *SHAPE))), r"are a list of 100; give one array of them \(numpy.stack\)"),
        (np.float32(3), "are a numpy float32; give an array"),
        (torch.zeros(100, *SHAPE), "are a torch Tensor; give an array"),
        (torch.utils.data.TensorDataset(torch.zeros(100, 2)), "are a torch TensorDataset; give an array"),
        ((np.zeros((100, 2, 16)), np.zeros((100, 3))), "stand in it as channels"),
        ({"ecg": np.zeros((100, 2, 16))}, "are a dict of 1; a split has one array"),
        (np.zeros((100, *SHAPE), complex), "complex128; they must be real"),
        (np.zeros((100, *SHAPE), object), "object; they must be real"),
        (np.zeros((99, *SHAPE), np.float32), "99 inputs but 100 targets"),
    ],
)
def test_what_is_no_array_is_refused(inputs: Any, message: str) -> None:
    data = make_data()
    with pytest.raises(DataError, match=message):
        check_data(replace(data, train=Split(inputs, data.train.targets)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": Task(input_shape=SHAPE, n_outputs=(3, 16))},
            r"n_outputs is \(3, 16\); give one whole number",
        ),
        ({"task": Task(input_shape=SHAPE, n_outputs="3")}, "n_outputs is '3'; give one whole number"),
        ({"task": Task(input_shape=((2, 16), (4,)), n_outputs=3)}, "Several inputs, or a mask"),
        ({"fingerprint": 7}, "fingerprint is 7; give a digest"),
        ({"train": None}, "the training split is a NoneType"),
    ],
)
def test_what_is_no_task_is_refused_with_the_way_that_works(changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_data(replace(make_data(), **changes))


def test_one_hot_targets_are_told_from_others() -> None:
    data = make_data()
    with pytest.raises(DataError, match=r"one-hot targets that is targets\.argmax\(1\)"):
        check_data(replace(data, train=Split(data.train.inputs, np.eye(3)[data.train.targets])))


def test_targets_that_cannot_be_read_are_told() -> None:
    class Torn(InAFile):
        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            raise OSError("the file ends early")

    data = make_data()
    with pytest.raises(DataError, match="training targets cannot be read: OSError: the file ends early"):
        check_data(replace(data, train=Split(data.train.inputs, Torn(data.train.targets))))  # type: ignore[arg-type]


def test_a_mark_that_is_of_other_data_does_not_hide_a_nan(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path))
    monkeypatch.setattr(soundness, "LOOKED_AT", 100)
    check_data(problem.data)
    row = int(subset_indices(100, problem.trial.n_examples, problem.trial.data_seed)[0])
    spoiled = problem.with_data(train=broken(problem.data.train, np.nan, row, 0, 0))
    with pytest.raises(DataError, match="training inputs"):
        spoiled.train(TinyNet())


def test_without_a_cache_arrays_are_looked_through_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALELAB_CACHE", "/proc/none")
    monkeypatch.setattr(soundness, "LOOKED_AT", 100)
    check_data(make_data())
    with pytest.raises(DataError, match=r"at \[5, 1, 3\]"):
        check_data(replace(make_data(), train=broken(make_data().train, np.nan, 5, 1, 3)))


def test_a_split_that_is_none_is_refused() -> None:
    dataset: Any = torch.utils.data.TensorDataset(torch.zeros(100, 2))
    with pytest.raises(DataError, match=r"the training split is a TensorDataset; give a scalelab\.Split"):
        check_data(replace(make_data(), train=dataset))


def test_answers_for_every_time_step_are_refused_with_the_remedy() -> None:
    data = make_data()
    targets = np.zeros((100, 16), int)
    with pytest.raises(DataError, match="answers for every time step need a loss of one's own"):
        check_data(replace(data, train=Split(data.train.inputs, targets)))


def test_a_prepare_that_divides_by_zero_is_a_fault_of_the_data(problem: Problem) -> None:
    def normalize(batch: torch.Tensor) -> torch.Tensor:
        return batch / batch.abs().amax(dim=(1, 2), keepdim=True)

    flat = problem.data.train.inputs.copy()
    flat[17] = 0
    broken_data = problem.with_data(
        train=Split(flat, problem.data.train.targets), prepare=normalize, augment=None
    ).with_training(length={"epochs": 3}, validations=1)
    with pytest.raises(DataError, match=r"(prepare\(\) makes training inputs that|the first batch) are not"):
        broken_data.train(TinyNet())
    validation = problem.data.validation.inputs.copy()
    validation[3] = 0
    other = problem.with_data(
        validation=Split(validation, problem.data.validation.targets), prepare=normalize, augment=None
    )
    with pytest.raises(
        DataError, match=r"prepare\(\) makes validation inputs that are not finite: nan at \[3"
    ):
        other.train(TinyNet())


def test_an_augmentation_that_breaks_inputs_is_told_at_the_first_batch(problem: Problem) -> None:
    with pytest.raises(DataError, match="inputs of the first batch are not finite"):
        problem.with_data(augment=lambda batch, _generator: batch / 0).train(TinyNet())


def test_a_run_that_diverges_by_itself_still_does(problem: Problem) -> None:
    result = problem.with_data(prepare=lambda batch: batch, augment=None).with_training(
        clip_norm=None, warmup=0
    )
    exploding = replace(result, optimizer=lambda module: torch.optim.SGD(module.parameters(), lr=1e30))
    assert exploding.train(TinyNet()).status == "diverged"


def test_an_array_in_a_file_trains_alike_and_is_read_as_it_is_used(problem: Problem) -> None:
    few = problem.with_trial(n_examples=20).with_training(length={"epochs": 2})
    inputs = InAFile(few.data.train.inputs)
    lazy = few.with_data(train=Split(inputs, few.data.train.targets))  # type: ignore[arg-type]
    module, other = TinyNet(), TinyNet()
    other.load_state_dict(module.state_dict())
    one, two = few.train(module), lazy.train(other)
    assert [point.loss for point in one.curve] == [point.loss for point in two.curve]
    assert len(set(inputs.read)) <= 21  # the subset, and the first row for its size


def test_an_array_in_a_file_is_looked_at_as_it_is_read(problem: Problem) -> None:
    inputs = problem.data.train.inputs.copy()
    inputs[5, 0, 2] = np.inf
    lazy = problem.with_data(train=Split(InAFile(inputs), problem.data.train.targets))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"inputs are not finite: inf at \[5, 0, 2\]"):
        lazy.train(TinyNet())


def test_rows_come_in_any_order() -> None:
    array = np.arange(40).reshape(10, 4)
    for rows in ([3, 1, 1, 9], [], [0], list(range(10))):
        assert (rows_of(InAFile(array), np.array(rows, int)) == array[rows]).all()
        assert (rows_of(array, np.array(rows, int)) == array[rows]).all()
