"""Reads one record through wfdb, or says in one line what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import scalelab

EXTENSIONS = (".hea", ".dat", ".atr")
REMEDY = (
    "download the MIT-BIH Arrhythmia Database from https://physionet.org/content/mitdb/1.0.0/ "
    "(wfdb.dl_database('mitdb', FOLDER)) and set path to that folder"
)


@dataclass(frozen=True)
class Beats:
    """One record.

    Attributes:
        signal: (leads, samples) in mV, float32.
        leads: Names of the leads.
        rate: Sampling rate in Hz.
        samples: Index of each annotation in the signal.
        symbols: Annotation symbols, non-beats among them.
    """

    signal: np.ndarray
    leads: tuple[str, ...]
    rate: float
    samples: np.ndarray
    symbols: np.ndarray


def files_of(folder: Path, record: str) -> list[Path]:
    """Returns the record's header, signal and annotation file."""
    return [folder / f"{record}{extension}" for extension in EXTENSIONS]


def read(folder: Path, name: str) -> Beats:
    """Reads a record's samples, checked against the header's checksums, and its annotations.

    Raises:
        scalelab.DataError: A file is missing, truncated or damaged; names the file and the remedy.
    """
    import wfdb

    header, data, annotation = files_of(folder, name)
    base = str(header.with_suffix(""))
    with _readable(header):
        wfdb.rdheader(base)
    with _readable(data):
        record = wfdb.rdrecord(base, physical=False)
        _check_samples(record, header.name)
    with _readable(annotation):
        notes = wfdb.rdann(base, "atr")
        _check_annotations(notes, annotation, record.sig_len)
    gain = np.asarray(record.adc_gain, dtype=np.float32)[:, None]
    baseline = np.asarray(record.baseline, dtype=np.float32)[:, None]
    return Beats(
        signal=(record.d_signal.T.astype(np.float32) - baseline) / gain,
        leads=tuple(record.sig_name),
        rate=float(record.fs),
        samples=np.asarray(notes.sample, dtype=np.int64),
        symbols=np.asarray(notes.symbol),
    )


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turns whatever wfdb raises for a bad file (it has no error of its own) into one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise scalelab.DataError(f"{file} is missing; {REMEDY}") from error
    except Exception as error:
        raise scalelab.DataError(f"{file} cannot be read: {error}; {REMEDY}") from error


def _check_samples(record: Any, header: str) -> None:
    for said, found in zip(record.checksum, record.calc_checksum(), strict=True):
        if said is not None and (said - found) % 65536:
            raise ValueError(f"its samples do not match the checksums in {header}")


def _check_annotations(notes: Any, file: Path, sig_len: int) -> None:
    """A file cut between two annotations reads without complaint, but lacks the zero word that ends it."""
    if file.read_bytes()[-2:] != b"\0\0":
        raise ValueError("it is truncated")
    if len(notes.sample) == 0 or np.any(np.diff(notes.sample) < 0) or notes.sample[-1] >= sig_len:
        raise ValueError(f"its annotations are not in order within the record's {sig_len} samples")
