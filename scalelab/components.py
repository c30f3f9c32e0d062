"""What a plugin describes: one frozen class for each kind of component.

A descriptor holds names, option models and functions; it holds no data and no weights. Importing a plugin
module must be cheap, because every command does it: import torch (and anything else heavy) inside the
functions, not at the top of the module.

Shapes are written without the batch dimension: ``(12, 1000)`` is twelve leads of one thousand samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict

from scalelab.records import Direction
from scalelab.space import Dimension

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Shape = tuple[int, ...]


class NotIdentity:
    """Marks an option that says where or how, not what: it is left out of a trial's identity."""


Location = Annotated[Path, NotIdentity()]
"""A file or folder option. A relative one is taken from the study file's folder (``~`` is the home folder).
It is no part of a trial's identity: the dataset's fingerprint speaks for its content."""


class Params(BaseModel):
    """Base of every component's options: types, bounds, defaults and a line of help each.

    Unknown options, infinities and NaN are refused; an instance never changes. Give each field a
    ``description``: it is what ``scalelab plugins --verbose`` and error messages show.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class NoParams(Params):
    """The options of a component that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number computed from all outputs of a split at once.

    Attributes:
        name: The key under which it is recorded, such as ``"accuracy"``.
        compute: ``compute(outputs, targets) -> float`` on NumPy arrays: outputs are the raw model outputs,
            float32 of shape (n, n_outputs); targets as the split holds them. NaN means "not defined here".
        direction: Whether a lower or a higher value is better.
        bounds: The lowest and the highest value it can take, ``None`` where there is no bound.
    """

    name: str
    compute: Callable[[np.ndarray, np.ndarray], float]
    direction: Direction = "maximize"
    bounds: tuple[float | None, float | None] = (None, None)


LossFunction = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""``loss(outputs, targets)``: raw outputs (batch, n_outputs) and targets to a scalar, the batch mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a model must do on a dataset.

    Attributes:
        input_shape: The shape of one example as the model sees it, (channels, samples) for signals.
        n_outputs: The width of the model's output.
        loss: ``"cross-entropy"`` (targets: class indices), ``"bce"`` (targets: (n, n_outputs) of 0 and 1),
            ``"mse"``, or a function of one's own.
        metrics: What to compute on validation data beside the loss: built-in names (``"accuracy"``,
            ``"balanced-accuracy"``, ``"macro-f1"``, ``"auroc"``, ``"auprc"``) or `Metric` objects.
        objective: The metric that counts, by name; ``"loss"`` is the validation loss (minimised).
        classes: Names of the outputs, in order; may be empty.
    """

    input_shape: Shape
    n_outputs: int
    loss: str | LossFunction = "cross-entropy"
    metrics: tuple[str | Metric, ...] = ()
    objective: str = "loss"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Examples and their targets; a memory map is as good as an array.

    Attributes:
        inputs: (n, …) of any float or integer type; cast to float32 a batch at a time.
        targets: (n,) class indices of an integer type, or (n, n_outputs) for multi-label and regression.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDataset:
    """A dataset that is ready to train on.

    Attributes:
        task: What a model must do here.
        train: Training examples. A subset of n examples is the first n of one seeded permutation of these.
        validation: Examples that choose nothing but the best step of a run; metrics are computed here.
        test: Examples that are not looked at during training, or ``None``.
        fingerprint: A digest of the content (samples, labels, splits), the same on every machine.
        prepare: Turns a float32 batch (batch, …) of ``inputs`` into model input, without randomness: crop,
            scale. ``None`` where ``inputs`` are model input already.
        augment: ``augment(batch, generator)``: used instead of ``prepare`` on training batches. All its
            randomness comes from the ``torch.Generator``, which lives on the batch's device.
    """

    task: Task
    train: Split
    validation: Split
    fingerprint: str
    test: Split | None = None
    prepare: Callable[[torch.Tensor], torch.Tensor] | None = None
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A source of labelled examples.

    Attributes:
        name: What a study file calls it.
        summary: One line for listings.
        open: ``open(params) -> OpenDataset``. Called by every command that needs the data, so what takes
            long is prepared once and kept in a cache (see `scalelab.cache_dir`). It must not import torch.
            It raises `scalelab.DataError` where the folder is missing or its content cannot be used.
        params: The model of its options.
        version: Raised when the same options and files give other examples; part of a trial's identity.
    """

    name: str
    summary: str
    open: Callable[[Any], OpenDataset]
    params: type[Params] = NoParams
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A family of models.

    Attributes:
        name: What a study file calls it.
        summary: One line for listings.
        build: ``build(params, input_shape, n_outputs) -> nn.Module``, freshly initialised from torch's global
            generator; the module maps (batch, *input_shape) to (batch, n_outputs). It raises
            `scalelab.InputError` where the options do not fit the input.
        params: The model of its options.
        space: The default design space: dimensions by option name, used where a study says
            ``space = "default"``.
        constraints: Relations that every sampled point must satisfy, such as ``"w_0 >= w_init"``.
        features: ``features(params, input_shape, n_outputs)``: derived quantities to record with each run
            (number of stages, last width); never used to predict from the design.
        head: The name of the submodule that maps features to outputs, so that parameters can be counted
            without it; ``None`` where there is none.
        version: Raised when the same options give another network; part of a trial's identity.
    """

    name: str
    summary: str
    build: Callable[[Any, Shape, int], nn.Module]
    params: type[Params] = NoParams
    space: Mapping[str, Dimension] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    features: Callable[[Any, Shape, int], Mapping[str, int | float | str]] | None = None
    head: str | None = "head"
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """A rule that updates a model's parameters.

    Attributes:
        name: What a study file calls it.
        summary: One line for listings.
        build: ``build(params, module) -> torch.optim.Optimizer``. The learning rates that its groups start
            with are the peak rates; schedules multiply them by a factor from 0 to 1.
        params: The model of its options.
        space: The default design space, as for an architecture.
        constraints: As for an architecture.
        version: Raised when the same options give another rule; part of a trial's identity.
    """

    name: str
    summary: str
    build: Callable[[Any, nn.Module], torch.optim.Optimizer]
    params: type[Params] = NoParams
    space: Mapping[str, Dimension] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    version: int = 1


@dataclass(frozen=True, slots=True)
class Device:
    """One device that a backend knows of.

    Attributes:
        name: Such as ``"cpu"`` or ``"cuda:0"``.
        detail: What the hardware calls itself, or the reason why it cannot be used and how to get it.
        available: Whether a model can run there now.
    """

    name: str
    detail: str = ""
    available: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A runtime that executes trained models, for timing them.

    Attributes:
        name: What the command line calls it.
        summary: One line for listings.
        devices: Lists the devices it knows of, the unavailable ones with the reason.
        load: ``load(params, module, example, device) -> infer``: converts the module for inputs shaped like
            ``example`` (batch, *input_shape) and returns ``infer(inputs) -> outputs`` on NumPy arrays, which
            comes back only when the outputs are there.
        params: The model of its options, precision among them.
        version: Raised when the same options run differently.
    """

    name: str
    summary: str
    devices: Callable[[], Sequence[Device]]
    load: Callable[[Any, nn.Module, np.ndarray, str], Callable[[np.ndarray], np.ndarray]]
    params: type[Params] = NoParams
    version: int = 1


Component = Dataset | Architecture | Optimizer | Backend


def locations(model: type[BaseModel]) -> frozenset[str]:
    """Returns the names of the options that are a `Location`, optional ones included."""
    return frozenset(
        name
        for name, info in model.model_fields.items()
        if any(map(_is_mark, info.metadata)) or _holds_mark(info.annotation)
    )


def identity_of(params: Params) -> dict[str, Any]:
    """Returns the options that are part of a trial's identity, as JSON values."""
    return params.model_dump(mode="json", exclude=set(locations(type(params))))


def _is_mark(mark: Any) -> bool:
    return isinstance(mark, NotIdentity) or mark is NotIdentity


def _holds_mark(annotation: Any) -> bool:
    """Looks into ``Location | None``, where pydantic leaves the mark inside the annotation."""
    if any(map(_is_mark, getattr(annotation, "__metadata__", ()))):
        return True
    return any(map(_holds_mark, get_args(annotation)))
