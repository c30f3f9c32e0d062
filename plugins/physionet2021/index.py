"""The index of a prepared entry, in Parquet: a row for each window, and one for each record left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import scalelab

from .chunks import Row
from .labels import abbreviations_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def write_index(path: Path, rows: Sequence[Row], folds: Sequence[int], order: np.ndarray, rate: int) -> None:
    """Writes the index; it appears by one rename.

    Args:
        path: The Parquet file.
        rows: Every record.
        folds: Fold of each record, -1 where it is not used.
        order: The records that are used, in the order in which their windows are stored.
        rate: Sampling rate of the windows in Hz.

    Raises:
        scalelab.DataError: The file cannot be written.
    """
    used = set(order.tolist())
    lines = [
        _line(rows[record], int(folds[record]), start / rate)
        for record in order.tolist()
        for start in rows[record].starts
    ]
    lines = [{"row": number, **line} for number, line in enumerate(lines)]
    lines += [{"row": None, **_line(row, None, None)} for i, row in enumerate(rows) if i not in used]
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


def _line(row: Row, fold: int | None, start: float | None) -> dict[str, object]:
    texts = {"codes": ",".join(row.codes), "repairs": "; ".join(row.repairs)}
    return {**vars(row), **texts, "fold": fold, "start": start, "classes": abbreviations_of(row.codes)}


_TYPES = {
    "row": "Int64", "record": "string", "source": "string", "fold": "Int8", "start": "float64",
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
