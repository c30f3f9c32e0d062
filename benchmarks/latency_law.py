"""Measures the latency of 64 networks, and prints how well each device's law predicts networks it never saw.

    python benchmarks/latency_law.py [--targets torch:cpu,openvino:CPU] [--time-limit SECONDS] [--store FILE]
    python benchmarks/latency_law.py --cpu-time     on a machine that others use, without the store

The networks are drawn from the design spaces of ConvNeXt-1D and RegNet-1D, half each, for twelve leads of
1024 samples; they are not trained, which changes no latency. Measurements go into the store, so that running
again goes on where it ended and then prints from what is there. Errors are those of the outer folds of a
nested cross-validation: neither a law's parameters nor the choice of the law saw the networks of the fold.

With `--cpu-time` each call is timed by the CPU time of its process, on one thread: what other processes
take of the machine is not in it (but for what they do to its caches), so that the laws can be judged on a
busy one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import scalelab
from scalelab.analysis.latency.law import fit_laws
from scalelab.bench.coordinator import bench_study
from scalelab.components import Backend
from scalelab.measure.costs import Costs
from scalelab.measure.models import network
from scalelab.measure.targets import Target, parse_target
from scalelab.records import ComponentRef
from scalelab.report.sections.latency import device_table, law_table
from scalelab.report.terminal import show
from scalelab.report.work import work_display
from scalelab.study import expand, parse_study

NETWORKS = """
name = "latency-law-{family}"

[dataset]
name = "synthetic-ecg"
options = {{ n_train = 64, n_validation = 64, n_test = 0, rate = 128, seconds = 8.0 }}

[[architecture]]
name = "{family}"
{space}

[[optimizer]]
name = "adamw"

[sampling]
method = "sobol"
n = {n}
"""
SPACES = {
    "convnext1d": """
options = { drop_path = 0.0 }
space.width = { type = "int", low = 8, high = 64, step = 4 }
space.depth = { type = "choice", values = [0.5, 1.0, 1.5, 2.0] }
space.kernel_size = { type = "choice", values = [3, 7, 15, 31] }
space.stem = { type = "choice", values = [2, 4, 8] }
space.expansion = { type = "choice", values = [2.0, 4.0] }
""",
    "regnet1d": """
space.depth = { type = "int", low = 4, high = 16 }
space.w_init = { type = "int", low = 16, high = 48, step = 8 }
space.w_0 = { type = "int", low = 16, high = 64, step = 8 }
space.w_a = { type = "int", low = 4, high = 24 }
space.w_m = { type = "float", low = 1.2, high = 3.0, step = 0.1 }
space.group_width = { type = "choice", values = [1, 4, 8, 16, 32] }
space.bottleneck_multiplier = { type = "choice", values = [0.5, 1.0, 2.0] }
space.se_ratio = { type = "choice", values = [0.0, 0.25] }
space.init_kernel_size = { type = "choice", values = [3, 9, 15] }
""",
}


INPUT, N_OUTPUTS, CPU_SECONDS = (12, 1024), 5, 0.5


def by_cpu_time(architectures: Sequence[ComponentRef], targets: Sequence[Target]) -> pd.DataFrame:
    """Returns a table like the store's `latencies`, of CPU seconds a call on one thread."""
    catalog = scalelab.load_plugins()
    cost = Costs(catalog)
    batch = np.random.default_rng(0).normal(size=(1, *INPUT)).astype(np.float32)
    rows = []
    with work_display(sys.stderr) as progress:
        for index, architecture in enumerate(architectures):
            module = network(architecture, INPUT, N_OUTPUTS, catalog)
            footprint = cost(architecture, INPUT, N_OUTPUTS).footprint
            common = {**dict(footprint), "architecture": architecture.name}
            for target in targets:
                seconds = cpu_seconds(catalog.backend(target.backend), target, module, batch)
                rows.append({**common, "network_id": str(index), "target": str(target), "latency": seconds})
            progress(index + 1, len(architectures), "networks")
    fixed = {"host": "cpu-time", "batch_size": 1, "threads": 1, "status": "ok", "finished_at": 0.0}
    return pd.DataFrame(rows).assign(**fixed)


def cpu_seconds(backend: Backend, target: Target, module: object, batch: np.ndarray) -> float:
    """Returns the median CPU time of a call."""
    executable = backend.load(target.params(backend, threads=1), module, batch, target.device, None)
    times: list[float] = []
    while sum(times) < CPU_SECONDS or len(times) < 10:
        start = time.process_time()
        executable.infer(batch)
        times.append(time.process_time() - start)
    return float(np.median(times[len(times) // 5 :]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--targets", default="torch:cpu,openvino:CPU")
    parser.add_argument("--time-limit", type=float, default=3.0, help="seconds a network and target")
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("build/latency-law.duckdb"))
    parser.add_argument("--cpu-time", action="store_true")
    given = parser.parse_args()
    catalog = scalelab.load_plugins()
    targets = [parse_target(text) for text in given.targets.split(",")]
    n = given.networks // len(SPACES)
    studies = [
        parse_study(NETWORKS.format(family=family, space=space, n=n), f"latency-law-{family}", catalog)
        for family, space in SPACES.items()
    ]
    if given.cpu_time:
        networks = [trial.architecture for study in studies for trial in expand(study, catalog).trials]
        show(law_table(fit_laws(by_cpu_time(networks, targets))), plain=True)
        return
    given.store.parent.mkdir(parents=True, exist_ok=True)
    store = scalelab.open_store(given.store, create=True)
    ids: list[str] = []
    for study in studies:
        with work_display(sys.stderr) as progress:
            summary = bench_study(
                study,
                store,
                targets,
                threads=given.threads,
                time_limit=given.time_limit,
                retry=True,
                catalog=catalog,
                on_progress=progress,
            )
        ids += summary.ids
        print(f"{study.name}: {summary.ok} measured, {summary.kept} kept ({summary.seconds:.0f} s)")
        if summary.problems:
            print(summary.problems)
    table = store.latencies(benchmark_ids=ids)
    show(device_table(table), plain=True)
    show(law_table(fit_laws(table)), plain=True)


if __name__ == "__main__":
    main()
