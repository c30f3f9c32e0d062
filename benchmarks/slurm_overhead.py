"""Overhead of a trial and of a job on SLURM, beside submitit with a job for each function, in one run.

Trials of one step on eight examples, in a few jobs that serve them all; then functions that return at once,
each in a job of its own as `submitit.SlurmExecutor.map_array` makes it. SLURM_CONF says on which SLURM, where
other work waits too. A job's start is from its submission to its first heartbeat; the coordinator's share is
the processor time of its process and of the commands that it asked, over the wall time from the first trial's
end on.

Run: `python benchmarks/slurm_overhead.py [--trials 1000] [--jobs 4] [--functions 20]` (extra: `slurm`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from nothing import catalog, study_of

import scalelab
from scalelab.execute.cluster.options import Cluster


class Watch:
    """Notes when a run's jobs are heard of first, and the processor time from then on."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self.started: dict[str, float] = {}
        self.first: tuple[float, float] | None = None
        self.last = (0.0, 0.0)

    def __call__(self, event: object) -> None:
        """Hears an event of the run."""
        if type(event).__name__ == "Finished":
            self.last = time.perf_counter(), processor_seconds()
            self.first = self.first or self.last
        if len(self.started) < 64:
            for path in self._journal.glob("cluster/*/hearts/*_*.json"):
                if path.stem not in self.started:
                    run = json.loads((path.parents[1] / "run.json").read_text(encoding="utf-8"))
                    self.started[path.stem] = (
                        json.loads(path.read_text(encoding="utf-8"))["began"] - run["began"]
                    )


def processor_seconds() -> float:
    """Returns what this process and its children have used so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def scalelab_runs(folder: Path, on: str, n_trials: int, n_jobs: int) -> None:
    store = folder / "store.duckdb"
    watch = Watch(Path(f"{store}.journal"))
    began = time.perf_counter()
    summary = scalelab.run_study(
        study_of(folder, n_trials),
        store,
        on=Cluster(on=on, slots=n_jobs),
        on_event=watch,
        catalog=catalog(),
    )
    wall = time.perf_counter() - began
    assert summary.done == n_trials, summary
    assert watch.first is not None
    steady, used = watch.last[0] - watch.first[0], watch.last[1] - watch.first[1]
    print(
        f"scalelab, {n_trials} trials in {n_jobs} jobs: {wall:.1f} s, {1000 * wall / n_trials:.1f} ms a trial"
    )
    print(f"  from the first trial's end to the last's: {1000 * steady / (n_trials - 1):.1f} ms a trial")
    share = (
        f"{1000 * used / (n_trials - 1):.2f} ms of processor a trial, {100 * used / steady:.1f}% of a core"
    )
    print(f"  coordinator: {share}")
    print(f"  start of a job: {spread(list(watch.started.values()))}")


def nothing(_index: int) -> float:
    """Returns when it ran."""
    return time.time()


def submitit_runs(folder: Path, on: str, n_functions: int) -> None:
    import submitit

    executor = submitit.SlurmExecutor(folder / "submitit")
    given = {"partition": on.partition(":")[2]} if ":" in on else {}
    executor.update_parameters(
        cpus_per_task=1, srun_args=["--cpus-per-task=1"], wckey="", stderr_to_stdout=True, **given
    )
    began, clock = time.perf_counter(), time.time()
    jobs = executor.map_array(nothing, range(n_functions))
    while not all(job.paths.result_pickle.exists() for job in jobs):  # asking submitit needs accounting
        time.sleep(0.05)
    wall = time.perf_counter() - began
    starts = sorted(job.result() - clock for job in jobs)
    each = 1000 * wall / n_functions
    print(f"submitit, {n_functions} functions in as many jobs: {wall:.1f} s, {each:.0f} ms each")
    print(f"  start of the first jobs: {spread(starts[: os.cpu_count()])}")


def spread(seconds: list[float]) -> str:
    low, high = min(seconds), max(seconds)
    return f"{statistics.median(seconds):.1f} s (median of {len(seconds)}, {low:.1f} to {high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", default="slurm")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--functions", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scalelab_runs(Path(name), given.on, given.trials, given.jobs)
        submitit_runs(Path(name), given.on, given.functions)


if __name__ == "__main__":
    main()
