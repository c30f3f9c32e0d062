"""The options of `scalelab run --on`, as one description of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalelab.cli.context import pairs
from scalelab.errors import InputError

if TYPE_CHECKING:
    from scalelab.execute.cluster.options import Cluster


def cluster_of(
    on: str | None,
    workers: int,
    slots: int | None,
    cpus: int | None,
    gpus: float | None,
    time_limit: str | None,
    memory: str | None,
    array_size: int | None,
    sbatch: list[str] | None,
    setup: list[str] | None,
    not_shared: bool,
    at_stop: str | None,
) -> Cluster | None:
    """Returns the cluster that the options of `run` describe; `None` where `--on` is not given.

    Raises:
        InputError: A value is wrong, or an option of clusters stands without `--on`.
    """
    options = pairs("--sbatch", sbatch, "NAME=VALUE, such as account=ecg")
    given: dict[str, Any] = {
        "slots": slots,
        "cpus_per_trial": cpus,
        "gpus_per_trial": gpus,
        "time_limit": time_limit,
        "memory": memory,
        "array_size": array_size,
        "sbatch": {name.lstrip("-"): value for name, value in options.items()} or None,
        "setup": tuple(setup) if setup else None,
        "no_shared_folder": not_shared or None,
        "at_stop": at_stop,
    }
    named = [name.replace("_", "-") for name, value in given.items() if value is not None]
    if on is None:
        if named:
            raise InputError(f"--{named[0]} is of clusters; give --on ray or --on slurm too")
        return None
    if workers != 1:
        raise InputError(f"--workers {workers} is of this machine; with --on, give --slots {workers}")
    from scalelab.execute.cluster.options import Cluster

    shared = None if given.pop("no_shared_folder") is None else False
    return Cluster.of(on, **given, shared_folder=shared)
