"""Speed of the synthetic-ecg generator: records a second, and the time to prepare them into the cache.

The generator works on one core; where CPU time is below wall time, something else had the rest.

Run: python benchmarks/synthetic_ecg.py [--records 10000] [--rate 500] [--seconds 10] [--leads 12]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

from scalelab_plugins.synthetic_ecg import SyntheticEcgParams, open_synthetic_ecg
from scalelab_plugins.synthetic_ecg.generate import blocks


def timed(function):
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def report(what, records, wall, cpu):
    print(f"{what:32} {wall:8.2f} s wall {cpu:8.2f} s CPU {1e3 * cpu / records:8.3f} ms CPU a record")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--leads", type=int, default=12)
    options = parser.parse_args()
    shape = {"rate": options.rate, "seconds": options.seconds, "leads": options.leads}
    print(f"{options.records} records of {options.leads} leads, {options.seconds:g} s at {options.rate} Hz")

    params = SyntheticEcgParams(n_train=options.records, n_validation=1, n_test=0, **shape)
    report(
        "generate", options.records, *timed(lambda: sum(map(len, blocks(params, "train", options.records))))
    )
    with tempfile.TemporaryDirectory(prefix="scalelab-benchmark-") as cache:
        os.environ["SCALELAB_CACHE"] = cache
        report("generate and write to the cache", options.records, *timed(lambda: open_synthetic_ecg(params)))
        wall, _ = timed(lambda: open_synthetic_ecg(params))
        print(f"{'open again':32} {1e3 * wall:8.2f} ms wall")
        quick_start = SyntheticEcgParams()
        n = quick_start.n_train + quick_start.n_validation + quick_start.n_test
        report("prepare the default options", n, *timed(lambda: open_synthetic_ecg(quick_start)))


if __name__ == "__main__":
    main()
