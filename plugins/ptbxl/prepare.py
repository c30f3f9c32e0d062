"""From the database's files to one cached entry: records in the order of their folds, and their labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import scalelab

from ..file_digests import content_digest
from ..gathered import Gathered
from ..physionet2021.leads import places_of
from ..physionet2021.records import EcgRecord, read_record
from .database import (
    DATABASE,
    REMEDY,
    STATEMENTS,
    Entry,
    Statement,
    check_codes,
    folder_of,
    labels_by_code,
    read_database,
    read_statements,
)
from .params import FOLDS, SECONDS, VERSION, PtbxlParams

FLOOR = 0.001
"""Smallest deviation in mV that samples are divided by: one step of the files' 16-bit samples."""
FLAT = "flat leads: "
"""What the reader says of a record without any signal; here it is zeros, so that the set stays whole."""
_BLOCK = 64
_ENDINGS = (".hea", ".dat")


@dataclass(frozen=True)
class Prepared:
    """The records of one set of labels.

    Attributes:
        inputs: Float16 (n, leads, samples), fold after fold; a memory map.
        targets: Uint8 (n, labels).
        borders: Where each of the ten folds starts, and where the last one ends: (11,).
        classes: The labels.
        key: Name of the entry in the cache.
    """

    inputs: np.ndarray
    targets: np.ndarray
    borders: np.ndarray
    classes: tuple[str, ...]
    key: str

    def folds(self, *folds: int) -> scalelab.Split:
        """Returns the records of some folds, ascending; a part of the map where they are neighbors."""
        if folds[-1] - folds[0] + 1 == len(folds):
            rows = slice(self.borders[folds[0] - 1], self.borders[folds[-1]])
            return scalelab.Split(self.inputs[rows], self.targets[rows])
        of_folds = [np.arange(self.borders[fold - 1], self.borders[fold]) for fold in folds]
        chosen = np.concatenate(of_folds)
        inputs: Any = Gathered(self.inputs, chosen)
        return scalelab.Split(inputs, np.asarray(self.targets)[chosen])


def load(params: PtbxlParams) -> Prepared:
    """Returns the prepared records, from the cache where they are there.

    Raises:
        scalelab.DataError: A file is missing, damaged or not the database's, or a fold has no record.
    """
    folder = folder_of(params.path)
    entries, statements = read_database(folder, params.rate), read_statements(folder)
    check_codes(entries, statements, folder)
    names = [DATABASE, STATEMENTS, *(entry.file + ending for entry in entries for ending in _ENDINGS)]
    files = [(name, str(folder / name)) for name in names]
    content = {
        "ptbxl": VERSION,
        "files": content_digest("ptbxl", files, remedy=f"; {REMEDY}"),
        "options": params.model_dump(include={"labels", "rate", "leads", "normalise"}),
    }
    key = "ptbxl-" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    arrays = scalelab.cached_arrays(key, lambda: _prepare(folder, entries, statements, params))
    classes = tuple(str(name) for name in arrays["classes"])
    _check_folds(arrays["borders"], params)
    return Prepared(arrays["inputs"], arrays["targets"], arrays["borders"], classes, key)


def training_folds(params: PtbxlParams) -> list[int]:
    """Returns the folds that neither validate nor test."""
    return [fold for fold in FOLDS if fold not in (params.validation_fold, params.test_fold)]


def _prepare(
    folder: Path, entries: Sequence[Entry], statements: Mapping[str, Statement], params: PtbxlParams
) -> dict[str, np.ndarray | Iterator[np.ndarray]]:
    label_of = labels_by_code(statements, params.labels)
    classes = sorted(set(label_of.values()))
    used = [entry for entry in entries if any(code in label_of for code in entry.codes)]
    if not used:
        raise scalelab.DataError(f"ptbxl: no record of {folder} has a label of the set {params.labels!r}")
    used.sort(key=lambda entry: entry.fold)
    targets = np.zeros((len(used), len(classes)), dtype=np.uint8)
    for row, entry in zip(targets, used, strict=True):
        row[[classes.index(label_of[code]) for code in entry.codes if code in label_of]] = 1
    borders = np.cumsum(np.bincount([entry.fold for entry in used], minlength=len(FOLDS) + 1))
    _check_folds(borders, params)
    return {
        "inputs": _signals(folder, used, params),
        "targets": targets,
        "borders": borders,
        "classes": np.array(classes),
    }


def _signals(folder: Path, entries: Sequence[Entry], params: PtbxlParams) -> Iterator[np.ndarray]:
    """Yields the records, a block at a time: no more than that is in memory."""
    leads = places_of(params.leads)
    for start in range(0, len(entries), _BLOCK):
        block = [signal_of(folder, entry, params.rate)[leads] for entry in entries[start : start + _BLOCK]]
        yield normalized(np.stack(block), params.normalise).astype(np.float16)


def signal_of(folder: Path, entry: Entry, rate: int) -> np.ndarray:
    """Returns float32 (12, samples) in mV.

    Raises:
        scalelab.DataError: The record is damaged, or not of this rate and of ten seconds.
    """
    record = of_database(read_record(folder / f"{entry.file}.hea", source="ptb-xl"), rate)
    reason = record.reason
    if record.signal is None and (reason or "").startswith(FLAT):
        return np.zeros((12, SECONDS * rate), dtype=np.float32)
    if reason is not None or record.signal is None:
        raise scalelab.DataError(
            f"ptbxl: record {entry.ecg_id} ({entry.file}) of {folder}: {reason}; fetch it again with "
            "'scalelab data download ptbxl --to DIR', which replaces damaged files"
        )
    return record.signal


def of_database(record: EcgRecord, rate: int) -> EcgRecord:
    """Returns a record, rejected where its rate or its length is not that of the database's records."""
    n = SECONDS * rate
    if record.reason is not None or (record.rate, record.n_samples) == (rate, n):
        return record
    reason = f"length: {record.n_samples} samples at {record.rate:g} Hz instead of {n} at {rate} Hz"
    return replace(record, status="rejected", repairs=(), reason=reason)


def normalized(signals: np.ndarray, normalise: str) -> np.ndarray:
    """Returns (n, leads, samples) with mean 0 and deviation 1 of each lead or record, or as it is (`none`).

    What deviates by less than `FLOOR` is flat, and becomes 0 instead of amplified rounding.
    """
    if normalise == "none":
        return signals
    axes = (2,) if normalise == "lead" else (1, 2)
    signals = signals - signals.mean(axis=axes, keepdims=True)
    deviation = np.sqrt(np.square(signals).mean(axis=axes, keepdims=True))
    scaled: np.ndarray = signals * np.where(deviation < FLOOR, 0, 1 / np.maximum(deviation, FLOOR))
    return scaled


def _check_folds(borders: np.ndarray, params: PtbxlParams) -> None:
    sizes = np.diff(borders)
    wanted = f"with a label of the set {params.labels!r}"
    for fold in (params.validation_fold, params.test_fold):
        if sizes[fold - 1] == 0:
            raise scalelab.DataError(f"ptbxl: {params.path} has no record of strat_fold {fold} {wanted}")
    training = training_folds(params)
    if not sizes[[fold - 1 for fold in training]].any():
        shown = ", ".join(map(str, training))
        raise scalelab.DataError(
            f"ptbxl: {params.path} has no record to train on {wanted}: the strat_folds {shown} are empty"
        )
