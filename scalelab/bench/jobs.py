"""What passes between `scalelab.bench.coordinator` and the processes that measure: JSON lines.

A process answers every question with one line, or it is gone or silent, which is an answer too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from scalelab.measure.timing import Timed
from scalelab.records import Benchmark, Footprint, Frozen, Machine, Measured, MeasurementStatus, Provenance


class Hello(Frozen):
    """Asks what devices a backend knows of, and whether a target can be used.

    Attributes:
        backend: The backend's name.
        target: `backend:device:precision` to look at, or `None` for the devices alone.
        plugins_dirs: Folders of single-file plugins.
        select: The plugin selection (`SCALELAB_PLUGINS`).
    """

    kind: Literal["hello"] = "hello"
    backend: str
    target: str | None = None
    plugins_dirs: tuple[str, ...] = ()
    select: str | None = None


class BenchJob(Frozen):
    """Everything that a process needs to measure one benchmark.

    Attributes:
        benchmark: What to measure.
        dataset: Name of the dataset whose examples go in.
        dataset_options: Its resolved options, locations included, as JSON values.
        weights: File of trained weights, `None` for freshly initialized ones.
        time_limit: Seconds of timing of all rounds together; comparing outputs may take as long again.
        plugins_dirs: Folders of single-file plugins.
        select: The plugin selection (`SCALELAB_PLUGINS`).
    """

    benchmark: Benchmark
    dataset: str
    dataset_options: dict[str, Any]
    weights: str | None = None
    time_limit: float = 5.0
    plugins_dirs: tuple[str, ...] = ()
    select: str | None = None


class Slice(Frozen):
    """Asks for some timed calls; the model is loaded first where it is not."""

    kind: Literal["slice"] = "slice"
    job: BenchJob
    seconds: float


class Forget(Frozen):
    """Asks to drop every loaded model."""

    kind: Literal["forget"] = "forget"


Question = Annotated[Hello | Slice | Forget, Field(discriminator="kind")]
question_from_json = TypeAdapter[Question](Question).validate_json


class DeviceRow(Frozen):
    """A device as the listing shows it."""

    backend: str
    device: str
    available: bool
    detail: str
    precisions: tuple[str, ...] = ()


class Devices(Frozen):
    """The devices of a backend.

    Attributes:
        rows: All of them.
        device: The target's device as the runtime spells it, where one was asked about.
        wrong: Why the target is not one at all, in one line.
        unusable: Why it cannot be used here, in one line.
    """

    kind: Literal["devices"] = "devices"
    rows: tuple[DeviceRow, ...]
    device: str | None = None
    wrong: str | None = None
    unusable: str | None = None


class Loaded(Frozen):
    """What loading a model and comparing its outputs gave; fields of `scalelab.records.Measurement`."""

    footprint: Footprint
    seconds: dict[str, float]
    model_bytes: int | None
    peak_memory_bytes: int | None
    threads: int | None
    facts: dict[str, Any]
    machine: Machine
    provenance: dict[str, Provenance]
    environment: dict[str, Any]
    n_compared: int
    max_abs_error: Measured
    relative_error: Measured
    rms_error: Measured
    agreement: Measured
    metric: str | None = None
    direction: Literal["minimize", "maximize"] | None = None
    objective_f32: Measured = None
    objective_here: Measured = None
    scores_f32: dict[str, Measured] = Field(default_factory=dict)
    scores_here: dict[str, Measured] = Field(default_factory=dict)
    throughput_async: Measured = None


class Sliced(Frozen):
    """Times of calls after warming up; what loading gave, once."""

    kind: Literal["sliced"] = "sliced"
    times: tuple[Timed, ...]
    loaded: Loaded | None = None


class Refused(Frozen):
    """The benchmark cannot be measured: what becomes of it, and one line of reason."""

    kind: Literal["refused"] = "refused"
    status: MeasurementStatus
    reason: str


class Forgotten(Frozen):
    """Nothing is loaded any more."""

    kind: Literal["forgotten"] = "forgotten"


Answer = Devices | Sliced | Refused | Forgotten
answer_from_json = TypeAdapter[Answer](Annotated[Answer, Field(discriminator="kind")]).validate_json
