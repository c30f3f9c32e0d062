"""What passes between `scalelab.bench.coordinator` and the processes that measure: JSON lines.

A process answers every question with one line, or it has exited or is silent, which is an answer too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from scalelab.measure.timing import Timed
from scalelab.measurements import Benchmark, Measurement, MeasurementStatus
from scalelab.records import Frozen
from scalelab.supervise.workbench import Selection


class Hello(Frozen):
    """Asks what devices a backend knows of.

    Attributes:
        backend: The backend's name.
        plugins: Which plugins to load.
    """

    kind: Literal["hello"] = "hello"
    backend: str
    plugins: Selection = Selection()


class BenchJob(Frozen):
    """Asks for a round of timed calls of one benchmark; the model is loaded first where it is not.

    Attributes:
        benchmark: What to measure.
        study: On whose behalf.
        attempt: 1 for the first attempt at this benchmark.
        dataset: Name of the dataset whose examples go in.
        dataset_options: Its resolved options, locations included, as JSON values.
        weights: File of trained weights, `None` for freshly initialized ones.
        time_limit: Seconds of timing of all rounds together; comparing outputs may take as long again.
        plugins: Which plugins to load.
    """

    kind: Literal["job"] = "job"
    benchmark: Benchmark
    study: str
    attempt: int = 1
    dataset: str
    dataset_options: dict[str, Any]
    weights: str | None = None
    time_limit: float = 5.0
    plugins: Selection = Selection()


Question = Annotated[Hello | BenchJob, Field(discriminator="kind")]
question_from_json = TypeAdapter[Question](Question).validate_json


class DeviceRow(Frozen):
    """A device as the listing shows it."""

    backend: str
    device: str
    available: bool
    detail: str
    precisions: tuple[str, ...] = ()


class Devices(Frozen):
    """The devices of a backend."""

    kind: Literal["devices"] = "devices"
    rows: tuple[DeviceRow, ...]


class Sliced(Frozen):
    """Times of calls after warming up; once, the measurement as far as loading and comparing made it."""

    kind: Literal["sliced"] = "sliced"
    times: tuple[Timed, ...]
    loaded: Measurement | None = None


class Refused(Frozen):
    """The benchmark cannot be measured: what becomes of it, and one line of reason.

    Attributes:
        status: Of the measurement.
        reason: Why.
        loaded: What loading and comparing found, where it came so far.
    """

    kind: Literal["refused"] = "refused"
    status: MeasurementStatus
    reason: str
    loaded: Measurement | None = None


Answer = Devices | Sliced | Refused
answer_from_json = TypeAdapter[Answer](Annotated[Answer, Field(discriminator="kind")]).validate_json
