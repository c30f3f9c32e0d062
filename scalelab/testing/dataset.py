"""The contract of a dataset."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import pytest

from scalelab.components import Dataset, OpenDataset, Split
from scalelab.errors import DataError
from scalelab.params import Params
from scalelab.testing.common import ComponentContract, attempt, refuses, untouched

if TYPE_CHECKING:
    import numpy as np
    import torch


class DatasetContract(ComponentContract):
    """Checks of a dataset. Give it as the fixture `dataset`; `options` where the defaults need data.

    Attributes:
        batch: Examples that `prepare` and `augment` are tried on.
        max_leak: Greatest share of validation or test examples that may also be training examples.
    """

    batch = 16
    max_leak = 0.01

    @pytest.fixture
    def dataset(self) -> Dataset:
        """The dataset under test; fixture to override."""
        raise NotImplementedError("define a fixture 'dataset' that returns the scalelab.Dataset to check")

    @pytest.fixture
    def component(self, dataset: Dataset) -> Dataset:
        """The dataset, under the name that every contract uses."""
        return dataset

    @pytest.fixture
    def opened(self, dataset: Dataset, params: Params) -> OpenDataset:
        """The dataset, opened."""
        opened = dataset.open(params)
        assert isinstance(opened, OpenDataset), (
            f"open() returned {type(opened).__name__}; return a scalelab.OpenDataset"
        )
        return opened

    def test_open_imports_no_torch(self, dataset: Dataset, params: Params) -> None:
        """Planning a study opens its dataset and must not wait for torch."""
        with _without_torch():
            try:
                dataset.open(params)
            except ImportError as error:
                if "torch" not in str(error):
                    raise
                pytest.fail(
                    "open() imports torch: import it inside prepare and augment, and use NumPy in open()"
                )

    def test_open_leaves_global_state_alone(self, dataset: Dataset, params: Params) -> None:
        """Opening draws from no global generator and changes no setting."""
        with untouched("open()"):
            dataset.open(params)

    def test_task_is_sound(self, opened: OpenDataset) -> None:
        """The task can be trained and judged."""
        from scalelab.train.losses import resolve_loss
        from scalelab.train.metrics import objective_of, resolve_metrics

        task = opened.task
        assert task.input_shape, "task.input_shape is empty: give (channels, samples)"
        assert all(isinstance(n, int) and n >= 1 for n in task.input_shape), (
            f"task.input_shape is {task.input_shape}: give whole numbers of 1 or more, without the batch"
        )
        assert task.n_outputs >= 1, f"task.n_outputs is {task.n_outputs}: it must be 1 or more"
        assert len(task.classes) in (0, task.n_outputs), (
            f"task.classes has {len(task.classes)} names for {task.n_outputs} outputs: give one each, or none"
        )
        attempt(lambda: resolve_loss(task.loss), "fix the task")
        attempt(lambda: resolve_metrics(task), "fix the task")
        attempt(lambda: objective_of(task), "fix the task")

    def test_splits_are_sound(self, opened: OpenDataset) -> None:
        """Inputs and targets are as long as each other, of the right type, and not empty."""
        import numpy as np

        from scalelab.train.losses import check_targets

        for name, split in _splits(opened):
            assert len(split) > 0, f"the {name} split is empty"
            assert len(split) == len(split.targets), (
                f"{name}: {len(split)} examples but {len(split.targets)} targets"
            )
            if split.windows is not None:
                assert min(split.windows) >= 1, f"{name}: an example has no window; leave it out"
                assert sum(split.windows) == len(split.inputs), (
                    f"{name}: windows add up to {sum(split.windows)} of {len(split.inputs)} rows of inputs"
                )
            assert np.issubdtype(split.inputs.dtype, np.floating) or np.issubdtype(
                split.inputs.dtype, np.integer
            ), f"{name} inputs are {split.inputs.dtype}: store them as a float or integer type"
            check_targets(np.asarray(split.targets), opened.task, name)

    def test_same_options_give_the_same_content(self, dataset: Dataset, params: Params) -> None:
        """Opening twice gives the same examples and the same fingerprint."""
        import numpy as np

        first, second = dataset.open(params), dataset.open(params)
        assert isinstance(first.fingerprint, str), "fingerprint must be a string, a digest of the content"
        assert first.fingerprint, "fingerprint is empty: make it a digest of samples, labels and splits"
        assert first.fingerprint == second.fingerprint, (
            "opening twice gave two fingerprints: leave time, paths and memory addresses out of the digest"
        )
        for (name, one), (_, other) in zip(_splits(first), _splits(second), strict=True):
            same = all(
                np.array_equal(getattr(one, field), getattr(other, field))
                for field in ("inputs", "targets", "windows")
            )
            assert same, f"opening twice gave two {name} splits: seed the generator, sort the file names"

    def test_model_input_has_the_shape_of_the_task(self, opened: OpenDataset) -> None:
        """What the model is fed is float32, finite and of shape (batch, *input_shape)."""
        for name, split in _splits(opened):
            batch = _batch(split, self.batch)
            where = f"{name} inputs" if opened.prepare is None else f"prepare() on {name} inputs"
            _check_batch(
                opened, batch if opened.prepare is None else opened.prepare(batch), len(batch), where
            )

    def test_prepare_is_not_random(self, opened: OpenDataset) -> None:
        """Validation data are the same every time."""
        import torch

        if opened.prepare is None:
            return
        batch = _batch(opened.validation, self.batch)
        with untouched("prepare()"):
            first, second = opened.prepare(batch.clone()), opened.prepare(batch.clone())
        assert torch.equal(first, second), "prepare() is random: move randomness to augment()"

    def test_augment_draws_from_its_generator_alone(self, opened: OpenDataset) -> None:
        """The same generator state gives the same batch, whatever else was drawn before."""
        import torch

        if opened.augment is None:
            return
        batch = _batch(opened.train, self.batch)
        with untouched("augment()"):
            first, second = (
                opened.augment(batch.clone(), torch.Generator().manual_seed(seed)) for seed in (7, 7)
            )
        assert torch.equal(first, second), (
            "augment() gives two batches for one seed: draw everything with generator=generator"
        )
        _check_batch(opened, first, len(batch), "augment()")

    def test_loss_and_metrics_are_numbers(self, opened: OpenDataset) -> None:
        """The loss is a scalar with a gradient; each metric lies within its bounds."""
        import numpy as np
        import torch

        from scalelab.train.losses import resolve_loss
        from scalelab.train.metrics import resolve_metrics

        n = min(len(opened.validation), 256)
        targets = np.asarray(opened.validation.targets[:n])
        outputs = torch.randn(
            n, opened.task.n_outputs, generator=torch.Generator().manual_seed(0), requires_grad=True
        )
        tensor = torch.from_numpy(targets.astype(np.int64 if targets.ndim == 1 else np.float32))
        loss = resolve_loss(opened.task.loss)(outputs, tensor)
        assert loss.shape == (), f"the loss has shape {tuple(loss.shape)}: return the mean over the batch"
        assert torch.isfinite(loss), f"the loss of random outputs is {loss.item()}"
        loss.backward()  # type: ignore[no-untyped-call]
        assert outputs.grad is not None, "the loss does not depend on the outputs"
        assert outputs.grad.any(), "the gradient of the loss is zero everywhere"
        for metric in resolve_metrics(opened.task):
            value = float(metric.compute(outputs.detach().numpy(), targets))
            low, high = metric.bounds
            inside = (low is None or value >= low) and (high is None or value <= high)
            assert value != value or inside, f"metric {metric.name!r} is {value}, outside {metric.bounds}"

    def test_splits_do_not_leak(self, opened: OpenDataset) -> None:
        """Validation and test examples are not training examples."""
        seen = _digests(opened.train)
        for name, split in _splits(opened)[1:]:
            digests = _digests(split)
            share = sum(digest in seen for digest in digests) / len(digests)
            assert share <= self.max_leak, (
                f"{share:.1%} of the {name} examples are training examples too: split before windowing, and "
                "drop duplicates"
            )

    def test_bad_content_is_a_clear_error(self, dataset: Dataset, params: Params, tmp_path: Any) -> None:
        """A folder that is not there ends in a DataError with one line, not in a traceback."""
        from pathlib import Path

        for name in type(params).model_fields:
            if isinstance(getattr(params, name), Path):
                elsewhere = params.model_copy(update={name: tmp_path / "not-there"})
                refused = refuses(
                    functools.partial(dataset.open, elsewhere),
                    DataError,
                    f"open() with a missing {name} must raise scalelab.DataError that says how to get it",
                    mention="not-there",
                )
                assert refused, f"open() accepted a {name} that does not exist; raise scalelab.DataError"


def _splits(opened: OpenDataset) -> list[tuple[str, Split]]:
    splits = [("train", opened.train), ("validation", opened.validation)]
    return splits if opened.test is None else [*splits, ("test", opened.test)]


def _batch(split: Split, n: int) -> torch.Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(split.inputs[:n], dtype=np.float32))


def _check_batch(opened: OpenDataset, batch: torch.Tensor, n: int, where: str) -> None:
    import torch

    expected = (n, *opened.task.input_shape)
    assert tuple(batch.shape) == expected, (
        f"{where} have shape {tuple(batch.shape)}, expected {expected}: fix task.input_shape or prepare()"
    )
    assert batch.dtype == torch.float32, f"{where} are {batch.dtype}: return float32"
    assert torch.isfinite(batch).all(), f"{where} hold NaN or infinity: fill or drop them when preparing"


def _digests(split: Split) -> list[bytes]:
    import hashlib

    import numpy as np

    rows: np.ndarray = split.inputs
    return [hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest() for row in rows]


@contextmanager
def _without_torch() -> Iterator[None]:
    """Hides torch, loaded or not, and refuses to import it; what else is imported meanwhile stays.

    Modules written in C cannot be imported twice, and SciPy takes a `None` in `sys.modules` for torch.
    """
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torch"}
    for name in hidden:
        del sys.modules[name]
    sys.meta_path.insert(0, _REFUSES_TORCH)
    try:
        yield
    finally:
        sys.meta_path.remove(_REFUSES_TORCH)
        sys.modules.update(hidden)


class _RefusesTorch(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        if fullname.split(".")[0] == "torch":
            raise ImportError("torch is not to be imported here")


_REFUSES_TORCH = _RefusesTorch()
