from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalelab.components import Split
from scalelab.errors import DataError, InputError
from scalelab.train.batches import BatchOrder, Examples, subset_indices

CPU = torch.device("cpu")


def test_subsets_are_nested() -> None:
    large, small = subset_indices(100, 60, 7), subset_indices(100, 20, 7)
    assert (large[:20] == small).all()
    assert (large == np.random.default_rng(7).permutation(100)[:60]).all()
    assert set(subset_indices(100, 100, 7)) == set(range(100))


def test_a_subset_larger_than_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="101 training examples; the dataset has 100"):
        subset_indices(100, 101, 0)


@given(n=st.integers(1, 40), batch=st.integers(1, 100), seed=st.integers(0, 2**63 - 1))
def test_the_stream_holds_every_example_once_an_epoch(n: int, batch: int, seed: int) -> None:
    order = BatchOrder(n, batch, seed)
    epochs = 3
    steps = -(-epochs * n // batch)
    stream = np.concatenate([order.positions(step) for step in range(1, steps + 1)])
    assert len(stream) == steps * batch
    for epoch in range(epochs):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_any_step_can_be_asked_for_first() -> None:
    straight = BatchOrder(50, 16, 3)
    batches = [straight.positions(step) for step in range(1, 30)]
    for step in (29, 1, 17):
        assert (BatchOrder(50, 16, 3).positions(step) == batches[step - 1]).all()


def test_epochs_and_seeds_differ() -> None:
    order = BatchOrder(50, 50, 3)
    assert (order.positions(1) != order.positions(2)).any()
    assert (order.positions(1) != BatchOrder(50, 50, 4).positions(1)).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", ">i2", "uint16", "bool"])
def test_inputs_of_any_type_arrive_as_float32(dtype: str) -> None:
    inputs = np.arange(24).reshape(4, 2, 3).astype(dtype)
    examples = Examples(Split(inputs, np.arange(4)), np.array([3, 1]), CPU)
    batch, targets = examples.batch(np.array([1, 0, 1]))
    assert batch.dtype == torch.float32
    assert (batch.numpy() == inputs[[1, 3, 1]].astype(np.float32)).all()
    assert targets.tolist() == [1, 3, 1]
    assert targets.dtype == torch.int64
    assert len(examples) == 2


def test_a_read_only_memory_map_is_read_in_place(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(20, dtype=np.float16).reshape(10, 2))
    inputs = np.load(tmp_path / "x.npy", mmap_mode="r")
    examples = Examples(Split(inputs, np.zeros((10, 1))), None, CPU)
    batch, targets = examples.batch(np.array([9, 0]))
    batch += 1  # a batch belongs to who asked for it
    assert batch.tolist() == [[19, 20], [1, 2]]
    assert targets.dtype == torch.float32


def test_a_subset_kept_on_the_device_gives_the_same_batches() -> None:
    inputs = np.arange(24, dtype=np.float16).reshape(4, 2, 3)
    split, rows, positions = Split(inputs, np.arange(4)), np.array([3, 1]), np.array([1, 0, 1])
    meta = torch.device("meta")  # stands in for an accelerator: it takes tensors and keeps their shapes
    for limit, resident in ((2 * 12, True), (2 * 12 - 1, False)):
        examples = Examples(split, rows, meta, resident_bytes=limit)
        assert (examples._resident is not None) == resident
        batch, targets = examples.batch(positions)
        assert batch.shape == (3, 2, 3)
        assert batch.dtype == torch.float32
        assert targets.shape == (3,)


def test_what_is_no_number_or_no_pair_is_refused() -> None:
    with pytest.raises(DataError, match="4 inputs but 3 targets"):
        Examples(Split(np.zeros((4, 2)), np.zeros(3)), None, CPU)
    with pytest.raises(DataError, match="must be numbers"):
        Examples(Split(np.zeros((2, 2)), np.array(["a", "b"])), None, CPU)
