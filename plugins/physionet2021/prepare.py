"""From a folder of records to one cached entry: windows of record after record, fold after fold; an index."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import scalelab

from ..gathered import Gathered
from ..processes import default_jobs, in_processes
from .chunks import CHUNK, Recipe, Row, make_chunks, read_rows, rows_path, windows_path
from .content import content_digest
from .folds import assign_folds, joined, shuffled_within_folds
from .index import Dealt, write_index
from .labels import targets_of
from .leads import LEADS
from .params import VERSION, Physionet2021Params
from .patients import patients_of, read_table, table_digest
from .records import find_records, source_of
from .repeats import leave_out_repeats

_BLOCK = 64


@dataclass(frozen=True)
class Prepared:
    """One prepared folder, all folds.

    Attributes:
        inputs: Float16 (windows, 12, samples), record after record, fold after fold; a memory map.
        targets: Uint8 (records, 26).
        windows: How many windows each record has, int64 (records,).
        folds: Fold of each record, ascending: int8 (records,).
        sources: Source of each record, as its place among `names`: int64 (records,).
        names: Names of the sources, sorted.
        groups: Number of each record's group: records of a patient, or with one signal; int64 (records,).
        one_each: Whether every record has its first window only.
        key: Name of the entry in the cache.
    """

    inputs: np.ndarray
    targets: np.ndarray
    windows: np.ndarray
    folds: np.ndarray
    sources: np.ndarray
    names: np.ndarray
    groups: np.ndarray
    one_each: bool
    key: str

    @property
    def index(self) -> Path:
        """The Parquet file that says what each row is."""
        return scalelab.cache_dir() / f"{self.key}.parquet"

    def folds_of(self, folds: Sequence[int]) -> scalelab.Split:
        """Returns the records of some folds, ascending; a part of the map where they are neighbors."""
        if folds[-1] - folds[0] + 1 > len(folds):
            return self.some(np.isin(self.folds, folds))
        records = slice(*np.searchsorted(self.folds, [folds[0], folds[-1] + 1]))
        windows = self.windows[records]
        first = int(self.windows[: records.start].sum())
        inputs = self.inputs[first : first + int(windows.sum())]
        return scalelab.Split(inputs, self.targets[records], None if self.one_each else windows)

    def some(self, records: np.ndarray) -> scalelab.Split:
        """Returns some records: Boolean (records,)."""
        rows = np.flatnonzero(np.repeat(records, self.windows))
        windows = None if self.one_each else np.asarray(self.windows)[records]
        inputs: Any = Gathered(self.inputs, rows)
        return scalelab.Split(inputs, np.asarray(self.targets)[records], windows)


def load(params: Physionet2021Params) -> Prepared:
    """Returns the prepared folder, from the cache where it is there.

    What a killed process had done is kept, and preparation continues from there.

    Raises:
        scalelab.DataError: The folder or the cache cannot be used, or no record fits the options.
    """
    folder = params.path.expanduser().resolve()
    recipe = recipe_of(params)
    content = {
        "physionet2021": VERSION,
        "files": content_digest(folder, params.sources),
        "recipe": asdict(recipe),
        "groups": table_digest(params.groups),
        "seed": params.seed,
    }
    key = "physionet2021-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    chunks = scalelab.cache_dir() / f"{key}.chunks"
    arrays = scalelab.cached_arrays(key, lambda: _prepare(folder, params, recipe, chunks))
    if chunks.exists():
        shutil.rmtree(chunks, ignore_errors=True)
    return Prepared(**arrays, one_each=recipe.first, key=key)


def recipe_of(params: Physionet2021Params) -> Recipe:
    """Returns the part of the options that windows depend on."""
    same = params.model_dump(include={"rate", "low", "high", "short", "unscored", "normalise"})
    window, stride = round(params.window * params.rate), round(params.stride * params.rate)
    return Recipe(window=window, stride=stride, first=params.windows == "first", **same)


def _prepare(
    folder: Path, params: Physionet2021Params, recipe: Recipe, chunks: Path
) -> dict[str, np.ndarray | Iterator[np.ndarray]]:
    headers = find_records(folder)
    table = {} if params.groups is None else read_table(params.groups, {header.stem for header in headers})
    if params.sources:
        headers = [header for header in headers if source_of(header) in params.sources]
    headers.sort(key=lambda header: (source_of(header), header.name))
    rows, places = _all_rows(headers, recipe, chunks)
    leave_out_repeats(rows)
    used = np.array([i for i, row in enumerate(rows) if row.reason is None], dtype=np.int64)
    if not len(used):
        raise scalelab.DataError(f"physionet2021: {_why_none(folder, rows)}")
    _check_window(rows, recipe)
    patients = patients_of(rows, table)
    groups = joined([(rows[i].signal, *patients[i]) for i in used])
    targets = targets_of([rows[i].codes for i in used])
    dealt = assign_folds(targets, [rows[i].source for i in used], groups.tolist(), params.seed)
    shuffled = shuffled_within_folds(dealt, groups.tolist(), params.seed)
    order = used[shuffled]
    dealt, groups = dealt[shuffled], groups[shuffled]
    write_index(chunks.with_suffix(".parquet"), rows, order, Dealt(dealt, groups, patients), recipe.rate)
    names, sources = np.unique([rows[i].source for i in order], return_inverse=True)
    return {
        "inputs": _in_order(rows, places, order, recipe.window),
        "targets": targets[shuffled],
        "windows": np.array([len(rows[i].starts) for i in order], dtype=np.int64),
        "folds": dealt.astype(np.int8),
        "sources": sources,
        "names": names,
        "groups": groups,
    }


def _all_rows(headers: Sequence[Path], recipe: Recipe, chunks: Path) -> tuple[list[Row], list[Path]]:
    """Makes the chunks that are missing; returns all records' rows, and the file of each one's windows."""
    try:
        chunks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise scalelab.DataError(
            f"the cache folder {chunks.parent} cannot be used: {error.strerror}"
        ) from error
    every = [
        (number, headers[start : start + CHUNK]) for number, start in enumerate(range(0, len(headers), CHUNK))
    ]
    missing = [(number, part) for number, part in every if not rows_path(chunks, number).exists()]
    for _ in in_processes(partial(make_chunks, chunks, recipe), missing, jobs=default_jobs(), size=1):
        pass
    rows: list[Row] = []
    places: list[Path] = []
    for number, _ in every:
        of_chunk = read_rows(chunks, number)
        rows += of_chunk
        places += [windows_path(chunks, number)] * len(of_chunk)
    return rows, places


def _in_order(
    rows: Sequence[Row], places: Sequence[Path], order: np.ndarray, window: int
) -> Iterator[np.ndarray]:
    """Yields the windows of each record from its chunk's file: read, not mapped, to keep memory small."""
    size = len(LEADS) * window
    for i in order:
        n, first = len(rows[i].starts), rows[i].first
        for done in range(0, n, _BLOCK):
            count = min(_BLOCK, n - done) * size
            offset = (first + done) * size * 2
            yield np.fromfile(places[i], np.float16, count, offset=offset).reshape(-1, len(LEADS), window)


def _why_none(folder: Path, rows: Sequence[Row]) -> str:
    reasons = sorted({row.reason for row in rows if row.reason})
    shown = "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")
    return f"none of the {len(rows)} records of {folder} can be used ({shown})"


def _check_window(rows: Sequence[Row], recipe: Recipe) -> None:
    longest = max(row.n_samples / row.rate for row in rows if row.reason is None and row.rate)
    if round(longest * recipe.rate) < recipe.window:
        raise scalelab.DataError(
            f"physionet2021: the window of {recipe.window / recipe.rate:g} s is longer than every record "
            f"(the longest has {longest:g} s); lower window"
        )
