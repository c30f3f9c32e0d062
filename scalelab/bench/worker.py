"""The process that measures: loads models into one runtime, compares their outputs, times calls.

It answers each question (`scalelab.bench.jobs`) with one line, see `scalelab.supervise.workbench.serve`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.bench.fidelity import compared
from scalelab.bench.jobs import (
    Answer,
    BenchJob,
    DeviceRow,
    Devices,
    Hello,
    Question,
    Refused,
    Sliced,
    question_from_json,
)
from scalelab.bench.timing import ROUNDS
from scalelab.components import BackendParams
from scalelab.errors import InputError
from scalelab.measure.costs import Costs
from scalelab.measure.models import build_model, params_of
from scalelab.measurements import Measurement
from scalelab.supervise.workbench import Workbench, one_line, serve

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from scalelab.components import Executable
    from scalelab.plugins import Catalog

CALIBRATION = 256
"""Training examples that quantization is calibrated with."""


class Bench:
    """What the process keeps: plugins, open datasets, and by benchmark the loaded model and its batch."""

    def __init__(self) -> None:
        self._bench = Workbench()
        self._ready: dict[str, tuple[Executable, np.ndarray]] = {}

    def answer(self, question: Question) -> Answer:
        """Answers one question; whatever goes wrong in a runtime is an answer."""
        try:
            return self.hello(question) if isinstance(question, Hello) else self.slice(question)
        except MemoryError:
            return Refused(status="failed", reason="out of memory: the model does not fit")
        except InputError as error:
            return Refused(status="unsupported", reason=one_line(error))
        except (Exception, SystemExit) as error:  # whatever a runtime raises costs this benchmark only
            return Refused(status="failed", reason=one_line(error))

    def hello(self, question: Hello) -> Devices:
        """Lists the devices of a backend."""
        backend = self._bench.catalog(question.plugins).backend(question.backend)
        rows = (
            DeviceRow(
                backend=backend.name,
                device=device.name,
                available=device.available,
                detail=device.detail,
                precisions=backend.precisions,
            )
            for device in backend.devices()
        )
        return Devices(rows=tuple(rows))

    def slice(self, job: BenchJob) -> Sliced | Refused:
        """Times calls for a round, and loads the model first where it is not loaded."""
        from scalelab.measure.rounds import timed_calls

        key = job.benchmark.id
        loaded = None if key in self._ready else self._load(job)
        if loaded is not None and loaded.status != "ok":
            return Refused(status=loaded.status, reason=loaded.reason or "", loaded=loaded)
        executable, batch = self._ready[key]
        times = timed_calls(executable, batch, job.time_limit / ROUNDS)
        return Sliced(times=tuple(times), loaded=loaded)

    def _load(self, job: BenchJob) -> Measurement:
        """Loads a model, compares its outputs, and returns the measurement without the times."""
        import psutil
        import torch

        from scalelab.measure.environment import environment_facts
        from scalelab.measure.fidelity import calibration_inputs, model_inputs
        from scalelab.measure.machine import machine_facts
        from scalelab.measure.rates import batch_of, throughput
        from scalelab.train.device import PeakMemory

        started, benchmark = time.time(), job.benchmark
        catalog = self._bench.catalog(job.plugins)
        data = self._bench.dataset(job.plugins, job.dataset, job.dataset_options, benchmark.fingerprint)
        backend = catalog.backend(benchmark.backend.name)
        params = params_of(backend, benchmark.backend.params)
        assert isinstance(params, BackendParams)
        torch.set_num_threads(params.threads or 1)
        module = _network(job, catalog)
        inputs = model_inputs(data, data.validation.inputs, benchmark.batch_size)
        batch = batch_of(inputs, benchmark.batch_size)
        calibration = calibration_inputs(data, CALIBRATION)
        cost = Costs(catalog)(benchmark.architecture, benchmark.input_shape, benchmark.n_outputs)
        before = psutil.Process().memory_info().rss
        memory = PeakMemory(torch.device("cpu"))
        executable = backend.load(params, module, batch, benchmark.device, calibration)
        executable.infer(batch)
        peak = memory.bytes()
        trained = benchmark.weights is not None
        fidelity = compared(
            data, module, executable.infer, batch, job.time_limit, precision=params.precision, trained=trained
        )
        right = fidelity["status"] == "ok"
        several = right and executable.throughput is not None
        busy = throughput(executable, batch, seconds=job.time_limit / 5) if several else None
        machine = machine_facts("cpu", threads=params.threads)
        if right:
            self._ready[benchmark.id] = executable, batch
        return Measurement(
            benchmark=benchmark,
            study=job.study,
            attempt=job.attempt,
            footprint=cost.footprint,
            seconds=dict(executable.seconds),
            model_bytes=executable.model_bytes,
            peak_memory_bytes=None if peak is None else max(0, peak - before),
            threads=executable.threads if executable.threads is not None else params.threads,
            facts=dict(executable.facts),
            machine=machine.model_copy(update={"device": benchmark.device}),
            provenance={
                "architecture": catalog.provenance("architecture", benchmark.architecture.name),
                "backend": catalog.provenance("backend", backend.name),
            },
            throughput_async=busy and busy.examples_per_second,
            environment=environment_facts(),
            started_at=started,
            finished_at=time.time(),
            **fidelity,
        )


def _network(job: BenchJob, catalog: Catalog) -> nn.Module:
    """Builds the network, with its trained weights where they were kept."""
    from scalelab.train.checkpoint import load_weights
    from scalelab.train.device import seed_everything

    benchmark, architecture = job.benchmark, job.benchmark.architecture
    seed_everything(0)
    module = build_model(
        architecture.name, architecture.params, benchmark.input_shape, benchmark.n_outputs, catalog=catalog
    )
    if job.weights is not None and benchmark.weights is not None:
        load_weights(Path(job.weights), benchmark.weights, module)
    return module.eval()


def main() -> None:
    """Answers questions until there are no more."""
    bench = Bench()
    serve(lambda line, send, _should_stop: send(bench.answer(question_from_json(line))))


if __name__ == "__main__":
    main()
