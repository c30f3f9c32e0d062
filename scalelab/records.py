"""Trials and records: what was asked for, and what an attempt at it produced.

A `Trial` is named by a hash of its content. A `Record` is immutable once written; retrying makes another one
with the next attempt number.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from operator import gt
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

IDENTITY_VERSION = 1

Direction = Literal["minimize", "maximize"]
Status = Literal["done", "diverged", "failed", "interrupted"]
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


def trial_of(record_id: str) -> str:
    """Returns the trial whose attempt a record is of."""
    return record_id.rpartition("-")[0]


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


def _named_or_numbers(value: Any) -> Literal["balanced", "sqrt"] | tuple[float, ...] | None:
    """Reads `class_weights`, with one message for all that may be wrong with it."""
    if value is None:
        return None
    if value == "balanced":
        return "balanced"
    if value == "sqrt":
        return "sqrt"
    numbers = value if isinstance(value, (list, tuple)) else ()
    plain = [one for one in numbers if isinstance(one, (int, float)) and not isinstance(one, bool)]
    if not numbers or len(plain) < len(numbers) or not all(0 < one <= 1e6 for one in plain):
        raise ValueError("must be 'balanced', 'sqrt', or a list of numbers above 0, one for each class")
    return tuple(map(float, plain))


_READ_WEIGHTS = PlainValidator(_named_or_numbers)
_WRITE_WEIGHTS = PlainSerializer(lambda weights: list(weights) if isinstance(weights, tuple) else weights)


class ScheduleOptions(Frozen):
    """The options of training that an optimizer of a study may have of its own.

    The learning-rate factor rises linearly from 0 to 1 over `warmup` and then follows `schedule` down to
    `final_lr` (a factor too).
    """

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


class TrainingOptions(ScheduleOptions):
    """Everything about training that is neither the model, the data nor the optimizer."""

    length: Length = Length(epochs=10)
    batch_size: int = Field(64, ge=1, le=65536, description="examples per step")
    augment: bool = Field(True, description="use the dataset's augmentation")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="bf16 autocast, or auto: decided by the first machine that runs the study"
    )
    validations: int | None = Field(
        None, ge=1, le=10_000, description="validations, evenly spaced, the last at the end; default up to 10"
    )
    validation_examples: _LeftOpen = Field(
        None, description="validation examples of a point; the best and the last always have the whole split"
    )
    test_examples: _LeftOpen = Field(None, description="test examples of a run; default 2.5% of its FLOPs")
    class_weights: Annotated[
        Literal["balanced", "sqrt"] | tuple[float, ...] | None, _READ_WEIGHTS, _WRITE_WEIGHTS
    ] = Field(
        None,
        description="weights of the classes in the training loss: balanced, sqrt, or a list of one for each",
        exclude_if=lambda weights: weights is None,
    )
    sampler: Literal["shuffled", "balanced"] = Field(
        "shuffled",
        description="how batches are drawn: every example once an epoch, or every class as often",
        exclude_if=lambda sampler: sampler == "shuffled",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of an average of the weights that is scored in their place, such as 0.999",
        exclude_if=lambda decay: decay is None,
    )
    objective: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="validation metric that chooses the best step, or loss; default the dataset's",
        exclude_if=lambda name: name is None,
    )

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


DEFAULT_TRAINER = ComponentRef(name="scalelab")


class Identified(Frozen):
    """Base of what is named by its content."""

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the canonical JSON of the content."""
        text = canonical_json({"identity": IDENTITY_VERSION, **self.model_dump(mode="json")})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Returns a copy, which has the name of its own content."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("id", None)
        return copy


class Script(Frozen):
    """What trains a trial that scalelab does not: somebody's own command, or a loop that logs."""

    name: str = Field(min_length=1, description="of the family of runs")
    command: tuple[str, ...] = Field(
        (), description="its words, parameters in braces, the program without its folder; none of a loop"
    )
    version: int | str | None = Field(None, description="another one makes other trials")
    files: dict[str, str] = Field(default_factory=dict, description="digests of its files by name")
    axes: dict[str, str] = Field(
        default_factory=dict, description="by column of `runs` the parameter that gives it"
    )


class Trial(Identified):
    """One fully resolved point of a study.

    Attributes:
        dataset: Component and options; locations stay outside.
        fingerprint: The dataset's content; empty where a script knows its data.
        architecture: Component and options; of a script all of its parameters.
        optimizer: Component and options.
        n_examples: Unique training examples, the first of the permutation drawn with `data_seed`; 0 where a
            script says how many.
        data_seed: Seed of that permutation; trials of a study that share it have nested subsets.
        training: Options of the training loop; no part of a trial that has a script.
        seed: Seed of initialization, batch order, dropout and augmentation.
        script: What trains it; `None` for a loop that scalelab runs.
        trainer: The loop that scalelab runs; its own is not in the identity.
    """

    dataset: ComponentRef
    fingerprint: str
    architecture: ComponentRef
    optimizer: ComponentRef
    n_examples: int = Field(ge=0)
    data_seed: int = 0
    training: TrainingOptions = TrainingOptions()
    seed: int = Field(0, ge=0, lt=2**63)
    script: Script | None = Field(None, exclude_if=lambda script: script is None)
    trainer: ComponentRef = Field(DEFAULT_TRAINER, exclude_if=lambda own: own == DEFAULT_TRAINER)

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        if self.n_examples == 0 and self.script is None:
            raise ValueError("n_examples must be at least 1")
        return self

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = plain(self)
        if self.script is not None:
            del content["training"], content["data_seed"]
        return content


class CurvePoint(Frozen):
    """The state of a run at one validation; of a script what it reported."""

    step: int
    n_seen: int | None = Field(None, description="training examples seen, repeats counted")
    train_flops: float | None = None
    wall_seconds: float | None = None
    lr: float | None = Field(None, description="learning rate of the first parameter group")
    train_loss: Measured = Field(None, description="mean over the steps since the last point")
    loss: Measured = Field(None, description="validation loss")
    metrics: dict[str, Measured] = Field(default_factory=dict, description="validation metrics by name")
    n_validated: int | None = Field(None, description="validation examples that both were measured on")


class Calibration(Frozen):
    """How far a classifier's probabilities are from what happens, each class against the rest.

    The bins have equal widths on [0, 1], and are pooled over the classes: each example is in them once for
    every class.
    """

    ece: dict[str, float] = Field(description="expected calibration error by class")
    counts: tuple[int, ...] = Field(description="probabilities in each bin")
    probabilities: tuple[float | None, ...] = Field(description="their mean; None in an empty bin")
    positives: tuple[int, ...] = Field(description="how many of them are of classes that were there")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        filled = tuple(one is not None for one in self.probabilities)
        if not self.ece or filled != tuple(n > 0 for n in self.counts):
            raise ValueError("each bin with a count needs a probability, and there must be a class")
        if len(self.positives) != len(self.counts) or any(map(gt, self.positives, self.counts)):
            raise ValueError("each bin needs its positives, at most as many as its count")
        return self


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


class Attempted(Frozen):
    """What every attempt says of itself, be it at a trial or at a benchmark."""

    machine: Machine | None = None
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="by kind of component")
    scalelab_version: str = ""
    started_at: float = Field(description="seconds since the epoch, UTC")
    finished_at: float


class Record(Attempted):
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
    calibration: dict[Literal["validation", "test"], Calibration] | None = Field(
        None, description="of the weights of the best step; of classifiers"
    )
    curve: tuple[CurvePoint, ...] = ()
    n_examples: int | None = Field(None, ge=1, description="where a script, not the trial, says how many")
    n_params: int | None = None
    n_params_body: int | None = Field(None, description="parameters without the head")
    forward_flops: float | None = Field(None, description="of one example; a multiply-add is two")
    train_flops: float | None = Field(None, description="forward and backward, all steps")
    uncounted: tuple[str, ...] = Field((), description="operators whose FLOPs are in neither")
    n_windows: int | None = Field(
        None, description="windows of the trial's training examples, where an example has several"
    )
    n_available: int | None = Field(None, description="training examples that the dataset has")
    n_steps: int | None = None
    epochs: float | None = Field(None, description="passes over the n_examples unique examples")
    features: dict[str, int | float | str] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict, description="versions behind its components")
    precision: str | None = None
    wall_seconds: float | None = None
    validation_seconds: float | None = Field(None, description="the part of it that validation took")
    peak_memory_bytes: int | None = None

    @property
    def id(self) -> str:
        """The trial's id and the attempt's number."""
        return f"{self.trial.id}-{self.attempt}"
