"""Records turned into windows, a chunk of records at a time; a chunk that is done outlives a kill.

A chunk is two files: the windows as raw float16, and behind them, by one rename, the rows that say what they
are. Nothing else marks it as done, so chunks can be made by any number of processes, in any order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

import scalelab

from .filters import band_pass, resampled
from .labels import classes_of
from .leads import LEADS
from .params import Spread
from .records import EcgRecord, read_record

CHUNK = 128
"""Records of a chunk: about a tenth of a second's work, and 15 MB of ten-second records."""
FLOOR = 0.001
"""Smallest deviation in mV that a lead is divided by: one step of the 16-bit samples at 1000/mV."""
_TOGETHER = 16
"""Records of one length and rate that are filtered together."""
_TOGETHER_SAMPLES = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """How records become windows.

    Attributes:
        rate: Sampling rate in Hz of the windows.
        low: Lower edge of the band-pass in Hz.
        high: Upper edge of the band-pass in Hz.
        window: Samples of a window.
        stride: Samples from one window of a record to the next.
        short: What happens to a record that is shorter than a window.
        unscored: What happens to a record whose codes are all not scored.
        normalise: What the amplitudes of a window are divided by, see `normalize`.
        first: Whether only the first window of a record is used.
    """

    rate: int
    low: float
    high: float
    window: int
    stride: int
    short: Literal["pad", "drop"]
    unscored: Literal["keep", "drop"]
    normalise: Spread
    first: bool


@dataclass
class Row:
    """The outcome of one record.

    Attributes:
        record: Its name.
        source: Where it comes from.
        codes: Its SNOMED CT codes.
        rate: Its own sampling rate in Hz, `None` where unknown.
        n_samples: Samples of a lead at that rate.
        age: In years, `None` where unknown.
        sex: `None` where unknown.
        patient: Name of the patient within the source, `None` where the files do not tell.
        status: What reading it ended as.
        repairs: What reading it repaired.
        reason: Why it has no windows; `None` where it has.
        signal: Digest of its samples.
        first: Where in the chunk's file its first window is.
        starts: Where its windows start, in samples at the rate of the windows.
    """

    record: str
    source: str
    codes: tuple[str, ...]
    rate: float | None
    n_samples: int
    age: float | None
    sex: str | None
    patient: str | None
    status: str
    repairs: tuple[str, ...]
    reason: str | None = None
    signal: str = ""
    first: int = 0
    starts: tuple[int, ...] = ()


def rows_path(folder: Path, number: int) -> Path:
    """The file whose presence says that a chunk is done."""
    return folder / f"{number:06d}.json"


def windows_path(folder: Path, number: int) -> Path:
    """The file with a chunk's windows, float16 (n, 12, window) without a header."""
    return folder / f"{number:06d}.f16"


def read_rows(folder: Path, number: int) -> list[Row]:
    """Returns the rows of a chunk that is done."""
    return [Row(**row) for row in json.loads(rows_path(folder, number).read_text(encoding="utf-8"))]


def make_chunks(folder: Path, recipe: Recipe, chunks: Sequence[tuple[int, Sequence[Path]]]) -> None:
    """Makes chunks, each a number and the headers of its records, in this process.

    Raises:
        scalelab.DataError: The disk is full or cannot be written.
    """
    from threadpoolctl import threadpool_limits

    # One process a core is what the work is dealt out to; their matrix products must not fight over cores.
    with threadpool_limits(1):
        for number, headers in chunks:
            try:
                _make_chunk(folder, recipe, number, headers)
            except OSError as error:
                raise scalelab.DataError(
                    f"the cache folder {folder.parent} cannot be used: {error.strerror or error}; free some "
                    "space or point SCALELAB_CACHE to another folder; what is done is kept"
                ) from error


def _make_chunk(folder: Path, recipe: Recipe, number: int, headers: Sequence[Path]) -> None:
    part = folder / f"{number:06d}.{os.getpid()}.part"
    with part.open("wb") as file:
        rows = _Chunk(recipe, file).fill(headers)
        file.flush()
        os.fsync(file.fileno())
    part.replace(windows_path(folder, number))
    part.write_text(json.dumps([vars(row) for row in rows]))
    part.replace(rows_path(folder, number))


class _Chunk:
    """Windows on their way into a file; records of one rate and length wait to be filtered together."""

    def __init__(self, recipe: Recipe, file: BinaryIO) -> None:
        self._recipe, self._file, self._n = recipe, file, 0
        self._waiting: dict[tuple[float, int], list[tuple[Row, np.ndarray]]] = {}

    def fill(self, headers: Sequence[Path]) -> list[Row]:
        """Reads, filters, cuts and writes; returns a row for each record."""
        rows = []
        for header in headers:
            record = read_record(header)
            row = _row(record)
            rows.append(row)
            row.reason = row.reason or self._refused(record)
            if row.reason is None and record.signal is not None:
                row.signal = hashlib.sha256(record.signal.tobytes()).hexdigest()
                self._add(row, record.rate, record.signal)
        for rate, n in list(self._waiting):
            self._flush(rate, n)
        return rows

    def _refused(self, record: EcgRecord) -> str | None:
        """Says why a record that could be read is not used all the same."""
        recipe = self._recipe
        if not record.codes:
            return "labels: none at all"
        if recipe.unscored == "drop" and not classes_of(record.codes):
            return "labels: none that is scored"
        if record.rate <= 2 * recipe.high:
            return f"rate: {record.rate:g} Hz cannot hold frequencies up to {recipe.high:g} Hz"
        samples = -(-record.n_samples * recipe.rate // record.rate)
        if recipe.short == "drop" and samples < recipe.window:
            return f"length: shorter than the window of {recipe.window / recipe.rate:g} s"
        if record.n_samples <= band_pass(record.rate, recipe.low, recipe.high).padding:
            return f"length: {record.n_samples} samples are too few to filter"
        return None

    def _add(self, row: Row, rate: float, signal: np.ndarray) -> None:
        waiting = self._waiting.setdefault((rate, signal.shape[1]), [])
        waiting.append((row, signal))
        if len(waiting) == _TOGETHER or len(waiting) * signal.size >= _TOGETHER_SAMPLES:
            self._flush(rate, signal.shape[1])

    def _flush(self, rate: float, n: int) -> None:
        rows, signals = zip(*self._waiting.pop((rate, n)), strict=True)
        recipe = self._recipe
        lanes = np.concatenate(signals)
        band_pass(rate, recipe.low, recipe.high)(lanes)
        lanes = resampled(lanes, rate, recipe.rate).reshape(len(rows), len(LEADS), -1)
        windows = cut(lanes, recipe.window, recipe.stride)
        flat = normalize(windows, recipe.normalise)
        for row, of_record, leads in zip(rows, windows, flat, strict=True):
            useful = np.flatnonzero(~leads.all(axis=1))[: 1 if recipe.first else None]
            row.first, row.starts = self._n, tuple(int(i) * recipe.stride for i in useful)
            row.reason = None if len(useful) else "signal: every lead is flat"
            self._file.write(padded(of_record[useful], recipe.window).data)
            self._n += len(useful)


def cut(lanes: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Cuts (records, leads, samples) into windows (records, windows, leads, window); no two share memory.

    What is left over at the end is not used; a record shorter than a window is one window of its own length.
    """
    size = min(window, lanes.shape[2])
    every = np.lib.stride_tricks.sliding_window_view(lanes, size, axis=2, writeable=True)
    windows = every[:, :, ::stride].swapaxes(1, 2)
    return windows if stride >= size else windows.copy()


def normalize(windows: np.ndarray, spread: Spread = "lead") -> np.ndarray:
    """Takes each lead of each window to mean 0, and divides by a deviation, in place.

    Args:
        windows: (…, leads, samples) in mV.
        spread: `"lead"`: each lead by its own deviation, a flat one by `FLOOR`; `"record"`: all leads of a
            window by the root mean square deviation of those that are not flat, so that leads keep their
            amplitudes relative to each other; `"none"`: by nothing, the window stays in mV.

    Returns:
        Whether each lead is flat, its deviation being below `FLOOR`: as `windows` without the samples.
    """
    samples = windows.shape[-1]
    windows -= windows.mean(axis=-1, keepdims=True)
    variance = np.einsum("...t,...t->...", windows, windows) / samples
    deviation = np.sqrt(variance)
    flat: np.ndarray = deviation < FLOOR
    if spread == "lead":
        windows *= (1 / np.maximum(deviation, FLOOR))[..., None]
    elif spread == "record":
        alive = np.maximum((~flat).sum(axis=-1), 1)
        together = np.sqrt(np.where(flat, 0, variance).sum(axis=-1) / alive)
        windows *= (1 / np.maximum(together, FLOOR))[..., None, None]
    return flat


def padded(windows: np.ndarray, size: int) -> np.ndarray:
    """Returns float16 windows of `size` samples: shorter ones get zeros on both sides."""
    missing = size - windows.shape[-1]
    if not missing:
        return windows.astype(np.float16)
    whole = np.zeros((*windows.shape[:-1], size), dtype=np.float16)
    whole[..., missing // 2 : missing // 2 + windows.shape[-1]] = windows
    return whole


def _row(record: EcgRecord) -> Row:
    same = ("source", "codes", "n_samples", "age", "sex", "patient", "status", "repairs", "reason")
    rate = record.rate if record.rate == record.rate else None
    return Row(record=record.name, rate=rate, **{name: getattr(record, name) for name in same})
