"""What a reader should know of an imported table before believing an analysis of its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.store.parameters import COMPONENTS, SCALES, Kind

if TYPE_CHECKING:
    from scalelab.store.tracked import Tracked

_SHOWN = 6


class Distinct:
    """Tells what was there before, of what comes piece by piece: by 64 bits of each."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.int64)

    @property
    def count(self) -> int:
        """How many different ones there were."""
        return len(self._known)

    def add(self, keys: Sequence[int]) -> list[bool]:
        """Adds some, given as signed 64-bit numbers; returns for each whether it was there before."""
        given = np.array(keys, np.int64)
        values, first = np.unique(given, return_index=True)
        new = ~np.isin(values, self._known, assume_unique=True)
        # Two runs in order are merged so; `np.union1d` takes twenty times as long.
        self._known = np.sort(np.concatenate([self._known, values[new]]), kind="stable")
        before = np.ones(len(given), bool)
        before[first[new]] = False
        told: list[bool] = before.tolist()
        return told


def notes_on_names(renamed: Mapping[str, str], tracked: Sequence[Tracked]) -> list[str]:
    """Returns what columns are called here that SQL, or a reader, would take for others."""
    met = [text for one in tracked for text in one.renamed]
    told = "; ".join(met[:_SHOWN]) + (" …" if len(met) > _SHOWN else "")
    return [f"parameters and metrics have the same names: {told}"] * bool(met) + [
        f"column {name!r} has the name of another one, or differs in capital letters only, which SQL does "
        f"not tell apart; it is called {free!r} here"
        for free, name in renamed.items()
    ]


class Notes:
    """Counts along the rows of a table what a reader should know before believing an analysis of its runs.

    Args:
        kinds: Of the columns of facts and options.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.statuses: Counter[str] = Counter()
        self._kinds = kinds
        self._columns: set[str] = set()
        self._numbers: dict[str, bool] = dict.fromkeys(
            (name for name, kind in kinds.items() if kind in ("BIGINT", "DOUBLE")), False
        )
        self._designs = Distinct()

    def add(self, columns: Mapping[str, list[Any]], extra: Mapping[str, list[Any]]) -> None:
        """Adds some rows: columns of `runs`, and those of facts and options."""
        self._columns.update(columns)
        self.statuses.update(columns["status"])
        for name, known in self._numbers.items():
            self._numbers[name] = known or any(value is not None for value in extra[name])
        designs = [columns[name] for name in (*COMPONENTS, *SCALES) if name in columns]
        facts_too = not columns.keys() & set(SCALES)
        designs += [values for name, values in extra.items() if facts_too or not name.startswith("feature_")]
        self._designs.add([hash(design) for design in zip(*designs, strict=True)])

    def told(self) -> tuple[str, ...]:
        """Returns what there is to know, a line each."""
        notes = []
        bad, cut = self.statuses["diverged"], self.statuses["failed"] + self.statuses["interrupted"]
        if cut:
            notes.append(
                f"runs that failed or were cut short, such as pruned ones, left out of every fit: {cut}"
            )
        if bad:
            notes.append(f"runs without a finite outcome, diverged and left out of every fit: {bad}")
        if not self._columns & set(SCALES):
            numbers = [name for name, known in self._numbers.items() if known]
            notes.append(
                f"no column is a scale by a known name: laws need --law or --axis over {', '.join(numbers)}, "
                f"or map one of {', '.join(SCALES)}"
            )
        if "loss" not in self._columns:
            notes.append("there is no loss: fronts and tree models can be made, laws need --map loss=…")
        repeats = self.statuses.total() - self._designs.count
        if repeats and "seed" not in self._columns:
            notes.append(
                f"runs with the scales and options of another one, which count as its repeats: {repeats}; "
                "where they differ in a choice, map it, such as --map optimizer_lr=lr, or name it in a law"
            )
        return tuple(notes)
