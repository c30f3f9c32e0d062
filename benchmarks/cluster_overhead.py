"""Overhead per trial on a Ray cluster of this machine, and the coordinator's share of a core.

A trial trains one step of a network of one layer, so that what is left is the engine. Local processes, as
many as there are jobs on Ray, take the same study first. Where Ray Tune is installed (extra `ray[tune]`),
as many of its trials, each of which reports once, run in the same Ray after that, and before them as many
calls of a remote function that returns a dictionary, which is the least that Ray asks for.

Run: `python benchmarks/cluster_overhead.py [--trials 500] [--peers 500] [--jobs 2]` (with the extra `ray`).
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from nothing import catalog, study_of

import scalelab
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.jobs import Finished


def cpu_seconds() -> float:
    """Returns the CPU time of this process, its threads among it, without children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(name: str, folder: Path, study: Path, n_trials: int, **how: object) -> None:
    """Runs the study once, and prints times from the tenth of its trials to its last."""
    ended: list[tuple[float, float]] = []

    def note(event: object) -> None:
        if isinstance(event, Finished):
            ended.append((time.perf_counter(), cpu_seconds()))

    summary = scalelab.run_study(study, folder / f"{name}.duckdb", catalog=catalog(), on_event=note, **how)
    assert summary.done == n_trials, summary
    (begin, begin_cpu), (end, end_cpu) = ended[9], ended[-1]
    wall, n = end - begin, len(ended) - 10
    cpu = end_cpu - begin_cpu
    print(
        f"{name:10} {summary.seconds:7.1f} s in all, {1000 * wall / n:7.2f} ms a trial; coordinator "
        f"{1000 * cpu / n:6.2f} ms of CPU a trial, {100 * cpu / wall:5.1f}% of a core",
        flush=True,
    )


def told(name: str, n_trials: int, begun: float, cpu: float) -> None:
    """Prints what a driver of Ray's own took since then."""
    wall, used = time.perf_counter() - begun, cpu_seconds() - cpu
    print(
        f"{name:10} {wall:7.1f} s in all, {1000 * wall / n_trials:7.2f} ms a trial; driver      "
        f"{1000 * used / n_trials:6.2f} ms of CPU a trial, {100 * used / wall:5.1f}% of a core",
        flush=True,
    )


def tasks(n_trials: int, jobs: int) -> None:
    """Calls a remote function that returns a dictionary, as often and on as many CPUs."""
    import ray

    @ray.remote(num_cpus=1)
    def nothing(seed: int) -> dict[str, int]:
        return {"loss": seed}

    ray.get([nothing.remote(seed) for seed in range(jobs)])  # its processes have started
    begun, cpu = time.perf_counter(), cpu_seconds()
    under_way = [nothing.remote(seed) for seed in range(jobs)]
    for seed in range(jobs, n_trials):
        ended, under_way = ray.wait(under_way)
        ray.get(ended)
        under_way.append(nothing.remote(seed))
    ray.get(under_way)
    told("ray tasks", n_trials, begun, cpu)


def tune(n_trials: int, jobs: int) -> None:
    """Runs trials of Ray Tune that report once."""
    try:
        from ray import tune
    except ImportError as error:
        print(f"ray tune   not measured: {str(error).splitlines()[0]}")
        return

    def nothing(config: dict[str, int]) -> None:
        tune.report({"loss": config["seed"]})

    begun, cpu = time.perf_counter(), cpu_seconds()
    tuner = tune.Tuner(
        tune.with_resources(nothing, {"cpu": 1}),
        param_space={"seed": tune.grid_search(list(range(n_trials)))},
        tune_config=tune.TuneConfig(max_concurrent_trials=jobs, reuse_actors=True),
        run_config=tune.RunConfig(verbose=0),
    )
    tuner.fit()
    told("ray tune", n_trials, begun, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--peers", type=int, help="trials without a shared folder, calls of Ray, of Ray Tune")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=options.jobs, **quiet)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SCALELAB_CACHE"] = str(folder / "cache")
        n, jobs = options.trials, options.jobs
        peers = options.peers or n
        study = study_of(folder, n)
        measure("processes", folder, study, n, workers=jobs, threads=1)
        measure("ray", folder, study, n, on=Cluster(on="ray", slots=jobs))
        apart = Cluster(on="ray", slots=jobs, shared_folder=False)
        measure("ray apart", folder, study_of(folder, peers), peers, on=apart)
        tasks(peers, jobs)
        tune(peers, jobs)
    ray.shutdown()


if __name__ == "__main__":
    main()
