"""From a folder of records to one cached entry: windows in the order of their folds, targets, an index."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

import scalelab

from ..processes import default_jobs, in_processes
from .chunks import CHUNK, Recipe, Row, make_chunks, read_rows, rows_path, windows_path
from .content import content_digest
from .folds import FRACTIONS, N_FOLDS, TEST_FOLD, assign_folds, shuffled_within_folds
from .index import write_index
from .labels import targets_of
from .leads import LEADS
from .params import VERSION, Physionet2021Params
from .records import find_records, source_of
from .repeats import leave_out_repeats

_BLOCK = 64


@dataclass(frozen=True)
class Prepared:
    """One prepared folder, all folds.

    Attributes:
        inputs: Float16 (n, 12, window), fold after fold; a memory map.
        targets: Uint8 (n, 26).
        borders: Where each fold starts, and where the last one ends: (5,).
        key: Name of the entry in the cache.
    """

    inputs: np.ndarray
    targets: np.ndarray
    borders: np.ndarray
    key: str

    @property
    def index(self) -> Path:
        """The Parquet file that says what each row is."""
        return scalelab.cache_dir() / f"{self.key}.parquet"

    def fold(self, *folds: int) -> scalelab.Split:
        """Returns the windows of neighboring folds."""
        rows = slice(self.borders[folds[0]], self.borders[folds[-1] + 1])
        return scalelab.Split(self.inputs[rows], self.targets[rows])


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
        "seed": params.seed,
    }
    key = "physionet2021-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    chunks = scalelab.cache_dir() / f"{key}.chunks"
    arrays = scalelab.cached_arrays(key, lambda: _prepare(folder, params, recipe, chunks))
    if chunks.exists():
        shutil.rmtree(chunks, ignore_errors=True)
    return Prepared(arrays["inputs"], arrays["targets"], arrays["borders"], key)


def recipe_of(params: Physionet2021Params) -> Recipe:
    """Returns the part of the options that windows depend on."""
    same = params.model_dump(include={"rate", "low", "high", "short", "unscored"})
    window, stride = round(params.window * params.rate), round(params.stride * params.rate)
    return Recipe(window=window, stride=stride, **same)


def training_folds(prepared: Prepared, validation: int) -> scalelab.Split:
    """Returns the two folds that are neither for validation nor for the test.

    Folds 0 and 2 are not adjacent: the first time, they are copied to an entry of their own.
    """
    if validation == 0:
        return prepared.fold(1, 2)
    if validation == 2:
        return prepared.fold(0, 1)
    parts = prepared.fold(0), prepared.fold(2)
    arrays = scalelab.cached_arrays(
        f"{prepared.key}-train1",
        lambda: {
            "inputs": (
                part.inputs[start : start + _BLOCK] for part in parts for start in range(0, len(part), _BLOCK)
            ),
            "targets": np.concatenate([part.targets for part in parts]),
        },
    )
    return scalelab.Split(arrays["inputs"], arrays["targets"])


def _prepare(
    folder: Path, params: Physionet2021Params, recipe: Recipe, chunks: Path
) -> dict[str, np.ndarray | Iterator[np.ndarray]]:
    headers = find_records(folder)
    if params.sources:
        headers = [header for header in headers if source_of(header) in params.sources]
    headers.sort(key=lambda header: (source_of(header), header.name))
    rows, places = _all_rows(headers, recipe, chunks)
    leave_out_repeats(rows)
    used = np.array([i for i, row in enumerate(rows) if row.reason is None], dtype=np.int64)
    if not len(used):
        raise scalelab.DataError(f"physionet2021: {_why_none(folder, rows)}")
    _check_window(rows, recipe)
    targets = targets_of([rows[i].codes for i in used])
    signals = [rows[i].signal for i in used]
    dealt = assign_folds(targets, [rows[i].source for i in used], signals, params.seed)
    order = used[shuffled_within_folds(dealt, signals, params.seed)]
    folds = np.full(len(rows), -1)
    folds[used] = dealt
    n_windows = np.array([len(rows[i].starts) for i in order])
    sizes = np.bincount(folds[order], weights=n_windows, minlength=N_FOLDS).astype(np.int64)
    _check_folds(sizes, len(used))
    write_index(chunks.with_suffix(".parquet"), rows, folds.tolist(), order, recipe.rate)
    return {
        "inputs": _in_order(rows, places, order, recipe.window),
        "targets": np.repeat(targets_of([rows[i].codes for i in order]), n_windows, axis=0),
        "borders": np.concatenate([[0], np.cumsum(sizes)]),
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


def _check_folds(sizes: np.ndarray, n_records: int) -> None:
    for fold, size in enumerate(sizes):
        if size == 0:
            name = "the test fold" if fold == TEST_FOLD else f"fold {fold}"
            raise scalelab.DataError(
                f"physionet2021: {n_records} records leave {name} ({FRACTIONS[fold]:.0%} of them) without "
                "examples; use more records"
            )
