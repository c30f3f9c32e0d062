"""What a plugin describes: one frozen class for each kind of component.

A descriptor holds names, option models and functions; it holds no data and no weights. Importing a plugin
module must be cheap, because every command does it: import torch (and anything else heavy) inside the
functions, not at the top of the module.

Shapes are written without the batch dimension: `(12, 1000)` is twelve leads of one thousand samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from scalelab.errors import InputError, brief, in_words
from scalelab.params import NoParams, Params
from scalelab.records import Direction
from scalelab.space import Dimension

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Shape = tuple[int, ...]
MOST_GRADIENTS = 1_000_000
"""Gradients that a step of an optimizer may evaluate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number computed from all outputs of a split at once.

    Attributes:
        name: The key under which it is recorded, such as `"accuracy"`.
        compute: `compute(outputs, targets) -> float` on NumPy arrays: outputs are the raw model outputs,
            float32 of shape (n, n_outputs); targets as the split holds them. NaN means "not defined here".
        direction: Whether a lower or a higher value is better.
        bounds: The lowest and the highest value it can take, `None` where there is no bound.
    """

    name: str
    compute: Callable[[np.ndarray, np.ndarray], float]
    direction: Direction = "maximize"
    bounds: tuple[float | None, float | None] = (None, None)


LossFunction = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""`loss(outputs, targets)`: raw outputs (batch, n_outputs) and targets to a scalar, the batch mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a model must do on a dataset.

    Attributes:
        input_shape: The shape of one example as the model sees it, (channels, samples) for signals.
        n_outputs: The width of the model's output.
        loss: `"cross-entropy"` (targets: class indices), `"bce"` (targets: (n, n_outputs) of 0 and 1),
            `"mse"`, or a function of one's own.
        metrics: What to compute on validation data beside the loss: built-in names (`"accuracy"`,
            `"balanced-accuracy"`, `"macro-f1"`, `"auroc"`, `"auprc"`, `"ece"`) or `Metric` objects.
        objective: The metric that counts, by name; `"loss"` is the validation loss (minimized).
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
    """Examples and their targets; a memory map is as good as an array, and so are inputs that lie in a file.

    Attributes:
        inputs: (n, …) of any float or integer type; cast to float32 a batch at a time. What has a `shape`, a
            NumPy `dtype` and slices will do, such as an HDF5 dataset or a Zarr array: it is read as it is
            used.
        targets: (n,) class indices of an integer type, or (n, n_outputs) for multi-label and regression.
        windows: Where an example has several rows of `inputs`, such as the windows of a long recording: how
            many each has, (n,) of integers of 1 or more that add up to the rows. Those of an example are
            adjacent, examples are in the order of `targets`, and `len` counts examples. `None`: one row each.
    """

    inputs: np.ndarray
    targets: np.ndarray
    windows: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.inputs.shape[0]) if self.windows is None else len(self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDataset:
    """A dataset that is ready to train on.

    Attributes:
        task: What a model must do here.
        train: Training examples. A subset of n examples is the first n of one seeded permutation of these.
        validation: Examples that choose nothing but the best step of a run; metrics are computed here.
        test: Examples that are not looked at during training, or `None`.
        fingerprint: A digest of the content (samples, labels, splits), the same on every machine.
        prepare: Turns a float32 batch (batch, …) of `inputs` into model input, without randomness: crop,
            scale. `None` where `inputs` are model input already.
        augment: `augment(batch, generator)`: used instead of `prepare` on training batches. All its
            randomness comes from the `torch.Generator`, which lives on the batch's device.
        train_windows: What an epoch draws of a training example that has several windows: one of them at
            random, or all. Losses and metrics are always of examples: a model's raw outputs for the windows
            of one are averaged first.
    """

    task: Task
    train: Split
    validation: Split
    fingerprint: str
    test: Split | None = None
    prepare: Callable[[torch.Tensor], torch.Tensor] | None = None
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None
    train_windows: Literal["all", "random"] = "random"


Progress = Callable[[int, int, str], None]
"""`progress(done, total, what)`: called now and then by what takes long; `total` is 0 where unknown."""

Cell = str | int | float | None
Row = Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCommand:
    """What `scalelab data download`, `inspect` or `synthesize` does for one dataset.

    Attributes:
        run: The function; see `Dataset` for what it takes and returns.
        params: The model of its options: each field is an option of the command.
    """

    run: Callable[..., Any]
    params: type[Params]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Files that could be fetched, counted, so that the user can be asked first. Nothing is written yet.

    Attributes:
        title: What comes from where, in one line.
        n_files: How many are to be fetched; those already complete are not counted.
        n_bytes: Their size, `None` where unknown.
        exact: Whether the size is exact, not estimated.
        fetch: `fetch(progress) -> problems`: fetches them, bytes counted, and returns a line for each file
            that could not be downloaded. Called again, or by another process later, it resumes.
        notes: Lines that whoever is asked should read.
    """

    title: str
    n_files: int
    n_bytes: int | None
    exact: bool
    fetch: Callable[[Progress], Sequence[str]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the files of a dataset hold.

    Attributes:
        title: One line above everything.
        tables: Counts, a table by its title; the rows of a table have the same columns.
        records: One row for each record.
        notes: Lines below.
    """

    title: str
    tables: Mapping[str, Sequence[Row]]
    records: Sequence[Row]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A source of labeled examples.

    Attributes:
        name: What a study file calls it.
        summary: One line for listings.
        open: `open(params) -> OpenDataset`. Called by every command that needs the data, so what takes
            long is prepared once and kept in a cache (see `scalelab.cache_dir`). It must not import torch.
            It raises `scalelab.DataError` where the folder is missing or its content cannot be used.
        params: The model of its options.
        version: Raised when the same options and files give other examples; part of a trial's identity.
        download: `run(params, progress) -> Download`: what its files are and how to fetch them, or `None`
            where it does not.
        inspect: `run(params, progress) -> Inspection`: reads its files and counts what they hold.
        synthesize: `run(params, progress) -> str`: writes synthetic files; says in a line what it wrote.
    """

    name: str
    summary: str
    open: Callable[[Any], OpenDataset]
    params: type[Params] = NoParams
    version: int = 1
    download: FileCommand | None = None
    inspect: FileCommand | None = None
    synthesize: FileCommand | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A family of models.

    Attributes:
        name: What a study file calls it.
        summary: One line for listings.
        build: `build(params, input_shape, n_outputs) -> nn.Module`, freshly initialized from torch's global
            generator; the module maps (batch, *input_shape) to (batch, n_outputs). It raises
            `scalelab.InputError` where the options do not fit the input.
        params: The model of its options.
        space: The default design space: dimensions by option name, used where a study says
            `space = "default"`.
        constraints: Relations that every sampled point must satisfy, such as `"w_0 >= w_init"`.
        features: `features(params, input_shape, n_outputs)`: derived quantities to record with each run
            (number of stages, last width); never used to predict from the design.
        head: The name of the submodule that maps features to outputs, so that parameters can be counted
            without it; `None` where there is none.
        flops: `flops(params, input_shape, n_outputs) -> float`: FLOPs of one example's forward pass (a
            multiply-add is two), training being three times it. Used where scalelab cannot count an operator,
            such as a kernel of one's own; a complete count stands.
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
    flops: Callable[[Any, Shape, int], float] | None = None
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """A rule that updates a model's parameters.

    Attributes:
        name: What a study file calls it.
        summary: One line for listings.
        build: `build(params, module) -> torch.optim.Optimizer`. The learning rates that its groups start
            with are the peak rates; schedules multiply them by a factor from 0 to 1. A `build` with a third
            parameter `n_steps` is told how many steps the run will take.
        params: The model of its options.
        space: The default design space, as for an architecture.
        constraints: As for an architecture.
        closure: Whether `step` takes a closure that evaluates the gradient again: `"whole"` where it finds
            all gradients by it (L-BFGS), `"after"` where it is called with the gradient there and the
            closure gives further ones (SAM).
        evaluations: `evaluations(params)`: gradients that a step evaluates at most, where it takes a closure;
            lengths in FLOPs count them, and runs those that were evaluated.
        version: Raised when the same options give another rule; part of a trial's identity.
    """

    name: str
    summary: str
    build: Callable[..., torch.optim.Optimizer]
    params: type[Params] = NoParams
    space: Mapping[str, Dimension] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    closure: Literal["whole", "after"] | None = None
    evaluations: Callable[[Any], int] | None = None
    version: int = 1

    def gradients(self, params: Params) -> int:
        """Returns the gradients that a step evaluates at most.

        Raises:
            InputError: `evaluations` fails, or gives no whole number of 1 or more.
        """
        if self.evaluations is None:
            return 1
        where = f"optimizer {self.name!r}: evaluations()"
        try:
            found: Any = self.evaluations(params)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise InputError(f"{where} fails: {in_words(error)}") from error
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= MOST_GRADIENTS:
            raise InputError(
                f"{where} gives {brief(found)}; give a whole number from 1 to {MOST_GRADIENTS:,}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Device:
    """One device that a backend knows of.

    Attributes:
        name: Such as `"cpu"` or `"cuda:0"`.
        detail: What the hardware calls itself, or the reason why it cannot be used and how to get it.
        available: Whether a model can run there now.
    """

    name: str
    detail: str = ""
    available: bool = True


Precision = Literal["f32", "bf16", "f16", "int8"]
"""What a runtime computes in: one vocabulary for all of them."""


class BackendParams(Params):
    """Base of every backend's options; a subclass narrows `precision` to what its runtime offers."""

    precision: Precision = Field("f32", description="type of weights and activations")
    threads: int | None = Field(
        None, ge=1, le=4096, description="CPU threads; by default all cores that the process may use"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """A model in a runtime, ready to run on one device.

    Attributes:
        infer: `infer(inputs) -> outputs`: float32 inputs of the shape that was loaded for to float32
            outputs; comes back only when they are there.
        seconds: What it took to get here, by step: `"convert"`, `"quantize"`, `"compile"`, `"load"`;
            those that apply. Inference is not among them.
        model_bytes: Size on disk as this runtime stores the model; `None` where it stores none.
        threads: CPU threads it is pinned to; `None` where the runtime does not say.
        facts: Versions, the device that really executes, hints, driver.
        throughput: `throughput(inputs, seconds) -> examples per second` with several batches on their way at
            once, where the runtime can do that.
        own_seconds: What the runtime's own clock says of the last call, where it has one. Its latency is then
            that, as the runtime's own tools tell it, without the way from and to Python.
    """

    infer: Callable[[np.ndarray], np.ndarray]
    seconds: Mapping[str, float]
    model_bytes: int | None
    threads: int | None
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    throughput: Callable[[np.ndarray, float], float] | None = None
    own_seconds: Callable[[], float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A runtime that executes trained models, for timing them.

    Attributes:
        name: What the command line calls it.
        summary: One line for listings.
        devices: Lists the devices it knows of, the unavailable ones with the reason.
        load: `load(params, module, example, device, calibration) -> Executable`: converts a copy of the
            module for inputs of exactly the shape of `example`, (batch, *input_shape). `calibration` are
            real model inputs (n, *input_shape), float32, for precisions that need them, or `None`. It
            raises `scalelab.InputError` where the device is unknown or absent, or the precision is not to be
            had there, and `scalelab.BackendError` where the model does not convert, fit or run.
        params: The model of its options; its `precision` names what the runtime offers.
        version: Raised when the same options run differently.
        packages: Distributions that the runtime is made of, such as `("openvino", "nncf")`: their versions
            are recorded, and a new version is measured again.
    """

    name: str
    summary: str
    devices: Callable[[], Sequence[Device]]
    load: Callable[[Any, nn.Module, np.ndarray, str, np.ndarray | None], Executable]
    params: type[BackendParams]
    version: int = 1
    packages: tuple[str, ...] = ()

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that its options name, the default one first; a device may lack some of them."""
        field = self.params.model_fields["precision"]
        return tuple(sorted(get_args(field.annotation), key=lambda name: name != field.default))


Component = Dataset | Architecture | Optimizer | Backend
