"""What a dataset opened to: whether it is what the rest of the program takes it for."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, SupportsIndex

from scalelab.components import Metric, OpenDataset, Split, Task
from scalelab.errors import DataError, brief
from scalelab.jsonable import is_sayable
from scalelab.params import Params
from scalelab.records import ComponentRef, canonical_json


@dataclass(frozen=True, eq=False)
class Opened:
    """A dataset of a study, open.

    Attributes:
        ref: How trials name it.
        params: The options that opened it, locations absolute.
        data: The dataset.
        sizes: Training examples of the trials on it.
        numbers: Its options by name, which rules may follow.
    """

    ref: ComponentRef
    params: Params
    data: OpenDataset
    sizes: tuple[int, ...]
    numbers: dict[str, Any]


def dataset_key(dataset: ComponentRef) -> str:
    """Returns what a dataset's options are known by."""
    return canonical_json(dataset.model_dump(mode="json"))


def verify_opened(data: OpenDataset) -> None:
    """Refuses what is no task, no split of two arrays, or no fingerprint.

    Raises:
        DataError: The first thing that is wrong, and what to give instead.
    """
    _verify_task(data.task)
    if not isinstance(data.fingerprint, str) or not data.fingerprint or not is_sayable(data.fingerprint):
        raise DataError(f"fingerprint is {brief(data.fingerprint)}; give a digest of the content, a text")
    for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test)):
        if split is not None or name != "test":  # a dataset need not have a test split
            _verify_split(split, name)
            _verify_windows(split, name)
    if data.train_windows not in ("all", "random"):
        raise DataError(f"train_windows is {brief(data.train_windows)}; give 'all' or 'random'")


def _verify_task(task: Any) -> None:
    if not isinstance(task, Task):
        raise DataError(f"task is a {type(task).__name__}; give a scalelab.Task")
    if not _is_count(task.n_outputs):
        raise DataError(
            f"task.n_outputs is {brief(task.n_outputs)}; give one whole number. Answers for every time step, "
            "(classes, time), are flattened by the network: n_outputs = classes * time, and an own loss"
        )
    shape: Any = task.input_shape
    if not isinstance(shape, (tuple, list)) or not shape or not all(map(_is_count, shape)):
        raise DataError(
            f"task.input_shape is {brief(shape)}; give that of one example, such as (channels, samples). "
            "Several inputs, or a mask, stand in one array as channels, and the network takes them apart"
        )

    _verify_scores(task)


def _verify_scores(task: Task) -> None:
    if not isinstance(task.loss, str) and not callable(task.loss):
        raise DataError(f"task.loss is {brief(task.loss)}; give a name, or a function of outputs and targets")
    if not isinstance(task.objective, str):
        raise DataError(f"task.objective is {brief(task.objective)}; give the name of a metric, or 'loss'")
    names: tuple[tuple[str, Any, Any], ...] = (
        ("metrics", task.metrics, (str, Metric)),
        ("classes", task.classes, str),
    )
    for what, given, kind in names:
        if not isinstance(given, (tuple, list)) or not all(isinstance(one, kind) for one in given):
            raise DataError(f"task.{what} are {brief(given)}; give a tuple of names or none")
    for metric in task.metrics:
        if isinstance(metric, Metric):
            _verify_metric(metric)


def _verify_metric(metric: Any) -> None:
    if not isinstance(metric.name, str) or not metric.name:
        raise DataError(f"the name of a metric is {brief(metric.name)}; give it a text")
    if not callable(metric.compute):
        raise DataError(f"compute of metric {metric.name!r} is {brief(metric.compute)}; give a function")
    if metric.direction not in ("minimize", "maximize"):
        direction = brief(metric.direction)
        raise DataError(f"direction of metric {metric.name!r} is {direction}; give 'minimize' or 'maximize'")
    bounds = metric.bounds
    if (
        not isinstance(bounds, (tuple, list))
        or len(bounds) != 2
        or not all(bound is None or isinstance(bound, (int, float)) for bound in bounds)
    ):
        raise DataError(
            f"bounds of metric {metric.name!r} are {brief(bounds)}; give the lowest and the highest "
            "value, None where there is none"
        )


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, SupportsIndex) and operator.index(value) >= 1


def _verify_split(split: Any, name: str) -> None:
    import numpy as np

    if not isinstance(split, Split):
        raise DataError(f"the {name} split is a {type(split).__name__}; give a scalelab.Split of two arrays")
    both: tuple[tuple[str, Any], ...] = (("inputs", split.inputs), ("targets", split.targets))
    for what, array in both:
        if isinstance(array, list):
            raise DataError(f"{name} {what} are a list of {len(array)}; give one array of them (numpy.stack)")
        if isinstance(array, (tuple, dict)):
            raise DataError(
                f"{name} {what} are a {type(array).__name__} of {len(array)}; a split has one array of them: "
                "several inputs, or a mask of a variable length, stand in it as channels, and the network "
                "takes them apart"
            )
        kind, shape = getattr(array, "dtype", None), getattr(array, "shape", None)
        if (
            not hasattr(array, "__getitem__")
            or not isinstance(kind, np.dtype)
            or not isinstance(shape, tuple)
            or not shape
        ):
            raise DataError(
                f"{name} {what} are a {type(array).__module__.split('.')[0]} {type(array).__name__}; give an "
                "array of shape (n, …): a NumPy array, a memory map, or what has a shape, a NumPy type "
                "and slices, such as an HDF5 dataset"
            )
        if kind.kind not in "biuf":
            raise DataError(f"{name} {what} are of type {kind}; they must be real numbers")


def _verify_windows(split: Any, name: str) -> None:
    import numpy as np

    windows = split.windows
    if windows is None:
        return
    if not isinstance(windows, np.ndarray) or windows.ndim != 1 or windows.dtype.kind not in "iu":
        raise DataError(
            f"{name} windows are {brief(windows)}; give an array of whole numbers, shape (n,): how many rows "
            "of inputs each example has"
        )
    n, rows, all_rows = len(windows), int(windows.sum()), int(split.inputs.shape[0])
    if n and windows.min() < 1:
        raise DataError(
            f"{name} windows have {windows.min()} at [{windows.argmin()}]: each example has 1 or more"
        )
    if rows != all_rows or n != split.targets.shape[0]:
        raise DataError(
            f"{name} windows are of {n} examples and add up to {rows}; there are {split.targets.shape[0]} "
            f"targets, one per example, and {all_rows} rows of inputs"
        )
