"""How long trials will take on this machine, as a range.

What the store has of such trials on such a machine comes first: the same data, batches and threads, as many
workers, the same processor and torch. Sizes that it does not cover are timed, three of each architecture at
most, and two where another optimizer trains it. Every family has a curve of its own: between its sizes,
seconds a step are interpolated in logarithms and never fall as a network grows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from scalelab.errors import InputError
from scalelab.execute.jobs import Job
from scalelab.execute.timing import time_jobs
from scalelab.execute.work import Span, Work
from scalelab.measure.machine import machine_facts
from scalelab.records import DEFAULT_TRAINER, Trial, canonical_json
from scalelab.schedules import Validations
from scalelab.store import Timing

MARGIN, MOST = 1.25, 2.0
"""The range is the middle divided and multiplied by the first, by up to the second where times differed."""
NEAR = 1.5
"""A size within this factor of one whose times are known needs no timing of its own."""
SIZES, FURTHER = 3, 2
"""Sizes of an architecture that are timed at most, with the first optimizer and with each further one."""

Family = tuple[str, ...]
"""An architecture, its optimizer, and a trainer with its options where that is not scalelab's own loop."""


@dataclass(frozen=True)
class Rate:
    """What the steps of one network take.

    Attributes:
        flops: FLOPs of a step.
        step: Seconds a step.
        validation: Seconds a validation example.
        spread: How many times as long the slow looks took as the fast ones.
    """

    flops: float
    step: float
    validation: float
    spread: float


class Clock:
    """Says how long trials take.

    Args:
        rates: Known rates by family.
        opening: Seconds until a worker is at its first trial.
        setup: Seconds from there until the first step, and of each later trial likewise.
    """

    def __init__(self, rates: dict[Family, list[Rate]], opening: float, setup: float) -> None:
        self._curves = {name: _curves(known) for name, known in rates.items()}
        self._setup = setup
        self.opening = Span.around(opening, MARGIN)

    def __call__(self, work: Work) -> Span:
        """Returns how long a trial takes."""
        sizes, steps, validations, spreads = self._curves[_family(work.trial)]
        at = math.log(work.step_flops)
        # Beyond the largest size known, times grow as the size does.
        further = max(0.0, at - float(sizes[-1]))
        step, validation = (
            math.exp(float(np.interp(at, sizes, values)) + further) for values in (steps, validations)
        )
        factor = min(MARGIN * math.sqrt(float(np.interp(at, sizes, spreads))), MOST)
        when = Validations.of(work.trial.training, work.n_steps, work.n_validation, work.passes)
        passed = when.passed(work.n_validation)
        before = self._setup + work.counting
        trained = Span.around(before + work.n_steps * step + passed * validation, factor)
        # The best point may be another one than the last.
        again = work.n_validation * validation
        return trained + Span(0.0, again / 2, again)


def _curves(rates: Sequence[Rate]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns by size, in logarithms, seconds a step and a validation example, and the spread of each size.

    Neither time falls as the size grows.
    """
    known = sorted(rates, key=lambda rate: rate.flops)
    sizes, steps, validations = np.log([(rate.flops, rate.step, rate.validation) for rate in known]).T
    spreads = np.array([rate.spread for rate in known])
    return sizes, isotonic_regression(steps).x, isotonic_regression(validations).x, spreads


def make_clock(
    pending: Sequence[Work],
    known: Sequence[Timing],
    job_of: Callable[[Trial], Job],
    on_timing: Callable[[], None],
) -> Clock:
    """Returns a clock for trials that are to be done.

    Args:
        pending: The trials.
        known: What the store has of trials on the same data.
        job_of: Returns a trial as a worker would get it, with its precision.
        on_timing: Called before trials are timed, if any are.

    Raises:
        InputError: A trial cannot be trained here, or only its trainer knows how long it takes.
    """
    alike = _alike(known, job_of(pending[0].trial))
    rates = _recorded(alike)
    unknown = _unknown(pending, rates)
    overheads = sorted(timing.overhead for timing in alike) or [0.0]
    setup = overheads[len(overheads) // 2]
    opening = overheads[-1] - setup
    for work in unknown:
        if work.trial.trainer != DEFAULT_TRAINER:
            raise InputError(
                f"trainer {work.trial.trainer.name!r} trains its own way, and the store has no runs of such "
                "trials by it on such a machine to tell their time from"
            )
    if unknown:
        on_timing()
        times = time_jobs([job_of(work.trial) for work in unknown])
        opening = times.opening
        setup = float(np.mean([timed.setup for found in times.trials.values() for timed in found]))
        for work in unknown:
            found = times.trials[work.trial.id]
            looks = [look for timed in found for look in timed.looks]
            rate = Rate(
                work.step_flops,
                float(np.mean([timed.step for timed in found])),
                float(np.mean([timed.validation for timed in found])),
                _spread(looks),
            )
            rates[_family(work.trial)].append(rate)
    return Clock(rates, opening, setup)


def _family(trial: Trial) -> Family:
    guest = trial.trainer if trial.trainer != DEFAULT_TRAINER else None
    trainer = () if guest is None else (canonical_json(guest.model_dump(mode="json")),)
    return trial.architecture.name, trial.optimizer.name, *trainer


def _spread(seconds: Sequence[float]) -> float:
    fast, slow = np.quantile(seconds, [0.1, 0.9])
    return float(slow / fast)


def _alike(known: Sequence[Timing], job: Job) -> list[Timing]:
    """Returns the timings of the same options on the same kind of machine, shared by as many workers."""
    from scalelab.train.device import resolve_device

    here = machine_facts(str(resolve_device(job.device)), threads=1, workers=job.crew.workers)
    names = ("cpu", "cores", "torch", "device", "device_name", "workers")
    training = job.trial.training

    def same(timing: Timing) -> bool:
        other = timing.trial.training
        return (
            all(getattr(timing.machine, name) == getattr(here, name) for name in names)
            and timing.machine.threads == job.crew.threads_for(timing.step_flops)
            and (other.batch_size, other.augment, timing.precision)
            == (training.batch_size, training.augment, job.precision)
        )

    return [timing for timing in known if same(timing)]


def _recorded(timings: Sequence[Timing]) -> dict[Family, list[Rate]]:
    """Returns the rates of recorded trials: of each size the median, with the spread of all around theirs."""
    sizes: dict[tuple[Family, float], list[Timing]] = defaultdict(list)
    for timing in timings:
        sizes[_family(timing.trial), timing.step_flops].append(timing)
    medians = {size: float(np.median([timing.step for timing in own])) for size, own in sizes.items()}
    ratios = [timing.step / medians[size] for size, own in sizes.items() for timing in own]
    rates: dict[Family, list[Rate]] = defaultdict(list)
    for (family, flops), own in sizes.items():
        validation = float(np.median([timing.validation for timing in own]))
        rates[family].append(Rate(flops, medians[family, flops], validation, _spread(ratios)))
    return rates


def _unknown(pending: Sequence[Work], rates: dict[Family, list[Rate]]) -> list[Work]:
    """Returns trials to time: of each family's sizes that are not known a few, ends and middle."""
    sizes: dict[Family, dict[float, Work]] = defaultdict(dict)
    for work in pending:
        family, flops = _family(work.trial), work.step_flops
        known = [rate.flops for rate in rates.get(family, ())]
        near = any(flops / NEAR <= size <= flops * NEAR for size in known)
        between = bool(known) and min(known) <= flops <= max(known)
        if not (near or between):
            sizes[family].setdefault(flops, work)
    chosen = []
    seen: set[str] = set()
    for (architecture, *_), own in sizes.items():
        ordered = [own[flops] for flops in sorted(own)]
        most = FURTHER if architecture in seen else SIZES
        places = np.unique(np.linspace(0, len(ordered) - 1, most).round().astype(int))
        chosen += [ordered[place] for place in places]
        seen.add(architecture)
    return chosen
