"""The official challenge metric, vectorized, against a plain-Python reading of its definition.

Both get the same labels and answers and must agree to 1e-10; repeats alternate; CPU time of one thread.

Run: OMP_NUM_THREADS=1 python benchmarks/challenge_metric.py [--records 2000] [--repeats 7]
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from scalelab_plugins.physionet2021 import challenge_metric
from scalelab_plugins.physionet2021.classes import N_CLASSES, SINUS_RHYTHM, weights


def plainly(labels: list[list[int]], outputs: list[list[int]], worth: list[list[float]]) -> float:
    def score(answers: list[list[int]]) -> float:
        total = 0.0
        for label, answer in zip(labels, answers, strict=True):
            either = sum(1 for k in range(N_CLASSES) if label[k] or answer[k])
            for j in range(N_CLASSES):
                if label[j]:
                    for k in range(N_CLASSES):
                        if answer[k]:
                            total += worth[j][k] / max(either, 1)
        return total

    always = [[int(k == SINUS_RHYTHM) for k in range(N_CLASSES)] for _ in labels]
    inactive = score(always)
    correct = score(labels)
    return (score(outputs) - inactive) / (correct - inactive) if correct != inactive else 0.0


def timed(call) -> tuple[float, float]:
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    # About as many labels and answers as the Challenge's records have: two each.
    labels, outputs = ((rng.random((args.records, N_CLASSES)) < 0.08).astype(int) for _ in range(2))
    as_lists = labels.tolist(), outputs.tolist(), weights().tolist()
    times: dict[str, list[float]] = {"plain Python": [], "challenge_metric": []}
    challenge_metric(labels, outputs)
    for _ in range(args.repeats):
        seconds, plain = timed(lambda: plainly(*as_lists))
        times["plain Python"].append(seconds)
        seconds, fast = timed(lambda: challenge_metric(labels, outputs))
        times["challenge_metric"].append(seconds)
        assert abs(plain - fast) < 1e-10
    ratio = median(a / b for a, b in zip(*times.values(), strict=True))
    print(f"| {args.records:,} x {N_CLASSES}, {args.repeats} alternated repeats | median ms |")
    print("|---|---|")
    for name, values in times.items():
        print(f"| {name} | {1e3 * median(values):.2f} |")
    print(f"| times faster | {ratio:.0f} |")


if __name__ == "__main__":
    main()
