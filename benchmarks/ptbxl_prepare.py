"""Preparing the whole of PTB-XL: time, and peak memory of all processes together.

The database is a copy of its layout with as many records, made up by the generator of the tests. It and the
cache lie in a temporary folder (about 1.1 GB at 100 Hz, 5.3 GB at 500 Hz), which is deleted afterwards.
Opening is timed twice: the second time, everything is there.

Run: OMP_NUM_THREADS=1 python benchmarks/ptbxl_prepare.py [--records 21837] [--rate 100]

`--folder DIR` takes a database that is there, the real one for example.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GENERATOR = Path(__file__).resolve().parents[1] / "tests" / "plugins" / "ptbxl" / "ptbxl_samples.py"
OPEN = (
    "import sys, time\n"
    "from scalelab_plugins.ptbxl import PtbxlParams, open_ptbxl\n"
    "if __name__ == '__main__':\n"
    "    start, cpu = time.perf_counter(), time.process_time()\n"
    "    data = open_ptbxl(PtbxlParams(path=sys.argv[1], rate=int(sys.argv[2])))\n"
    "    sizes = [len(split) for split in (data.train, data.validation, data.test)]\n"
    "    wall, cpu = time.perf_counter() - start, time.process_time() - cpu\n"
    "    print(f'{sum(sizes):,} records {sizes}: {wall:.1f} s, {cpu:.1f} s CPU')\n"
)


def opened(folder: Path, rate: int, cache: Path) -> None:
    """Opens the dataset in a process of its own, and says how much memory that took at most."""
    environment = {**os.environ, "SCALELAB_CACHE": str(cache)}
    process = subprocess.Popen([sys.executable, "-c", OPEN, str(folder), str(rate)], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    # Linux counts KiB, macOS bytes; nothing is prepared in further processes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"  at most {peak / 1e9:.2f} GB resident", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=21_837)
    parser.add_argument("--rate", type=int, choices=(100, 500), default=100)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder
        if folder is None:
            folder = Path(made) / "ptb-xl"
            start = time.perf_counter()
            sizes = ["--records", str(args.records), "--rate", str(args.rate)]
            subprocess.run([sys.executable, GENERATOR, folder, *sizes], check=True)
            seconds = time.perf_counter() - start
            print(f"{args.records:,} records at {args.rate} Hz made in {seconds:.0f} s", flush=True)
        for what in ("first", "again"):
            print(what, flush=True)
            opened(folder, args.rate, Path(made) / "cache")


if __name__ == "__main__":
    main()
