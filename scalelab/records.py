"""Trials and records, benchmarks and measurements: what was asked for, and what an attempt at it produced.

A `Trial` (and a `Benchmark`) is named by a hash of its content. A `Record` (and a `Measurement`) is immutable
once written; retrying makes another one with the next attempt number.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

IDENTITY_VERSION = 1

Direction = Literal["minimize", "maximize"]
Status = Literal["done", "diverged", "failed", "interrupted"]
MeasurementStatus = Literal["ok", "failed", "timeout", "unsupported", "unavailable"]
UNSPECIFIED = "unspecified"
"""The architecture or optimizer of runs from elsewhere that do not say theirs."""
On = Literal["validation", "test", "last"]
Charge = Literal["last", "best"]  # which losses and which FLOPs: see scalelab.analysis.runs.outcomes
FINAL_STATUSES: tuple[Status, ...] = ("done", "diverged")
"""Outcomes that running the study again keeps; `failed` is retried on request, `interrupted` always."""


def canonical_json(value: Any) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces, -0.0 as 0.0, no NaN or infinity.

    Raises:
        ValueError: The value holds a NaN, an infinity or something that JSON cannot say.
    """
    try:
        return json.dumps(
            _plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
        )
    except TypeError as error:
        raise ValueError(str(error)) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value == 0.0:
        return 0.0
    return value


def _none_if_not_finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Measured = Annotated[float | None, BeforeValidator(_none_if_not_finite)]
"""A measured number; NaN and infinities become `None`, which JSON and SQL can say."""


class Frozen(BaseModel):
    """Base of the value types here: unknown keys are refused and nothing changes after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Length(Frozen):
    """How long to train: exactly one of the four."""

    steps: int | None = Field(None, ge=1, description="optimizer steps")
    epochs: float | None = Field(None, gt=0, description="passes over the trial's training examples")
    examples: int | None = Field(None, ge=1, description="training examples seen, repeats counted")
    flops: float | None = Field(None, gt=0, description="forward and backward FLOPs of all steps")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set - {n for n in self.model_fields_set if getattr(self, n) is None}) != 1:
            raise ValueError("give exactly one of steps, epochs, examples, flops")
        return self


# Not in the identity where it is left open: it does not change what is trained.
_LeftOpen = Annotated[int | None, Field(ge=1, exclude_if=lambda examples: examples is None)]


class TrainingOptions(Frozen):
    """Everything about training that is neither the model, the data nor the optimizer.

    The learning-rate factor rises linearly from 0 to 1 over `warmup` and then follows `schedule` down to
    `final_lr` (a factor too).
    """

    length: Length = Length(epochs=10)
    batch_size: int = Field(64, ge=1, le=65536, description="examples per step")
    schedule: Literal["cosine", "constant", "exponential", "linear-cooldown"] = Field(
        "cosine", description="shape of the learning rate after warm-up"
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="fraction of the steps that warm up")
    cooldown: float = Field(
        0.2, gt=0, le=1, description="fraction at the end that linear-cooldown falls over"
    )
    final_lr: float = Field(0.01, ge=0, le=1, description="learning-rate factor at the last step")
    clip_norm: float | None = Field(
        1.0, gt=0, description="gradient norm above which gradients are scaled down"
    )
    augment: bool = Field(True, description="use the dataset's augmentation")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="bf16 autocast, or auto: bf16 where the device is fast at it"
    )
    validations: int | None = Field(
        None, ge=1, le=10_000, description="validations, evenly spaced, the last at the end; default up to 10"
    )
    validation_examples: _LeftOpen = Field(
        None, description="validation examples of a point; the best and the last always have the whole split"
    )
    test_examples: _LeftOpen = Field(None, description="test examples of a run; default 2.5% of its FLOPs")

    @model_validator(mode="after")
    def _exponential_ends_above_zero(self) -> Self:
        if self.schedule == "exponential" and self.final_lr == 0:
            raise ValueError("schedule = 'exponential' needs final_lr above 0: it never reaches 0")
        return self


class ComponentRef(Frozen):
    """A component as a trial names it: options resolved, of files their content, by name of the option."""

    name: str
    version: int = 1
    params: dict[str, Any] = Field(default_factory=dict)
    content: dict[str, str] = Field(default_factory=dict, exclude_if=lambda own: not own)


class Identified(Frozen):
    """Base of what is named by its content."""

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the canonical JSON of the content."""
        text = canonical_json({"identity": IDENTITY_VERSION, **self.model_dump(mode="json")})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Trial(Identified):
    """One fully resolved point of a study.

    Attributes:
        dataset: Component and options; locations stay outside.
        fingerprint: The dataset's content.
        architecture: Component and options.
        optimizer: Component and options.
        n_examples: Unique training examples, the first of the permutation drawn with `data_seed`.
        data_seed: Seed of that permutation; the same for all trials of a study, so that subsets are nested.
        training: Options of the training loop.
        seed: Seed of initialization, batch order, dropout and augmentation.
    """

    dataset: ComponentRef
    fingerprint: str
    architecture: ComponentRef
    optimizer: ComponentRef
    n_examples: int = Field(ge=1)
    data_seed: int = 0
    training: TrainingOptions = TrainingOptions()
    seed: int = Field(0, ge=0, lt=2**63)


class CurvePoint(Frozen):
    """The state of a run at one validation."""

    step: int
    n_seen: int = Field(description="training examples seen, repeats counted")
    train_flops: float
    wall_seconds: float
    lr: float = Field(description="learning rate of the first parameter group")
    train_loss: Measured = Field(description="mean over the steps since the last point")
    loss: Measured = Field(description="validation loss")
    metrics: dict[str, Measured] = Field(default_factory=dict, description="validation metrics by name")
    n_validated: int | None = Field(None, description="validation examples that both were measured on")


class Machine(Frozen):
    """Where an attempt ran."""

    host: str
    pid: int
    platform: str
    cpu: str
    cores: int
    threads: int
    workers: int | None = Field(None, description="worker processes that shared the machine")
    python: str
    torch: str
    device: str = Field(description="device type that trained, such as cpu or cuda")
    device_name: str = ""


class Provenance(Frozen):
    """Who provided a component."""

    plugin: str
    distribution: str
    version: str


class Record(Frozen):
    """What one attempt at a trial produced.

    `loss` and `objective` are the best values over the points of the curve that have the whole validation
    split, `loss_last` and `objective_last` those of its last point. Quantities that an attempt did not live
    to measure are `None`.
    """

    trial: Trial
    study: str
    attempt: int = Field(ge=1)
    status: Status
    error: str | None = None
    metric: str = Field("loss", description="name of the objective")
    direction: Direction = "minimize"
    loss: Measured = None
    loss_last: Measured = None
    objective: Measured = None
    objective_last: Measured = None
    best_step: int | None = None
    metrics: dict[str, Measured] = Field(default_factory=dict, description="at the best step")
    n_validated: int | None = Field(None, description="validation examples behind loss, objective, metrics")
    constant_loss: float | None = Field(None, description="of the best constant answer, on validation")
    test_loss: Measured = Field(None, description="of the weights of the best step, on the test split")
    test_objective: Measured = Field(None, description="likewise")
    test_metrics: dict[str, Measured] = Field(default_factory=dict, description="likewise")
    n_tested: int | None = Field(None, description="test examples behind these")
    curve: tuple[CurvePoint, ...] = ()
    n_params: int | None = None
    n_params_body: int | None = Field(None, description="parameters without the head")
    forward_flops: float | None = Field(None, description="of one example; a multiply-add is two")
    train_flops: float | None = Field(None, description="forward and backward, all steps")
    n_steps: int | None = None
    epochs: float | None = Field(None, description="passes over the n_examples unique examples")
    features: dict[str, int | float | str] = Field(default_factory=dict)
    precision: str | None = None
    wall_seconds: float | None = None
    validation_seconds: float | None = Field(None, description="the part of it that validation took")
    peak_memory_bytes: int | None = None
    machine: Machine | None = None
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="by kind of component")
    scalelab_version: str = ""
    started_at: float = Field(description="seconds since the epoch, UTC")
    finished_at: float

    @property
    def id(self) -> str:
        """The trial's id and the attempt's number."""
        return f"{self.trial.id}-{self.attempt}"


class Benchmark(Identified):
    """One network on one target: what is measured once is not measured again.

    Attributes:
        architecture: Component and options.
        input_shape: Of one example, without the batch.
        n_outputs: Width of the output.
        fingerprint: Content of the dataset whose examples go in: they calibrate, and outputs are compared on
            them.
        weights: The trial whose trained weights are used; `None` for freshly initialized ones, which cost
            the same time.
        backend: Component and options, precision and threads among them.
        device: As the runtime spells it.
        batch_size: Examples per call.
        host: The machine.
        packages: Versions of the installed packages that the runtime is made of.
    """

    architecture: ComponentRef
    input_shape: tuple[int, ...]
    n_outputs: int
    fingerprint: str
    weights: str | None = None
    backend: ComponentRef
    device: str
    batch_size: int = Field(1, ge=1)
    host: str
    packages: dict[str, str] = Field(default_factory=dict)

    @property
    def precision(self) -> str:
        """What the target computes in."""
        return str(self.backend.params.get("precision", "f32"))

    @property
    def target(self) -> str:
        """`backend:device:precision`."""
        return f"{self.backend.name}:{self.device}:{self.precision}"


class Footprint(Frozen):
    """What one example's forward pass asks of any machine, counted and not measured.

    Attributes:
        n_params: Trainable parameters.
        forward_flops: FLOPs; a multiply-add is two.
        grouped_flops: The part of them in grouped and depthwise convolutions.
        activation_bytes: Bytes that operations read and write, weights excepted, each operation alone and
            in 32-bit floats.
        n_ops: Operations that compute or move something; views are none.
        n_layers: Convolutions, matrix products and recurrent layers among them.
    """

    n_params: int
    forward_flops: float
    grouped_flops: float
    activation_bytes: float
    n_ops: int
    n_layers: int


class Complexity(Frozen):
    """What one example costs a model, counted and not measured; a multiply-add is two FLOPs.

    Attributes:
        n_params: Trainable parameters, shared ones counted once.
        forward_flops: FLOPs of one example's forward pass; only matrix products and convolutions count.
        train_flops_per_example: FLOPs of forward and backward for one example.
        n_params_body: Trainable parameters outside the head; `None` where no head was named or found.
        grouped_flops: See `Footprint`, and so are the next three.
        activation_bytes: Of one example's forward pass.
        n_ops: Of one forward pass.
        n_layers: Of one forward pass.
    """

    n_params: int
    forward_flops: float
    train_flops_per_example: float
    n_params_body: int | None = None
    grouped_flops: float = 0.0
    activation_bytes: float = 0.0
    n_ops: int = 0
    n_layers: int = 0

    @property
    def footprint(self) -> Footprint:
        """What the forward pass asks of any machine."""
        return Footprint(**{name: getattr(self, name) for name in Footprint.model_fields})


class Measurement(Frozen):
    """What one attempt at a benchmark gave. Times are in seconds; what was not measured is `None`.

    `latency` is the median time of an inference, by the runtime's own clock where it has one;
    `latency_low` and `latency_high` are its 95% interval, in which the differences between the rounds of
    an interleaved measurement are counted.
    """

    benchmark: Benchmark
    attempt: int = Field(ge=1)
    status: MeasurementStatus
    reason: str | None = Field(None, description="one line, where the status is not ok")
    study: str
    footprint: Footprint | None = None
    latency: Measured = None
    latency_low: Measured = None
    latency_high: Measured = None
    p90: Measured = None
    p99: Measured = None
    call_latency: Measured = Field(None, description="median time of the whole call from Python")
    n_calls: int | None = None
    n_rounds: int | None = None
    settled: bool | None = Field(None, description="the interval became as narrow as asked")
    throughput: Measured = Field(None, description="examples per second, one call after another")
    throughput_async: Measured = Field(None, description="examples per second, several calls at once")
    seconds: dict[str, Measured] = Field(default_factory=dict, description="convert, quantize, compile, load")
    model_bytes: int | None = None
    peak_memory_bytes: int | None = Field(None, description="rise of the peak while it was loaded and timed")
    threads: int | None = None
    max_abs_error: Measured = Field(None, description="largest difference from PyTorch f32")
    relative_error: Measured = Field(None, description="that, relative to the largest output")
    rms_error: Measured = Field(None, description="RMS of the differences, relative to that of outputs")
    agreement: Measured = Field(None, description="fraction of examples that get the same answer")
    n_compared: int | None = Field(None, description="validation examples that were compared")
    metric: str | None = Field(None, description="name of the objective")
    direction: Direction | None = None
    objective_f32: Measured = Field(None, description="of the trained weights in PyTorch f32")
    objective_here: Measured = Field(None, description="of the same weights and examples on the target")
    scores_f32: dict[str, Measured] = Field(default_factory=dict, description="loss and metrics, likewise")
    scores_here: dict[str, Measured] = Field(default_factory=dict, description="the same on the target")
    facts: dict[str, Any] = Field(default_factory=dict, description="what the runtime reports about itself")
    machine: Machine | None = None
    environment: dict[str, Any] = Field(default_factory=dict, description="clock policy, load, driver")
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="by kind of component")
    scalelab_version: str = ""
    started_at: float = Field(description="seconds since the epoch, UTC")
    finished_at: float

    @property
    def id(self) -> str:
        """The benchmark's id and the attempt's number."""
        return f"{self.benchmark.id}-{self.attempt}"
