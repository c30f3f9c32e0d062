"""The worker: makes one attempt at a trial and writes its record into the journal.

`run_job` is the whole of it and runs anywhere. `python -m scalelab.execute.worker` does the jobs of a local
coordinator, see `scalelab.supervise.workbench.serve`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from scalelab.errors import (
    KilledError,
    MemoryRanOutError,
    ScalelabError,
    ScalelabWarning,
    StoreError,
    plain_line,
    text_of,
)
from scalelab.execute.features import features_of
from scalelab.execute.jobs import Broken, Event, Finished, Job, Lost, Progressed, Warned
from scalelab.execute.script import attempt_command
from scalelab.measure.costs import Costs
from scalelab.measure.models import build_model, options_with_files, params_of
from scalelab.measurements import Complexity
from scalelab.plugins.libraries import libraries_of_trial
from scalelab.records import Frozen, Record
from scalelab.schedules import resolve_steps
from scalelab.store import Journal
from scalelab.subsets import drawn_an_epoch
from scalelab.supervise.workbench import Workbench, flush_prints, one_line, serve
from scalelab.trainers import components_of
from scalelab.version import __version__

if TYPE_CHECKING:
    import torch
    from torch import nn

    from scalelab.components import OpenDataset
    from scalelab.params import Params
    from scalelab.train.results import Progress

PROGRESS_SECONDS = 0.5
TRACEBACK_LENGTH = 200_000
"""Characters that are kept of a traceback, half of them of its end."""


def run_job(
    job: Job,
    bench: Workbench | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_traceback: Callable[[str], object] | None = None,
) -> Record:
    """Trains one trial and writes its record into the journal of `job.store`.

    Whatever goes wrong in a component, or is wrong in what it gives, ends in a record of status `failed` with
    one line of reason.

    Args:
        job: What to train.
        bench: What stays open from trial to trial.
        on_progress: Told how far it is.
        should_stop: Asked at every step; true makes the attempt end as `interrupted`.
        on_traceback: Gets the traceback of a failure, which by default is added to the attempt's log.

    Returns:
        The record, which is on disk when this returns.

    Raises:
        MemoryRanOutError: Memory ran out, which is not the trial's fault where others share it; there is no
            record.
        KilledError: The trial's command was killed; there is no record, either.
        StoreError: The journal cannot be written; there is no record.
    """
    bench = bench or Workbench()
    journal = Journal(Path(job.store))
    started = time.time()
    clock = time.perf_counter()

    def record_of(**facts: Any) -> Record:
        return job.record(started, **{"wall_seconds": time.perf_counter() - clock, **facts})

    try:
        make = functools.partial(_attempt, bench) if job.place is None else attempt_command
        record = record_of(**make(job, journal, on_progress, should_stop))
        record.model_dump_json()  # what cannot be written down is the attempt's failure, too
    except (StoreError, MemoryRanOutError, KilledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # what a plugin ends with is not the end of its worker
        record = record_of(status="failed", error=one_line(error))
        if not isinstance(error, ScalelabError):
            (on_traceback or functools.partial(journal.add_to_log, job.record_id))(_traceback())
    record = journal.write(record)
    if record.status in ("done", "diverged"):
        journal.checkpoint(job.trial.id).unlink(missing_ok=True)
        if job.place is not None:
            shutil.rmtree(journal.script(job.trial.id), ignore_errors=True)
    return record


def _traceback() -> str:
    """Returns the traceback of the error that is being handled, without what a file or a pipe cannot take."""
    try:
        text = traceback.format_exc()
    except Exception as error:  # what a plugin's error answers may raise
        text = f"its traceback cannot be had: {type(error).__name__}\n"
    if len(text) > TRACEBACK_LENGTH:
        half = TRACEBACK_LENGTH // 2
        text = f"{text[:half]}\n[scalelab: {len(text):,} characters in all]\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Ready:
    """A trial that is ready to be trained.

    Attributes:
        data: Its dataset.
        module: Freshly initialized, on the device.
        optimizer: Over the module's parameters.
        closure: Whether its `step` takes a closure.
        evaluations: Gradients that its step evaluates at most.
        n_steps: Steps of its training.
        params: Options of its architecture.
        cost: What an example costs.
        counting: Seconds that it took to count that, where the cache did not have it.
        device: Where it is trained.
        threads: CPU threads that train it, which torch was told.
    """

    data: OpenDataset
    module: nn.Module
    optimizer: torch.optim.Optimizer
    closure: Literal["whole", "after"] | None
    evaluations: int
    n_steps: int
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

    from scalelab.train.device import leave_others_room, resolve_device, seed_everything
    from scalelab.train.optimizers import build_optimizer

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
    leave_others_room(device, job.sharers)
    module.to(device)
    evaluations = optimizer.gradients(optimizer_params)
    flops = evaluations * cost.train_flops_at(trial.training.batch_size)
    an_epoch = drawn_an_epoch(data, trial.n_examples, trial.data_seed)
    n_steps = resolve_steps(trial.training, an_epoch, flops)
    built = build_optimizer(optimizer, optimizer_params, module, n_steps)
    return Ready(
        data=data,
        module=module,
        optimizer=built,
        closure=optimizer.closure,
        evaluations=evaluations,
        n_steps=n_steps,
        params=params,
        cost=cost,
        counting=costs.seconds,
        device=device,
        threads=threads,
    )


def _attempt(
    bench: Workbench,
    job: Job,
    journal: Journal,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> dict[str, Any]:
    """Returns the fields of the record of an attempt that got as far as training."""
    from scalelab.measure.machine import machine_facts
    from scalelab.train.bundled import bundled_trainer
    from scalelab.train.checkpoint import save_weights
    from scalelab.train.device import clear_memory_errors
    from scalelab.train.metrics import objective_of
    from scalelab.train.trainer import train_with

    trial = job.trial
    with clear_memory_errors(job.device, trial.training.batch_size):
        ready = prepare(job, bench)
        task = ready.data.task
        metric, direction = objective_of(task, trial.training.objective)
        catalog = bench.catalog(job.plugins)
        # Before the training, which would be for nothing.
        features = features_of(catalog.architecture(trial.architecture.name), ready.params, task)
        flops = ready.cost.train_flops_at(trial.training.batch_size)
        components = components_of(trial)
        trainer = catalog.trainer(trial.trainer.name) if "trainer" in components else bundled_trainer
        result = train_with(
            trainer,
            params_of(trainer, options_with_files(trial.trainer, job.files)),
            trial,
            ready.data,
            ready.module,
            ready.optimizer,
            closure=ready.closure,
            evaluations=ready.evaluations,
            device=str(ready.device),
            precision=job.precision,
            checkpoint=journal.checkpoint(trial.id),
            on_progress=on_progress,
            should_stop=should_stop,
            train_flops_per_example=flops,
        )
        if job.keep_weights and result.status == "done":
            save_weights(journal.weights(trial.id), trial.id, ready.module, result.best_weights)
    return {
        **_shared(Record, ready.cost),
        **_shared(Record, result),
        "metric": metric,
        "direction": direction,
        "features": features,
        "machine": machine_facts(result.device, threads=ready.threads, workers=job.crew.workers),
        "scalelab_version": __version__,
        "libraries": libraries_of_trial(catalog, trial),
        "provenance": {kind: catalog.provenance(kind, own.name) for kind, own in components.items()},
    }


def attempt_job(
    job: Job,
    bench: Workbench,
    send: Callable[[Event], None],
    should_stop: Callable[[], bool],
    on_traceback: Callable[[str], object] | None = None,
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
        record = run_job(job, bench, on_progress=report, should_stop=should_stop, on_traceback=on_traceback)
        if job.sharers != 1 and job.place is None:
            from scalelab.train.device import give_back_memory

            give_back_memory()
    except KilledError as error:
        send(Lost(trial_id=job.trial.id, reason=str(error)))
        return
    except MemoryRanOutError as error:
        send(Lost(trial_id=job.trial.id, reason=str(error), out_of_memory=True))
        return
    except StoreError as error:
        send(Broken(trial_id=job.trial.id, message=plain_line(str(error), 1000)))
        return
    send(Finished(trial_id=job.trial.id, **_shared(Finished, record)))


def _shared(kind: type[Frozen], source: object) -> dict[str, Any]:
    """Returns the fields of a kind that its source has too."""
    return {name: getattr(source, name) for name in kind.model_fields if hasattr(source, name)}


def _print_traceback(text: str) -> None:
    """Prints a traceback after all that was printed before, whatever a plugin did to `sys.stderr`."""
    flush_prints()
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


@contextlib.contextmanager
def _warnings_sent(job: Job, send: Callable[[Event], None]) -> Iterator[None]:
    """Sends scalelab's own warnings, too, which would be seen in the attempt's log alone."""
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        shown(message, category, filename, lineno, file, line)
        if issubclass(category, ScalelabWarning):
            place = plain_line(f"{filename}:{lineno}")
            send(Warned(trial_id=job.trial.id, place=place, message=plain_line(text_of(message), 2000)))

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def main() -> None:
    """Does jobs until there are no more orders; what they print is their coordinator's to keep."""
    bench = Workbench()

    def work(line: str, send: Callable[[Event], None], should_stop: Callable[[], bool]) -> None:
        job = Job.model_validate_json(line)
        with _warnings_sent(job, send):
            attempt_job(job, bench, send, should_stop, on_traceback=_print_traceback)

    serve(work)
    os._exit(0)  # quick: everything is on disk, and unloading torch takes long


if __name__ == "__main__":
    main()
