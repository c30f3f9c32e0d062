"""How good is a minimum between tuned values? Every other rate of a dense grid, against the whole grid.

Each width of the studies of `examples/mitbih-design.duckdb` that have a grid of rates in factors of two is
read twice more in factors of four, beginning with the first and with the second rate. The minimum of the
coarse sweep should lie within its own error of the fine one's.

    python benchmarks/sweep_error.py [STORE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import scalelab
from scalelab.analysis.runs.designs import averaged
from scalelab.analysis.runs.sweeps import Sweep, sweeps_of, with_sweeps

STORE = Path(__file__).parents[1] / "examples" / "mitbih-design.duckdb"
STUDIES = ("mitbih-widths", "mitbih-mup")


def bracketed(runs, rates) -> Sweep | None:
    """Returns the sweep of these rates, where it is bracketed."""
    own = runs[runs["optimizer_lr"].isin(rates)].assign(tuned="lr")
    ((sweep, _),) = sweeps_of(averaged(with_sweeps(own, own)))
    return sweep if sweep.end is None and len(rates) > 2 else None


def main() -> None:
    """Prints a line for each coarse sweep, and how many lie within one and two errors."""
    store = scalelab.open_store(sys.argv[1] if len(sys.argv) > 1 else STORE)
    off = []
    print(f"{'study':14} {'width':>5} {'fine':>7} {'coarse':>7} {'difference':>10} {'error':>6}")
    for study in STUDIES:
        done = scalelab.finished_runs(store, study=study)
        for width, runs in done.groupby("architecture_width"):
            rates = sorted(runs["optimizer_lr"].unique())
            fine = bracketed(runs, rates)
            for first in (0, 1):
                coarse = bracketed(runs, rates[first::2])
                if fine is not None and coarse is not None:
                    difference = np.log(coarse.loss / fine.loss)
                    off.append(abs(difference) / coarse.error)
                    print(
                        f"{study:14} {width:5.0f} {fine.loss:7.4f} {coarse.loss:7.4f} "
                        f"{difference:10.1%} {coarse.error:6.1%}"
                    )
    within = [sum(one <= limit for one in off) for limit in (1, 2)]
    print(f"within one error {within[0]} of {len(off)}, within two {within[1]}")


if __name__ == "__main__":
    main()
