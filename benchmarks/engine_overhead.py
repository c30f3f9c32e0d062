"""Overhead of the engine per trial, against optuna with its SQLite storage, side by side in one run.

A trial that trains nothing: scalelab expands a study, claims each trial, hands it to an executor,
writes and fsyncs its record into the journal and ingests it into DuckDB; optuna asks for a trial, samples two
parameters, and tells its result to SQLite. The two alternate, so that a noisy machine hits both.

Run: `python benchmarks/engine_overhead.py [--trials 300] [--repeats 5]` (with the extra `benchmark`).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from nothing import catalog, study_of

import scalelab
from scalelab.execute.jobs import Finished, Job
from scalelab.store import Journal


class NoTraining:
    """An executor whose worker writes a record without training."""

    slots = 1
    threads = 1
    run = None

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def worker_pid(self) -> int | None:
        """Returns `None`: there is no worker process."""
        return None

    def submit(self, job: Job) -> None:
        """Takes the job."""
        self._jobs.append(job)

    def poll(self, _timeout: float) -> list[Finished]:
        """Writes the record of each job taken and says so."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            record = job.record(time.time(), status="done", loss=0.0, objective=0.0)
            Journal(Path(job.store)).write(record)
        return [Finished(trial_id=job.trial.id, status="done", wall_seconds=0.0) for job in jobs]

    def standing(self) -> str:
        """Returns nothing: it is here."""
        return ""

    def interrupt(self) -> bool:
        """Does nothing: a job ends at once."""
        return True

    def close(self) -> None:
        """Does nothing: there is no process."""


def scalelab_seconds(folder: Path, trials: int) -> float:
    from scalelab.study import load_study

    plugins = catalog()
    study = load_study(study_of(folder, trials), plugins)
    start = time.perf_counter()
    summary = scalelab.run_study(study, folder / "store.duckdb", catalog=plugins, executor=NoTraining())
    seconds = time.perf_counter() - start
    assert summary.done == trials
    return seconds


def optuna_seconds(folder: Path, trials: int) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    start = time.perf_counter()
    study = optuna.create_study(
        storage=f"sqlite:///{folder}/optuna.db", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(
        lambda trial: (
            0.0 * trial.suggest_float("lr", 1e-4, 1e-1, log=True) * trial.suggest_int("width", 8, 64)
        ),
        n_trials=trials,
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    ours, theirs = [], []
    for _ in range(args.repeats):
        for times, measure in ((ours, scalelab_seconds), (theirs, optuna_seconds)):
            with tempfile.TemporaryDirectory() as folder:
                times.append(1000 * measure(Path(folder), args.trials) / args.trials)
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(f"| {args.trials} trials, {args.repeats} alternated repeats | median ms per trial | min | max |")
    print("|---|---|---|---|")
    for name, times in (("scalelab", ours), ("optuna, SQLite", theirs)):
        print(f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} |")
    print(f"| optuna / scalelab | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
