"""The runs that every tool is given to write: ten of one law, with curves; three did not go smoothly.

The losses are numbers of 32 bits, which all formats keep, and fall along every curve: the last is the best.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Ending = Literal["done", "resumed", "pruned", "crashed"]
N_STEPS = 5
CUT = {"pruned": 2, "crashed": 3, "resumed": 3}
"""After how many reports a run is cut short, fails, or is interrupted for the first time."""


@dataclass(frozen=True)
class KnownRun:
    """A run: the width of a model, its parameters, and what is reported of it."""

    width: int
    ending: Ending = "done"

    @property
    def name(self) -> str:
        return f"width-{self.width}"

    @property
    def n_params(self) -> int:
        return 12 * self.width**2 + 64 * self.width

    @property
    def params(self) -> dict[str, int | float]:
        """What is chosen before it."""
        return {"width": self.width, "lr": 0.003, "n_params": self.n_params}

    @property
    def losses(self) -> list[float]:
        """All that it reports, or would report if it were not cut short."""
        last = 1.75 + 30 * self.n_params**-0.31 + 0.003 * math.sin(self.width)
        return [single(last * (1 + 0.3 * (N_STEPS - step) / step)) for step in range(1, N_STEPS + 1)]

    @property
    def reported(self) -> list[float]:
        """What it reports before it ends."""
        return self.losses[: CUT[self.ending]] if self.ending in ("pruned", "crashed") else self.losses


def single(value: float) -> float:
    """Returns the nearest number of 32 bits."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


RUNS = (
    *(KnownRun(width) for width in (8, 12, 24, 32, 48, 96, 128)),
    KnownRun(16, "pruned"),
    KnownRun(64, "resumed"),
    KnownRun(192, "crashed"),
)
DONE = tuple(run for run in RUNS if run.ending in ("done", "resumed"))
ANOTHER = KnownRun(256)
"""A run that is made after the first import."""


def main(write: Callable[[Path, KnownRun, bool], None]) -> None:
    """Writes the runs that the command line asks for: python write_tool.py FOLDER first|again RUN…"""
    folder, part, *names = sys.argv[1:]
    for name in names:
        write(Path(folder), by_name(name), part == "again")


def by_name(name: str) -> KnownRun:
    """Returns the run of a name."""
    return next(run for run in (*RUNS, ANOTHER) if run.name == name)


def die() -> None:
    """Ends this process as a crash of the machine would: nothing is flushed, closed or said."""
    os._exit(9)
