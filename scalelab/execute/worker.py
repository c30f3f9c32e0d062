"""The worker: makes one attempt at a trial and writes its record into the journal.

`run_job` is the whole of it and runs anywhere. `python -m scalelab.execute.worker` serves jobs to a local
coordinator, see `scalelab.supervise.workbench.serve`.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import ScalelabError, StoreError
from scalelab.execute.jobs import Broken, Finished, Job, Lost, Progressed
from scalelab.measure.costs import Costs
from scalelab.measure.models import build_model, options_with_files, params_of
from scalelab.measurements import Complexity
from scalelab.records import Frozen, Record
from scalelab.store import Journal
from scalelab.supervise.workbench import Workbench, one_line, serve
from scalelab.version import __version__

if TYPE_CHECKING:
    import torch
    from torch import nn

    from scalelab.components import OpenDataset, Params
    from scalelab.plugins import Kind
    from scalelab.train.results import Progress

PROGRESS_SECONDS = 0.5
_KINDS: tuple[Kind, ...] = ("dataset", "architecture", "optimizer")


def run_job(
    job: Job,
    bench: Workbench | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Record:
    """Trains one trial and writes its record into the journal of `job.store`.

    Whatever goes wrong in a component ends in a record of status `failed` with one line of reason; the
    traceback is kept in the journal's `logs` folder.

    Returns:
        The record, which is on disk when this returns.

    Raises:
        StoreError: The journal cannot be written; there is no record.
    """
    bench = bench or Workbench()
    journal = Journal(Path(job.store))
    started = time.time()
    clock = time.perf_counter()
    try:
        facts = _attempt(job, bench, journal, on_progress, should_stop)
    except StoreError:
        raise
    except Exception as error:
        facts = {"status": "failed", "error": one_line(error)}
        if not isinstance(error, ScalelabError):
            journal.write_log(f"{job.trial.id}-{job.attempt}", traceback.format_exc())
    record = Record(
        trial=job.trial,
        study=job.study,
        attempt=job.attempt,
        started_at=started,
        finished_at=time.time(),
        **{"wall_seconds": time.perf_counter() - clock, **facts},
    )
    journal.write(record)
    if record.status in ("done", "diverged"):
        journal.checkpoint(job.trial.id).unlink(missing_ok=True)
    return record


@dataclass(frozen=True, slots=True)
class Ready:
    """A trial that is ready to be trained.

    Attributes:
        data: Its dataset.
        module: Freshly initialized, on the device.
        optimizer: Over the module's parameters.
        params: Options of its architecture.
        cost: What an example costs.
        counting: Seconds that it took to count that, where the cache did not have it.
        device: Where it is trained.
        threads: CPU threads that train it, which torch was told.
    """

    data: OpenDataset
    module: nn.Module
    optimizer: torch.optim.Optimizer
    params: Params
    cost: Complexity
    counting: float
    device: torch.device
    threads: int


def prepare(job: Job, bench: Workbench) -> Ready:
    """Makes a trial ready to be trained in this process.

    Raises:
        ScalelabError: A component or an option is wrong, or the dataset is another one by now.
    """
    import torch

    from scalelab.train.device import resolve_device, seed_everything

    trial = job.trial
    catalog = bench.catalog(job.plugins)
    data = bench.dataset(job.plugins, trial.dataset.name, job.dataset_options, trial.fingerprint)
    architecture = catalog.architecture(trial.architecture.name)
    optimizer = catalog.optimizer(trial.optimizer.name)
    task = data.task
    seed_everything(trial.seed)
    params = params_of(architecture, options_with_files(trial.architecture, job.files))
    module = build_model(architecture.name, params, task.input_shape, task.n_outputs, catalog=catalog)
    costs = Costs(catalog)
    cost = costs.of_built(trial.architecture, task.input_shape, task.n_outputs, params=params, module=module)
    threads = job.crew.threads_for(cost.step_flops(trial.training.batch_size))
    torch.set_num_threads(threads)
    optimizer_params = params_of(optimizer, options_with_files(trial.optimizer, job.files))
    device = resolve_device(job.device)
    module.to(device)
    built = optimizer.build(optimizer_params, module)
    return Ready(data, module, built, params, cost, costs.seconds, device, threads)


def _attempt(
    job: Job,
    bench: Workbench,
    journal: Journal,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> dict[str, Any]:
    """Returns the fields of the record of an attempt that got as far as training."""
    from scalelab.measure.machine import machine_facts
    from scalelab.train.checkpoint import save_weights
    from scalelab.train.loop import train_model
    from scalelab.train.metrics import objective_of

    trial = job.trial
    ready = prepare(job, bench)
    flops = ready.cost.train_flops_at(trial.training.batch_size)
    result = train_model(
        trial,
        ready.data,
        ready.module,
        ready.optimizer,
        device=str(ready.device),
        precision=job.precision,
        checkpoint=journal.checkpoint(trial.id),
        on_progress=on_progress,
        should_stop=should_stop,
        train_flops_per_example=flops,
    )
    if job.keep_weights and result.status == "done":
        save_weights(journal.weights(trial.id), trial.id, ready.module, result.best_weights)
    task = ready.data.task
    metric, direction = objective_of(task)
    catalog = bench.catalog(job.plugins)
    features = catalog.architecture(trial.architecture.name).features
    return {
        **_shared(Record, ready.cost),
        **_shared(Record, result),
        "metric": metric,
        "direction": direction,
        "train_flops": result.n_steps * trial.training.batch_size * flops,
        "features": dict(features(ready.params, task.input_shape, task.n_outputs)) if features else {},
        "machine": machine_facts(result.device, threads=ready.threads, workers=job.crew.workers),
        "scalelab_version": __version__,
        "provenance": {kind: catalog.provenance(kind, getattr(trial, kind).name) for kind in _KINDS},
    }


def attempt_job(
    job: Job,
    bench: Workbench,
    send: Callable[[Progressed | Finished | Lost | Broken], None],
    should_stop: Callable[[], bool],
) -> None:
    """Runs a job and reports it as events: progress at most twice a second, then how it ended."""
    last = 0.0

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_SECONDS:
            last = now
            send(Progressed(trial_id=job.trial.id, **_shared(Progressed, progress)))

    try:
        record = run_job(job, bench, on_progress=report, should_stop=should_stop)
    except StoreError as error:
        send(Broken(trial_id=job.trial.id, message=str(error)))
        return
    send(Finished(trial_id=job.trial.id, **_shared(Finished, record)))


def _shared(kind: type[Frozen], source: object) -> dict[str, Any]:
    """Returns the fields of a kind that its source has too."""
    return {name: getattr(source, name) for name in kind.model_fields if hasattr(source, name)}


def main() -> None:
    """Serves jobs from standard input until it ends."""
    bench = Workbench()
    serve(lambda line, *answers: attempt_job(Job.model_validate_json(line), bench, *answers))
    os._exit(0)  # quick: everything is on disk, and unloading torch takes long


if __name__ == "__main__":
    main()
