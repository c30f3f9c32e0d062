"""The index of a prepared entry, in Parquet: a row for each window, and one for each record left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import scalelab

from .chunks import Row
from .labels import abbreviations_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Dealt:
    """Where the records that are used stand, and whose they are.

    Attributes:
        folds: Fold of each record that is used, in their order.
        groups: Number of its group, likewise.
        patients: What every record's patient is known by, see `patients_of`.
    """

    folds: np.ndarray
    groups: np.ndarray
    patients: Sequence[tuple[str, ...]]


def write_index(path: Path, rows: Sequence[Row], order: np.ndarray, dealt: Dealt, rate: int) -> None:
    """Writes the index; it appears by one rename.

    Args:
        path: The Parquet file.
        rows: Every record.
        order: The records that are used, in the order in which their windows are stored.
        dealt: Their folds and groups.
        rate: Sampling rate of the windows in Hz.

    Raises:
        scalelab.DataError: The file cannot be written.
    """
    used = set(order.tolist())
    lines: list[dict[str, object]] = []
    for record, fold, group in zip(order.tolist(), dealt.folds.tolist(), dealt.groups.tolist(), strict=True):
        of_record = _line(rows[record], dealt.patients[record])
        lines += [
            {**of_record, "row": len(lines) + i, "fold": fold, "group": group, "start": start / rate}
            for i, start in enumerate(rows[record].starts)
        ]
    left_out = {"row": None, "fold": None, "group": None, "start": None}
    lines += [{**_line(row, dealt.patients[i]), **left_out} for i, row in enumerate(rows) if i not in used]
    _write(path, lines)


def read_index(path: Path) -> pd.DataFrame:
    """Returns the index.

    Raises:
        scalelab.DataError: It is missing or damaged.
    """
    import duckdb

    try:
        with duckdb.connect() as connection:
            table: pd.DataFrame = connection.read_parquet(str(path)).df()
        return table.sort_values("row", kind="stable", ignore_index=True)
    except duckdb.Error as error:
        raise scalelab.DataError(
            f"the index {path} cannot be read; delete {path.with_suffix('')} and it is prepared again"
        ) from error


def _line(row: Row, patient: Sequence[str]) -> dict[str, object]:
    texts = {
        "codes": ",".join(row.codes),
        "repairs": "; ".join(row.repairs),
        "patient": next(iter(patient), None),
    }
    return {**vars(row), **texts, "classes": abbreviations_of(row.codes)}


_TYPES = {
    "row": "Int64", "record": "string", "source": "string", "fold": "Int8", "group": "Int64",
    "patient": "string", "start": "float64",
    "classes": "string", "codes": "string", "age": "float64", "sex": "string", "rate": "float64",
    "n_samples": "Int64", "status": "string", "repairs": "string", "reason": "string", "signal": "string",
}  # fmt: skip


def _write(path: Path, lines: list[dict[str, object]]) -> None:
    import duckdb
    import pandas as pd

    table = pd.DataFrame({name: [line[name] for line in lines] for name in _TYPES}, dtype=object)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with duckdb.connect() as connection:
            connection.from_df(table.astype(_TYPES)).write_parquet(str(part))
        part.replace(path)
    except (OSError, duckdb.Error) as error:
        part.unlink(missing_ok=True)
        raise scalelab.DataError(
            f"the index {path} cannot be written: {error}; free some space or point SCALELAB_CACHE to "
            "another folder"
        ) from error
