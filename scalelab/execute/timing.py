"""How long trials take here: timed by the training loop itself, in processes like a run's workers.

`python -m scalelab.execute.timing` answers to a job with a `Timed`: it sets the trial up as a worker does and
trains it for a moment, data, augmentation and optimizer included, and passes validation examples. As many of
these processes as there will be workers do so at once, since workers slow each other down. A process
that ends or is silent for too long is an error and nothing worse.
"""

from __future__ import annotations

import math
import os
import queue
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalelab.errors import InputError
from scalelab.execute.devices import devices_for
from scalelab.execute.jobs import Job
from scalelab.execute.worker import prepare
from scalelab.records import Frozen, Length
from scalelab.subsets import windows_per_example
from scalelab.supervise.process import Supervised
from scalelab.supervise.workbench import Workbench, one_line, serve

if TYPE_CHECKING:
    import torch

WARM_STEPS = 3
LEAST_STEPS = 8
SECONDS, MOST = 1.0, 6.0
"""Steps are timed for so long; up to so many times that where there would be less than `LEAST_STEPS`."""
SILENCE = 900.0
"""Seconds without an answer after which a process counts as hung, as a run's workers do."""
LOOK_SECONDS = 0.1
VALIDATED = 512
"""Forward passes that validation is timed on."""


class Asked(Frozen):
    """An order: a trial as a worker would get it, and for how many seconds its steps are timed at least."""

    job: Job
    seconds: float


class Timed(Frozen):
    """What a trial took in one process.

    Attributes:
        trial_id: The trial.
        precision: What it was trained in.
        first: Whether it was the first trial of its process.
        seconds: Seconds of all this, but for what a process does once.
        setup: Seconds until the first step, but for what counting FLOPs took.
        n_steps: Steps of its whole training.
        step: Seconds a step, over all of them.
        looks: The same, in looks of a tenth of a second or of one step.
        validation: Seconds a validation example.
        error: Why it cannot be trained, in one line.
    """

    trial_id: str
    precision: str
    first: bool
    seconds: float = 0.0
    setup: float = 0.0
    n_steps: int = 1
    step: float = 0.0
    looks: tuple[float, ...] = ()
    validation: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class Times:
    """What the processes found, together.

    Attributes:
        opening: Seconds until a worker is at its first trial.
        trials: By trial id what every process found, in every precision that was asked for.
    """

    opening: float
    trials: dict[str, list[Timed]]


def time_jobs(jobs: Sequence[Job], seconds: float = SECONDS, silence: float = SILENCE) -> Times:
    """Times some trials, one after the other, in as many processes at once as their crew has workers.

    Args:
        jobs: The trials as workers would get them, all of one crew.
        seconds: How long steps of each are timed at least.
        silence: Seconds without any answer after which the processes are given up.

    Raises:
        InputError: A trial cannot be trained, or a process was lost or hung.
    """
    if sys.platform == "win32":  # which lacks process groups, and trains without workers
        raise InputError("the study's networks cannot be timed on Windows, where there are no workers")
    crew = jobs[0].crew
    heard: queue.SimpleQueue[tuple[Supervised[Timed], Timed | None]] = queue.SimpleQueue()
    began = time.perf_counter()
    processes = [
        Supervised(
            "scalelab.execute.timing",
            Timed.model_validate_json,
            threads=crew.threads,
            output=lambda _printed: None,
            environment=device.environment,
            heard=heard,
        )
        for device in devices_for(max(1, crew.workers), jobs[0].device)
        for _ in range(device.slots)
    ]
    found: dict[str, list[Timed]] = {job.trial.id: [] for job in jobs}
    opening = 0.0
    try:
        for process in processes:
            for job in jobs:
                process.send(Asked(job=job, seconds=seconds))
        for _ in range(len(jobs) * len(processes)):
            try:
                process, timed = heard.get(timeout=silence)
            except queue.Empty:
                raise InputError(
                    f"the study's networks cannot be timed: no answer for {silence:g} s, as where one hangs"
                ) from None
            if timed is None:
                raise InputError(f"the study's networks cannot be timed: {process.why_lost()}")
            if timed.error is not None:
                raise InputError(
                    f"trial {timed.trial_id} cannot be timed in {timed.precision}: {timed.error}"
                )
            if timed.first:
                opening = max(opening, time.perf_counter() - began - timed.seconds)
            found[timed.trial_id].append(timed)
    finally:
        for process in processes:
            process.kill()
    return Times(opening, found)


def time_job(job: Job, bench: Workbench, *, seconds: float, first: bool) -> Timed:
    """Times a trial in this process.

    Args:
        job: The trial and where it would be trained.
        seconds: How long its steps are timed at least.
        bench: What stays open from trial to trial.
        first: Whether nothing is open yet.
    """
    from scalelab.train.loop import train_model
    from scalelab.train.validation import Validator

    if first:
        prepare(job, bench)  # which imports torch and opens the dataset
    began = time.perf_counter()
    ready = prepare(job, bench)
    # No validation among the steps, and no end to them.
    training = job.trial.training.model_copy(update={"length": Length(steps=10**9), "validations": 1})
    stopwatch = Stopwatch(ready.device, seconds)
    result = train_model(
        job.trial.model_copy(update={"training": training}),
        ready.data,
        ready.module,
        ready.optimizer,
        closure=ready.closure,
        evaluations=ready.evaluations,
        device=str(ready.device),
        precision=job.precision,
        should_stop=stopwatch,
        train_flops_per_example=ready.cost.train_flops_at(training.batch_size),
    )
    split = ready.data.validation
    n = math.ceil(VALIDATED / windows_per_example(split))
    validator = Validator(ready.data, split, n, training.batch_size, ready.device, result.precision)
    validating = time.perf_counter()
    validator.part(ready.module)
    validated = time.perf_counter() - validating
    return Timed(
        trial_id=job.trial.id,
        precision=result.precision,
        first=first,
        seconds=time.perf_counter() - began,
        setup=stopwatch.first - began - ready.counting,
        n_steps=ready.n_steps,
        step=stopwatch.step,
        looks=tuple(stopwatch.looks),
        validation=validated / validator.n_part,
    )


class Stopwatch:
    """A `should_stop` that times the steps between its calls, and stops when it has seen enough.

    Args:
        device: Where the steps are.
        seconds: How long it looks at least.
    """

    def __init__(self, device: torch.device, seconds: float = SECONDS) -> None:
        self.looks: list[float] = []
        self.first = self.step = 0.0
        self._device = device
        self._least, self._most = seconds, MOST * seconds
        self._calls = self._warm = self._seen = 0
        self._began = self._look = 0.0

    def __call__(self) -> bool:
        """Notes that a step ends and another one begins, and tells whether that is enough."""
        now = time.perf_counter()
        taken, self._calls = self._calls, self._calls + 1
        self.first = self.first or now
        if taken <= WARM_STEPS and now - self.first < self._most:
            self._began = self._look = self._now()
            self._warm = self._seen = taken
            return False
        if now - self._look >= LOOK_SECONDS:
            now = self._now()
            self.looks.append((now - self._look) / (taken - self._seen))
            self.step = (now - self._began) / (taken - self._warm)
            self._look, self._seen = now, taken
        seconds = now - self._began
        enough = bool(self.looks) and seconds >= self._least
        return enough and (taken - self._warm >= LEAST_STEPS or seconds >= self._most)

    def _now(self) -> float:
        """Waits for a GPU, which runs behind."""
        if self._device.type == "cuda":
            import torch

            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def main() -> None:
    """Times jobs until there are no more orders."""
    bench = Workbench()
    seen = False

    def work(line: str, send: Callable[[Frozen], None], _should_stop: Callable[[], bool]) -> None:
        nonlocal seen
        asked = Asked.model_validate_json(line)
        job = asked.job
        try:
            timed = time_job(job, bench, seconds=asked.seconds, first=not seen)
        except Exception as error:
            precision = job.precision or job.trial.training.precision
            timed = Timed(trial_id=job.trial.id, precision=precision, first=not seen, error=one_line(error))
        seen = True
        send(timed)

    serve(work)
    os._exit(0)


if __name__ == "__main__":
    main()
