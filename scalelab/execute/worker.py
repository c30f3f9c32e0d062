"""The worker: makes one attempt at a trial and writes its record into the journal.

`run_job` is the whole of it and runs anywhere. `python -m scalelab.execute.worker` serves jobs to a local
coordinator: JSON lines in on standard input, events out on standard output, everything else on standard
error. It ends when its input does, so that a coordinator that is killed leaves no orphan behind.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import ScalelabError, StoreError
from scalelab.execute.jobs import Broken, Finished, Job, Lost, Progressed
from scalelab.measure.models import build_model, resolve_params
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import Provenance, Record, canonical_json
from scalelab.store import Journal
from scalelab.supervise.process import one_line, serve_the_coordinator

if TYPE_CHECKING:
    from scalelab.components import OpenDataset
    from scalelab.plugins import Kind
    from scalelab.train.results import Progress, TrainResult

INTERRUPT_LINE = "interrupt"
PROGRESS_SECONDS = 0.5


class Bench:
    """What a worker keeps between jobs: its plugins and its open datasets.

    Invariant: one thread uses it. Datasets are read-only memory maps, which workers share.
    """

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._catalog = catalog
        self._key: tuple[object, ...] | None = None
        self._datasets: dict[str, OpenDataset] = {}

    def catalog(self, job: Job) -> Catalog:
        """Returns the plugins that the job's coordinator sees."""
        key = (job.plugins_dirs, job.select)
        if self._catalog is None or (self._key is not None and self._key != key):
            self._catalog = load_plugins(plugins_dirs=[Path(d) for d in job.plugins_dirs], select=job.select)
            self._key = key
        return self._catalog

    def dataset(self, job: Job) -> OpenDataset:
        """Opens the job's dataset, or returns it where it is open already.

        Raises:
            ScalelabError: It cannot be opened, or its content is no longer what the trial was made for.
        """
        name = job.trial.dataset.name
        key = canonical_json([name, job.dataset_options])
        if key not in self._datasets:
            component = self.catalog(job).dataset(name)
            params = resolve_params(component.params, job.dataset_options, f"dataset {name!r}")
            self._datasets[key] = component.open(params)
        data = self._datasets[key]
        if data.fingerprint != job.trial.fingerprint:
            raise ScalelabError(
                f"dataset {name!r} changed since the study was planned (fingerprint {data.fingerprint[:12]}, "
                f"expected {job.trial.fingerprint[:12]}); run the study again"
            )
        return data


def run_job(
    job: Job,
    bench: Bench | None = None,
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
    bench = bench or Bench()
    journal = Journal(Path(job.store))
    started = time.time()
    clock = time.perf_counter()
    facts: dict[str, Any] = {}
    try:
        facts.update(_attempt(job, bench, journal, on_progress, should_stop))
    except StoreError:
        raise
    except Exception as error:
        facts.update(status="failed", error=one_line(error))
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


def _attempt(
    job: Job,
    bench: Bench,
    journal: Journal,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> dict[str, Any]:
    """Returns the fields of the record of an attempt that got as far as training."""
    import torch

    import scalelab
    from scalelab.measure.flops import complexity
    from scalelab.measure.machine import machine_facts
    from scalelab.train.checkpoint import save_weights
    from scalelab.train.device import resolve_device, seed_everything
    from scalelab.train.loop import train
    from scalelab.train.metrics import objective_of

    trial = job.trial
    catalog = bench.catalog(job)
    data = bench.dataset(job)
    architecture = catalog.architecture(trial.architecture.name)
    optimizer = catalog.optimizer(trial.optimizer.name)
    task = data.task
    torch.set_num_threads(job.threads)
    seed_everything(trial.seed)
    params = resolve_params(
        architecture.params, trial.architecture.params, f"architecture {architecture.name!r}"
    )
    module = build_model(architecture.name, params, task.input_shape, task.n_outputs, catalog=catalog)
    cost = complexity(module, task.input_shape, head=architecture.head)
    optimizer_params = resolve_params(
        optimizer.params, trial.optimizer.params, f"optimizer {optimizer.name!r}"
    )
    device = resolve_device(job.device)
    module.to(device)
    result = train(
        trial,
        data,
        module,
        optimizer.build(optimizer_params, module),
        device=str(device),
        checkpoint=journal.checkpoint(trial.id),
        on_progress=on_progress,
        should_stop=should_stop,
        train_flops_per_example=cost.train_flops_per_example,
    )
    if job.keep_weights and result.status == "done":
        save_weights(journal.weights(trial.id), trial.id, module)
    metric, direction = objective_of(task)
    features = architecture.features
    return {
        **_measured(result),
        "metric": metric,
        "direction": direction,
        "n_params": cost.n_params,
        "n_params_body": cost.n_params_body,
        "forward_flops": cost.forward_flops,
        "train_flops": result.n_steps * trial.training.batch_size * cost.train_flops_per_example,
        "features": dict(features(params, task.input_shape, task.n_outputs)) if features else {},
        "machine": machine_facts(result.device, threads=job.threads),
        "scalelab_version": scalelab.__version__,
        "provenance": _provenance(catalog, trial.dataset.name, architecture.name, optimizer.name),
    }


def _measured(result: TrainResult) -> dict[str, Any]:
    return {
        "status": result.status,
        "error": result.error,
        "loss": result.loss,
        "loss_last": result.loss_last,
        "objective": result.objective,
        "objective_last": result.objective_last,
        "best_step": result.best_step,
        "metrics": result.metrics,
        "curve": result.curve,
        "n_steps": result.n_steps,
        "epochs": result.epochs,
        "precision": result.precision,
        "wall_seconds": result.wall_seconds,
        "peak_memory_bytes": result.peak_memory_bytes,
    }


def _provenance(catalog: Catalog, dataset: str, architecture: str, optimizer: str) -> dict[str, Provenance]:
    names: dict[Kind, str] = {"dataset": dataset, "architecture": architecture, "optimizer": optimizer}
    return {kind: catalog.provenance(kind, name) for kind, name in names.items()}


def attempt_job(
    job: Job,
    bench: Bench,
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
            send(
                Progressed(
                    trial_id=job.trial.id,
                    step=progress.step,
                    n_steps=progress.n_steps,
                    loss=progress.loss,
                    examples_per_second=progress.examples_per_second,
                )
            )

    try:
        record = run_job(job, bench, on_progress=report, should_stop=should_stop)
    except StoreError as error:
        send(Broken(trial_id=job.trial.id, message=str(error)))
        return
    send(
        Finished(
            trial_id=job.trial.id,
            status=record.status,
            wall_seconds=record.wall_seconds or 0.0,
            loss=record.loss,
            objective=record.objective,
            error=record.error,
        )
    )


def main() -> None:
    """Serves jobs from standard input until it ends."""
    import queue

    serve_the_coordinator()
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == INTERRUPT_LINE:
                stop.set()
            else:
                jobs.put(Job.model_validate_json(line))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    bench = Bench()
    while (job := jobs.get()) is not None:
        attempt_job(job, bench, lambda event: print(event.model_dump_json(), file=events), stop.is_set)


if __name__ == "__main__":
    main()
