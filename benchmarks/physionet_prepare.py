"""Preparing ten-second records at 500 Hz for training: CPU time a record, and peak memory.

The naive way, a record at a time: `scipy.io.loadmat`, a Butterworth filter designed, `sosfiltfilt` in
float64, z-score, `torch.save`. It reads no header, checks nothing and keeps no labels. Ours is the whole of
opening the dataset the first time: content digest, headers and checksums, filter, z-score, folds, index and
the memory map in the cache. Both run in one process on one thread over the same synthetic files; repeats
alternate.

Run: OMP_NUM_THREADS=1 python benchmarks/physionet_prepare.py [--records 1000] [--repeats 3]
     python benchmarks/physionet_prepare.py --memory [--records 10000]    (all cores, children counted)

`--folder DIR` takes records that are there, or keeps those it makes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch
from scalelab_plugins.physionet2021 import Physionet2021Params, open_physionet2021
from scalelab_plugins.synthetic_ecg import SynthesizeParams
from scalelab_plugins.synthetic_ecg.wfdb import write_records
from scipy.io import loadmat
from scipy.signal import butter, sosfiltfilt

OPEN = (
    "import sys\n"
    "from scalelab_plugins.physionet2021 import Physionet2021Params, open_physionet2021\n"
    "if __name__ == '__main__':\n"
    "    data = open_physionet2021(Physionet2021Params(path=sys.argv[1]))\n"
    "    print(len(data.train), len(data.validation), len(data.test))\n"
)


def naively(folder: Path, out: Path) -> int:
    files = sorted(folder.rglob("*.mat"))
    for file in files:
        signal = loadmat(file)["val"].astype(np.float64) / 1000
        sections = butter(3, (1, 47), "bandpass", fs=500, output="sos")
        signal = sosfiltfilt(sections, signal, axis=1)
        signal = (signal - signal.mean(axis=1, keepdims=True)) / (signal.std(axis=1, keepdims=True) + 1e-6)
        torch.save(torch.from_numpy(signal), out / f"{file.stem}.pt")
    return len(files)


def ours(folder: Path, cache: Path) -> int:
    os.environ["SCALELAB_CACHE"] = str(cache)
    data = open_physionet2021(Physionet2021Params(path=folder))
    return sum(len(split) for split in (data.train, data.validation, data.test) if split is not None)


def timed(way: Callable[[Path, Path], int], folder: Path) -> tuple[float, float]:
    """Returns CPU and wall milliseconds a record."""
    with tempfile.TemporaryDirectory() as out:
        wall, cpu = time.perf_counter(), time.process_time()
        n = way(folder, Path(out))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return 1e3 * cpu / n, 1e3 * wall / n


def speed(folder: Path, repeats: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core: everything in this process
    torch.set_num_threads(1)
    ways = {"naive": naively, "scalelab": ours}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            measured = timed(way, folder)
            if repeat:  # the first round imports libraries and fills the page cache
                times[name].append(measured)
    print("| way | ms CPU a record | ms wall a record |")
    print("|---|---|---|")
    for name, values in times.items():
        print(
            f"| {name} | {median(cpu for cpu, _ in values):.2f} | {median(wall for _, wall in values):.2f} |"
        )
    for what, which in (("CPU", 0), ("wall", 1)):
        ratios = [a[which] / b[which] for a, b in zip(times["naive"], times["scalelab"], strict=True)]
        print(f"times faster by {what} time: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def memory(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        script = Path(cache) / "open.py"
        script.write_text(OPEN)
        start = time.perf_counter()
        command = [sys.executable, str(script), str(folder)]
        process = subprocess.Popen(command, env={**os.environ, "SCALELAB_CACHE": cache})
        peak, most = 0, 0
        while process.poll() is None:
            sizes = list(resident(psutil.Process(process.pid)))
            peak, most = max(peak, sum(sizes)), max(most, len(sizes))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        assert process.returncode == 0
        seconds = time.perf_counter() - start
    n = sum(1 for _ in folder.rglob("*.hea"))
    print(f"{n:,} records in {seconds:.0f} s; at most {peak / 1e9:.2f} GB resident in up to {most} processes")


def resident(process: psutil.Process) -> Iterator[int]:
    """Resident bytes of a process and all beneath it; what they share counts every time."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                yield one.memory_info().rss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        if args.records or not (folder / "training").is_dir():
            n = args.records or (10_000 if args.memory else 1_000)
            print(write_records(SynthesizeParams(to=folder, records=n, wfdb=True), lambda *_: None))
        if args.memory:
            memory(folder)
        else:
            speed(folder, args.repeats)


if __name__ == "__main__":
    main()
