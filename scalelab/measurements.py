"""Benchmarks and measurements, and what a network costs: what was asked for, and what an attempt gave.

As with trials and records, a `Benchmark` is named by a hash of its content, and a `Measurement` is immutable
once written.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from scalelab.records import Attempted, ComponentRef, Direction, Frozen, Identified, Measured

MeasurementStatus = Literal["ok", "failed", "timeout", "unsupported", "unavailable"]


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

    A pass over a batch of b examples takes `fixed + b * each` FLOPs: what is fixed does not depend on the
    batch, such as the Fourier transform of a kernel, and most models have none of it.

    Attributes:
        n_params: Trainable parameters, shared ones counted once.
        forward_flops: FLOPs that each example adds to a forward pass.
        train_flops_per_example: FLOPs that each example adds to forward and backward.
        fixed_forward_flops: FLOPs of a forward pass that do not depend on the batch.
        fixed_train_flops: FLOPs of forward and backward that do not depend on the batch.
        uncounted: Operators that the FLOPs leave out because nobody knows what they cost, such as
            `"aten::linalg_solve"`, sorted. Where there are any, FLOPs are at least those given.
        n_params_body: Trainable parameters outside the head; `None` where no head was named or found.
        grouped_flops: See `Footprint`, and so are the next three.
        activation_bytes: Of one example's forward pass.
        n_ops: Of one forward pass.
        n_layers: Of one forward pass.
    """

    n_params: int
    forward_flops: float
    train_flops_per_example: float
    fixed_forward_flops: float = 0.0
    fixed_train_flops: float = 0.0
    uncounted: tuple[str, ...] = ()
    n_params_body: int | None = None
    grouped_flops: float = 0.0
    activation_bytes: float = 0.0
    n_ops: int = 0
    n_layers: int = 0

    def forward_flops_at(self, batch_size: int) -> float:
        """Returns the FLOPs of an example's forward pass in a batch of that size, its share of what is fixed.

        Args:
            batch_size: Examples in a batch, at least 1.
        """
        return self.forward_flops + self.fixed_forward_flops / batch_size

    def train_flops_at(self, batch_size: int) -> float:
        """Returns the FLOPs of an example's forward and backward pass in a batch of that size, likewise.

        Args:
            batch_size: Examples in a batch, at least 1.
        """
        return self.train_flops_per_example + self.fixed_train_flops / batch_size

    def step_flops(self, batch_size: int) -> float:
        """Returns the FLOPs of a training step on a batch of that size.

        Args:
            batch_size: Examples in a batch, at least 1.
        """
        return batch_size * self.train_flops_at(batch_size)

    @property
    def footprint(self) -> Footprint:
        """What the forward pass of one example alone asks of any machine."""
        counts = {name: getattr(self, name) for name in Footprint.model_fields}
        return Footprint(**{**counts, "forward_flops": self.forward_flops_at(1)})


class Measurement(Attempted):
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
    relative_error: Measured = Field(
        None, description="that, relative to the largest output; None where all outputs are zero"
    )
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
    environment: dict[str, Any] = Field(default_factory=dict, description="clock policy, load, driver")

    @property
    def id(self) -> str:
        """The benchmark's id and the attempt's number."""
        return f"{self.benchmark.id}-{self.attempt}"
