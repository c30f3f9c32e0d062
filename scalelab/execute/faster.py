"""Whether bf16 makes a study faster on this CPU: small networks are slower in it, large ones much faster.

A few of the study's own networks are timed in both, in processes like a run's workers, so that one which
hangs or crashes costs no more than bf16. What was found for just these trials and this crew is kept in the
cache, so that `run` decides as `plan` said, and for another store as for the first one.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from scalelab.errors import InputError
from scalelab.execute.jobs import Job
from scalelab.execute.kept import keep, place
from scalelab.execute.timing import Times, time_jobs
from scalelab.measure.machine import cpu_name
from scalelab.records import DEFAULT_TRAINER, Trial, canonical_json
from scalelab.schedules import resolve_steps
from scalelab.study import Expansion
from scalelab.subsets import drawn_an_epoch

if TYPE_CHECKING:
    from scalelab.train.device import Precision

FEWEST_STEPS, FEWEST_FLOPS = 2000, 1e12
"""Studies of less are not timed: networks that bf16 pays for take half a minute or more."""
NETWORKS = 3
"""Networks that are timed at most."""
TURNS = ("fp32", "bf16", "bf16", "fp32")
"""In which order: neither has the earlier half, where other work comes or goes."""
SECONDS, SILENCE = 0.3, 120.0
"""How long each turn is at least, and how long no answer is one."""
MOST = 0.95
"""The most of fp32's time that bf16 may take, which costs digits."""
FAILED_FOR = 3600.0
"""How many seconds a timing that failed is not tried again: `run` after `plan` does not wait for it twice."""


@dataclass(frozen=True)
class Sample:
    """A trial whose network is timed, also for others.

    Attributes:
        trial: The trial.
        lengths: What is to be trained of the networks that it stands for, in lengths of this trial.
    """

    trial: Trial
    lengths: float


def faster(
    trials: Sequence[Trial],
    expansion: Expansion,
    job_of: Callable[..., Job],
    on_timing: Callable[[], None],
) -> tuple[Precision, str]:
    """Returns what trials are trained in on this CPU, and why, in a few words.

    Args:
        trials: What is to be trained.
        expansion: What they are of, which knows their data.
        job_of: Returns a trial as a worker would get it, `job_of(trial, precision=…)`.
        on_timing: Called before networks are timed, if any are.
    """
    from scalelab.train.device import cpu_has_bf16

    if not cpu_has_bf16():
        return "fp32", "this CPU has no bf16 units"
    lengths = [_length(trial, expansion) for trial in trials]
    in_steps = trials[0].training.length.flops is None
    if sum(lengths) < (FEWEST_STEPS if in_steps else FEWEST_FLOPS):
        few = f"{FEWEST_STEPS:,} steps" if in_steps else f"{FEWEST_FLOPS:.0e} FLOPs"
        return "fp32", f"fewer than {few} in all, for which timing bf16 does not pay"
    guest = next((trial.trainer.name for trial in trials if trial.trainer != DEFAULT_TRAINER), None)
    if guest is not None:
        return "fp32", f"trainer {guest!r} trains its own way, so that nothing is timed"
    try:
        ratio = _known(trials, lengths, job_of, on_timing)
    except InputError as error:
        return "fp32", str(error)
    words = f"a step takes {ratio:.2f} times as long in bf16 as in fp32"
    if round(ratio, 2) <= MOST:
        return "bf16", words
    return "fp32", f"{words}, too little to win" if ratio < 1 else words


def _length(trial: Trial, expansion: Expansion) -> float:
    """Returns how long a trial is trained, in FLOPs where its length is in FLOPs, else in steps."""
    length = trial.training.length
    if length.flops is not None:
        return length.flops
    an_epoch = drawn_an_epoch(expansion.opened(trial).data, trial.n_examples, trial.data_seed)
    return resolve_steps(trial.training, an_epoch, np.nan)


def samples(trials: Sequence[Trial], lengths: Sequence[float]) -> list[Sample]:
    """Returns which networks are timed: the first, the last and some evenly between, each for its neighbors.

    Args:
        trials: What is to be trained, in order; their sizes are not known, as nothing was built yet.
        lengths: How long each is trained.
    """
    designs: dict[str, tuple[Trial, float]] = {}
    totals: dict[str, float] = defaultdict(float)
    for trial, length in zip(trials, lengths, strict=True):
        design = canonical_json([trial.architecture.model_dump(mode="json"), trial.fingerprint])
        designs.setdefault(design, (trial, length))
        totals[design] += length
    listed = list(designs)
    places = np.unique(np.linspace(0, len(listed) - 1, NETWORKS).round().astype(int))
    near = [int(np.abs(places - place).argmin()) for place in range(len(listed))]
    sums = np.bincount(near, weights=[totals[design] for design in listed])
    chosen = [designs[listed[place]] for place in places]
    return [Sample(trial, float(own) / length) for (trial, length), own in zip(chosen, sums, strict=True)]


def _known(
    trials: Sequence[Trial],
    lengths: Sequence[float],
    job_of: Callable[..., Job],
    on_timing: Callable[[], None],
) -> float:
    """Returns the time in bf16 by that in fp32, from the cache where it was found before.

    Raises:
        InputError: A network cannot be timed, or could not within the last hour.
    """
    ids, crew = sorted(trial.id for trial in trials), job_of(trials[0]).crew
    path = place("faster", ids, crew.model_dump(mode="json"), cpu_name(), version("torch"))
    with contextlib.suppress(OSError, ValueError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, str) and 0 <= time.time() - path.stat().st_mtime < FAILED_FOR:
            raise InputError(kept)
        return float(kept)
    on_timing()
    chosen = samples(trials, lengths)
    jobs = [job_of(sample.trial, precision=precision) for sample in chosen for precision in TURNS]
    try:
        times = time_jobs(jobs, SECONDS, SILENCE)
    except InputError as error:
        keep(path, str(error))
        raise
    ratio = _seconds(chosen, times, "bf16") / _seconds(chosen, times, "fp32")
    keep(path, ratio)
    return ratio


def _seconds(chosen: Sequence[Sample], times: Times, precision: Precision) -> float:
    """Returns what all steps take, by the faster looks at them: other work on the machine slows some."""
    total = 0.0
    for sample in chosen:
        found = [timed for timed in times.trials[sample.trial.id] if timed.precision == precision]
        step = float(np.quantile([look for timed in found for look in timed.looks], 0.25))
        total += sample.lengths * found[0].n_steps * step
    return total
