"""What a study would do: its trials with parameters, FLOPs and estimated time, without training any.

The time is estimated by timing forward and backward passes of up to three of the study's models (smallest,
middle, largest) on random input, and interpolating between them in the logarithms of FLOPs and seconds. It
counts validation passes but not data preparation, and assumes that the machine stays as busy as it is now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scalelab.components import Task
from scalelab.execute.crew import Crew
from scalelab.measure.models import costs, network
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import FINAL_STATUSES, Complexity, Trial
from scalelab.store import Store, open_store
from scalelab.study import Study, expand, load_study

TIMED_FLOPS = 2e10
TIMED_STEPS = 3


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a plan.

    Attributes:
        trial: The trial.
        n_params: Trainable parameters.
        forward_flops: FLOPs of one example's forward pass.
        train_flops: FLOPs of the whole training.
        n_steps: Optimizer steps.
        epochs: Passes over the trial's unique examples.
        threads: CPU threads that train it.
        seconds: Estimated wall time on this machine.
        status: What the store has of it: `"pending"` or the status of its record.
    """

    json_fields: ClassVar[tuple[str, ...]] = (
        "trial_id=trial.id", "status", "n_params", "n_examples=trial.n_examples", "forward_flops",
        "train_flops", "n_steps", "epochs", "threads", "seconds", "trial",
    )  # fmt: skip

    trial: Trial
    n_params: int
    forward_flops: float
    train_flops: float
    n_steps: int
    epochs: float
    threads: int
    seconds: float
    status: str


@dataclass(frozen=True)
class Plan:
    """A study's trials and what they would cost.

    Attributes:
        study: The study's name.
        trials: In the order in which they would run.
        skipped: Points that sampling left out, each with the reason.
        crew: The workers that `seconds` is for, and their threads.
    """

    json_fields: ClassVar[tuple[str, ...]] = (
        "study", "workers=crew.workers", "threads=crew.threads", "seconds", "skipped", "trials",
    )  # fmt: skip

    study: str
    trials: tuple[PlannedTrial, ...]
    skipped: tuple[str, ...]
    crew: Crew

    @property
    def pending(self) -> tuple[PlannedTrial, ...]:
        """The trials that a run would attempt."""
        return tuple(row for row in self.trials if row.status not in FINAL_STATUSES)

    @property
    def seconds(self) -> float:
        """Estimated wall time of the pending trials, shared by the workers."""
        rows = self.pending
        longest = max((row.seconds for row in rows), default=0.0)
        return max(longest, sum(row.seconds for row in rows) / max(1, self.crew.workers))


def plan_study(
    study: Study | str | Path,
    store: Store | str | Path | None = None,
    *,
    workers: int = 1,
    threads: int | None = None,
    catalog: Catalog | None = None,
) -> Plan:
    """Returns what running a study would do; nothing is trained and nothing is written to the store.

    Args:
        study: A study, or the path of its file.
        store: A store, or the path of its file, where to look up what is done already; `None` counts
            everything as pending.
        workers: How many workers would share the trials; 0 is this process.
        threads: CPU threads of each, see `run_study`.
        catalog: The plugins; the installed ones by default.

    Raises:
        InputError: The study, a component or the dataset is wrong.
        StoreError: The store cannot be read.
    """
    from scalelab.train.schedules import Validations, resolve_steps

    catalog = catalog or load_plugins()
    study = load_study(study, catalog)
    cost = costs(catalog)
    expansion = expand(study, catalog, cost=cost)
    task = expansion.dataset.task
    measured = [
        (trial, cost(trial.architecture, task.input_shape, task.n_outputs)) for trial in expansion.trials
    ]
    outcomes = open_store(store).outcomes([trial.id for trial in expansion.trials]) if store else {}
    finished = sum(outcome.status in FINAL_STATUSES for outcome in outcomes.values())
    crew = Crew.of(workers, threads, len(measured) - finished or len(measured))
    clock = _clock(measured, task, catalog, crew)
    rows = []
    for trial, costed in measured:
        n_steps = resolve_steps(trial.training, trial.n_examples, costed.train_flops_per_example)
        n_seen = n_steps * trial.training.batch_size
        n_validation = len(expansion.dataset.validation)
        validated = Validations.of(trial.training, n_steps, n_validation).passed(n_validation)
        n_passed = n_seen + validated * costed.forward_flops / costed.train_flops_per_example
        rows.append(
            PlannedTrial(
                trial=trial,
                n_params=costed.n_params,
                forward_flops=costed.forward_flops,
                train_flops=n_seen * costed.train_flops_per_example,
                n_steps=n_steps,
                epochs=n_seen / trial.n_examples,
                threads=crew.threads_for(_step_flops(trial, costed)),
                seconds=clock(costed) * n_passed,
                status=outcomes[trial.id].status if trial.id in outcomes else "pending",
            )
        )
    return Plan(study.name, tuple(rows), expansion.skipped, crew)


def _clock(
    measured: Sequence[tuple[Trial, Complexity]], task: Task, catalog: Catalog, crew: Crew
) -> Callable[[Complexity], float]:
    """Returns seconds an example as a function of its FLOPs, from a few timed models."""
    import numpy as np
    import torch

    by_flops = {cost.train_flops_per_example: (trial, cost) for trial, cost in measured}
    ordered = [by_flops[flops] for flops in sorted(by_flops)]
    chosen = [ordered[i] for i in sorted({0, len(ordered) // 2, len(ordered) - 1})] if ordered else []
    before = torch.get_num_threads()
    times = []
    try:
        for trial, cost in chosen:
            torch.set_num_threads(crew.threads_for(_step_flops(trial, cost)))
            times.append(_time_example(trial, cost.train_flops_per_example, task, catalog))
    finally:
        torch.set_num_threads(before)
    known = np.log([cost.train_flops_per_example for _, cost in chosen]), np.log(times)
    return lambda cost: float(np.exp(np.interp(np.log(cost.train_flops_per_example), *known)))


def _step_flops(trial: Trial, cost: Complexity) -> float:
    """Returns the FLOPs of a training step."""
    return trial.training.batch_size * cost.train_flops_per_example


def _time_example(trial: Trial, flops: float, task: Task, catalog: Catalog) -> float:
    """Returns seconds an example of a training step of the trial's model, in the middle of a few steps."""
    import torch

    model = network(trial.architecture, task.input_shape, task.n_outputs, catalog)
    batch = max(1, min(trial.training.batch_size, int(TIMED_FLOPS / flops)))
    inputs = torch.randn(batch, *task.input_shape, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        model(inputs).square().mean().backward()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[TIMED_STEPS // 2] / batch
