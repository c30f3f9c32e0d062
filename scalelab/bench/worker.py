"""The process that measures: loads models into one runtime, compares their outputs, times calls.

`python -m scalelab.bench.worker` answers questions (`scalelab.bench.jobs`): JSON lines in
on standard input, one line out for each; everything that a runtime prints goes to standard error. It ends
when its input does.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.bench.fidelity import compared
from scalelab.bench.jobs import (
    Answer,
    BenchJob,
    DeviceRow,
    Devices,
    Forget,
    Forgotten,
    Hello,
    Loaded,
    Question,
    Refused,
    Sliced,
    question_from_json,
)
from scalelab.components import BackendParams
from scalelab.errors import InputError
from scalelab.measure.models import build_model, costs, resolve_params
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import canonical_json
from scalelab.supervise.process import one_line, serve_the_coordinator

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from scalelab.components import Backend, Executable, OpenDataset

CALIBRATION = 256
"""Training examples that quantization is calibrated with."""


@dataclass
class _Ready:
    """A loaded model and the batch that it is timed on."""

    executable: Executable
    batch: np.ndarray
    backend: Backend


class Bench:
    """What the process keeps: plugins, open datasets, loaded models."""

    def __init__(self) -> None:
        self._catalog = Catalog()
        self._key: object = None
        self._datasets: dict[str, OpenDataset] = {}
        self._ready: dict[str, _Ready] = {}

    def answer(self, question: Question) -> Answer:
        """Answers one question; whatever goes wrong with a benchmark is an answer."""
        if isinstance(question, Hello):
            return self.hello(question)
        if isinstance(question, Forget):
            self._ready.clear()
            return Forgotten()
        try:
            return self.slice(question.job, question.seconds)
        except MemoryError:
            return Refused(status="failed", reason="memory ran out; the model does not fit")
        except InputError as error:
            return Refused(status="unsupported", reason=one_line(error))
        except Exception as error:  # whatever a runtime raises costs this benchmark only
            return Refused(status="failed", reason=one_line(error))

    def hello(self, question: Hello) -> Devices:
        """Loads the plugins and lists the devices of a backend."""
        from scalelab.measure.targets import parse_target, resolve, usable

        self._load_plugins(question)
        backend = self._catalog.backend(question.backend)
        rows = tuple(
            DeviceRow(
                backend=backend.name,
                device=device.name,
                available=device.available,
                detail=device.detail,
                precisions=backend.precisions,
            )
            for device in backend.devices()
        )
        if question.target is None:
            return Devices(rows=rows)
        try:
            target = resolve(parse_target(question.target), self._catalog)
        except InputError as error:
            return Devices(rows=rows, wrong=str(error))
        try:
            usable(target, backend)
        except InputError as error:
            return Devices(rows=rows, device=target.device, unusable=str(error))
        return Devices(rows=rows, device=target.device)

    def _load_plugins(self, question: Hello | BenchJob) -> None:
        key = (question.plugins_dirs, question.select)
        if key != self._key:
            folders = [Path(folder) for folder in question.plugins_dirs]
            self._catalog, self._key = load_plugins(plugins_dirs=folders, select=question.select), key

    def slice(self, job: BenchJob, seconds: float) -> Sliced:
        """Times calls for a while, and loads the model first where it is not loaded."""
        from scalelab.measure.rounds import timed_calls

        self._load_plugins(job)
        key = job.benchmark.id
        loaded = None
        if key not in self._ready:
            self._ready[key], loaded = self._load(job)
        ready = self._ready[key]
        return Sliced(times=tuple(timed_calls(ready.executable, ready.batch, seconds)), loaded=loaded)

    def _load(self, job: BenchJob) -> tuple[_Ready, Loaded]:
        import psutil
        import torch

        from scalelab.measure.environment import environment_facts
        from scalelab.measure.fidelity import calibration_inputs, model_inputs
        from scalelab.measure.machine import machine_facts
        from scalelab.measure.rates import batch_of, throughput
        from scalelab.train.device import PeakMemory

        benchmark = job.benchmark
        data = self._dataset(job)
        backend = self._catalog.backend(benchmark.backend.name)
        params = resolve_params(backend.params, benchmark.backend.params, f"backend {backend.name!r}")
        assert isinstance(params, BackendParams)
        torch.set_num_threads(params.threads or 1)
        module = self._module(job)
        inputs = model_inputs(data, data.validation.inputs, benchmark.batch_size)
        batch = batch_of(inputs, benchmark.batch_size)
        calibration = calibration_inputs(data, CALIBRATION)
        cost = costs(self._catalog)(benchmark.architecture, benchmark.input_shape, benchmark.n_outputs)
        before = psutil.Process().memory_info().rss
        memory = PeakMemory(torch.device("cpu"))
        executable = backend.load(params, module, batch, benchmark.device, calibration)
        executable.infer(batch)
        peak = memory.bytes()
        trained = benchmark.weights is not None
        fidelity = compared(data, module, executable.infer, batch, job.time_limit, trained=trained)
        busy = throughput(executable, batch, seconds=job.time_limit / 5) if executable.throughput else None
        machine = machine_facts("cpu", threads=params.threads)
        loaded = Loaded(
            footprint=cost.footprint,
            seconds=dict(executable.seconds),
            model_bytes=executable.model_bytes,
            peak_memory_bytes=None if peak is None else max(0, peak - before),
            threads=executable.threads if executable.threads is not None else params.threads,
            facts=dict(executable.facts),
            machine=machine.model_copy(update={"device": benchmark.device}),
            provenance={
                "architecture": self._catalog.provenance("architecture", benchmark.architecture.name),
                "backend": self._catalog.provenance("backend", backend.name),
            },
            throughput_async=busy and busy.examples_per_second,
            environment=environment_facts(),
            **fidelity,
        )
        return _Ready(executable, batch, backend), loaded

    def _dataset(self, job: BenchJob) -> OpenDataset:
        key = canonical_json([job.dataset, job.dataset_options])
        if key not in self._datasets:
            component = self._catalog.dataset(job.dataset)
            params = resolve_params(component.params, job.dataset_options, f"dataset {job.dataset!r}")
            self._datasets[key] = component.open(params)
        return self._datasets[key]

    def _module(self, job: BenchJob) -> nn.Module:
        """Builds the network, with its trained weights where they were kept."""
        from scalelab.train.checkpoint import load_weights
        from scalelab.train.device import seed_everything

        benchmark = job.benchmark
        seed_everything(0)
        module = build_model(
            benchmark.architecture.name,
            benchmark.architecture.params,
            benchmark.input_shape,
            benchmark.n_outputs,
            catalog=self._catalog,
        )
        if job.weights is not None and benchmark.weights is not None:
            load_weights(Path(job.weights), benchmark.weights, module)
        return module.eval()


def main() -> None:
    """Answers questions from standard input until it ends."""
    serve_the_coordinator()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    bench = Bench()
    for line in sys.stdin:
        print(bench.answer(question_from_json(line)).model_dump_json(), file=answers)


if __name__ == "__main__":
    main()
