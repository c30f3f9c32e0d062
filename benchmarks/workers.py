"""Two workers of one thread each against one worker of two threads, on the same trials, alternated.

Run: `python benchmarks/workers.py [--repeats 3]` (about two minutes; makes synthetic ECG on first use).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import scalelab

STUDY = """
name = "workers"
seeds = [0, 1, 2]
[dataset]
name = "synthetic-ecg"
options = { n_train = 512, n_validation = 128, n_test = 0, seconds = 5.0 }
[[architecture]]
name = "convnext1d"
space = { width = [8, 16] }
[[optimizer]]
name = "adamw"
[training]
length = { steps = 60 }
batch_size = 32
validations = 1
"""


def seconds(study: Path, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        summary = scalelab.run_study(study, Path(folder) / "store.duckdb", workers=workers)
        assert summary.complete
        return summary.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "workers.toml"
        study.write_text(STUDY)
        seconds(study, 2)
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(args.repeats):
            for workers, values in times.items():
                values.append(seconds(study, workers))
    ratios = [two / one for one, two in zip(times[1], times[2], strict=True)]
    print(f"| 6 trials, start-up included, {args.repeats} alternated repeats | median s | min | max |")
    print("|---|---|---|---|")
    for workers, values in times.items():
        print(f"| workers: {workers} | {median(values):.1f} | {min(values):.1f} | {max(values):.1f} |")
    print(f"| 2 workers / 1 worker | {median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
