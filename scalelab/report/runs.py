"""The runs behind a report by short keys, so that points, curves and rows of tables can name each other.

Runs that differ by their seeds alone, a design, have one key: `r1`, `r2`, … by family, size and data.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from scalelab.analysis.runs.designs import SCALES, design_ids
from scalelab.report.names import known
from scalelab.report.numbers import short

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis

FAMILY = ["dataset_label", "architecture", "optimizer"]
SIZES = {"n_params": "N", "n_examples": "D"}


class Run(NamedTuple):
    """What a point or a row is about.

    Attributes:
        key: Names its design within a report; empty where it is of none.
        words: What it is, for a person.
    """

    key: str = ""
    words: str = ""


NO_RUN = Run()
"""That of a point or a row that is of no run."""


class Runs:
    """The designs of an analysis.

    Attributes:
        table: The finished runs with the key of their design, `key`, in the order of the keys.
    """

    def __init__(self, analysis: Analysis) -> None:
        done = analysis.runs
        axes = {axis for law in analysis.fitted for axis in law.points.axes if axis in done.columns}
        order = [*FAMILY, "n_params", "n_examples"]
        table = done.assign(_design=design_ids(done, sorted(axes - {*SCALES})))
        table = table.sort_values([*order, "_design"], kind="stable")
        keys = {design: f"r{i + 1}" for i, design in enumerate(dict.fromkeys(table["_design"]))}
        self.table: pd.DataFrame = table.assign(key=table["_design"].map(keys)).drop(columns="_design")
        names = self.table["trial_id"] if "trial_id" in done.columns else self.table.index.to_series()
        self._keys = dict(zip(names.astype(str), self.table["key"], strict=True))
        first = self.table.drop_duplicates("key").set_index("key")
        sizes = [name for name in SIZES if first[name].nunique() > 1 or len(first) == 1]
        self._words = {
            str(key): _words(row, sizes)
            for key, row in zip(first.index, first.to_dict("records"), strict=True)
        }

    def of(self, trial: object) -> Run:
        """Returns the design that a trial is of; of one that is not finished nothing."""
        key = self._keys.get(str(trial), "")
        return Run(key, self._words.get(key, ""))

    def of_rows(self, designs: pd.DataFrame) -> tuple[Run, ...]:
        """Returns the designs of a table of them, by the trial of their first run."""
        return tuple(map(self.of, designs["first_run"]))


@lru_cache(maxsize=1)
def runs_of(analysis: Analysis) -> Runs:
    """Returns the designs of an analysis; those of the last one that was asked for are kept."""
    return Runs(analysis)


def _words(row: Mapping[Hashable, Any], sizes: Iterable[str]) -> str:
    """Returns a design in words: its names, and the sizes in which designs differ."""
    numbers = [f"{SIZES[name]} = {short(float(row[name]))}" for name in sizes if row[name] == row[name]]
    names = [name for name in (known(str(row["architecture"])), known(str(row["optimizer"]))) if name]
    return ", ".join([" · ".join(names), *numbers] if names else numbers)
