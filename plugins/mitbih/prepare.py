"""From the database's files to cached arrays, one set for each set of options."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import numpy as np

import scalelab

from ..file_digests import content_digest
from .beats import (
    DS1,
    DS1_FOLDS,
    DS1_VALIDATION,
    DS2,
    PACED,
    SYMBOLS,
    labels_of,
    stratified_split,
    windows,
)
from .context import N_RR, rr_intervals, with_neighbors
from .params import VERSION, MitbihParams
from .reader import REMEDY, Beats, files_of, read

SPLITS = ("train", "validation", "test")
FLAT = 0.005
"""Floor in mV of the deviation that a window or lead is divided by: one step of the database's ADC."""


def load(params: MitbihParams) -> tuple[dict[str, np.ndarray], str]:
    """Returns the arrays of all splits and the dataset's fingerprint, from the cache where it has them.

    The arrays are `<split>_inputs`, `<split>_targets` and `<split>_records` (each beat's record) for
    each split, `classes` and `dropped` (beats of each class too near an end of their record).
    """
    folder = params.path.expanduser().resolve()
    records = _records(folder, params)
    options = params.model_dump(mode="json", exclude={"path", "augment"})
    files = [(file.name, str(file)) for name in records for file in files_of(folder, name)]
    digest = content_digest("mitbih", files, remedy=f"; {REMEDY}")
    content = {"mitbih": VERSION, "files": digest, "options": options}
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    arrays = scalelab.cached_arrays(f"mitbih-{fingerprint[:32]}", lambda: _prepare(folder, records, params))
    return arrays, fingerprint


def _records(folder: Path, params: MitbihParams) -> list[str]:
    if not folder.is_dir():
        raise scalelab.DataError(f"mitbih: there is no folder {folder}; {REMEDY}")
    if params.split == "inter-patient":
        return sorted(DS1 + DS2 if params.test else DS1)
    found = sorted(path.stem for path in folder.glob("*.hea"))
    if not found:
        raise scalelab.DataError(f"mitbih: the folder {folder} holds no records (*.hea); {REMEDY}")
    records = [name for name in found if params.paced or name not in PACED]
    if not records:
        raise scalelab.DataError(f"mitbih: the folder {folder} holds paced records only; use paced = true")
    return records


def _prepare(folder: Path, records: list[str], params: MitbihParams) -> dict[str, np.ndarray]:
    label_of, classes = labels_of(params.classes)
    inputs, labels, names = [], [], []
    dropped = np.zeros(len(classes), dtype=np.int64)
    for name in records:
        beats = read(folder, name)
        signal = _signal(beats, params)
        if signal is None:
            continue
        is_beat = np.isin(beats.symbols, SYMBOLS)
        label = np.array([label_of.get(symbol, -1) for symbol in beats.symbols[is_beat]], dtype=np.int64)
        inside, examples = _examples(signal, beats.samples[is_beat], params.rate / beats.rate, params)
        dropped += np.bincount(label[~inside & (label >= 0)], minlength=len(classes))
        used = label[inside] >= 0
        if used.any():
            inputs.append(examples[used])
            labels.append(label[inside][used])
            names.append(np.full(int(used.sum()), name))
    if not inputs:
        raise scalelab.DataError(
            f"mitbih: no beat of {folder} fits these options; "
            "shorten the window (before, after) or choose leads = 'both'"
        )
    return _split(np.concatenate(inputs), np.concatenate(labels), np.concatenate(names), dropped, params)


def _examples(
    signal: np.ndarray, positions: np.ndarray, scale: float, params: MitbihParams
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which beats have their window inside the record, and what a model sees of these.

    Args:
        signal: Shape (leads, samples).
        positions: Of all beats of the record, in samples as recorded.
        scale: The signal's sampling rate over that of the record.
        params: The options.
    """
    before, after = round(params.before * params.rate), round(params.after * params.rate)
    peaks = np.rint(positions * scale).astype(np.int64)
    inside = (peaks >= before) & (peaks + after <= signal.shape[1])
    n = int(inside.sum())
    if n == 0:
        return inside, np.empty((0, 0, 0), dtype=np.float16)
    beats = _normalized(windows(signal, peaks[inside], before, after), params.normalise)
    channels = [with_neighbors(beats, params.beats)]
    if params.reference == "median-beat":
        channels.append(with_neighbors(beats - np.median(beats, axis=0), params.beats))
    if params.rr:
        rr = rr_intervals(positions)[inside]
        channels.append(np.broadcast_to(rr[:, :, None], (n, N_RR, before + after)))
    return inside, np.concatenate([part.astype(np.float16) for part in channels], axis=1)


def _signal(beats: Beats, params: MitbihParams) -> np.ndarray | None:
    """Returns the chosen leads at the chosen rate in float32, or `None` where the record lacks them."""
    order = sorted(range(len(beats.leads)), key=lambda lead: beats.leads[lead] != "MLII")
    if params.leads == "MLII":
        order = [lead for lead in order if beats.leads[lead] == "MLII"]
    elif params.leads == "precordial":
        order = [lead for lead in order if beats.leads[lead] != "MLII"][:1]
    if not order:
        return None
    signal = beats.signal[order]
    if params.normalise == "record":
        low, middle, high = np.percentile(signal, (25, 50, 75), axis=1, keepdims=True)
        signal = (signal - middle) / np.maximum((high - low) / 1.349, FLAT)
    if params.rate != beats.rate:
        from scipy.signal import resample_poly

        ratio = Fraction(params.rate / beats.rate).limit_denominator(1000)
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    return np.asarray(signal, dtype=np.float32)


def _normalized(beats: np.ndarray, normalise: str) -> np.ndarray:
    if normalise == "beat":
        beats = beats - beats.mean(axis=2, keepdims=True)
        beats /= np.maximum(beats.std(axis=2, keepdims=True), FLAT)
    return beats


def _split(
    inputs: np.ndarray, labels: np.ndarray, names: np.ndarray, dropped: np.ndarray, params: MitbihParams
) -> dict[str, np.ndarray]:
    _, classes = labels_of(params.classes)
    if params.classes == "symbols":
        present, labels = np.unique(labels, return_inverse=True)
        classes, dropped = tuple(classes[label] for label in present), dropped[present]
    if params.split == "random":
        fractions = (params.validation_fraction, params.test_fraction)
        parts = stratified_split(labels, fractions, np.random.default_rng(params.seed))
    else:
        validating = DS1_VALIDATION if params.fold == "none" else DS1_FOLDS[params.fold]
        validation, test = np.isin(names, validating), np.isin(names, DS2)
        parts = [np.flatnonzero(part) for part in (~(validation | test), validation, test)]
    for split, part in zip(SPLITS[:2], parts, strict=False):
        if len(part) == 0:
            raise scalelab.DataError(f"mitbih: no beat is left for {split} with these options")
    arrays = {"classes": np.array(classes), "dropped": dropped}
    for split, part in zip(SPLITS, parts, strict=True):
        arrays |= {
            f"{split}_inputs": inputs[part],
            f"{split}_targets": labels[part],
            f"{split}_records": names[part],
        }
    return arrays
